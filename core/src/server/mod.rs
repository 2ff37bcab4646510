//! The machine of a scheduler process: one view and one set of lanes for its gateway, its scheduler and its janitor.
//!
//! Keeping the view once is what lets a process hold a million waiting tasks; the parts only decide.

mod ended;
mod flush;
mod gauge;
mod gone;
mod history;
mod janitor;
mod jobs;
mod news;
mod port;
mod pressure;
mod sweep;
mod window;

use std::time::Duration;

use self::gauge::Gauge;
use self::janitor::Janitor;
use self::jobs::{Beat, Job, Sorted, sort};
pub use self::port::{Effect, Input, Timer};
use crate::config::ServerConfig;
use crate::gateway::{Gateway, Reply};
use crate::ids::{NodeId, OpId, OpIds, Registration, Revision};
use crate::keyspace::{Key, Range, Role};
use crate::lanes::{LaneSpec, Lanes, Settled};
use crate::machine::Exit;
use crate::machine::Machine;
use crate::record::{NodeRecord, Totals, Version};
use crate::registration::Registering;
use crate::rng::Rng;
use crate::room::{Level, Room};
use crate::scheduler::{Scheduler, SchedulerConfig};
use crate::session::{Session, SessionConfig, SessionNews};
use crate::store::{Answer, TxnOutcome, Usage};
use crate::time::{Millis, Mono, Now};
use crate::timers::{Timers, earliest};
use crate::view::{ClusterView, Feed, News, Reconcile};

/// The letters of the lanes.
const GATEWAY: char = 'g';
const SCHEDULER: char = 's';
const JANITOR: char = 'j';

/// A scheduler process.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    now: Now,
    ops: OpIds,
    timers: Timers<Timer>,
    session: Session,
    registering: Registering,
    lanes: Lanes<Job>,
    feed: Feed,
    reconcile: Reconcile,
    view: ClusterView,
    news: Vec<News>,
    scheduler: Scheduler,
    gateway: Gateway,
    janitor: Janitor,
    gauge: Gauge,
    node: NodeRecord,
    beat_due: bool,
    leaving: bool,
    revocation: Option<OpId>,
    exited: bool,
}

impl Server {
    /// A process that begins with nothing but its configuration, a seed and the time.
    pub fn new(config: ServerConfig, seed: u64, now: Now) -> Self {
        config
            .check()
            .expect("checked where the configuration entered");
        let mut rng = Rng::new(seed);
        let session = SessionConfig::with_ttl(config.ttl);
        let life = rng.fork("life").draw();
        let specs = [
            LaneSpec {
                part: GATEWAY,
                count: config.gateway_lanes,
            },
            LaneSpec {
                part: SCHEDULER,
                count: config.scheduler_lanes,
            },
            LaneSpec {
                part: JANITOR,
                count: 1,
            },
        ];
        let scheduler = SchedulerConfig {
            id: config.id.clone(),
            losses_max: config.losses_max,
            step_in_after: config.step_in_after,
            silence_grace: config.silence_grace,
        };
        Self {
            now,
            ops: OpIds::default(),
            timers: Timers::default(),
            registering: Registering::new(
                Key::node(Role::Scheduler, &config.id),
                life,
                session.answer_max,
            ),
            session: Session::new(session),
            lanes: Lanes::new(&config.id, &specs, session.ttl, rng.fork("lanes")),
            feed: Feed::new(Range::cluster(), rng.fork("feed")),
            view: ClusterView::default(),
            news: Vec::new(),
            scheduler: Scheduler::new(scheduler, rng.fork("placement")),
            gateway: Gateway::new(config.request_max, rng.fork("task ids")),
            janitor: Janitor::new(&config, rng.fork("janitor")),
            gauge: Gauge::default(),
            reconcile: Reconcile::new(rng.fork("reconcile")),
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
            leaving: false,
            revocation: None,
            exited: false,
            config,
        }
    }

    /// What it knows of the store.
    pub fn view(&self) -> &ClusterView {
        &self.view
    }

    /// The revision up to which it knows the store; `None` while its view has a gap.
    pub fn view_at(&self) -> Option<Revision> {
        self.feed.at()
    }

    /// When its session ends unless it is renewed; `None` when there is none.
    pub fn session_ends(&self) -> Option<Mono> {
        self.session.ends()
    }

    /// Its registration, once it has one.
    pub fn registration(&self) -> Option<Registration> {
        self.registering.done()
    }

    /// Whether it serves: it is registered, its session lives, its view has no gap, and it was not told to leave.
    pub fn is_ready(&self) -> bool {
        self.can_place() && !self.leaving
    }

