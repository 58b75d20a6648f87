// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files of snapshots, written on one machine and read on another.
//!
//! All numbers are little-endian. A file is:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | [`MAGIC`] |
//! | 4 | version of the format: 2, or 1 |
//! | 4 | flags: 0 |
//!
//! and then frames. A frame is:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `SNAP`, or `DONE` for the last one, behind which the file ends |
//! | 4 | number of frames before this one |
//! | 4 | bytes of payload, 0 in the last frame |
//! | 4 | CRC-32 (IEEE) of the 12 bytes before and of the payload |
//! | n | payload: one snapshot |
//!
//! What a payload is, [`v1`] and [`v2`] say. Each version is frozen: its types are not the library's own,
//! which may grow. Another layout is another version of the format, and these stay readable. Version 2 is
//! written.
//!
//! # Bincode
//!
//! The payload is written by bincode, as the project's design has it. Bincode is unmaintained
//! (RUSTSEC-2025-0141): 2.0.1 is the last release that works, 3.0.0 is but a compile error. So this is
//! the only module that uses it, its version is pinned, and little is left to it: the framing, the
//! limits and the checksums are done here, and it sees one flat value at a time, of a checked frame. In
//! the configuration used it writes a number as it is, little-endian, a bool or the mark of an Option as
//! a byte of 0 or 1, the number of an enum's variant as 4 bytes, and the length of bytes or text as 8
//! bytes before them. Code that does the same can replace it without a new version of the format, and
//! another encoding can follow as version 3.

mod v1;
mod v2;

use crate::{Error, Snapshot};
use core::fmt;
use serde::{Deserialize, Serialize};
use std::{
    io::{Read, Write},
    string::String,
    time::{Duration, SystemTime},
    vec::Vec,
};

/// The first byte is no text, the line ends notice a transfer as text.
const MAGIC: [u8; 8] = *b"\x89MAPS\r\n\x1a";
/// The version that is written, the highest one that is read.
const VERSION: u32 = 2;
const HEADER: u32 = 16;

const SNAPSHOT: [u8; 4] = *b"SNAP";
const DONE: [u8; 4] = *b"DONE";
const FRAME: u32 = 16;

/// No value that bincode sees has more bytes: a name is of a few thousand at most.
const MAX_VALUE: usize = 1 << 20;
/// Bytes of a snapshot that are read unless told otherwise: a million mappings with long names.
const DEFAULT_LIMIT: u32 = 256 << 20;

const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Fixint,
    bincode::config::Limit<MAX_VALUE>,
> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<MAX_VALUE>();

/// A snapshot, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CapturedProcess {
    /// ID of the process.
    pub pid: u32,
    /// ID of the thread that was asked, if it was one.
    pub tid: Option<u32>,
    /// What it is called: its comm, or any other text.
    pub label: String,
    /// When the snapshot was taken, since the beginning of 1970 (UTC).
    pub time: Duration,
    /// What it had mapped.
    pub snapshot: Snapshot,
}

impl CapturedProcess {
    /// A snapshot that was taken just now.
    pub fn new(pid: u32, snapshot: Snapshot) -> Self {
        Self {
            pid,
            tid: None,
            label: String::new(),
            // A clock that is before 1970 tells nothing.
            time: SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default(),
            snapshot,
        }
    }
}

/// Writes a capture: a file of snapshots.
///
/// ```
/// use maps_lockless::{CaptureReader, CaptureWriter, CapturedProcess, Process};
///
/// let mut captured = CapturedProcess::new(std::process::id(), Process::current().snapshot()?);
/// captured.label = "example".into();
/// let mut writer = CaptureWriter::create(Vec::new())?;
/// writer.add(&captured)?;
/// let file = writer.finish()?;
///
/// for read in CaptureReader::new(&file[..])? {
///     assert_eq!(read?, captured);
/// }
/// # Ok::<(), maps_lockless::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "without finish() the file is not whole"]
pub struct CaptureWriter<W: Write> {
    output: W,
    frames: u32,
    payload: Vec<u8>,
}

impl<W: Write> CaptureWriter<W> {
    /// Begins a capture. Each snapshot is written at once, by two calls of `output`.
    pub fn create(mut output: W) -> Result<Self, Error> {
        let mut header = Vec::from(MAGIC);
        header.extend(VERSION.to_le_bytes());
        header.extend(0_u32.to_le_bytes());
        output.write_all(&header).map_err(io)?;
        Ok(Self {
            output,
            frames: 0,
            payload: Vec::new(),
        })
    }

    /// Adds a snapshot. Where writing fails, the capture is broken, and who reads it will notice.
    pub fn add(&mut self, process: &CapturedProcess) -> Result<(), Error> {
        self.payload.clear();
        v2::encode(process, &mut self.payload)?;
        self.frame(SNAPSHOT)
    }

