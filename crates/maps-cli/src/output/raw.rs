// SPDX-License-Identifier: MIT OR Apache-2.0

//! Fields parted by one space.

use super::{Output, Style, tell_unknown, text};
use crate::{
    columns::{Column, Row, Value},
    listing::Verdict,
    processes::Target,
    sanitize,
};
use std::io::{self, Write};

/// Each line has as many fields as there are columns, none of them empty.
pub struct Raw<'a, W> {
    columns: &'a [Column],
    style: Style,
    out: W,
    line: Vec<u8>,
    headed: bool,
}

impl<'a, W: Write> Raw<'a, W> {
    pub fn new(columns: &'a [Column], style: Style, out: W) -> Self {
        Self {
            columns,
            style,
            out,
            line: Vec::new(),
            headed: !style.headings,
        }
    }

    fn head(&mut self) -> io::Result<()> {
        if !self.headed {
            self.headed = true;
            let names: Vec<&str> = self.columns.iter().map(|column| column.name()).collect();
            writeln!(self.out, "{}", names.join(" "))?;
        }
        Ok(())
    }
}

impl<W: Write> Output for Raw<'_, W> {
    fn mapping(&mut self, row: &Row<'_>) -> io::Result<()> {
        self.head()?;
        self.line.clear();
        for (i, column) in self.columns.iter().enumerate() {
            if i > 0 {
                self.line.push(b' ');
            }
            let before = self.line.len();
            let value = column.value(row);
            // A name that looks like none is told from none.
            if matches!(&value, Value::Bytes(name) if **name == *b"-") {
                self.line.extend(b"\\x2d");
                continue;
            }
            text::write(&mut self.line, &value, self.style.bytes, sanitize::as_field);
            if self.line.len() == before {
                self.line.push(b'-');
            }
        }
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    fn end(&mut self, target: &Target, result: Result<&Verdict, &str>) -> io::Result<()> {
        if let Ok(verdict) = result {
            tell_unknown(target, verdict);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.head()?;
        self.out.flush()
    }
}
