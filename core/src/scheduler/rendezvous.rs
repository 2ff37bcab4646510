//! Who tries a task first: rendezvous hashing over the live schedulers. It only avoids conflicts.

use sha2::{Digest, Sha256};

use crate::ids::{NodeId, TaskId};

/// The live schedulers, as one of them sees them.
#[derive(Debug)]
pub(super) struct Peers {
    me: NodeId,
    my_salt: u64,
    /// A salt for each other scheduler.
    others: Vec<(u64, NodeId)>,
}

impl Peers {
    pub(super) fn new(me: NodeId) -> Self {
        Self {
            my_salt: salt(&me),
            me,
            others: Vec::new(),
        }
    }

    /// These live; this one counts itself in.
    pub(super) fn set(&mut self, live: impl Iterator<Item = NodeId>) {
        self.others = live
            .filter(|id| *id != self.me)
            .map(|id| (salt(&id), id))
            .collect();
    }

    /// Whether this scheduler is the one to try `task` first.
    pub(super) fn mine(&self, task: TaskId) -> bool {
        let mine = (score(task, self.my_salt), &self.me);
        self.others
            .iter()
            .all(|(salt, id)| mine > (score(task, *salt), id))
    }
}

fn salt(id: &NodeId) -> u64 {
    let digest = Sha256::digest(id.as_str().as_bytes());
    u64::from_be_bytes(*digest.first_chunk().expect("a digest has 32 bytes"))
}

/// Mixes the bits so that every scheduler wins its share of any set of tasks (the finalizer of splitmix64).
fn score(task: TaskId, salt: u64) -> u64 {
    let wide = task.as_u128();
    let low = u64::try_from(wide & u128::from(u64::MAX)).expect("masked to 64 bits");
    let high = u64::try_from(wide >> 64).expect("64 bits remain");
    let mut z = (low ^ high.rotate_left(32) ^ salt).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::time::Wall;

    #[test]
    fn every_task_has_one_first_scheduler_and_the_shares_are_even() {
        let ids: Vec<NodeId> = ["a", "b", "c"].map(|id| id.parse().unwrap()).into();
        let peers: Vec<Peers> = ids
            .iter()
            .map(|id| {
                let mut peers = Peers::new(id.clone());
                peers.set(ids.iter().cloned());
                peers
            })
            .collect();
        let mut rng = Rng::new(1);
        let mut shares = [0_u32; 3];
        for n in 0..3_000 {
            let task = TaskId::new(&mut rng, Wall::from_millis(n));
            let first: Vec<usize> = (0..3).filter(|at| peers[*at].mine(task)).collect();
            assert_eq!(first.len(), 1);
            shares[first[0]] += 1;
        }
        assert!(
            shares.iter().all(|share| (850..1_150).contains(share)),
            "{shares:?}"
        );
    }

    #[test]
    fn a_lone_scheduler_tries_everything_even_before_it_sees_itself() {
        let peers = Peers::new("a".parse().unwrap());
        assert!(peers.mine(TaskId::floor_of(Wall::from_millis(1))));
    }
}
