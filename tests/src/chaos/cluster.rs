//! All that runs: etcd's members, schedulers, workers, each on a computer of its own.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use windlass_sim::core::ids::NodeId;
use windlass_sim::core::keyspace::Role;
use windlass_sim::core::machine::Exit;
use windlass_sim::core::time::Mono;
use windlass_sim::fact::{Fact, NodeIx};

use super::journal::Journal;
use super::net::{self, Host};
use super::process::{Process, Spec};
use crate::{binary, within};

/// The time to live of every node's lease.
pub const TTL: Duration = Duration::from_secs(3);
/// How long ended tasks are kept.
pub const RETENTION: Duration = Duration::from_secs(120);
/// How many handlers each worker runs at a time.
pub const SLOTS: [u32; 4] = [4, 8, 12, 8];
/// The types of tasks; all are done by the same command.
pub const KINDS: [&str; 2] = ["work", "chore"];
/// Where schedulers listen.
const PORT: u16 = 7070;
/// A time that no run reaches: nothing tells when a real worker believes that its session ends, so it is taken to last as
/// long as the process, and every handler that runs is held against it.
const NEVER: Mono = Mono::from_nanos(u64::MAX / 2);

/// One member of etcd.
#[derive(Debug)]
pub struct Member {
    /// What it is called.
    pub name: String,
    /// Where it runs.
    pub host: Arc<Host>,
    process: Mutex<Process>,
    /// Where it keeps its data.
    pub data: PathBuf,
}

/// One scheduler or worker.
#[derive(Debug)]
pub struct Node {
    /// Its number in facts.
    pub ix: NodeIx,
    /// What it does.
    pub role: Role,
    /// What it is called.
    pub id: NodeId,
    /// Where it runs.
    pub host: Arc<Host>,
    slots: u32,
    process: Mutex<Process>,
    /// Somebody holds it down, or waits for its end: it is not to be started again yet.
    held: AtomicBool,
    /// The file that shifts its wall clock, if it has a clock of its own.
    pub clock: Option<PathBuf>,
    journal: Arc<Journal>,
}

/// The whole deployment.
#[derive(Debug)]
pub struct Cluster {
    /// etcd.
    pub members: Vec<Arc<Member>>,
    /// Schedulers first, then workers.
    pub nodes: Vec<Arc<Node>>,
    /// Where everything that it writes lies.
    pub folder: PathBuf,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Member {
    /// Where clients find it.
    pub fn endpoint(&self) -> String {
        format!("http://{}:2379", self.host.address())
    }

    /// Where the others find it.
    pub fn peer_url(&self) -> String {
        format!("http://{}:2380", self.host.address())
    }

    /// The process.
    pub fn process(&self) -> MutexGuard<'_, Process> {
        locked(&self.process)
    }
}

impl Node {
    /// Where a scheduler serves its API.
    pub fn url(&self) -> String {
        format!("http://{}:{PORT}", self.host.address())
    }

