//! Thousands of connections that mean no good. H-11.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use windlass_tests::certificates::Certificates;
use windlass_tests::client::Client;
use windlass_tests::load::{Answers, Load, request};
use windlass_tests::process::Process;
use windlass_tests::sockets::held;
use windlass_tests::{PATIENCE, eventually, size, spread, tell};

use super::{address_of, is_judged};

/// What the server takes at most is 10,000: some must be left for those who mean well.
const LEFT: usize = 100;
/// Connections that take nothing of what they asked for: each fills the kernel's buffers.
const DEAF: usize = 20;

/// Lets this process, and the servers that it starts, have so many files open; says how many it may have.
fn open_files(wanted: u64) -> u64 {
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.unwrap_or(u64::MAX);
    let raised = Rlimit {
        current: Some(wanted.min(most).max(now.current.unwrap_or(u64::MAX))),
        maximum: now.maximum,
    };
    // Where it may not be raised, what there is has to do.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How a connection of the crowd behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Silent,
    HalfHead,
    HalfBody,
    Deaf,
}

impl Manner {
    fn begin(self, address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        let pipelined = "GET /api/v1/openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
        let bytes = match self {
            Self::Silent => "",
            Self::HalfHead => "GET /livez HTTP/1.1\r\nhost: local",
            Self::HalfBody => {
                "POST /api/v1/tasks HTTP/1.1\r\nhost: localhost\r\n\
                 content-type: application/json\r\ncontent-length: 1000\r\n\r\n{"
            }
            Self::Deaf => &pipelined,
        };
        stream.write_all(bytes.as_bytes()).unwrap();
        stream
    }
}

/// Waits until the server has ended the connection.
fn is_cut(stream: &mut TcpStream, manner: Manner) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut found = [0; 4096];
    loop {
        match stream.read(&mut found) {
            // Half a body is told that it came too late.
            Ok(1..) if manner == Manner::HalfBody => {}
            Ok(0) => return,
            Ok(_) => panic!("{manner:?} was answered"),
            Err(error) => {
                let kind = error.kind();
                assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "{manner:?}");
                return;
            }
        }
    }
}

#[test]
fn a_crowd_that_is_slow_in_every_way_is_cut_and_the_honest_are_served() {
    let wanted = size("WINDLASS_CROWD", 1_000).saturating_sub(LEFT).max(LEFT);
    let may = usize::try_from(open_files(21_000)).unwrap();
    let count = wanted.min(may.saturating_sub(500));
    if count < wanted {
        tell(&format!(
            "ONLY {count} CONNECTIONS OF {wanted}: this machine allows {may} open files"
        ));
    }
    let mut server = Process::dev(&[]);
    Client::of([&mut server]);
    let honest = Load {
        address: address_of(&server.url()),
        request: request("/livez", None, None),
        per_second: Some(100.0),
        connections: 20,
        lasts: Duration::from_secs(3),
    };
    let alone = honest.send();
    let before = held(server.id());
    let began = Instant::now();
    let mut crowd: Vec<(Manner, TcpStream)> = (0..count)
        .map(|n| {
            let manner = match n % 3 {
                _ if n < DEAF => Manner::Deaf,
                0 => Manner::Silent,
                1 => Manner::HalfHead,
                _ => Manner::HalfBody,
            };
            (manner, manner.begin(honest.address))
        })
        .collect();
    tell(&format!(
        "{count} connections made in {:?}",
        began.elapsed()
    ));
    let beside = honest.send();
    for (manner, stream) in &mut crowd {
        if *manner == Manner::HalfHead {
            // One more byte is not a head. It may have been cut already.
            let _ = stream.write_all(b"h");
        }
    }
    let silent = |it: &&mut (Manner, TcpStream)| it.0 != Manner::Deaf;
    for (manner, stream) in crowd.iter_mut().filter(silent) {
        is_cut(stream, *manner);
    }
    tell(&format!(
        "all that sent too slowly were cut {:?} after the first came",
        began.elapsed()
    ));
    // Whoever reads is not deaf any more: what is cut is seen at the other end.
    eventually("those that take nothing are cut", || {
        (held(server.id()) <= before).then_some(())
    });
    drop(crowd);
    judge(&alone, &beside);
}

