//! A node's lease, and the node's own, earlier idea of when it ends.
//!
//! The session ends at *time the last successful renewal was sent + granted TTL − margin*: before the store can think
//! so, as long as clock rates agree within the margin. Then the node stops everything first. If the lease still lives,
//! only a renewal that was sent after the end reopens the session: one that was sent before may have waited in a buffer
//! while the process was paused.

use std::time::Duration;

use crate::ids::{LeaseId, OpId, OpIds};
use crate::planted::planted;
use crate::store::{Call, LeaseAnswer, StoreCall};
use crate::time::Mono;

/// How a node keeps its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionConfig {
    /// The time to live that is asked for. The store may grant more.
    pub ttl: Duration,
    /// How much earlier than the store the node thinks its session ends.
    pub margin: Duration,
    /// How long an answer may take before the request is made again.
    pub answer_max: Duration,
}

impl SessionConfig {
    /// The shortest time to live that leaves room for a margin.
    pub const TTL_MIN: Duration = Duration::from_secs(2);

    /// The margin is this part of the time to live.
    pub const MARGIN_PART: u32 = 6;

    /// A session with a margin of a sixth of `ttl`.
    pub fn with_ttl(ttl: Duration) -> Self {
        assert!(
            ttl >= Self::TTL_MIN,
            "validated by the node's configuration"
        );
        Self {
            ttl,
            margin: ttl / Self::MARGIN_PART,
            answer_max: ttl / 3,
        }
    }
}

/// What happened to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionNews {
    /// The lease was granted.
    Opened(LeaseId),
    /// The session is over as far as this node knows; its lease may still live.
    Ended,
    /// The lease lives on after all.
    Reopened(LeaseId),
    /// The lease has ended: the cluster believes this node dead.
    Gone,
}

/// A node's lease and what the node believes of it.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    state: State,
    asked: Option<Asked>,
    /// When the next request is made.
    ask_at: Option<Mono>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    None,
    Live { lease: LeaseId, ends: Mono },
    Over { lease: LeaseId, ended: Mono },
    Gone,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    op: OpId,
    sent: Mono,
}

impl Session {
    /// No session yet; it is asked for as soon as time passes.
    pub fn new(config: SessionConfig) -> Self {
        assert!(
            config.margin < config.ttl,
            "a session lasts longer than its margin"
        );
        Self {
            config,
            state: State::None,
            asked: None,
            ask_at: Some(Mono::ZERO),
        }
    }

    /// The lease, while the session is not over.
    pub fn lease(&self) -> Option<LeaseId> {
        match self.state {
            State::Live { lease, .. } => Some(lease),
            State::None | State::Over { .. } | State::Gone => None,
        }
    }

    /// The lease, whether or not the session is over, as long as it may live.
    pub fn lease_if_any(&self) -> Option<LeaseId> {
        match self.state {
            State::Live { lease, .. } | State::Over { lease, .. } => Some(lease),
            State::None | State::Gone => None,
        }
    }

    /// When the session ends unless it is renewed.
    pub fn ends(&self) -> Option<Mono> {
        match self.state {
            State::Live { ends, .. } => Some(ends),
            State::None | State::Over { .. } | State::Gone => None,
        }
    }

