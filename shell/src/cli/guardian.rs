//! `windlass guardian`: what a worker starts to run its commands. No command of people, so the command line does not
//! know it: whatever is in the environment, and whatever the words behind it look like, they reach the guardian as
//! they are.

use std::ffi::OsString;
use std::process::ExitCode;

/// The word that makes the program a guardian.
const WORD: &str = "guardian";

/// The words for the guardian, if this process was started as one.
pub(super) fn words(args: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut args = args.into_iter().skip(1);
    (args.next()? == WORD).then(|| args.collect())
}

/// Runs until the worker is gone and every command with it. Called before any thread is started.
pub(super) fn run(words: Vec<OsString>) -> ExitCode {
    crate::executor::guardian::main(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_come_as_they_are() {
        let words_of = |line: &str| words(line.split(' ').map(OsString::from));
        let expected = ["exec", "12", "program", "-o", "--help"].map(OsString::from);
        assert_eq!(
            words_of("windlass guardian exec 12 program -o --help"),
            Some(expected.to_vec())
        );
        assert_eq!(words_of("windlass guardian"), Some(vec![]));
        assert_eq!(words_of("windlass task guardian"), None);
        assert_eq!(words_of("windlass"), None);
    }
}
