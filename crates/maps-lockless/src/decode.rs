// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decodes what `/proc/<pid>/maps_lockless` returns.
//!
//! The bytes may come from anywhere, a file that somebody sent included: whatever they are, nothing
//! here panics, allocates, or reads beyond them. A first error ends an iterator for good.
//!
//! `docs/abi.md` describes the format.

mod common;
mod mappings;

#[cfg(feature = "std")]
pub(crate) use mappings::Decoder;

use crate::{
    BuildId, MappingRef,
    wire::{
        MAPS_LOCKLESS_BATCH_FINAL, MAPS_LOCKLESS_BATCH_FIRST, MAPS_LOCKLESS_BATCH_SELECTED,
        MAPS_LOCKLESS_BATCH_SINCE, MAPS_LOCKLESS_BATCH_SIZE_VER0, MAPS_LOCKLESS_FIELD_BUILD_ID,
        MAPS_LOCKLESS_FIELD_DELETED, MAPS_LOCKLESS_FILE_BUILD_ID_NOT_RESIDENT,
        MAPS_LOCKLESS_FILE_DELETED, MAPS_LOCKLESS_FILE_SIZE_VER0, MAPS_LOCKLESS_MAGIC,
        MAPS_LOCKLESS_TYPE_FILE, MAPS_LOCKLESS_TYPE_UNCHANGED, MAPS_LOCKLESS_TYPE_UNKNOWN,
        MAPS_LOCKLESS_TYPE_VMA, MAPS_LOCKLESS_UNCHANGED_SIZE_VER0, MAPS_LOCKLESS_UNKNOWN_SIZE_VER0,
        MAPS_LOCKLESS_VERSION, MAPS_LOCKLESS_VMA_SIZE_VER0, maps_lockless_batch,
        maps_lockless_file, maps_lockless_unchanged, maps_lockless_unknown, maps_lockless_vma,
    },
};
use core::{fmt, iter::FusedIterator, mem::offset_of, ops::Range};
use zerocopy::{FromBytes, IntoBytes};

/// The bytes that a header has at least, whichever kernel it is from.
const HEADER: usize = MAPS_LOCKLESS_BATCH_SIZE_VER0 as usize;
/// `type`, `fixed_size` and `size`, which every record of every type begins with.
const RECORD_HEAD: usize = 8;
/// No build ID of this format is longer.
const BUILD_ID_MAX: u32 = 20;

/// Why bytes could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Where in the bytes that were passed in, counted from 0.
    pub offset: usize,
    /// What is wrong there.
    pub kind: DecodeErrorKind,
}

/// What is wrong with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// They end before the batch or the record does.
    Truncated,
    /// They are not of this format.
    BadMagic,
    /// A machine of the other byte order wrote them.
    ForeignByteOrder,
    /// They are of an ABI version that is not known here.
    UnsupportedVersion(u16),
    /// A size is too small, not a multiple of 8, or beyond what holds it.
    BadSize,
    /// The number of records is not the one that the header tells.
    BadCount,
    /// A range that ends before it begins.
    BadRange,
    /// A name or a path that does not fit into its record.
    BadName,
    /// A build ID that does not fit into its record, or is longer than 20 bytes.
    BadBuildId,
    /// A mapping refers to a file's record, and no such record stands before it in the batch.
    BadFile,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            DecodeErrorKind::Truncated => "truncated",
            DecodeErrorKind::BadMagic => "not a maps_lockless batch",
            DecodeErrorKind::ForeignByteOrder => "written by a machine of the other byte order",
            DecodeErrorKind::UnsupportedVersion(version) => {
                return write!(
                    f,
                    "ABI version {version} is not known, at offset {}",
                    self.offset
                );
            }
            DecodeErrorKind::BadSize => "impossible size",
            DecodeErrorKind::BadCount => "wrong number of records",
            DecodeErrorKind::BadRange => "a range that ends before it begins",
            DecodeErrorKind::BadName => "a name or a path that does not fit into its record",
            DecodeErrorKind::BadBuildId => "an impossible build ID",
            DecodeErrorKind::BadFile => "a mapping of a file that the batch does not tell of",
        };
        write!(f, "{what}, at offset {}", self.offset)
    }
}

impl core::error::Error for DecodeError {}

fn error<T>(offset: usize, kind: DecodeErrorKind) -> Result<T, DecodeError> {
    Err(DecodeError { offset, kind })
}

