//! How full is the store? Asks it again and again, and remembers what it said.

use std::time::Duration;

use crate::ids::{OpId, OpIds};
use crate::room::Level;
use crate::store::{Call, StoreCall, Usage};
use crate::time::Mono;

/// How often the store is asked. At full speed some 30 MB are written between two answers.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How long an answer may take before it counts as lost.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What a process knows of its store's room.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    level: Level,
    usage: Option<Usage>,
    asked: Option<(OpId, Mono)>,
    /// When to ask next, or to give up waiting; nothing is asked before the process is registered.
    at: Option<Mono>,
}

/// An answer of the store's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// When it was asked.
    pub(super) asked: Mono,
    pub(super) usage: Usage,
}

impl Gauge {
    pub(super) fn level(&self) -> Level {
        self.level
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.at
    }

    /// From now on the store is asked.
    pub(super) fn begin(&mut self, now: Mono) {
        self.at
            .get_or_insert_with(|| now.after(Duration::from_nanos(1)));
    }

    pub(super) fn on_time<E: From<StoreCall>>(
        &mut self,
        now: Mono,
        ops: &mut OpIds,
        out: &mut Vec<E>,
    ) {
        if self.at.is_none_or(|at| at > now) {
            return;
        }
        let op = ops.fresh();
        self.asked = Some((op, now));
        self.at = Some(now.after(ANSWER_MAX));
        let call = Call::Usage;
        out.push(StoreCall { op, call }.into());
    }

    /// Takes an answer. One that tells nothing changes nothing.
    pub(super) fn on_answer(
        &mut self,
        now: Mono,
        op: OpId,
        usage: Option<Usage>,
    ) -> Option<Reading> {
        let (_, asked) = self.asked.take_if(|(own, _)| *own == op)?;
        self.at = Some(asked.after(ASK_EVERY).max(now.after(ASK_EVERY / 4)));
        let usage = usage?;
        self.level = self.level.after(&usage);
        self.usage = Some(usage);
        Some(Reading { asked, usage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(used: u64) -> Option<Usage> {
        Some(Usage {
            used,
            size: used,
            quota: Some(100),
            full: false,
        })
    }

    fn ask(gauge: &mut Gauge, at: Mono) -> Option<OpId> {
        let mut ops = OpIds::default();
        for _ in 0..at.since(Mono::ZERO).as_millis() {
            ops.fresh();
        }
        let mut out: Vec<StoreCall> = Vec::new();
        gauge.on_time(at, &mut ops, &mut out);
        assert!(out.iter().all(|it| it.call == Call::Usage));
        out.pop().map(|it| it.op)
    }

    fn ms(n: u64) -> Mono {
        Mono::ZERO.after(Duration::from_millis(n))
    }

    #[test]
    fn a_store_is_asked_once_a_second_and_again_when_it_is_silent() {
        let mut gauge = Gauge::default();
        assert_eq!(ask(&mut gauge, ms(1)), None, "before it began");
        gauge.begin(ms(1));
        let op = ask(&mut gauge, ms(2)).unwrap();
        assert_eq!(ask(&mut gauge, ms(5_001)), None);
        assert!(gauge.on_answer(ms(100), OpId(op.0 + 1), usage(1)).is_none());
        let reading = gauge.on_answer(ms(100), op, usage(1)).unwrap();
        assert_eq!((reading.asked, gauge.level()), (ms(2), Level::Roomy));
        assert_eq!(ask(&mut gauge, ms(1_001)), None);
        let lost = ask(&mut gauge, ms(1_002)).unwrap();
        assert_eq!(ask(&mut gauge, ms(6_001)), None);
        let again = ask(&mut gauge, ms(6_002)).unwrap();
        assert!(gauge.on_answer(ms(6_003), lost, usage(99)).is_none());
        assert!(gauge.on_answer(ms(6_004), again, usage(99)).is_some());
    }

    #[test]
    fn a_level_lasts_until_the_store_says_something_else() {
        let mut gauge = Gauge::default();
        gauge.begin(ms(1));
        let op = ask(&mut gauge, ms(2)).unwrap();
        assert!(gauge.on_answer(ms(3), op, usage(95)).is_some());
        assert_eq!(gauge.level(), Level::Full);
        let op = ask(&mut gauge, ms(2_000)).unwrap();
        assert!(gauge.on_answer(ms(2_001), op, None).is_none());
        assert_eq!((gauge.level(), gauge.usage()), (Level::Full, usage(95)));
    }
}
