//! A scenario taken apart: the same run without something.

use super::{Broken, Scenario};
use crate::network::Rudeness;

/// Something that a scenario can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// These acts, by number: from, and how many.
    Acts(usize, usize),
    /// These faults.
    Faults(usize, usize),
    /// One task of one submission.
    Task(usize, usize),
    /// Everything that the network does by itself.
    Rudeness,
    /// What stays broken.
    Broken(usize),
    /// A node.
    Node(usize),
}

impl Scenario {
    /// The same run without `part`; `None` when there is no such part, or nothing can do without it.
    pub fn without(&self, part: Part) -> Option<Self> {
        let mut less = self.clone();
        match part {
            Part::Acts(from, count) => cut(&mut less.acts, from, count)?,
            Part::Faults(from, count) => cut(&mut less.faults, from, count)?,
            Part::Task(act, task) => less.cut_task(act, task)?,
            Part::Rudeness => {
                if less.rudeness == Rudeness::default() {
                    return None;
                }
                less.rudeness = Rudeness::default();
            }
            Part::Broken(nth) => cut(&mut less.broken, nth, 1)?,
            Part::Node(node) => less.cut_node(node)?,
        }
        Some(less)
    }

    fn cut_task(&mut self, act: usize, task: usize) -> Option<()> {
        let super::Act::Submit { tasks, .. } = &mut self.acts.get_mut(act)?.what else {
            return None;
        };
        if tasks.len() < 2 || task >= tasks.len() {
            return None;
        }
        tasks.remove(task);
        Some(())
    }

    fn cut_node(&mut self, node: usize) -> Option<()> {
        if node >= self.nodes() || !self.can_do_without(node) {
            return None;
        }
        match node.checked_sub(self.servers.len()) {
            None => drop(self.servers.remove(node)),
            // Whoever is first serves every queue, so that each is served.
            Some(0) if !self.workers[1].queues.is_empty() => return None,
            Some(worker) => drop(self.workers.remove(worker)),
        }
        self.forget(node);
        Some(())
    }

    /// Whether somebody of the same role stays whole without `node`.
    fn can_do_without(&self, node: usize) -> bool {
        let role = if node < self.servers.len() {
            0..self.servers.len()
        } else {
            self.servers.len()..self.nodes()
        };
        role.filter(|it| *it != node)
            .any(|it| !self.broken.iter().any(|broken| broken.node() == it))
    }

    /// Drops what names `gone`, and renumbers the rest.
    fn forget(&mut self, gone: usize) {
        let keep = |node: usize| node != gone;
        let renumber = |node: &mut usize| *node -= usize::from(*node > gone);
        self.acts
            .retain(|act| act.what.nodes().into_iter().all(keep));
        self.faults
            .retain(|fault| fault.what.node().is_none_or(keep));
        self.broken.retain(|broken| keep(broken.node()));
        self.acts
            .iter_mut()
            .for_each(|act| act.what.renumber(renumber));
        self.faults
            .iter_mut()
            .for_each(|fault| fault.what.renumber(renumber));
        for broken in &mut self.broken {
            match broken {
                Broken::Down(node) | Broken::Frozen(node) | Broken::Cut(node, _) => renumber(node),
            }
        }
    }
}

fn cut<T>(all: &mut Vec<T>, from: usize, count: usize) -> Option<()> {
    if from >= all.len() || count == 0 {
        return None;
    }
    let end = (from + count).min(all.len());
    all.drain(from..end);
    Some(())
}

impl super::Act {
    /// The nodes that it names.
    pub fn nodes(&self) -> Vec<usize> {
        let mut all = Vec::new();
        self.clone().renumber(|node| all.push(*node));
        all
    }

    /// Changes the nodes that it names.
    pub fn renumber(&mut self, mut change: impl FnMut(&mut usize)) {
        match self {
            Self::Submit { server, .. }
            | Self::Repeat { server, .. }
            | Self::Get { server, .. }
            | Self::List { server, .. }
            | Self::Stats { server }
            | Self::Follow { server, .. }
            | Self::Cancel { server, .. }
            | Self::Sweep { server, .. }
            | Self::Rerun { server, .. }
            | Self::Configure { server, .. }
            | Self::LockTake { server, .. }
            | Self::LockRenew { server, .. }
            | Self::LockRelease { server, .. } => change(server),
            Self::Drain { node, .. } => change(node),
            Self::Order { server, node } => {
                change(server);
                change(node);
            }
            Self::Ambush { server, also, .. } => {
                change(server);
                also.iter_mut().for_each(change);
            }
            Self::Vanish { .. } => {}
        }
    }
}

impl crate::nemesis::Fault {
    /// Changes the node that it names.
    pub fn renumber(&mut self, mut change: impl FnMut(&mut usize)) {
        match self {
            Self::Crash { node, .. }
            | Self::Pause { node, .. }
            | Self::Double { node }
            | Self::Cut { node, .. }
            | Self::LoseAnswers { node, .. }
            | Self::ArriveLate { node, .. }
            | Self::Slow { node, .. }
            | Self::DelayWatch { node, .. }
            | Self::MuteWatch { node, .. }
            | Self::LoseEvent { node, .. }
            | Self::BreakWatches { node: Some(node) }
            | Self::Upgrade {
                node: Some(node), ..
            }
            | Self::ExpireLease { node }
            | Self::JumpWall { node, .. }
            | Self::Drift { node, .. } => change(node),
            Self::BreakWatches { node: None }
            | Self::Compact
            | Self::MoveLeader
            | Self::StoreDown { .. }
            | Self::NoSpace { .. }
            | Self::Busy { .. }
            | Self::ExpireAll
            | Self::Upgrade { node: None, .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;
    use crate::nemesis::Fault;

    fn scenario(seed: u64) -> Scenario {
        Scenario::draw(&mut Entropy::from_seed(seed))
    }

    #[test]
    fn whoever_is_taken_out_is_named_nowhere_any_more() {
        for seed in 0..200 {
            let mut less = scenario(seed);
            while let Some(next) = (0..less.nodes())
                .rev()
                .find_map(|node| less.without(Part::Node(node)))
            {
                let nodes = next.nodes();
                assert_eq!(nodes + 1, less.nodes());
                assert!(
                    next.acts
                        .iter()
                        .flat_map(|act| act.what.nodes())
                        .all(|node| node < nodes)
                );
                assert!(
                    next.faults
                        .iter()
                        .filter_map(|fault| fault.what.node())
                        .all(|node| node < nodes)
                );
                assert!(next.broken.iter().all(|broken| broken.node() < nodes));
                less = next;
            }
            assert!(!less.servers.is_empty() && !less.workers.is_empty());
        }
    }

    #[test]
    fn what_is_taken_out_is_gone_and_the_rest_is_as_before() {
        let whole = (0..)
            .map(scenario)
            .find(|it| it.faults.len() > 3 && it.acts.len() > 3)
            .unwrap();
        let less = whole.without(Part::Faults(1, 2)).unwrap();
        assert_eq!(less.faults.len(), whole.faults.len() - 2);
        assert_eq!(
            (&less.faults[0], &less.faults[1]),
            (&whole.faults[0], &whole.faults[3])
        );
        assert_eq!(less.acts, whole.acts);
        assert_eq!(whole.without(Part::Faults(whole.faults.len(), 1)), None);
        assert_eq!(whole.without(Part::Acts(0, 0)), None);
    }

    #[test]
    fn nodes_behind_the_one_that_is_taken_out_move_up() {
        let mut fault = Fault::Double { node: 5 };
        fault.renumber(|node| *node -= 1);
        assert_eq!(fault, Fault::Double { node: 4 });
    }
}
