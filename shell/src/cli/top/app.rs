//! What is on the screen, and what keys and news do to it. Pure: what must be done outside is returned.

use serde_json::Value;

use super::Tab;
use super::data::Data;
use crate::cli::output::{Look, cell, harmless};

/// What a person pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Tab,
    BackTab,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Interrupt,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    Key(Key),
    /// The terminal has another size, or some time has passed.
    Redraw,
    Stats(Value),
    Queues(Vec<Value>),
    Nodes(Vec<Value>),
    /// The newest tasks that this query matches.
    Tasks {
        query: String,
        tasks: Vec<Value>,
    },
    /// What was asked about one thing.
    Told {
        title: String,
        lines: Vec<String>,
    },
    /// An action was done.
    Done(String),
    /// Something did not work.
    Failed(String),
    /// What is shown could not be asked for, so that it is old.
    Lost(String),
    /// Whether changes come by themselves.
    Live(bool),
}

/// What must be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    Quit,
    /// What is shown now depends on other data.
    Load,
    /// Tell everything about a task.
    Show(String),
    /// Tell why a task waits.
    Why(String),
    Act(Action),
}

/// What changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Pause(String),
    Resume(String),
    Cancel(String),
    Rerun(String),
    Drain(String),
}

impl Action {
    /// As a question, or in a message.
    pub(super) fn told(&self) -> String {
        let (verb, name) = match self {
            Self::Pause(queue) => ("pause the queue", queue),
            Self::Resume(queue) => ("resume the queue", queue),
            Self::Cancel(task) => ("cancel the task", task),
            Self::Rerun(task) => ("run the task again:", task),
            Self::Drain(node) => ("drain the worker", node),
        };
        format!("{verb} {}", harmless(name))
    }
}

/// What keys are taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    /// Walking through lists.
    Browse,
    /// Typing a query.
    Filter(String),
    /// Saying whether an action is meant.
    Confirm(Action),
    /// Reading, from this line on.
    Read {
        title: String,
        lines: Vec<String>,
        from: usize,
    },
}

/// The whole state.
#[derive(Debug, Clone)]
pub(super) struct App {
    pub(super) tab: Tab,
    pub(super) mode: Mode,
    pub(super) data: Data,
    /// Which line of each tab's list is chosen.
    selected: [usize; 4],
    /// Which tasks are shown.
    pub(super) query: String,
    /// What was last done, or what did not work.
    pub(super) message: Option<(String, bool)>,
    /// Why what is shown is old, if it is.
    pub(super) lost: Option<String>,
    pub(super) live: bool,
    pub(super) look: Look,
}

const HELP: &str = "\
1-4, Tab      overview, queues, nodes, tasks
↑ ↓ j k       choose; PgUp, PgDn, g, G: further
Enter         everything about what is chosen
w             why the chosen task waits
/             only tasks that match a query; empty: all
p             pause or resume the chosen queue
d             drain the chosen worker
c             cancel the chosen task
r             run the chosen task again
? Esc         this help; back
q             quit";

/// How far PgUp and PgDn go.
const PAGE: usize = 10;

impl App {
    /// The state in the beginning.
    pub(super) fn new(tab: Tab, query: String, look: Look) -> Self {
        Self {
            tab,
            mode: Mode::Browse,
            data: Data::default(),
            selected: [0; 4],
            query,
            message: None,
            lost: None,
            live: false,
            look,
        }
    }

