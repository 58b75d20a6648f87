// SPDX-License-Identifier: MIT OR Apache-2.0

//! Columns that line up, and a last line that says what may be believed.

use super::{Output, Style, color, footer::Footer, text};
use crate::{
    columns::{Column, Row, UNKNOWN, Value, marks},
    listing::Verdict,
    processes::Target,
    sanitize,
};
use anstyle::Style as Ansi;
use std::{
    io::{self, Write},
    ops::Range,
};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// So many lines say how wide the columns are. The next ones are written as they come.
const HELD: usize = 512;
/// A name is not cut shorter than this, however narrow the terminal.
const LEAST_NAME: usize = 16;

/// A table.
pub struct Table<'a, W> {
    columns: &'a [Column],
    style: Style,
    out: W,
    /// Of all columns. None of them gets narrower.
    widths: Vec<usize>,
    held: Option<Vec<Line>>,
    /// Whether lines say themselves that they are marked.
    tell_marks: bool,
    footer: Footer,
    buffer: Vec<u8>,
}

/// A line that is held back until the widths are known.
struct Line {
    cells: Vec<Vec<u8>>,
    color: Ansi,
    marks: Vec<&'static str>,
}

impl<'a, W: Write> Table<'a, W> {
    pub fn new(columns: &'a [Column], style: Style, out: W) -> Self {
        let widths = columns.iter().map(|column| match style.headings {
            true => column.name().len(),
            false => 0,
        });
        Self {
            columns,
            style,
            out,
            widths: widths.collect(),
            held: Some(Vec::new()),
            tell_marks: !columns.contains(&Column::Marks),
            footer: Footer::default(),
            buffer: Vec::new(),
        }
    }

    /// Writes the heading, and what was held back until the widths were known.
    fn lay_out(&mut self) -> io::Result<()> {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        if self.style.headings {
            let columns = self.columns;
            self.write(Ansi::new().bold(), &[], |i, line| {
                line.extend(columns[i].name().as_bytes());
                true
            })?;
        }
        held.iter().try_for_each(|line| {
            self.write(line.color, &line.marks, |i, buffer| {
                buffer.extend(&line.cells[i]);
                false
            })
        })
    }

    /// Writes a line. `cell` adds the text of a column to it, and tells whether that is surely ASCII.
    fn write(
        &mut self,
        color: Ansi,
        marks: &[&str],
        cell: impl Fn(usize, &mut Vec<u8>) -> bool,
    ) -> io::Result<()> {
        let buffer = &mut self.buffer;
        buffer.clear();
        if self.style.color {
            write!(buffer, "{color}")?;
        }
        let last = self.columns.len() - 1;
        let mut used = 0;
        for (i, column) in self.columns.iter().enumerate() {
            if i > 0 {
                buffer.push(b' ');
                used += 1;
            }
            let start = buffer.len();
            let width = match cell(i, buffer) {
                true => buffer.len() - start,
                false => width(&buffer[start..]),
            };
            let pad = self.widths[i].saturating_sub(width);
            let end = buffer.len();
            if column.is_right() {
                buffer.resize(end + pad, b' ');
                buffer.copy_within(start..end, start + pad);
                buffer[start..start + pad].fill(b' ');
            } else if i < last {
                buffer.resize(end + pad, b' ');
            } else if let Some(all) = self.style.width {
                fit(buffer, start, width, all.saturating_sub(used));
            }
            used += width + pad;
        }
        while buffer.last() == Some(&b' ') {
            buffer.pop();
        }
        if self.style.color {
            write!(buffer, "{color:#}")?;
        }
        if self.tell_marks && !marks.is_empty() {
            write!(buffer, "  # {}", marks.join(", "))?;
        }
        buffer.push(b'\n');
        self.out.write_all(buffer)
    }

    /// Writes a line of these values, or holds it back until the widths are known.
    fn line<'v>(
        &mut self,
        color: Ansi,
        marks: Vec<&'static str>,
        value: impl Fn(Column) -> Value<'v>,
    ) -> io::Result<()> {
        let (columns, bytes) = (self.columns, self.style.bytes);
        let cell = |i: usize, line: &mut Vec<u8>| {
            let value = value(columns[i]);
            text::write(line, &value, bytes, sanitize::for_terminal);
            !matches!(value, Value::Bytes(_))
        };
        let Some(held) = &mut self.held else {
            return self.write(color, &marks, cell);
        };
        let cells = (0..columns.len()).map(|i| {
            let mut text = Vec::new();
            cell(i, &mut text);
            text
        });
        let cells: Vec<_> = cells.collect();
        for (wide, cell) in self.widths.iter_mut().zip(&cells) {
            *wide = (*wide).max(width(cell));
        }
        held.push(Line {
            cells,
            color,
            marks,
        });
        match held.len() {
            HELD.. => self.lay_out(),
            _ => Ok(()),
        }
    }
}

impl<W: Write> Output for Table<'_, W> {
    fn mapping(&mut self, row: &Row<'_>) -> io::Result<()> {
        let (color, marks) = (color::of(row.mapping), marks(row.mapping));
        self.line(color, marks, |column| column.value(row))
    }

    fn unknown(&mut self, target: &Target, range: &Range<u64>) -> io::Result<()> {
        self.line(Ansi::new().dimmed(), vec![UNKNOWN], |column| {
            column.of_unknown(target, range)
        })
    }

    fn end(&mut self, target: &Target, result: Result<&Verdict, &str>) -> io::Result<()> {
        if let Ok(verdict) = result {
            self.footer.add(target, verdict);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if !self.footer.is_empty() {
            self.lay_out()?;
            self.footer.write(&mut self.out, &self.style)?;
        }
        self.out.flush()
    }
}

/// Columns that a text takes on a terminal.
fn width(text: &[u8]) -> usize {
    match text.is_ascii() {
        true => text.len(),
        false => utf8(text).width(),
    }
}

/// What was escaped is UTF-8.
fn utf8(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or("?")
}

/// Cuts the beginning off the text from `start` on, where there is no room for all: the end tells most of a
/// path.
fn fit(buffer: &mut Vec<u8>, start: usize, width: usize, room: usize) {
    let room = room.max(LEAST_NAME);
    if width <= room {
        return;
    }
    let text = buffer.split_off(start);
    buffer.extend("…".as_bytes());
    let (mut chars, mut left) = (utf8(&text).chars(), width);
    while left > room - 1 {
        let Some(c) = chars.next() else { break };
        left -= c.width().unwrap_or(0);
    }
    buffer.extend(chars.as_str().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::{fit, width};

    #[test]
    fn long_names_lose_their_beginning() {
        let fitted = |text: &str, room| {
            let mut buffer = format!("> {text}").into_bytes();
            fit(&mut buffer, 2, width(text.as_bytes()), room);
            String::from_utf8(buffer).unwrap().split_off(2)
        };
        assert_eq!(fitted("/usr/lib/libexample.so", 20), "…r/lib/libexample.so");
        assert_eq!(
            fitted("/usr/lib/libexample.so", 22),
            "/usr/lib/libexample.so"
        );
        assert_eq!(fitted("/usr/lib/libexample.so", 1), "…b/libexample.so");
        assert_eq!(fitted("/日本語/日本語日本語.so", 16), "…日本語日本語.so");
    }
}
