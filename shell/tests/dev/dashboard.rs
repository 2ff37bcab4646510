//! The dashboard as it comes from the real binary. What people do with it is in `tests/dashboard`.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::rig::{Dev, until};

/// The distribution's Chromium, under either of its names.
fn chromium() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser"];
    std::env::split_paths(&folders)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|program| program.is_file())
}

/// A browser that ends with its test.
struct Browser(Child);

impl Browser {
    fn open(program: &std::path::Path, profile: &std::path::Path, url: &str) -> Self {
        let browser = Command::new(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(browser.unwrap())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_shell_is_served_under_a_strict_policy_and_leads_to_its_scripts() {
    let dev = Dev::start(&[]);
    let shell = dev.send("GET", "/", None);
    assert_eq!(shell.status, 200, "{shell:?}");
    assert!(
        shell
            .head
            .contains("content-security-policy: default-src 'none'; script-src 'self'")
    );
    assert!(shell.head.contains("x-content-type-options: nosniff"));
    let script = shell
        .body
        .split('"')
        .find(|it| it.ends_with("main.js"))
        .unwrap();
    let script = dev.send("GET", &format!("/{script}"), None);
    assert_eq!(script.status, 200);
    assert!(
        script.head.contains("content-type: text/javascript"),
        "{}",
        script.head
    );
    assert!(script.head.contains("immutable"), "{}", script.head);
    assert_eq!(dev.send("POST", "/", Some("{}")).status, 405);
    assert_eq!(dev.send("GET", "/ui/x/stranger.js", None).status, 404);
}

/// The scripts run under their policy, and find what they ask for: else the server would not be asked for the history
/// and the events that the first page shows.
#[test]
fn a_browser_shows_the_first_page() {
    let Some(program) = chromium() else {
        println!("SKIPPED: there is no Chromium on the PATH; `.ci/tools dashboard` installs it");
        return;
    };
    let dev = Dev::start(&[]);
    let profile = tempfile::tempdir().unwrap();
    let _browser = Browser::open(
        &program,
        profile.path(),
        &format!("http://{}/", dev.address),
    );
    for route in [
        "/api/v1/session",
        "/api/v1/stats",
        "/api/v1/history",
        "/api/v1/events",
    ] {
        until(&format!("the browser asks for {route}"), || {
            let metrics = dev.send("GET", "/metrics", None).body;
            metrics
                .lines()
                .any(|line| {
                    line.starts_with("windlass_http_requests_total{")
                        && line.contains(&format!("\"{route}\""))
                })
                .then_some(())
        });
    }
}
