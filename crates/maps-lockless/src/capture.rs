// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files of snapshots, written on one machine and read on another.
//!
//! All numbers are little-endian. A file is:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | [`MAGIC`] |
//! | 4 | version of the format: 1 |
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
//! A payload is a [`Head`], as many torn ranges as it says, and as many [`Entry`]s. Version 1 is frozen:
//! these types are not the library's own, which may grow. Another layout is another version of the
//! format, and this one stays readable.
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
//! another encoding can follow as version 2.

use crate::{
    BuildId, Completeness, Device, Error, Judgement, Mapping, Marks, Name, Snapshot, Source, Token,
    VmaFlags,
};
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
const VERSION: u32 = 1;
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
        encode(process, &mut self.payload)?;
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
#[derive(Debug)]
pub struct CaptureReader<R: Read> {
    input: R,
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
        match (version, flags) {
            (VERSION, 0) => Ok(reader),
            (VERSION, _) => Err(Error::capture(12, Fault::Flags(flags))),
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
        match decode(&self.buffer) {
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
                "version {version} of the format is not known, {VERSION} is: try a newer release"
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

/// What a payload begins with.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    pid: u32,
    tid: Option<u32>,
    label: &'a str,
    seconds: u64,
    nanoseconds: u32,
    source: Origin,
    completeness: Whole,
    judgement: Moment,
    /// `mm_id` and `count`.
    token: Option<(u64, u64)>,
    torn: u64,
    mappings: u64,
}

/// [`Source`] of version 1. The order of the variants is the format's, here and below.
#[derive(Serialize, Deserialize)]
enum Origin {
    Lockless,
    Query,
    Maps,
}

/// [`Completeness`] of version 1.
#[derive(Serialize, Deserialize)]
enum Whole {
    Complete,
    Gone,
    NoAddressSpace,
    Unknown,
}

/// [`Judgement`] of version 1.
#[derive(Serialize, Deserialize)]
enum Moment {
    Consistent,
    PossiblyTorn,
    Unknown,
}

/// [`Mapping`] of version 1.
#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    start: u64,
    end: u64,
    vma_start: u64,
    flags_set: u64,
    flags_known: u64,
    offset: Option<u64>,
    /// Major and minor number.
    device: Option<(u32, u32)>,
    inode: Option<u64>,
    #[serde(borrow)]
    name: Called<'a>,
    #[serde(borrow)]
    build_id: Id<'a>,
    unstable: bool,
    withheld: bool,
    clipped: bool,
}

/// [`Name`] of version 1.
#[derive(Serialize, Deserialize)]
enum Called<'a> {
    Unknown,
    None,
    /// With [`Name::Path::deleted`].
    Path(&'a [u8], Option<bool>),
    PathTooLong,
    Anon(&'a [u8]),
    AnonShmem(&'a [u8]),
    Heap,
    Stack,
    Special(&'a [u8]),
}

/// [`BuildId`] of version 1.
#[derive(Serialize, Deserialize)]
enum Id<'a> {
    Unknown,
    Absent,
    NotResident,
    Present(&'a [u8]),
}

fn encode(process: &CapturedProcess, payload: &mut Vec<u8>) -> Result<(), Error> {
    let snapshot = &process.snapshot;
    let head = Head {
        pid: process.pid,
        tid: process.tid,
        label: &process.label,
        seconds: process.time.as_secs(),
        nanoseconds: process.time.subsec_nanos(),
        source: match snapshot.source {
            Source::Lockless => Origin::Lockless,
            Source::Query => Origin::Query,
            Source::Maps => Origin::Maps,
        },
        completeness: match snapshot.completeness {
            Completeness::Complete => Whole::Complete,
            Completeness::Gone => Whole::Gone,
            Completeness::NoAddressSpace => Whole::NoAddressSpace,
            Completeness::Unknown => Whole::Unknown,
        },
        judgement: match snapshot.judgement {
            Judgement::Consistent => Moment::Consistent,
            Judgement::PossiblyTorn => Moment::PossiblyTorn,
            Judgement::Unknown => Moment::Unknown,
        },
        token: snapshot.token.map(|token| (token.mm_id, token.count)),
        torn: snapshot.torn.len() as u64,
        mappings: snapshot.mappings.len() as u64,
    };
    put(&head, Head::is_valid, payload)?;
    for range in &snapshot.torn {
        put(&(range.start, range.end), is_range, payload)?;
    }
    for mapping in &snapshot.mappings {
        put(&Entry::from(mapping), Entry::is_valid, payload)?;
    }
    Ok(())
}

impl<'a> From<&'a Mapping> for Entry<'a> {
    fn from(mapping: &'a Mapping) -> Self {
        Self {
            start: mapping.start,
            end: mapping.end,
            vma_start: mapping.vma_start,
            flags_set: mapping.flags.set,
            flags_known: mapping.flags.known,
            offset: mapping.offset,
            device: mapping.device.map(|device| (device.major, device.minor)),
            inode: mapping.inode,
            name: match &mapping.name {
                Name::Unknown => Called::Unknown,
                Name::None => Called::None,
                Name::Path { path, deleted } => Called::Path(path, *deleted),
                Name::PathTooLong => Called::PathTooLong,
                Name::Anon(name) => Called::Anon(name),
                Name::AnonShmem(name) => Called::AnonShmem(name),
                Name::Heap => Called::Heap,
                Name::Stack => Called::Stack,
                Name::Special(name) => Called::Special(name),
            },
            build_id: match &mapping.build_id {
                BuildId::Unknown => Id::Unknown,
                BuildId::Absent => Id::Absent,
                BuildId::NotResident => Id::NotResident,
                BuildId::Present(id) => Id::Present(id),
            },
            unstable: mapping.marks.unstable,
            withheld: mapping.marks.withheld,
            clipped: mapping.marks.clipped,
        }
    }
}

impl Head<'_> {
    fn is_valid(&self) -> bool {
        self.nanoseconds < 1_000_000_000
    }
}

impl Entry<'_> {
    fn is_valid(&self) -> bool {
        self.vma_start <= self.start && self.start <= self.end
    }

    fn to_mapping(&self) -> Mapping {
        Mapping {
            start: self.start,
            end: self.end,
            vma_start: self.vma_start,
            flags: VmaFlags {
                set: self.flags_set,
                known: self.flags_known,
            },
            offset: self.offset,
            device: self.device.map(|(major, minor)| Device { major, minor }),
            inode: self.inode,
            name: match self.name {
                Called::Unknown => Name::Unknown,
                Called::None => Name::None,
                Called::Path(path, deleted) => Name::Path {
                    path: path.to_vec(),
                    deleted,
                },
                Called::PathTooLong => Name::PathTooLong,
                Called::Anon(name) => Name::Anon(name.to_vec()),
                Called::AnonShmem(name) => Name::AnonShmem(name.to_vec()),
                Called::Heap => Name::Heap,
                Called::Stack => Name::Stack,
                Called::Special(name) => Name::Special(name.to_vec()),
            },
            build_id: match self.build_id {
                Id::Unknown => BuildId::Unknown,
                Id::Absent => BuildId::Absent,
                Id::NotResident => BuildId::NotResident,
                Id::Present(id) => BuildId::Present(id.to_vec()),
            },
            marks: Marks {
                unstable: self.unstable,
                withheld: self.withheld,
                clipped: self.clipped,
            },
        }
    }
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

/// The rest of a payload.
struct Values<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Values<'a> {
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

/// Fails with where in the payload something is wrong.
fn decode(payload: &[u8]) -> Result<CapturedProcess, usize> {
    let mut values = Values { payload, at: 0 };
    let head: Head<'_> = values.take(Head::is_valid)?;
    // The counts are believed no more than there are bytes: a value that has none ends it.
    let mut torn = Vec::new();
    for _ in 0..head.torn {
        let (start, end) = values.take(is_range)?;
        torn.push(start..end);
    }
    let mut mappings = Vec::new();
    for _ in 0..head.mappings {
        let entry = values.take(Entry::is_valid)?;
        mappings.push(entry.to_mapping());
    }
    if values.at != payload.len() {
        return Err(values.at);
    }
    Ok(CapturedProcess {
        pid: head.pid,
        tid: head.tid,
        label: head.label.into(),
        time: Duration::new(head.seconds, head.nanoseconds),
        snapshot: Snapshot {
            mappings,
            source: match head.source {
                Origin::Lockless => Source::Lockless,
                Origin::Query => Source::Query,
                Origin::Maps => Source::Maps,
            },
            completeness: match head.completeness {
                Whole::Complete => Completeness::Complete,
                Whole::Gone => Completeness::Gone,
                Whole::NoAddressSpace => Completeness::NoAddressSpace,
                Whole::Unknown => Completeness::Unknown,
            },
            judgement: match head.judgement {
                Moment::Consistent => Judgement::Consistent,
                Moment::PossiblyTorn => Judgement::PossiblyTorn,
                Moment::Unknown => Judgement::Unknown,
            },
            torn,
            token: head.token.map(|(mm_id, count)| Token { mm_id, count }),
        },
    })
}

#[cfg(test)]
mod tests;
