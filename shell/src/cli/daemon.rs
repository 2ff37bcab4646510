//! What all daemons share: how they are told to stop, and how they reach their store.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Access, access};
use windlass_core as core;
use windlass_core::keyspace::Range;
use windlass_core::time::Millis;

use super::etcd::EtcdArgs;
use super::exit::{CliError, Exit};
use crate::api::{self, Entrance, Front, Limits, Ready};
use crate::executor::Handlers;
pub(super) use crate::host::Stop;
use crate::host::Store;
use crate::node::{self, SchedulerNode};
use crate::store::etcd::{EtcdConfig, EtcdStore, Login, Tls};
use crate::trace::Traces;

/// Connects to the etcd of the command line, whose user may at least read `probe`.
pub(super) async fn connect(args: EtcdArgs, probe: Range) -> anyhow::Result<Store> {
    let mut config = EtcdConfig::new(args.etcd);
    config.probe = probe;
    config.prefix = args.prefix;
    config.quota = args.etcd_quota;
    if args.etcd_ca.is_some() || args.etcd_cert.is_some() {
        config.tls = Some(Tls {
            ca: args.etcd_ca,
            identity: args.etcd_cert.zip(args.etcd_key),
        });
    }
    config.login = args
        .etcd_user
        .zip(args.etcd_password_file)
        .map(|(user, password_file)| Login {
            user,
            password_file,
        });
    let store = EtcdStore::connect(config)
        .await
        .map_err(|error| CliError::new(Exit::Unreachable, error.to_string()))?;
    Ok(Store::Etcd(Arc::new(store)))
}

/// Runs a node's `life` to its end, or until its store is no longer the one that it began with: then all of it ends at
/// once, as in a crash, and so do its handlers.
pub(super) async fn while_store_lasts(
    store: &Store,
    life: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let Store::Etcd(etcd) = store else {
        return life.await;
    };
    tokio::select! { biased;
        ended = life => ended,
        replaced = etcd.replaced() => Err(CliError::new(Exit::Failed, replaced.to_string()).into()),
    }
}

/// The stock handlers and the commands of the command line.
pub(super) fn handlers(commands: &[String]) -> anyhow::Result<Handlers> {
    let mut handlers = Handlers::new();
    for command in commands {
        let refuse =
            |error: String| CliError::new(Exit::Usage, format!("--handler {command}: {error}"));
        handlers
            .add_command_spec(command)
            .map_err(|error| refuse(error.to_string()))?;
        check_program(command).map_err(refuse)?;
    }
    Ok(handlers)
}

/// A program that does not exist would fail every task of its type, one by one: better said at the start.
fn check_program(spec: &str) -> Result<(), String> {
    let (_, command) = spec.split_once('=').unwrap_or(("", spec));
    let words = shell_words::split(command).map_err(|error| error.to_string())?;
    let program = words.first().map_or("", String::as_str);
    let runs = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    let found = if program.contains('/') {
        runs(Path::new(program))
    } else {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).any(|folder| runs(&folder.join(program)))
    };
    if found {
        Ok(())
    } else {
        Err(format!("there is no program {program} that may be run"))
    }
}

/// Where an API is served, to whom, and within which limits.
pub(super) struct Site {
    /// Where connections come from.
    pub entrance: Entrance,
    /// What stands before the routes.
    pub front: Front,
    /// What the server bears.
    pub limits: Limits,
    /// Where spans of submissions go.
    pub traces: Option<Traces>,
}

/// Serves a scheduler's API until the process is told to stop or the scheduler ends by itself.
pub(super) async fn serve(scheduler: SchedulerNode, site: Site, stop: &Stop) -> core::worker::Exit {
    serve_until(scheduler, site, stop.asked()).await
}

/// Serves a scheduler's API until `stop` is done or the scheduler ends by itself. Requests under way are finished.
pub(super) async fn serve_until(
    mut scheduler: SchedulerNode,
    site: Site,
    stop: impl Future<Output = ()>,
) -> core::worker::Exit {
    let is_ready = scheduler.readiness();
    let ready: Ready = Arc::new(move || match is_ready() {
        true => Ok(()),
        false => Err("the scheduler has no session, or its view of the store has a gap".to_owned()),
    });
    let Site {
        entrance,
        front,
        limits,
        traces,
    } = site;
    let router = api::traced_router(scheduler.gateway(), limits.clone(), ready, front, traces);
    let (close, closed) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(api::serve(entrance, router, limits, async {
        let _ = closed.await;
    }));
    let exit = tokio::select! { biased;
        exit = scheduler.wait() => exit,
        () = stop => {
            scheduler.drain();
            scheduler.wait().await
        }
    };
    let _ = close.send(());
    let _ = server.await;
    exit
}

/// The exit code of a daemon whose node has ended.
pub(super) fn code_of(exit: core::worker::Exit) -> anyhow::Result<ExitCode> {
    match node::misfortune(exit) {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => Err(CliError::new(Exit::Failed, why).into()),
    }
}

/// A span of the command line, in the records' unit.
pub(super) fn millis(span: Duration) -> Millis {
    Millis::new(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
