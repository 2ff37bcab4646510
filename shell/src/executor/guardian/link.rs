//! The worker's end: keeps a guardian alive, and hands it commands.

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use windlass_core::ids::OpId;

use super::wire::{End, Order, PIPES, Parcel, Report, Socket};
use super::{GUARDIAN_VAR, Launch, processes};

/// How long to wait before another guardian is started when one could not be, or died.
const RESTART_GAP: Duration = Duration::from_millis(200);

/// Why runs fail whose guardian is gone.
const DIED: &str = "the guardian died";

/// What became of a command: how it ended, or why nobody knows.
type Fate = Result<End, String>;

/// Hands commands to the guardian. The guardian kills them all when the last clone is dropped.
#[derive(Debug, Clone)]
pub(in crate::executor) struct Link(mpsc::UnboundedSender<Request>);

#[derive(Debug)]
enum Request {
    Spawn {
        run: OpId,
        order: Order,
        pipes: [OwnedFd; PIPES],
        fate: oneshot::Sender<Fate>,
    },
    Stop {
        run: OpId,
        grace: Duration,
    },
    Renew {
        until: u64,
    },
}

impl Link {
    /// Starts a guardian, and another one whenever it dies.
    pub(in crate::executor) fn open(launch: Launch) -> Self {
        let (requests, inbox) = mpsc::unbounded_channel();
        tokio::spawn(keep(launch, inbox));
        Self(requests)
    }

    /// Runs a command with these pipes as its stdin, stdout and stderr.
    pub(in crate::executor) fn spawn(
        &self,
        run: OpId,
        words: Vec<String>,
        env: Vec<(String, String)>,
        pipes: [OwnedFd; PIPES],
    ) -> Running {
        let (fate, ended) = oneshot::channel();
        let order = Order::Spawn { run, words, env };
        self.ask(Request::Spawn {
            run,
            order,
            pipes,
            fate,
        });
        Running {
            link: self.clone(),
            run,
            ended,
            over: false,
        }
    }

    /// The worker's session lasts for `remaining` from now.
    pub(in crate::executor) fn renew(&self, remaining: Duration) {
        let remaining = u64::try_from(remaining.as_nanos()).unwrap_or(u64::MAX);
        let until = processes::machine_nanos().saturating_add(remaining);
        self.ask(Request::Renew { until });
    }

    fn ask(&self, request: Request) {
        // It fails only while the runtime shuts down; whoever waits for a fate learns that its sender is gone.
        let _ = self.0.send(request);
    }
}

/// A command that may be running. Dropped before it has ended, it is killed.
#[derive(Debug)]
pub(in crate::executor) struct Running {
    link: Link,
    run: OpId,
    ended: oneshot::Receiver<Fate>,
    over: bool,
}

impl Running {
    /// Orders it to stop: SIGTERM, and SIGKILL after `grace`.
    pub(in crate::executor) fn stop(&self, grace: Duration) {
        let run = self.run;
        self.link.ask(Request::Stop { run, grace });
    }

    /// Waits for its end. Can be dropped and called again until it has answered.
    pub(in crate::executor) async fn ended(&mut self) -> Fate {
        let fate = (&mut self.ended).await;
        self.over = true;
        fate.unwrap_or_else(|_| Err("the worker shuts down".to_owned()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            self.stop(Duration::ZERO);
        }
    }
}

/// A command that the guardian was handed.
struct Entrusted {
    fate: oneshot::Sender<Fate>,
    group: Option<Pid>,
}

async fn keep(launch: Launch, mut inbox: mpsc::UnboundedReceiver<Request>) {
    let mut until = None;
    loop {
        let name = format!("{}-{}", std::process::id(), processes::machine_nanos());
        let reason = match start(&launch, &name) {
            Ok((guardian, socket)) => {
                let mut desk = Desk::new(socket, until);
                let Some(reason) = desk.serve(&mut inbox).await else {
                    return;
                };
                until = desk.until;
                desk.abandon(guardian, name, &reason).await;
                reason
            }
            Err(error) => format!("cannot start a guardian: {error}"),
        };
        tracing::error!(reason, "no guardian");
        let pause = tokio::time::sleep(RESTART_GAP);
        tokio::pin!(pause);
        loop {
            tokio::select! { biased;
                request = inbox.recv() => match request {
                    None => return,
                    Some(Request::Spawn { fate, .. }) => drop(fate.send(Err(reason.clone()))),
                    Some(Request::Stop { .. }) => {}
                    Some(Request::Renew { until: new }) => until = Some(new),
                },
                () = &mut pause => break,
            }
        }
    }
}

fn start(launch: &Launch, name: &str) -> std::io::Result<(Child, Socket)> {
    let (ours, theirs) = Socket::pair()?;
    let guardian = Command::new(&launch.program)
        .args(&launch.args)
        .env(GUARDIAN_VAR, name)
        .stdin(theirs)
        .stdout(Stdio::null())
        // Out of reach of what a terminal sends to the worker's own group.
        .process_group(0)
        .spawn()?;
    Ok((guardian, Socket::new(ours)?))
}

/// What goes between this worker and one guardian.
struct Desk {
    socket: Socket,
    outbox: VecDeque<(Option<OpId>, Parcel)>,
    entrusted: HashMap<OpId, Entrusted>,
    until: Option<u64>,
}

impl Desk {
    fn new(socket: Socket, until: Option<u64>) -> Self {
        let mut desk = Self {
            socket,
            outbox: VecDeque::new(),
            entrusted: HashMap::new(),
            until,
        };
        if let Some(until) = until {
            desk.post(None, &Order::Renew { until }, Vec::new());
        }
        desk
    }

