//! Queries from any text: each is read, or refused with a place in it; what was read reads back as the same, and means no
//! task that lies out of its reach.

use std::collections::BTreeMap;

use windlass_sim::core::filter::{Fact, Facts, Filter};
use windlass_sim::core::gateway::TaskState;
use windlass_sim::core::ids::{NodeId, Priority, TaskId};
use windlass_sim::core::time::Wall;

use crate::samples;

/// Checks the text that the bytes spell.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let filter: Filter = match text.parse() {
        Ok(filter) => filter,
        Err(error) => {
            let error: windlass_sim::core::filter::FilterError = error;
            assert!(
                (1..=text.chars().count() + 1).contains(&error.at),
                "{error}"
            );
            return;
        }
    };
    let spelled = filter.to_string();
    // A spelling may need quotes that its author did without, and be too long then.
    match spelled.parse::<Filter>() {
        Ok(again) => assert_eq!(again, filter, "{spelled}"),
        Err(error) => assert!(error.reason.contains("bytes"), "{spelled}: {error}"),
    }
    for state in TaskState::ALL {
        check_reach(&filter, state);
    }
}

fn check_reach(filter: &Filter, state: TaskState) {
    let now = Wall::from_millis(1_700_000_000_000);
    let (queue, kind, worker) = (samples::queue(0), samples::kind(0), samples::node(0));
    let has_worker = state.has_ended() || state == TaskState::Running;
    let worker: Option<&NodeId> = has_worker.then_some(&worker);
    let id = TaskId::floor_of(now);
    let metadata = BTreeMap::from([("team".to_owned(), "a b".to_owned())]);
    let known = Facts {
        id,
        state,
        queue: &queue,
        kind: &kind,
        priority: Priority::NORMAL,
        created_at: now,
        ended_at: state.has_ended().then_some(now),
        retries: 1,
        losses: 0,
        worker: Fact::Known(worker),
        error: Fact::Known(Some("it broke")),
        name: Fact::Known(Some("a task")),
        metadata: Fact::Known(&metadata),
    };
    let verdict = filter.judge(&known, now);
    let verdict = verdict.expect("a task of which all is known is meant, or is not");
    if verdict {
        let reach = filter.reach(now);
        let is_there = reach.states.contains(&state) && reach.has(id);
        assert!(is_there, "{filter} means what is out of its reach");
    }
    let partly = Facts {
        worker: Fact::Unknown,
        error: Fact::Unknown,
        name: Fact::Unknown,
        metadata: Fact::Unknown,
        ..known
    };
    let guess = filter.judge(&partly, now);
    assert!(
        guess.is_none_or(|guess| guess == verdict),
        "{filter} guesses"
    );
}