    /// Starts it, unless it runs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self) -> anyhow::Result<()> {
        let mut process = locked(&self.process);
        if process.is_up() {
            return Ok(());
        }
        self.journal.note(&Fact::Booted {
            node: self.ix,
            role: self.role,
            id: self.id.clone(),
            slots: self.slots,
        });
        self.journal.note(&Fact::SessionUntil {
            node: self.ix,
            until: NEVER,
            lease_until: Some(NEVER),
        });
        process.start()
    }

    /// Kills it.
    pub fn kill(&self) {
        let mut process = locked(&self.process);
        if process.is_up() {
            process.kill();
            self.down(None);
        }
    }

    /// Freezes it; says whether it was there to be frozen.
    pub fn freeze(&self) -> bool {
        let frozen = locked(&self.process).freeze();
        if frozen {
            self.journal.note(&Fact::Frozen { node: self.ix });
        }
        frozen
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.journal.note(&Fact::Thawed { node: self.ix });
        locked(&self.process).thaw();
    }

    /// Asks it to leave, and waits for that, at most for `patience`. Says whether it left by itself.
    pub fn leave(&self, patience: Duration) -> bool {
        self.journal.note(&Fact::Draining { node: self.ix });
        locked(&self.process).terminate();
        let begun = std::time::Instant::now();
        while begun.elapsed() < patience {
            if self.look().is_some() || !locked(&self.process).is_up() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Whether the process has ended by itself since somebody looked last: its exit code.
    pub fn look(&self) -> Option<i32> {
        let mut process = locked(&self.process);
        let code = process.ended()?;
        self.down(Some(match code {
            0 => Exit::Drained,
            _ => Exit::Deposed,
        }));
        Some(code)
    }

    fn down(&self, exit: Option<Exit>) {
        let fact = Fact::Down {
            node: self.ix,
            exit,
        };
        self.journal.note(&fact);
    }

    /// From its next life on it is another build of the program.
    pub fn upgrade(&self, program: &Path) {
        program.clone_into(&mut locked(&self.process).spec.program);
    }

    /// Keeps it from being started again, or no longer.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }

    /// Whether it is to be started again when it ends.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }
}

impl Cluster {
    /// Plans it; nothing runs yet. `clock` is the library that shifts wall clocks, where there is one.
    ///
    /// # Errors
    /// When the network cannot be made.
    pub fn plan(
        members: usize,
        folder: &Path,
        journal: &Arc<Journal>,
        clock: Option<&Path>,
    ) -> anyhow::Result<Self> {
        net::bridge()?;
        let count = u8::try_from(members).unwrap_or(u8::MAX);
        let hosts = (1..=count).map(|n| Host::new(&format!("e{n}"), Ipv4Addr::new(10, 77, 1, n)));
        let hosts: Vec<Arc<Host>> = hosts.map(|it| it.map(Arc::new)).collect::<Result<_, _>>()?;
        let members: Vec<Arc<Member>> = (0..members)
            .map(|ix| Arc::new(member(ix, &hosts, folder)))
            .collect();
        let endpoints: Vec<String> = members.iter().map(|it| it.endpoint()).collect();
        let planner = Planner {
            endpoints: endpoints.join(","),
            folder,
            journal,
            clock,
        };
        let mut nodes = Vec::new();
        for n in 1..=2 {
            nodes.push(Arc::new(planner.scheduler(nodes.len(), n)?));
        }
        for (n, slots) in (1..).zip(SLOTS) {
            nodes.push(Arc::new(planner.worker(nodes.len(), n, slots)?));
        }
        Ok(Self {
            members,
            nodes,
            folder: folder.to_owned(),
        })
    }

    /// The schedulers.
    pub fn schedulers(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter().filter(|it| it.role == Role::Scheduler)
    }

    /// The workers.
    pub fn workers(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter().filter(|it| it.role == Role::Worker)
    }

    /// Where clients find etcd's members.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|it| it.endpoint()).collect()
    }

    /// Starts etcd, and waits until every member serves.
    ///
    /// # Errors
    /// When a member cannot be started.
    pub fn start_store(&self) -> anyhow::Result<()> {
        for member in &self.members {
            member.process().start()?;
        }
        for member in &self.members {
            within(Duration::from_secs(30), "etcd serves", || {
                is_well(&format!("{}/health", member.endpoint())).then_some(())
            });
        }
        Ok(())
    }

    /// Starts schedulers and workers, and waits until the schedulers are ready.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start_nodes(&self) -> anyhow::Result<()> {
        for node in &self.nodes {
            node.start()?;
        }
        self.serve();
        Ok(())
    }

    /// Waits until every scheduler is ready.
    pub fn serve(&self) {
        for node in self.schedulers() {
            within(Duration::from_secs(60), "the scheduler is ready", || {
                is_well(&format!("{}/readyz", node.url())).then_some(())
            });
        }
    }
}

fn is_well(url: &str) -> bool {
    let client = crate::client::http()
        .timeout(Duration::from_secs(2))
        .build();
    let answer = client.and_then(|it| it.get(url).send());
    answer.is_ok_and(|it| it.status().is_success())
}