/// Whether the honest were served beside the crowd as they are alone.
fn judge(alone: &Answers, beside: &Answers) {
    for (when, answers) in [("alone", alone), ("beside the crowd", beside)] {
        tell(&format!(
            "honest callers {when}: {}",
            spread(answers.served.clone())
        ));
    }
    assert_eq!(beside.with(200), beside.due, "{:?}", beside.by_status);
    if is_judged() {
        // Below a few milliseconds it is the machine that is measured.
        let most = (alone.p99() * 2).max(Duration::from_millis(5));
        assert!(beside.p99() <= most, "{:?} of {most:?}", beside.p99());
    }
}

#[test]
fn a_handshake_that_does_not_go_on_is_cut_and_others_are_shaken() {
    let folder = tempfile::tempdir().unwrap();
    let files = Certificates::make(folder.path());
    let [ca, cert, key] = files.paths();
    let mut server = Process::dev(&["--tls-cert", cert, "--tls-key", key]);
    let address = address_of(&server.url());
    // The beginning of a hello: a handshake record of 512 bytes, and none of them.
    let mut crowd: Vec<TcpStream> = (0..size("WINDLASS_CROWD", 1_000) / 10)
        .map(|n| {
            let mut stream = TcpStream::connect(address).unwrap();
            let hello: &[u8] = if n % 2 == 0 {
                b""
            } else {
                b"\x16\x03\x01\x02\x00"
            };
            stream.write_all(hello).unwrap();
            stream
        })
        .collect();
    let server = format!("https://{address}");
    eventually("an honest caller is served", || {
        let args = ["--server", &server, "--server-ca", ca, "health"];
        (windlass_tests::client::command(&args).0 == 0).then_some(())
    });
    for stream in &mut crowd {
        is_cut(stream, Manner::Silent);
    }
}

/// A server whose process may have few files open, and its log.
struct Cramped {
    folder: tempfile::TempDir,
    server: std::process::Child,
}

impl Cramped {
    fn start(files: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let server = std::process::Command::new("sh")
            .args(["-c", "ulimit -n \"$1\"; shift; exec \"$@\"", "sh"])
            .arg(files.to_string())
            .arg(windlass_tests::windlass())
            .args(["dev", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path().join("data"))
            .stderr(log)
            .spawn()
            .unwrap();
        Self { folder, server }
    }

    fn address(&self) -> SocketAddr {
        eventually("it says where it listens", || {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            let (_, after) = log.split_once("serves the API at http://")?;
            after.split_whitespace().next()?.parse().ok()
        })
    }
}

impl Drop for Cramped {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

#[test]
fn a_crowd_leaves_the_store_its_files() {
    let cramped = Cramped::start(320);
    let address = cramped.address();
    let task = r#"{"type":"noop"}"#;
    let submission = Load {
        address,
        request: request("/api/v1/tasks", None, Some(task)),
        per_second: Some(20.0),
        connections: 1,
        lasts: Duration::from_secs(2),
    };
    // One connection that is kept was there before the crowd.
    eventually("it takes tasks", || {
        let once = Load {
            lasts: Duration::from_millis(60),
            ..submission.clone()
        };
        (once.send().with(201) > 0).then_some(())
    });
    let answers = std::thread::scope(|scope| {
        let kept = scope.spawn(|| submission.send());
        std::thread::sleep(Duration::from_millis(200));
        let crowd: Vec<TcpStream> = (0..400).map(|_| Manner::HalfHead.begin(address)).collect();
        let answers = kept.join().unwrap();
        drop(crowd);
        answers
    });
    assert_eq!(answers.with(201), answers.due, "{:?}", answers.by_status);
    let log = std::fs::read_to_string(cramped.folder.path().join("log")).unwrap();
    assert!(log.contains("only 320 files may be open"), "{log}");
    assert!(!log.contains("cannot accept connections"), "{log}");
}
