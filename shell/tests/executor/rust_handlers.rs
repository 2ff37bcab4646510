//! Handlers in Rust, and the stock types.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde::{Deserialize, Serialize};
use windlass::executor::{ExecutorOptions, Handlers, TaskError};
use windlass_core::ids::{Attempt, Fence, OpId, Revision};
use windlass_core::record::{Json, StopReason};
use windlass_core::retry::Verdict;
use windlass_core::worker::RunEvent;

use crate::rig::{Rig, start};
use crate::trials;

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        a_typed_payload_becomes_a_typed_result,
        a_payload_of_another_shape_fails_at_once_and_says_why,
        a_panic_fails_the_attempt_and_the_worker_lives,
        a_panic_before_the_first_await_fails_the_attempt,
        a_failure_carries_its_verdict,
        a_stopped_handler_hears_the_reason_and_ends_stopped,
        a_handler_that_succeeds_after_its_stop_has_completed,
        a_run_dropped_with_its_runtime_still_ends_once,
        progress_comes_before_the_end_and_never_after,
        a_result_over_the_limit_fails_at_once,
        the_context_tells_what_the_worker_knows,
        an_unknown_type_fails_and_may_be_retried_elsewhere,
        noop_and_echo_answer_within_the_start,
        noops_cost_next_to_nothing,
        sleep_sleeps_and_stops,
        fail_fails_as_often_as_it_is_told,
        stopping_what_has_ended_does_nothing,
    ]
}

#[derive(Deserialize)]
struct Email {
    to: String,
    copies: u32,
}

#[derive(Serialize)]
struct Sent {
    line: String,
}

