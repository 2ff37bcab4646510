//! Draws the state. Pure: the same state is the same picture.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};
use serde_json::Value;

use super::Tab;
use super::app::{App, Mode};
use crate::cli::node::NODES;
use crate::cli::output::{Listing, Paint, Table, harmless, symbol_of};
use crate::cli::queue::QUEUES;
use crate::cli::task::TASKS;

/// The states of tasks, in the order of a life.
const STATES: [&str; 7] = [
    "scheduled",
    "pending",
    "running",
    "retrying",
    "completed",
    "failed",
    "cancelled",
];

/// Draws all of it.
pub(super) fn draw(app: &App, frame: &mut Frame<'_>) {
    let rows = [
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
    ];
    let [head, body, foot] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(header(app), head);
    match app.tab {
        Tab::Overview => overview(app, frame, body),
        Tab::Queues => listed(app, &QUEUES, frame, body),
        Tab::Nodes => listed(app, &NODES, frame, body),
        Tab::Tasks => listed(app, &TASKS, frame, body),
    }
    frame.render_widget(footer(app), foot);
    if let Mode::Read { title, lines, from } = &app.mode {
        popup(title, lines, *from, frame, body);
    }
}

fn style(paint: Paint, app: &App) -> Style {
    let style = Style::new();
    if !app.look.colour {
        return style;
    }
    match paint {
        Paint::Plain => style,
        Paint::Dim => style.add_modifier(Modifier::DIM),
        Paint::Good => style.fg(Color::Green),
        Paint::Busy => style.fg(Color::Cyan),
        Paint::Warn => style.fg(Color::Yellow),
        Paint::Bad => style.fg(Color::Red),
    }
}

fn header(app: &App) -> Line<'static> {
    let mut spans = vec![Span::styled(
        " windlass ",
        Style::new().add_modifier(Modifier::BOLD),
    )];
    for (number, tab) in (1..).zip(Tab::ALL) {
        let chosen = if tab == app.tab {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new()
        };
        spans.push(Span::styled(format!(" {number} {} ", tab.title()), chosen));
    }
    let (told, paint) = if app.lost.is_some() {
        ("  ✗ old", Paint::Bad)
    } else if app.live {
        ("  ● live", Paint::Good)
    } else {
        ("  ○ polling", Paint::Dim)
    };
    spans.push(Span::styled(told, style(paint, app)));
    if app.tab == Tab::Tasks && !app.query.is_empty() {
        let told = format!("  filter: {}", harmless(&app.query));
        spans.push(Span::styled(told, style(Paint::Busy, app)));
    }
    Line::from(spans)
}

fn footer(app: &App) -> Line<'static> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let lost = app.lost.as_ref().map(|told| (told.clone(), false));
    let message = app.message.clone().or(lost);
    match (&app.mode, &message) {
        (Mode::Filter(text), _) => Line::from(vec![
            Span::styled(" filter: ", bold),
            Span::raw(harmless(text)),
            Span::raw("█  Enter: show, Esc: back"),
        ]),
        (Mode::Confirm(action), _) => {
            Line::from(Span::styled(format!(" {}? [y/N]", action.told()), bold))
        }
        (Mode::Browse | Mode::Read { .. }, Some((told, good))) => {
            let paint = if *good { Paint::Good } else { Paint::Bad };
            let told = told.lines().map(harmless).collect::<Vec<_>>().join(" ");
            Line::from(Span::styled(format!(" {told}"), style(paint, app)))
        }
        (Mode::Read { .. }, None) => Line::from(" ↑ ↓: further   Esc: back"),
        (Mode::Browse, None) => Line::from(match app.tab {
            Tab::Overview => " 1-4 Tab: show   ?: help   q: quit",
            Tab::Queues => " p: pause or resume   Enter: detail   ?: help   q: quit",
            Tab::Nodes => " d: drain   Enter: detail   ?: help   q: quit",
            Tab::Tasks => {
                " /: filter   w: why   c: cancel   r: rerun   Enter: detail   ?: help   q: quit"
            }
        }),
    }
}

