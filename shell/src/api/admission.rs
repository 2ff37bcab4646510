//! How many submissions may be under way. More are turned away before they cost anything: whoever would have to wait for
//! longer than it bears takes the place of others, and its work is done for nobody.

use tokio::sync::{Semaphore, SemaphorePermit};

use super::problem::Problem;

/// Tasks of which it is not known yet whether they are accepted: what a store takes in a second or two.
const TASKS_MAX: usize = 65_536;
/// What large bodies may hold of memory, in KiB.
const KIB_MAX: usize = 256 * 1_024;
/// A body is not counted up to here: connections bound those.
const FREE: usize = 64 * 1_024;

/// The room for submissions.
#[derive(Debug)]
pub(super) struct Admission {
    tasks: Semaphore,
    kib: Semaphore,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            tasks: Semaphore::new(TASKS_MAX),
            kib: Semaphore::new(KIB_MAX),
        }
    }
}

/// Room that is given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Room<'a> {
    kib: usize,
    held: Option<SemaphorePermit<'a>>,
}

impl Admission {
    /// Room for `count` tasks, until their fate is known.
    pub(super) fn of_tasks(&self, count: usize) -> Result<Room<'_>, Problem> {
        let mut room = Room::default();
        if room.grow(&self.tasks, count) {
            return Ok(room);
        }
        Err(Problem::unavailable(
            "nothing was done: too many tasks are being submitted",
        ))
    }

    /// Lets a body that was given `room` grow to `bytes`; false when there is none left.
    pub(super) fn grow_body<'a>(&'a self, room: &mut Room<'a>, bytes: usize) -> bool {
        let kib = bytes.saturating_sub(FREE).div_ceil(1_024);
        let more = kib.saturating_sub(room.kib);
        room.kib += more;
        room.grow(&self.kib, more)
    }
}

impl<'a> Room<'a> {
    fn grow(&mut self, of: &'a Semaphore, more: usize) -> bool {
        let Ok(Ok(more)) = u32::try_from(more).map(|it| of.try_acquire_many(it)) else {
            return false;
        };
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_room_is_turned_away_and_room_comes_back() {
        let admission = Admission::default();
        let most = admission.of_tasks(TASKS_MAX).unwrap();
        let problem = admission.of_tasks(1).unwrap_err();
        assert_eq!(problem.status().as_u16(), 503);
        drop(most);
        admission.of_tasks(1).unwrap();
    }

    #[test]
    fn a_body_takes_what_it_has_beyond_the_first() {
        let admission = Admission::default();
        let mut room = Room::default();
        assert!(admission.grow_body(&mut room, FREE));
        assert_eq!(admission.kib.available_permits(), KIB_MAX);
        assert!(admission.grow_body(&mut room, FREE + 1));
        assert!(admission.grow_body(&mut room, FREE + 2_048));
        assert_eq!(admission.kib.available_permits(), KIB_MAX - 2);
        let mut other = Room::default();
        assert!(!admission.grow_body(&mut other, FREE + KIB_MAX * 1_024));
        drop(room);
        assert_eq!(admission.kib.available_permits(), KIB_MAX);
    }
}