/// The struct that `bytes` begin with. What an older kernel's does not have yet is zero, what a
/// later one's has more is left out.
#[inline]
fn prefix<T: FromBytes + IntoBytes>(bytes: &[u8]) -> T {
    if let Ok((value, _)) = T::read_from_prefix(bytes) {
        return value;
    }
    let mut value = T::new_zeroed();
    for (to, from) in value.as_mut_bytes().iter_mut().zip(bytes) {
        *to = *from;
    }
    value
}

/// The bytes of a number that stands at `at`.
#[inline]
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A batch: what one read(2) returned.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    header: maps_lockless_batch,
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Decodes the batch that `bytes` begin with. More batches may follow it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        use DecodeErrorKind::*;

        let Some(first) = bytes.get(..HEADER) else {
            return error(bytes.len(), Truncated);
        };
        let header: maps_lockless_batch = prefix(first);
        if header.magic == MAPS_LOCKLESS_MAGIC.swap_bytes() {
            return error(0, ForeignByteOrder);
        }
        if header.magic != MAPS_LOCKLESS_MAGIC {
            return error(0, BadMagic);
        }
        if header.version != MAPS_LOCKLESS_VERSION {
            return error(4, UnsupportedVersion(header.version));
        }
        let (header_size, size) = (usize::from(header.header_size), header.size as usize);
        if header_size < HEADER {
            return error(6, BadSize);
        }
        if size < header_size {
            return error(8, BadSize);
        }
        let Some(bytes) = bytes.get(..size) else {
            return error(bytes.len(), Truncated);
        };
        let header = prefix(&bytes[..header_size]);
        Ok(Self { header, bytes })
    }

    /// The header.
    pub fn header(&self) -> &maps_lockless_batch {
        &self.header
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the listing ends with this batch.
    pub fn is_final(&self) -> bool {
        self.header.flags & MAPS_LOCKLESS_BATCH_FINAL != 0
    }

    /// Whether the listing begins with this batch.
    pub fn is_first(&self) -> bool {
        self.header.flags & MAPS_LOCKLESS_BATCH_FIRST != 0
    }

    /// Whether VMAs may have been left out because they were not asked for.
    pub fn is_selected(&self) -> bool {
        self.header.flags & MAPS_LOCKLESS_BATCH_SELECTED != 0
    }

    /// Whether VMAs that have not changed since a token may be told as [`Batch::unchanged`] ranges and
    /// not as mappings.
    pub fn is_since(&self) -> bool {
        self.header.flags & MAPS_LOCKLESS_BATCH_SINCE != 0
    }

    /// The VMAs, as every source tells them, each with what is known of the file that it maps.
    ///
    /// Records of any other type are passed over: see [`Batch::unknown`] for the ranges of which the
    /// kernel could not tell what they hold, and [`Batch::unchanged`] for those in which nothing has
    /// changed.
    #[inline]
    pub fn mappings(
        &self,
    ) -> impl FusedIterator<Item = Result<MappingRef<'a>, DecodeError>> + use<'a> {
        mappings::Mappings::new(self)
    }

    /// The ranges that may hold mappings which the batch does not show: the kernel could not prove
    /// that nothing is mapped there. None of them is a mapping.
    #[inline]
    pub fn unknown(&self) -> impl FusedIterator<Item = Result<Range<u64>, DecodeError>> + use<'a> {
        UnknownRanges(self.cursor())
    }

    /// The ranges in which no VMA has changed since the token that the request was made with, and none was
    /// added. Of any other request there are none.
    #[inline]
    pub fn unchanged(&self) -> impl FusedIterator<Item = Result<Unchanged, DecodeError>> + use<'a> {
        UnchangedRanges(self.cursor())
    }

    /// The records. A type that is not known here comes as [`Record::Other`].
    #[inline]
    pub fn records(&self) -> Records<'a> {
        Records {
            cursor: self.cursor(),
            last_file: None,
        }
    }

    #[inline]
    fn cursor(&self) -> Cursor<'a> {
        let header_size = usize::from(self.header.header_size);
        Cursor {
            batch: self.bytes,
            header_size,
            rest: self.bytes.get(header_size..).unwrap_or_default(),
            left: self.header.count,
        }
    }
}

/// The batches that stand one behind the other in `bytes`.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { bytes, offset: 0 }
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.offset..)?;
        if rest.is_empty() {
            return None;
        }
        let batch = Batch::parse(rest);
        match &batch {
            Ok(batch) => self.offset += batch.size(),
            // For good: from the end there is nothing to go on with.
            Err(_) => self.bytes = &[],
        }
        Some(batch.map_err(|e| DecodeError {
            offset: self.offset + e.offset,
            ..e
        }))
    }
}

