//! An example for the help of every command. A test walks the commands and demands one.

/// The words of a command behind `windlass`, and its examples, one a line.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "",
        "windlass dev --demo\nwindlass task submit echo --payload '{\"n\": 1}' --wait\nwindlass help query",
    ),
    (
        "dev",
        "windlass dev\nwindlass dev --data-dir ./data --handler 'resize=convert - -resize 50% -'",
    ),
    (
        "scheduler",
        "windlass scheduler --etcd http://10.0.0.1:2379,http://10.0.0.2:2379 --listen 127.0.0.1:7070\nwindlass scheduler --etcd http://10.0.0.1:2379 --otlp http://10.0.0.9:4317",
    ),
    (
        "worker",
        "windlass worker --etcd http://10.0.0.1:2379 --slots 8 --handler mail=./send-mail",
    ),
    (
        "task",
        "windlass task submit echo --wait\nwindlass task list --filter 'state:failed created:>-1h'",
    ),
    (
        "task submit",
        "windlass task submit mail --queue mails --payload @mail.json --priority high\nwindlass task submit report --delay 10m --key report-2026-11\nwindlass task submit --from tasks.jsonl",
    ),
    (
        "task get",
        "windlass task get 019aa3\nwindlass task list -q | windlass task get - -o jsonl",
    ),
    (
        "task list",
        "windlass task list --state failed --order newest\nwindlass task list -f 'queue:mail* retries:>2' -o wide\nwindlass task list --watch\nwindlass task list --all -o jsonl > tasks.jsonl",
    ),
    ("task wait", "windlass task wait 019aa3 019aa4 --timeout 5m"),
    (
        "task cancel",
        "windlass task cancel 019aa3 --reason 'sent twice'\nwindlass task cancel -f 'queue:mails state:pending' --dry-run\nwindlass task cancel -f 'queue:mails state:pending' --yes",
    ),
    (
        "task rerun",
        "windlass task rerun 019aa3\nwindlass task list --state failed -q | windlass task rerun -\nwindlass task rerun -f 'state:failed type:mail' --yes",
    ),
    ("task why", "windlass task why 019aa3"),
    (
        "queue",
        "windlass queue list\nwindlass queue pause mails --reason 'the mail server moves'",
    ),
    (
        "queue list",
        "windlass queue list\nwindlass queue ls -o json",
    ),
    ("queue get", "windlass queue get mails"),
    ("queue set", "windlass queue set mails --strategy weighted"),
    (
        "queue pause",
        "windlass queue pause mails --reason 'the mail server moves'",
    ),
    ("queue resume", "windlass queue resume mails"),
    (
        "node",
        "windlass node list -o wide\nwindlass node drain worker-7",
    ),
    (
        "node list",
        "windlass node list\nwindlass node list -o wide",
    ),
    ("node get", "windlass node get worker-7"),
    (
        "node drain",
        "windlass node drain worker-7 --reason 'kernel update'",
    ),
    (
        "stats",
        "windlass stats\nwindlass stats -o json | jq .tasks.pending",
    ),
    ("top", "windlass top\nwindlass top --once"),
    (
        "events",
        "windlass events --follow\nwindlass events --topics tasks --follow -o jsonl | jq .data",
    ),
    (
        "doctor",
        "windlass doctor\nwindlass doctor -o json | jq '.checks[] | select(.result != \"ok\")'",
    ),
    ("audit", "windlass audit --limit 20"),
    (
        "api",
        "windlass api GET 'tasks?limit=1'\nwindlass api POST tasks -d '{\"type\": \"echo\"}'\nwindlass api GET /readyz",
    ),
    (
        "health",
        "windlass health --ready\nwindlass health --file /run/windlass/worker.json",
    ),
    (
        "conformance",
        "windlass conformance worker -- python3 clients/python/windlass_worker.py",
    ),
    (
        "conformance worker",
        "windlass conformance worker -- python3 clients/python/windlass_worker.py\nwindlass conformance worker -o json -- clients/shell/worker.sh",
    ),
    ("lock", "windlass lock run nightly -- ./backup"),
    (
        "lock run",
        "windlass lock run nightly --wait 10s -- ./backup --all",
    ),
    ("token", "windlass token new ci --role submit"),
    (
        "token new",
        "windlass token new ci --role submit --expires 90d\nwindlass token new alice --role admin --file tokens > alice.token",
    ),
    ("bench", "windlass bench run --store embedded"),
    (
        "bench run",
        "windlass bench run --store embedded --tasks 100000\nwindlass bench run --store http://127.0.0.1:2379 --rate 100\nwindlass bench run --store embedded --queues 10 --priorities 3 --handler 5ms",
    ),
    (
        "bench limit",
        "windlass bench limit --store http://127.0.0.1:2379",
    ),
    (
        "completions",
        "windlass completions bash > /etc/bash_completion.d/windlass\nwindlass completions fish | source",
    ),
    ("man", "windlass man | man -l -\nwindlass man ./man1"),
    ("help", "windlass help task list\nwindlass help exit-codes"),
    (
        "version",
        "windlass version\nwindlass version --client -o json",
    ),
];

