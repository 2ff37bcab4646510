//! S18: what a client is told of each task of a submission is so, item by item and in order: what is accepted is in the
//! store as it was asked for, every accepted id is another, there are as many fates as tasks; and what was refused never
//! gets there: at the end the store has seen no more tasks than somebody was told of or nobody was told about. And what
//! is refused as too large is large: the size of others that were to be written with it is not its fault.
//!
//! No fault suspends it. Tasks of the next version (`Upgrade`) are nobody's submissions.

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::gateway::{Reply, Request, RequestId, Submitted, TaskSpec, TaskState};
use windlass_core::ids::{Priority, QueueName, TaskId};
use windlass_core::store::Refusal;
use windlass_core::time::Mono;

use super::rows::is_foreign;
use super::{Checker, Findings, Rule, Terms};
use crate::book::{Spot, TaskStep, given};
use crate::fact::{Fact, NodeIx};

/// Remembers what was asked for, what came into the store, and what clients were told.
#[derive(Debug, Default)]
pub(super) struct BatchMatches {
    asked: BTreeMap<RequestId, Vec<Asked>>,
    /// The largest transaction that the store takes.
    request_bytes_max: usize,
    created: BTreeMap<TaskId, (Wanted, TaskState)>,
    told: BTreeSet<TaskId>,
    repeated: BTreeSet<TaskId>,
}

/// A task of a submission.
#[derive(Debug)]
struct Asked {
    wanted: Wanted,
    /// Alone it is surely no more than the store takes.
    is_small: bool,
}

/// What tells one task of a batch from another.
type Wanted = (QueueName, Priority, u32, u64);

fn wanted(spec: &TaskSpec) -> Wanted {
    let given = given::asked(spec);
    (spec.queue.clone(), spec.priority, spec.retries_max, given)
}

/// What a task is surely smaller than beside its payload and its metadata, which are there once or twice.
const RECORDS_BYTES: usize = 8_000;

impl BatchMatches {
    pub(super) fn new(terms: &Terms) -> Self {
        let request_bytes_max = usize::try_from(terms.request_bytes_max).expect("32 bits fit");
        Self {
            request_bytes_max,
            ..Self::default()
        }
    }

    fn is_small(&self, spec: &TaskSpec) -> bool {
        let metadata = spec
            .metadata
            .iter()
            .map(|(key, value)| key.len() + value.len());
        let bytes = spec.payload.as_str().len() + metadata.sum::<usize>();
        bytes * 2 + RECORDS_BYTES < self.request_bytes_max
    }

    fn step(&mut self, step: &TaskStep) {
        let Some(promised) = step.after.promised.as_ref().filter(|_| !is_foreign(step)) else {
            return;
        };
        let state = match step.after.spots.first() {
            Some(Spot::Delayed { .. }) => TaskState::Scheduled,
            Some(Spot::Entry { .. } | Spot::Claim(_) | Spot::Unreadable { .. }) | None => {
                TaskState::Pending
            }
        };
        let wanted = (
            promised.queue.clone(),
            promised.priority,
            promised.retries_max,
            promised.asked,
        );
        self.created.insert(step.task, (wanted, state));
    }

    fn answer(
        &mut self,
        at: Mono,
        id: RequestId,
        node: NodeIx,
        fates: &[Submitted],
        found: &mut Findings,
    ) {
        let Some(asked) = self.asked.remove(&id) else {
            return;
        };
        let mut say = |task, what| found.add(self, at, Some(node), task, what);
        if asked.len() != fates.len() {
            let what = format!("{} fates for {} tasks", fates.len(), asked.len());
            say(None, what);
        }
        let (mut fresh, mut repeated) = (BTreeSet::new(), BTreeSet::new());
        for (Asked { wanted, is_small }, fate) in asked.iter().zip(fates) {
            let (task, state) = match fate {
                Submitted::Accepted { id, state } => (*id, Some(*state)),
                Submitted::Unknown { id } => (*id, None),
                // It may be its own: its first transaction's fate was not known, and the key says it was applied.
                Submitted::Repeated { id } => {
                    repeated.insert(*id);
                    continue;
                }
                Submitted::Refused(Refusal::TooLarge) if *is_small => {
                    say(
                        None,
                        format!("a small task of {wanted:?} was refused as too large"),
                    );
                    continue;
                }
                Submitted::KeyTaken { .. } | Submitted::Refused(_) => continue,
            };
            if !fresh.insert(task) || self.told.contains(&task) {
                say(Some(task), format!("{task} is the id of two tasks"));
            }
            match (self.created.get(&task), state) {
                (None, Some(_)) => say(Some(task), format!("{task} was accepted, and never was")),
                (Some((is, _)), _) if is != wanted => {
                    let what = format!("{task} is {is:?}, and {wanted:?} was asked for");
                    say(Some(task), what);
                }
                (Some((_, is)), Some(told)) if *is != told => {
                    say(
                        Some(task),
                        format!("{task} began as {is}, and not as {told}"),
                    );
                }
                (Some(_), _) | (None, None) => {}
            }
        }
        self.told.extend(fresh);
        self.repeated.extend(repeated);
    }
}

