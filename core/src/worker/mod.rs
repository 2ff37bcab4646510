//! The worker: runs what appears in its own queue, and records how it went.
//!
//! It starts only claims that are committed, made for its own registration, while its session lives and its view has no
//! gap and keeps up. When the session ends it stops every handler before anything else. What has ended is recorded under the claim's
//! fence; whatever else happens to a claim, the store's guards decide.

mod attempts;
mod claims;
mod duty;
mod freshness;
mod held;
mod lines;
mod locking;
mod locks;
mod news;
mod port;
mod record;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::duty::Duty;
use self::freshness::Freshness;
use self::held::{Claims, End, Phase};
use self::locks::Locks;
pub use self::locks::{LOCKS_MAX, LockRefusal};
pub use self::port::{Effect, Input, Timer};
use self::record::Job;
use self::run::Runs;
pub use self::run::{HandlerError, RunEvent, Start};
use crate::config::WorkerConfig;
use crate::ids::{LeaseId, OpId, OpIds, Registration, Revision};
use crate::keyspace::{Key, Place, Range, Role};
use crate::lanes::{LaneSpec, Lanes};
pub use crate::machine::Exit;
use crate::machine::Machine;
use crate::planted::planted;
use crate::record::{NodeRecord, StopReason, Totals, Version};
use crate::registration::Registering;
use crate::rng::Rng;
use crate::session::{Session, SessionConfig, SessionNews};
use crate::store::{Answer, Digest, ReadAnswer, TxnOutcome};
use crate::time::{Millis, Mono, Now};
use crate::timers::{Timers, earliest};
use crate::view::CheckedFeed;

/// The letter of a worker's lanes.
const PART: char = 'w';

/// Reads of tasks in flight at most.
const FETCHES_MAX: usize = 4;

/// How long a read may take before it is made again.
const FETCH_MAX: Duration = Duration::from_secs(8);

/// A worker of one process.
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
    last: Mono,
    ops: OpIds,
    timers: Timers<Timer>,
    session: Session,
    registering: Registering,
    lanes: Lanes<Job>,
    claims_feed: CheckedFeed,
    own_feed: CheckedFeed,
    orders_feed: CheckedFeed,
    freshness: Freshness,
    claims: Claims,
    /// The claims that the parts of a full read have shown, until the last part.
    rereading: Option<BTreeSet<Place>>,
    runs: Runs,
    locks: Locks,
    fetches: BTreeMap<OpId, Vec<Place>>,
    /// Conflicted claims that wait until the view has reached a revision.
    parked: Vec<(Revision, Place)>,
    duty: Duty,
    node: NodeRecord,
    beat_due: bool,
    /// Counted, but not in a transaction yet.
    owed: Totals,
    retry_rng: Rng,
    exited: bool,
}

impl Worker {
    /// A worker that begins with nothing but its configuration, a seed and the time.
    pub fn new(config: WorkerConfig, seed: u64, now: Now) -> Self {
        config
            .check()
            .expect("checked where the configuration entered");
        let mut rng = Rng::new(seed);
        let session = SessionConfig::with_ttl(config.ttl);
        let life = rng.fork("life").draw();
        let node_key = Key::node(Role::Worker, &config.id);
        let lane_spec = LaneSpec {
            part: PART,
            count: config.lanes,
        };
        Self {
            last: now.mono,
            ops: OpIds::default(),
            timers: Timers::default(),
            registering: Registering::new(node_key.clone(), life, session.answer_max),
            session: Session::new(session),
            lanes: Lanes::new(&config.id, &[lane_spec], session.ttl, rng.fork("lanes")),
            claims_feed: CheckedFeed::new(Range::claims_of(&config.id), rng.fork("claims feed")),
            own_feed: CheckedFeed::new(Range::of_key(&node_key), rng.fork("own feed")),
            orders_feed: CheckedFeed::new(
                Range::of_key(&Key::node_config(&config.id)),
                rng.fork("orders feed"),
            ),
            freshness: Freshness::new(session.ttl / 2),
            claims: Claims::default(),
            rereading: None,
            runs: Runs::default(),
            fetches: BTreeMap::new(),
            parked: Vec::new(),
            duty: Duty::default(),
            node: NodeRecord {
                v: Version,
                life,
                version: config.version.clone(),
                view: Revision(0),
                load: 0,
                cpu_permille: 0,
                memory_bytes: 0,
                ttl: Millis::new(u64::try_from(config.ttl.as_millis()).unwrap_or(u64::MAX)),
                started_at: now.wall,
                remote: None,
            },
            beat_due: false,
            owed: Totals::default(),
            retry_rng: rng.fork("retry jitter"),
            // The last to be drawn: what was recorded before there were locks plays back.
            locks: Locks::new(rng.fork("locks")),
            exited: false,
            config,
        }
    }

