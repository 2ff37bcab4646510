//! One machine, one store, and the messages between them, none of which moves by itself.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use windlass_core::ids::OpId;
use windlass_core::keyspace::{Key, Range};
use windlass_core::kv::{self, ClientId, Kv, Limits};
use windlass_core::machine::Machine;
use windlass_core::server::{self, Server};
use windlass_core::store::{
    Answer, Call, Found, Item, Step, StoreCall, Txn, TxnOutcome, ViewEvent, Write,
};
use windlass_core::time::{Mono, Now, Wall};
use windlass_core::worker::{self, Worker};

/// The machine's client number at the store, and that of everybody else.
const MACHINE: ClientId = ClientId(1);
const OTHERS: ClientId = ClientId(2);

/// What a rig must know of its machine.
pub(crate) trait Subject: Machine {
    fn elapsed() -> Self::Input;
    fn store(op: OpId, answer: Answer) -> Self::Input;
    fn call(effect: &Self::Effect) -> Option<StoreCall>;
}

impl Subject for Worker {
    fn elapsed() -> worker::Input {
        worker::Input::Elapsed
    }

    fn store(op: OpId, answer: Answer) -> worker::Input {
        worker::Input::Store { op, answer }
    }

    fn call(effect: &worker::Effect) -> Option<StoreCall> {
        if let worker::Effect::Store(call) = effect {
            Some(call.clone())
        } else {
            None
        }
    }
}

impl Subject for Server {
    fn elapsed() -> server::Input {
        server::Input::Elapsed
    }

    fn store(op: OpId, answer: Answer) -> server::Input {
        server::Input::Store { op, answer }
    }

    fn call(effect: &server::Effect) -> Option<StoreCall> {
        if let server::Effect::Store(call) = effect {
            Some(call.clone())
        } else {
            None
        }
    }
}

/// The machine and all that surrounds it.
pub(crate) struct Rig<M: Subject> {
    pub(crate) machine: M,
    pub(crate) kv: Kv,
    pub(crate) now: Now,
    /// Calls that have not reached the store.
    pub(crate) requests: Vec<StoreCall>,
    /// Answers and news that have not reached the machine.
    pub(crate) answers: Vec<(OpId, Answer)>,
    /// Everything that the machine wanted, but for calls.
    pub(crate) wanted: Vec<M::Effect>,
    /// Every input, and how the machine took it, as text.
    pub(crate) taped: Vec<(Now, String, String)>,
    /// The most effects that one input had.
    pub(crate) effects_max: usize,
    other_ops: u64,
}

