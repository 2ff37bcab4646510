//! Transactions: legal by construction, so that no store ever has to refuse one for its shape.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::digest::KeyHash;
use super::guard::{Found, Guard, GuardIx, Write};
use crate::ids::Revision;
use crate::keyspace::{Key, Range};

/// etcd's default for guards, and again for writes, in one transaction.
pub const OPS_MAX: usize = 128;

/// The largest transaction, in bytes of keys and values. etcd refuses requests over 1.5 MiB; the rest is for framing.
pub const TXN_BYTES_MAX: usize = 1_250 * 1_024;

/// The most bytes that sealing a batch may add.
pub const SEAL_BYTES_MAX: usize = 2_048;

/// What framing adds to each guard and write on the wire, at most.
const FRAMING: usize = 24;

/// What belongs together in one transaction: one step of one task's life.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// What must hold.
    pub guards: Vec<Guard>,
    /// What changes.
    pub writes: Vec<Write>,
}

impl Step {
    /// A step that writes `writes` if `guards` hold.
    pub fn new(guards: Vec<Guard>, writes: Vec<Write>) -> Self {
        Self { guards, writes }
    }
}

/// Why a step does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TxnError {
    /// More than [`OPS_MAX`] guards or writes.
    #[error("more than {OPS_MAX} guards or writes")]
    TooMany,
    /// More than [`TXN_BYTES_MAX`] bytes.
    #[error("more than {TXN_BYTES_MAX} bytes")]
    TooLarge,
    /// A key that would be written twice.
    #[error("a key would be written twice")]
    WrittenTwice,
}

/// Guards and writes that are applied together or not at all. Holds at most [`OPS_MAX`] of each, writes no key twice. A
/// clone shares everything: a lane keeps what it has sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(try_from = "TxnParts", into = "TxnParts")]
pub struct Txn(Arc<Contents>);

/// What a transaction holds, and what keeps it legal while it grows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Contents {
    guards: Vec<Guard>,
    writes: Vec<Write>,
    bytes: usize,
    guarded: KeyIndex,
    written: KeyIndex,
    ranges: Vec<Range>,
}

/// Where in a list of at most [`OPS_MAX`] something with a certain key stands: by the keys' hashes, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct KeyIndex(Vec<(KeyHash, u16)>);

impl KeyIndex {
    /// Everything that may have a key with this hash, the last that was added last.
    fn may_have(&self, hash: KeyHash) -> impl DoubleEndedIterator<Item = usize> {
        let from = self.0.partition_point(|(other, _)| *other < hash);
        let same = self.0[from..]
            .iter()
            .take_while(move |(other, _)| *other == hash);
        let all: &[_] = &self.0[from..from + same.count()];
        all.iter().map(|(_, at)| usize::from(*at))
    }

    fn add(&mut self, hash: KeyHash, at: usize) {
        let at = u16::try_from(at).expect("a transaction has at most OPS_MAX of each");
        let place = self.0.partition_point(|(other, _)| *other <= hash);
        self.0.insert(place, (hash, at));
    }
}

/// The one key that is written, unless it is a range.
fn key_of(write: &Write) -> Option<&Key> {
    match write {
        Write::Put { key, .. } | Write::Delete { key } => Some(key),
        Write::DeleteRange { .. } => None,
    }
}

#[derive(Serialize, Deserialize)]
struct TxnParts {
    guards: Vec<Guard>,
    writes: Vec<Write>,
}

impl From<Txn> for TxnParts {
    fn from(txn: Txn) -> Self {
        let contents = Arc::unwrap_or_clone(txn.0);
        Self {
            guards: contents.guards,
            writes: contents.writes,
        }
    }
}

impl TryFrom<TxnParts> for Txn {
    type Error = TxnError;
    fn try_from(parts: TxnParts) -> Result<Self, TxnError> {
        let mut txn = Self::default();
        txn.push(Step::new(parts.guards, parts.writes))
            .map_err(|(_, error)| error)?;
        Ok(txn)
    }
}

impl Txn {
    /// What must hold.
    pub fn guards(&self) -> &[Guard] {
        &self.0.guards
    }

    /// Its size, as [`TXN_BYTES_MAX`] counts it.
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// What changes.
    pub fn writes(&self) -> &[Write] {
        &self.0.writes
    }

    /// Whether it writes this very key, by itself.
    pub fn writes_key(&self, key: &Key) -> bool {
        self.0.writes(key)
    }

