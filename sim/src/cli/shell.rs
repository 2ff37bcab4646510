//! `windlass-sim shell`: the shell's real driver loop, in a binary that was built for it.

use windlass_sim::madsim::{self, Options};
use windlass_sim::report::Verdict;

use super::{Output, SeedRange};

#[derive(Debug, clap::Args)]
pub(crate) struct Shell {
    /// One seed, in this process.
    #[arg(long, required_unless_present = "seeds", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Several seeds, each in a process of its own; the end is excluded.
    #[arg(long, value_name = "A..B")]
    seeds: Option<SeedRange>,
    /// Tell everything that happens, on standard error.
    #[arg(long)]
    trace: bool,
    /// Run in a second process as well, and compare.
    #[arg(long)]
    twice: bool,
    /// How to print what happened.
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
}

impl Shell {
    pub(crate) fn run(self) -> anyhow::Result<Verdict> {
        let seeds = match (self.seed, self.seeds) {
            (Some(seed), _) => seed..seed.saturating_add(1),
            (None, Some(range)) => range.0,
            (None, None) => unreachable!("the command line has one or the other"),
        };
        let options = Options {
            seeds,
            trace: self.trace,
            twice: self.twice,
            json: self.output == Output::Json,
        };
        Ok(madsim::command(&options)?)
    }
}