fn with<R, F, Fut>(handler: F) -> Rig
where
    R: Serialize,
    F: Fn(Json, windlass::executor::Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, TaskError>> + Send + 'static,
{
    let mut handlers = Handlers::new();
    handlers.add("run", handler).unwrap();
    Rig::new(handlers)
}

fn mailer() -> Rig {
    let mut handlers = Handlers::new();
    handlers
        .add("email", |email: Email, _ctx| async move {
            let line = format!("{} x{}", email.to, email.copies);
            Ok(Sent { line })
        })
        .unwrap();
    Rig::new(handlers)
}

async fn a_typed_payload_becomes_a_typed_result() {
    let mut rig = mailer();
    let result = rig.result("email", r#"{"to":"a@b","copies":2}"#).await;
    assert_eq!(result, r#"{"line":"a@b x2"}"#);
    rig.ends_silent().await;
}

async fn a_payload_of_another_shape_fails_at_once_and_says_why() {
    let mut rig = mailer();
    for (payload, reason) in [
        (
            r#"{"to":"a@b","copies":-1}"#,
            "invalid value: integer `-1`, expected u32",
        ),
        (r#"{"to":"a@b"}"#, "missing field `copies`"),
        ("null", "invalid type: null"),
    ] {
        let error = rig.failure("email", payload).await;
        assert_eq!(error.verdict, Verdict::FailNow);
        for part in ["payload of email", "Email", reason] {
            assert!(error.message.contains(part), "{}", error.message);
        }
    }
}

async fn a_panic_fails_the_attempt_and_the_worker_lives() {
    let mut rig = with(|_, _| async {
        tokio::task::yield_now().await;
        if true {
            panic!("at the disco");
        }
        Ok(())
    });
    let error = rig.failure("run", "null").await;
    assert_eq!(error.verdict, Verdict::Retry);
    assert_eq!(&*error.message, "the handler panicked: at the disco");
    assert_eq!(rig.result("noop", "null").await, "null");
    assert_eq!(rig.executor.live(), 0);
    rig.ends_silent().await;
}

async fn a_panic_before_the_first_await_fails_the_attempt() {
    #[expect(clippy::manual_assert, reason = "it must return a future as well")]
    let mut rig = with(|payload: Json, _| {
        if payload == Json::null() {
            panic!("number {}", 7);
        }
        async { Ok(()) }
    });
    let error = rig.failure("run", "null").await;
    assert_eq!(&*error.message, "the handler panicked: number 7");
}

async fn a_failure_carries_its_verdict() {
    let mut rig = with(|payload: Json, _| async move {
        let number: u32 = payload.as_str().parse()?;
        let wait = Duration::from_secs(9);
        match number {
            0 => Err(TaskError::fail("never")),
            1 => Err(TaskError::retry_after("later", wait)),
            other => Ok(other),
        }
    });
    assert_eq!(rig.failure("run", "0").await.verdict, Verdict::FailNow);
    let later = rig.failure("run", "1").await.verdict;
    assert!(matches!(later, Verdict::RetryAfter(wait) if wait.get() == 9_000));
    let error = rig.failure("run", "true").await;
    assert_eq!(error.verdict, Verdict::Retry);
    assert_eq!(&*error.message, "invalid digit found in string");
    assert_eq!(rig.result("run", "2").await, "2");
}

async fn a_stopped_handler_hears_the_reason_and_ends_stopped() {
    let mut rig = with(|_, ctx| async move {
        ctx.cancelled().await;
        assert!(ctx.is_cancelled() && ctx.token().is_cancelled());
        let reason = ctx.reason().expect("it is set before the token fires");
        ctx.progress(Json::string(&format!("{reason:?}")));
        Err::<(), _>(TaskError::retry("interrupted"))
    });
    let run = rig.start("run", "null");
    rig.executor.stop(run, StopReason::TimeOut);
    rig.executor.stop(run, StopReason::Cancel);
    let progress = RunEvent::Progress(Json::string("TimeOut"));
    assert_eq!(rig.next().await, (run, progress));
    assert_eq!(rig.next().await, (run, RunEvent::Stopped));
    rig.ends_silent().await;
}

async fn a_handler_that_succeeds_after_its_stop_has_completed() {
    let mut rig = with(|_, ctx| async move {
        ctx.cancelled().await;
        Ok("saved")
    });
    let run = rig.start("run", "null");
    rig.executor.stop(run, StopReason::Shutdown);
    let saved = RunEvent::Completed(Json::string("saved"));
    assert_eq!(rig.next().await, (run, saved));
}

async fn a_run_dropped_with_its_runtime_still_ends_once() {
    let (rig, ended) = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let entered = runtime.enter();
        let mut rig = Rig::new(Handlers::new());
        drop(entered);
        let run = rig.start("sleep", r#"{"ms":1000000}"#);
        runtime.shutdown_timeout(Duration::from_secs(10));
        (rig, run)
    })
    .join()
    .unwrap();
    let mut rig = rig;
    let (told, event) = rig.next().await;
    assert_eq!(told, ended);
    assert!(matches!(&event, RunEvent::Failed(error) if error.verdict == Verdict::Retry));
    rig.ends_silent().await;
}

async fn progress_comes_before_the_end_and_never_after() {
    let (sender, mut contexts) = tokio::sync::mpsc::unbounded_channel();
    let mut rig = with(move |_, ctx| {
        let sender = sender.clone();
        async move {
            ctx.progress(Json::string("half"));
            sender.send(ctx).unwrap();
            Ok(())
        }
    });
    let run = rig.start("run", "null");
    assert_eq!(
        rig.next().await,
        (run, RunEvent::Progress(Json::string("half")))
    );
    assert_eq!(rig.next().await, (run, RunEvent::Completed(Json::null())));
    contexts
        .recv()
        .await
        .unwrap()
        .progress(Json::string("late"));
    drop(contexts);
    rig.ends_silent().await;
}

async fn a_result_over_the_limit_fails_at_once() {
    let mut handlers = Handlers::new();
    handlers
        .add("run", |len: usize, _| async move { Ok("x".repeat(len)) })
        .unwrap();
    let options = ExecutorOptions {
        result_len_max: 1_000,
        ..ExecutorOptions::default()
    };
    let mut rig = Rig::with(handlers, options);
    assert_eq!(rig.result("run", "998").await.len(), 1_000);
    let error = rig.failure("run", "999").await;
    assert_eq!(error.verdict, Verdict::FailNow);
    assert!(error.message.contains("1001 bytes"), "{}", error.message);
    let echo = rig.failure("echo", &"7".repeat(1_001)).await;
    assert_eq!(echo.verdict, Verdict::FailNow);
}

async fn the_context_tells_what_the_worker_knows() {
    let mut rig = with(|_, ctx| async move {
        assert_eq!(ctx.kind().as_str(), "run");
        assert_eq!(ctx.queue().as_str(), "default");
        assert_eq!(ctx.attempt(), Attempt(2));
        assert_eq!(ctx.fence(), Fence(Revision(77)));
        assert_eq!(ctx.metadata()["colour"], "blue");
        assert_eq!(ctx.timeout(), Duration::from_secs(300));
        assert_eq!((ctx.name(), ctx.reason()), (None, None));
        Ok(ctx.task().to_string())
    });
    let task = start(1, "run", "null").task;
    assert_eq!(rig.result("run", "null").await, format!("\"{task}\""));
}

async fn an_unknown_type_fails_and_may_be_retried_elsewhere() {
    let mut rig = Rig::new(Handlers::new());
    let error = rig.failure("nonesuch", "null").await;
    assert_eq!(error.verdict, Verdict::Retry);
    assert!(error.message.contains("nonesuch"));
}

async fn noop_and_echo_answer_within_the_start() {
    let mut rig = Rig::new(Handlers::new());
    assert_eq!(rig.result("noop", "[1]").await, "null");
    let spelled = r#"{"b":1.50, "a":"\u0000"}"#;
    assert_eq!(rig.result("echo", spelled).await, spelled);
    assert_eq!(rig.executor.live(), 0);
}

async fn noops_cost_next_to_nothing() {
    const COUNT: u64 = 200_000;
    let mut rig = Rig::new(Handlers::new());
    let starts: Vec<_> = (1..=COUNT).map(|run| start(run, "noop", "null")).collect();
    let began = Instant::now();
    starts
        .into_iter()
        .for_each(|start| rig.executor.start(start));
    for _ in 0..COUNT {
        assert!(matches!(rig.next().await, (_, RunEvent::Completed(_))));
    }
    let rate = COUNT as f64 / began.elapsed().as_secs_f64();
    eprintln!("{rate:.0} noops a second");
    assert!(rate > 5_000.0, "only {rate:.0} noops a second");
}

async fn sleep_sleeps_and_stops() {
    let mut rig = Rig::new(Handlers::new());
    assert_eq!(rig.result("sleep", r#"{"ms":1}"#).await, "null");
    let run = rig.start("sleep", r#"{"ms":18446744073709551615}"#);
    rig.executor.stop(run, StopReason::Cancel);
    assert_eq!(rig.next().await, (run, RunEvent::Stopped));
    for bad in ["null", r#"{"ms":-1}"#, r#"{"ms":1,"x":2}"#] {
        assert_eq!(rig.failure("sleep", bad).await.verdict, Verdict::FailNow);
    }
}

async fn fail_fails_as_often_as_it_is_told() {
    let mut rig = Rig::new(Handlers::new());
    let error = rig.failure("fail", r#"{"times":2}"#).await;
    assert_eq!(error.verdict, Verdict::Retry, "this is attempt 2");
    assert_eq!(rig.result("fail", r#"{"times":1}"#).await, "null");
    let error = rig.failure("fail", "{}").await;
    assert_eq!(error.verdict, Verdict::FailNow);
}

async fn stopping_what_has_ended_does_nothing() {
    let mut rig = Rig::new(Handlers::new());
    assert_eq!(rig.result("sleep", r#"{"ms":0}"#).await, "null");
    rig.executor.stop(OpId(1), StopReason::Cancel);
    rig.executor.stop(OpId(999), StopReason::Fenced);
    rig.ends_silent().await;
}