    /// Slots that it keeps for dispatches whose claims its view does not show yet.
    pub fn reserved(&self) -> usize {
        self.scheduler.reserved()
    }

    /// What it knows of the room in its store.
    pub fn room(&self) -> Room {
        Room {
            level: self.gauge.level(),
            usage: self.gauge.usage(),
            kept: self.janitor.kept(),
        }
    }

    /// How often its view was found to differ from the store, and was read anew.
    pub fn drift_repaired(&self) -> u64 {
        self.reconcile.repaired()
    }

    /// What its transactions are known to have done.
    pub fn totals(&self) -> Totals {
        self.lanes.totals()
    }

    fn can_place(&self) -> bool {
        self.registration().is_some() && self.session.lease().is_some() && self.feed.at().is_some()
    }

    fn can_schedule(&self) -> bool {
        self.can_place() && !self.leaving && self.lanes.idle(SCHEDULER).is_some()
    }

    fn flush_soon(&mut self) {
        if !self.timers.is_armed(Timer::Flush) {
            let now = self.now.mono;
            self.timers
                .arm(now, Timer::Flush, now.after(Duration::from_nanos(1)));
        }
    }

    fn exit(&mut self, reason: Exit, out: &mut Vec<Effect>) {
        // Who ended its lease itself is not surprised that its keys are gone.
        let reason = match reason {
            Exit::Deposed | Exit::Usurped if self.revocation.is_some() => Exit::Drained,
            Exit::Drained | Exit::Deposed | Exit::Usurped | Exit::HandlerWedged | Exit::Unheard => {
                reason
            }
        };
        if !self.exited {
            self.exited = true;
            self.gateway.close(out);
            out.push(Effect::Exit(reason));
        }
    }

    fn on_store(&mut self, op: OpId, answer: Answer, out: &mut Vec<Effect>) {
        let now = self.now;
        match answer {
            Answer::View(event) => self.on_view(op, event),
            Answer::Txn(outcome) => self.on_txn(op, outcome, out),
            Answer::Read(answer) => {
                if self.registration().is_none() {
                    let lease = self.session.lease();
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
                    if self.registration().is_some() {
                        self.on_registered();
                    }
                } else if let Some(answer) = self.janitor.on_read(now, op, answer) {
                    self.gateway.on_read(now, op, answer, &mut self.feed);
                    self.flush_soon();
                }
            }
            Answer::Audited(answer) => {
                let known = self.view.known();
                self.reconcile.on_answer(now.mono, op, &answer, known);
                self.compare();
            }
            Answer::Lease(answer) => {
                if self.revocation == Some(op) {
                    return self.exit(Exit::Drained, out);
                }
                let Some(answer) = self.gateway.on_lease(now, op, answer) else {
                    return self.flush_soon();
                };
                if let Some(news) = self.session.on_answer(now.mono, op, answer) {
                    self.on_session(news, out);
                }
            }
            Answer::Compacted(is_done) => self.janitor.on_compacted(now.mono, op, is_done),
            Answer::Usage(usage) => self.on_usage(op, usage),
        }
    }

    fn on_usage(&mut self, op: OpId, usage: Option<Usage>) {
        let now = self.now.mono;
        let Some(reading) = self.gauge.on_answer(now, op, usage) else {
            return;
        };
        let level = self.gauge.level();
        self.janitor.on_usage(reading.asked, level, &reading.usage);
        self.gateway.on_room(self.room());
        if level != Level::Roomy {
            self.flush_soon();
        }
    }

    fn on_session(&mut self, news: SessionNews, out: &mut Vec<Effect>) {
        match news {
            SessionNews::Opened(_) => {
                self.registering
                    .start(self.now.mono, &self.lanes, &mut self.ops, out)
            }
            // It holds nothing that others must be kept from: it only stops deciding, as `can_place` says.
            SessionNews::Ended => {}
            SessionNews::Reopened(_) => self.flush_soon(),
            // The lease that this process has ended itself.
            SessionNews::Gone if self.revocation.is_some() => self.exit(Exit::Drained, out),
            SessionNews::Gone => self.exit(Exit::Deposed, out),
        }
    }

    fn on_registered(&mut self) {
        let now = self.now.mono;
        self.timers
            .arm(now, Timer::Beat, now.after(self.config.ttl / 6));
        self.gauge.begin(now);
        self.flush_soon();
    }

    fn on_txn(&mut self, op: OpId, outcome: TxnOutcome, out: &mut Vec<Effect>) {
        let now = self.now;
        if self.registration().is_none() {
            if self
                .registering
                .on_txn(now.mono, op, &outcome, &mut self.lanes)
            {
                self.on_registered();
            }
            return;
        }
        let news = self
            .lanes
            .on_answer(now.mono, op, outcome, &mut self.ops, out);
        if news.usurped {
            return self.exit(Exit::Usurped, out);
        }
        for settled in news.settled {
            self.on_settled(settled, out);
        }
        self.flush_soon();
    }

