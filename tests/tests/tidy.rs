//! The house rules that no compiler checks. Each rule is a function from what is in the repository to its findings, a
//! test that there are none, and a test that it finds a bad sample.

#[path = "tidy/arrows.rs"]
mod arrows;
#[path = "tidy/graphs.rs"]
mod graphs;
#[path = "tidy/pictures.rs"]
mod pictures;
#[path = "tidy/source.rs"]
mod source;

use source::{Source, balanced, words};

/// Files that may be longer than [`LINES_MAX`], and why.
const LONG: &[(&str, &str)] = &[(
    "core/src/kv/reference.rs",
    "a second, naive store for the tests of the first: one piece, so that it can be read against it",
)];
const LINES_MAX: usize = 500;

/// Fails with the findings, one a line.
#[track_caller]
fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// Applies a rule to every Rust file.
fn in_rust(rule: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    let sources = Source::all();
    let rust: Vec<_> = sources.iter().filter(|it| it.is_rust()).collect();
    assert!(rust.len() > 20, "the repository is somewhere else");
    rust.into_iter().flat_map(rule).collect()
}

// The size of files.

fn too_long(sources: &[Source], exceptions: &[(&str, &str)]) -> Vec<String> {
    let is_long = |source: &&Source| source.is_rust() && source.body().lines().count() > LINES_MAX;
    let long: Vec<_> = sources.iter().filter(is_long).map(|it| &*it.path).collect();
    let excepted: Vec<_> = exceptions.iter().map(|it| it.0).collect();
    let unexpected = long.iter().filter(|it| !excepted.contains(it));
    let needless = excepted.iter().filter(|it| !long.contains(it));
    unexpected
        .map(|path| format!("{path}: over {LINES_MAX} lines without its tests"))
        .chain(needless.map(|path| format!("{path}: is short, and needs no exception")))
        .collect()
}

#[test]
fn source_files_are_short() {
    assert_none(&too_long(&Source::all(), LONG));
}

#[test]
fn a_long_file_and_a_needless_exception_are_found() {
    let long = Source::new("core/src/long.rs", &"fn f() {}\n".repeat(501));
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}", "// x\n".repeat(600));
    let short = Source::new("core/src/short.rs", &tests);
    let all = [long, short];
    assert_eq!(too_long(&all, &[]).len(), 1);
    assert_eq!(too_long(&all, &[("core/src/long.rs", "why")]).len(), 0);
    let needless = [("core/src/long.rs", "why"), ("core/src/short.rs", "why")];
    assert_eq!(too_long(&all, &needless).len(), 1);
}

// Selects.

fn unbiased_selects(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in source.code.match_indices("select!") {
        let arms = source.code[at + "select!".len()..].trim_start();
        let first = arms.trim_start_matches(['{', '(', '[']).trim_start();
        if !first.starts_with("biased") {
            found.push(source.finding(at, "`select!` without `biased`"));
        }
    }
    found
}

#[test]
fn every_select_is_biased() {
    assert_none(&in_rust(unbiased_selects));
}

#[test]
fn an_unbiased_select_is_found() {
    let count = |text| unbiased_selects(&Source::new("shell/src/x.rs", text)).len();
    assert_eq!(count("tokio::select! {\n    _ = a => {}\n}"), 1);
    assert_eq!(count("select!(_ = a => {})"), 1);
    assert_eq!(count("tokio::select! { biased;\n _ = a => {} }"), 0);
    assert_eq!(count("// select! { a }\nlet x = \"select! { a }\";"), 0);
}

// The switch to the simulated executor.

fn stray_madsim(source: &Source) -> Vec<String> {
    let allowed = ["shell/src/lib.rs", "sim/src/madsim.rs"];
    if allowed.contains(&&*source.path) || source.path.starts_with("sim/src/madsim/") {
        return Vec::new();
    }
    let starts = ["cfg(", "cfg_attr(", "cfg!("];
    let all = starts.iter().flat_map(|it| source.code.match_indices(it));
    all.filter(|(at, start)| {
        let condition = balanced(&source.code[at + start.len() - 1..]);
        words(condition).any(|word| word == "madsim")
    })
    .map(|(at, _)| source.finding(at, "`cfg(madsim)` outside its few places"))
    .collect()
}

#[test]
fn only_a_few_places_know_the_simulated_executor() {
    assert_none(&in_rust(stray_madsim));
}