fn overview(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let height = u16::try_from(STATES.len()).unwrap_or(0) + 2;
    let rows = [Constraint::Length(height), Constraint::Min(3)];
    let [top, below] = Layout::vertical(rows).areas(area);
    let columns = [
        Constraint::Percentage(34),
        Constraint::Percentage(28),
        Constraint::Min(20),
    ];
    let [left, middle, right] = Layout::horizontal(columns).areas(top);
    frame.render_widget(boxed("Tasks", counts(app)), left);
    frame.render_widget(boxed("A second", rates(app)), middle);
    frame.render_widget(boxed("Cluster", cluster(app)), right);
    let queues = app.data.busiest();
    let inside = bordered("Busiest queues", frame, below);
    draw_list(app, &queues, &QUEUES, None, frame, inside);
}

fn boxed<'a>(title: &'a str, lines: Vec<Line<'a>>) -> Paragraph<'a> {
    Paragraph::new(lines).block(Block::bordered().title(title))
}

fn bordered(title: &str, frame: &mut Frame<'_>, area: Rect) -> Rect {
    let block = Block::bordered().title(title);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    inside
}

fn counts(app: &App) -> Vec<Line<'static>> {
    let line = |state: &&str| {
        let (symbol, paint) = symbol_of(state);
        let count = app.data.number(&format!("tasks/{state}"));
        Line::from(vec![
            Span::styled(format!("{symbol} {state:<10}"), style(paint, app)),
            Span::raw(format!("{count:>12}")),
        ])
    };
    STATES.iter().map(line).collect()
}

fn rates(app: &App) -> Vec<Line<'static>> {
    let Some(rates) = app.data.rates else {
        return vec![Line::from("not known yet")];
    };
    let line = |(name, rate): (&str, f64)| Line::from(format!("{name:<10}{rate:>11.1}"));
    let named = [
        ("accepted", rates.accepted),
        ("completed", rates.completed),
        ("failed", rates.failed),
        ("retried", rates.retried),
    ];
    named.into_iter().map(line).collect()
}

fn cluster(app: &App) -> Vec<Line<'static>> {
    let data = &app.data;
    let number = |path: &str| data.number(path);
    let level = data.stats["store"]["level"].as_str().unwrap_or("-");
    let (level, paint) = match level {
        "roomy" => ("roomy", Paint::Good),
        "tight" => ("tight", Paint::Warn),
        "full" => ("full", Paint::Bad),
        _ => ("-", Paint::Plain),
    };
    let mut store = vec![
        Span::raw("store       "),
        Span::styled(level, style(paint, app)),
    ];
    let (used, quota) = (number("store/used_bytes"), number("store/quota_bytes"));
    if let Some(share) = (used * 100).checked_div(quota) {
        store.push(Span::raw(format!(", {share} % of its quota")));
    }
    let dead = number("dead");
    let paint = if dead > 0 { Paint::Warn } else { Paint::Plain };
    vec![
        Line::from(format!("schedulers  {}", number("schedulers"))),
        Line::from(format!("workers     {}", number("workers"))),
        Line::from(format!(
            "slots       {} of {} in use",
            number("tasks/running"),
            number("slots")
        )),
        Line::from(vec![
            Span::raw("dead        "),
            Span::styled(dead.to_string(), style(paint, app)),
        ]),
        Line::from(store),
    ]
}

fn listed(app: &App, listing: &Listing, frame: &mut Frame<'_>, area: Rect) {
    let items: Vec<&Value> = app.list().iter().collect();
    draw_list(app, &items, listing, Some(app.line()), frame, area);
}

