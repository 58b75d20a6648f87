// SPDX-License-Identifier: MIT OR Apache-2.0

//! The VMAs of a batch, as every source tells them.

use super::{Batch, Cursor, DecodeError, File, Raw, common::Common, is_ordered};
use crate::{
    MappingRef,
    mapping::MappedFile,
    wire::{
        MAPS_LOCKLESS_TYPE_FILE, MAPS_LOCKLESS_TYPE_UNCHANGED, MAPS_LOCKLESS_TYPE_UNKNOWN,
        MAPS_LOCKLESS_TYPE_VMA, MAPS_LOCKLESS_VMA_FILE, maps_lockless_batch, maps_lockless_vma,
    },
};
use core::iter::FusedIterator;
use zerocopy::transmute;

/// Bytes of a VMA's record as it is known here.
const VMA: usize = size_of::<maps_lockless_vma>();

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
    /// Whether each record so far was decoded, and none is of an unknown range.
    pub(crate) all_known: bool,
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
            all_known: true,
        }
    }

    /// Makes the last mapping the next one, and returns whether there is a next one. There is none behind an
    /// error.
    #[inline(always)]
    fn next(&mut self, last: &mut MappingRef<'a>) -> Result<bool, DecodeError> {
        if self.reuse(last) {
            return Ok(true);
        }
        self.decode_apart(last)
    }

    // What is inlined where mappings are read has to stay small.
    #[inline(never)]
    fn decode_apart(&mut self, last: &mut MappingRef<'a>) -> Result<bool, DecodeError> {
        self.decode(last)
    }

    /// Makes the last mapping the next one, if the next record is a VMA's that is like the last one's, and
    /// returns whether it is. It is a good one then, as the last one was.
    #[inline(always)]
    pub(crate) fn reuse(&mut self, last: &mut MappingRef<'a>) -> bool {
        let Some((record, rest)) = self.like_last(last) else {
            return false;
        };
        if !self.common.has_back_of(&record) {
            return false;
        }
        self.pass(rest);
        last.reuse(&record);
        true
    }

    /// As [`Decoder::reuse`], if the next record is like the last VMA's but for the file.
    #[inline(always)]
    fn reuse_with_file(&mut self, last: &mut MappingRef<'a>) -> Result<bool, DecodeError> {
        let Some((record, rest)) = self.like_last(last) else {
            return Ok(false);
        };
        if !self.common.takes_file_of(&record) {
            return Ok(false);
        }
        self.look_up(self.cursor.at(), record.file as usize)?;
        self.common.set_back(&record);
        self.pass(rest);
        last.reuse(&record);
        last.set_file(&self.file);
        Ok(true)
    }

    /// The next record, and what is behind it, if it is like the last VMA's so far as neither file nor name are
    /// looked at.
    #[inline(always)]
    fn like_last(&self, last: &MappingRef<'a>) -> Option<(maps_lockless_vma, &'a [u8])> {
        let rest = self.cursor.rest;
        let (record, behind) = (rest.first_chunk::<VMA>()?, rest.get(self.common.size..)?);
        let record: maps_lockless_vma = transmute!(*record);
        let flags = record.vma_flags ^ last.flags.set;
        let is_like = self.cursor.left != 0
            && self.common.has_front_of(&record)
            // It may decide on what the mapping is called.
            && flags & MAPS_LOCKLESS_VMA_FILE == 0
            && is_ordered(&record);
        is_like.then_some((record, behind))
    }

    /// Steps over a record that is known to be good.
    #[inline(always)]
    fn pass(&mut self, rest: &'a [u8]) {
        self.cursor.rest = rest;
        self.cursor.left -= 1;
    }

    /// As [`Decoder::next`], whatever the next record is like.
    #[inline(always)]
    pub(crate) fn decode(&mut self, last: &mut MappingRef<'a>) -> Result<bool, DecodeError> {
        let is_mapping = self.until_mapping(last);
        if is_mapping.is_err() {
            self.all_known = false;
            self.cursor.end();
        }
        is_mapping
    }

    #[inline(always)]
    fn until_mapping(&mut self, last: &mut MappingRef<'a>) -> Result<bool, DecodeError> {
        loop {
            // Behind the record of a file, most often.
            if self.reuse_with_file(last)? {
                return Ok(true);
            }
            let Some(raw) = self.cursor.step() else {
                return Ok(false);
            };
            if self.record(&raw?, last)? {
                return Ok(true);
            }
        }
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
            MAPS_LOCKLESS_TYPE_UNKNOWN => {
                raw.unknown()?;
                self.all_known = false;
            }
            MAPS_LOCKLESS_TYPE_UNCHANGED => {
                raw.unchanged()?;
            }
            _ => {}
        }
        Ok(false)
    }

    /// Decodes the record of a VMA.
    #[inline]
    fn vma(&mut self, raw: &Raw<'a>, last: &mut MappingRef<'a>) -> Result<(), DecodeError> {
        let (fields, name) = raw.vma()?;
        let offset = fields.file as usize;
        if offset != 0 {
            self.look_up(raw.at, offset)?;
        }
        self.common = if name.is_empty() {
            Common::of(&fields, raw.bytes.len())
        } else {
            // The next name is another one, be it spelt alike.
            Common::NONE
        };
        let file = (offset != 0).then_some(&self.file);
        *last = MappingRef::of(&fields, name, file, &self.header);
        Ok(())
    }

    /// Sees to it that the file is known whose record begins at `offset`, and which the record of a VMA at `vma`
    /// refers to.
    #[inline(always)]
    fn look_up(&mut self, vma: usize, offset: usize) -> Result<(), DecodeError> {
        if offset != self.file_at {
            let file = self.cursor.file_before(vma, offset)?;
            self.remember(offset, &file);
        }
        Ok(())
    }

    #[inline]
    fn remember(&mut self, at: usize, file: &File<'a>) {
        self.file = MappedFile::new(file);
        self.file_at = at;
    }
}