    /// Whether it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.0.writes.is_empty()
    }

    /// Adds a step whole and says which guards are its own, or hands it back when the transaction would become illegal.
    /// Equal guards are kept once.
    pub fn push(&mut self, step: Step) -> Result<Vec<GuardIx>, (Step, TxnError)> {
        self.push_within(step, OPS_MAX, TXN_BYTES_MAX)
    }

    fn push_within(
        &mut self,
        step: Step,
        ops_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<GuardIx>, (Step, TxnError)> {
        Arc::make_mut(&mut self.0).push(step, ops_max, bytes_max)
    }
}

impl Contents {
    fn push(
        &mut self,
        step: Step,
        ops_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<GuardIx>, (Step, TxnError)> {
        if let Err(error) = self.fits(&step, ops_max, bytes_max) {
            return Err((step, error));
        }
        let indexes = step
            .guards
            .into_iter()
            .map(|guard| self.add_guard(guard))
            .collect();
        for write in step.writes {
            self.bytes += write.size() + FRAMING;
            match &write {
                Write::Put { key, .. } | Write::Delete { key } => {
                    self.written.add(KeyHash::of(key), self.writes.len());
                }
                Write::DeleteRange { range } => self.ranges.push(range.clone()),
            }
            self.writes.push(write);
        }
        assert!(
            self.guards.len() <= OPS_MAX && self.writes.len() <= OPS_MAX,
            "a transaction keeps its limits"
        );
        Ok(indexes)
    }

    fn add_guard(&mut self, guard: Guard) -> GuardIx {
        let hash = KeyHash::of(guard.key());
        if let Some(known) = self.known(hash, &guard) {
            return known;
        }
        let ix =
            u16::try_from(self.guards.len()).expect("a transaction has at most OPS_MAX guards");
        self.bytes += guard.key().as_str().len() + FRAMING;
        self.guarded.add(hash, self.guards.len());
        self.guards.push(guard);
        GuardIx(ix)
    }

    /// The same guard, if it is there.
    fn known(&self, hash: KeyHash, guard: &Guard) -> Option<GuardIx> {
        let mut same = self.guarded.may_have(hash);
        same.find(|at| self.guards[*at] == *guard)
            .and_then(|at| u16::try_from(at).ok())
            .map(GuardIx)
    }

    fn writes(&self, key: &Key) -> bool {
        let mut same = self.written.may_have(KeyHash::of(key));
        same.any(|at| key_of(&self.writes[at]) == Some(key))
    }

    fn fits(&self, step: &Step, ops_max: usize, bytes_max: usize) -> Result<(), TxnError> {
        let new_guards = step
            .guards
            .iter()
            .filter(|guard| self.known(KeyHash::of(guard.key()), guard).is_none())
            .count();
        if self.guards.len() + new_guards > ops_max
            || self.writes.len() + step.writes.len() > ops_max
        {
            return Err(TxnError::TooMany);
        }
        let more: usize = step
            .writes
            .iter()
            .map(|write| write.size() + FRAMING)
            .sum::<usize>()
            + step
                .guards
                .iter()
                .map(|guard| guard.key().as_str().len() + FRAMING)
                .sum::<usize>();
        if self.bytes + more > bytes_max {
            return Err(TxnError::TooLarge);
        }
        if self.writes_twice_with(&step.writes) {
            return Err(TxnError::WrittenTwice);
        }
        Ok(())
    }

    /// Whether a key would be written twice, by itself or by a range.
    fn writes_twice_with(&self, more: &[Write]) -> bool {
        let own_ranges = more.iter().filter_map(|write| match write {
            Write::DeleteRange { range } => Some(range),
            Write::Put { .. } | Write::Delete { .. } => None,
        });
        let in_a_range =
            |key: &Key| (self.ranges.iter().chain(own_ranges.clone())).any(|it| it.contains(key));
        more.iter().enumerate().any(|(at, write)| match write {
            Write::Put { key, .. } | Write::Delete { key } => {
                let before = &more[..at];
                before.iter().any(|other| key_of(other) == Some(key))
                    || self.writes(key)
                    || in_a_range(key)
            }
            // What else the step itself writes is looked for in its ranges above.
            Write::DeleteRange { range } => {
                let mut written = self.writes.iter().filter_map(key_of);
                written.any(|key| range.contains(key))
            }
        })
    }
}

/// Why a store did not apply a transaction, for certain.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The store is overloaded and took nothing.
    #[error("the store is overloaded")]
    Busy,
    /// A write names a lease that has ended.
    #[error("the lease has ended")]
    LeaseGone,
    /// The request is larger than the store takes.
    #[error("the request is too large")]
    TooLarge,
    /// The store does not let us.
    #[error("permission denied")]
    Denied,
    /// The store's quota is nearly used up: what is left is kept for the tasks that it holds already.
    #[error("the store is nearly full: its quota is almost used up")]
    NoRoom,
    /// The request makes no sense to the store.
    #[error("the store calls the request invalid")]
    Invalid,
}