impl Checker for BatchMatches {
    fn rule(&self) -> Rule {
        Rule::S18
    }

    fn name(&self) -> &'static str {
        "batch_matches"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Stored(revised) = fact {
            for step in &revised.steps {
                if step.before.record.is_none() {
                    self.step(step);
                }
            }
        }
        if let Fact::Asked { id, request, .. } = fact
            && let Request::Submit(specs) = &**request
        {
            let asked = specs.iter().map(|spec| Asked {
                wanted: wanted(spec),
                is_small: self.is_small(spec),
            });
            let asked = asked.collect();
            self.asked.insert(*id, asked);
        }
        if let Fact::Answered { id, node, reply } = fact {
            match &**reply {
                Reply::Submitted(fates) => self.answer(at, *id, *node, fates, found),
                // Nothing was done.
                Reply::NotReady | Reply::Refused(_) => {
                    self.asked.remove(id);
                }
                Reply::Task(_)
                | Reply::Tasks { .. }
                | Reply::Found { .. }
                | Reply::Count { .. }
                | Reply::Why(_)
                | Reply::Stats(_)
                | Reply::Queues(_)
                | Reply::Nodes(_)
                | Reply::Changes(_)
                | Reply::Missed { .. }
                | Reply::Timings(_)
                | Reply::Lock { .. }
                | Reply::Remote(_)
                | Reply::Done
                | Reply::NotFound
                | Reply::Forbidden { .. }
                | Reply::TimedOut => {}
            }
        }
    }

    fn finish(&mut self, at: Mono, found: &mut Findings) {
        let known = |id: &TaskId| self.told.contains(id) || self.repeated.contains(id);
        let untold = || self.created.keys().filter(|id| !known(id));
        let (count, open) = (untold().count(), self.asked.values().map(Vec::len).sum());
        if count > open {
            let what = format!("{count} tasks are nobody's, and {open} submissions are open");
            found.add(self, at, None, untold().next().copied(), what);
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::record::Json;

    use super::super::testing::{History, TERMS, accepted, spec};
    use super::*;

    fn submit(h: &mut History, id: u64, tasks: usize) {
        h.ask(id, Request::Submit(vec![spec(None); tasks]));
    }

    #[test]
    fn fates_that_are_so_are_right() {
        let mut h = History::of(BatchMatches::new(&TERMS));
        submit(&mut h, 1, 3);
        let (first, second) = (h.submit(None), h.task());
        let fates = vec![
            Submitted::Accepted {
                id: first,
                state: TaskState::Pending,
            },
            Submitted::Unknown { id: second },
            Submitted::Refused(Refusal::NoRoom),
        ];
        h.answer(1, Reply::Submitted(fates));
        submit(&mut h, 2, 1);
        h.submit(None);
        h.finish();
        h.assert_clean();
    }

    #[test]
    fn a_fate_too_few_and_an_accepted_task_that_is_not_there_are_found() {
        let mut h = History::of(BatchMatches::new(&TERMS));
        submit(&mut h, 1, 2);
        let task = h.task();
        h.answer(1, accepted(task));
        h.assert_tripped("never was");
        submit(&mut h, 2, 1);
        h.answer(2, Reply::Submitted(vec![]));
        h.assert_tripped("0 fates for 1 tasks");
    }

    #[test]
    fn an_id_that_is_told_twice_is_found() {
        let mut h = History::of(BatchMatches::new(&TERMS));
        let task = h.submit(None);
        for id in [1, 2] {
            submit(&mut h, id, 1);
            h.answer(id, accepted(task));
        }
        h.assert_tripped("two tasks");
    }

    #[test]
    fn a_task_that_stands_for_another_is_found() {
        let mut h = History::of(BatchMatches::new(&TERMS));
        let mut other = spec(None);
        other.priority = Priority::CRITICAL;
        h.ask(1, Request::Submit(vec![other]));
        let task = h.submit(None);
        h.answer(1, accepted(task));
        h.assert_tripped("was asked for");
    }

    #[test]
    fn a_small_task_that_is_refused_as_too_large_is_found_and_a_large_one_is_not() {
        let mut h = History::of(BatchMatches::new(&TERMS));
        let fates = || Reply::Submitted(vec![Submitted::Refused(Refusal::TooLarge)]);
        let mut large = spec(None);
        large.payload = Json::string(&"x".repeat(100_000));
        h.ask(1, Request::Submit(vec![large]));
        h.answer(1, fates());
        h.assert_clean();
        submit(&mut h, 2, 1);
        h.answer(2, fates());
        h.assert_tripped("was refused as too large");
    }

    #[test]
    fn a_refused_task_that_is_there_is_found_at_the_end() {
        let mut h = History::of(BatchMatches::new(&TERMS));
        submit(&mut h, 1, 1);
        h.submit(None);
        let fates = vec![Submitted::Refused(Refusal::NoRoom)];
        h.answer(1, Reply::Submitted(fates));
        h.finish();
        h.assert_tripped("1 tasks are nobody's");
    }
}