impl FusedIterator for Batches<'_> {}

/// A record of a batch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Record<'a> {
    /// A VMA.
    Vma(Vma<'a>),
    /// A file, which VMAs behind it map.
    File(File<'a>),
    /// A range that may hold mappings which the listing does not show. It is no mapping.
    Unknown(Range<u64>),
    /// A range in which nothing has changed. It is no mapping.
    Unchanged(Unchanged),
    /// A record that a later kernel knows and this decoder does not.
    Other {
        /// The record's type.
        r#type: u16,
        /// All its bytes.
        bytes: &'a [u8],
    },
}

/// A range in which no VMA has changed since a token, and none was added. VMAs that are gone since are
/// not told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Unchanged {
    /// The addresses, in bytes. Gaps belong to it. The first VMA may begin below, and the last one end
    /// above.
    pub range: Range<u64>,
    /// Number of VMAs that have an address in the range and were asked for. Whoever knows more of them
    /// has to read the range again.
    pub vma_count: u32,
}

/// A VMA's record, with its name and the file that it maps.
#[derive(Clone, Copy, Debug)]
pub struct Vma<'a> {
    /// The fixed part. What [`valid`](maps_lockless_vma::valid) does not name is not known.
    pub fields: maps_lockless_vma,
    /// The name's bytes: raw, not terminated, not escaped. What they are, `name_kind` tells.
    pub name: &'a [u8],
    /// The file that is mapped. [`None`] where none is, or no field of files was asked for.
    pub file: Option<File<'a>>,
}

/// A file's record, with its path.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// The fixed part. What [`valid`](maps_lockless_file::valid) does not name is not known.
    pub fields: maps_lockless_file,
    /// The path's bytes: raw, not terminated, not escaped.
    pub path: &'a [u8],
    /// The build ID's bytes, see [`File::build_id`].
    id: &'a [u8],
}

impl<'a> File<'a> {
    /// Whether the file was unlinked. [`None`] where that is not known.
    #[inline]
    pub fn deleted(&self) -> Option<bool> {
        let known = self.fields.valid & MAPS_LOCKLESS_FIELD_DELETED != 0;
        known.then_some(self.fields.flags & MAPS_LOCKLESS_FILE_DELETED != 0)
    }

    /// The build ID.
    #[inline]
    pub fn build_id(&self) -> BuildId<&'a [u8]> {
        if self.fields.valid & MAPS_LOCKLESS_FIELD_BUILD_ID == 0 {
            if self.fields.flags & MAPS_LOCKLESS_FILE_BUILD_ID_NOT_RESIDENT != 0 {
                BuildId::NotResident
            } else {
                BuildId::Unknown
            }
        } else if self.id.is_empty() {
            BuildId::Absent
        } else {
            BuildId::Present(self.id)
        }
    }
}

/// A record of whatever type.
#[derive(Clone, Copy)]
struct Raw<'a> {
    r#type: u16,
    /// Bytes of the fixed part, no more than `bytes` has.
    fixed: usize,
    /// Where it begins in the batch.
    at: usize,
    bytes: &'a [u8],
}