    /// Ends when nobody wants commands any more, or, with the reason, when the guardian is gone.
    async fn serve(&mut self, inbox: &mut mpsc::UnboundedReceiver<Request>) -> Option<String> {
        let mut buffer = Vec::new();
        loop {
            tokio::select! { biased;
                received = self.socket.receive(&mut buffer) => match received {
                    Ok(Some((report, _))) => self.on_report(report),
                    Ok(None) => return Some(DIED.to_owned()),
                    Err(error) => return Some(format!("lost the guardian: {error}")),
                },
                sent = send(&self.socket, self.outbox.front()), if !self.outbox.is_empty() => {
                    let (run, _) = self.outbox.pop_front().expect("it was just sent");
                    match sent {
                        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Some(DIED.to_owned()),
                        Err(error) => self.on_unsent(run, &error),
                        Ok(()) => {}
                    }
                }
                request = inbox.recv() => self.on_request(request?),
            }
        }
    }

    fn on_unsent(&mut self, run: Option<OpId>, error: &std::io::Error) {
        if let Some(run) = run {
            let reason = format!("cannot hand the command to the guardian: {error}");
            self.tell(run, Err(reason));
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Spawn {
                run,
                order,
                pipes,
                fate,
            } => {
                let earlier = self.entrusted.insert(run, Entrusted { fate, group: None });
                assert!(earlier.is_none(), "no run is started twice");
                self.post(Some(run), &order, pipes.into());
            }
            Request::Stop { run, grace } => {
                let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                self.post(None, &Order::Stop { run, grace_ms }, Vec::new());
            }
            Request::Renew { until } => {
                self.until = Some(until);
                self.post(None, &Order::Renew { until }, Vec::new());
            }
        }
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Started { run, group } => {
                if let Some(command) = self.entrusted.get_mut(&run) {
                    command.group = Pid::from_raw(group);
                }
            }
            Report::Refused { run, reason } => self.tell(run, Err(reason)),
            Report::Ended { run, end } => self.tell(run, Ok(end)),
        }
    }

    fn tell(&mut self, run: OpId, fate: Fate) {
        if let Some(command) = self.entrusted.remove(&run) {
            // It fails when the attempt was dropped meanwhile: then nobody wants to know.
            let _ = command.fate.send(fate);
        }
    }

    fn post(&mut self, run: Option<OpId>, order: &Order, pipes: Vec<OwnedFd>) {
        self.outbox.push_back((run, Parcel::new(order, pipes)));
    }

    /// Does what the dead guardian cannot do any more.
    async fn abandon(&mut self, mut guardian: Child, name: String, reason: &str) {
        // It may have lost its socket only.
        let _ = guardian.kill().await;
        for group in self.entrusted.values().filter_map(|command| command.group) {
            processes::signal_group(group, Signal::KILL);
        }
        // It fails only while the runtime shuts down, and this process with it.
        let _ = tokio::task::spawn_blocking(move || processes::kill_all_of(&name)).await;
        for (_, command) in self.entrusted.drain() {
            let _ = command.fate.send(Err(reason.to_owned()));
        }
    }
}

async fn send(socket: &Socket, parcel: Option<&(Option<OpId>, Parcel)>) -> std::io::Result<()> {
    match parcel {
        Some((_, parcel)) => socket.send(parcel).await,
        None => std::future::pending().await,
    }
}
