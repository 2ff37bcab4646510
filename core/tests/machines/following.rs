//! Who asks a scheduler process what has changed.

use std::time::Duration;

use windlass_core::gateway::{ChangesView, Reply, Request, RequestId};
use windlass_core::ids::Revision;
use windlass_core::keyspace::Key;
use windlass_core::server::{self, Server};

use crate::random::{limits, server_config};
use crate::rig::Rig;

const SPAN: Duration = Duration::from_secs(5);

fn ready() -> Rig<Server> {
    let mut rig = Rig::new(limits(), |now| Server::new(server_config(), 7, now));
    rig.run_until(|rig| rig.machine.is_ready());
    rig.settle();
    rig
}

fn ask(rig: &mut Rig<Server>, id: u64, after: Option<Revision>, wait: Option<Duration>) {
    let request = Request::Changes { after, wait };
    let id = RequestId(id);
    rig.give(server::Input::Request { id, request });
    rig.flush();
}

fn reply(rig: &Rig<Server>, id: u64) -> Option<&Reply> {
    rig.wanted.iter().find_map(|effect| match effect {
        server::Effect::Reply { id: to, reply } if to.0 == id => Some(reply),
        server::Effect::Reply { .. } | server::Effect::Store(_) | server::Effect::Exit(_) => None,
    })
}

fn changes(rig: &Rig<Server>, id: u64) -> &ChangesView {
    match reply(rig, id) {
        Some(Reply::Changes(changes)) => changes,
        other => panic!("{other:?}"),
    }
}

fn missed(rig: &Rig<Server>, id: u64) -> Revision {
    match reply(rig, id) {
        Some(Reply::Missed { at }) => *at,
        other => panic!("{other:?}"),
    }
}

/// Follows from now on: the revision to ask after.
fn begin(rig: &mut Rig<Server>) -> Revision {
    ask(rig, 1, None, None);
    let begun = changes(rig, 1);
    assert!(begun.is_empty());
    begun.revision
}

fn configure(rig: &mut Rig<Server>, queue: &str) {
    let key = Key::queue_config(&queue.parse().unwrap());
    rig.put(key, br#"{"v":1,"paused":true}"#.to_vec());
}

#[test]
fn who_waits_for_a_change_is_told_as_soon_as_it_is_known() {
    let mut rig = ready();
    let from = begin(&mut rig);
    ask(&mut rig, 2, Some(from), Some(SPAN));
    assert_eq!(reply(&rig, 2), None);
    configure(&mut rig, "a");
    rig.settle();
    let told = changes(&rig, 2).clone();
    assert_eq!(told.queues, ["a".parse().unwrap()]);
    configure(&mut rig, "b");
    rig.settle();
    ask(&mut rig, 3, Some(told.revision), None);
    assert_eq!(changes(&rig, 3).queues, ["b".parse().unwrap()]);
    ask(&mut rig, 4, Some(from), None);
    assert_eq!(changes(&rig, 4).queues.len(), 2, "from the same beginning");
}

#[test]
fn who_waits_in_vain_is_told_that_nothing_has_changed() {
    let mut rig = ready();
    let from = begin(&mut rig);
    ask(&mut rig, 2, Some(from), Some(Duration::from_millis(80)));
    rig.pass(Duration::from_millis(80));
    rig.flush();
    assert!(changes(&rig, 2).is_empty());
}

#[test]
fn who_waits_while_the_process_leaves_is_answered_at_once() {
    let mut rig = ready();
    let from = begin(&mut rig);
    ask(&mut rig, 2, Some(from), Some(SPAN));
    rig.give(server::Input::Drain);
    rig.flush();
    assert!(changes(&rig, 2).is_empty());
}

#[test]
fn a_revision_before_the_first_question_is_not_known() {
    let mut rig = ready();
    configure(&mut rig, "a");
    rig.settle();
    let before = rig.machine.view_at().unwrap();
    configure(&mut rig, "b");
    rig.settle();
    ask(&mut rig, 2, Some(before), Some(SPAN));
    assert!(missed(&rig, 2) > before);
}

#[test]
fn who_waits_while_the_view_is_read_anew_is_told_that_it_missed_something() {
    let mut rig = ready();
    let from = begin(&mut rig);
    ask(&mut rig, 2, Some(from), Some(SPAN));
    rig.break_watches();
    configure(&mut rig, "a");
    rig.run_until(|rig| reply(rig, 2).is_some());
    let at = missed(&rig, 2);
    assert!(at > from);
    ask(&mut rig, 3, Some(at), None);
    assert!(changes(&rig, 3).is_empty());
}

#[test]
fn a_revision_that_never_comes_is_of_another_store() {
    let mut rig = ready();
    begin(&mut rig);
    let never = Revision(1_000_000);
    ask(&mut rig, 2, Some(never), Some(Duration::from_millis(80)));
    configure(&mut rig, "a");
    rig.settle();
    assert_eq!(reply(&rig, 2), None, "it may be only ahead");
    rig.pass(Duration::from_millis(80));
    rig.flush();
    assert!(missed(&rig, 2) < never);
}

#[test]
fn who_goes_away_is_forgotten() {
    let mut rig = ready();
    let from = begin(&mut rig);
    ask(&mut rig, 2, Some(from), Some(SPAN));
    rig.give(server::Input::Forget { id: RequestId(2) });
    configure(&mut rig, "a");
    rig.settle();
    assert_eq!(reply(&rig, 2), None);
}