impl<'a> Raw<'a> {
    /// The record that `rest` begins with, and what is behind it. It begins at `at` in the batch.
    #[inline]
    fn split(rest: &'a [u8], at: usize) -> Result<(Self, &'a [u8]), DecodeError> {
        use DecodeErrorKind::*;

        let head = rest.get(..RECORD_HEAD).unwrap_or_default();
        let (Some(r#type), Some(fixed), Some(size)) =
            (number(head, 0), number(head, 2), number(head, 4))
        else {
            return error(at, Truncated);
        };
        let fixed = usize::from(u16::from_ne_bytes(fixed));
        let size = u32::from_ne_bytes(size) as usize;
        if size < RECORD_HEAD || size % 8 != 0 {
            return error(at + 4, BadSize);
        }
        let Some((bytes, rest)) = rest.split_at_checked(size) else {
            return error(at + 4, Truncated);
        };
        if fixed > size {
            return error(at + 2, BadSize);
        }
        let raw = Self {
            r#type: u16::from_ne_bytes(r#type),
            fixed,
            at,
            bytes,
        };
        Ok((raw, rest))
    }

    /// The fixed part of a record whose type is known, and has had `least` bytes from the beginning.
    #[inline]
    fn fixed<T: FromBytes + IntoBytes>(&self, least: u32) -> Result<T, DecodeError> {
        if self.fixed < least as usize {
            return error(self.at + 2, DecodeErrorKind::BadSize);
        }
        Ok(prefix(&self.bytes[..self.fixed]))
    }

    /// The `len` bytes that begin at `at` in the record, and where those that pad them end. [`None`]
    /// where the record ends before.
    #[inline]
    fn blob(&self, at: usize, len: u32) -> Option<(&'a [u8], usize)> {
        let len = len as usize;
        let end = at.checked_add(len.checked_next_multiple_of(8)?)?;
        let blob = self.bytes.get(at..end)?.get(..len)?;
        Some((blob, end))
    }

    /// Whether a VMA's record may refer to it, if it is a file's.
    #[inline]
    fn may_be_referred_to(&self) -> bool {
        self.at % 8 == 0
    }

    /// The fixed part of this record, as a VMA's, and its name.
    #[inline]
    fn vma(&self) -> Result<(maps_lockless_vma, &'a [u8]), DecodeError> {
        use DecodeErrorKind::*;

        let fields: maps_lockless_vma = self.fixed(MAPS_LOCKLESS_VMA_SIZE_VER0)?;
        if !is_ordered(&fields) {
            return error(self.at + offset_of!(maps_lockless_vma, start), BadRange);
        }
        let Some((name, _)) = self.blob(self.fixed, fields.name_len) else {
            return error(self.at + offset_of!(maps_lockless_vma, name_len), BadName);
        };
        Ok((fields, name))
    }

    /// This record, as a file's.
    #[inline]
    fn file(&self) -> Result<File<'a>, DecodeError> {
        let at = self.at;
        let fields: maps_lockless_file = self.fixed(MAPS_LOCKLESS_FILE_SIZE_VER0)?;
        let Some((path, end)) = self.blob(self.fixed, fields.path_len) else {
            let at = at + offset_of!(maps_lockless_file, path_len);
            return error(at, DecodeErrorKind::BadName);
        };
        let id = self.blob(end, fields.build_id_len);
        let Some((id, _)) = id.filter(|_| fields.build_id_len <= BUILD_ID_MAX) else {
            let at = at + offset_of!(maps_lockless_file, build_id_len);
            return error(at, DecodeErrorKind::BadBuildId);
        };
        Ok(File { fields, path, id })
    }

    /// This record, as a range of which nothing is known.
    #[inline]
    fn unknown(&self) -> Result<Range<u64>, DecodeError> {
        let fields: maps_lockless_unknown = self.fixed(MAPS_LOCKLESS_UNKNOWN_SIZE_VER0)?;
        if fields.end < fields.start {
            let at = self.at + offset_of!(maps_lockless_unknown, start);
            return error(at, DecodeErrorKind::BadRange);
        }
        Ok(fields.start..fields.end)
    }

    /// This record, as a range in which nothing has changed.
    #[inline]
    fn unchanged(&self) -> Result<Unchanged, DecodeError> {
        let fields: maps_lockless_unchanged = self.fixed(MAPS_LOCKLESS_UNCHANGED_SIZE_VER0)?;
        if fields.end < fields.start {
            let at = self.at + offset_of!(maps_lockless_unchanged, start);
            return error(at, DecodeErrorKind::BadRange);
        }
        Ok(Unchanged {
            range: fields.start..fields.end,
            vma_count: fields.vma_count,
        })
    }
}

/// Whether a VMA's addresses are those of a range.
#[inline]
fn is_ordered(fields: &maps_lockless_vma) -> bool {
    fields.vma_start <= fields.start && fields.start <= fields.end
}

/// Steps from record to record.
#[derive(Clone, Debug)]
struct Cursor<'a> {
    batch: &'a [u8],
    header_size: usize,
    /// What of the batch is not stepped over yet. Nothing after an error.
    rest: &'a [u8],
    /// Number of records that are not stepped over yet. 0 after an error.
    left: u32,
}

impl<'a> Cursor<'a> {
    /// Where the next record begins.
    #[inline]
    fn at(&self) -> usize {
        self.batch.len() - self.rest.len()
    }