    /// When [`Session::on_time`] must be called.
    pub fn deadline(&self) -> Option<Mono> {
        let next = match (self.ends(), self.ask_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        next.filter(|_| self.state != State::Gone)
    }

    /// Ends the session if its time is over. Comes before everything else that time or an input may cause.
    pub fn expire(&mut self, now: Mono) -> Option<SessionNews> {
        match self.state {
            State::Live { lease, ends } if ends <= now => {
                self.state = State::Over { lease, ended: now };
                self.asked = None;
                self.ask_at = Some(now);
                Some(SessionNews::Ended)
            }
            State::None | State::Live { .. } | State::Over { .. } | State::Gone => None,
        }
    }

    /// Asks the store for the lease or its renewal, when that is due.
    pub fn on_time<E: From<StoreCall>>(&mut self, now: Mono, ops: &mut OpIds, out: &mut Vec<E>) {
        if self.ask_at.is_none_or(|at| at > now) {
            return;
        }
        let call = match self.state {
            State::None => Call::Grant {
                ttl: self.config.ttl,
            },
            State::Live { lease, .. } | State::Over { lease, .. } => Call::Renew { lease },
            State::Gone => return,
        };
        let op = ops.fresh();
        self.asked = Some(Asked { op, sent: now });
        self.ask_at = Some(now.after(self.config.answer_max));
        out.push(StoreCall { op, call }.into());
    }

    /// Takes the answer to `op`, unless it is not the one that is waited for.
    pub fn on_answer(&mut self, now: Mono, op: OpId, answer: LeaseAnswer) -> Option<SessionNews> {
        let revived = planted!("P-session-reopened-by-old-renewal")
            && matches!(self.state, State::Over { .. });
        let asked = self.asked.filter(|asked| asked.op == op || revived)?;
        self.asked = None;
        match answer {
            LeaseAnswer::Live { lease, ttl } => self.on_live(now, asked.sent, lease, ttl),
            LeaseAnswer::Gone => {
                if let (true, Some(lease)) = (planted!("M-28"), self.lease_if_any()) {
                    return self.on_live(now, asked.sent, lease, self.config.ttl);
                }
                self.ask_at = None;
                self.state = State::Gone;
                Some(SessionNews::Gone)
            }
            LeaseAnswer::Refused(_) | LeaseAnswer::Unknown => {
                self.ask_at = Some(now.after(self.config.ttl / 12));
                None
            }
        }
    }

    fn on_live(
        &mut self,
        now: Mono,
        sent: Mono,
        lease: LeaseId,
        ttl: Duration,
    ) -> Option<SessionNews> {
        let sent = if planted!("M-06") { now } else { sent };
        let margin = if planted!("P-session-margin-missing") {
            Duration::ZERO
        } else {
            self.config.margin
        };
        let ends = sent.after(ttl.saturating_sub(margin));
        self.ask_at = Some(now.after(ttl / 3));
        if ends <= now {
            self.ask_at = Some(now.after(ttl / 12));
            return None;
        }
        let news = match self.state {
            State::None => Some(SessionNews::Opened(lease)),
            State::Live { ends: before, .. } => {
                assert!(before <= ends, "renewals are sent one after the other");
                None
            }
            State::Over { ended, .. } => {
                assert!(
                    sent >= ended,
                    "what was asked before the end is forgotten at the end"
                );
                Some(SessionNews::Reopened(lease))
            }
            State::Gone => return None,
        };
        self.state = State::Live { lease, ends };
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(6);

    struct Rig {
        session: Session,
        ops: OpIds,
        out: Vec<StoreCall>,
    }

    fn at(seconds: u64) -> Mono {
        Mono::ZERO.after(Duration::from_secs(seconds))
    }

    impl Rig {
        fn new() -> Self {
            Self {
                session: Session::new(SessionConfig::with_ttl(TTL)),
                ops: OpIds::default(),
                out: Vec::new(),
            }
        }

        fn ask(&mut self, now: Mono) -> OpId {
            self.session.on_time(now, &mut self.ops, &mut self.out);
            self.out.pop().expect("something was asked").op
        }

        fn live(&mut self, now: Mono, op: OpId) -> Option<SessionNews> {
            self.session.on_answer(
                now,
                op,
                LeaseAnswer::Live {
                    lease: LeaseId(7),
                    ttl: TTL,
                },
            )
        }

        fn opened() -> Self {
            let mut rig = Self::new();
            let op = rig.ask(at(10));
            assert_eq!(rig.live(at(11), op), Some(SessionNews::Opened(LeaseId(7))));
            rig
        }
    }

    #[test]
    fn the_session_ends_a_ttl_after_the_request_was_sent_less_the_margin() {
        let rig = Rig::opened();
        assert_eq!(rig.session.ends(), Some(at(10 + 6 - 1)));
    }

    #[test]
    fn a_renewal_extends_the_session_from_when_it_was_sent() {
        let mut rig = Rig::opened();
        let op = rig.ask(at(13));
        assert_eq!(rig.live(at(14), op), None);
        assert_eq!(rig.session.ends(), Some(at(13 + 5)));
    }

    #[test]
    fn a_woken_zombie_is_not_rescued_by_a_renewal_sent_before_it_slept() {
        let mut rig = Rig::opened();
        let op = rig.ask(at(13));
        assert_eq!(rig.session.expire(at(40)), Some(SessionNews::Ended));
        assert_eq!(rig.live(at(40), op), None);
        assert_eq!(rig.session.lease(), None);
        let op = rig.ask(at(40));
        assert_eq!(
            rig.live(at(41), op),
            Some(SessionNews::Reopened(LeaseId(7)))
        );
        assert_eq!(rig.session.lease(), Some(LeaseId(7)));
    }

    #[test]
    fn an_answer_that_took_longer_than_the_lease_opens_nothing() {
        let mut rig = Rig::new();
        let op = rig.ask(at(10));
        assert_eq!(rig.live(at(15), op), None);
        assert_eq!(rig.session.lease(), None);
    }

    #[test]
    fn an_unanswered_request_is_made_again() {
        let mut rig = Rig::opened();
        let first = rig.ask(at(13));
        let second = rig.ask(
            rig.session
                .ends()
                .unwrap()
                .min(rig.session.deadline().unwrap()),
        );
        assert_ne!(first, second);
        assert_eq!(
            rig.live(at(15), first),
            None,
            "the older answer is not waited for any more"
        );
    }

    #[test]
    fn a_lease_that_is_gone_is_never_asked_for_again() {
        let mut rig = Rig::opened();
        let op = rig.ask(at(13));
        assert_eq!(
            rig.session.on_answer(at(13), op, LeaseAnswer::Gone),
            Some(SessionNews::Gone)
        );
        assert_eq!(
            (rig.session.deadline(), rig.session.lease_if_any()),
            (None, None)
        );
    }
}
