//! Rows of cells below a heading: aligned, without lines between them, as wide as the reader bears.

use serde_json::Value;

use super::look::Look;
use super::text::{cell, cut, harmless, width};

/// Blanks between two columns.
const COLUMN_GAP: usize = 2;
/// No column is cut to less than this.
const COLUMN_MIN: usize = 8;

/// What a cell tells, which decides its colour. The word in it tells the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::cli) enum Paint {
    /// Nothing of note.
    #[default]
    Plain,
    /// Beside the point.
    Dim,
    /// As it should be.
    Good,
    /// Under way.
    Busy,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
}

impl Paint {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Dim => Some("2"),
            Self::Good => Some("32"),
            Self::Busy => Some("36"),
            Self::Warn => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    /// A cell with this text, which may come from others.
    pub(in crate::cli) fn new(text: &str, paint: Paint) -> Self {
        Self {
            text: harmless(text),
            paint,
        }
    }

    /// What it says.
    pub(in crate::cli) fn text(&self) -> &str {
        &self.text
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text.as_ref(), Paint::Plain)
    }
}

/// What a field's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Kind {
    /// Any JSON.
    Plain,
    /// The state of a task.
    State,
    /// A point in time.
    Time,
    /// Something that is worth a look when it is true.
    Flag,
    /// A number that is worth a look unless it is zero.
    Trouble,
}

impl Kind {
    /// The cell of `value`.
    pub(in crate::cli) fn cell(self, value: &Value, look: &Look) -> Cell {
        let text = cell(value);
        match self {
            Self::Plain => text.into(),
            Self::Time => look.time(&text).into(),
            Self::State => state(&text, look),
            Self::Flag if *value == Value::Bool(true) => Cell::new(&text, Paint::Warn),
            Self::Trouble if value.as_u64().is_some_and(|count| count > 0) => {
                Cell::new(&text, Paint::Warn)
            }
            Self::Flag | Self::Trouble => text.into(),
        }
    }
}

/// A state is a word, for people with a symbol before it; colour only repeats what both say.
fn state(word: &str, look: &Look) -> Cell {
    let (symbol, paint) = symbol_of(word);
    if look.terminal {
        Cell::new(&format!("{symbol} {word}"), paint)
    } else {
        Cell::new(word, paint)
    }
}

/// The symbol and the colour of a task's state.
pub(in crate::cli) fn symbol_of(state: &str) -> (char, Paint) {
    match state {
        "scheduled" => ('◌', Paint::Dim),
        "pending" => ('○', Paint::Plain),
        "running" => ('●', Paint::Busy),
        "retrying" => ('↻', Paint::Warn),
        "completed" => ('✓', Paint::Good),
        "failed" => ('✗', Paint::Bad),
        "cancelled" => ('⊘', Paint::Dim),
        _ => ('·', Paint::Plain),
    }
}

/// A column of a list.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Column {
    title: &'static str,
    field: &'static str,
    kind: Kind,
    wide: bool,
    whole: bool,
}

impl Column {
    /// The column `title` of the values of `field`.
    pub(in crate::cli) const fn new(title: &'static str, field: &'static str) -> Self {
        Self {
            title,
            field,
            kind: Kind::Plain,
            wide: false,
            whole: false,
        }
    }

    /// Whose values are of this kind.
    pub(in crate::cli) const fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// That only `-o wide` shows.
    pub(in crate::cli) const fn wide(self) -> Self {
        Self { wide: true, ..self }
    }

    /// That is worth nothing when it is cut.
    pub(in crate::cli) const fn whole(self) -> Self {
        Self {
            whole: true,
            ..self
        }
    }
}

