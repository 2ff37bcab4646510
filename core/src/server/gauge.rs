//! How full is the store? Asks it again and again, remembers what it said, and adds what this process has sent since.

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
    asked: Option<Asked>,
    /// What this process has sent in all, in bytes.
    sent: u64,
    /// How much of it the store's answer may have counted.
    sent_before: u64,
    /// When to ask next, or to give up waiting; nothing is asked before the process is registered.
    at: Option<Mono>,
}

#[derive(Debug)]
struct Asked {
    op: OpId,
    at: Mono,
    /// What this process had sent by then.
    sent: u64,
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
        self.asked = Some(Asked {
            op,
            at: now,
            sent: self.sent,
        });
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
        let asked = self.asked.take_if(|asked| asked.op == op)?;
        self.at = Some(asked.at.after(ASK_EVERY).max(now.after(ASK_EVERY / 4)));
        let usage = usage?;
        self.sent_before = asked.sent;
        self.usage = Some(usage);
        self.level = self.level.after(&self.reckoned(usage));
        Some(Reading {
            asked: asked.at,
            usage,
        })
    }

    /// Something was sent that takes this many bytes, now or later. Whether that makes the store full: a small one fills
    /// faster than it is asked.
    pub(super) fn on_sent(&mut self, bytes: u64) -> bool {
        self.sent = self.sent.saturating_add(bytes);
        let before = self.level;
        if let Some(usage) = self.usage {
            self.level = before.max(before.after(&self.reckoned(usage)));
        }
        before < Level::Full && self.level == Level::Full
    }

    /// What the store said, and what it could not know.
    fn reckoned(&self, usage: Usage) -> Usage {
        let since = self.sent.saturating_sub(self.sent_before);
        Usage {
            used: usage.used.saturating_add(since),
            ..usage
        }
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
    fn what_was_sent_since_the_store_was_asked_counts() {
        let mut gauge = Gauge::default();
        assert!(!gauge.on_sent(1_000), "nobody knows the quota yet");
        gauge.begin(ms(1));
        let op = ask(&mut gauge, ms(2)).unwrap();
        assert!(!gauge.on_sent(30), "on its way while the store is asked");
        gauge.on_answer(ms(3), op, usage(40)).unwrap();
        assert_eq!(gauge.level(), Level::Tight);
        assert!(!gauge.on_sent(9));
        assert!(gauge.on_sent(1));
        assert!(!gauge.on_sent(1), "it was full before");
        assert_eq!(gauge.usage(), usage(40), "what it said stays what it said");
        let op = ask(&mut gauge, ms(2_000)).unwrap();
        gauge.on_answer(ms(2_001), op, usage(60)).unwrap();
        assert_eq!(gauge.level(), Level::Tight, "it has counted everything");
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
