use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;
use crate::client;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("windlass").chain(line.split_whitespace()))
}

fn parsed(line: &str) -> Cli {
    parse(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_of_the_contract_is_taken() {
    const ID: &str = "019aa000-0000-7000-8000-000000000000";
    for line in [
        "dev",
        "dev --data-dir d --listen 127.0.0.1:0 --workers 2 --slots 4 --handler a=b --handler c=d --demo",
        "dev --max-payload 1MiB --log-format json --log-level debug -o json",
        "scheduler --etcd http://a:1,http://b:2 --prefix /p --id n --ttl 3s --listen 0.0.0.0:7070",
        "scheduler --etcd https://a:1 --etcd-ca c --etcd-cert d --etcd-key e --etcd-user f --etcd-password-file g",
        "worker --etcd http://a:1 --prefix /p --id n --ttl 10s --slots 8 --queues a,b --weight 3 --handler t=cat",
        "task submit echo --queue q --priority high --payload {} --max-retries 0 --timeout 1s --delay 2s --key k --wait",
        "task submit echo --wait=30s --payload -",
        "task submit --from f.jsonl",
        &format!("task get {ID}"),
        "task list --state pending --queue q --limit 5 -o json",
        &format!("task wait {ID} {ID} --timeout 5m"),
        &format!("task cancel {ID}"),
        &format!("task rerun {ID}"),
        &format!("task why {ID}"),
        "queue list",
        "queue get q",
        "queue set q --strategy weighted",
        "queue pause q",
        "queue resume q",
        "node list",
        "node drain n",
        "stats -o table --server http://a:1,http://b:2",
        "lock run k -- echo -n hi",
        "lock run k --ttl 3s --wait 1s -- true",
        "bench run --store embedded --tasks 10 --workers 1 --slots 2 --payload 256 -o json",
        "bench run --store http://a:1,http://b:2",
        "bench limit --store http://a:1",
        "worker --etcd http://a:1 --health-file f",
        "scheduler --etcd http://a:1 --listen 0.0.0.0:7070 --tokens t --tls-cert c --tls-key k --tls-client-ca a",
        "dev --insecure-no-auth --rate-max 100 --audit-log f --connections-per-address 50",
        "worker --etcd http://a:1 --metrics 127.0.0.1:9 --tokens t",
        "token new ci --role submit",
        "token new ci --role work --expires 90d --file f -o json",
        "stats --server https://a:1 --server-ca c --server-cert d --server-key e --token-file t",
        "health",
        "health --ready --timeout 2s -o json --server http://a:1",
        "health --file f --max-age 5s --ready",
    ] {
        parsed(line);
    }
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    for line in [
        "frobnicate",
        "guardian",
        "dev --slots 0",
        "dev --handler nonsense",
        "dev --handler a=",
        "dev --handler b@d=cat",
        "dev --max-payload 2MiB",
        "dev --max-payload 0",
        "scheduler",
        "scheduler --etcd http://a:1 --ttl 0s",
        "scheduler --etcd http://a:1 --etcd-cert c",
        "scheduler --etcd http://a:1 --etcd-user u",
        "scheduler --etcd http://a:1 --id a/b",
        "worker --etcd http://a:1 --queues @x",
        "worker --etcd http://a:1 --weight 0",
        "task submit",
        "task submit echo --from f",
        "task submit --from f --queue q",
        "task submit b@d",
        "task submit echo --priority 10",
        "task submit echo --delay 1s --run-at 2030-01-01T00:00:00Z",
        "task get nonsense",
        "task list --state sleeping",
        "task list --limit 0",
        "task wait",
        "queue set q",
        "queue set q --strategy best",
        "lock run k",
        "lock run k true",
        "bench run",
        "bench run --store nowhere",
        "stats -o yaml",
        "health --max-age 5s",
        "health --file f --timeout 5s",
        "health --file f --max-age 0s",
        "stats --server ftp://a",
        "stats --server nonsense",
    ] {
        match parse(line) {
            Ok(cli) => panic!("{line} was taken as {cli:?}"),
            Err(error) => assert_eq!(error.exit_code(), 2, "{line}"),
        }
    }
}

#[test]
fn options_have_the_defaults_of_the_contract() {
    let Cli { global, command } = parsed("dev");
    let Command::Dev(args) = command else {
        panic!("not dev");
    };
    assert_eq!(args.listen.to_string(), "127.0.0.1:7070");
    assert_eq!(
        (args.max_payload, args.demo),
        (crate::api::PAYLOAD_MAX_DEFAULT, false)
    );
    assert_eq!(
        global.servers.server[0].to_string(),
        "http://127.0.0.1:7070"
    );
    assert_eq!(
        (global.output.output, global.log_format),
        (Format::Table, LogFormat::Human)
    );
    let Command::Worker(args) = parsed("worker --etcd http://a:1").command else {
        panic!("not a worker");
    };
    assert_eq!(args.node.ttl.as_secs(), 10);
    assert!(args.queues.is_empty() && args.etcd.prefix.is_empty());
}

#[test]
fn every_command_has_a_help_text() {
    fn visit(command: &clap::Command) {
        assert!(
            command.get_about().is_some() || command.is_hide_set(),
            "{} says nothing about itself",
            command.get_name()
        );
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some() || argument.is_hide_set(),
                "{} of {} has no help",
                argument.get_id(),
                command.get_name()
            );
        }
        command.get_subcommands().for_each(visit);
    }
    visit(&Cli::command());
    let help = parse("--help").unwrap_err();
    assert_eq!((help.kind(), help.exit_code()), (ErrorKind::DisplayHelp, 0));
}

#[test]
fn errors_end_with_the_published_codes() {
    assert_eq!(
        exit::of(&CliError::new(Exit::NotFound, "x").into()),
        Exit::NotFound
    );
    assert_eq!(exit::of(&anyhow::anyhow!("x")), Exit::Failed);
    let wrapped = anyhow::Error::from(CliError::new(Exit::TimedOut, "x")).context("y");
    assert_eq!(exit::of(&wrapped), Exit::TimedOut);
    for (status, code) in [
        (500, 1),
        (404, 3),
        (400, 4),
        (409, 4),
        (413, 4),
        (503, 5),
        (504, 6),
    ] {
        let exit = servers::exit_of(client::ErrorKind::of_status(status));
        assert_eq!(exit as u8, code, "{status}");
    }
}