    /// Its registration, once it has one.
    pub fn registration(&self) -> Option<Registration> {
        self.registering.done()
    }

    /// Its lease, while its session lasts and it has not ended it itself.
    pub fn lease(&self) -> Option<LeaseId> {
        self.session.lease().filter(|_| !self.duty.has_revoked())
    }

    /// The revision up to which it knows its claims; `None` while its view of them has a gap.
    pub fn view_at(&self) -> Option<Revision> {
        self.claims_feed.at()
    }

    /// How far it knows its claims, and what it knows of them, in sum.
    pub fn knows(&self) -> (Option<Revision>, Digest) {
        (self.claims_feed.at(), self.claims_feed.digest())
    }

    /// What its transactions are known to have done.
    pub fn totals(&self) -> Totals {
        self.lanes.totals()
    }

    /// How often its view of its claims, its own key or its orders was found to differ from the store, and was read anew.
    pub fn drift_repaired(&self) -> u64 {
        let feeds = [&self.claims_feed, &self.own_feed, &self.orders_feed];
        feeds.into_iter().map(CheckedFeed::repaired).sum()
    }

    /// Handlers that run.
    pub fn running(&self) -> usize {
        self.runs.len()
    }

    /// Claims that it holds.
    pub fn holding(&self) -> usize {
        self.claims.len()
    }

    /// Whether it takes tasks: it is registered, its session lives, its view has no gap and keeps up, and its offer stands.
    pub fn is_ready(&self) -> bool {
        self.can_start() && self.duty.offered().is_some()
    }

    fn can_start(&self) -> bool {
        self.registration().is_some()
            && (self.session.lease().is_some() || planted!("P-starts-without-session"))
            && (self.claims_feed.at().is_some() || planted!("P-view-frozen-starts"))
            && !self.freshness.is_stale()
            && self.duty.takes_tasks()
    }

    /// There is something to send or to start; it happens when the inputs at hand have been taken, so that what came
    /// together leaves together.
    fn flush_soon(&mut self, now: Mono) {
        if !self.timers.is_armed(Timer::Flush) {
            self.timers
                .arm(now, Timer::Flush, now.after(Duration::from_nanos(1)));
        }
    }

    fn exit(&mut self, reason: Exit, out: &mut Vec<Effect>) {
        // Who ended its lease itself is not surprised that its keys are gone.
        let reason = match reason {
            Exit::Deposed | Exit::Usurped if self.duty.has_revoked() => Exit::Drained,
            Exit::Drained | Exit::Deposed | Exit::Usurped | Exit::HandlerWedged | Exit::Unheard => {
                reason
            }
        };
        if !self.exited {
            self.exited = true;
            self.stop_all(StopReason::Fenced, out);
            out.push(Effect::Exit(reason));
        }
    }

    fn stop_all(&mut self, reason: StopReason, out: &mut Vec<Effect>) {
        for run in self.runs.all() {
            self.stop(run, reason, out);
        }
    }

    fn on_session(&mut self, now: Now, news: SessionNews, out: &mut Vec<Effect>) {
        match news {
            SessionNews::Opened(_) => {
                self.registering
                    .start(now.mono, &self.lanes, &mut self.ops, out)
            }
            SessionNews::Ended if planted!("P-handler-not-stopped-at-session-end") => {}
            SessionNews::Ended => {
                self.stop_all(StopReason::Fenced, out);
                let margin = SessionConfig::with_ttl(self.config.ttl).margin;
                if !self.runs.is_empty() {
                    self.timers
                        .arm(now.mono, Timer::Wedged, now.mono.after(margin));
                }
            }
            SessionNews::Reopened(_) => {
                for place in self.claims.unstarted() {
                    self.claims.set(place, Phase::Ended(End::HandBack));
                }
                self.beat_due = true;
                self.flush_soon(now.mono);
            }
            SessionNews::Gone => self.on_life_over(out),
        }
    }