/// Draws a list as `windlass … list` prints it, scrolled to the chosen line.
fn draw_list(
    app: &App,
    items: &[&Value],
    listing: &Listing,
    chosen: Option<usize>,
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let room = usize::from(area.height).saturating_sub(1);
    let from = chosen.map_or(0, |line| (line + 1).saturating_sub(room));
    let seen = items.iter().copied().skip(from).take(room);
    let table = Table::of(seen, listing.columns, false, &app.look);
    let (heading, rows) = table.laid_out(usize::from(area.width));
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut lines = vec![Line::from(Span::styled(heading, bold))];
    for (number, row) in rows.into_iter().enumerate() {
        let cells = row
            .into_iter()
            .map(|(text, paint)| Span::styled(text, style(paint, app)));
        let line = Line::from(cells.collect::<Vec<_>>());
        lines.push(if chosen == Some(from + number) {
            line.style(Style::new().add_modifier(Modifier::REVERSED))
        } else {
            line
        });
    }
    if items.is_empty() {
        lines.push(Line::from(Span::styled(
            "nothing here",
            style(Paint::Dim, app),
        )));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn popup(title: &str, lines: &[String], from: usize, frame: &mut Frame<'_>, area: Rect) {
    let wanted = u16::try_from(lines.len())
        .unwrap_or(u16::MAX)
        .saturating_add(2);
    let height = wanted.clamp(3, area.height.max(3)).min(area.height);
    let width = area.width.saturating_sub(8).max(area.width.min(20));
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let shown = lines
        .iter()
        .skip(from)
        .map(|line| Line::from(harmless(line)));
    let text = Paragraph::new(shown.collect::<Vec<_>>())
        .wrap(Wrap { trim: false })
        .block(Block::bordered().title(harmless(title)));
    frame.render_widget(Clear, place);
    frame.render_widget(text, place);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::app::{Event, Key};
    use super::super::screen::as_text;
    use super::*;
    use crate::cli::output::Look;

    fn app(tab: Tab) -> App {
        let mut app = App::new(
            tab,
            String::new(),
            Look {
                terminal: true,
                ..Look::plain()
            },
        );
        let stats = json!({
            "tasks": {"total": 12, "scheduled": 1, "pending": 2, "running": 3, "retrying": 0,
                "completed": 4, "failed": 1, "cancelled": 1},
            "dead": 1, "schedulers": 2, "workers": 3, "slots": 8,
            "store": {"level": "tight", "used_bytes": 800, "quota_bytes": 1_000},
            "rates": {"accepted": 12.5, "completed": 12, "failed": 0.5, "retried": 0},
        });
        let queue = |name: &str, pending: u32| {
            json!({"name": name, "strategy": "least_load", "paused": name == "mail", "pending": pending,
                "running": 1, "delayed": 0, "dead": 0, "oldest_at": null})
        };
        let task = |n: u32| {
            json!({"id": format!("019aa000-0000-7000-8000-00000000000{n}"), "type": "echo\u{1b}[2J", "queue": "mail",
                "status": "running", "priority": 5, "retry_count": 0, "created_at": "1970-01-01T00:00:00.000Z",
                "completed_at": null, "worker_id": "w1"})
        };
        for event in [
            Event::Stats(stats),
            Event::Queues(vec![queue("mail", 1), queue("report", 9)]),
            Event::Nodes(vec![
                json!({"id": "w1", "role": "worker", "slots": 4, "claims": 2}),
            ]),
            Event::Tasks {
                query: String::new(),
                tasks: (0..3).map(task).collect(),
            },
        ] {
            app.handle(event);
        }
        app
    }

    #[test]
    fn the_overview_tells_counts_rates_room_and_the_busiest_queues() {
        insta::assert_snapshot!(as_text(&app(Tab::Overview)).unwrap());
    }

    #[test]
    fn a_list_is_drawn_with_its_columns_and_cannot_steer_the_terminal() {
        let mut app = app(Tab::Tasks);
        app.handle(Event::Key(Key::Down));
        insta::assert_snapshot!(as_text(&app).unwrap());
    }

    #[test]
    fn a_question_and_a_popup_are_drawn() {
        let mut app = app(Tab::Queues);
        app.handle(Event::Key(Key::Char('p')));
        assert!(
            as_text(&app)
                .unwrap()
                .ends_with(" resume the queue mail? [y/N]\n")
        );
        app.handle(Event::Key(Key::Escape));
        app.handle(Event::Key(Key::Char('?')));
        let text = as_text(&app).unwrap();
        assert!(
            text.contains("Keys") && text.contains("drain the chosen worker"),
            "{text}"
        );
    }

    #[test]
    fn a_long_list_is_scrolled_to_the_chosen_line_and_a_tiny_screen_is_borne() {
        let mut app = app(Tab::Queues);
        let queues = (0..500).map(|n| json!({"name": format!("queue-{n}")}));
        app.handle(Event::Queues(queues.collect()));
        app.handle(Event::Key(Key::End));
        let text = as_text(&app).unwrap();
        assert!(
            text.contains("queue-499") && !text.contains("queue-400"),
            "{text}"
        );
        app.handle(Event::Key(Key::Char('?')));
        for (width, height) in [(1, 1), (3, 2), (10, 5), (300, 3)] {
            for tab in Tab::ALL {
                app.tab = tab;
                let backend = ratatui::backend::TestBackend::new(width, height);
                let mut terminal = ratatui::Terminal::new(backend).unwrap();
                terminal.draw(|frame| draw(&app, frame)).unwrap();
            }
        }
    }
}
