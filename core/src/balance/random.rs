//! Any worker, all equally likely.

use super::index::{Candidate, Index, Seat};
use super::rank::Rank;
use crate::rng::Rng;

/// The candidates without an order. Each pick is O(1).
#[derive(Debug, Clone, Default)]
pub(super) struct Random {
    candidates: Vec<Seat>,
    /// For each seat its place among the candidates.
    places: Vec<Option<usize>>,
}

impl Random {
    fn add(&mut self, seat: Seat) {
        if self.places.len() <= seat.ix() {
            self.places.resize(seat.ix() + 1, None);
        }
        let before = self.places[seat.ix()].replace(self.candidates.len());
        assert!(before.is_none(), "a candidate is added once");
        self.candidates.push(seat);
    }

    fn remove(&mut self, seat: Seat) {
        let place = self.places[seat.ix()].take();
        let place = place.expect("a candidate has a place");
        let removed = self.candidates.swap_remove(place);
        assert_eq!(removed, seat, "both tables tell the same places");
        if let Some(moved) = self.candidates.get(place) {
            self.places[moved.ix()] = Some(place);
        }
    }
}

impl Index for Random {
    fn moved(&mut self, seat: Seat, before: Option<Candidate>, after: Option<Candidate>) {
        match (before.is_some(), after.is_some()) {
            (false, true) => self.add(seat),
            (true, false) => self.remove(seat),
            (true, true) | (false, false) => {}
        }
    }

    fn left(&mut self, _: Seat) {}

    fn reranked(&mut self, _: &dyn Fn(Rank) -> Rank) {}

    fn pick(&mut self, rng: &mut Rng) -> Option<Seat> {
        if self.candidates.is_empty() {
            return None;
        }
        let count = u64::try_from(self.candidates.len()).expect("seats are counted in 32 bits");
        let place = usize::try_from(rng.below(count)).expect("below a length");
        Some(self.candidates[place])
    }
}

#[cfg(test)]
impl Random {
    pub(super) fn assert_holds(&self, candidates: &[(Seat, Candidate)]) {
        for (place, seat) in self.candidates.iter().enumerate() {
            assert_eq!(self.places[seat.ix()], Some(place));
        }
        assert_eq!(self.places.iter().flatten().count(), candidates.len());
        let mut seats = self.candidates.clone();
        seats.sort_unstable();
        let mut expected: Vec<_> = candidates.iter().map(|it| it.0).collect();
        expected.sort_unstable();
        assert_eq!(seats, expected);
    }
}
