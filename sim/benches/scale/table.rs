//! The tables, as the guide shows them.

use std::fmt::Write as _;

use crate::plan::Series;
use crate::point::Point;

/// Everything that was measured of a series, as Markdown.
pub(crate) fn of(series: &Series) -> String {
    let mut text = format!("**{}**\n\n", series.title);
    text.push_str(
        "| | scheduler, µs | workers, µs | store, µs | transactions | writes | reads | told a scheduler \
         | told workers | effects | conflicts | MiB | bytes waiting | start, ms | last, ms | idle, ms/s |\n",
    );
    text.push_str(&format!("|---|{}\n", "---:|".repeat(15)));
    for point in &series.points {
        row(&mut text, series, point);
    }
    text
}

fn row(text: &mut String, series: &Series, point: &Point) {
    let size = &point.size;
    let name = if series.is_ladder {
        grouped(series.step(size))
    } else {
        let all = [size.waiting, size.workers, size.queues, size.schedulers];
        all.map(grouped).join(" / ")
    };
    let _ = writeln!(
        text,
        "| {name} | {:.1} | {:.1} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.4} | {:.1} | {:.0} \
         | {:.0} | {:.0} | {:.1} |",
        point.scheduler_us,
        point.worker_us,
        point.store_us,
        point.txns(),
        point.writes(),
        point.reads(),
        point.told_schedulers(),
        point.told_workers(),
        point.effects(),
        point.conflicts(),
        point.heap_end as f64 / 1_048_576.0,
        point.bytes_waiting(),
        point.start_ms,
        point.start_last_ms,
        point.idle_ms,
    );
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
