//! `windlass completions` and `windlass man`: made from the definition of the command line itself.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use clap_complete::Shell;

use super::exit::Exit;
use super::help;
use super::output::{self, Output};

/// For which shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Prints the completions of a shell.
pub(super) fn completions(args: &CompletionsArgs, output: Output) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut help::command(), "windlass", &mut script);
    output.print(&String::from_utf8(script)?)?;
    Ok(Exit::Done.into())
}

/// Where to.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write the pages of all commands into this directory, which must be there
    pub dir: Option<PathBuf>,
}

/// Prints the manual page of the program, or writes those of all its commands.
pub(super) fn man(args: &ManArgs, output: Output) -> anyhow::Result<ExitCode> {
    let mut command = help::command().disable_help_subcommand(true);
    command.build();
    match &args.dir {
        Some(dir) => write_pages(&command, dir)?,
        None => output.print(&page(&command)?)?,
    }
    Ok(Exit::Done.into())
}

fn page(command: &clap::Command) -> anyhow::Result<String> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    Ok(String::from_utf8(text)?)
}

fn write_pages(command: &clap::Command, dir: &Path) -> anyhow::Result<()> {
    // `windlass task list` is windlass-task-list(1).
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    let path = dir.join(format!("{name}.1"));
    let text = page(command)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    output::note(&path.display().to_string());
    let shown = |it: &&clap::Command| !it.is_hide_set() && it.get_name() != "help";
    for below in command.get_subcommands().filter(shown) {
        write_pages(below, dir)?;
    }
    Ok(())
}