    /// Applies what happened, and returns what must be done.
    pub(super) fn handle(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Key(Key::Interrupt) => return vec![Effect::Quit],
            Event::Key(key) => return self.press(key),
            Event::Redraw => {}
            Event::Stats(stats) => {
                self.lost = None;
                self.data.count(stats, self.look.now);
            }
            Event::Queues(queues) => self.data.queues = queues,
            Event::Nodes(nodes) => self.data.nodes = nodes,
            // An answer that was overtaken by another query is of no use.
            Event::Tasks { query, tasks } if query == self.query => self.data.tasks = tasks,
            Event::Tasks { .. } => {}
            Event::Told { title, lines } => self.read(title, lines),
            Event::Done(told) => {
                self.message = Some((told, true));
                return vec![Effect::Load];
            }
            Event::Failed(told) => self.message = Some((told, false)),
            Event::Lost(told) => self.lost = Some(told),
            Event::Live(live) => self.live = live,
        }
        Vec::new()
    }

    /// The list of the tab that is shown.
    pub(super) fn list(&self) -> &[Value] {
        match self.tab {
            Tab::Overview => &[],
            Tab::Queues => &self.data.queues,
            Tab::Nodes => &self.data.nodes,
            Tab::Tasks => &self.data.tasks,
        }
    }

    /// Which line of it is chosen.
    pub(super) fn line(&self) -> usize {
        let last = self.list().len().saturating_sub(1);
        self.selected[self.tab as usize].min(last)
    }

    fn chosen(&self) -> Option<&Value> {
        self.list().get(self.line())
    }

    fn press(&mut self, key: Key) -> Vec<Effect> {
        match std::mem::replace(&mut self.mode, Mode::Browse) {
            Mode::Browse => {
                self.message = None;
                self.browse(key)
            }
            Mode::Filter(text) => self.edit(text, key),
            Mode::Confirm(action) if matches!(key, Key::Char('y' | 'Y')) => {
                vec![Effect::Act(action)]
            }
            Mode::Confirm(_) => {
                self.message = Some(("nothing was done".to_owned(), true));
                Vec::new()
            }
            Mode::Read { title, lines, from } => {
                self.page(title, lines, from, key);
                Vec::new()
            }
        }
    }

    fn browse(&mut self, key: Key) -> Vec<Effect> {
        match key {
            Key::Char('q') => return vec![Effect::Quit],
            Key::Char('1') => return self.show(Tab::Overview),
            Key::Char('2') => return self.show(Tab::Queues),
            Key::Char('3') => return self.show(Tab::Nodes),
            Key::Char('4') => return self.show(Tab::Tasks),
            Key::Tab => return self.show(self.tab.further(1)),
            Key::BackTab => return self.show(self.tab.further(3)),
            Key::Char('/') if self.tab == Tab::Tasks => {
                self.mode = Mode::Filter(self.query.clone())
            }
            Key::Char('?') => {
                self.read("Keys".to_owned(), HELP.lines().map(str::to_owned).collect());
            }
            Key::Char(letter @ ('p' | 'c' | 'r' | 'd')) => self.propose(letter),
            Key::Char('w') if self.tab == Tab::Tasks => {
                return self.about(Effect::Why);
            }
            Key::Enter if self.tab == Tab::Tasks => return self.about(Effect::Show),
            Key::Enter => self.read_chosen(),
            Key::Char(_)
            | Key::Escape
            | Key::Backspace
            | Key::Up
            | Key::Down
            | Key::PageUp
            | Key::PageDown
            | Key::Home
            | Key::End
            | Key::Interrupt => {
                let last = self.list().len().saturating_sub(1);
                self.selected[self.tab as usize] = moved(self.line(), key, last);
            }
        }
        Vec::new()
    }

    fn show(&mut self, tab: Tab) -> Vec<Effect> {
        self.tab = tab;
        vec![Effect::Load]
    }

    fn about(&self, effect: fn(String) -> Effect) -> Vec<Effect> {
        let id = self.chosen().and_then(|task| task["id"].as_str());
        id.map(|id| effect(id.to_owned())).into_iter().collect()
    }

    /// Asks whether the action of this key is meant, if there is something to do it to.
    fn propose(&mut self, letter: char) {
        let Some(chosen) = self.chosen() else { return };
        let name = |field: &str| chosen[field].as_str().unwrap_or_default().to_owned();
        let action = match (self.tab, letter) {
            (Tab::Queues, 'p') if chosen["paused"] == true => Action::Resume(name("name")),
            (Tab::Queues, 'p') => Action::Pause(name("name")),
            (Tab::Nodes, 'd') => Action::Drain(name("id")),
            (Tab::Tasks, 'c') => Action::Cancel(name("id")),
            (Tab::Tasks, 'r') => Action::Rerun(name("id")),
            (Tab::Overview | Tab::Queues | Tab::Nodes | Tab::Tasks, _) => return,
        };
        self.mode = Mode::Confirm(action);
    }

    fn edit(&mut self, mut text: String, key: Key) -> Vec<Effect> {
        match key {
            Key::Enter => {
                text.trim().clone_into(&mut self.query);
                self.selected[Tab::Tasks as usize] = 0;
                self.message = None;
                return vec![Effect::Load];
            }
            Key::Escape => return Vec::new(),
            Key::Backspace => {
                text.pop();
            }
            Key::Char(typed) => text.push(typed),
            Key::Tab
            | Key::BackTab
            | Key::Up
            | Key::Down
            | Key::PageUp
            | Key::PageDown
            | Key::Home
            | Key::End
            | Key::Interrupt => {}
        }
        self.mode = Mode::Filter(text);
        Vec::new()
    }

    fn read(&mut self, title: String, lines: Vec<String>) {
        self.mode = Mode::Read {
            title,
            lines,
            from: 0,
        };
    }

    fn read_chosen(&mut self) {
        let Some(chosen) = self.chosen() else { return };
        let title = cell(
            chosen
                .get("name")
                .or_else(|| chosen.get("id"))
                .unwrap_or(chosen),
        );
        let fields = chosen.as_object().into_iter().flatten();
        let lines = fields.map(|(name, value)| format!("{name:<14}{}", cell(value)));
        let lines = lines.collect();
        self.read(title, lines);
    }

    fn page(&mut self, title: String, lines: Vec<String>, from: usize, key: Key) {
        if matches!(key, Key::Escape | Key::Enter | Key::Char('q' | '?')) {
            return;
        }
        let from = moved(from, key, lines.len().saturating_sub(1));
        self.mode = Mode::Read { title, lines, from };
    }
}

/// Where a key leads from the line `at`, when `last` is the last one.
fn moved(at: usize, key: Key, last: usize) -> usize {
    let to = match key {
        Key::Up | Key::Char('k') => at.saturating_sub(1),
        Key::Down | Key::Char('j') => at + 1,
        Key::PageUp => at.saturating_sub(PAGE),
        Key::PageDown => at + PAGE,
        Key::Home | Key::Char('g') => 0,
        Key::End | Key::Char('G') => last,
        Key::Char(_)
        | Key::Enter
        | Key::Escape
        | Key::Backspace
        | Key::Tab
        | Key::BackTab
        | Key::Interrupt => at,
    };
    to.min(last)
}

#[cfg(test)]
mod tests;