    fn after_session(&mut self, out: &mut Vec<Effect>, before: Option<Mono>) {
        if let Some(at) = self.session.ends().filter(|at| Some(*at) != before) {
            out.push(Effect::Fence { at });
        }
    }

    fn on_store(&mut self, now: Now, op: OpId, answer: Answer, out: &mut Vec<Effect>) {
        match answer {
            Answer::View(event) => self.on_view(now, op, event, out),
            Answer::Txn(outcome) => self.on_txn(now, op, outcome, out),
            Answer::Read(answer) => self.on_read(now, op, answer, out),
            Answer::Audited(answer) => self.on_audited(now, op, &answer),
            Answer::Lease(answer) => {
                if self.duty.is_revocation(op) {
                    self.exit(Exit::Drained, out);
                    return;
                }
                let before = self.session.ends();
                if let Some(news) = self.session.on_answer(now.mono, op, answer) {
                    self.on_session(now, news, out);
                }
                self.after_session(out, before);
            }
            Answer::Compacted(_) | Answer::Usage(_) => {}
        }
    }

    fn on_txn(&mut self, now: Now, op: OpId, outcome: TxnOutcome, out: &mut Vec<Effect>) {
        if self
            .registering
            .on_txn(now.mono, op, &outcome, &mut self.lanes)
        {
            return self.on_registered(now);
        }
        let news = self
            .lanes
            .on_answer(now.mono, op, outcome, &mut self.ops, out);
        if news.usurped {
            return self.exit(Exit::Usurped, out);
        }
        for settled in news.settled {
            self.on_settled(now, settled, out);
        }
        self.flush_soon(now.mono);
    }

    fn on_registered(&mut self, now: Now) {
        self.timers
            .arm(now.mono, Timer::Beat, now.mono.after(self.beat_every()));
        self.flush_soon(now.mono);
    }

    fn beat_every(&self) -> Duration {
        self.config.ttl / 6
    }

    fn on_read(&mut self, now: Now, op: OpId, answer: ReadAnswer, out: &mut Vec<Effect>) {
        if let Some(places) = self.fetches.remove(&op) {
            self.timers.disarm(Timer::Fetch(op));
            return self.on_fetched(now, places, answer);
        }
        let lease = self.session.lease();
        let was_registered = self.registration().is_some();
        self.registering.on_read(
            now.mono,
            op,
            answer,
            lease,
            &self.node,
            &mut self.lanes,
            &mut self.ops,
            out,
        );
        if !was_registered && self.registration().is_some() {
            self.on_registered(now);
        }
    }

    fn on_timer(&mut self, now: Now, timer: Timer, out: &mut Vec<Effect>) {
        match timer {
            Timer::Session | Timer::Lanes | Timer::Registering | Timer::Feed => {}
            Timer::Flush | Timer::Gather => self.flush(now, out),
            Timer::Beat => {
                self.beat_due = true;
                if let Some(at) = self.freshness.owed() {
                    self.claims_feed.want(now.mono, at);
                }
                self.timers
                    .arm(now.mono, Timer::Beat, now.mono.after(self.beat_every()));
                self.flush_soon(now.mono);
            }
            Timer::Fetch(op) => {
                if let Some(places) = self.fetches.remove(&op) {
                    self.on_fetched(now, places, ReadAnswer::Failed);
                }
            }
            Timer::TimeOut(run) => self.stop(run, StopReason::TimeOut, out),
            Timer::Waiting => self.hand_back_overdue(now),
            Timer::Patience => self.on_patience(now, out),
            Timer::Wedged => self.on_wedged(out),
        }
    }

    fn hand_back_overdue(&mut self, now: Now) {
        while let Some((seen, place)) = self.claims.oldest_waiting() {
            let due = seen.after(self.config.claim_wait_max);
            if due > now.mono {
                break;
            }
            self.claims.set(place, Phase::Ended(End::HandBack));
        }
        self.flush_soon(now.mono);
    }

