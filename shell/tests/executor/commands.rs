//! What a command says becomes the outcome.

use std::time::Instant;

use libtest_mimic::Trial;
use windlass::executor::{ERROR_LEN_MAX, ExecutorOptions, Handlers, RESULT_LEN_MAX};
use windlass_core::record::Json;
use windlass_core::retry::Verdict;
use windlass_core::worker::RunEvent;

use crate::rig::{Rig, start};
use crate::trials;

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        json_on_stdout_is_the_result_and_else_its_text,
        a_payload_reaches_stdin_to_the_byte,
        a_command_need_not_read_its_stdin,
        another_exit_code_fails_with_the_end_of_stderr,
        a_command_that_says_nothing_fails_with_how_it_ended,
        the_environment_names_task_fence_and_attempt,
        words_are_split_but_nothing_is_expanded,
        a_command_that_cannot_run_fails_at_once_and_is_named,
        too_much_on_stdout_is_killed_and_fails_at_once,
        a_large_result_within_the_limit_is_whole,
        output_that_is_no_text_does_no_harm,
        what_a_command_leaves_behind_does_not_delay_its_end,
        sigpipe_ends_commands_as_in_a_shell,
        thousands_of_short_commands_run_quickly,
    ]
}

async fn json_on_stdout_is_the_result_and_else_its_text() {
    for (said, result) in [
        ("{\"a\": 1.50}", "{\"a\": 1.50}"),
        ("7\n", "7"),
        ("hello world", "\"hello world\""),
        ("two\nlines\n", "\"two\\nlines\\n\""),
        ("[1,2", "\"[1,2\""),
        ("", "\"\""),
    ] {
        let mut rig = Rig::of_command(&format!("printf %s '{said}'"));
        assert_eq!(rig.result("run", "null").await, result, "{said}");
        rig.ends_silent().await;
    }
}

async fn a_payload_reaches_stdin_to_the_byte() {
    let mut handlers = Handlers::new();
    handlers.add_command("run", "cat").unwrap();
    let options = ExecutorOptions {
        result_len_max: RESULT_LEN_MAX,
        ..ExecutorOptions::default()
    };
    let mut rig = Rig::with(handlers, options);
    let large = format!("\"{}\"", "x".repeat(RESULT_LEN_MAX - 2));
    for payload in [
        "null",
        r#""\u0000\n\r\u2028""#,
        "{\"a\" :\n 1,\"a\":2}",
        &large,
    ] {
        let result = rig.result("run", payload).await;
        assert!(result == payload, "of {} bytes", payload.len());
    }
}

async fn a_command_need_not_read_its_stdin() {
    let large = format!("\"{}\"", "x".repeat(RESULT_LEN_MAX - 2));
    let mut rig = Rig::of_command("true");
    assert_eq!(rig.result("run", &large).await, "\"\"");
    let mut rig = Rig::of_command("sh -c 'exec <&-; echo 1'");
    assert_eq!(rig.result("run", &large).await, "1");
}

async fn another_exit_code_fails_with_the_end_of_stderr() {
    let mut rig = Rig::of_command("sh -c 'echo out; echo no luck >&2; exit 3'");
    let error = rig.failure("run", "null").await;
    assert_eq!(
        (&*error.message, error.verdict),
        ("no luck", Verdict::Retry)
    );
    let mut rig = Rig::of_command("sh -c 'seq 1 200000 >&2; exit 1'");
    let error = rig.failure("run", "null").await;
    assert!(error.message.ends_with("199999\n200000"));
    assert!(error.message.len() <= ERROR_LEN_MAX);
    assert!(error.message.len() > ERROR_LEN_MAX / 2);
}

async fn a_command_that_says_nothing_fails_with_how_it_ended() {
    let mut rig = Rig::of_command("sh -c 'exit 9'");
    let error = rig.failure("run", "null").await;
    assert_eq!(&*error.message, "the command exited with 9");
    let mut rig = Rig::of_command("sh -c 'kill -SEGV $$'");
    let error = rig.failure("run", "null").await;
    assert_eq!(&*error.message, "the command was killed by signal 11");
    assert_eq!(error.verdict, Verdict::Retry);
}

