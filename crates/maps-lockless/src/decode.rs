// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decodes what `/proc/<pid>/maps_lockless` returns.
//!
//! The bytes may come from anywhere, a file that somebody sent included: whatever they are, nothing
//! here panics, allocates, or reads beyond them. A first error ends an iterator for good.
//!
//! `docs/abi.md` describes the format.

use crate::{
    BuildId, MappingRef,
    wire::{
        MAPS_LOCKLESS_BATCH_FINAL, MAPS_LOCKLESS_BATCH_SELECTED, MAPS_LOCKLESS_BATCH_SIZE_VER0,
        MAPS_LOCKLESS_FIELD_BUILD_ID, MAPS_LOCKLESS_MAGIC, MAPS_LOCKLESS_REC_BUILD_ID_NOT_RESIDENT,
        MAPS_LOCKLESS_RECORD_SIZE_VER0, MAPS_LOCKLESS_TYPE_VMA, MAPS_LOCKLESS_VERSION,
        maps_lockless_batch, maps_lockless_vma,
    },
};
use core::{fmt, iter::FusedIterator, mem::offset_of};
use zerocopy::{FromBytes, IntoBytes};

/// What a header has at least, whichever kernel it is from.
const HEADER: usize = MAPS_LOCKLESS_BATCH_SIZE_VER0 as usize;
/// What the fixed part of a VMA's record has at least.
const FIXED: usize = MAPS_LOCKLESS_RECORD_SIZE_VER0 as usize;
/// `type` and `size`, which every record of every type begins with.
const RECORD_HEAD: usize = 8;

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
    /// A name whose bytes are not in the batch.
    BadName,
    /// A build ID whose bytes are not in the batch.
    BadBuildId,
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
            DecodeErrorKind::BadName => "a name outside the batch",
            DecodeErrorKind::BadBuildId => "a build ID outside the batch",
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
        if header_size < HEADER || header_size % 8 != 0 {
            return error(6, BadSize);
        }
        if size < header_size || size % 8 != 0 {
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

    /// Whether VMAs may have been left out because they were not asked for.
    pub fn is_selected(&self) -> bool {
        self.header.flags & MAPS_LOCKLESS_BATCH_SELECTED != 0
    }

    /// The VMAs, as every source tells them. What is no VMA is passed over.
    #[inline]
    pub fn mappings(
        &self,
    ) -> impl FusedIterator<Item = Result<MappingRef<'a>, DecodeError>> + use<'a> {
        Mappings {
            records: self.records(),
            reported: self.header.vma_flags,
        }
    }

    /// The records. A type that is not known here comes as [`Record::Unknown`].
    #[inline]
    pub fn records(&self) -> Records<'a> {
        Records {
            batch: self.bytes,
            header_size: usize::from(self.header.header_size),
            offset: usize::from(self.header.header_size),
            left: self.header.count,
            failed: false,
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
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Record<'a> {
    /// A VMA.
    Vma(Vma<'a>),
    /// Something that a later kernel knows and this decoder does not.
    Unknown {
        /// The record's type.
        r#type: u16,
        /// All its bytes.
        bytes: &'a [u8],
    },
}

/// A VMA's record, with its name.
#[derive(Clone, Copy, Debug)]
pub struct Vma<'a> {
    /// The fixed part. What [`valid`](maps_lockless_vma::valid) does not name is not known.
    pub fields: maps_lockless_vma,
    /// The name's bytes: raw, not terminated, not escaped. What they are, `name_kind` tells.
    pub name: &'a [u8],
    /// The build ID's bytes, see [`Vma::build_id`].
    id: &'a [u8],
}

impl<'a> Vma<'a> {
    /// The build ID of the mapped file.
    #[inline]
    pub fn build_id(&self) -> BuildId<&'a [u8]> {
        if self.fields.valid & MAPS_LOCKLESS_FIELD_BUILD_ID == 0 {
            if self.fields.flags & MAPS_LOCKLESS_REC_BUILD_ID_NOT_RESIDENT != 0 {
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
    /// Where it begins in the batch.
    at: usize,
    bytes: &'a [u8],
}

/// The records of a batch. See [`Batch::records`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    batch: &'a [u8],
    header_size: usize,
    offset: usize,
    left: u32,
    failed: bool,
}

impl<'a> Records<'a> {
    /// Steps over the next record.
    #[inline]
    fn step(&mut self) -> Option<Result<Raw<'a>, DecodeError>> {
        if self.failed {
            return None;
        }
        let raw = match (self.left, self.offset < self.batch.len()) {
            (0, false) => return None,
            (0, true) | (_, false) => error(self.offset, DecodeErrorKind::BadCount),
            (_, true) => self.raw(),
        };
        self.left = self.left.saturating_sub(1);
        self.failed = raw.is_err();
        Some(raw)
    }

    #[inline]
    fn raw(&mut self) -> Result<Raw<'a>, DecodeError> {
        use DecodeErrorKind::*;

        let at = self.offset;
        let rest = self.batch.get(at..).unwrap_or_default();
        let Some(&[t0, t1, _, _, s0, s1, s2, s3]) = rest.first_chunk::<RECORD_HEAD>() else {
            return error(at, Truncated);
        };
        let r#type = u16::from_ne_bytes([t0, t1]);
        let size = u32::from_ne_bytes([s0, s1, s2, s3]) as usize;
        if size < RECORD_HEAD || size % 8 != 0 {
            return error(at + 4, BadSize);
        }
        let Some(bytes) = rest.get(..size) else {
            return error(at + 4, Truncated);
        };
        self.offset = at + size;
        Ok(Raw { r#type, at, bytes })
    }

    /// The record that was stepped over last, as a VMA's.
    #[inline]
    fn vma(&mut self, Raw { at, bytes, .. }: Raw<'a>) -> Result<Vma<'a>, DecodeError> {
        let vma = self.checked_vma(at, bytes);
        self.failed = vma.is_err();
        vma
    }

    #[inline]
    fn checked_vma(&self, at: usize, bytes: &'a [u8]) -> Result<Vma<'a>, DecodeError> {
        use DecodeErrorKind::*;

        if bytes.len() < FIXED {
            return error(at + 4, BadSize);
        }
        let fixed = usize::from(u16::from_ne_bytes([bytes[2], bytes[3]]));
        if fixed < FIXED || fixed % 8 != 0 || fixed > bytes.len() {
            return error(at + 2, BadSize);
        }
        let fields: maps_lockless_vma = prefix(&bytes[..fixed]);
        if fields.end < fields.start || fields.start < fields.vma_start {
            return error(at + offset_of!(maps_lockless_vma, start), BadRange);
        }
        let Some(name) = self.blob(fields.name_off, fields.name_len) else {
            return error(at + offset_of!(maps_lockless_vma, name_off), BadName);
        };
        let Some(id) = self.blob(fields.build_id_off, fields.build_id_len) else {
            return error(at + offset_of!(maps_lockless_vma, build_id_off), BadBuildId);
        };
        Ok(Vma { fields, name, id })
    }

    /// Bytes that go with the record before `offset`: they stand in it, or in one before it.
    #[inline]
    fn blob(&self, off: u32, len: u32) -> Option<&'a [u8]> {
        if len == 0 {
            return Some(&[]);
        }
        let off = off as usize;
        (off >= self.header_size)
            .then_some(&self.batch[..self.offset])
            .and_then(|seen| seen.get(off..off.checked_add(len as usize)?))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let record = self.step()?.and_then(|raw| match raw.r#type {
            MAPS_LOCKLESS_TYPE_VMA => self.vma(raw).map(Record::Vma),
            r#type => Ok(Record::Unknown {
                r#type,
                bytes: raw.bytes,
            }),
        });
        Some(record)
    }
}

impl FusedIterator for Records<'_> {}

/// The VMAs among the records. See [`Batch::mappings`].
///
/// It makes no [`Record`]: moving so large a value costs more than decoding it.
struct Mappings<'a> {
    records: Records<'a>,
    /// The header's `vma_flags`.
    reported: u64,
}

impl<'a> Iterator for Mappings<'a> {
    type Item = Result<MappingRef<'a>, DecodeError>;

    // Where it is called, most of a mapping need not be stored at all: half of the time is saved.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let raw = match self.records.step()? {
                Ok(raw) => raw,
                Err(error) => return Some(Err(error)),
            };
            if raw.r#type == MAPS_LOCKLESS_TYPE_VMA {
                let vma = self.records.vma(raw);
                return Some(vma.map(|vma| MappingRef::new(&vma, self.reported)));
            }
        }
    }
}

impl FusedIterator for Mappings<'_> {}
