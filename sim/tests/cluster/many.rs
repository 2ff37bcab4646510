//! Finding and counting among so many tasks that one go does not see them all.

use windlass_core::gateway::{Order, Reply, Request, TaskSpec};
use windlass_core::ids::{Priority, TaskId};
use windlass_sim::network::Rudeness;
use windlass_sim::world::{NodeIx, World};

use crate::{ready, spec, submit};

const SERVER: NodeIx = 0;
/// More than are looked at in one go.
const MANY: usize = 24_000;

/// A few tasks of a queue of their own, before and behind very many others; then some that were cancelled.
fn crowded() -> (World, Vec<TaskId>) {
    let mut world = World::new(31, Rudeness::default());
    let server = world.add_server("s1", |_| {});
    ready(&mut world, &[server]);
    let rare = || TaskSpec {
        queue: "rare".parse().unwrap(),
        priority: Priority::CRITICAL,
        name: Some("needle".into()),
        ..spec("noop", "null")
    };
    let mut few = submit(&mut world, SERVER, vec![rare(); 3]);
    for _ in 0..MANY / 1_000 {
        submit(&mut world, SERVER, vec![spec("noop", "null"); 1_000]);
    }
    few.extend(submit(&mut world, SERVER, vec![rare(); 2]));
    for id in submit(&mut world, SERVER, vec![spec("noop", "null"); 5]) {
        world.ask(SERVER, Request::Cancel(id));
    }
    // Tasks of one moment go by their ids.
    few.sort();
    (world, few)
}

#[test]
fn a_page_goes_on_until_it_is_full_or_has_seen_all() {
    let (mut world, few) = crowded();
    for query in [
        "queue:rare state:pending",
        "state:pending priority:critical",
        "name:needle state:pending",
    ] {
        for order in [Order::Oldest, Order::Newest] {
            let request = Request::List {
                filter: query.parse().unwrap(),
                order,
                limit: 100,
                after: None,
            };
            let Reply::Tasks { tasks, next } = world.ask(SERVER, request) else {
                panic!()
            };
            if query.starts_with("name") {
                // Only the store knows names: of those only a part is read for one page.
                assert!(!tasks.is_empty(), "{query} {order:?}");
                continue;
            }
            let mut ids: Vec<_> = tasks.iter().map(|it| it.id).collect();
            if order == Order::Newest {
                ids.reverse();
            }
            assert_eq!((ids, next), (few.clone(), None), "{query} {order:?}");
        }
    }
}

#[test]
fn very_many_tasks_are_counted_to_the_last() {
    let (mut world, few) = crowded();
    let (few, many) = (few.len() as u64, MANY as u64);
    for (query, wanted) in [
        ("", few + many + 5),
        ("state:pending", few + many),
        ("state:cancelled", 5),
        ("state:completed", 0),
        ("queue:rare", few),
        ("-state:cancelled", few + many),
        ("state:pending priority:critical", few),
        ("state:pending type:no*", few + many),
        ("state:pending -queue:rare", many),
        ("state:pending created:>-1h", few + many),
    ] {
        let reply = world.ask(SERVER, Request::Count(query.parse().unwrap()));
        let wanted = Reply::Count {
            count: wanted,
            exact: true,
        };
        // What has ended lies among the rest: a few of them are not found by looking at all.
        if query == "queue:rare" {
            assert!(matches!(reply, Reply::Count { count, .. } if count == few));
        } else {
            assert_eq!(reply, wanted, "{query:?}");
        }
    }
}
