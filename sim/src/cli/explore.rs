//! `windlass-sim explore`: every fault at every call of small stories, and every two of them.

use anyhow::{anyhow, bail};
use windlass_sim::explore::Story;
use windlass_sim::report::Verdict;

use super::pool;
use super::say::say;

#[derive(Debug, clap::Args)]
pub(crate) struct Explore {
    /// Only these stories.
    stories: Vec<String>,
    /// Only one fault at a time.
    #[arg(long)]
    singles: bool,
    /// How many runs happen at the same time; as many as there are cores by default.
    #[arg(long, short)]
    jobs: Option<usize>,
}

impl Explore {
    pub(crate) fn run(self) -> anyhow::Result<Verdict> {
        let all = Story::all();
        let known: Vec<&str> = all.iter().map(|story| story.name).collect();
        if let Some(name) = self
            .stories
            .iter()
            .find(|name| !known.contains(&name.as_str()))
        {
            bail!(
                "no story is called '{name}'; there are: {}",
                known.join(", ")
            );
        }
        let mut verdict = Verdict::Passed;
        for story in &all {
            if self.stories.is_empty() || self.stories.iter().any(|name| name == story.name) {
                verdict = verdict.max(self.explore(story)?);
            }
        }
        Ok(verdict)
    }

    fn explore(&self, story: &Story) -> anyhow::Result<Verdict> {
        let plans = story
            .plans(!self.singles)
            .map_err(|error| anyhow!("{}: {error}", story.name))?;
        let count = plans.iter().filter(|plan| plan.len() == 1).count();
        let (mut failed, mut missed) = (0_u64, 0_u64);
        let job = |nth: u64| story.play(&plans[usize::try_from(nth).expect("an index fits")]);
        let jobs = self.jobs.unwrap_or_else(pool::jobs_default);
        pool::in_order(0..plans.len() as u64, jobs, job, |nth, told| {
            match told {
                Ok(told) => missed += u64::from(!told.hit),
                Err(what) => {
                    failed += 1;
                    if failed <= 20 {
                        say(format_args!(
                            "FAILED {}: {:?}: {what}",
                            story.name,
                            plans[usize::try_from(nth).expect("an index fits")]
                        ));
                    }
                }
            }
            true
        });
        say(format_args!(
            "{:<12} {count} single faults, {} runs, {missed} in which the second fault had no call left, {failed} failed",
            story.name,
            plans.len(),
        ));
        Ok(if failed == 0 {
            Verdict::Passed
        } else {
            Verdict::Safety
        })
    }
}
