//! The only place that writes to stdout and stderr. Results go to stdout, as a table or as the server's own JSON;
//! everything else goes to stderr.

use std::io::{self, Write};

use serde_json::Value;

/// What results look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// One JSON document, in the API's words.
    Json,
}

/// Where a command's result goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    format: Format,
}

impl Output {
    /// Results that look like `format`.
    pub(super) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Prints `json`, or what `table` makes of it.
    pub(super) fn result(
        self,
        json: &str,
        table: impl FnOnce(&Value) -> Table,
    ) -> anyhow::Result<()> {
        self.text(json, |json| table(json).to_string())
    }

    /// Prints `json`, or the text that `spell` makes of it.
    pub(super) fn text(
        self,
        json: &str,
        spell: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<()> {
        let text = match self.format {
            Format::Json => format!("{}\n", json.trim_end()),
            Format::Table => spell(&serde_json::from_str(json)?),
        };
        match write_stdout(&text) {
            // Whoever read the results has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }
}

fn write_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Says on stderr what went wrong.
pub(super) fn complain(error: &anyhow::Error) {
    note(&format!("error: {error:#}"));
}

/// Says something on stderr.
pub(super) fn note(text: &str) {
    // Without a stderr there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{}", harmless_lines(text));
}

/// Blanks between two columns.
const COLUMN_GAP: usize = 2;

/// Rows of cells below a heading, aligned, without lines between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns and no rows.
    pub(super) fn new(heading: &[&str]) -> Self {
        Self {
            heading: heading.iter().map(|title| (*title).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, which has a cell for each column.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(
            cells.len(),
            self.heading.len(),
            "every row has a cell for each column"
        );
        self.rows
            .push(cells.iter().map(|cell| harmless(cell)).collect());
    }

    /// The table of `list`, an array of objects: a column for each pair of a title and a field.
    pub(super) fn of(list: &Value, columns: &[(&str, &str)]) -> Self {
        let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
        let mut table = Self::new(&titles);
        for object in list.as_array().into_iter().flatten() {
            table.row(
                columns
                    .iter()
                    .map(|(_, field)| cell(&object[*field]))
                    .collect(),
            );
        }
        table
    }

    /// An object as a table of its fields, a field a row.
    pub(super) fn of_fields(object: &Value, fields: &[&str]) -> Self {
        let mut table = Self::new(&["FIELD", "VALUE"]);
        for field in fields {
            table.row(vec![(*field).to_owned(), cell(&object[*field])]);
        }
        table
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut widths: Vec<usize> = vec![0; self.heading.len()];
        for row in std::iter::once(&self.heading).chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in std::iter::once(&self.heading).chain(&self.rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // A format's own width ends at 65,535, and cells need not.
                let pad = width - cell.chars().count() + COLUMN_GAP;
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', pad));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A value as a cell: nothing is `-`, lists are joined, and objects are JSON.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items)
            if items
                .iter()
                .all(|item| !item.is_object() && !item.is_array()) =>
        {
            items.iter().map(cell).collect::<Vec<_>>().join(",")
        }
        Value::Object(members) if members.is_empty() => "-".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Text from others as one line that cannot steer a terminal.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|character| {
            if steers(character) {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}

fn harmless_lines(text: &str) -> String {
    text.lines().map(harmless).collect::<Vec<_>>().join("\n")
}

fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_space_at_their_end() {
        let list =
            json!([{"id": "a", "n": 1, "l": ["x", "y"]}, {"id": "bcdef", "n": null, "l": []}]);
        let table = Table::of(&list, &[("ID", "id"), ("COUNT", "n"), ("LIST", "l")]);
        assert_eq!(
            table.to_string(),
            "ID     COUNT  LIST\na      1      x,y\nbcdef  -      -\n"
        );
    }

    #[test]
    fn cells_may_be_of_any_length() {
        let long = "x".repeat(100_000);
        let text = Table::of(&json!([{"id": long}]), &[("ID", "id")]).to_string();
        assert_eq!(text, format!("ID\n{long}\n"));
    }

    #[test]
    fn cells_cannot_steer_the_terminal() {
        let list = json!([{"id": "\u{1b}[31mred\nnext\u{202e}x"}]);
        let text = Table::of(&list, &[("ID", "id")]).to_string();
        assert_eq!(text, "ID\n\u{fffd}[31mred\u{fffd}next\u{fffd}x\n");
    }
}
