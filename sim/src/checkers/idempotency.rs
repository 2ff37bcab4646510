//! S19: the same idempotency key with the same body stands for one task as long as that task is kept; with another body
//! it is taken; and a key is never given to another task before its own was purged.
//!
//! No fault suspends it.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_core::gateway::{IdempotencyKey, Reply, Request, RequestId, Submitted};
use windlass_core::ids::TaskId;
use windlass_core::keyspace::Key;
use windlass_core::time::Mono;

use super::{Checker, Findings, Rule};
use crate::book::Other;
use crate::fact::{Fact, NodeIx};

/// Remembers what every key stands for, and what it last stood for.
#[derive(Debug, Default)]
pub(super) struct Idempotency {
    /// What each key stood for, the last at the end.
    bound: BTreeMap<String, Vec<Bound>>,
    asked: BTreeMap<RequestId, (Mono, Vec<Option<IdempotencyKey>>)>,
}

#[derive(Debug)]
struct Bound {
    task: TaskId,
    body: Arc<str>,
    since: Mono,
    freed: Option<Mono>,
}

impl Idempotency {
    fn other(&mut self, at: Mono, other: &Other, found: &mut Findings) {
        let Other::Unique { hash, task, body } = other else {
            return;
        };
        let (Some(task), Some(body)) = (task, body) else {
            if let Some(bound) = self.bound.get_mut(hash).and_then(|all| all.last_mut()) {
                bound.freed = Some(at);
            }
            return;
        };
        let bound = Bound {
            task: *task,
            body: body.clone(),
            since: at,
            freed: None,
        };
        let all = self.bound.entry(hash.clone()).or_default();
        let before = all
            .last()
            .filter(|before| before.freed.is_none())
            .map(|it| it.task);
        all.push(bound);
        if let Some(before) = before {
            let what = format!("key {hash} stood for {before}, and now for {task}");
            found.add(self, at, None, Some(*task), what);
        }
    }

    /// What is wrong with a fate, given the key and body that came with it.
    fn judge(&self, since: Mono, key: &IdempotencyKey, fate: &Submitted) -> Option<String> {
        let bound = self.bound.get(Key::unique(&key.key_hash).as_str());
        // What the key stood for at some time since it was asked.
        let bound: Vec<&Bound> = bound
            .into_iter()
            .flatten()
            .filter(|it| it.freed.is_none_or(|freed| freed >= since))
            .collect();
        let stood = |task: &TaskId, right: &dyn Fn(&Bound) -> bool| {
            bound.iter().any(|it| it.task == *task && right(it))
        };
        let same_body = |bound: &Bound| bound.body == key.body_hash;
        let (id, right) = match fate {
            Submitted::Accepted { id, .. } => {
                (id, stood(id, &|it| same_body(it) && it.since >= since))
            }
            Submitted::Repeated { id } => (id, stood(id, &same_body)),
            Submitted::KeyTaken { id } => (id, stood(id, &|it| !same_body(it))),
            Submitted::Refused(_) | Submitted::Unknown { .. } => return None,
        };
        (!right).then(|| {
            let stands = bound
                .last()
                .map_or_else(|| "nothing".to_owned(), |it| it.task.to_string());
            let key = &key.key_hash;
            format!("key {key} stands for {stands}, and {id} was told: {fate:?}")
        })
    }

    fn answer(
        &mut self,
        at: Mono,
        id: RequestId,
        node: NodeIx,
        fates: &[Submitted],
        found: &mut Findings,
    ) {
        let Some((since, keys)) = self.asked.remove(&id) else {
            return;
        };
        for (key, fate) in keys.iter().zip(fates) {
            let why = match key {
                Some(key) => self.judge(since, key, fate),
                None => matches!(
                    fate,
                    Submitted::Repeated { .. } | Submitted::KeyTaken { .. }
                )
                .then(|| "a task without a key was taken for another".to_owned()),
            };
            if let Some(what) = why {
                found.add(self, at, Some(node), None, what);
            }
        }
    }
}

impl Checker for Idempotency {
    fn rule(&self) -> Rule {
        Rule::S19
    }

    fn name(&self) -> &'static str {
        "idempotency"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Stored(revised) = fact {
            for other in &revised.others {
                self.other(at, other, found);
            }
        }
        if let Fact::Asked { id, request, .. } = fact
            && let Request::Submit(specs) = &**request
        {
            let keys = specs.iter().map(|spec| spec.key.clone()).collect();
            self.asked.insert(*id, (at, keys));
        }
        if let Fact::Answered { id, node, reply } = fact
            && let Reply::Submitted(fates) = &**reply
        {
            self.answer(at, *id, *node, fates, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GATEWAY, History, accepted, spec};
    use super::*;

    fn bind(h: &mut History, task: Option<TaskId>) {
        let unique = Other::Unique {
            hash: "/unique/k".into(),
            task,
            body: task.map(|_| "b".into()),
        };
        h.others.push(unique);
        h.store(GATEWAY, vec![]);
    }

    fn ask(h: &mut History, id: u64, body: &str) {
        h.ask(id, Request::Submit(vec![spec(Some(("k", body)))]));
    }

    fn repeated(id: TaskId) -> Reply {
        Reply::Submitted(vec![Submitted::Repeated { id }])
    }

    fn taken(id: TaskId) -> Reply {
        Reply::Submitted(vec![Submitted::KeyTaken { id }])
    }

    #[test]
    fn an_answer_may_be_as_old_as_its_question() {
        let mut h = History::of(Idempotency::default());
        let (first, second) = (h.task(), h.task());
        bind(&mut h, Some(first));
        ask(&mut h, 1, "b");
        h.pass(10);
        bind(&mut h, None);
        h.pass(10);
        bind(&mut h, Some(second));
        h.answer(1, repeated(first));
        h.assert_clean();
    }

    #[test]
    fn a_key_stands_for_one_task_until_it_is_freed() {
        let mut h = History::of(Idempotency::default());
        let (first, second) = (h.task(), h.task());
        ask(&mut h, 1, "b");
        bind(&mut h, Some(first));
        h.answer(1, accepted(first));
        ask(&mut h, 2, "b");
        h.answer(2, repeated(first));
        ask(&mut h, 3, "c");
        h.answer(3, taken(first));
        bind(&mut h, None);
        ask(&mut h, 4, "b");
        bind(&mut h, Some(second));
        h.answer(4, accepted(second));
        h.assert_clean();
    }

    #[test]
    fn a_key_is_not_given_away() {
        let mut h = History::of(Idempotency::default());
        let (first, second) = (h.task(), h.task());
        bind(&mut h, Some(first));
        bind(&mut h, Some(second));
        h.assert_tripped("stood for");
    }

    #[test]
    fn the_same_key_and_body_make_no_second_task() {
        let mut h = History::of(Idempotency::default());
        let (first, second) = (h.task(), h.task());
        bind(&mut h, Some(first));
        ask(&mut h, 1, "b");
        h.answer(1, accepted(second));
        h.assert_tripped("stands for");
    }

    #[test]
    fn another_body_is_no_repetition_and_the_same_is_no_conflict() {
        let mut h = History::of(Idempotency::default());
        let first = h.task();
        bind(&mut h, Some(first));
        ask(&mut h, 1, "c");
        h.answer(1, repeated(first));
        h.assert_tripped("Repeated");
        ask(&mut h, 2, "b");
        h.answer(2, taken(first));
        h.assert_tripped("KeyTaken");
    }
}