#[test]
fn a_stray_cfg_madsim_is_found() {
    let count = |path, text| stray_madsim(&Source::new(path, text)).len();
    assert_eq!(
        count("shell/src/driver.rs", "#[cfg(not(madsim))]\nfn f() {}"),
        1
    );
    assert_eq!(count("shell/src/driver.rs", "if cfg!(madsim) { }"), 1);
    assert_eq!(
        count("shell/src/driver.rs", "#[cfg_attr(all(unix, madsim), x)]"),
        1
    );
    assert_eq!(count("shell/src/lib.rs", "#[cfg(madsim)]"), 0);
    assert_eq!(
        count("shell/src/driver.rs", "#[cfg(unix)] // not cfg(madsim)"),
        0
    );
}

// Leftovers.

fn leftovers(source: &Source) -> Vec<String> {
    // Spelled in halves, or this file would be full of them.
    let marks = [
        concat!("FIX", "ME"),
        concat!("X", "XX"),
        concat!("TO", "DO"),
    ];
    let macros = [concat!("to", "do!"), concat!("unimpl", "emented!")];
    let mut found = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let marked = words(line).find(|word| marks.contains(word));
        let called = macros
            .into_iter()
            .find(|it| source.is_rust() && line.contains(it));
        if let Some(what) = marked.or(called) {
            found.push(format!("{}:{}: a leftover {what}", source.path, number + 1));
        }
    }
    found
}

#[test]
fn nothing_is_left_over() {
    let found: Vec<_> = Source::all().iter().flat_map(leftovers).collect();
    assert_none(&found);
}

#[test]
fn a_leftover_is_found() {
    let count = |path, text: String| leftovers(&Source::new(path, &text)).len();
    assert_eq!(
        count("a.rs", concat!("// FIX", "ME: later\n").to_owned()),
        1
    );
    assert_eq!(count("Makefile", concat!("# TO", "DO\n").to_owned()), 1);
    assert_eq!(count("a.rs", concat!("to", "do!()\n").to_owned()), 1);
    assert_eq!(count("a.rs", "mkstemp(XXXXXX)\n".to_owned()), 0);
}

// Keys.

fn spelled_keys(source: &Source) -> Vec<String> {
    let roots = [
        "/config/",
        "/dead/",
        "/delayed/",
        "/locks/",
        "/nodes/",
        "/offers/",
        "/queues/",
        "/stats/",
        "/tasks/",
        "/unique/",
    ];
    let parts = ["core/src/", "shell/src/", "sim/src/"];
    let is_keyspace = source.path == "core/src/keyspace.rs";
    // What tests share may tell a history in plain words.
    let is_testing = source.path.contains("/testing");
    if is_keyspace || is_testing || !parts.iter().any(|it| source.path.starts_with(it)) {
        return Vec::new();
    }
    let body = source.body().len();
    let spelled = source
        .literals
        .iter()
        .filter(|(at, text)| *at < body && roots.iter().any(|root| text.starts_with(root)));
    spelled
        .map(|(at, _)| source.finding(*at, "a key is spelled outside keyspace"))
        .collect()
}

#[test]
fn keys_are_spelled_in_one_place() {
    assert_none(&in_rust(spelled_keys));
}

#[test]
fn a_spelled_key_is_found() {
    let count = |path, text| spelled_keys(&Source::new(path, text)).len();
    assert_eq!(
        count("shell/src/x.rs", "let key = format!(\"/tasks/{id}\");"),
        1
    );
    assert_eq!(
        count("core/src/x.rs", "const A: &str = r#\"/queues/@w/\"#;"),
        1
    );
    assert_eq!(count("core/src/keyspace.rs", "format!(\"/tasks/{id}\")"), 0);
    assert_eq!(
        count("shell/src/api/x.rs", "route(\"/api/v1/tasks/{id}\", x)"),
        0
    );
    assert_eq!(count("core/src/x.rs", "//! `\"/tasks/1\"`\n"), 0);
    assert_eq!(
        count(
            "core/src/x.rs",
            "#[cfg(test)]\nmod tests {\n \"/tasks/1\" }"
        ),
        0
    );
}

// Assertions that vanish in release builds.

fn effects_in_debug_assertions(source: &Source) -> Vec<String> {
    let methods = [
        "insert",
        "remove",
        "push",
        "push_back",
        "push_front",
        "pop",
        "pop_first",
        "pop_last",
        "pop_front",
        "pop_back",
        "take",
        "replace",
        "next",
        "drain",
        "clear",
        "extend",
        "retain",
        "append",
        "truncate",
        "entry",
        "get_mut",
        "swap",
        "send",
        "recv",
        "try_recv",
        "store",
        "fetch_add",
        "fetch_sub",
        "draw",
        "handle",
        "write",
        "write_all",
        "flush",
    ];
    let assignments = ["+=", "-=", "*=", "/=", "|=", "&=", "^=", "%=", "<<=", ">>="];
    let mut found = Vec::new();
    for (at, _) in source.code.match_indices("debug_assert") {
        let Some(open) = source.code[at..].find(['(', '{', '[']) else {
            continue;
        };
        let inside = balanced(&source.code[at + open..]);
        let calls = |name: &&str| inside.contains(&format!(".{name}("));
        let assigns = |sign: &&str| inside.contains(*sign);
        let takes_mut = words(inside).any(|word| word == "mut");
        if methods.iter().any(calls) || assignments.iter().any(assigns) || takes_mut {
            found.push(source.finding(at, "something changes inside `debug_assert!`"));
        }
    }
    found
}