/// A guard that did not hold, and what was found instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Which guard.
    pub guard: GuardIx,
    /// What the key holds at the conflict's revision; `None` when it is absent or the guard looks at a range.
    pub found: Option<Found>,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnOutcome {
    /// Applied, at this revision.
    Committed {
        /// The revision of its writes.
        at: Revision,
    },
    /// Not applied: some guards did not hold.
    Conflict {
        /// The revision at which that was seen. Decide only on a view that has reached it.
        at: Revision,
        /// Which guards failed. May be empty when the store could not tell any more.
        failed: Vec<Failed>,
    },
    /// Not applied, for certain.
    Refused(Refusal),
    /// Applied, or not, or not yet.
    Unknown,
}

/// Steps that share a transaction, each with what its owner wants to remember. Leaves room for one more guard and write
/// of up to [`SEAL_BYTES_MAX`]: the lane's.
#[derive(Debug, Clone)]
pub struct Batch<M> {
    txn: Txn,
    steps: Vec<(M, Vec<GuardIx>)>,
}

impl<M> Default for Batch<M> {
    fn default() -> Self {
        Self {
            txn: Txn::default(),
            steps: Vec::new(),
        }
    }
}

/// Why a step was handed back: it does not fit behind the others, or would not fit alone.
#[derive(Debug)]
pub struct BatchError<M> {
    /// What its owner wanted to remember.
    pub meta: M,
    /// The step.
    pub step: Step,
    /// What would be illegal.
    pub error: TxnError,
}

impl<M> Batch<M> {
    /// Adds a step whole, or hands it back.
    pub fn push(&mut self, meta: M, step: Step) -> Result<(), Box<BatchError<M>>> {
        match self
            .txn
            .push_within(step, OPS_MAX - 1, TXN_BYTES_MAX - SEAL_BYTES_MAX)
        {
            Ok(guards) => {
                self.steps.push((meta, guards));
                Ok(())
            }
            Err((step, error)) => Err(Box::new(BatchError { meta, step, error })),
        }
    }

    /// Adds the one guard and write that a batch keeps room for, and says which guard it is.
    pub fn seal(&mut self, guard: Guard, write: Write) -> GuardIx {
        assert!(write.size() < SEAL_BYTES_MAX, "a seal is small");
        let step = Step::new(vec![guard], vec![write]);
        let own = self
            .txn
            .push(step)
            .expect("a batch keeps room for its seal, and no step writes a lane");
        own[0]
    }

    /// The transaction.
    pub fn txn(&self) -> &Txn {
        &self.txn
    }

    /// Whether no step was added.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether another step of two guards and two writes may fit: a cheap first look.
    pub fn has_room(&self) -> bool {
        self.txn.writes().len() + 2 < OPS_MAX && self.txn.guards().len() + 2 < OPS_MAX
    }

    /// How many steps were added.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// What the owners wanted to remember.
    pub fn metas(&self) -> impl Iterator<Item = &M> {
        self.steps.iter().map(|(meta, _)| meta)
    }

    /// Everything remembered, in the order of the steps.
    pub fn into_metas(self) -> Vec<M> {
        self.steps.into_iter().map(|(meta, _)| meta).collect()
    }

    /// Parts the steps into those that own one of the failed guards, each with what was found, and the others.
    pub fn part(self, failed: &[Failed]) -> (Vec<Disproved<M>>, Vec<M>) {
        let (mut lost, mut spared) = (Vec::new(), Vec::new());
        for (meta, guards) in self.steps {
            let own: Vec<_> = guards
                .iter()
                .enumerate()
                .filter_map(|(position, guard)| {
                    let failed = failed.iter().find(|it| it.guard == *guard)?;
                    Some((position, failed.found.clone()))
                })
                .collect();
            if own.is_empty() {
                spared.push(meta)
            } else {
                lost.push(Disproved { meta, found: own })
            }
        }
        (lost, spared)
    }
}

/// A step whose guards did not all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disproved<M> {
    /// What its owner wanted to remember.
    pub meta: M,
    /// The position of each failed guard within the step, and what its key held.
    pub found: Vec<(usize, Option<Found>)>,
}