    /// Ends the capture. Without this, whoever reads it takes it for truncated.
    pub fn finish(mut self) -> Result<W, Error> {
        self.payload.clear();
        self.frame(DONE)?;
        self.output.flush().map_err(io)?;
        Ok(self.output)
    }

    fn frame(&mut self, kind: [u8; 4]) -> Result<(), Error> {
        let length = u32::try_from(self.payload.len()).map_err(|_| Error::unwritable())?;
        let next = self.frames.checked_add(1).ok_or_else(Error::unwritable)?;
        let mut head = Vec::from(kind);
        head.extend(self.frames.to_le_bytes());
        head.extend(length.to_le_bytes());
        head.extend(checksum(&head, &self.payload).to_le_bytes());
        self.output.write_all(&head).map_err(io)?;
        self.output.write_all(&self.payload).map_err(io)?;
        self.frames = next;
        Ok(())
    }
}

/// Reads a capture, one snapshot at a time.
///
/// The bytes may come from anybody: memory grows with what is really there, and up to a limit. What is
/// read was written so; that mappings are in order and apart is not checked. The first error is the
/// last item. Without error, the capture was read to its end, and is whole.
///
/// That a snapshot is consistent is not believed but proved again, by the
/// [`evidence`](Snapshot::evidence) that the capture keeps. Captures of version 1 keep none: of their
/// snapshots the judgement is [`Judgement::Unknown`](crate::Judgement::Unknown).
#[derive(Debug)]
pub struct CaptureReader<R: Read> {
    input: R,
    version: u32,
    limit: u32,
    /// Bytes read.
    at: u64,
    frames: u32,
    buffer: Vec<u8>,
    ended: bool,
}

impl<R: Read> CaptureReader<R> {
    /// Begins to read a capture. Reads are large: nothing is gained by a `BufReader`.
    pub fn new(input: R) -> Result<Self, Error> {
        let mut reader = Self {
            input,
            version: VERSION,
            limit: DEFAULT_LIMIT,
            at: 0,
            frames: 0,
            buffer: Vec::new(),
            ended: false,
        };
        let whole = reader.fill(HEADER)?;
        let known = reader.buffer.len().min(MAGIC.len());
        if reader.buffer[..known] != MAGIC[..known] {
            return Err(Error::capture(0, Fault::Foreign));
        }
        let Some((_, [version, flags])) = numbers(&reader.buffer).filter(|_| whole) else {
            return Err(Error::capture(reader.at, Fault::Truncated));
        };
        reader.version = version;
        match (version, flags) {
            (1..=VERSION, 0) => Ok(reader),
            (1..=VERSION, _) => Err(Error::capture(12, Fault::Flags(flags))),
            _ => Err(Error::capture(8, Fault::Version(version))),
        }
    }

    /// Refuses a snapshot of more bytes than so many: 256 MiB, unless told otherwise.
    #[must_use]
    pub fn limit(mut self, bytes: u32) -> Self {
        self.limit = bytes;
        self
    }

    /// Reads so many bytes into the buffer. False where the file ends before.
    fn fill(&mut self, length: u32) -> Result<bool, Error> {
        self.buffer.clear();
        let mut part = (&mut self.input).take(length.into());
        let read = part.read_to_end(&mut self.buffer).map_err(io)?;
        self.at = self.at.saturating_add(read as u64);
        Ok(u32::try_from(read) == Ok(length))
    }

    /// The next snapshot, or none behind the last one.
    fn read(&mut self) -> Result<Option<CapturedProcess>, Error> {
        let begin = self.at;
        let whole = self.fill(FRAME)?;
        let Some((head, [index, length, sum])) = numbers(&self.buffer).filter(|_| whole) else {
            return Err(Error::capture(self.at, Fault::Truncated));
        };
        let kind = head.first_chunk().copied().unwrap_or_default();
        if kind != SNAPSHOT && (kind != DONE || length != 0) {
            return Err(Error::capture(begin, Fault::NoFrame));
        }
        if length > self.limit {
            let limit = self.limit;
            return Err(Error::capture(begin, Fault::Limit { length, limit }));
        }
        let head: [u8; 12] = head.first_chunk().copied().unwrap_or_default();
        if !self.fill(length)? {
            return Err(Error::capture(self.at, Fault::Truncated));
        }
        if checksum(&head, &self.buffer) != sum {
            return Err(Error::capture(begin, Fault::Checksum));
        }
        if index != self.frames {
            let expected = self.frames;
            return Err(Error::capture(begin, Fault::Order { index, expected }));
        }
        if kind == DONE {
            let end = self.at;
            self.fill(1)?;
            return match self.buffer.is_empty() {
                true => Ok(None),
                false => Err(Error::capture(end, Fault::Trailing)),
            };
        }
        self.frames = self.frames.saturating_add(1);
        let decoded = match self.version {
            1 => v1::decode(&self.buffer),
            _ => v2::decode(&self.buffer),
        };
        match decoded {
            Ok(process) => Ok(Some(process)),
            Err(at) => {
                let payload = begin + u64::from(FRAME);
                Err(Error::capture(payload + at as u64, Fault::Value))
            }
        }
    }
}

