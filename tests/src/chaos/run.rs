//! One run: start, break, heal, converge, serve, rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use windlass_sim::core::keyspace::{Key, Meaning};
use windlass_sim::core::rng::Rng;
use windlass_sim::fact::{Fact, Phase};

use super::clock;
use super::cluster::Cluster;
use super::history::Recorder;
use super::journal::Journal;
use super::judge::END_MAX;
use super::load::{self, Load, Seen};
use super::nemesis::{Done, Nemesis};
use super::plan::{Kind, Plan};
use super::store::Store;
use super::timeline::Meta;
use super::watchman::Watchman;
use crate::binary;

/// How many tasks the healed cluster is given.
const SERVICE: usize = 60;

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Names the plan.
    pub seed: u64,
    /// For how long things are broken.
    pub lasts: Duration,
    /// How many members etcd has: 1 or 3.
    pub members: usize,
    /// Tasks a second.
    pub rate: u64,
    /// Where everything is written.
    pub folder: PathBuf,
}

/// What a run was like, beside what its records say.
#[derive(Debug, Default)]
pub struct Ran {
    /// What was done to the cluster.
    pub done: Done,
    /// What clients saw.
    pub seen: Seen,
    /// How nodes ended by themselves: name and exit code.
    pub exits: BTreeMap<(String, i32), u64>,
    /// The kinds of faults that could not be done on this machine, and why.
    pub impossible: BTreeMap<Kind, String>,
    /// Tasks that were cancelled because a clock that was an hour ahead had put them off.
    pub put_off: u64,
    /// From healing until everything had ended.
    pub converged: Duration,
    /// The largest file of any member, in bytes.
    pub store_size_max: i64,
}

/// Which faults this machine and this cluster allow.
pub fn possible(members: usize, clock: Option<&Path>) -> (BTreeSet<Kind>, BTreeMap<Kind, String>) {
    let mut impossible = BTreeMap::new();
    for kind in Kind::ALL {
        if members < 2 && kind.needs_quorum() {
            impossible.insert(kind, "there is one member only".to_owned());
        }
    }
    if clock.is_none() {
        let why = "libfaketime is missing: run `bash .ci/tools`".to_owned();
        impossible.insert(Kind::JumpClock, why);
    }
    let all = Kind::ALL.into_iter();
    (
        all.filter(|it| !impossible.contains_key(it)).collect(),
        impossible,
    )
}

/// The library that shifts wall clocks, if it is there.
pub fn clock_library() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/faketime/libfaketime.so.1");
    let system = ["x86_64", "aarch64"]
        .map(|it| PathBuf::from(format!("/usr/lib/{it}-linux-gnu/faketime/libfaketime.so.1")));
    let own = own.canonicalize().ok();
    own.into_iter().chain(system).find(|it| it.is_file())
}

/// Runs it; leaves the records in its folder.
///
/// # Errors
/// When the run itself fails: then nothing is proved.
pub fn run(options: &Options) -> anyhow::Result<Ran> {
    let folder = &fresh(&options.folder)?;
    let clock = clock_library();
    let (kinds, impossible) = possible(options.members, clock.as_deref());
    let plan = Plan::draw(options.seed, options.lasts, &kinds);
    fs::write(
        folder.join("plan.json"),
        serde_json::to_string_pretty(&plan)?,
    )?;
    let journal = Arc::new(Journal::create(&folder.join("journal.jsonl"))?);
    let cluster = Cluster::plan(options.members, folder, &journal, clock.as_deref())?;
    let (begun, epoch_ms) = (clock::now(), clock::wall_ms());
    cluster.start_store()?;
    let recorder = Recorder::start(&cluster.endpoints(), &folder.join("history.jsonl"))?;
    let store = Store::new(cluster.endpoints())?;
    cluster.start_nodes()?;
    journal.note(&Fact::Phase(Phase::Safety));
    let servers: Vec<_> = cluster.schedulers().map(|it| (it.ix, it.url())).collect();
    let load = Load::new(servers, &journal, options.rate);
    let other_build = folder.join("windlass-new");
    fs::copy(binary::windlass(), &other_build)?;
    let nemesis = Nemesis {
        cluster: &cluster,
        store: &store,
        recorder: &recorder,
        journal: &journal,
        builds: [binary::windlass().to_owned(), other_build],
        done: Mutex::default(),
    };
    let watch = Watchman::new(&cluster, &journal)?;
    let mut ran = Ran {
        impossible,
        ..Ran::default()
    };
    let stats = std::thread::scope(|scope| {
        scope.spawn(|| watch.keep_up());
        scope.spawn(|| watch.leases());
        let stats = hurt_and_heal(options, &plan, &nemesis, &load, &mut ran);
        watch.stop();
        stats
    })?;
    is_recorded(&store, &recorder)?;
    let workers = cluster
        .workers()
        .map(|it| (it.id.as_str().to_owned(), it.ix));
    let meta = Meta {
        seed: options.seed,
        seconds: options.lasts.as_secs(),
        members: options.members,
        begun,
        epoch_ms,
        over: clock::now(),
        workers: workers.collect(),
        leases: store.leases()?,
        stats,
    };
    journal.flush();
    fs::write(
        folder.join("meta.json"),
        serde_json::to_string_pretty(&meta)?,
    )?;
    ran.seen = std::mem::take(&mut *load.seen());
    ran.done = nemesis
        .done
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    (ran.exits, ran.store_size_max) = watch.seen();
    Ok(ran)
}

