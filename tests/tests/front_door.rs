//! Who gets in, on the real binary: where it listens, tokens, certificates, and connections that mean no good.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use windlass_tests::certificates::Certificates;
use windlass_tests::process::Process;
use windlass_tests::{PATIENCE, eventually, windlass};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(windlass());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WINDLASS_") {
            command.env_remove(name);
        }
    }
    command.args(args);
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file of tokens, and a file for each of them.
struct Tokens {
    folder: tempfile::TempDir,
}

impl Tokens {
    fn new(roles: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Self { folder };
        for role in roles {
            tokens.add(role, role);
        }
        tokens
    }

    fn add(&self, name: &str, role: &str) {
        let file = self.file();
        let made = run(&["token", "new", name, "--role", role, "--file", text(&file)]);
        assert_eq!(code(&made), 0, "{}", err(&made));
        fs::write(self.of(name), made.stdout).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("tokens")
    }

    fn of(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.token"))
    }
}

/// `windlass dev` where it says that it listens.
fn dev(data: &Path, more: &[&str]) -> (Process, SocketAddr) {
    let args = [
        &["dev", "--listen", "127.0.0.1:0", "--data-dir", text(data)],
        more,
    ]
    .concat();
    let mut process = Process::start("dev", &args);
    let url = process.url();
    let address = url.strip_prefix("http://").unwrap().parse().unwrap();
    (process, address)
}

#[test]
fn a_server_that_strangers_reach_does_not_start_without_a_choice() {
    let data = tempfile::tempdir().unwrap();
    let dev = |more: &[&str]| {
        let args = [&["dev", "--data-dir", text(data.path()), "--listen"], more].concat();
        run(&args)
    };
    let refused = dev(&["0.0.0.0:0"]);
    assert_eq!(code(&refused), 2, "{}", err(&refused));
    for choice in [
        "--tokens",
        "--listen 127.0.0.1",
        "--insecure-no-auth",
        "windlass token new",
    ] {
        assert!(err(&refused).contains(choice), "{}", err(&refused));
    }
    let tokens = data.path().join("tokens");
    for (content, mode, why) in [
        (None, 0o600, "cannot be read"),
        (Some(""), 0o600, "there is none"),
        (Some("a admin default_token\n"), 0o600, "line 1"),
        (Some("a admin 00\n"), 0o644, "everybody"),
    ] {
        use std::os::unix::fs::PermissionsExt as _;
        if let Some(content) = content {
            fs::write(&tokens, content).unwrap();
            fs::set_permissions(&tokens, fs::Permissions::from_mode(mode)).unwrap();
        }
        let refused = dev(&["127.0.0.1:0", "--tokens", text(&tokens)]);
        assert_eq!(code(&refused), 2, "{}", err(&refused));
        assert!(err(&refused).contains(why), "{why}: {}", err(&refused));
    }
    let half = dev(&["127.0.0.1:0", "--tls-cert", text(&tokens)]);
    assert_eq!(code(&half), 2);
    let worker = [
        "worker",
        "--etcd",
        "http://127.0.0.1:1",
        "--metrics",
        "0.0.0.0:0",
    ];
    let refused = run(&worker);
    assert_eq!(code(&refused), 2, "{}", err(&refused));
    assert!(err(&refused).contains("--insecure-no-auth"));
}

#[test]
fn a_token_opens_what_its_role_allows_until_it_is_taken_away() {
    let tokens = Tokens::new(&["admin", "submit", "read"]);
    let data = tempfile::tempdir().unwrap();
    let (_process, address) = dev(data.path(), &["--tokens", text(&tokens.file())]);
    let server = format!("http://{address}");
    let ask = |name: Option<&str>, words: &[&str]| {
        let mut command = command(&["--server", &server]);
        if let Some(name) = name {
            command.arg("--token-file").arg(tokens.of(name));
        }
        command.args(words).output().unwrap()
    };
    let submit = ["task", "submit", "echo", "--payload", "1", "--wait"];
    eventually("it is ready", || {
        (code(&ask(None, &["health", "--ready"])) == 0).then_some(())
    });
    let nobody = ask(None, &submit);
    assert_eq!(code(&nobody), 4);
    assert!(err(&nobody).contains("--token-file"), "{}", err(&nobody));
    assert_eq!(code(&ask(Some("submit"), &submit)), 0);
    let reader = ask(Some("read"), &submit);
    assert_eq!(code(&reader), 4);
    assert!(err(&reader).contains("needs submit"), "{}", err(&reader));
    assert_eq!(code(&ask(Some("read"), &["stats"])), 0);
    assert_eq!(
        code(&ask(Some("submit"), &["queue", "pause", "default"])),
        4
    );
    assert_eq!(code(&ask(Some("admin"), &["queue", "pause", "default"])), 0);
    // By the environment, too.
    let by_environment = command(&["--server", &server, "stats"])
        .env(
            "WINDLASS_TOKEN",
            fs::read_to_string(tokens.of("read")).unwrap(),
        )
        .output()
        .unwrap();
    assert_eq!(code(&by_environment), 0);
    // One that is added counts, and one that is taken out does not.
    tokens.add("later", "read");
    eventually("the new token counts", || {
        (code(&ask(Some("later"), &["stats"])) == 0).then_some(())
    });
    let kept: String = fs::read_to_string(tokens.file())
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with("read "))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(tokens.file(), kept).unwrap();
    eventually("the old token does not", || {
        (code(&ask(Some("read"), &["stats"])) == 4).then_some(())
    });
    assert_eq!(code(&ask(Some("later"), &["stats"])), 0);
}

