//! The only place that writes to stdout and stderr. Results go to stdout, as a table, as ids or as the server's own
//! JSON; everything else goes to stderr.

mod look;
mod table;
mod text;

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::Args;
use serde_json::Value;
use serde_json::value::RawValue;

pub(super) use self::look::Look;
pub use self::look::{ColorChoice, TimeStyle};
pub(super) use self::table::{Cell, Column, Kind, Paint, Table, symbol_of};
pub(super) use self::text::{cell, harmless, harmless_lines, width};

/// What results look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// The same with more of them.
    Wide,
    /// One JSON document, in the API's words.
    Json,
    /// One JSON object a line.
    Jsonl,
    /// Ids only, one a line.
    Name,
}

/// How results are dressed.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// What results look like
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub output: Format,
    /// Print ids only, as -o name does
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// How times are spelled [default: relative on a terminal, utc elsewhere]
    #[arg(long, global = true, value_enum, value_name = "STYLE")]
    pub time: Option<TimeStyle>,
    /// When there is colour; NO_COLOR and CLICOLOR_FORCE are heeded
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub color: ColorChoice,
    /// Cut nothing to fit the terminal
    #[arg(long, global = true)]
    pub no_trunc: bool,
}

/// A list in an answer of the API: where it is, what names its items, and how they are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listing {
    /// The field that holds the list.
    pub(super) list: &'static str,
    /// The field that names an item.
    pub(super) id: &'static str,
    /// The columns of a table.
    pub(super) columns: &'static [Column],
}

/// Where a command's result goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    format: Format,
    look: Look,
}

impl Output {
    /// Results that look like this.
    pub(super) fn new(args: &OutputArgs) -> Self {
        let format = if args.quiet {
            Format::Name
        } else {
            args.output
        };
        Self {
            format,
            look: Look::of_stdout(args.color, args.time, args.no_trunc),
        }
    }

    /// What results look like.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// How they are dressed.
    pub(super) fn look(&self) -> &Look {
        &self.look
    }

    /// How they are dressed now, when this goes on for a while.
    pub(super) fn refreshed(&self) -> Look {
        Look {
            now: jiff::Timestamp::now(),
            ..self.look
        }
    }

    /// Prints `items` of a list that goes on; fails when nobody reads it any more.
    pub(super) fn stream(
        &self,
        items: &[Value],
        listing: &Listing,
        with_heading: bool,
    ) -> io::Result<()> {
        write_stdout(&self.spelled(items, listing, with_heading))
    }

    /// Prints the answer `json`, which holds a list.
    pub(super) fn list(&self, json: &str, listing: &Listing) -> anyhow::Result<()> {
        match self.format {
            Format::Json => self.document(json),
            Format::Jsonl => {
                let members: BTreeMap<String, &RawValue> = serde_json::from_str(json)?;
                let items: Vec<&RawValue> = match members.get(listing.list) {
                    Some(list) => serde_json::from_str(list.get())?,
                    None => Vec::new(),
                };
                self.lines(items.into_iter().map(|item| one_line(item.get())))
            }
            Format::Name | Format::Table | Format::Wide => {
                let page: Value = serde_json::from_str(json)?;
                let items = page[listing.list].as_array().map_or(&[][..], Vec::as_slice);
                self.print(&self.spelled(items, listing, true))
            }
        }
    }

    /// `items` of a list, under the heading or without it; as JSON one a line.
    fn spelled(&self, items: &[Value], listing: &Listing, with_heading: bool) -> String {
        match self.format {
            Format::Json | Format::Jsonl => joined(items.iter().map(Value::to_string)),
            Format::Name => joined(items.iter().map(|item| harmless(&cell(&item[listing.id])))),
            Format::Table | Format::Wide => {
                let wide = self.format == Format::Wide;
                let table = Table::of(items, listing.columns, wide, &self.look);
                table.render(&self.look, with_heading)
            }
        }
    }

    /// Prints the answer `json`, which is one item of a list, as a table of one row.
    pub(super) fn row(&self, json: &str, listing: &Listing) -> anyhow::Result<()> {
        match self.format {
            Format::Json => self.document(json),
            Format::Jsonl => self.lines([one_line(json)]),
            Format::Name | Format::Table | Format::Wide => {
                self.print(&self.spelled(&[serde_json::from_str(json)?], listing, true))
            }
        }
    }

    /// Prints the answer `json`, which is one object named by its field `id`, as a table of its `fields`.
    pub(super) fn fields(
        &self,
        json: &str,
        id: &str,
        fields: &[(&str, Kind)],
    ) -> anyhow::Result<()> {
        if self.format == Format::Name {
            let object: Value = serde_json::from_str(json)?;
            return self.lines([harmless(&cell(&object[id]))]);
        }
        self.result(json, |object| {
            let mut table = Table::new(&["FIELD", "VALUE"]);
            for (field, kind) in fields {
                table.row([(*field).into(), kind.cell(&object[*field], &self.look)]);
            }
            table
        })
    }

    /// Prints `json`, or what `table` makes of it. What has no ids is named by the table's first column.
    pub(super) fn result(
        &self,
        json: &str,
        table: impl FnOnce(&Value) -> Table,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Json => self.document(json),
            Format::Jsonl => self.lines([one_line(json)]),
            Format::Name => {
                let table = table(&serde_json::from_str(json)?);
                self.lines(table.names().map(str::to_owned))
            }
            Format::Table | Format::Wide => {
                let table = table(&serde_json::from_str(json)?);
                self.print(&table.render(&self.look, true))
            }
        }
    }

    /// Prints `json`, or the text that `spell` makes of it, whatever it is for people.
    pub(super) fn text(
        &self,
        json: &str,
        spell: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Json => self.document(json),
            Format::Jsonl => self.lines([one_line(json)]),
            Format::Name | Format::Table | Format::Wide => {
                self.print(&spell(&serde_json::from_str(json)?))
            }
        }
    }

    /// Prints `text` as it is, with an end of line.
    pub(super) fn document(&self, text: &str) -> anyhow::Result<()> {
        self.print(&format!("{}\n", text.trim_end()))
    }

    /// Prints one item a line.
    pub(super) fn lines(&self, lines: impl IntoIterator<Item = String>) -> anyhow::Result<()> {
        self.print(&joined(lines))
    }

    /// Prints `text`, which is made harmless already.
    pub(super) fn print(&self, text: &str) -> anyhow::Result<()> {
        let written = write_stdout(text);
        match written {
            // Whoever read the results has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }
}

fn joined(lines: impl IntoIterator<Item = String>) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The JSON document `json` on one line: where it may have ends of lines, it may have spaces.
pub(super) fn one_line(json: &str) -> String {
    json.trim().replace(['\n', '\r'], " ")
}

/// Writes `text` to stdout; fails when nobody reads it any more.
pub(super) fn write_stdout(text: &str) -> io::Result<()> {
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
