//! A worker that talks to gateways only, as the protocol wants it: the client whose behaviour the checkers judge.
//!
//! It keeps nothing from one life to the next. Each call goes to any gateway and may be answered by nobody; then it is
//! made again, elsewhere. Its session ends by its own clock, earlier than its lease, and before anything else.

mod answers;
mod deadline;
mod held;

use std::collections::BTreeMap;
use std::time::Duration;

use self::held::judge;
use windlass_core::config::WorkerConfig;
use windlass_core::gateway::{
    RemoteAsk, RemoteAttempt, RemoteEnd, RemoteSpec, RemoteStart, RemoteStop, RemoteToken,
    RemoteTold, Reply,
};
use windlass_core::ids::{OpId, Registration, Revision, TaskId};
use windlass_core::machine::Exit;
use windlass_core::record::StopReason;
use windlass_core::rng::Rng;
use windlass_core::time::{Mono, Now};
use windlass_core::worker::{RunEvent, Start};

/// How the ids of these workers begin.
pub const NAME: &str = "remote-";

/// How long a fetch waits.
pub const FETCH_WAIT: Duration = Duration::from_secs(4);
/// How long a call may take besides.
pub const ANSWER_MAX: Duration = Duration::from_secs(3);
/// How long it waits before it makes a call again.
const AGAIN: Duration = Duration::from_millis(150);
/// A progress report is not made again: nothing hangs on it.
const MARGIN_PART: u32 = 6;

/// What reaches it.
#[derive(Debug, Clone)]
pub enum Input {
    /// Nothing but time.
    Elapsed,
    /// What became of a call; `None` when nobody answered.
    Answer(u64, Option<Box<Reply>>),
    /// A handler said something.
    Run(OpId, RunEvent),
    /// It is told to leave.
    Drain,
}

/// What it wants.
#[derive(Debug)]
pub enum Effect {
    /// Ask any gateway.
    Ask {
        /// Names the answer.
        call: u64,
        /// Which gateway, counted round those there are.
        pick: u64,
        /// How long the answer is waited for.
        patience: Duration,
        /// What.
        ask: Box<RemoteAsk>,
    },
    /// Start a handler.
    Start(Box<Start>),
    /// Stop a handler.
    Stop {
        /// Which.
        run: OpId,
        /// Why.
        reason: StopReason,
    },
    /// The session lasts until then.
    Fence {
        /// By its own clock.
        at: Mono,
    },
    /// It ends.
    Exit(Exit),
}

/// What a call was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Join,
    Fetch,
    Beat,
    Done(RemoteAttempt),
    Progress,
    Leave,
}

/// A call that was not answered yet.
#[derive(Debug, Clone, Copy)]
struct Asked {
    call: Call,
    sent: Mono,
    gateway: u64,
}

/// An attempt that it has.
#[derive(Debug)]
struct Held {
    start: RemoteStart,
    /// When the fetch that gave it was answered.
    since: Mono,
    run: Option<OpId>,
    started: Option<Mono>,
    stopping: Option<StopReason>,
    end: Option<RemoteEnd>,
    /// Its end is being reported, or is reported again from then on.
    reporting: bool,
    again: Mono,
}

/// The worker.
#[derive(Debug)]
pub struct Remote {
    config: WorkerConfig,
    now: Mono,
    /// The gateway that it asks, as long as that serves.
    gateway: u64,
    calls: BTreeMap<u64, Asked>,
    last: u64,
    session: Option<Session>,
    held: BTreeMap<RemoteAttempt, Held>,
    /// When each kind of call is made next.
    join_at: Mono,
    fetch_at: Mono,
    known: Option<Revision>,
    draining: bool,
    leaving: Option<Mono>,
    left: bool,
    exited: bool,
}

#[derive(Debug)]
struct Session {
    token: RemoteToken,
    ttl: Duration,
    until: Mono,
    /// It is over, by its own clock.
    over: bool,
    beat_at: Mono,
    /// The gateways know that it is about to leave.
    told: bool,
}

impl Remote {
    /// A worker that begins with nothing.
    pub fn new(config: WorkerConfig, seed: u64, now: Now) -> Self {
        Self {
            config,
            gateway: Rng::new(seed).draw(),
            now: now.mono,
            calls: BTreeMap::new(),
            last: 0,
            session: None,
            held: BTreeMap::new(),
            join_at: now.mono,
            fetch_at: now.mono,
            known: None,
            draining: false,
            leaving: None,
            left: false,
            exited: false,
        }
    }

    /// The life that it believes to live.
    pub fn registration(&self) -> Option<Registration> {
        self.session.as_ref().map(|it| it.token.registration)
    }

    /// How far it knows its claims.
    pub fn known(&self) -> Option<Revision> {
        self.known
    }

