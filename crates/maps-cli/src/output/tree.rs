// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mappings grouped by what they map.

use super::{Output, Style, color, footer::Footer, text};
use crate::{
    columns::{Column, Row, UNKNOWN, Value, marks},
    listing::Verdict,
    processes::Target,
    sanitize,
};
use anstyle::Style as Ansi;
use std::{
    collections::HashMap,
    io::{self, Write},
    ops::Range,
};

/// A tree: process, file, mapping. A process is held in memory until its end.
pub struct Tree<W> {
    style: Style,
    out: W,
    groups: Vec<Group>,
    /// Where the group of each name is.
    known: HashMap<Vec<u8>, usize>,
    footer: Footer,
}

struct Group {
    name: Vec<u8>,
    bytes: u64,
    lines: Vec<Vec<u8>>,
}

/// The columns that the tree is made of.
pub const COLUMNS: [Column; 4] = [Column::Perms, Column::Offset, Column::Name, Column::Kind];

/// What a line of a mapping shows.
const LINE: [Column; 5] = [
    Column::Start,
    Column::End,
    Column::Size,
    Column::Perms,
    Column::Offset,
];

impl<W: Write> Tree<W> {
    pub fn new(style: Style, out: W) -> Self {
        Self {
            style,
            out,
            groups: Vec::new(),
            known: HashMap::new(),
            footer: Footer::default(),
        }
    }

    /// A line of a group.
    fn line<'v>(
        &self,
        color: Ansi,
        marks: &[&str],
        value: impl Fn(Column) -> Value<'v>,
    ) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        if self.style.color {
            write!(line, "{color}")?;
        }
        for column in LINE {
            let mut cell = Vec::new();
            let (value, bytes) = (value(column), self.style.bytes);
            text::write(&mut cell, &value, bytes, sanitize::for_terminal);
            match column {
                Column::Start => {
                    line.extend(format!("{:>12}-", String::from_utf8_lossy(&cell)).bytes())
                }
                Column::Size => {
                    line.extend(format!(" {:>5}", String::from_utf8_lossy(&cell)).bytes())
                }
                Column::End => line.extend(cell),
                _ => {
                    line.push(b' ');
                    line.extend(cell);
                }
            }
        }
        while line.last() == Some(&b' ') {
            line.pop();
        }
        if self.style.color {
            write!(line, "{color:#}")?;
        }
        if !marks.is_empty() {
            write!(line, "  # {}", marks.join(", "))?;
        }
        Ok(line)
    }

    /// Adds a line to the group of a name.
    fn add(&mut self, name: Vec<u8>, range: Range<u64>, line: Vec<u8>) {
        let groups = &mut self.groups;
        let at = *self.known.entry(name.clone()).or_insert_with(|| {
            groups.push(Group {
                name,
                bytes: 0,
                lines: Vec::new(),
            });
            groups.len() - 1
        });
        let group = &mut groups[at];
        group.bytes = group
            .bytes
            .saturating_add(range.end.saturating_sub(range.start));
        group.lines.push(line);
    }
}

impl<W: Write> Output for Tree<W> {
    fn mapping(&mut self, row: &Row<'_>) -> io::Result<()> {
        let mut name = Vec::new();
        match Column::Name.value(row) {
            Value::Bytes(bytes) => sanitize::for_terminal(&mut name, &bytes),
            _ => {
                let kind = Column::Kind.value(row);
                name.push(b'(');
                match kind {
                    Value::None => name.extend(b"unknown"),
                    kind => text::write(&mut name, &kind, false, sanitize::for_terminal),
                }
                name.push(b')');
            }
        }
        let (color, marks) = (color::of(row.mapping), marks(row.mapping));
        let line = self.line(color, &marks, |column| column.value(row))?;
        self.add(name, row.mapping.start..row.mapping.end, line);
        Ok(())
    }

    fn unknown(&mut self, target: &Target, range: &Range<u64>) -> io::Result<()> {
        let line = self.line(Ansi::new().dimmed(), &[UNKNOWN], |column| {
            column.of_unknown(target, range)
        })?;
        // Of mappings withheld there may be a group (unknown).
        self.add(b"(ranges unknown)".to_vec(), range.clone(), line);
        Ok(())
    }

    fn end(&mut self, target: &Target, result: Result<&Verdict, &str>) -> io::Result<()> {
        let groups = std::mem::take(&mut self.groups);
        self.known.clear();
        let Ok(verdict) = result else { return Ok(()) };
        self.footer.add(target, verdict);
        self.out.write_all(&text::title(target))?;
        writeln!(self.out)?;
        for (i, group) in groups.iter().enumerate() {
            let (branch, trunk) = match i + 1 == groups.len() {
                true => ("└─ ", "   "),
                false => ("├─ ", "│  "),
            };
            self.out.write_all(branch.as_bytes())?;
            self.out.write_all(&group.name)?;
            writeln!(self.out, "  {}", self.style.size(group.bytes))?;
            for (i, line) in group.lines.iter().enumerate() {
                let branch = if i + 1 == group.lines.len() {
                    "└─ "
                } else {
                    "├─ "
                };
                write!(self.out, "{trunk}{branch}")?;
                self.out.write_all(line)?;
                self.out.write_all(b"\n")?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.footer.write(&mut self.out, &self.style)?;
        self.out.flush()
    }
}
