//! Real etcd servers for tests: each on free loopback ports, in a folder of its own, ended when it is dropped.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

/// How long a server may take to serve: machines that run tests are busy.
const START_MAX: Duration = Duration::from_secs(60);
/// How often a first start is tried, each time on other ports.
const TRIES: u32 = 5;

/// One running etcd server.
#[derive(Debug)]
pub struct Etcd {
    plan: Plan,
    endpoint: String,
    folder: TempDir,
    child: Option<Child>,
}

/// How a server is started.
#[derive(Debug, Clone)]
struct Plan {
    name: String,
    scheme: &'static str,
    ports: Ports,
    members: String,
    is_durable: bool,
    args: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    client: u16,
    peer: u16,
    health: u16,
}

impl Etcd {
    /// Starts a server that is its own cluster, and waits until it serves.
    ///
    /// # Panics
    /// When there is no etcd, or it does not start.
    pub fn start() -> Self {
        Self::start_with("http", &[])
    }

    /// Starts a server that is its own cluster, whose clients speak `scheme`, with more command-line arguments.
    ///
    /// # Panics
    /// When there is no etcd, or it does not start.
    pub fn start_with(scheme: &'static str, args: &[&str]) -> Self {
        Self::start_members(1, scheme, false, args)
            .pop()
            .expect("one member was asked for")
    }

    /// Starts a server that is its own cluster and writes its log through to the disk, as in production: what is measured
    /// of another is too good. With more command-line arguments.
    ///
    /// # Panics
    /// When there is no etcd, or it does not start.
    pub fn durable(args: &[&str]) -> Self {
        Self::start_members(1, "http", true, args)
            .pop()
            .expect("one member was asked for")
    }

    /// Starts a cluster of `count` members, and waits until all of them serve.
    ///
    /// # Panics
    /// When there is no etcd, or it does not start.
    pub fn cluster(count: usize) -> Vec<Self> {
        Self::start_members(count, "http", false, &[])
    }

    fn start_members(
        count: usize,
        scheme: &'static str,
        is_durable: bool,
        args: &[&str],
    ) -> Vec<Self> {
        let mut errors = Vec::new();
        for _ in 0..TRIES {
            let mut members: Vec<Self> = plan(count, scheme, args)
                .into_iter()
                .map(|plan| Self::spawned(Plan { is_durable, ..plan }))
                .collect();
            match members.iter_mut().try_for_each(Self::wait) {
                Ok(()) => return members,
                Err(error) => errors.push(error),
            }
        }
        panic!("etcd does not start:\n{}", errors.join("\n"));
    }