async fn the_environment_names_task_fence_and_attempt() {
    let mut rig = Rig::of_command(
        "sh -c 'printf \"%s \" $WINDLASS_TASK_ID $WINDLASS_FENCE $WINDLASS_ATTEMPT'",
    );
    let task = start(1, "run", "null").task;
    let result = rig.result("run", "null").await;
    assert_eq!(result, format!("\"{task} 77 2 \""));
}

async fn words_are_split_but_nothing_is_expanded() {
    let mut rig = Rig::of_command("printf '<%s>' a \"b  c\" '$HOME' * ; x\\ y ''");
    let result = rig.result("run", "null").await;
    assert_eq!(result, "\"<a><b  c><$HOME><*><;><x y><>\"");
}

async fn a_command_that_cannot_run_fails_at_once_and_is_named() {
    for command in ["windlass-no-such-command --flag", "/etc/passwd", "/"] {
        let mut rig = Rig::of_command(command);
        let error = rig.failure("run", "null").await;
        assert_eq!(error.verdict, Verdict::FailNow, "{}", error.message);
        let program = command.split(' ').next().unwrap();
        let start = format!("cannot run {program}: ");
        assert!(error.message.starts_with(&start), "{}", error.message);
    }
    let mut rig = Rig::of_command("sh -c 'exit 127'");
    assert_eq!(rig.failure("run", "null").await.verdict, Verdict::Retry);
}

async fn too_much_on_stdout_is_killed_and_fails_at_once() {
    let mut rig = Rig::of_command("yes");
    let error = rig.failure("run", "null").await;
    assert_eq!(error.verdict, Verdict::FailNow);
    assert!(error.message.contains("262144"), "{}", error.message);
    let mut rig = Rig::of_command("sh -c 'head -c 262145 /dev/zero'");
    let error = rig.failure("run", "null").await;
    assert_eq!(error.verdict, Verdict::FailNow);
    rig.ends_silent().await;
}

async fn a_large_result_within_the_limit_is_whole() {
    let mut rig = Rig::of_command("sh -c 'seq 1 35000'");
    let result: String = Json::parse(rig.result("run", "null").await)
        .unwrap()
        .to()
        .unwrap();
    assert!(result.starts_with("1\n2\n") && result.ends_with("34999\n35000\n"));
    assert_eq!(result.lines().count(), 35_000);
}

async fn output_that_is_no_text_does_no_harm() {
    let mut rig = Rig::of_command("printf 'a\\377b\\0c'");
    assert_eq!(rig.result("run", "null").await, "\"a\u{fffd}b\\u0000c\"");
    let mut rig = Rig::of_command("sh -c 'printf \"bad \\377\\n\" >&2; exit 1'");
    assert_eq!(&*rig.failure("run", "null").await.message, "bad \u{fffd}");
}

async fn what_a_command_leaves_behind_does_not_delay_its_end() {
    for behind in [
        "sleep 1000",
        "setsid sleep 1000",
        "setsid env -i sleep 1000",
    ] {
        let mut rig = Rig::of_command(&format!("sh -c '{behind} & echo 1'"));
        assert_eq!(rig.result("run", "null").await, "1", "{behind}");
    }
}

async fn sigpipe_ends_commands_as_in_a_shell() {
    let mut rig = Rig::of_command("sh -c 'yes | head -n 1'");
    assert_eq!(rig.result("run", "null").await, "\"y\\n\"");
}

async fn thousands_of_short_commands_run_quickly() {
    const COUNT: usize = 1_000;
    let mut rig = Rig::of_command("sha256sum");
    let began = Instant::now();
    let mut started = 0;
    let mut ended = 0;
    while ended < COUNT {
        while started < COUNT && started - ended < 16 {
            rig.start("run", "\"x\"");
            started += 1;
        }
        let (run, event) = rig.next().await;
        assert!(matches!(event, RunEvent::Completed(_)), "{run:?} {event:?}");
        ended += 1;
    }
    let rate = COUNT as f64 / began.elapsed().as_secs_f64();
    eprintln!("{rate:.0} commands a second");
    assert!(rate > 20.0, "only {rate:.0} commands a second");
    rig.ends_silent().await;
}