    /// Steps over the next record.
    #[inline]
    fn step(&mut self) -> Option<Result<Raw<'a>, DecodeError>> {
        let at = self.at();
        let raw = match (self.left, self.rest.len()) {
            (0, 0) => return None,
            (0, _) | (_, 0) => error(at, DecodeErrorKind::BadCount),
            _ => Raw::split(self.rest, at),
        };
        let raw = raw.map(|(raw, rest)| {
            self.rest = rest;
            self.left -= 1;
            raw
        });
        Some(self.checked(raw))
    }

    /// Ends the iteration for good.
    #[inline]
    fn end(&mut self) {
        self.rest = &[];
        self.left = 0;
    }

    /// Ends the iteration for good where a record is broken.
    #[inline]
    fn checked<T>(&mut self, result: Result<T, DecodeError>) -> Result<T, DecodeError> {
        if result.is_err() {
            self.end();
        }
        result
    }

    /// The file's record at `offset`, which ends before `vma` begins, whose record refers to it.
    #[inline(never)]
    fn file_before(&self, vma: usize, offset: usize) -> Result<File<'a>, DecodeError> {
        let file = || {
            if offset < self.header_size {
                return None;
            }
            let (raw, _) = Raw::split(self.batch.get(offset..vma)?, offset).ok()?;
            if raw.r#type != MAPS_LOCKLESS_TYPE_FILE || !raw.may_be_referred_to() {
                return None;
            }
            raw.file().ok()
        };
        file().ok_or(DecodeError {
            offset: vma + offset_of!(maps_lockless_vma, file),
            kind: DecodeErrorKind::BadFile,
        })
    }
}

/// The records of a batch. See [`Batch::records`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    cursor: Cursor<'a>,
    /// The file whose record was checked last, and where that begins. Most VMAs map the file of the VMA
    /// before them, or the file whose record they follow.
    last_file: Option<(usize, File<'a>)>,
}

impl<'a> Records<'a> {
    /// The record as a VMA's.
    #[inline]
    fn vma(&mut self, raw: Raw<'a>) -> Result<Vma<'a>, DecodeError> {
        let (fields, name) = raw.vma()?;
        let file = match (fields.file as usize, self.last_file) {
            (0, _) => None,
            (offset, Some((last, file))) if offset == last => Some(file),
            (offset, _) => {
                let file = self.cursor.file_before(raw.at, offset)?;
                self.last_file = Some((offset, file));
                Some(file)
            }
        };
        Ok(Vma { fields, name, file })
    }

    /// The record as a file's.
    #[inline]
    fn file(&mut self, raw: Raw<'a>) -> Result<File<'a>, DecodeError> {
        let file = raw.file()?;
        if raw.may_be_referred_to() {
            self.last_file = Some((raw.at, file));
        }
        Ok(file)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let record = self.cursor.step()?.and_then(|raw| match raw.r#type {
            MAPS_LOCKLESS_TYPE_VMA => self.vma(raw).map(Record::Vma),
            MAPS_LOCKLESS_TYPE_FILE => self.file(raw).map(Record::File),
            MAPS_LOCKLESS_TYPE_UNKNOWN => raw.unknown().map(Record::Unknown),
            MAPS_LOCKLESS_TYPE_UNCHANGED => raw.unchanged().map(Record::Unchanged),
            r#type => Ok(Record::Other {
                r#type,
                bytes: raw.bytes,
            }),
        });
        Some(self.cursor.checked(record))
    }
}

impl FusedIterator for Records<'_> {}

/// The ranges of which nothing is known. See [`Batch::unknown`].
struct UnknownRanges<'a>(Cursor<'a>);

impl Iterator for UnknownRanges<'_> {
    type Item = Result<Range<u64>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let range = match self.0.step()? {
                Ok(raw) if raw.r#type == MAPS_LOCKLESS_TYPE_UNKNOWN => raw.unknown(),
                Ok(_) => continue,
                Err(error) => Err(error),
            };
            return Some(self.0.checked(range));
        }
    }
}

impl FusedIterator for UnknownRanges<'_> {}

/// The ranges in which nothing has changed. See [`Batch::unchanged`].
struct UnchangedRanges<'a>(Cursor<'a>);

impl Iterator for UnchangedRanges<'_> {
    type Item = Result<Unchanged, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let unchanged = match self.0.step()? {
                Ok(raw) if raw.r#type == MAPS_LOCKLESS_TYPE_UNCHANGED => raw.unchanged(),
                Ok(_) => continue,
                Err(error) => Err(error),
            };
            return Some(self.0.checked(unchanged));
        }
    }
}

impl FusedIterator for UnchangedRanges<'_> {}
