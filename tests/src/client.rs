//! Clients of the API: by HTTP, and by the command line.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::process::Process;
use crate::{PATIENCE, binary, eventually};

/// Asks schedulers, and the next one when one cannot be reached.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::blocking::Client,
    servers: Vec<String>,
}

/// What makes HTTP clients, which may not have chosen what they encrypt with.
pub fn http() -> reqwest::blocking::ClientBuilder {
    // All tests of one process share the choice: only the first is taken.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::blocking::Client::builder().no_proxy()
}

impl Client {
    /// A client of these processes, once all of them are ready.
    ///
    /// # Panics
    /// When one of them is not.
    pub fn of<'a>(processes: impl IntoIterator<Item = &'a mut Process>) -> Self {
        let http = http()
            .timeout(PATIENCE)
            .connect_timeout(Duration::from_secs(2))
            .build()
            .expect("an HTTP client can be made");
        let servers = processes.into_iter().map(Process::url).collect();
        let client = Self { http, servers };
        for server in &client.servers {
            eventually("the server is ready", || {
                client.try_get(server, "/readyz").filter(|it| it.0 == 200)
            });
        }
        client
    }

    /// Where the servers are.
    pub fn servers(&self) -> &[String] {
        &self.servers
    }

    /// Asks one server: the status and the body, or nothing when it does not answer.
    pub fn try_get(&self, server: &str, path: &str) -> Option<(u16, Value)> {
        let answer = self.http.get(format!("{server}{path}")).send().ok()?;
        Some((answer.status().as_u16(), answer.json().ok()?))
    }

    /// What some server answers, once one answers well.
    pub fn get(&self, path: &str) -> Value {
        eventually(path, || {
            let mut answers = self.servers.iter().map(|it| self.try_get(it, path));
            answers.find_map(|it| it.filter(|it| it.0 == 200).map(|it| it.1))
        })
    }

    /// What the first server answers, as text.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn get_text(&self, path: &str) -> String {
        let answer = self.http.get(format!("{}{path}", self.servers[0])).send();
        answer
            .and_then(reqwest::blocking::Response::text)
            .expect("the server answers")
    }

    /// Posts to one server: the status and the body, or nothing when it is unknown what became of it.
    pub fn try_post(&self, server: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let request = self.http.post(format!("{server}{path}")).json(body);
        let answer = request.send().ok()?;
        Some((answer.status().as_u16(), answer.json().ok()?))
    }

    /// Submits a task to the first server, and tells its id.
    ///
    /// # Panics
    /// When it is not accepted.
    pub fn submit(&self, task: &Value) -> String {
        let answer = self.try_post(&self.servers[0], "/api/v1/tasks", task);
        let (status, body) = answer.expect("the server answers");
        assert_eq!(status, 201, "{body}");
        text(&body["id"])
    }

    /// Submits tasks, and tells their ids.
    ///
    /// # Panics
    /// When one is not accepted.
    pub fn submit_all(&self, tasks: &[Value]) -> Vec<String> {
        let answer = self.try_post(&self.servers[0], "/api/v1/tasks", &tasks.into());
        let (status, body) = answer.expect("the server answers");
        assert_eq!(status, 201, "{body}");
        let items = body["tasks"].as_array().expect("an item for each task");
        items.iter().map(|it| text(&it["id"])).collect()
    }

    /// A task as it is now.
    pub fn task(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/tasks/{id}"))
    }

    /// Waits for a task's end.
    pub fn end_of(&self, id: &str) -> Value {
        let path = format!("/api/v1/tasks/{id}?wait=10s");
        eventually("the task ends", || {
            Some(self.get(&path)).filter(|task| !task["completed_at"].is_null())
        })
    }

    /// Waits until a task runs on `worker`.
    pub fn runs_on(&self, id: &str, worker: &str) -> Value {
        eventually("the task runs there", || {
            Some(self.task(id)).filter(|it| it["status"] == "running" && it["worker_id"] == worker)
        })
    }

    /// All tasks for which `query` asks, over all pages.
    pub fn tasks(&self, query: &str) -> Vec<Value> {
        let mut tasks = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/tasks?limit=1000&{query}{cursor}");
            let mut page = self.get(&path);
            if let Value::Array(more) = page["tasks"].take() {
                tasks.extend(more);
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return tasks,
            }
        }
    }

    /// One of the counts of tasks.
    pub fn count(&self, what: &str) -> u64 {
        let stats = self.get("/api/v1/stats");
        let count = stats["tasks"][what].as_u64();
        count.unwrap_or_else(|| panic!("no count of {what} in {stats}"))
    }

    /// Runs a command of the command line that is to succeed, and tells its result.
    ///
    /// # Panics
    /// When it fails, or prints no JSON.
    pub fn done(&self, args: &[&str]) -> Value {
        let (code, result, said) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {said}");
        serde_json::from_str(&result).unwrap_or_else(|error| panic!("{args:?}: {error}: {result}"))
    }

    /// Runs a command of the command line that is to fail: its exit code, and what it says.
    ///
    /// # Panics
    /// When it succeeds.
    pub fn fails(&self, args: &[&str]) -> (i32, String) {
        let (code, result, said) = self.run(args);
        assert_ne!(code, 0, "{args:?}: {result}");
        (code, said)
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let servers = self.servers.join(",");
        command(&[args, &["--output", "json", "--server", &servers]].concat())
    }
}

/// Runs a command of the command line to its end: its exit code, its result, and what else it says.
///
/// # Panics
/// When it cannot be run, or is killed.
pub fn command(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(binary::windlass())
        .args(args)
        .output()
        .expect("the program under test can be run");
    let [result, said] = [output.stdout, output.stderr].map(|it| {
        let said = String::from_utf8(it);
        said.expect("the program under test says text")
    });
    let code = output.status.code();
    let code = code.unwrap_or_else(|| panic!("{args:?} was killed: {said}"));
    (code, result, said)
}

/// A field that is text.
///
/// # Panics
/// When it is not.
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}