    fn on_settled(&mut self, settled: Settled<Job>, out: &mut Vec<Effect>) {
        let (now, reached) = (self.now, self.feed.at());
        match sort(settled) {
            Sorted::Gateway(settled) => {
                self.tell_placed(&settled);
                self.gateway.on_settled(now, settled, &mut self.feed);
            }
            Sorted::Scheduler(settled) => {
                if let Some(at) = self.scheduler.on_settled(now, settled, reached, &self.view) {
                    self.feed.want(now.mono, at);
                }
            }
            Sorted::Janitor(at, bytes) => self.janitor.on_settled(now.mono, at, bytes),
            Sorted::Beat(Beat::Applied) | Sorted::Nothing => {}
            Sorted::Beat(Beat::Missed) => self.beat_due = true,
            // Its key is gone, or another life's: the cluster believes it dead.
            Sorted::Beat(Beat::Deposed) => self.exit(Exit::Deposed, out),
        }
    }

    fn pass_time(&mut self, out: &mut Vec<Effect>) {
        let now = self.now;
        if let Some(news) = self.session.expire(now.mono) {
            self.on_session(news, out);
        }
        self.session.on_time(now.mono, &mut self.ops, out);
        self.registering
            .on_time(now.mono, &self.lanes, &mut self.ops, out);
        self.lanes.on_time(now.mono, &mut self.ops, out);
        self.feed.on_time(now.mono, &mut self.ops, out);
        let (feed, known) = (&self.feed, self.view.known());
        self.reconcile
            .on_time(now.mono, feed, known, &mut self.ops, out);
        self.gauge.on_time(now.mono, &mut self.ops, out);
        let something_due = self.can_schedule() && self.scheduler.on_time(now, &self.view);
        if something_due
            | self.gateway.on_time(now, &self.view, out)
            | self.janitor.on_time(now.mono)
        {
            self.flush_soon();
        }
        while let Some(timer) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Flush | Timer::Gather => self.flush(out),
                Timer::Beat => {
                    self.beat_due = true;
                    self.timers
                        .arm(now.mono, Timer::Beat, now.mono.after(self.config.ttl / 6));
                    self.flush_soon();
                }
                Timer::Patience => self.exit(Exit::Drained, out),
                Timer::Session
                | Timer::Lanes
                | Timer::Registering
                | Timer::Feed
                | Timer::Scheduler
                | Timer::Gateway
                | Timer::Janitor
                | Timer::Gauge
                | Timer::Reconcile => {}
            }
        }
    }

    /// The id that it goes by.
    pub fn id(&self) -> &NodeId {
        &self.config.id
    }
}

impl Machine for Server {
    type Input = Input;
    type Effect = Effect;
    type Timer = Timer;

    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        assert!(
            now.mono >= self.now.mono,
            "the shell's clock went backwards"
        );
        self.now = now;
        if self.exited {
            if let Input::Request { id, .. } = input {
                out.push(Effect::Reply {
                    id,
                    reply: Reply::NotReady,
                });
            }
            return;
        }
        self.pass_time(out);
        match input {
            Input::Elapsed => {}
            Input::Store { op, answer } => self.on_store(op, answer, out),
            Input::Request { id, request } => {
                let serving = self.registration().is_some() && !self.leaving;
                self.gateway.on_request(now, id, request, serving, out);
                self.flush_soon();
            }
            Input::Forget { id } => self.gateway.forget(id),
            Input::Load {
                cpu_permille,
                memory_bytes,
            } => {
                self.node.cpu_permille = cpu_permille;
                self.node.memory_bytes = memory_bytes;
            }
            Input::Drain => self.on_drain(out),
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
        let soon = self.now.mono.after(Duration::from_nanos(1));
        let after = |at: Option<Mono>, timer| at.map(|at| (at.max(soon), timer));
        let scheduler = self.scheduler.deadline(self.now, self.can_schedule());
        earliest([
            after(self.session.deadline(), Timer::Session),
            after(self.lanes.deadline(), Timer::Lanes),
            after(self.registering.deadline(), Timer::Registering),
            after(self.feed.deadline(), Timer::Feed),
            after(scheduler.filter(|_| self.can_schedule()), Timer::Scheduler),
            after(self.gateway.deadline(), Timer::Gateway),
            after(self.janitor.deadline(), Timer::Janitor),
            after(self.gauge.deadline(), Timer::Gauge),
            after(self.reconcile.deadline(), Timer::Reconcile),
            self.timers.earliest(),
        ])
    }
}