/// Rows of cells below a heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Table {
    heading: Vec<String>,
    /// Which columns are never cut.
    whole: Vec<bool>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these columns and no rows.
    pub(in crate::cli) fn new(heading: &[&str]) -> Self {
        Self {
            heading: heading.iter().map(|title| (*title).to_owned()).collect(),
            whole: vec![false; heading.len()],
            rows: Vec::new(),
        }
    }

    /// The table of `objects`, with the columns that are shown at this width.
    pub(in crate::cli) fn of<'a>(
        objects: impl IntoIterator<Item = &'a Value>,
        columns: &[Column],
        wide: bool,
        look: &Look,
    ) -> Self {
        let shown: Vec<&Column> = columns.iter().filter(|it| wide || !it.wide).collect();
        let mut table = Self {
            heading: shown.iter().map(|it| it.title.to_owned()).collect(),
            whole: shown.iter().map(|it| it.whole).collect(),
            rows: Vec::new(),
        };
        for object in objects {
            let cells = shown.iter().map(|it| it.kind.cell(&object[it.field], look));
            table.rows.push(cells.collect());
        }
        table
    }

    /// Adds a row, which has a cell for each column.
    pub(in crate::cli) fn row<T: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells: Vec<Cell> = cells.into_iter().map(Into::into).collect();
        assert_eq!(
            cells.len(),
            self.heading.len(),
            "every row has a cell for each column"
        );
        self.rows.push(cells);
    }

    /// The first cell of each row.
    pub(in crate::cli) fn names(&self) -> impl Iterator<Item = &str> {
        self.rows
            .iter()
            .filter_map(|row| row.first())
            .map(|cell| cell.text.as_str())
    }

    /// The lines, the heading first unless it is left out.
    pub(in crate::cli) fn render(&self, look: &Look, with_heading: bool) -> String {
        let widths = self.widths(look.width);
        let mut text = String::new();
        if with_heading {
            let bold = look.colour.then_some("1");
            let heading = self.heading.iter().map(|title| (title.as_str(), bold));
            line(heading, &widths, &mut text);
        }
        for row in &self.rows {
            let cells = row.iter().map(|cell| {
                let code = look.colour.then(|| cell.paint.code()).flatten();
                (cell.text.as_str(), code)
            });
            line(cells, &widths, &mut text);
        }
        text
    }

    /// The heading and the rows at this width, each cell as long as its column is wide.
    pub(in crate::cli) fn laid_out(&self, most: usize) -> (String, Vec<Vec<(String, Paint)>>) {
        let widths = self.widths(Some(most));
        let padded = |text: &str, column: usize| {
            let text = cut(text, widths[column]);
            let pad = widths[column] - width(&text) + COLUMN_GAP;
            text + &" ".repeat(pad)
        };
        let heading = self.heading.iter().enumerate();
        let heading = heading
            .map(|(column, title)| padded(title, column))
            .collect();
        let row = |row: &Vec<Cell>| {
            let cells = row.iter().enumerate();
            let cells = cells.map(|(column, cell)| (padded(&cell.text, column), cell.paint));
            cells.collect()
        };
        (heading, self.rows.iter().map(row).collect())
    }

    /// How wide each column is: as wide as its cells, unless all together are more than `most`; then the widest ones
    /// give way.
    fn widths(&self, most: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self.heading.iter().map(|title| width(title)).collect();
        let least: Vec<usize> = widths
            .iter()
            .map(|title| (*title).max(COLUMN_MIN))
            .collect();
        for row in &self.rows {
            for (width_, cell) in widths.iter_mut().zip(row) {
                *width_ = (*width_).max(width(&cell.text));
            }
        }
        let Some(most) = most else { return widths };
        loop {
            let total: usize =
                widths.iter().sum::<usize>() + COLUMN_GAP * widths.len().saturating_sub(1);
            let may_give =
                |column: &usize| !self.whole[*column] && widths[*column] > least[*column];
            let widest = (0..widths.len())
                .filter(may_give)
                .max_by_key(|column| widths[*column]);
            match widest {
                Some(column) if total > most => {
                    let excess = total - most;
                    widths[column] =
                        next_width(&widths, column, least[column], excess, &self.whole);
                }
                Some(_) | None => return widths,
            }
        }
    }
}

/// What is left of the widest column when it gives way by `excess`, or until it is as wide as the next one.
fn next_width(
    widths: &[usize],
    column: usize,
    least: usize,
    excess: usize,
    whole: &[bool],
) -> usize {
    let others = (0..widths.len()).filter(|it| *it != column && !whole[*it]);
    let runner_up = others.map(|it| widths[it]).max().unwrap_or(0);
    let target = runner_up.min(widths[column] - 1);
    widths[column].saturating_sub(excess).max(target).max(least)
}

