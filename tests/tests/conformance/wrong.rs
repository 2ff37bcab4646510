//! A model that is wrong on purpose: what the comparison cannot see, it does not prove.

use windlass::core::ids::Revision;
use windlass::core::kv::Limits;
use windlass::core::rng::Rng;
use windlass::core::store::{Answer, LeaseAnswer, ReadAnswer, TxnOutcome};

use super::compare::{Difference, Tally, compare};
use super::model::Model;
use super::plan::Plan;
use super::shrink::shrink;
use super::step::{Compaction, Seen, Side, Step};

/// What is wrong: it is done to every answer.
type Twist = fn(&mut Seen);

struct Wrong {
    model: Model,
    twist: Twist,
}

impl Side for Wrong {
    async fn run(&mut self, step: &Step) -> Seen {
        let mut seen = self.model.run(step).await;
        (self.twist)(&mut seen);
        seen
    }
}

fn model() -> Model {
    Model::new(Limits::default())
}

async fn lead(plan: &Plan, twist: Twist) -> Option<Difference> {
    let mut wrong = Wrong {
        model: model(),
        twist,
    };
    compare(plan, &mut model(), &mut wrong, &mut Tally::default()).await
}

/// The first of many plans that shows a difference, shrunk.
async fn noticed(twist: Twist) -> Option<(Plan, Difference)> {
    let mut rng = Rng::new(3);
    for _ in 0..100 {
        let plan = Plan::draw(&mut rng.fork("plan"), 60);
        if let Some(found) = lead(&plan, twist).await {
            return Some(shrink(plan, found, async |plan| lead(plan, twist).await).await);
        }
    }
    None
}

#[tokio::test]
async fn a_right_model_is_equal_to_itself() {
    assert_eq!(noticed(|_| ()).await, None);
}

#[tokio::test]
async fn every_wrong_answer_is_noticed_and_shrunk_to_a_few_steps() {
    let twists: [(&str, Twist); 9] = [
        ("a lost event", lose_an_event),
        ("events of one revision in another order", turn_events),
        ("a watch that lags", lag),
        ("another life in a full read", renew_lives),
        ("a conflict that finds nothing", find_nothing),
        ("a revision too many", count_one_more),
        ("a lease that lets go of its keys", let_go),
        ("a dead lease that is renewed", revive),
        ("a compaction done twice", compact_again),
    ];
    for (what, twist) in twists {
        let (plan, found) = noticed(twist)
            .await
            .unwrap_or_else(|| panic!("not noticed: {what}"));
        let acts = &plan.acts;
        assert!(acts.len() <= 4, "{what}: {found:?} by {acts:?}");
        let again = lead(&plan, twist).await.map(|found| found.kind());
        assert_eq!(again, Some(found.kind()), "{what}");
    }
}

fn lose_an_event(seen: &mut Seen) {
    if let Seen::Told(told) = seen {
        told.values_mut().for_each(|it| drop(it.changes.pop()));
    }
}

fn turn_events(seen: &mut Seen) {
    if let Seen::Told(told) = seen {
        for it in told.values_mut() {
            let last = it.changes.last().map(|change| change.at());
            let from = it
                .changes
                .partition_point(|change| Some(change.at()) < last);
            it.changes[from..].reverse();
        }
    }
}

fn lag(seen: &mut Seen) {
    if let Seen::Told(told) = seen {
        for reached in told.values_mut().filter_map(|it| it.reached.as_mut()) {
            *reached = Revision(reached.0.min(4));
        }
    }
}

fn renew_lives(seen: &mut Seen) {
    if let Seen::Read { items, .. } | Seen::Answer(Answer::Read(ReadAnswer::Items { items, .. })) =
        seen
    {
        items
            .iter_mut()
            .for_each(|it| it.found.created = it.found.modified);
    }
}

fn find_nothing(seen: &mut Seen) {
    if let Seen::Answer(Answer::Txn(TxnOutcome::Conflict { failed, .. })) = seen {
        failed.iter_mut().for_each(|it| it.found = None);
    }
}

fn count_one_more(seen: &mut Seen) {
    if let Seen::Answer(Answer::Txn(TxnOutcome::Committed { at })) = seen
        && at.0 > 6
    {
        *at = at.next();
    }
}

fn let_go(seen: &mut Seen) {
    if let Seen::Dump { keys, .. } = seen {
        keys.iter_mut()
            .filter(|it| it.version > 1)
            .for_each(|it| it.lease = None);
    }
}

fn revive(seen: &mut Seen) {
    if let Seen::Answer(Answer::Lease(answer @ LeaseAnswer::Gone)) = seen {
        *answer = LeaseAnswer::Unknown;
    }
}

fn compact_again(seen: &mut Seen) {
    if *seen == Seen::CompactedRaw(Compaction::Already) {
        *seen = Seen::CompactedRaw(Compaction::Done);
    }
}
