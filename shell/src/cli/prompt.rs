//! Asking a person whether it is meant.

use std::io::{self, IsTerminal, Write};

use super::exit::{CliError, Exit};
use super::output::harmless;

/// Asks `question` on stderr, and goes on if the answer is yes. Where nobody can answer, nothing is done.
pub(super) fn confirm(question: &str) -> anyhow::Result<()> {
    let question = harmless(question);
    let (stdin, mut stderr) = (io::stdin(), io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        let told = format!(
            "{question}\n  hint: there is no terminal to ask on; say --yes if it is meant, or look first with --dry-run"
        );
        return Err(CliError::new(Exit::Usage, told).into());
    }
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(CliError::new(Exit::Failed, "nothing was done").into())
    }
}