    /// Whether it takes tasks.
    pub fn is_ready(&self) -> bool {
        self.is_open() && !self.draining && self.leaving.is_none()
    }

    fn is_open(&self) -> bool {
        self.session.as_ref().is_some_and(|it| !it.over)
    }

    fn running(&self) -> usize {
        self.held.values().filter(|it| it.run.is_some()).count()
    }

    /// Handles one input.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        self.now = now.mono;
        if self.exited {
            return;
        }
        self.pass_time(out);
        match input {
            Input::Elapsed => {}
            Input::Answer(call, reply) => self.on_answer(call, reply, out),
            Input::Run(run, event) => self.on_run(run, event, out),
            Input::Drain => {
                self.leaving.get_or_insert(self.now);
            }
        }
        self.go_on(out);
    }

    /// The session's end comes before everything else.
    fn pass_time(&mut self, out: &mut Vec<Effect>) {
        let now = self.now;
        if let Some(session) = self
            .session
            .as_mut()
            .filter(|it| !it.over && it.until <= now)
        {
            session.over = true;
            session.beat_at = now;
            self.stop_all(StopReason::Fenced, out);
        }
        let session = self.session.as_ref();
        let wedged =
            session.is_some_and(|it| it.over && it.until.after(it.ttl / MARGIN_PART) <= now);
        if wedged && self.running() > 0 {
            return self.exit(Exit::HandlerWedged, out);
        }
        let late: Vec<RemoteAttempt> = self
            .held
            .iter()
            .filter(|(_, it)| it.is_late(now))
            .map(|(attempt, _)| *attempt)
            .collect();
        for attempt in late {
            self.stop(attempt, StopReason::TimeOut, out);
        }
        if let Some(since) = self.leaving {
            if since.after(self.config.drain_grace) <= now {
                self.stop_all(StopReason::Shutdown, out);
            }
            if since.after(self.config.drain_grace + self.config.ttl * 2) <= now {
                self.exit(Exit::Unheard, out);
            }
        }
    }

    fn stop_all(&mut self, reason: StopReason, out: &mut Vec<Effect>) {
        let all: Vec<RemoteAttempt> = self.held.keys().copied().collect();
        for attempt in all {
            self.stop(attempt, reason, out);
        }
    }

    fn stop(&mut self, attempt: RemoteAttempt, reason: StopReason, out: &mut Vec<Effect>) {
        let Some(held) = self.held.get_mut(&attempt) else {
            return;
        };
        match held.run {
            Some(run) => {
                let fenced = reason == StopReason::Fenced;
                if held.stopping.is_none() || fenced && held.stopping != Some(reason) {
                    held.stopping = Some(reason);
                    out.push(Effect::Stop { run, reason });
                }
            }
            None => {
                held.end.get_or_insert(RemoteEnd::HandedBack);
            }
        }
    }

    fn exit(&mut self, exit: Exit, out: &mut Vec<Effect>) {
        if !self.exited {
            self.exited = true;
            for held in self.held.values() {
                if let Some(run) = held.run {
                    let reason = StopReason::Fenced;
                    out.push(Effect::Stop { run, reason });
                }
            }
            out.push(Effect::Exit(exit));
        }
    }

    fn ask(&mut self, call: Call, ask: RemoteAsk, out: &mut Vec<Effect>) {
        // A beat that nobody has answered by the time of the next one: a session does not wait for a silent gateway.
        let silent = self.calls.values().rfind(|it| it.call == Call::Beat);
        if let Some(asked) = silent.copied().filter(|_| call == Call::Beat) {
            self.leave_gateway(asked.gateway);
        }
        self.last += 1;
        let asked = Asked {
            call,
            sent: self.now,
            gateway: self.gateway,
        };
        self.calls.insert(self.last, asked);
        let wait = if call == Call::Fetch {
            FETCH_WAIT
        } else {
            Duration::ZERO
        };
        out.push(Effect::Ask {
            call: self.last,
            pick: self.gateway,
            patience: wait + ANSWER_MAX,
            ask: Box::new(ask),
        });
    }

    /// Asks another gateway from now on, unless it does so since it asked that one.
    fn leave_gateway(&mut self, asked: u64) {
        if self.gateway == asked {
            self.gateway = asked.wrapping_add(1);
        }
    }

    fn is_asking(&self, call: Call) -> bool {
        self.calls.values().any(|it| it.call == call)
    }

    /// Makes every call that is due, and starts what can be.
    fn go_on(&mut self, out: &mut Vec<Effect>) {
        if self.exited {
            return;
        }
        let now = self.now;
        let beats = self.is_asking(Call::Beat);
        let Some(session) = &mut self.session else {
            if self.leaving.is_some() {
                return self.exit(Exit::Drained, out);
            }
            if now >= self.join_at && !self.is_asking(Call::Join) {
                let spec = self.spec();
                self.ask(Call::Join, RemoteAsk::Join(Box::new(spec)), out);
            }
            return;
        };
        let (token, open) = (session.token.clone(), !session.over);
        let untold = self.leaving.is_some() && !session.told;
        if now >= session.beat_at || untold && !beats {
            session.beat_at = now.after(session.ttl / MARGIN_PART);
            let beat = RemoteAsk::Beat {
                token: token.clone(),
                held: self.held.keys().copied().collect(),
                leaving: self.leaving.is_some(),
            };
            self.ask(Call::Beat, beat, out);
        }
        if !open {
            return;
        }
        self.start_waiting(out);
        self.report(&token, out);
        if self.leaving.is_some() {
            let done = self.held.is_empty() && self.session.as_ref().is_some_and(|it| it.told);
            // A fetch that nobody answers is not waited for: what it would give is handed back by whoever takes the leave.
            if done && !self.left && !self.is_asking(Call::Leave) {
                self.ask(Call::Leave, RemoteAsk::Leave { token }, out);
            }
            return;
        }
        if now >= self.fetch_at && !self.is_asking(Call::Fetch) {
            let stopping = self
                .held
                .iter()
                .filter(|(_, it)| it.stopping.is_some() || it.end.is_some());
            let fetch = RemoteAsk::Fetch {
                token,
                held: self.held.keys().copied().collect(),
                stopping: stopping.map(|(attempt, _)| *attempt).collect(),
                draining: self.draining,
                max: 8,
                wait: Some(FETCH_WAIT),
            };
            self.ask(Call::Fetch, fetch, out);
        }
    }

    fn spec(&self) -> RemoteSpec {
        RemoteSpec {
            id: Some(self.config.id.clone()),
            version: self.config.version.clone(),
            ttl: self.config.ttl,
            slots: self.config.slots,
            queues: self.config.queues.clone(),
            types: self.config.types.clone(),
            weight: self.config.weight,
            labels: BTreeMap::new(),
            secret_hash: "secret".into(),
        }
    }

    /// Starts what waits, the most urgent first; what waits too long, or may not start, goes back.
    fn start_waiting(&mut self, out: &mut Vec<Effect>) {
        let now = self.now;
        let mut waiting: Vec<(_, TaskId, RemoteAttempt)> = self
            .held
            .iter()
            .filter(|(_, it)| it.run.is_none() && it.end.is_none())
            .map(|(attempt, it)| (it.start.priority, it.start.task, *attempt))
            .collect();
        waiting.sort();
        let mut room = (self.config.slots as usize).saturating_sub(self.running());
        let takes = !self.draining && self.leaving.is_none();
        let wait_max = self.wait_max();
        for (_, _, attempt) in waiting {
            let held = self.held.get_mut(&attempt).expect("it was just seen");
            if !takes || held.since.after(wait_max) <= now {
                held.end = Some(RemoteEnd::HandedBack);
            } else if room > 0 {
                room -= 1;
                self.last += 1;
                let run = OpId(self.last);
                held.run = Some(run);
                held.started = Some(now);
                out.push(Effect::Start(Box::new(held.start(run))));
            }
        }
    }

    /// How long an attempt may wait for a slot: what it was told of its claim is not older than it could be.
    fn wait_max(&self) -> Duration {
        (self.config.ttl / 2).min(self.config.claim_wait_max)
    }

    fn report(&mut self, token: &RemoteToken, out: &mut Vec<Effect>) {
        let now = self.now;
        let ready: Vec<RemoteAttempt> = self
            .held
            .iter()
            .filter(|(_, it)| {
                it.end.is_some() && it.run.is_none() && !it.reporting && it.again <= now
            })
            .map(|(attempt, _)| *attempt)
            .collect();
        for attempt in ready {
            let held = self.held.get_mut(&attempt).expect("it was just seen");
            held.reporting = true;
            let done = RemoteAsk::Done {
                token: token.clone(),
                attempt,
                end: held.end.clone().expect("it has ended"),
                ran: None,
            };
            self.ask(Call::Done(attempt), done, out);
        }
    }

    fn on_run(&mut self, run: OpId, event: RunEvent, out: &mut Vec<Effect>) {
        let token = self.session.as_ref().map(|it| it.token.clone());
        let held = self.held.iter_mut().find(|(_, it)| it.run == Some(run));
        let (Some((attempt, held)), Some(token)) = (held, token) else {
            return;
        };
        if let RunEvent::Progress(progress) = event {
            let progress = RemoteAsk::Progress {
                token,
                attempt: *attempt,
                progress,
            };
            return self.ask(Call::Progress, progress, out);
        }
        held.end = Some(judge(event, held.stopping));
        held.run = None;
    }
}
