//! One report of all that was measured, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::figure::{Aim, Figure};
use super::machine::Machine;
use super::part::{Measured, Part};
use super::sizes::Sizes;

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What is to be reached.
    #[serde(flatten)]
    pub figure: Figure,
    /// The part that it was measured in.
    pub part: Part,
    /// What was reached; nothing when it could not be measured.
    pub reached: Option<f64>,
    /// What was reached by what was to be reached.
    pub ratio: Option<f64>,
    /// Whether it was reached.
    pub met: bool,
    /// How it was measured, or why it could not be.
    pub how: String,
}

/// A whole report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The table.
    pub rows: Vec<Row>,
    /// Where it was measured.
    pub machine: Machine,
    /// How much was measured.
    pub sizes: Sizes,
    /// How long each part took, in seconds.
    pub seconds: BTreeMap<Part, f64>,
    /// The share of the machine that others used before each part began.
    pub busy: BTreeMap<Part, f64>,
    /// All that was seen.
    pub details: BTreeMap<Part, Value>,
}

impl Report {
    /// Nothing was measured yet.
    pub const fn new(machine: Machine, sizes: Sizes) -> Self {
        Self {
            rows: Vec::new(),
            machine,
            sizes,
            seconds: BTreeMap::new(),
            busy: BTreeMap::new(),
            details: BTreeMap::new(),
        }
    }

    /// Takes what came of a part: its figures, or why there are none.
    pub fn add(&mut self, part: Part, took: Duration, came: Result<Measured, String>) {
        self.seconds.insert(part, took.as_secs_f64());
        let (reached, how, details) = match came {
            Ok(it) if it.reached.len() == part.figures().len() => (
                it.reached.into_iter().map(Some).collect(),
                it.how,
                it.details,
            ),
            Ok(it) => {
                let why = format!("NOT MEASURED: {} figures came", it.reached.len());
                (vec![None; part.figures().len()], why, it.details)
            }
            Err(why) => {
                let none = vec![None; part.figures().len()];
                (none, format!("NOT MEASURED: {why}"), Value::Null)
            }
        };
        self.details.insert(part, details);
        for (figure, reached) in part.figures().iter().zip(reached) {
            self.rows
                .push(Row::new(part, *figure, reached, how.clone()));
        }
    }

    /// Whether all that was asked for was measured.
    pub fn is_whole(&self) -> bool {
        self.rows.iter().all(|row| row.reached.is_some())
    }

    /// Writes `report.md` and `report.json`, and tells where.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<[PathBuf; 2]> {
        std::fs::create_dir_all(folder)?;
        let [text, json] = ["report.md", "report.json"].map(|it| folder.join(it));
        std::fs::write(&text, self.text())?;
        std::fs::write(&json, serde_json::to_string_pretty(self)? + "\n")?;
        Ok([text, json])
    }

    /// For people, in Markdown.
    pub fn text(&self) -> String {
        let mut text = String::from("# Figures\n\n");
        for line in self.circumstances() {
            text += &format!("- {line}\n");
        }
        text += "\n| figure | goal | reached | reached / goal | |\n|---|---|---|---|---|\n";
        for row in &self.rows {
            text += &row.text();
        }
        text += "\n## How\n";
        for (part, seconds) in &self.seconds {
            let how = self.rows.iter().find(|row| row.part == *part);
            let how = how.map_or("", |row| row.how.as_str());
            let name = serde_json::to_string(part).unwrap_or_default();
            let name = name.trim_matches('"');
            // A String takes whatever is written.
            let busy = self.busy.get(part).copied().unwrap_or_default() * 100.0;
            let _ = write!(
                text,
                "\n### {name}\n\n{how}\n\nTook {seconds:.0} s. Others used {busy:.0} % of the machine before.\n"
            );
            if let Some(details) = self.details.get(part).filter(|it| !it.is_null()) {
                let details = serde_json::to_string_pretty(details).unwrap_or_default();
                let _ = write!(text, "\n```json\n{details}\n```\n");
            }
        }
        text
    }

    fn circumstances(&self) -> Vec<String> {
        let Machine {
            cores,
            processor,
            memory_bytes,
            kernel,
            etcd,
            embedded,
            commit,
            rustc,
        } = &self.machine;
        let mut lines = vec![
            format!("commit {commit}, {rustc}"),
            format!(
                "{cores} cores, {processor}, {} MiB, Linux {kernel}",
                memory_bytes >> 20
            ),
            format!("etcd {etcd}; embedded store on {embedded}"),
        ];
        if self.busy.values().any(|share| *share > BUSY) {
            lines.push(
                "**others used the machine: these figures are worse than they should be**"
                    .to_owned(),
            );
        }
        if self.sizes == Sizes::small() {
            lines.push("**sizes were small: these figures mean nothing**".to_owned());
        }
        if !self.is_whole() {
            lines.push("**not all figures could be measured**".to_owned());
        }
        lines
    }
}

/// Others are at work from this share of the machine on.
const BUSY: f64 = 0.1;

impl Row {
    fn new(part: Part, figure: Figure, reached: Option<f64>, how: String) -> Self {
        // What is no number was not measured.
        let reached = reached.filter(|it| it.is_finite());
        Self {
            figure,
            part,
            reached,
            ratio: reached.map(|it| it / figure.goal),
            met: reached.is_some_and(|it| figure.is_met_by(it)),
            how,
        }
    }

