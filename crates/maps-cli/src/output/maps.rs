// SPDX-License-Identifier: MIT OR Apache-2.0

//! As `/proc/PID/maps` shows it, byte for byte.

use super::{Output, tell_unknown};
use crate::{
    columns::{Column, Row},
    listing::Verdict,
    processes::Target,
    sanitize,
};
use maps_lockless::text::write_line;
use std::io::{self, Write};

/// The columns that a line is made of.
pub const COLUMNS: [Column; 5] = [
    Column::Perms,
    Column::Offset,
    Column::Device,
    Column::Inode,
    Column::Name,
];

/// One process after the other, with nothing between them, as cat(1) has it. For programs that parse maps.
pub struct Maps<W> {
    out: W,
    /// On a terminal, names are escaped. To others go the very bytes.
    terminal: bool,
    line: Vec<u8>,
    escaped: Vec<u8>,
}

impl<W: Write> Maps<W> {
    pub fn new(terminal: bool, out: W) -> Self {
        Self {
            out,
            terminal,
            line: Vec::new(),
            escaped: Vec::new(),
        }
    }
}

impl<W: Write> Output for Maps<W> {
    fn mapping(&mut self, row: &Row<'_>) -> io::Result<()> {
        self.line.clear();
        write_line(&mut self.line, row.mapping)?;
        if !self.terminal {
            return self.out.write_all(&self.line);
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        self.escaped.clear();
        sanitize::for_terminal(&mut self.escaped, line);
        self.escaped.push(b'\n');
        self.out.write_all(&self.escaped)
    }

    fn end(&mut self, target: &Target, result: Result<&Verdict, &str>) -> io::Result<()> {
        if let Ok(verdict) = result {
            tell_unknown(target, verdict);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
