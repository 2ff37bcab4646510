//! `windlass top`: the cluster on a full screen, live, and the keys to act on it.
//!
//! What is shown and what keys do is decided by [`app::App`], which knows no terminal, no clock and no server.

mod app;
mod data;
mod feed;
mod keys;
mod screen;
mod view;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use self::app::App;
use super::exit::{CliError, Exit};
use super::output::Output;
use super::servers::Client;

/// How it starts.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Print what would be shown, once, as text
    #[arg(long)]
    pub once: bool,
    /// What is shown first
    #[arg(long, value_enum, default_value = "overview")]
    pub tab: Tab,
    /// Show only the tasks that this query matches: see `windlass help query`
    #[arg(short, long, value_name = "QUERY", allow_hyphen_values = true)]
    pub filter: Option<String>,
}

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tab {
    /// Counts, rates, room, and the busiest queues.
    Overview,
    /// The queues.
    Queues,
    /// The nodes.
    Nodes,
    /// The tasks, newest first.
    Tasks,
}

impl Tab {
    const ALL: [Self; 4] = [Self::Overview, Self::Queues, Self::Nodes, Self::Tasks];

    fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Queues => "Queues",
            Self::Nodes => "Nodes",
            Self::Tasks => "Tasks",
        }
    }

    /// The tab so many places further on, round and round.
    fn further(self, places: usize) -> Self {
        let at = Self::ALL.iter().position(|tab| *tab == self).unwrap_or(0);
        Self::ALL[(at + places) % Self::ALL.len()]
    }
}

/// Shows it until it is told to end, or once.
pub(super) async fn run(
    args: &TopArgs,
    client: Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let mut app = App::new(
        args.tab,
        args.filter.clone().unwrap_or_default(),
        output.refreshed(),
    );
    if args.once {
        for event in feed::load(&client, &app.query, true).await? {
            app.handle(event);
        }
        output.print(&screen::as_text(&app)?)?;
        return Ok(Exit::Done.into());
    }
    if !output.look().terminal {
        let told = "there is no terminal to draw on\n  hint: --once prints one frame as text";
        return Err(CliError::new(Exit::Usage, told).into());
    }
    screen::run(app, Arc::new(client)).await
}