    fn text(&self) -> String {
        let Figure {
            title,
            goal,
            aim,
            unit,
            ..
        } = self.figure;
        let sign = match aim {
            Aim::AtLeast => "≥",
            Aim::AtMost => "≤",
        };
        let (reached, ratio, verdict) = match (self.reached, self.ratio) {
            (Some(reached), Some(ratio)) => {
                let verdict = if self.met { "met" } else { "**missed**" };
                (number(reached), format!("{ratio:.2}"), verdict)
            }
            (Some(_), None) | (None, _) => ("-".to_owned(), "-".to_owned(), "**NOT MEASURED**"),
        };
        let goal = number(goal);
        format!("| {title} | {sign} {goal} {unit} | {reached} | {ratio} | {verdict} |\n")
    }
}

/// A number with three digits at least, and its thousands apart.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        it if it >= 100.0 => 0,
        it if it >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut apart = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && !apart.ends_with('-') {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machine() -> Machine {
        Machine {
            cores: 2,
            processor: "a chip".to_owned(),
            memory_bytes: 8 << 30,
            kernel: "6.1".to_owned(),
            etcd: "3.5.30".to_owned(),
            embedded: "redb 4.5.0".to_owned(),
            commit: "abc".to_owned(),
            rustc: "rustc 1.95".to_owned(),
        }
    }

    fn measured(reached: &[f64]) -> Measured {
        Measured {
            reached: reached.to_vec(),
            how: "so".to_owned(),
            details: json!({"rounds": [1, 2]}),
        }
    }

    fn report() -> Report {
        let second = Duration::from_secs(1);
        let mut report = Report::new(machine(), Sizes::full(3));
        report.add(Part::Embedded, second, Ok(measured(&[123_456.7])));
        report.add(Part::Latency, second, Ok(measured(&[1.5, 30.0])));
        report.add(Part::Killed, second, Err("no etcd".to_owned()));
        report
    }

    #[test]
    fn a_row_tells_goal_ratio_and_verdict() {
        let json = serde_json::to_value(report()).unwrap();
        let row = json!({
            "name": "embedded_tasks_per_second", "part": "embedded", "goal": 100_000.0, "aim": "at_least",
            "reached": 123_456.7, "unit": "tasks/s", "ratio": 1.234567, "met": true, "how": "so",
        });
        assert_eq!(json["rows"][0], row);
        let [half, most] = [&json["rows"][1], &json["rows"][2]];
        assert_eq!((&half["met"], &half["ratio"]), (&json!(true), &json!(0.5)));
        assert_eq!((&most["met"], &most["ratio"]), (&json!(false), &json!(2.0)));
        assert_eq!(json["machine"]["cores"], 2);
        assert_eq!(json["details"]["latency"]["rounds"], json!([1, 2]));
        assert_eq!(json["seconds"]["embedded"], 1.0);
    }

    #[test]
    fn what_could_not_be_measured_is_neither_met_nor_silent() {
        let report = report();
        let json = serde_json::to_value(&report).unwrap();
        let row = &json["rows"][3];
        assert_eq!(
            (&row["reached"], &row["ratio"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(row["met"], false);
        assert_eq!(row["how"], "NOT MEASURED: no etcd");
        assert!(!report.is_whole());
        let text = report.text();
        assert!(text.contains("| **NOT MEASURED** |"), "{text}");
        assert!(text.contains("not all figures could be measured"), "{text}");
    }

    #[test]
    fn a_figure_that_is_missing_or_no_number_was_not_measured() {
        for reached in [vec![1.0], vec![1.0, f64::NAN]] {
            let mut report = Report::new(machine(), Sizes::full(3));
            report.add(Part::Latency, Duration::ZERO, Ok(measured(&reached)));
            assert_eq!(report.rows.len(), 2);
            assert!(!report.is_whole() && !report.rows[1].met);
        }
    }

    #[test]
    fn people_read_a_table() {
        let text = report().text();
        for line in [
            "| embedded store, submission to recorded completion | ≥ 100,000 tasks/s | 123,457 | 1.23 | met |",
            "| etcd at 100 tasks/s, acknowledged to started, p99 | ≤ 15.0 ms | 30.0 | 2.00 | **missed** |",
            "- 2 cores, a chip, 8192 MiB, Linux 6.1",
            "### killed",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
        assert!(!text.contains("others used") && !text.contains("mean nothing"));
    }

    #[test]
    fn whoever_reads_is_warned_of_a_busy_machine_and_of_small_sizes() {
        let mut report = Report::new(machine(), Sizes::small());
        report.busy.insert(Part::Etcd, 0.4);
        let text = report.text();
        assert!(text.contains("others used") && text.contains("mean nothing"));
    }

    #[test]
    fn numbers_have_three_digits_and_their_thousands_apart() {
        let numbers = [0.7, 3.456, 15.0, 400.0, 1_234.5, 1_500_000.0, -1_234.0];
        let texts = numbers.map(number);
        assert_eq!(
            texts,
            [
                "0.70",
                "3.46",
                "15.0",
                "400",
                "1,234",
                "1,500,000",
                "-1,234"
            ]
        );
    }
}
