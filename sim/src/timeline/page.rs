//! The picture's page: SVG, a little CSS, no script but for showing what lies under the pointer (which `title` does).

use std::fmt::Write as _;

use windlass_core::time::Mono;

use super::{Bar, Shade, Timeline, place_of};
use crate::fact::NodeIx;
use crate::report::Report;
use crate::scenario::Scenario;

/// Height of a lane, and of the three rows in it, in pixels.
const LANE: f64 = 46.0;
/// Where lanes begin, right of their names.
const LEFT: f64 = 130.0;
const TOP: f64 = 30.0;
/// Bars that are too short to be seen are made this wide.
const WIDTH_MIN: f64 = 1.5;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2430; --paper: #fff; --grid: #d8dde5; --up: #e7ecf3; --frozen: #9fb4d0;
  --session: #bfe3c9; --claim: #5b8def; --handler: #1f7a4d; --fault: #e4572e; --bad: #c1121f; }
@media (prefers-color-scheme: dark) { :root { --ink: #dfe6ef; --paper: #12161c; --grid: #2b333f; --up: #202833; --frozen: #465a78;
  --session: #24503a; --claim: #4f7fe0; --handler: #3fae78; --fault: #e4572e; --bad: #ff5a66; } }
body { font: 14px/1.4 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 1.5rem; }
.wide { overflow-x: auto; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.grid { stroke: var(--grid); } .up { fill: var(--up); } .frozen { fill: var(--frozen); } .session { fill: var(--session); }
.claim { fill: var(--claim); opacity: .75; } .handler { fill: var(--handler); } .fault { fill: var(--fault); opacity: .22; }
.phase { stroke: var(--ink); stroke-dasharray: 4 3; } .violation { stroke: var(--bad); stroke-width: 2; } .tick { fill: var(--ink); }
.bad { color: var(--bad); font-weight: 600; } .key span { display: inline-block; width: 1em; height: 1em; margin: 0 .3em 0 1em; vertical-align: -2px; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }";

struct Scale {
    end: Mono,
    width: f64,
}

impl Scale {
    fn x(&self, at: Mono) -> f64 {
        let share = at.min(self.end).as_nanos() as f64 / self.end.as_nanos().max(1) as f64;
        LEFT + share * self.width
    }
}

/// The page.
pub(super) fn html(
    name: &str,
    scenario: &Scenario,
    timeline: &Timeline,
    report: &Report,
) -> String {
    let seconds = timeline.end.as_nanos() as f64 / 1e9;
    let scale = Scale {
        end: timeline.end,
        width: (seconds * 40.0).clamp(900.0, 12_000.0),
    };
    let lanes = timeline.nodes.keys().max().map_or(0, |last| last + 1) + 1;
    let height = TOP + lanes as f64 * LANE + 10.0;
    let mut svg = String::new();
    axis(&mut svg, &scale, seconds, height);
    for node in 0..lanes - 1 {
        let label = timeline
            .nodes
            .get(&node)
            .map_or_else(String::new, |(role, id)| format!("{id} · n{node} · {role}"));
        lane(&mut svg, &scale, y_of(Some(node)), &label);
    }
    lane(&mut svg, &scale, y_of(None), "store, everybody");
    for bar in &timeline.bars {
        draw(&mut svg, &scale, bar);
    }
    for tick in &timeline.ticks {
        let (x, y) = (scale.x(tick.at), y_of(tick.node));
        let _ = write!(
            svg,
            r#"<circle class="tick" cx="{x:.1}" cy="{:.1}" r="3"><title>{}</title></circle>"#,
            y + 6.0,
            escape(&moment(tick.at, &tick.label))
        );
    }
    for (at, phase) in &timeline.phases {
        let x = scale.x(*at);
        let _ = write!(
            svg,
            r#"<line class="phase" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{height}"/><text x="{:.1}" y="26">{phase}</text>"#,
            x + 3.0
        );
    }
    for violation in &report.violations {
        let (node, at) = place_of(violation);
        let (x, y) = (scale.x(at), y_of(node));
        let _ = write!(
            svg,
            r#"<g class="violation"><line x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{height}"/><circle cx="{x:.1}" cy="{:.1}" r="9" fill="none"/><title>{}</title></g>"#,
            y + LANE / 2.0,
            escape(&violation.to_string()),
        );
    }
    page(
        name,
        scenario,
        report,
        &svg,
        LEFT + scale.width + 20.0,
        height,
    )
}

fn page(
    name: &str,
    scenario: &Scenario,
    report: &Report,
    svg: &str,
    width: f64,
    height: f64,
) -> String {
    let mut found = String::new();
    for violation in &report.violations {
        let _ = write!(
            found,
            r#"<p class="bad">{}</p>"#,
            escape(&violation.to_string())
        );
    }
    if report.violations.is_empty() {
        found.push_str("<p>Nothing wrong was found.</p>");
    }
    let key: String = [
        ("up", "runs"),
        ("frozen", "frozen"),
        ("session", "believes in its session"),
        ("claim", "claim"),
        ("handler", "handler"),
        ("fault", "fault"),
    ]
    .iter()
    .map(|(class, label)| format!(r#"<span style="background: var(--{class})"></span>{label}"#))
    .collect();
    let json = serde_json::to_string_pretty(scenario).unwrap_or_default();
    format!(
        r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style></head><body>
<h1>{title}</h1>{found}<p>{events} events, {tasks} tasks, trace {trace}. Point at a bar to read it.</p><p class="key">{key}</p>
<div class="wide"><svg width="{width:.0}" height="{height:.0}" role="img" aria-label="The run, node by node">{svg}</svg></div>
<details><summary>The scenario</summary><pre>{json}</pre></details></body></html>
"#,
        title = escape(name),
        events = report.events,
        tasks = report.tasks,
        trace = report.trace,
        json = escape(&json),
    )
}

/// The store's lane comes first: its troubles are everybody's.
fn y_of(node: Option<NodeIx>) -> f64 {
    TOP + node.map_or(0, |node| node + 1) as f64 * LANE
}

fn axis(svg: &mut String, scale: &Scale, seconds: f64, height: f64) {
    let step = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0]
        .into_iter()
        .find(|step| seconds / step < 40.0)
        .unwrap_or(600.0);
    let mut at = 0.0;
    while at <= seconds {
        let x = scale.x(Mono::from_nanos((at * 1e9) as u64));
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{height}"/><text x="{:.1}" y="12">{at:.0} s</text>"#,
            x + 2.0
        );
        at += step;
    }
}

fn lane(svg: &mut String, scale: &Scale, y: f64, label: &str) {
    let _ = write!(
        svg,
        r#"<line class="grid" x1="0" x2="{:.0}" y1="{y}" y2="{y}"/><text x="4" y="{:.1}">{}</text>"#,
        LEFT + scale.width,
        y + 20.0,
        escape(label),
    );
}

/// Within a lane: the process and its session above, claims in the middle, handlers below; faults over everything.
fn draw(svg: &mut String, scale: &Scale, bar: &Bar) {
    let (class, top, height) = match bar.shade {
        Shade::Up => ("up", 2.0, 10.0),
        Shade::Frozen => ("frozen", 2.0, 10.0),
        Shade::Session => ("session", 13.0, 4.0),
        Shade::Claim => ("claim", 19.0, 11.0),
        Shade::Handler => ("handler", 32.0, 10.0),
        Shade::Fault => ("fault", 1.0, LANE - 2.0),
    };
    let (from, to) = (scale.x(bar.from), scale.x(bar.to));
    let _ = write!(
        svg,
        r#"<rect class="{class}" x="{from:.1}" y="{:.1}" width="{:.1}" height="{height}"><title>{}</title></rect>"#,
        y_of(bar.node) + top,
        (to - from).max(WIDTH_MIN),
        escape(&format!(
            "{} to {}",
            moment(bar.from, &bar.label),
            time(bar.to)
        )),
    );
}

fn time(at: Mono) -> String {
    format!("{:.3} s", at.as_nanos() as f64 / 1e9)
}

fn moment(at: Mono, label: &str) -> String {
    format!("{label}: {}", time(at))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
