//! Waiting tasks as candidates, by class: a class is a queue and a type, so that tasks that nobody can run stand in
//! nobody's way.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::fleet::Fleet;
use super::pools::TakersIx;
use crate::balance::Strategy;
use crate::ids::{QueueName, TaskId, TaskType};
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
    /// Classes that the same workers take.
    groups: BTreeMap<TakersIx, Group>,
    /// The first candidate of each group that may have room.
    heads: BTreeSet<(Place, TakersIx)>,
    /// What the fleet's epoch was when the classes were grouped.
    epoch: u64,
    look_at: Option<Mono>,
    foreign: usize,
}

/// Classes that have room together, or none of them has.
#[derive(Debug, Default)]
struct Group {
    /// The first candidate of each class.
    heads: BTreeSet<(Place, Class)>,
    /// There was no room when last asked.
    is_blocked: bool,
}

impl Group {
    fn first(&self) -> Option<Place> {
        self.heads.first().map(|(place, _)| *place)
    }
}

#[derive(Debug)]
struct Tasks {
    takers: TakersIx,
    mine: BTreeSet<Place>,
    /// Another scheduler is to try these first; since when this one knows them.
    foreign: BTreeMap<Place, Mono>,
    /// Since when there has been room for this class without a break.
    room_since: Option<Mono>,
    strategy: Strategy,
    paused: bool,
}