#[test]
fn debug_assertions_change_nothing() {
    assert_none(&in_rust(effects_in_debug_assertions));
}

#[test]
fn a_change_inside_a_debug_assertion_is_found() {
    let count = |text| effects_in_debug_assertions(&Source::new("core/src/x.rs", text)).len();
    assert_eq!(
        count("debug_assert!(set.remove(&key), \"it was there\");"),
        1
    );
    assert_eq!(count("debug_assert_eq!({ n += 1; n }, 2);"), 1);
    assert_eq!(count("debug_assert!(check(&mut self.x));"), 1);
    assert_eq!(
        count("debug_assert!(a <= b && set.contains(&a), \"x += 1\");\nset.remove(&a);"),
        0
    );
}

// Tests that are switched off.

fn ignored(source: &Source) -> Vec<String> {
    let attributes = source.code.match_indices("#[");
    let is_ignore = |at: &usize| {
        let attribute = balanced(&source.code[at + 1..]);
        let mut inside = words(attribute);
        let first = inside.next();
        first == Some("ignore") || first == Some("cfg_attr") && inside.any(|it| it == "ignore")
    };
    let found = attributes.map(|it| it.0).filter(is_ignore);
    found
        .map(|at| source.finding(at, "a test is switched off"))
        .collect()
}

#[test]
fn no_test_is_switched_off() {
    assert_none(&in_rust(ignored));
}

#[test]
fn a_test_that_is_switched_off_is_found() {
    let count = |text| ignored(&Source::new("core/src/x.rs", text)).len();
    assert_eq!(count("#[test]\n#[ignore]\nfn f() {}"), 1);
    assert_eq!(count("#[ignore = \"slow\"]"), 1);
    assert_eq!(count("#[cfg_attr(unix, ignore)]"), 1);
    assert_eq!(count("#[test]\nfn ignore() {} // #[ignore]"), 0);
}

// What belongs to one machine only.

fn machine_paths(source: &Source) -> Vec<String> {
    let roots = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
        concat!("/wo", "rk/"),
    ];
    let mut found = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let is_start = |at: usize| {
            let before = line[..at].chars().next_back();
            !before.is_some_and(|it| it.is_alphanumeric() || "/._-})".contains(it))
        };
        let mut all = roots.iter().flat_map(|root| line.match_indices(root));
        if all.any(|(at, _)| is_start(at)) {
            found.push(format!(
                "{}:{}: a path of one machine",
                source.path,
                number + 1
            ));
        }
    }
    found
}

#[test]
fn no_path_of_one_machine_is_written_down() {
    let found: Vec<_> = Source::all().iter().flat_map(machine_paths).collect();
    assert_none(&found);
}

#[test]
fn a_path_of_one_machine_is_found() {
    let count = |text: &str| machine_paths(&Source::new("a.toml", text)).len();
    assert_eq!(count(concat!("path = \"/ho", "me/me/x\"")), 1);
    assert_eq!(count(concat!("cd /wo", "rk/x")), 1);
    assert_eq!(
        count("shell/src/home/x.rs and https://example.org/root/x"),
        0
    );
}

fn foreign_registries(lock: &str) -> Vec<String> {
    let home = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let sources = lock.lines().filter(|it| it.starts_with("source = "));
    sources
        .filter(|it| *it != home)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_dependency_comes_from_the_public_registry() {
    let lock = std::fs::read_to_string(source::root().join("Cargo.lock")).unwrap();
    assert_none(&foreign_registries(&lock));
}

#[test]
fn a_foreign_registry_is_found() {
    let lock = "[[package]]\nname = \"x\"\nsource = \"registry+https://mirror.example/index\"\n";
    assert_eq!(foreign_registries(lock).len(), 1);
}

#[test]
fn targets_and_hidden_folders_are_not_read() {
    let sources = Source::all();
    let has = |start: &str| sources.iter().any(|it| it.path.starts_with(start));
    assert!(has("core/src/") && has("tests/tests/tidy.rs") && has(".ci/") && has("Makefile"));
    assert!(!has("target/") && !has(".git/"));
}
