//! The pictures: a panel for each dimension, sizes in steps of ten to the right, costs upwards from zero.

use std::fmt::Write as _;

use crate::plan::Series;
use crate::point::Point;
use crate::table::grouped;

const WIDTH: f64 = 250.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 38.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 26.0;

/// A line of a panel: what it is, its colour, and where it goes.
type Line = (&'static str, &'static str, fn(&Point) -> f64);

const TIMES: [Line; 2] = [
    ("each scheduler, µs a task", "#3b82f6", |it| {
        it.scheduler_us
    }),
    ("all workers, µs a task", "#f59e0b", |it| it.worker_us),
];

const TRAFFIC: [Line; 2] = [
    ("transactions a task", "#10b981", |it| it.txns()),
    ("changes told to each scheduler", "#8b5cf6", |it| {
        it.told_schedulers()
    }),
];

/// The pictures and their names.
pub(crate) fn all(series: &[Series]) -> [(&'static str, String); 2] {
    let ladders: Vec<&Series> = series.iter().filter(|it| it.is_ladder).collect();
    [
        ("scale-time.svg", draw(&ladders, &TIMES)),
        ("scale-store.svg", draw(&ladders, &TRAFFIC)),
    ]
}

fn draw(series: &[&Series], lines: &[Line]) -> String {
    let columns = series.len().min(3);
    let rows = series.len().div_ceil(3);
    let (width, height) = (WIDTH * columns as f64, HEIGHT * rows as f64 + 22.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\" fill=\"#808080\">\n"
    );
    for (place, (what, colour, _)) in lines.iter().enumerate() {
        let x = 10.0 + 230.0 * place as f64;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"6\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"15\">{what}</text>",
            x + 15.0
        );
    }
    for (place, series) in series.iter().enumerate() {
        let x = WIDTH * (place % 3) as f64;
        let y = 22.0 + HEIGHT * (place / 3) as f64;
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        panel(&mut svg, series, lines);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, series: &Series, lines: &[Line]) {
    let all = lines
        .iter()
        .flat_map(|line| series.points.iter().map(line.2));
    let top = ceiling(all.fold(0.0, f64::max));
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top;
    let steps = series.points.len().saturating_sub(1).max(1) as f64;
    let x = |place: usize| LEFT + 14.0 + (WIDTH - LEFT - RIGHT - 28.0) * place as f64 / steps;
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"26\" font-weight=\"bold\">{}</text>",
        series.title
    );
    for value in [0.0, top / 2.0, top] {
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {0:.1}H{1}\" stroke=\"#8084\"/><text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{value}</text>",
            y(value),
            WIDTH - RIGHT,
            LEFT - 5.0,
            y(value) + 4.0,
        );
    }
    for (place, point) in series.points.iter().enumerate() {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x(place),
            HEIGHT - 10.0,
            grouped(series.step(&point.size)),
        );
    }
    for (_, colour, of) in lines {
        let points = series.points.iter().map(of).enumerate();
        let points: Vec<String> = points
            .map(|(place, value)| format!("{:.1},{:.1}", x(place), y(value)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
    }
}

/// A round number that is not below a value.
fn ceiling(value: f64) -> f64 {
    let rounds = (0..).flat_map(|power| [1.0, 2.0, 4.0].map(|digit| digit * 10_f64.powi(power)));
    rounds
        .take(30)
        .find(|round| *round >= value)
        .unwrap_or(value)
}