fn line<'a>(
    cells: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    widths: &[usize],
    out: &mut String,
) {
    let mut line = String::new();
    // Spaces that wait for something to stand behind them: a line has none at its end.
    let mut gap = 0;
    for ((text, code), most) in cells.zip(widths) {
        let text = cut(text, *most);
        line.extend(std::iter::repeat_n(' ', gap));
        gap = most - width(&text) + COLUMN_GAP;
        match code {
            Some(code) => line.push_str(&format!("\u{1b}[{code}m{text}\u{1b}[0m")),
            None => line.push_str(&text),
        }
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::look::TimeStyle;

    const COLUMNS: [Column; 3] = [
        Column::new("ID", "id").whole(),
        Column::new("STATUS", "s").kind(Kind::State),
        Column::new("ERROR", "e"),
    ];

    fn table(list: &Value, columns: &[Column], look: &Look) -> String {
        Table::of(list.as_array().unwrap(), columns, false, look).render(look, true)
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_space_at_their_end() {
        let list =
            json!([{"id": "a", "n": 1, "l": ["x", "y"]}, {"id": "日本", "n": null, "l": []}]);
        let columns = [
            Column::new("ID", "id"),
            Column::new("COUNT", "n"),
            Column::new("LIST", "l"),
            Column::new("MORE", "n").wide(),
        ];
        let look = Look::plain();
        assert_eq!(
            table(&list, &columns, &look),
            "ID    COUNT  LIST\na     1      x,y\n日本  -      -\n"
        );
        let wide = Table::of(list.as_array().unwrap(), &columns, true, &look).render(&look, false);
        assert_eq!(
            wide,
            "a     1  x,y  1\n日本  -  -    -\n"
                .replace("1  x,y  1", "1      x,y   1")
                .replace("-  -    -", "-      -     -")
        );
    }

    #[test]
    fn a_table_fits_its_terminal_and_keeps_what_must_be_whole() {
        let list = json!([{"id": "0123456789012345", "s": "failed", "e": "x".repeat(200)}]);
        let look = Look {
            terminal: true,
            width: Some(60),
            time: TimeStyle::Relative,
            ..Look::plain()
        };
        let text = table(&list, &COLUMNS, &look);
        assert!(text.contains("0123456789012345  ✗ failed  xxx"), "{text}");
        assert!(text.lines().all(|line| width(line) <= 60), "{text}");
        assert!(
            text.lines()
                .any(|line| width(line) == 60 && line.ends_with('…')),
            "{text}"
        );
        // What cannot be cut any more runs over.
        let narrow = Look {
            width: Some(10),
            ..look
        };
        assert!(table(&list, &COLUMNS, &narrow).contains("0123456789012345"));
    }

    #[test]
    fn nothing_is_cut_on_a_pipe() {
        let long = "x".repeat(100_000);
        let text = table(&json!([{"id": long}]), &COLUMNS[..1], &Look::plain());
        assert_eq!(text, format!("ID\n{long}\n"));
    }

    #[test]
    fn a_state_is_a_word_whatever_the_colour() {
        let list = json!([{"id": "a", "s": "failed"}]);
        let plain = table(&list, &COLUMNS[..2], &Look::plain());
        assert_eq!(plain, "ID  STATUS\na   failed\n");
        let look = Look {
            colour: true,
            terminal: true,
            ..Look::plain()
        };
        let coloured = table(&list, &COLUMNS[..2], &look);
        assert!(
            coloured.contains("\u{1b}[31m✗ failed\u{1b}[0m"),
            "{coloured:?}"
        );
    }

    #[test]
    fn cells_cannot_steer_the_terminal() {
        let list = json!([{"id": "\u{1b}[31mred\nnext\u{202e}x"}]);
        let text = table(&list, &COLUMNS[..1], &Look::plain());
        assert_eq!(text, "ID\n\u{fffd}[31mred\u{fffd}next\u{fffd}x\n");
    }
}
