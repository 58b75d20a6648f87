// SPDX-License-Identifier: MIT OR Apache-2.0

//! How listings are written.

pub mod color;
mod footer;
mod json;
mod layout;
mod maps;
mod raw;
mod summary;
mod table;
pub mod text;
mod tree;

use crate::{
    columns::{Column, Row, chosen},
    listing::Verdict,
    options::{Color, Format, Options},
    processes::Target,
    size::human,
};
use anyhow::Result;
use std::{
    io::{self, BufWriter, IsTerminal, StdoutLock},
    ops::Range,
};

/// Where listings go. What is written before the end goes out while the process is read.
pub trait Output {
    /// A process's mappings follow.
    fn begin(&mut self, _target: &Target) -> io::Result<()> {
        Ok(())
    }

    /// A mapping.
    fn mapping(&mut self, row: &Row<'_>) -> io::Result<()>;

    /// A range of which nothing is known. It is no mapping. The verdict has all of them as well, for
    /// those that tell them at the end.
    fn unknown(&mut self, _target: &Target, _range: &Range<u64>) -> io::Result<()> {
        Ok(())
    }

    /// The process's mappings are over, or could not be read.
    fn end(&mut self, target: &Target, result: Result<&Verdict, &str>) -> io::Result<()>;

    /// There are no more processes.
    fn finish(&mut self) -> io::Result<()>;
}

/// Says on standard error what an output that shows mappings alone has no place for.
fn tell_unknown(target: &Target, verdict: &Verdict) {
    if let Some(first) = verdict.unknown.first() {
        eprintln!(
            "lsmaps: {}: {}, the first one at {:x}: mappings may be missing there, for the process was \
             changing them, read them again",
            target.pid,
            text::unknown(verdict.unknown.len()),
            first.start
        );
    }
}

/// How text looks.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Sizes in bytes.
    pub bytes: bool,
    /// Headings, and the last line.
    pub headings: bool,
    pub color: bool,
    /// Standard output is a terminal.
    pub terminal: bool,
    /// Columns that a line must fit in.
    pub width: Option<usize>,
}

impl Style {
    pub fn new(options: &Options) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let width = terminal_size::terminal_size_of(&stdout).map(|(width, _)| width.0.into());
        Self {
            bytes: options.bytes,
            headings: !options.noheadings,
            color: match options.color {
                Color::Auto => {
                    anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never
                }
                Color::Always => true,
                Color::Never => false,
            },
            terminal,
            width: width.filter(|_| terminal && !options.notruncate),
        }
    }

    /// A size, as it is to be shown.
    fn size(&self, bytes: u64) -> String {
        match self.bytes {
            true => bytes.to_string(),
            false => human(bytes),
        }
    }
}

/// The columns that are needed for what the options ask for. `several`: more than one process may come.
pub fn columns(options: &Options, several: bool) -> Result<Vec<Column>> {
    if options.count {
        return Ok(Vec::new());
    }
    if options.summary {
        return Ok(summary::COLUMNS.to_vec());
    }
    if options.tree {
        return Ok(tree::COLUMNS.to_vec());
    }
    if options.format() == Format::Maps {
        return Ok(maps::COLUMNS.to_vec());
    }
    let mut columns = chosen(
        options.output.as_deref(),
        options.output_all,
        several,
        !options.addr.is_empty(),
    )?;
    let is_json = matches!(options.format(), Format::Json | Format::Jsonl);
    if is_json && options.output.is_none() && !options.output_all {
        // The head of the object says whose they are, and no line is marked otherwise.
        columns.retain(|column| !matches!(column, Column::Pid | Column::Command));
        columns.push(Column::Marks);
    }
    Ok(columns)
}

/// The output that the options ask for.
pub fn new<'a>(
    options: &Options,
    columns: &'a [Column],
    out: BufWriter<StdoutLock<'a>>,
) -> Box<dyn Output + 'a> {
    let style = Style::new(options);
    if options.tree {
        return Box::new(tree::Tree::new(style, out));
    }
    if options.summary || options.count {
        return Box::new(summary::Summary::new(style, options.count, out));
    }
    match options.format() {
        Format::Table => Box::new(table::Table::new(columns, style, out)),
        Format::Raw => Box::new(raw::Raw::new(columns, style, out)),
        Format::Json => Box::new(json::Json::document(columns, out)),
        Format::Jsonl => Box::new(json::Json::lines(columns, out)),
        Format::Maps => Box::new(maps::Maps::new(style.terminal, out)),
    }
}
