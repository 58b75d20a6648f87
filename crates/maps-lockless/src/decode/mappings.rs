// SPDX-License-Identifier: MIT OR Apache-2.0

//! The VMAs of a batch, as every source tells them.

use super::{Batch, Cursor, DecodeError, File, Raw, is_ordered};
use crate::{
    MappingRef,
    mapping::MappedFile,
    wire::{
        MAPS_LOCKLESS_TYPE_FILE, MAPS_LOCKLESS_TYPE_UNKNOWN, MAPS_LOCKLESS_TYPE_VMA,
        MAPS_LOCKLESS_VMA_FILE, maps_lockless_batch, maps_lockless_vma,
    },
};
use core::{iter::FusedIterator, mem::offset_of};
use zerocopy::transmute;

/// The VMAs among the records. See [`Batch::mappings`].
pub(super) struct Mappings<'a> {
    decoder: Decoder<'a>,
    last: MappingRef<'a>,
}

impl<'a> Mappings<'a> {
    #[inline]
    pub(super) fn new(batch: &Batch<'a>) -> Self {
        Self {
            decoder: Decoder::new(batch),
            last: MappingRef::NOTHING,
        }
    }
}

impl<'a> Iterator for Mappings<'a> {
    type Item = Result<MappingRef<'a>, DecodeError>;

    // Where it is called, most of a mapping need not be copied at all.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        match self.decoder.next(&mut self.last) {
            Ok(true) => Some(Ok(self.last)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl FusedIterator for Mappings<'_> {}

/// Decodes the VMAs among the records, one behind the other, into a [`MappingRef`] that the caller keeps and
/// leaves alone.
///
/// It makes no [`Record`](super::Record): moving so large a value costs more than decoding it. Most records
/// differ little from that of the VMA before them. Such a record is compared with it rather than decoded, and
/// the mapping is changed where they differ.
pub(crate) struct Decoder<'a> {
    cursor: Cursor<'a>,
    header: maps_lockless_batch,
    /// What the next record must have in common with that of the last VMA to be like it.
    common: Common,
    /// What the record of a file tells of its mappings: of the file whose record was checked last.
    file: MappedFile<'a>,
    /// Where that record begins. 0: there was none yet.
    file_at: usize,
}

impl<'a> Decoder<'a> {
    #[inline]
    pub(crate) fn new(batch: &Batch<'a>) -> Self {
        Self {
            cursor: batch.cursor(),
            header: batch.header,
            common: Common::NONE,
            file: MappedFile::NONE,
            file_at: 0,
        }
    }

    /// Makes the last mapping the next one, and returns whether there is a next one. There is none behind an
    /// error.
    #[inline(always)]
    fn next(&mut self, last: &mut MappingRef<'a>) -> Result<bool, DecodeError> {
        if self.reuse(last) {
            return Ok(true);
        }
        self.decode(last)
    }

    /// Makes the last mapping the next one, if the next record is a VMA's that is like the last one's, and
    /// returns whether it is. It is a good one then, as the last one was.
    #[inline(always)]
    pub(crate) fn reuse(&mut self, last: &mut MappingRef<'a>) -> bool {
        let rest = self.cursor.rest;
        let (Some(record), Some(rest)) = (rest.first_chunk(), rest.get(self.common.size..)) else {
            return false;
        };
        let fields: maps_lockless_vma = transmute!(*record);
        let flags = fields.vma_flags ^ last.flags.set;
        if self.cursor.left == 0
            || !self.common.is_in(record)
            // It may decide on what the mapping is called.
            || flags & MAPS_LOCKLESS_VMA_FILE != 0
            || !is_ordered(&fields)
        {
            return false;
        }
        self.cursor.rest = rest;
        self.cursor.left -= 1;
        last.reuse(&fields);
        true
    }

    /// As [`Decoder::next`], whatever the next record is like.
    // What is inlined where mappings are read has to stay small.
    #[inline(never)]
    pub(crate) fn decode(&mut self, last: &mut MappingRef<'a>) -> Result<bool, DecodeError> {
        while let Some(raw) = self.cursor.step() {
            let is_mapping = raw.and_then(|raw| self.record(&raw, last));
            if self.cursor.checked(is_mapping)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Decodes a record, and returns whether it is a mapping's. Another one must be good all the same.
    // It is called in one place.
    #[inline(always)]
    fn record(&mut self, raw: &Raw<'a>, last: &mut MappingRef<'a>) -> Result<bool, DecodeError> {
        match raw.r#type {
            MAPS_LOCKLESS_TYPE_VMA => {
                self.vma(raw, last)?;
                return Ok(true);
            }
            MAPS_LOCKLESS_TYPE_FILE => {
                let file = raw.file()?;
                if raw.may_be_referred_to() {
                    self.remember(raw.at, &file);
                }
            }
            MAPS_LOCKLESS_TYPE_UNKNOWN => raw.unknown().map(drop)?,
            _ => {}
        }
        Ok(false)
    }

    /// Decodes the record of a VMA.
    #[inline]
    fn vma(&mut self, raw: &Raw<'a>, last: &mut MappingRef<'a>) -> Result<(), DecodeError> {
        let (fields, name) = raw.vma()?;
        let offset = fields.file as usize;
        if offset != 0 && offset != self.file_at {
            let file = self.cursor.file_before(raw.at, offset)?;
            self.remember(offset, &file);
        }
        match raw.bytes.first_chunk() {
            Some(record) if name.is_empty() => self.common.set(record, raw.bytes.len()),
            // The next name is another one, be it spelt alike.
            _ => self.common = Common::NONE,
        }
        let file = (offset != 0).then_some(&self.file);
        *last = MappingRef::of(&fields, name, file, &self.header);
        Ok(())
    }

    #[inline]
    fn remember(&mut self, at: usize, file: &File<'a>) {
        self.file = MappedFile::new(file);
        self.file_at = at;
    }
}

/// Bytes of a VMA's record as it is known here.
const VMA: usize = size_of::<maps_lockless_vma>();
/// What stands in it before the range.
const FRONT: usize = offset_of!(maps_lockless_vma, start);
/// Where what stands in it behind the offset begins.
const BACK: usize = offset_of!(maps_lockless_vma, file);

/// Bytes of a VMA's record: all that decides whether the record is good and what is told of the mapping, but
/// for the range, the flags, the offset and the name.
struct Common {
    front: [u8; FRONT],
    back: [u8; VMA - BACK],
    /// Bytes of the whole record.
    size: usize,
}

impl Common {
    /// Of no record: no batch has so many bytes.
    const NONE: Self = Self {
        front: [0; FRONT],
        back: [0; VMA - BACK],
        size: usize::MAX,
    };

    #[inline]
    fn set(&mut self, record: &[u8; VMA], size: usize) {
        self.front.copy_from_slice(&record[..FRONT]);
        self.back.copy_from_slice(&record[BACK..]);
        self.size = size;
    }

    #[inline]
    fn is_in(&self, record: &[u8; VMA]) -> bool {
        self.front == record[..FRONT] && self.back == record[BACK..]
    }
}
