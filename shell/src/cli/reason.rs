//! Why an operator does something: for the audit log.

use clap::Args;

use super::servers::Call;

/// The header that carries it.
const HEADER: &str = "x-windlass-reason";
/// The longest reason, in characters.
const REASON_MAX: usize = 256;

/// Why it is done.
#[derive(Debug, Clone, Args)]
pub struct ReasonArgs {
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: Option<String>,
}

impl ReasonArgs {
    /// `call`, with the reason if there is one.
    pub(super) fn on(&self, call: Call) -> Call {
        match &self.reason {
            Some(reason) => call.header(HEADER, reason.clone()),
            None => call,
        }
    }
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > REASON_MAX {
        return Err(format!("must have 1 to {REASON_MAX} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("must be one line, without control characters".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_a_bearable_length() {
        assert_eq!(reason(" it hangs "), Ok("it hangs".to_owned()));
        assert!(reason(&"é".repeat(REASON_MAX)).is_ok());
        for wrong in ["", "  ", "a\nb", &"x".repeat(REASON_MAX + 1)] {
            assert!(reason(wrong).is_err(), "{wrong}");
        }
    }
}