/// An empty folder.
fn fresh(folder: &Path) -> anyhow::Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    Ok(folder.canonicalize()?)
}

/// Everything between the start and the end. Returns what a gateway counts at the end.
fn hurt_and_heal(
    options: &Options,
    plan: &Plan,
    nemesis: &Nemesis<'_>,
    load: &Load,
    ran: &mut Ran,
) -> anyhow::Result<Value> {
    let mut rng = Rng::new(options.seed).fork("load");
    std::thread::scope(|scope| {
        scope.spawn(|| load.run(&mut rng));
        let begun = Instant::now();
        std::thread::scope(|lanes| {
            lanes.spawn(|| nemesis.run(begun, &plan.nodes));
            lanes.spawn(|| nemesis.run(begun, &plan.store));
        });
        let left = options.lasts.saturating_sub(begun.elapsed());
        std::thread::sleep(left);
        load.stop();
    });
    let (cluster, journal) = (nemesis.cluster, nemesis.journal);
    cluster.serve();
    journal.note(&Fact::Phase(Phase::Liveness));
    let healed = Instant::now();
    ran.put_off = converge(cluster, nemesis.store)?;
    ran.converged = healed.elapsed();
    journal.note(&Fact::Phase(Phase::Service));
    load.serve(SERVICE)?;
    converge(cluster, nemesis.store)?;
    journal.note(&Fact::Phase(Phase::Rest));
    // What still moves now moves for ever.
    std::thread::sleep(Duration::from_secs(5));
    stats(cluster).context("a gateway tells its counts")
}

fn stats(cluster: &Cluster) -> Option<Value> {
    let http = load::http();
    cluster.schedulers().find_map(|it| {
        let answer = http.get(format!("{}/api/v1/stats", it.url())).send().ok()?;
        let is_well = answer.status().is_success();
        answer.json().ok().filter(|_| is_well)
    })
}

/// Waits until nothing waits or runs any more; says how many tasks were put off for an hour, and cancelled.
fn converge(cluster: &Cluster, store: &Store) -> anyhow::Result<u64> {
    let begun = Instant::now();
    let mut put_off = 0;
    loop {
        let stats = stats(cluster).unwrap_or_default();
        let live = ["scheduled", "pending", "running", "retrying"];
        let left: Option<u64> = live.iter().map(|it| stats["tasks"][it].as_u64()).sum();
        if left == Some(0) {
            return Ok(put_off);
        }
        if begun.elapsed() > END_MAX {
            // The checkers say what is left.
            return Ok(put_off);
        }
        put_off += cancel_put_off(cluster, store)?;
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// A clock that was an hour ahead has put tasks off for an hour, as it was told to: a person cancels them.
fn cancel_put_off(cluster: &Cluster, store: &Store) -> anyhow::Result<u64> {
    let http = load::http();
    let mut count = 0;
    for key in store.keys("/delayed/")? {
        if let Meaning::Delayed(due, task) = Meaning::of(&Key::from_store(key.as_str()))
            && due.as_millis() > clock::wall_ms() + 120_000
        {
            let server = cluster
                .schedulers()
                .next()
                .context("there is a scheduler")?;
            let url = format!("{}/api/v1/tasks/{task}/cancel", server.url());
            let answer = http.post(url).json(&json!({})).send();
            count += u64::from(answer.is_ok_and(|it| it.status().is_success()));
        }
    }
    Ok(count)
}

/// The record has everything that the store has.
fn is_recorded(store: &Store, recorder: &Recorder) -> anyhow::Result<()> {
    let newest = u64::try_from(store.revision()?)?;
    let begun = Instant::now();
    while recorder.last() < newest {
        let last = recorder.last();
        let patience = Duration::from_secs(60);
        ensure!(
            begun.elapsed() < patience,
            "recorded up to {last} of {newest}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    recorder.flush()
}

/// Looks for panics in what processes wrote, and counts what they call errors.
///
/// # Errors
/// When a log cannot be read.
pub fn logs(folder: &Path) -> anyhow::Result<(Vec<String>, u64)> {
    let (mut panics, mut errors) = (Vec::new(), 0);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let is_node = name.starts_with(['s', 'w']) && name.ends_with(".log");
        if !is_node {
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        for line in text.lines() {
            if line.contains("panicked at") {
                panics.push(format!("{name}: {line}"));
            }
            errors += u64::from(line.contains("ERROR"));
        }
    }
    Ok((panics, errors))
}

/// Whether the options make sense; builds what is to be tested.
///
/// # Errors
/// When they do not.
pub fn check(options: &Options) -> anyhow::Result<()> {
    if options.members != 1 && options.members != 3 {
        bail!("etcd has 1 or 3 members here, not {}", options.members);
    }
    ensure!(options.rate > 0, "at least one task a second is submitted");
    // Outside: building may need what a run takes away.
    binary::windlass();
    Ok(())
}
