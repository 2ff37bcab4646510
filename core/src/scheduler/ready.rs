//! Waiting tasks as candidates, by class: a class is a queue and a type, so that tasks that nobody can run stand in
//! nobody's way.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::fleet::Fleet;
use crate::balance::Strategy;
use crate::ids::{QueueName, TaskType};
use crate::keyspace::Place;
use crate::planted::planted;
use crate::record::QueueConfig;
use crate::time::Mono;
use crate::view::ClusterView;

/// How often a scheduler looks whether it must step in for another.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Tasks of one queue and type.
pub(super) type Class = (QueueName, TaskType);

/// All candidates.
#[derive(Debug, Default)]
pub(super) struct Ready {
    classes: BTreeMap<Class, Tasks>,
    /// The first candidate of each class that may have room.
    heads: BTreeSet<(Place, Class)>,
    /// The first candidates of classes that had no room when last asked.
    blocked: BTreeSet<(Place, Class)>,
    look_at: Option<Mono>,
    foreign: usize,
}

#[derive(Debug, Default)]
struct Tasks {
    mine: BTreeSet<Place>,
    /// Another scheduler is to try these first; since when this one knows them.
    foreign: BTreeMap<Place, Mono>,
    by_seen: BTreeSet<(Mono, Place)>,
    /// Since when there has been room for this class without a break.
    room_since: Option<Mono>,
    strategy: Strategy,
    paused: bool,
}

impl Ready {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn insert(
        &mut self,
        now: Mono,
        queue: &QueueName,
        kind: &TaskType,
        config: &QueueConfig,
        place: Place,
        mine: bool,
    ) {
        let class = (queue.clone(), kind.clone());
        if !self.classes.contains_key(&class) {
            let tasks = Tasks {
                strategy: config.strategy,
                paused: config.paused,
                ..Tasks::default()
            };
            self.classes.insert(class.clone(), tasks);
        }
        if mine {
            self.insert_mine(class, place);
            return;
        }
        let tasks = self.classes.get_mut(&class).expect("it was inserted above");
        // A task may come again while it waits, as when a dispatch of it had no effect. It has waited since the first time.
        if !tasks.mine.contains(&place)
            && let Entry::Vacant(unseen) = tasks.foreign.entry(place)
        {
            unseen.insert(now);
            tasks.by_seen.insert((now, place));
            self.foreign += 1;
            self.look_at.get_or_insert_with(|| now.after(LOOK_EVERY));
        }
    }

    fn insert_mine(&mut self, class: Class, place: Place) {
        let tasks = self.classes.get_mut(&class).expect("its class is known");
        let head = tasks.mine.first().copied();
        if !tasks.mine.insert(place) || tasks.paused {
            return;
        }
        if head.is_none_or(|head| place < head) {
            let was_blocked = head.is_some_and(|head| self.blocked.remove(&(head, class.clone())));
            if let Some(head) = head {
                self.heads.remove(&(head, class.clone()));
            }
            let index = if was_blocked {
                &mut self.blocked
            } else {
                &mut self.heads
            };
            index.insert((place, class));
        }
    }

    /// Forgets a task.
    pub(super) fn remove(&mut self, class: &Class, place: Place) {
        let Some(tasks) = self.classes.get_mut(class) else {
            return;
        };
        if let Some(seen) = tasks.foreign.remove(&place) {
            tasks.by_seen.remove(&(seen, place));
            self.foreign -= 1;
        } else if tasks.mine.contains(&place) {
            self.remove_mine(class, place);
        }
    }

    fn classes_of(&self, queue: &QueueName) -> Vec<Class> {
        self.classes
            .keys()
            .filter(|(name, _)| name == queue)
            .cloned()
            .collect()
    }

    fn remove_mine(&mut self, class: &Class, place: Place) {
        let tasks = self.classes.get_mut(class).expect("its class is known");
        let was_head = tasks.mine.first() == Some(&place);
        tasks.mine.remove(&place);
        if !was_head || tasks.paused {
            return;
        }
        let was_blocked = self.blocked.remove(&(place, class.clone()));
        self.heads.remove(&(place, class.clone()));
        if let Some(next) = tasks.mine.first() {
            let index = if was_blocked {
                &mut self.blocked
            } else {
                &mut self.heads
            };
            index.insert((*next, class.clone()));
        }
    }

    /// The first candidate in the queues' order among those that may have room.
    pub(super) fn first(&self) -> Option<(Place, Class, Strategy)> {
        let (place, class) = self.heads.first()?;
        let tasks = self.classes.get(class)?;
        if planted!("M-20") {
            let mut equals = tasks.mine.iter().filter(|it| it.priority == place.priority);
            let youngest = equals.next_back().unwrap_or(place);
            return Some((*youngest, class.clone(), tasks.strategy));
        }
        Some((*place, class.clone(), tasks.strategy))
    }

    /// The strategy for a new task of this class, if nothing that waits has a better right to a free slot: everything that
    /// may have room was placed, nothing of the class itself waits, and its queue is not paused. What is blocked has no
    /// right to a slot: no worker that takes it has one.
    pub(super) fn open_to(
        &self,
        queue: &QueueName,
        kind: &TaskType,
        view: &ClusterView,
    ) -> Option<Strategy> {
        if !self.heads.is_empty() {
            return None;
        }
        let Some(tasks) = self.classes.get(&(queue.clone(), kind.clone())) else {
            let config = view.config(queue);
            return (!config.paused).then_some(config.strategy);
        };
        let nobody_waits = tasks.mine.is_empty() && tasks.foreign.is_empty();
        (nobody_waits && !tasks.paused).then_some(tasks.strategy)
    }

