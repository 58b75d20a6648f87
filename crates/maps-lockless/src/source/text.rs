// SPDX-License-Identifier: MIT OR Apache-2.0

//! The text of `/proc/<pid>/maps`.

use crate::{Error, Request, file::NamedFile};
use std::{path::Path, vec::Vec};

/// Bytes of a read: what the kernel fills at most is a page or two.
const READ: usize = 65_536;
/// No line is longer: what maps writes before the name, PATH_MAX with each byte written as four, and
/// the mark of a deleted file.
const LINE_MAX: usize = 128 + 4 * 4096 + 16;

/// An open `maps`.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) file: NamedFile,
    pub(crate) request: Request,
    /// Its length is fixed once there was a read.
    pub(crate) buf: Vec<u8>,
    /// Bytes of `buf` that were given out already, and those that hold text.
    given: usize,
    filled: usize,
    /// Number of the first line that is given out next, counted from 1.
    pub(crate) line: usize,
}

/// Some lines.
pub(crate) struct Chunk<'a> {
    pub(crate) lines: &'a [u8],
    /// Number of the first, counted from 1.
    pub(crate) first: usize,
    /// For errors.
    pub(crate) path: &'a Path,
}

impl Text {
    pub(crate) fn new(file: NamedFile, request: &Request) -> Result<Self, Error> {
        request.selection.check_maps_can(&file)?;
        Ok(Self {
            file,
            request: *request,
            buf: Vec::new(),
            given: 0,
            filled: 0,
            line: 1,
        })
    }

    /// Reads into another buffer from now on. What is left of the last read goes there.
    pub(crate) fn set_buffer(&mut self, mut buf: Vec<u8>) {
        buf.clear();
        buf.extend_from_slice(&self.buf[self.given..self.filled]);
        self.filled -= self.given;
        self.given = 0;
        self.buf = buf;
    }

    /// Reads whole lines, some at a time.
    pub(crate) fn next(&mut self) -> Result<Option<Chunk<'_>>, Error> {
        self.buf.copy_within(self.given..self.filled, 0);
        self.filled -= self.given;
        self.given = 0;
        self.buf.resize(READ + LINE_MAX, 0);
        loop {
            let searched = self.filled;
            let Some(room) = self.buf.get_mut(searched..).filter(|room| !room.is_empty()) else {
                return Err(Error::text(self.file.path(), self.line));
            };
            let len = self.file.read(room)?;
            self.filled += len;
            let last = self.buf[searched..self.filled]
                .iter()
                .rposition(|&byte| byte == b'\n');
            self.given = match last {
                Some(at) => searched + at + 1,
                // The last line should end as any other.
                None if len == 0 && self.filled > 0 => self.filled,
                None if len == 0 => return Ok(None),
                None => continue,
            };
            let line = self.line;
            let lines = &self.buf[..self.given];
            self.line += newlines(lines);
            return Ok(Some(Chunk {
                lines,
                first: line,
                path: self.file.path(),
            }));
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn rewind(&mut self) -> Result<(), Error> {
        self.file.rewind()?;
        (self.given, self.filled, self.line) = (0, 0, 1);
        Ok(())
    }
}

/// How many newlines there are. Sums of a byte each can be made of many bytes at once.
fn newlines(text: &[u8]) -> usize {
    let blocks = text.chunks(u8::MAX.into());
    let sum = |block: &[u8]| {
        block
            .iter()
            .map(|&byte| u8::from(byte == b'\n'))
            .sum::<u8>()
    };
    blocks.map(|block| usize::from(sum(block))).sum()
}
