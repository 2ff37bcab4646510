//! `windlass help`: the help of commands, with examples, and of topics that belong to no command.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, CommandFactory};

use super::exit::{CliError, Exit};
use super::output::Output;
use super::{Cli, examples};

/// What about.
#[derive(Debug, Args)]
pub struct HelpArgs {
    /// A topic (exit-codes, environment, query, formatting) or a command
    #[arg(value_name = "TOPIC|COMMAND")]
    pub words: Vec<String>,
}

const EXIT_CODES: &str = "\
What a command's end means to the script that called it:

  0  done
  1  failed, with no better code: a task that was waited for failed or was cancelled, part of several things failed,
     or nobody said yes
  2  usage: the command line makes no sense, or is not clear enough
  3  not found: there is no such task, queue or node
  4  refused: the server refused it, for bad input, for a state that forbids it, or for want of a right
  5  unreachable: no server can be reached, or none can serve at the moment
  6  timed out: the time for it ran out; it may still take effect

`lock run` ends as its command ends; 128 and the number of a signal when that ended it.
Results go to stdout, everything else to stderr.
";

const QUERY: &str = "\
A query is a list of terms with blanks between them; a task matches when all of them hold. It is what --filter takes,
`?q=` of the API, and the filter box of the dashboard.

  field:value      the field has this value
  field:a,b        it has one of these
  -field:value     it has not
  \"two words\"      quotes keep blanks together; \\\" and \\\\ stand for themselves in them
  word             the id starts with it, or it occurs in the type, the queue, the name or the error

  state:           scheduled, pending, running, retrying, completed, failed, cancelled
  queue: type: worker: name: meta.KEY:
                   exactly this, or what starts so when a * stands behind it
  id:              the start of the id
  priority:        0 to 9, critical, high, normal, low; also <3, >=5
  error:           text that occurs in it, large or small
  created: ended:  >T or <T, where T is a time in RFC 3339, a date such as 2026-11-23, or an age such as -1h
  retries: losses: >2, =0 and so on

Examples:
  state:failed queue:mail created:>-1h
  type:report* -worker:w1 retries:>2
  error:\"connection refused\" meta.tenant:acme
";

const FORMATTING: &str = "\
  -o table    aligned columns: the default
  -o wide     the same, with more of them
  -o json     one document, exactly as the API answers; lists have next_cursor
  -o jsonl    one JSON object a line
  -o name     ids only, one a line; the same as -q

On a terminal tables are cut to its width (--no-trunc does not), times are relative, and states have a symbol and a colour.
On a pipe nothing is cut, times are RFC 3339, and the columns are the same: scripts may count on their order.

  --time relative|local|utc     how times are spelled
  --color auto|always|never     goes before NO_COLOR, that before CLICOLOR_FORCE, that before TERM=dumb

What others named (types, queues, errors) is shown without the characters that could steer a terminal.
";

/// The command line with its examples.
pub(super) fn command() -> clap::Command {
    examples::added_to(Cli::command())
}

/// Prints it.
pub(super) fn run(args: &HelpArgs, output: Output) -> anyhow::Result<ExitCode> {
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    let text = match &*words {
        ["exit-codes"] => EXIT_CODES.to_owned(),
        ["query"] => QUERY.to_owned(),
        ["formatting"] => FORMATTING.to_owned(),
        ["environment"] => environment(),
        words => of_command(words)?,
    };
    output.print(&text)?;
    Ok(Exit::Done.into())
}

fn of_command(words: &[&str]) -> Result<String, CliError> {
    let mut root = command();
    root.build();
    let mut found = &mut root;
    for word in words {
        let Some(below) = found.find_subcommand_mut(word) else {
            let told = format!(
                "there is no command and no topic {}; topics are exit-codes, environment, query and formatting",
                words.join(" ")
            );
            return Err(CliError::new(Exit::Usage, told));
        };
        found = below;
    }
    Ok(found.render_long_help().to_string())
}

/// Every variable that an option reads, from the definition of the command line, and those that no option names.
fn environment() -> String {
    let mut variables = std::collections::BTreeMap::new();
    gather(&command(), "windlass", &mut variables);
    let mut text = "An option on the command line goes before its variable.\n\n".to_owned();
    for (name, (option, help)) in &variables {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name}\n      {option}: {help}");
    }
    text.push_str(
        "  WINDLASS_TOKEN\n      the token to show to servers, unless --token-file names a file\n",
    );
    text.push_str(
        "  NO_COLOR, CLICOLOR_FORCE, TERM\n      whether there is colour: see `windlass help formatting`\n",
    );
    text.push_str("  TZ\n      the time zone of --time local\n");
    text
}

type Variables = std::collections::BTreeMap<String, (String, String)>;

fn gather(command: &clap::Command, path: &str, out: &mut Variables) {
    for argument in command.get_arguments() {
        let (Some(name), Some(option)) = (argument.get_env(), argument.get_long()) else {
            continue;
        };
        let help = argument.get_help().map(ToString::to_string);
        let option = if argument.is_global_set() {
            format!("--{option}")
        } else {
            format!("--{option} of {path}")
        };
        out.entry(name.to_string_lossy().into_owned())
            .or_insert_with(|| (option, help.unwrap_or_default()));
    }
    for below in command.get_subcommands() {
        gather(below, &format!("{path} {}", below.get_name()), out);
    }
}