    /// Takes the first candidate out: it is being placed.
    pub(super) fn take(&mut self, class: &Class, place: Place) {
        self.remove_mine(class, place);
    }

    /// There is no room for this class until capacity changes.
    pub(super) fn block(&mut self, class: &Class, place: Place) {
        let place = match self.classes.get(class) {
            Some(tasks) if planted!("M-20") => tasks.mine.first().copied().unwrap_or(place),
            Some(_) | None => place,
        };
        let head = (place, class.clone());
        if self.heads.remove(&head) {
            self.blocked.insert(head);
        }
    }

    /// Somewhere a slot became free, or a worker came: every class may have room again.
    pub(super) fn capacity_changed(&mut self) {
        self.heads.append(&mut self.blocked);
    }

    /// An operator changed the queue's settings.
    pub(super) fn configured(&mut self, queue: &QueueName, config: &QueueConfig) {
        for class in self.classes_of(queue) {
            let tasks = self.classes.get_mut(&class).expect("listed above");
            tasks.strategy = config.strategy;
            if tasks.paused == config.paused {
                continue;
            }
            tasks.paused = config.paused;
            if let Some(head) = tasks.mine.first() {
                let head = (*head, class);
                if config.paused {
                    self.heads.remove(&head);
                    self.blocked.remove(&head);
                } else {
                    self.heads.insert(head);
                }
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.look_at
    }

    /// Steps in for schedulers that leave tasks waiting though there is room. Says whether there are new candidates.
    pub(super) fn on_time(&mut self, now: Mono, step_in_after: Duration, fleet: &Fleet) -> bool {
        if self.look_at.is_none_or(|at| at > now) {
            return false;
        }
        self.look_at = (self.foreign > 0).then(|| now.after(LOOK_EVERY));
        let mut adopted = Vec::new();
        for (class, tasks) in &mut self.classes {
            let (free, _) = fleet.capacity(&class.0, &class.1);
            tasks.room_since = (free > 0).then(|| tasks.room_since.unwrap_or(now));
            let waited = tasks
                .room_since
                .is_some_and(|since| since.after(step_in_after) <= now)
                && !planted!("P-step-in-missing");
            let mut room = if waited && !tasks.paused { free } else { 0 };
            while let Some((seen, place)) = tasks.by_seen.first().copied().filter(|_| room > 0) {
                if seen.after(step_in_after) > now {
                    break;
                }
                room -= 1;
                tasks.by_seen.pop_first();
                tasks.foreign.remove(&place);
                adopted.push((class.clone(), place));
            }
        }
        self.foreign -= adopted.len();
        let any = !adopted.is_empty();
        for (class, place) in adopted {
            self.insert_mine(class, place);
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Priority, TaskId};
    use crate::time::Wall;

    fn place(millis: u64) -> Place {
        let timestamp = Wall::from_millis(millis);
        Place {
            priority: Priority::NORMAL,
            timestamp,
            task: TaskId::floor_of(timestamp),
        }
    }

    fn insert(ready: &mut Ready, kind: &str, millis: u64, paused: bool) -> Class {
        let class: Class = ("q".parse().unwrap(), kind.parse().unwrap());
        let config = QueueConfig {
            paused,
            ..QueueConfig::default()
        };
        ready.insert(Mono::ZERO, &class.0, &class.1, &config, place(millis), true);
        class
    }

    #[test]
    fn the_first_candidate_is_the_first_in_the_queues_order() {
        let mut ready = Ready::default();
        insert(&mut ready, "b", 3, false);
        let a = insert(&mut ready, "a", 2, false);
        insert(&mut ready, "a", 1, false);
        assert_eq!(ready.first().unwrap().0, place(1));
        ready.take(&a, place(1));
        assert_eq!(ready.first().unwrap().0, place(2));
        ready.remove(&a, place(2));
        assert_eq!(ready.first().unwrap().0, place(3));
    }

    #[test]
    fn a_task_that_came_twice_and_went_is_not_stepped_in_for() {
        let mut ready = Ready::default();
        let class: Class = ("q".parse().unwrap(), "a".parse().unwrap());
        let config = QueueConfig::default();
        for seconds in [1, 2] {
            let now = Mono::ZERO.after(Duration::from_secs(seconds));
            ready.insert(now, &class.0, &class.1, &config, place(1), false);
        }
        ready.remove(&class, place(1));
        assert!(ready.classes[&class].by_seen.is_empty());
        let late = Mono::ZERO.after(Duration::from_secs(9));
        assert!(!ready.on_time(late, Duration::from_secs(1), &Fleet::default()));
        assert_eq!(ready.deadline(), None, "nothing is left to look after");
    }

    #[test]
    fn a_blocked_class_stands_in_nobodys_way_until_capacity_changes() {
        let mut ready = Ready::default();
        let a = insert(&mut ready, "a", 1, false);
        insert(&mut ready, "b", 2, false);
        ready.block(&a, place(1));
        assert_eq!(ready.first().unwrap().0, place(2));
        insert(&mut ready, "a", 0, false);
        assert_eq!(
            ready.first().unwrap().0,
            place(2),
            "an earlier task of a blocked class is blocked too"
        );
        ready.capacity_changed();
        assert_eq!(ready.first().unwrap().0, place(0));
    }

    #[test]
    fn a_paused_queue_has_no_candidates_until_it_is_resumed() {
        let mut ready = Ready::default();
        let a = insert(&mut ready, "a", 1, true);
        assert!(ready.first().is_none());
        ready.configured(&a.0, &QueueConfig::default());
        assert_eq!(ready.first().unwrap().0, place(1));
        ready.configured(
            &a.0,
            &QueueConfig {
                paused: true,
                ..QueueConfig::default()
            },
        );
        assert!(ready.first().is_none());
    }
}