impl<M> Disproved<M> {
    /// What the guard at `position` of the step found, if that guard failed.
    pub fn at(&self, position: usize) -> Option<Option<&Found>> {
        self.found
            .iter()
            .find(|(at, _)| *at == position)
            .map(|(_, found)| found.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Value;

    fn key(n: usize) -> Key {
        Key::from_store(format!("/k/{n:04}"))
    }

    fn put(n: usize, bytes: usize) -> Write {
        Write::Put {
            key: key(n),
            value: Value::from(vec![b'x'; bytes]),
            lease: None,
        }
    }

    #[test]
    fn the_129th_write_and_guard_are_handed_back() {
        let mut txn = Txn::default();
        for n in 0..OPS_MAX {
            txn.push(Step::new(vec![Guard::Absent(key(n))], vec![put(n, 1)]))
                .unwrap();
        }
        let full = txn.clone();
        let (step, error) = txn.push(Step::new(vec![], vec![put(999, 1)])).unwrap_err();
        assert_eq!((error, step.writes.len()), (TxnError::TooMany, 1));
        assert_eq!(
            txn.push(Step::new(vec![Guard::Absent(key(999))], vec![]))
                .unwrap_err()
                .1,
            TxnError::TooMany
        );
        assert_eq!(txn, full, "what is handed back leaves no trace");
        assert_eq!(
            txn.push(Step::new(vec![Guard::Absent(key(3))], vec![])),
            Ok(vec![GuardIx(3)]),
            "a guard it has already is free"
        );
    }

    #[test]
    fn no_key_is_written_twice_not_even_by_a_range() {
        let mut txn = Txn::default();
        txn.push(Step::new(vec![], vec![put(5, 1)])).unwrap();
        let all = Range::new(key(0), key(9));
        for write in [
            put(5, 1),
            Write::Delete { key: key(5) },
            Write::DeleteRange { range: all.clone() },
        ] {
            assert_eq!(
                txn.push(Step::new(vec![], vec![write])).unwrap_err().1,
                TxnError::WrittenTwice
            );
        }
        let mut ranged = Txn::default();
        ranged
            .push(Step::new(vec![], vec![Write::DeleteRange { range: all }]))
            .unwrap();
        assert_eq!(
            ranged
                .push(Step::new(vec![], vec![put(5, 1)]))
                .unwrap_err()
                .1,
            TxnError::WrittenTwice
        );
    }

    #[test]
    fn nor_within_one_step() {
        let range = |from, to| Write::DeleteRange {
            range: Range::new(key(from), key(to)),
        };
        for writes in [
            vec![put(5, 1), range(0, 9)],
            vec![range(0, 9), put(5, 1)],
            vec![range(0, 9), Write::Delete { key: key(5) }],
        ] {
            let (_, error) = Txn::default()
                .push(Step::new(vec![], writes))
                .expect_err("a key is written twice");
            assert_eq!(error, TxnError::WrittenTwice);
        }
        let legal = vec![range(0, 5), put(5, 1), range(9, 0), range(3, 4)];
        assert!(Txn::default().push(Step::new(vec![], legal)).is_ok());
    }

    #[test]
    fn a_transaction_stays_below_what_a_store_takes() {
        let mut txn = Txn::default();
        txn.push(Step::new(vec![], vec![put(0, TXN_BYTES_MAX / 2)]))
            .unwrap();
        assert_eq!(
            txn.push(Step::new(vec![], vec![put(1, TXN_BYTES_MAX / 2)]))
                .unwrap_err()
                .1,
            TxnError::TooLarge
        );
    }

    #[test]
    fn a_failed_guard_takes_down_every_step_that_shares_it() {
        let shared = Guard::Alive {
            key: key(100),
            since: Revision(1),
        };
        let mut batch = Batch::default();
        for n in 0..3 {
            let mut guards = vec![Guard::Absent(key(n))];
            if n != 1 {
                guards.push(shared.clone());
            }
            batch.push(n, Step::new(guards, vec![put(n, 1)])).unwrap();
        }
        let at = batch
            .txn()
            .guards()
            .iter()
            .position(|guard| *guard == shared)
            .unwrap();
        let failed = [Failed {
            guard: GuardIx(at as u16),
            found: None,
        }];
        let (lost, spared) = batch.part(&failed);
        assert_eq!(
            lost.iter()
                .map(|it| (it.meta, it.at(1).is_some()))
                .collect::<Vec<_>>(),
            [(0, true), (2, true)]
        );
        assert_eq!(spared, [1]);
    }
}