    /// The grace of a drain is over, or the store has not answered for a while since.
    fn on_patience(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.duty.has_revoked() {
            return self.exit(Exit::Drained, out);
        }
        let no_grace = self.duty.lose_patience();
        if no_grace && self.session.lease().is_none() {
            return self.exit(Exit::Unheard, out);
        }
        // Told to stop for as long as a session lasts, and still there: whoever waits for the worker's end waits no more.
        if no_grace && !self.runs.is_empty() && !planted!("P-wedged-handler-kept") {
            return self.exit(Exit::HandlerWedged, out);
        }
        self.stop_all(StopReason::Shutdown, out);
        self.timers
            .arm(now.mono, Timer::Patience, now.mono.after(self.config.ttl));
        self.flush_soon(now.mono);
    }

    fn on_wedged(&mut self, out: &mut Vec<Effect>) {
        let wedged = self.session.lease().is_none() && !self.runs.is_empty();
        if wedged && !planted!("P-wedged-handler-kept") {
            self.exit(Exit::HandlerWedged, out);
        }
    }

    fn flush(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.exited {
            return;
        }
        self.fetch(now, out);
        self.start_ready(now, out);
        self.record(now, out);
        self.locks.close_lines(&mut self.ops, out);
        self.leave_when_empty(now, out);
        match self.claims.oldest_waiting() {
            Some((seen, _)) if !planted!("P-wait-handback-missing") => {
                let at = seen
                    .after(self.config.claim_wait_max)
                    .max(now.mono.after(Duration::from_nanos(1)));
                self.timers.arm(now.mono, Timer::Waiting, at);
            }
            Some(_) | None => self.timers.disarm(Timer::Waiting),
        }
    }

    fn pass_time(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.freshness.pass_time(now.mono);
        let before = self.session.ends();
        if let Some(news) = self.session.expire(now.mono) {
            self.on_session(now, news, out);
        }
        self.session.on_time(now.mono, &mut self.ops, out);
        self.after_session(out, before);
        self.registering
            .on_time(now.mono, &self.lanes, &mut self.ops, out);
        self.lanes.on_time(now.mono, &mut self.ops, out);
        // Claims are watched from the registration on: before it, none can be ours.
        if self.registration().is_some() {
            for feed in [
                &mut self.claims_feed,
                &mut self.own_feed,
                &mut self.orders_feed,
            ] {
                feed.on_time(now.mono, &mut self.ops, out);
            }
            self.locks.on_time(now.mono, &mut self.ops, out);
        }
        while let Some(timer) = self.timers.pop_due(now.mono) {
            self.on_timer(now, timer, out);
        }
    }
}

impl Machine for Worker {
    type Input = Input;
    type Effect = Effect;
    type Timer = Timer;

    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        assert!(now.mono >= self.last, "the shell's clock went backwards");
        self.last = now.mono;
        if self.exited {
            return;
        }
        self.pass_time(now, out);
        match input {
            Input::Elapsed => {}
            Input::Store { op, answer } => self.on_store(now, op, answer, out),
            Input::Run { run, event } => self.on_run(now, run, event, out),
            Input::Load {
                cpu_permille,
                memory_bytes,
            } => {
                self.node.cpu_permille = cpu_permille;
                self.node.memory_bytes = memory_bytes;
            }
            Input::Drain => self.on_drain(now),
        }
        assert!(
            self.deadline().is_none_or(|(at, _)| at > now.mono),
            "the driver would spin"
        );
    }

    fn deadline(&self) -> Option<(Mono, Timer)> {
        if self.exited {
            return None;
        }
        let after = |at: Option<Mono>, timer| {
            at.map(|at| (at.max(self.last.after(Duration::from_nanos(1))), timer))
        };
        let feeds = [&self.claims_feed, &self.own_feed, &self.orders_feed];
        let feeds = feeds
            .into_iter()
            .filter_map(CheckedFeed::deadline)
            .chain(self.locks.deadline())
            .min()
            .filter(|_| self.registration().is_some());
        earliest([
            after(self.session.deadline(), Timer::Session),
            after(self.lanes.deadline(), Timer::Lanes),
            after(self.registering.deadline(), Timer::Registering),
            after(feeds, Timer::Feed),
            self.timers.earliest(),
        ])
    }
}
