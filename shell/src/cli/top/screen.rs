//! The terminal: taken, drawn on, and given back whatever happens.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};

use super::app::{App, Effect, Event, Key};
use super::feed::{self, Shown};
use super::{Tab, keys, view};
use crate::cli::exit::Exit;
use crate::cli::servers::Client;

/// How long the reader of keys waits before it looks whether it is still needed.
const KEY_WAIT: Duration = Duration::from_millis(100);
/// How often the screen is drawn anew though nothing happened: times are told as seen from now.
const DRAW_EVERY: Duration = Duration::from_secs(1);
/// So many events may wait for being handled.
const EVENTS_MAX: usize = 64;
/// The size of a frame that is printed.
const PRINTED: (u16, u16) = (110, 40);

/// One frame as text.
pub(super) fn as_text(app: &App) -> anyhow::Result<String> {
    let width = app.look.width.and_then(|width| u16::try_from(width).ok());
    let size = (width.unwrap_or(PRINTED.0), PRINTED.1);
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1))?;
    terminal.draw(|frame| view::draw(app, frame))?;
    let buffer = terminal.backend().buffer();
    let mut lines: Vec<String> = Vec::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        let mut x = 0;
        while let Some(cell) = buffer.cell((x, y)) {
            line.push_str(cell.symbol());
            // A wide character takes the cells behind it, which hold nothing of their own.
            x += u16::try_from(crate::cli::output::width(cell.symbol()).max(1)).unwrap_or(1);
        }
        lines.push(line.trim_end().to_owned());
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    Ok(lines.join("\n") + "\n")
}

/// What ends a process from outside, by which the terminal must not stay as it is.
struct Signals([(Signal, u8); 3]);

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self([
            (listen(SignalKind::hangup())?, 1),
            (listen(SignalKind::interrupt())?, 2),
            (listen(SignalKind::terminate())?, 15),
        ]))
    }

    /// The exit code of a process that such a signal ended.
    async fn next(&mut self) -> ExitCode {
        let [hang_up, interrupt, terminate] = &mut self.0;
        let number = tokio::select! { biased;
            _ = hang_up.0.recv() => hang_up.1,
            _ = interrupt.0.recv() => interrupt.1,
            _ = terminate.0.recv() => terminate.1,
        };
        ExitCode::from(128 + number)
    }
}

/// Gives the terminal back.
struct Taken;

impl Drop for Taken {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Reads keys on a thread of its own, for as long as this lives.
struct Keys {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Keys {
    fn read(events: mpsc::Sender<Event>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let read = match event::poll(KEY_WAIT) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                // A terminal that cannot be read is gone.
                let event = read.map_or(Some(Event::Key(Key::Interrupt)), |it| keys::read(&it));
                if event.is_some_and(|event| events.blocking_send(event).is_err()) {
                    return;
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say, and the terminal is given back either way.
            let _ = thread.join();
        }
    }
}

/// Draws, until told to end.
pub(super) async fn run(mut app: App, client: Arc<Client>) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let (events, received) = mpsc::channel(EVENTS_MAX);
    let (shown, watched) = watch::channel(shown(&app));
    let changed = Arc::new(Notify::new());
    let loading = feed::keep_loading(
        Arc::clone(&client),
        watched,
        Arc::clone(&changed),
        events.clone(),
    );
    tokio::spawn(loading);
    // Also sees to it that a panic gives the terminal back before it tells of itself.
    let mut terminal = ratatui::try_init().context("cannot take the terminal")?;
    let _taken = Taken;
    let _keys = Keys::read(events.clone());
    // Dropped before the reader of keys, which may be waiting to be heard.
    let mut received = received;
    loop {
        app.look.now = Timestamp::now();
        terminal.draw(|frame| view::draw(&app, frame))?;
        let event = tokio::select! { biased;
            code = signals.next() => return Ok(code),
            event = received.recv() => event.unwrap_or(Event::Redraw),
            () = tokio::time::sleep(DRAW_EVERY) => Event::Redraw,
        };
        app.look.now = Timestamp::now();
        let mut effects = app.handle(event);
        // What came together is drawn together.
        while let Ok(event) = received.try_recv() {
            effects.extend(app.handle(event));
        }
        if effects.contains(&Effect::Quit) {
            return Ok(Exit::Done.into());
        }
        for effect in effects {
            perform(effect, &app, &client, &events, &shown);
        }
    }
}

fn shown(app: &App) -> Shown {
    Shown {
        query: app.query.clone(),
        tasks: app.tab == Tab::Tasks,
    }
}

fn perform(
    effect: Effect,
    app: &App,
    client: &Arc<Client>,
    events: &mpsc::Sender<Event>,
    watched: &watch::Sender<Shown>,
) {
    if effect == Effect::Load {
        // Also when nothing of it is new: then all is asked for once more.
        watched.send_replace(shown(app));
        return;
    }
    let (client, events, look) = (Arc::clone(client), events.clone(), app.look);
    tokio::spawn(async move {
        let told = match effect {
            Effect::Quit | Effect::Load => return,
            Effect::Show(id) => feed::show(&client, &id, &look).await,
            Effect::Why(id) => feed::why(&client, &id, &look).await,
            Effect::Act(action) => feed::act(&client, &action).await,
        };
        // Without a screen there is nobody to tell.
        let _ = events.send(told).await;
    });
}