    fn spawned(plan: Plan) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut server = Self {
            endpoint: url(plan.scheme, plan.ports.client),
            plan,
            folder,
            child: None,
        };
        server.spawn();
        server
    }

    fn spawn(&mut self) {
        let log = File::create(self.log()).expect("the log can be written");
        let Plan {
            name,
            scheme,
            ports,
            members,
            is_durable,
            args,
        } = &self.plan;
        // A killed process loses nothing that it gave to the kernel.
        let syncs: &[&str] = if *is_durable {
            &[]
        } else {
            &["--unsafe-no-fsync"]
        };
        let peer = url("http", ports.peer);
        let child = Command::new(binary())
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .args(["--name", name])
            .args(["--listen-client-urls", &url(scheme, ports.client)])
            .args(["--advertise-client-urls", &url(scheme, ports.client)])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", members])
            .args(["--listen-metrics-urls", &url("http", ports.health)])
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .args(["--log-level", "warn"])
            .args(syncs)
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be copied"))
            .stderr(log)
            .spawn()
            .expect("etcd can be run");
        self.child = Some(child);
    }

    /// Waits until the server serves; fails with its log when it ends instead.
    fn wait(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            if self.is_healthy() {
                return Ok(());
            }
            let ended = self
                .child
                .as_mut()
                .is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || begun.elapsed() > START_MAX {
                return Err(std::fs::read_to_string(self.log()).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_healthy(&self) -> bool {
        health(self.plan.ports.health).is_ok_and(|answer| answer.contains(r#""health":"true""#))
    }

    /// Where clients find it, as a URL.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Its number among all processes of the machine.
    ///
    /// # Panics
    /// When it does not run.
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// All keys that it holds.
    ///
    /// # Panics
    /// When it does not tell them.
    pub fn keys(&self) -> Vec<String> {
        let output = Command::new(tool("etcdctl"))
            .args(["--endpoints", &self.endpoint, "get", "", "--prefix"])
            .args(["--keys-only", "--command-timeout", "60s"])
            .output()
            .expect("etcdctl can be run");
        assert!(output.status.success(), "{output:?}");
        let keys = String::from_utf8(output.stdout).expect("keys are text");
        let lines = keys.lines().filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect()
    }

    /// Kills it with `SIGKILL`. Its data stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Starts it again, on the same ports and data, and waits until it serves.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.kill();
        let begun = Instant::now();
        loop {
            self.spawn();
            match self.wait() {
                Ok(()) => return,
                // Somebody may use its port for a moment.
                Err(error) => {
                    self.kill();
                    assert!(
                        begun.elapsed() < START_MAX,
                        "etcd does not restart: {error}"
                    );
                }
            }
        }
    }

    /// Kills it, copies its data, and starts it again.
    ///
    /// # Panics
    /// When its data cannot be copied, or it does not start.
    pub fn backup(&mut self) -> Backup {
        self.kill();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        copy(&self.folder.path().join("data"), folder.path());
        self.restart();
        Backup(folder)
    }

    /// Kills it, puts a backup in the place of its data, and starts it again.
    ///
    /// # Panics
    /// When its data cannot be replaced, or it does not start.
    pub fn restore(&mut self, backup: &Backup) {
        self.kill();
        let data = self.folder.path().join("data");
        std::fs::remove_dir_all(&data).expect("its data can be removed");
        copy(&backup.0.path().join("data"), self.folder.path());
        self.restart();
    }

    /// Stops it with `SIGSTOP`, and waits until all of it stands still: it keeps its connections and says nothing.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pause(&self) {
        let pid = self.pid();
        kill_process(pid, Signal::STOP).expect("one's own child can be signalled");
        waitpid(Some(pid), WaitOptions::UNTRACED).expect("one's own child can be waited for");
    }

    /// Lets it go on after [`Etcd::pause`].
    ///
    /// # Panics
    /// When it does not run.
    pub fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).expect("one's own child can be signalled");
    }

    fn pid(&self) -> Pid {
        let child = self.child.as_ref().expect("the server runs");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        pid.expect("a child has a process id")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The data of a server, as it was.
#[derive(Debug)]
pub struct Backup(TempDir);

fn copy(folder: &Path, into: &Path) {
    let done = Command::new("cp").arg("-a").args([folder, into]).status();
    assert!(done.is_ok_and(|it| it.success()), "files can be copied");
}

fn plan(count: usize, scheme: &'static str, args: &[&str]) -> Vec<Plan> {
    // All are held until all are known, so that none is given twice.
    let held: Vec<TcpListener> = (0..count * 3)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port"))
        .collect();
    let ports: Vec<Ports> = held
        .chunks_exact(3)
        .map(|three| Ports {
            client: port(&three[0]),
            peer: port(&three[1]),
            health: port(&three[2]),
        })
        .collect();
    let members: Vec<String> = ports
        .iter()
        .enumerate()
        .map(|(n, ports)| format!("m{n}={}", url("http", ports.peer)))
        .collect();
    ports
        .into_iter()
        .enumerate()
        .map(|(n, ports)| Plan {
            name: format!("m{n}"),
            scheme,
            ports,
            members: members.join(","),
            is_durable: false,
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
        })
        .collect()
}

fn port(listener: &TcpListener) -> u16 {
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

fn url(scheme: &str, port: u16) -> String {
    format!("{scheme}://127.0.0.1:{port}")
}

fn health(port: u16) -> std::io::Result<String> {
    let patience = Duration::from_secs(2);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The etcd that `WINDLASS_ETCD` names, as seen from the repository, or else that of `.tools/bin`, or else the one on the `PATH`.
///
/// # Panics
/// When there is none.
pub fn binary() -> PathBuf {
    std::env::var_os("WINDLASS_ETCD").map_or_else(|| tool("etcd"), |path| root().join(path))
}

fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("this package lies in the repository")
}

/// A program of etcd, from `.tools/bin`, or else from the `PATH`.
///
/// # Panics
/// When there is none.
pub fn tool(name: &str) -> PathBuf {
    let own = root().join(".tools/bin").join(name);
    if own.is_file() {
        return own;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| {
            panic!(
                "there is no {name}, neither in .tools/bin nor on the PATH: run `bash .ci/tools`"
            )
        })
}
