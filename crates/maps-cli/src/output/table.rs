// SPDX-License-Identifier: MIT OR Apache-2.0

//! Columns that line up, and a last line that says what may be believed.

use super::{Output, Style, color, footer::Footer, text};
use crate::{
    columns::{Column, Row, Value, marks},
    listing::Verdict,
    processes::Target,
    sanitize,
};
use anstyle::Style as Ansi;
use std::io::{self, Write};
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
    /// The line that is written, once none is held. One for all, so that none is allocated.
    line: Line,
    /// Whether lines say themselves that they are marked.
    tell_marks: bool,
    footer: Footer,
    buffer: Vec<u8>,
}

/// A line before it is laid out.
#[derive(Clone, Default)]
struct Line {
    text: Vec<u8>,
    /// Where each cell ends, and how many columns of a terminal it takes.
    cells: Vec<(usize, usize)>,
    color: Ansi,
    marks: Vec<&'static str>,
}

impl Line {
    /// Ends the cell that was added to the text. All but names are ASCII.
    fn end_cell(&mut self, is_ascii: bool) {
        let start = self.cells.last().map_or(0, |cell| cell.0);
        let width = match is_ascii {
            true => self.text.len() - start,
            false => width(&self.text[start..]),
        };
        self.cells.push((self.text.len(), width));
    }

    /// The cells, and their widths.
    fn cells(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let mut start = 0;
        self.cells.iter().map(move |&(end, width)| {
            let cell = &self.text[start..end];
            start = end;
            (cell, width)
        })
    }
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
            line: Line::default(),
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
            let mut heading = Line {
                color: Ansi::new().bold(),
                ..Line::default()
            };
            for column in self.columns {
                heading.text.extend(column.name().as_bytes());
                heading.end_cell(true);
            }
            self.write(&heading)?;
        }
        held.iter().try_for_each(|line| self.write(line))
    }

    fn widen(&mut self, line: &Line) {
        for (width, cell) in self.widths.iter_mut().zip(line.cells()) {
            *width = (*width).max(cell.1);
        }
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let buffer = &mut self.buffer;
        buffer.clear();
        if self.style.color {
            write!(buffer, "{}", line.color)?;
        }
        let last = self.columns.len() - 1;
        let mut used = 0;
        for (i, (cell, width)) in line.cells().enumerate() {
            if i > 0 {
                buffer.push(b' ');
                used += 1;
            }
            let pad = self.widths[i].saturating_sub(width);
            match (self.columns[i].is_right(), i == last) {
                (true, _) => {
                    spaces(buffer, pad);
                    buffer.extend(cell);
                }
                (false, false) => {
                    buffer.extend(cell);
                    spaces(buffer, pad);
                }
                (false, true) => {
                    let room = self.style.width.map(|all| all.saturating_sub(used));
                    fit(buffer, cell, width, room);
                }
            }
            used += width + pad;
        }
        while buffer.last() == Some(&b' ') {
            buffer.pop();
        }
        if self.style.color {
            write!(buffer, "{:#}", line.color)?;
        }
        if self.tell_marks && !line.marks.is_empty() {
            write!(buffer, "  # {}", line.marks.join(", "))?;
        }
        buffer.push(b'\n');
        self.out.write_all(buffer)
    }
}

impl<W: Write> Output for Table<'_, W> {
    fn mapping(&mut self, row: &Row<'_>) -> io::Result<()> {
        let mut line = std::mem::take(&mut self.line);
        line.text.clear();
        line.cells.clear();
        line.color = color::of(row.mapping);
        line.marks = marks(row.mapping);
        for column in self.columns {
            let (value, bytes) = (column.value(row), self.style.bytes);
            text::write(&mut line.text, &value, bytes, sanitize::for_terminal);
            line.end_cell(!matches!(value, Value::Bytes(_)));
        }
        if self.held.is_none() {
            let result = self.write(&line);
            self.line = line;
            return result;
        }
        self.widen(&line);
        if let Some(held) = &mut self.held {
            held.push(line);
            if held.len() < HELD {
                return Ok(());
            }
        }
        self.lay_out()
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
            if self.style.headings {
                self.footer.write(&mut self.out, self.style.bytes)?;
            }
        }
        self.out.flush()
    }
}

fn spaces(buffer: &mut Vec<u8>, count: usize) {
    buffer.resize(buffer.len() + count, b' ');
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

/// Adds a text, of which only the end is shown where there is no room for all: it tells most of a path.
fn fit(buffer: &mut Vec<u8>, text: &[u8], width: usize, room: Option<usize>) {
    let room = room.unwrap_or(usize::MAX).max(LEAST_NAME);
    if width <= room {
        buffer.extend(text);
        return;
    }
    buffer.extend("…".as_bytes());
    let (mut chars, mut left) = (utf8(text).chars(), width);
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
            let mut buffer = Vec::new();
            fit(&mut buffer, text.as_bytes(), width(text.as_bytes()), room);
            String::from_utf8(buffer).unwrap()
        };
        assert_eq!(
            fitted("/usr/lib/libexample.so", Some(20)),
            "…r/lib/libexample.so"
        );
        assert_eq!(
            fitted("/usr/lib/libexample.so", Some(22)),
            "/usr/lib/libexample.so"
        );
        assert_eq!(
            fitted("/usr/lib/libexample.so", Some(1)),
            "…b/libexample.so"
        );
        assert_eq!(
            fitted("/usr/lib/libexample.so", None),
            "/usr/lib/libexample.so"
        );
        assert_eq!(
            fitted("/日本語/日本語日本語.so", Some(16)),
            "…日本語日本語.so"
        );
    }
}