impl Ready {
    pub(super) fn insert(
        &mut self,
        now: Mono,
        class: Class,
        config: &QueueConfig,
        place: Place,
        mine: bool,
        fleet: &mut Fleet,
    ) {
        if !self.classes.contains_key(&class) {
            self.regroup(fleet);
            let tasks = Tasks {
                takers: fleet.takers_of(&class.0, &class.1),
                mine: BTreeSet::new(),
                foreign: BTreeMap::new(),
                room_since: None,
                strategy: config.strategy,
                paused: config.paused,
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
            self.foreign += 1;
            self.look_at.get_or_insert_with(|| now.after(LOOK_EVERY));
        }
    }

    /// Groups the classes by who takes them, if that may have changed. Then every group may have room.
    pub(super) fn regroup(&mut self, fleet: &mut Fleet) {
        if self.epoch == fleet.epoch() {
            return;
        }
        self.epoch = fleet.epoch();
        for (class, tasks) in &mut self.classes {
            tasks.takers = fleet.takers_of(&class.0, &class.1);
        }
        self.group();
    }

    fn group(&mut self) {
        self.groups.clear();
        for (class, tasks) in &self.classes {
            if let Some(head) = tasks.mine.first().filter(|_| !tasks.paused) {
                let group = self.groups.entry(tasks.takers).or_default();
                group.heads.insert((*head, class.clone()));
            }
        }
        let heads = self.groups.iter();
        self.heads = heads
            .filter_map(|(takers, group)| Some((group.first()?, *takers)))
            .collect();
    }

    /// Others are to try tasks first than before; `is_mine` tells which. Everything begins to wait for its scheduler anew.
    pub(super) fn reassign(&mut self, now: Mono, is_mine: impl Fn(TaskId) -> bool) {
        self.foreign = 0;
        for tasks in self.classes.values_mut() {
            let came = tasks.foreign.extract_if(.., |place, _| is_mine(place.task));
            let came: Vec<Place> = came.map(|(place, _)| place).collect();
            let went = tasks.mine.extract_if(.., |place| !is_mine(place.task));
            tasks.foreign.extend(went.map(|place| (place, now)));
            tasks.mine.extend(came);
            for seen in tasks.foreign.values_mut() {
                *seen = now;
            }
            tasks.room_since = None;
            self.foreign += tasks.foreign.len();
        }
        self.look_at = (self.foreign > 0).then(|| now.after(LOOK_EVERY));
        self.group();
    }

    fn insert_mine(&mut self, class: Class, place: Place) {
        let tasks = self.classes.get_mut(&class).expect("its class is known");
        let head = tasks.mine.first().copied();
        if !tasks.mine.insert(place) || tasks.paused {
            return;
        }
        if head.is_none_or(|head| place < head) {
            let takers = tasks.takers;
            self.set_head(class, takers, head, Some(place));
        }
    }

    /// The first candidate of a class is another one from now on.
    fn set_head(
        &mut self,
        class: Class,
        takers: TakersIx,
        before: Option<Place>,
        after: Option<Place>,
    ) {
        let group = self.groups.entry(takers).or_default();
        let first = group.first();
        if let Some(before) = before {
            group.heads.remove(&(before, class.clone()));
        }
        if let Some(after) = after {
            group.heads.insert((after, class));
        }
        let is_changed = group.first() != first;
        if group.is_blocked || !is_changed {
            return;
        }
        if let Some(first) = first {
            self.heads.remove(&(first, takers));
        }
        if let Some(first) = group.first() {
            self.heads.insert((first, takers));
        }
    }

    /// Forgets a task.
    pub(super) fn remove(&mut self, class: &Class, place: Place) {
        let Some(tasks) = self.classes.get_mut(class) else {
            return;
        };
        if tasks.foreign.remove(&place).is_some() {
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
        let (takers, next) = (tasks.takers, tasks.mine.first().copied());
        self.set_head(class.clone(), takers, Some(place), next);
    }

    /// The first candidate in the queues' order among those that may have room.
    pub(super) fn first(&self) -> Option<(Place, Class, Strategy)> {
        let (_, takers) = self.heads.first()?;
        let (place, class) = self.groups.get(takers)?.heads.first()?;
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

    /// There is no room for this class, nor for any other that the same workers take, until capacity changes.
    pub(super) fn block(&mut self, class: &Class) {
        let Some(tasks) = self.classes.get(class) else {
            return;
        };
        let group = self.groups.entry(tasks.takers).or_default();
        group.is_blocked = true;
        if let Some(first) = group.first() {
            self.heads.remove(&(first, tasks.takers));
        }
    }

    /// One of these takers has got a free slot, or has come: every class that they take may have room again.
    pub(super) fn capacity_changed(&mut self, takers: &[TakersIx]) {
        for takers in takers {
            let group = self.groups.get_mut(takers);
            if let Some(group) = group.filter(|group| group.is_blocked) {
                group.is_blocked = false;
                self.heads
                    .extend(group.first().map(|first| (first, *takers)));
            }
        }
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
            let (takers, head) = (tasks.takers, tasks.mine.first().copied());
            if config.paused {
                self.set_head(class, takers, head, None);
            } else {
                self.set_head(class, takers, None, head);
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
            let room = if waited && !tasks.paused { free } else { 0 };
            // What is passed over has come within that time: the rest is not looked at.
            let late = tasks
                .foreign
                .extract_if(.., |_, seen| seen.after(step_in_after) <= now);
            let late = late.take(usize::try_from(room).unwrap_or(usize::MAX));
            adopted.extend(late.map(|(place, _)| (class.clone(), place)));
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
    use crate::ids::Priority;
    use crate::time::Wall;

    fn place(millis: u64) -> Place {
        let timestamp = Wall::from_millis(millis);
        Place {
            priority: Priority::NORMAL,
            timestamp,
            task: TaskId::floor_of(timestamp),
        }
    }

    struct Rig {
        ready: Ready,
        fleet: Fleet,
    }

    impl Rig {
        fn new() -> Self {
            let (ready, fleet) = (Ready::default(), Fleet::default());
            Self { ready, fleet }
        }

        /// A worker comes that takes one type only, from every queue.
        fn join(&mut self, worker: &str, kind: &str) {
            self.fleet.join(worker, kind, 1);
            self.ready.regroup(&mut self.fleet);
        }

        fn insert(&mut self, kind: &str, millis: u64, paused: bool) -> Class {
            let class: Class = ("q".parse().unwrap(), kind.parse().unwrap());
            let config = QueueConfig {
                paused,
                ..QueueConfig::default()
            };
            let (now, fleet) = (Mono::ZERO, &mut self.fleet);
            self.ready
                .insert(now, class.clone(), &config, place(millis), true, fleet);
            class
        }

        fn first(&self) -> Option<Place> {
            self.ready.first().map(|(place, ..)| place)
        }

        fn slot_freed(&mut self, worker: &str) {
            let takers = self.fleet.takers_with(&worker.parse().unwrap());
            self.ready.capacity_changed(takers);
        }
    }

    #[test]
    fn the_first_candidate_is_the_first_in_the_queues_order() {
        let mut rig = Rig::new();
        rig.insert("b", 3, false);
        let a = rig.insert("a", 2, false);
        rig.insert("a", 1, false);
        assert_eq!(rig.first(), Some(place(1)));
        rig.ready.take(&a, place(1));
        assert_eq!(rig.first(), Some(place(2)));
        rig.ready.remove(&a, place(2));
        assert_eq!(rig.first(), Some(place(3)));
    }

    #[test]
    fn a_task_that_came_twice_and_went_is_not_stepped_in_for() {
        let mut rig = Rig::new();
        let class: Class = ("q".parse().unwrap(), "a".parse().unwrap());
        let config = QueueConfig::default();
        for seconds in [1, 2] {
            let now = Mono::ZERO.after(Duration::from_secs(seconds));
            let fleet = &mut rig.fleet;
            rig.ready
                .insert(now, class.clone(), &config, place(1), false, fleet);
        }
        rig.ready.remove(&class, place(1));
        assert!(rig.ready.classes[&class].foreign.is_empty());
        let late = Mono::ZERO.after(Duration::from_secs(9));
        let (ready, fleet) = (&mut rig.ready, &rig.fleet);
        assert!(!ready.on_time(late, Duration::from_secs(1), fleet));
        assert_eq!(ready.deadline(), None, "nothing is left to look after");
    }

    #[test]
    fn who_steps_in_takes_the_first_in_the_queues_order_of_those_that_waited_long_enough() {
        let mut rig = Rig::new();
        rig.join("w", "a");
        let at = |seconds| Mono::ZERO.after(Duration::from_secs(seconds));
        let class = rig.insert("a", 5, false);
        rig.ready.take(&class, place(5));
        let comes = |rig: &mut Rig, millis, seconds| {
            let config = QueueConfig::default();
            let (class, fleet) = (class.clone(), &mut rig.fleet);
            rig.ready
                .insert(at(seconds), class, &config, place(millis), false, fleet);
        };
        let step_in_after = Duration::from_secs(2);
        let look = |rig: &mut Rig, seconds| {
            rig.ready.on_time(at(seconds), step_in_after, &rig.fleet);
            rig.first()
        };
        comes(&mut rig, 4, 0);
        comes(&mut rig, 3, 1);
        assert_eq!(look(&mut rig, 2), None, "there is room from now on");
        comes(&mut rig, 1, 3);
        assert_eq!(look(&mut rig, 4), Some(place(3)), "one slot, one task");
        rig.ready.take(&class, place(3));
        assert_eq!(rig.first(), None);
        assert_eq!(look(&mut rig, 5), Some(place(1)));
        assert_eq!(rig.ready.foreign, 1);
    }

    #[test]
    fn tasks_change_hands_when_others_are_to_try_them_first() {
        let mut rig = Rig::new();
        rig.join("w", "a");
        let class = rig.insert("a", 1, false);
        rig.insert("a", 2, false);
        let at = |seconds| Mono::ZERO.after(Duration::from_secs(seconds));
        let second = place(2).task;
        rig.ready.reassign(at(5), |task| task == second);
        assert_eq!(rig.first(), Some(place(2)));
        assert_eq!(rig.ready.foreign, 1);
        assert_eq!(rig.ready.classes[&class].foreign[&place(1)], at(5));
        rig.ready.reassign(at(6), |task| task != second);
        assert_eq!(rig.first(), Some(place(1)));
        rig.ready.reassign(at(7), |_| false);
        assert_eq!(rig.first(), None);
        assert!(rig.ready.deadline().is_some(), "it may have to step in");
        rig.ready.remove(&class, place(1));
        rig.ready.reassign(at(8), |_| true);
        assert_eq!(rig.first(), Some(place(2)));
        assert_eq!(rig.ready.deadline(), None);
    }

    #[test]
    fn a_blocked_class_stands_in_nobodys_way_until_capacity_changes() {
        let mut rig = Rig::new();
        rig.join("wa", "a");
        rig.join("wb", "b");
        let a = rig.insert("a", 1, false);
        rig.insert("b", 2, false);
        rig.ready.block(&a);
        assert_eq!(rig.first(), Some(place(2)));
        rig.insert("a", 0, false);
        assert_eq!(
            rig.first(),
            Some(place(2)),
            "an earlier task of a blocked class is blocked too"
        );
        rig.slot_freed("wb");
        assert_eq!(rig.first(), Some(place(2)), "that worker takes others");
        rig.slot_freed("wa");
        assert_eq!(rig.first(), Some(place(0)));
    }

    #[test]
    fn a_class_that_the_same_workers_take_is_blocked_without_being_tried() {
        let mut rig = Rig::new();
        let a = rig.insert("a", 1, false);
        rig.insert("b", 2, false);
        rig.ready.block(&a);
        assert_eq!(rig.first(), None, "nobody takes either");
        rig.insert("c", 0, false);
        assert_eq!(rig.first(), None);
        rig.join("w", "b");
        assert!(rig.first().is_some(), "who has come may take any of them");
        rig.ready.block(&a);
        assert_eq!(rig.first(), Some(place(2)));
    }

    #[test]
    fn a_class_whose_last_task_went_while_it_was_blocked_comes_back_blocked() {
        let mut rig = Rig::new();
        rig.join("w", "a");
        let a = rig.insert("a", 1, false);
        rig.ready.block(&a);
        rig.ready.remove(&a, place(1));
        rig.insert("a", 2, false);
        assert_eq!(rig.first(), None);
        rig.slot_freed("w");
        assert_eq!(rig.first(), Some(place(2)));
    }

    #[test]
    fn a_paused_queue_has_no_candidates_until_it_is_resumed() {
        let mut rig = Rig::new();
        let a = rig.insert("a", 1, true);
        assert_eq!(rig.first(), None);
        rig.ready.configured(&a.0, &QueueConfig::default());
        assert_eq!(rig.first(), Some(place(1)));
        let paused = QueueConfig {
            paused: true,
            ..QueueConfig::default()
        };
        rig.ready.configured(&a.0, &paused);
        assert_eq!(rig.first(), None);
    }
}