impl<M: Subject> Rig<M>
where
    M::Input: Clone + Serialize + DeserializeOwned,
    M::Effect: Serialize,
{
    pub(crate) fn new(limits: Limits, machine: impl FnOnce(Now) -> M) -> Self {
        let now = Now {
            mono: Mono::from_nanos(1_000),
            wall: Wall::from_millis(1_800_000_000_000),
        };
        Self {
            machine: machine(now),
            kv: Kv::new(limits),
            now,
            requests: Vec::new(),
            answers: Vec::new(),
            wanted: Vec::new(),
            taped: Vec::new(),
            effects_max: 0,
            other_ops: 0,
        }
    }

    pub(crate) fn give(&mut self, input: M::Input) {
        let spelled = serde_json::to_string(&input).expect("inputs are data");
        let mut out = Vec::new();
        self.machine.handle(self.now, input, &mut out);
        let deadline = self.machine.deadline();
        assert!(
            deadline.is_none_or(|(at, _)| at > self.now.mono),
            "a deadline lies in the future"
        );
        self.effects_max = self.effects_max.max(out.len());
        let effects = serde_json::to_string(&out).expect("effects are data");
        self.taped.push((self.now, spelled, effects));
        for effect in out {
            match M::call(&effect) {
                Some(call) => self.requests.push(call),
                None => self.wanted.push(effect),
            }
        }
    }

    /// Gives the recorded inputs to another machine of the same beginnings: it must want the same, byte for byte.
    pub(crate) fn replay(&self, mut twin: M) {
        for (now, input, effects) in &self.taped {
            let input: M::Input = serde_json::from_str(input).expect("inputs read back");
            let mut out = Vec::new();
            twin.handle(*now, input, &mut out);
            let again = serde_json::to_string(&out).expect("effects are data");
            assert_eq!(*effects, again, "the same inputs have the same effects");
        }
    }

    /// Lets time pass; what the machine wanted to do meanwhile, it does late.
    pub(crate) fn pass(&mut self, span: Duration) {
        self.now.mono = self.now.mono.after(span);
        let millis = u64::try_from(span.as_millis()).expect("a short span");
        self.now.wall = Wall::from_millis(self.now.wall.as_millis() + millis);
        self.ask_store(MACHINE, None);
        self.give(M::elapsed());
    }

    /// Lets the machine do what it wants to do within the next millisecond.
    pub(crate) fn flush(&mut self) {
        let end = self.now.mono.after(Duration::from_millis(1));
        while let Some((at, _)) = self.machine.deadline().filter(|(at, _)| *at <= end) {
            self.now.mono = at;
            self.give(M::elapsed());
        }
    }

    fn ask_store(&mut self, client: ClientId, asked: Option<StoreCall>) {
        let input = match asked {
            Some(StoreCall { op, call }) => kv::Input::Call { client, op, call },
            None => kv::Input::Elapsed,
        };
        let mut out = Vec::new();
        self.kv.handle(self.now, input, &mut out);
        for effect in out {
            if let kv::Effect::Answer { client, op, answer } = effect
                && client == MACHINE
            {
                self.answers.push((op, answer));
            }
        }
    }

    /// The store takes the machine's call number `ix`.
    pub(crate) fn arrive(&mut self, ix: usize) {
        let call = self.requests.remove(ix);
        self.ask_store(MACHINE, Some(call));
    }

    /// Every call arrives, in order.
    pub(crate) fn arrive_all(&mut self) {
        while !self.requests.is_empty() {
            self.arrive(0);
        }
    }

    /// The machine gets answer number `ix`; news of one watch come in order.
    pub(crate) fn deliver(&mut self, ix: usize) {
        let op = self.answers[ix].0;
        let first = self.answers.iter().position(|(other, _)| *other == op);
        let (op, answer) = self
            .answers
            .remove(first.expect("the answer itself, if no other"));
        self.give(M::store(op, answer));
    }

    /// The machine gets every answer that is no news of a watch, if `news` is not wanted.
    pub(crate) fn deliver_all(&mut self, news: bool) {
        while let Some(ix) = self
            .answers
            .iter()
            .position(|(_, answer)| news || !matches!(answer, Answer::View(_)))
        {
            self.deliver(ix);
        }
    }

    /// Everything moves until nothing does, for a while.
    pub(crate) fn settle(&mut self) {
        for _ in 0..200 {
            self.flush();
            self.arrive_all();
            self.deliver_all(true);
        }
    }

    /// Time passes in small pieces, with everything moving, until `until` holds.
    pub(crate) fn run_until(&mut self, until: impl Fn(&Self) -> bool) {
        for _ in 0..1_000 {
            if until(self) {
                return;
            }
            self.pass(Duration::from_millis(50));
            self.flush();
            self.arrive_all();
            self.deliver_all(true);
        }
        panic!("it never came to that");
    }

    /// Somebody else's transaction.
    pub(crate) fn others(&mut self, step: Step) -> TxnOutcome {
        let mut txn = Txn::default();
        txn.push(step).expect("a step is a legal transaction");
        self.other_ops += 1;
        let input = kv::Input::Call {
            client: OTHERS,
            op: OpId(self.other_ops),
            call: Call::Commit(txn),
        };
        let mut out = Vec::new();
        self.kv.handle(self.now, input, &mut out);
        let mut outcome = None;
        for effect in out {
            if let kv::Effect::Answer { client, op, answer } = effect {
                match answer {
                    Answer::Txn(it) if client == OTHERS => outcome = Some(it),
                    answer @ (Answer::Txn(_)
                    | Answer::View(_)
                    | Answer::Read(_)
                    | Answer::Lease(_)
                    | Answer::Audited(_)
                    | Answer::Compacted(_)
                    | Answer::Usage(_)) => self.answers.push((op, answer)),
                }
            }
        }
        outcome.expect("a transaction is answered at once")
    }

    /// Somebody else writes a key.
    pub(crate) fn put(&mut self, key: Key, value: Vec<u8>) {
        let write = Write::Put {
            key,
            value: value.into(),
            lease: None,
        };
        let outcome = self.others(Step::new(vec![], vec![write]));
        assert!(
            matches!(outcome, TxnOutcome::Committed { .. }),
            "{outcome:?}"
        );
    }

    pub(crate) fn found(&self, key: &Key) -> Option<Found> {
        self.kv.entry(key).map(|entry| entry.item(key).found)
    }

    pub(crate) fn items(&self, range: &Range) -> Vec<Item> {
        self.kv
            .entries(range)
            .map(|(key, entry)| entry.item(key))
            .collect()
    }

    /// Of what is on its way to the machine, the news of `key` are lost, and nobody notices.
    pub(crate) fn lose_news(&mut self, key: &Key) {
        let mut lost = 0;
        for (_, answer) in &mut self.answers {
            if let Answer::View(ViewEvent::Delta { changes, .. }) = answer {
                let before = changes.len();
                changes.retain(|it| it.key() != key);
                lost += before - changes.len();
            }
        }
        assert!(lost > 0, "there were news of {key}");
    }

    /// The machine's watches break.
    pub(crate) fn break_watches(&mut self) {
        let watches: Vec<OpId> = self.watches();
        self.answers
            .retain(|(_, answer)| !matches!(answer, Answer::View(_)));
        for watch in watches {
            self.give(M::store(watch, Answer::View(ViewEvent::Lost)));
        }
    }

    /// The operations of all watches that were ever begun.
    pub(crate) fn watches(&self) -> Vec<OpId> {
        let mut watches = Vec::new();
        for (_, _, effects) in &self.taped {
            let effects: Vec<serde_json::Value> =
                serde_json::from_str(effects).expect("effects are data");
            for effect in &effects {
                let call = &effect["Store"];
                if call["call"].get("Watch").is_some()
                    && let Some(op) = call["op"].as_u64()
                {
                    watches.push(OpId(op));
                }
            }
        }
        watches
    }
}