#[test]
fn certificates_are_replaced_without_a_call_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        Certificates::make(&path)
    };
    let (old, new, used) = (make("old"), make("new"), make("used"));
    let replace = |from: &Certificates| {
        fs::copy(&from.cert, &used.cert).unwrap();
        fs::copy(&from.key, &used.key).unwrap();
    };
    replace(&old);
    let both = folder.path().join("both.pem");
    let trusted = [fs::read(&old.ca).unwrap(), fs::read(&new.ca).unwrap()].concat();
    fs::write(&both, trusted).unwrap();
    let files = ["--tls-cert", text(&used.cert), "--tls-key", text(&used.key)];
    let (_process, address) = dev(&folder.path().join("data"), &files);
    let server = format!("https://{address}");
    let live = |ca: &Path| {
        let asked = run(&["--server", &server, "--server-ca", text(ca), "health"]);
        (code(&asked), err(&asked))
    };
    assert_eq!(live(&both).0, 0);
    let (refused, why) = live(&new.ca);
    assert_eq!(refused, 5);
    assert!(why.contains("--server-ca"), "{why}");
    let plain = run(&["--server", &format!("http://{address}"), "health"]);
    assert_eq!(code(&plain), 5);
    assert!(err(&plain).contains("https://"), "{}", err(&plain));
    replace(&new);
    eventually("the new certificate is shown", || {
        let (code, why) = live(&both);
        assert_eq!(code, 0, "a valid call fails: {why}");
        (live(&new.ca).0 == 0).then_some(())
    });
    assert_eq!(live(&both).0, 0);
    assert_eq!(live(&old.ca).0, 5);
}

#[test]
fn a_client_without_a_certificate_is_refused_where_one_is_demanded() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        Certificates::make(&path)
    };
    let (ours, foreign) = (make("ours"), make("foreign"));
    let [ca, cert, key] = ours.paths();
    let files = ["--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ca];
    let (_process, address) = dev(&folder.path().join("data"), &files);
    let server = format!("https://{address}");
    let live = |more: &[&str]| {
        let args = [&["--server", &server, "--server-ca", ca], more, &["health"]].concat();
        code(&run(&args))
    };
    assert_eq!(live(&["--server-cert", cert, "--server-key", key]), 0);
    assert_ne!(live(&[]), 0);
    let [_, cert, key] = foreign.paths();
    assert_ne!(live(&["--server-cert", cert, "--server-key", key]), 0);
}

/// What is answered to `bytes`, until the server closes the connection.
fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may be cut off while it still sends.
    let _ = stream.write_all(bytes);
    let mut found = Vec::new();
    let _ = stream.read_to_end(&mut found);
    String::from_utf8_lossy(&found).into_owned()
}

#[test]
fn requests_that_two_readers_could_read_differently_are_refused_and_the_connection_ends() {
    let data = tempfile::tempdir().unwrap();
    let (_process, address) = dev(data.path(), &[]);
    let smuggled = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for head in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: +5\r\n",
        "content-length: 5\r\ntransfer-encoding: chunked\r\nx : y\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding : chunked\r\n",
        "a: b\r\n continued\r\n",
        "a\0b: c\r\n",
    ] {
        let request =
            format!("POST /api/v1/tasks HTTP/1.1\r\nhost: localhost\r\n{head}\r\n{smuggled}");
        let found = answer(address, request.as_bytes());
        assert!(found.starts_with("HTTP/1.1 400"), "{head:?}: {found}");
        assert_eq!(found.matches("HTTP/1.1").count(), 1, "{head:?}: {found}");
    }
    let huge = format!(
        "{} /livez HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "M".repeat(20_000)
    );
    let many: String = (0..65).map(|n| format!("x{n}: y\r\n")).collect();
    let many = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n{many}\r\n");
    let long = format!(
        "GET /livez HTTP/1.1\r\nhost: localhost\r\na: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    for request in [huge, many, long] {
        let found = answer(address, request.as_bytes());
        let status = found.get(9..12).unwrap_or_default().to_owned();
        assert!(matches!(&*status, "" | "400" | "414" | "431"), "{found}");
    }
}

#[test]
fn connections_that_say_nothing_are_cut_and_honest_ones_served_meanwhile() {
    let data = tempfile::tempdir().unwrap();
    let (_process, address) = dev(data.path(), &[]);
    let mut idle: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    for stream in &mut idle {
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nhost: loc")
            .unwrap();
    }
    let honest = || {
        let found = answer(
            address,
            b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        );
        assert!(found.starts_with("HTTP/1.1 200"), "{found}");
    };
    honest();
    for stream in &mut idle {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut byte = [0];
        // Cut off: an end or a reset, but no answer.
        assert!(matches!(stream.read(&mut byte), Ok(0) | Err(_)));
        honest();
    }
}