impl<R: Read> Iterator for CaptureReader<R> {
    type Item = Result<CapturedProcess, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.read().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl<R: Read> core::iter::FusedIterator for CaptureReader<R> {}

/// What is wrong with a capture, and what to try.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Foreign,
    Version(u32),
    Flags(u32),
    Truncated,
    NoFrame,
    Limit { length: u32, limit: u32 },
    Checksum,
    Order { index: u32, expected: u32 },
    Value,
    Trailing,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str(
                "this is no capture: is it the right file, and was it transferred as binary?",
            ),
            Self::Version(version) => write!(
                f,
                "version {version} of the format is not known, those up to {VERSION} are: try a newer release"
            ),
            Self::Flags(flags) => {
                write!(f, "flags {flags:#x} are not known: try a newer release")
            }
            Self::Truncated => f.write_str(
                "the file ends before the capture does: transfer it again, or capture anew",
            ),
            Self::NoFrame => f.write_str("the file is damaged, no frame begins: transfer it again"),
            Self::Limit { length, limit } => write!(
                f,
                "a snapshot of {length} bytes, more than the limit of {limit}: \
                 if the file is to be trusted, raise CaptureReader::limit"
            ),
            Self::Checksum => {
                f.write_str("the file is damaged, a checksum is wrong: transfer it again")
            }
            Self::Order { index, expected } => write!(
                f,
                "frame {index} stands in the place of frame {expected}: \
                 the file was changed, capture anew"
            ),
            Self::Value => f.write_str(
                "this is no part of a snapshot, though the checksum is right: \
                 was it written by another program?",
            ),
            Self::Trailing => f.write_str(
                "the capture ends and the file goes on: were files joined? split them here",
            ),
        }
    }
}

fn io(error: std::io::Error) -> Error {
    Error::io("capture", &error)
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

/// The numbers that 16 bytes end with, and the bytes.
fn numbers<const N: usize>(bytes: &[u8]) -> Option<([u8; 16], [u32; N])> {
    let all: [u8; 16] = bytes.try_into().ok()?;
    let mut words = all.rchunks_exact(4);
    let mut last = [0; N];
    for number in last.iter_mut().rev() {
        *number = u32::from_le_bytes(words.next()?.try_into().ok()?);
    }
    Some((all, last))
}

fn is_range(&(start, end): &(u64, u64)) -> bool {
    start <= end
}

/// Appends a value, if it is one that would be read again.
fn put<T: Serialize>(
    value: &T,
    valid: impl FnOnce(&T) -> bool,
    payload: &mut Vec<u8>,
) -> Result<(), Error> {
    if !valid(value) {
        return Err(Error::unwritable());
    }
    let before = payload.len();
    bincode::serde::encode_into_std_write(value, payload, CONFIG)
        .map_err(|_| Error::unwritable())?;
    if payload.len() - before > MAX_VALUE || u32::try_from(payload.len()).is_err() {
        return Err(Error::unwritable());
    }
    Ok(())
}

/// The values of a payload, one behind the other.
struct Values<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Values<'a> {
    fn of(payload: &'a [u8]) -> Self {
        Self { payload, at: 0 }
    }

    /// So many values, each as `T`. The count is believed no more than there are bytes: a value that has
    /// none ends it.
    fn take_all<T: Deserialize<'a>, U>(
        &mut self,
        count: u64,
        valid: impl Fn(&T) -> bool,
        convert: impl Fn(T) -> U,
    ) -> Result<Vec<U>, usize> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(convert(self.take(&valid)?));
        }
        Ok(all)
    }

    /// Fails where the payload goes on.
    fn end(&self) -> Result<(), usize> {
        match self.at == self.payload.len() {
            true => Ok(()),
            false => Err(self.at),
        }
    }

    /// The next value, if it is one that `valid` takes. Fails with where it would begin.
    fn take<T: Deserialize<'a>>(&mut self, valid: impl FnOnce(&T) -> bool) -> Result<T, usize> {
        let rest = self.payload.get(self.at..).unwrap_or_default();
        match bincode::serde::borrow_decode_from_slice(rest, CONFIG) {
            Ok((value, size)) if valid(&value) => {
                self.at += size;
                Ok(value)
            }
            _ => Err(self.at),
        }
    }
}

#[cfg(test)]
mod tests;