/// `command` and all below it, with their examples.
pub(super) fn added_to(command: clap::Command) -> clap::Command {
    EXAMPLES.iter().fold(command, |command, (words, examples)| {
        let words: Vec<&str> = words.split_whitespace().collect();
        add(command, &words, examples)
    })
}

fn add(command: clap::Command, words: &[&str], examples: &str) -> clap::Command {
    let Some((word, below)) = words.split_first() else {
        let mut text = "Examples:".to_owned();
        for line in examples.lines() {
            text.push_str("\n  ");
            text.push_str(line);
        }
        if let Some(more) = command.get_after_help() {
            text = format!("{text}\n\n{more}");
        }
        return command.after_help(text);
    };
    // A command that is not there is what a test finds; here it would only be a panic.
    if command.find_subcommand(word).is_none() {
        return command;
    }
    command.mut_subcommand(*word, |command| add(command, below, examples))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_command_has_an_example_that_the_command_line_takes() {
        fn visit(command: &clap::Command, path: &str, found: &mut Vec<String>) {
            found.push(path.trim().to_owned());
            for below in command.get_subcommands().filter(|it| !it.is_hide_set()) {
                visit(below, &format!("{path} {}", below.get_name()), found);
            }
        }
        let mut commands = Vec::new();
        visit(&Cli::command(), "", &mut commands);
        for command in &commands {
            let has = EXAMPLES.iter().any(|(words, _)| words == command);
            assert!(has, "windlass {command} --help has no example");
        }
        for (words, examples) in EXAMPLES {
            assert!(
                commands.iter().any(|command| command == words),
                "there is no windlass {words}"
            );
            for line in examples.lines() {
                let line = line.rsplit("| windlass").next().unwrap();
                let line = line
                    .split(['|', '>'])
                    .next()
                    .filter(|_| !line.contains('\''))
                    .unwrap_or(line);
                let line = line.split(" | ").next().unwrap();
                let mut given = shell_words::split(line).unwrap();
                if given.first().is_none_or(|word| word != "windlass") {
                    given.insert(0, "windlass".to_owned());
                }
                let taken = added_to(Cli::command()).try_get_matches_from(&given);
                let is_taken = match taken {
                    Ok(_) => true,
                    Err(error) => error.exit_code() == 0,
                };
                assert!(is_taken, "{given:?}");
                let about: Vec<&str> = words.split_whitespace().collect();
                let shown = given
                    .iter()
                    .any(|word| about.first().is_none_or(|about| about == word));
                assert!(shown, "{line} is no example of windlass {words}");
            }
        }
        let mut command = added_to(Cli::command());
        assert!(
            command
                .render_help()
                .to_string()
                .contains("Examples:\n  windlass dev --demo")
        );
    }
}