#[test]
fn a_key_submitted_from_many_connections_is_one_task() {
    let data = tempfile::tempdir().unwrap();
    let (_process, address) = dev(data.path(), &[]);
    let body = |payload: u32| format!(r#"{{"type":"noop","payload":{payload}}}"#);
    let submit = |payload: u32| {
        let body = body(payload);
        let found = answer(
            address,
            format!(
                "POST /api/v1/tasks HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nidempotency-key: \"one\"\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        );
        let (head, json) = found.split_once("\r\n\r\n").unwrap_or((&found, ""));
        let status: u16 = head.get(9..12).and_then(|it| it.parse().ok()).unwrap_or(0);
        let json: Value = serde_json::from_str(json).unwrap_or_default();
        (
            status,
            head.contains("idempotent-replay: true"),
            json["id"].clone(),
        )
    };
    eventually("it takes tasks", || (submit(1).0 / 100 == 2).then_some(()));
    let answers: Vec<_> = std::thread::scope(|scope| {
        let same = (0..40).map(|_| scope.spawn(|| submit(1)));
        let other = (0..10).map(|_| scope.spawn(|| submit(2)));
        let started: Vec<_> = same.chain(other).collect();
        started.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let (_, _, first) = submit(1);
    for (status, replayed, id) in &answers[..40] {
        assert_eq!((status, replayed, id), (&200, &true, &first));
    }
    for (status, replayed, _) in &answers[40..] {
        assert_eq!((status, replayed), (&409, &false));
    }
    let stats = answer(
        address,
        b"GET /api/v1/stats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    );
    assert!(stats.contains("\"total\":1,"), "{stats}");
}

#[test]
fn a_submission_whose_sender_hangs_up_is_found_by_its_key() {
    let data = tempfile::tempdir().unwrap();
    let (_process, address) = dev(data.path(), &[]);
    let body = r#"{"type":"noop"}"#;
    let request = |key: usize| {
        format!(
            "POST /api/v1/tasks HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nidempotency-key: k{key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    eventually("it takes tasks", || {
        answer(address, request(0).as_bytes())
            .starts_with("HTTP/1.1 20")
            .then_some(())
    });
    for key in 1..=20 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request(key).as_bytes()).unwrap();
        drop(stream);
        let again = answer(address, request(key).as_bytes());
        // Whether the first had been taken or not: there is one task under the key, and this is it.
        assert!(again.starts_with("HTTP/1.1 20"), "{again}");
    }
    let stats = answer(
        address,
        b"GET /api/v1/stats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    );
    assert!(stats.contains("\"total\":21,"), "{stats}");
}

#[test]
fn a_page_that_makes_its_name_point_here_is_not_answered() {
    let data = tempfile::tempdir().unwrap();
    let (_process, address) = dev(data.path(), &[]);
    let ask = |host: &str| {
        let request =
            format!("GET /api/v1/stats HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        answer(address, request.as_bytes())
    };
    assert!(ask("rebound.example:7070").starts_with("HTTP/1.1 421"));
    eventually("it is ready", || {
        ask(&address.to_string())
            .starts_with("HTTP/1.1 200")
            .then_some(())
    });
}

/// What is left of the time that a stream may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn a_long_wait_ends_when_its_token_is_taken_away() {
    let tokens = Tokens::new(&["admin", "read"]);
    let data = tempfile::tempdir().unwrap();
    let (_process, address) = dev(data.path(), &["--tokens", text(&tokens.file())]);
    let bearer = |name: &str| {
        fs::read_to_string(tokens.of(name))
            .unwrap()
            .trim()
            .to_owned()
    };
    let (admin, read) = (bearer("admin"), bearer("read"));
    let submitted = eventually("it takes a task", || {
        let body = r#"{"type":"noop","delay":"1h"}"#;
        let found = answer(
            address,
            format!("POST /api/v1/tasks HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {admin}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes(),
        );
        let (head, json) = found.split_once("\r\n\r\n")?;
        let json: Value = serde_json::from_str(json).ok()?;
        head.starts_with("HTTP/1.1 201")
            .then(|| json["id"].as_str().unwrap().to_owned())
    });
    let mut waiting = TcpStream::connect(address).unwrap();
    let wait = format!(
        "GET /api/v1/tasks/{submitted}?wait=60s HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {read}\r\nconnection: close\r\n\r\n"
    );
    waiting.write_all(wait.as_bytes()).unwrap();
    let kept = fs::read_to_string(tokens.file()).unwrap();
    let kept: Vec<&str> = kept
        .lines()
        .filter(|line| line.starts_with("admin "))
        .collect();
    fs::write(tokens.file(), kept.join("\n")).unwrap();
    waiting.set_read_timeout(Some(ENDS_WITHIN)).unwrap();
    let mut found = [0; 12];
    waiting.read_exact(&mut found).unwrap();
    assert_eq!(&found, b"HTTP/1.1 401");
}