fn member(ix: usize, hosts: &[Arc<Host>], folder: &Path) -> Member {
    let name = format!("e{}", ix + 1);
    let host = Arc::clone(&hosts[ix]);
    let url = |host: &Host, port: u16| format!("http://{}:{port}", host.address());
    let all: Vec<String> = (1..)
        .zip(hosts)
        .map(|(n, host)| format!("e{n}={}", url(host, 2380)))
        .collect();
    let data = folder.join(format!("{name}.etcd"));
    let own = url(&host, 2379);
    let peer = url(&host, 2380);
    let args = [
        "--name",
        &name,
        "--data-dir",
        &data.to_string_lossy(),
        "--listen-client-urls",
        &own,
        "--advertise-client-urls",
        &own,
        "--listen-peer-urls",
        &peer,
        "--initial-advertise-peer-urls",
        &peer,
        "--initial-cluster",
        &all.join(","),
        "--log-level",
        "warn",
        // A killed process loses nothing that it gave to the kernel.
        "--unsafe-no-fsync",
    ];
    let spec = Spec {
        name: name.clone(),
        host: Arc::clone(&host),
        program: crate::etcd::binary(),
        args: args.map(str::to_owned).into(),
        env: Vec::new(),
        log: folder.join(format!("{name}.log")),
    };
    Member {
        name,
        host,
        process: Mutex::new(Process::new(spec)),
        data,
    }
}

/// What all nodes share.
struct Planner<'a> {
    endpoints: String,
    folder: &'a Path,
    journal: &'a Arc<Journal>,
    clock: Option<&'a Path>,
}

impl Planner<'_> {
    fn scheduler(&self, ix: NodeIx, n: u8) -> anyhow::Result<Node> {
        let (listen, retention) = (
            format!("0.0.0.0:{PORT}"),
            format!("{}s", RETENTION.as_secs()),
        );
        let more = [
            "--listen",
            &listen,
            "--insecure-no-auth",
            "--retention",
            &retention,
        ];
        // The last of each role has a clock of its own.
        self.node(ix, Role::Scheduler, (n, n == 2), 0, &more)
    }

    fn worker(&self, ix: NodeIx, n: u8, slots: u32) -> anyhow::Result<Node> {
        let own = std::env::current_exe()?;
        let ledger = self.folder.join(format!("w{n}.ledger"));
        let slots_arg = slots.to_string();
        let handlers =
            KINDS.map(|kind| format!("{kind}={} handle {}", own.display(), ledger.display()));
        let mut more = vec!["--slots", &slots_arg];
        for handler in &handlers {
            more.extend(["--handler", handler]);
        }
        let has_clock = usize::from(n) == SLOTS.len();
        self.node(ix, Role::Worker, (n, has_clock), slots, &more)
    }

    fn node(
        &self,
        ix: NodeIx,
        role: Role,
        (n, has_clock): (u8, bool),
        slots: u32,
        more: &[&str],
    ) -> anyhow::Result<Node> {
        let (noun, letter, net) = match role {
            Role::Scheduler => ("scheduler", 's', 2),
            Role::Worker => ("worker", 'w', 3),
        };
        let name = format!("{letter}{n}");
        let host = Arc::new(Host::new(&name, Ipv4Addr::new(10, 77, net, n))?);
        let ttl = format!("{}s", TTL.as_secs());
        let args = [
            noun,
            "--etcd",
            &self.endpoints,
            "--id",
            &name,
            "--ttl",
            &ttl,
        ];
        let args: Vec<String> = args.iter().chain(more).map(|&it| it.to_owned()).collect();
        let (mut env, mut clock) = (Vec::new(), None);
        if let Some(library) = self.clock.filter(|_| has_clock) {
            let file = self.folder.join(format!("{name}.clock"));
            std::fs::write(&file, "+0\n")?;
            let pair = |name: &str, value: &Path| (name.to_owned(), value.display().to_string());
            env.push(pair("LD_PRELOAD", library));
            env.push(pair("FAKETIME_TIMESTAMP_FILE", &file));
            for flag in [
                "FAKETIME_NO_CACHE",
                "FAKETIME_DONT_FAKE_MONOTONIC",
                "NO_FAKE_STAT",
            ] {
                env.push(pair(flag, Path::new("1")));
            }
            clock = Some(file);
        }
        let spec = Spec {
            name: name.clone(),
            host: Arc::clone(&host),
            program: binary::windlass().to_owned(),
            args,
            env,
            log: self.folder.join(format!("{name}.log")),
        };
        Ok(Node {
            ix,
            role,
            id: name.parse()?,
            host,
            slots,
            process: Mutex::new(Process::new(spec)),
            held: AtomicBool::new(false),
            clock,
            journal: Arc::clone(self.journal),
        })
    }
}
