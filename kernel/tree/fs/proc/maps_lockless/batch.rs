// SPDX-License-Identifier: GPL-2.0

//! The buffer that a batch's records are collected in.

use super::wire::*;
use kernel::prelude::*;

const HEADER: usize = size_of::<maps_lockless_batch>();
const VMA: usize = size_of::<maps_lockless_vma>();
const FILE: usize = size_of::<maps_lockless_file>();
const UNKNOWN: usize = size_of::<maps_lockless_unknown>();
const UNCHANGED: usize = size_of::<maps_lockless_unchanged>();

/// The next record finds no room.
pub(crate) struct Full;

/// How far a batch was filled. See [`Batch::rewind`].
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    len: usize,
    records: u32,
}

/// A header's place, and the records behind it.
///
/// Its memory is allocated before, so that records can be added within an RCU section.
pub(crate) struct Batch<'a> {
    buf: &'a mut [u8],
    /// Bytes written, header included.
    len: usize,
    /// Records of any type.
    records: u32,
    /// Records of mappings, and of ranges that may hold some.
    mappings: u32,
}

impl<'a> Batch<'a> {
    /// Makes a batch in `buf`, which has room for the header.
    pub(crate) fn new(buf: &'a mut [u8]) -> Self {
        Self {
            buf,
            len: HEADER,
            records: 0,
            mappings: 0,
        }
    }

    /// Number of records of mappings, and of ranges that may hold some.
    pub(crate) fn mappings(&self) -> u32 {
        self.mappings
    }

    /// Bytes, header included.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How far the batch is filled.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            len: self.len,
            records: self.records,
        }
    }

    /// Takes out the records that were added since `mark`, among which is no mapping.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.len = mark.len;
        self.records = mark.records;
    }

    /// Adds a mapping. Fills in the record's type and lengths.
    #[inline]
    pub(crate) fn push_vma(&mut self, mut vma: maps_lockless_vma, name: &[u8]) -> Result<(), Full> {
        vma.r#type = MAPS_LOCKLESS_TYPE_VMA;
        vma.fixed_size = VMA as u16;
        vma.name_len = name.len() as u32;
        let (size, room) = self.room_for(VMA + padded(name))?;
        vma.size = size;
        let (fixed, room) = room.split_at_mut(VMA);
        fixed.copy_from_slice(vma.as_bytes());
        if !name.is_empty() {
            put(room, name);
        }
        self.mappings += 1;
        Ok(())
    }

    /// Adds a file. Fills in the record's type and lengths. Returns where in the batch it begins.
    pub(crate) fn push_file(
        &mut self,
        mut file: maps_lockless_file,
        path: &[u8],
        build_id: &[u8],
    ) -> Result<u32, Full> {
        let place = self.len as u32;
        file.r#type = MAPS_LOCKLESS_TYPE_FILE;
        file.fixed_size = FILE as u16;
        file.path_len = path.len() as u32;
        file.build_id_len = build_id.len() as u32;
        let (size, room) = self.room_for(FILE + padded(path) + padded(build_id))?;
        file.size = size;
        let (fixed, room) = room.split_at_mut(FILE);
        fixed.copy_from_slice(file.as_bytes());
        let room = put(room, path);
        put(room, build_id);
        Ok(place)
    }

    /// Adds a range of which nothing is known.
    pub(crate) fn push_unknown(&mut self, start: u64, end: u64) -> Result<(), Full> {
        let (size, room) = self.room_for(UNKNOWN)?;
        let unknown = maps_lockless_unknown {
            r#type: MAPS_LOCKLESS_TYPE_UNKNOWN,
            fixed_size: UNKNOWN as u16,
            size,
            start,
            end,
        };
        room.copy_from_slice(unknown.as_bytes());
        self.mappings += 1;
        Ok(())
    }

    /// Adds a range with so many unchanged VMAs.
    pub(crate) fn push_unchanged(&mut self, start: u64, end: u64, vmas: u32) -> Result<(), Full> {
        let (size, room) = self.room_for(UNCHANGED)?;
        let unchanged = maps_lockless_unchanged {
            r#type: MAPS_LOCKLESS_TYPE_UNCHANGED,
            fixed_size: UNCHANGED as u16,
            size,
            start,
            end,
            vma_count: vmas,
            reserved: 0,
        };
        room.copy_from_slice(unchanged.as_bytes());
        self.mappings += 1;
        Ok(())
    }

    /// Completes the batch with its header, which the caller has filled in but for its own part.
    pub(crate) fn finish(self, mut header: maps_lockless_batch) -> &'a [u8] {
        header.size = self.len as u32;
        header.count = self.records;
        self.buf[..HEADER].copy_from_slice(header.as_bytes());
        &self.buf[..self.len]
    }

    /// Adds a record of `size` bytes, a multiple of 8, if there is room. The caller writes it.
    #[inline]
    fn room_for(&mut self, size: usize) -> Result<(u32, &mut [u8]), Full> {
        let room = self
            .buf
            .get_mut(self.len..)
            .and_then(|room| room.get_mut(..size));
        let room = room.ok_or(Full)?;
        self.len += size;
        self.records += 1;
        // No truncation: it is below MAPS_LOCKLESS_MAX_BATCH.
        Ok((size as u32, room))
    }
}

/// Bytes that these take in a record.
fn padded(bytes: &[u8]) -> usize {
    bytes.len().next_multiple_of(8)
}

/// Writes bytes and their padding. Returns the room that is behind.
fn put<'r>(room: &'r mut [u8], bytes: &[u8]) -> &'r mut [u8] {
    let (own, behind) = room.split_at_mut(padded(bytes));
    // The padding is within the last word.
    if let Some(last) = own.last_chunk_mut::<8>() {
        *last = [0; 8];
        own[..bytes.len()].copy_from_slice(bytes);
    }
    behind
}

#[cfg(CONFIG_PROC_MAPS_LOCKLESS_KUNIT_TEST)]
#[kunit_tests(maps_lockless_batch)]
mod tests {
    use super::*;

    const BYTES: [u8; 32] = [0xaa; 32];

    fn word(bytes: &[u8], off: usize) -> Option<u32> {
        let word = bytes.get(off..off + 4)?;
        Some(u32::from_ne_bytes(word.try_into().ok()?))
    }

    /// Paths and build IDs of any length: where they stand, and that the padding behind is zero.
    #[test]
    fn records_are_laid_out() -> Result {
        const SIZE: usize = core::mem::offset_of!(maps_lockless_file, size);

        for path_len in 0..=17 {
            for id_len in [0, 1, 8, 20] {
                let mut buf = [0xff; 512];
                let mut batch = Batch::new(&mut buf);
                let place = batch
                    .push_file(Default::default(), &BYTES[..path_len], &BYTES[..id_len])
                    .map_err(|_| ENOSPC)?;
                assert_eq!(place as usize, HEADER);
                let id_off = HEADER + FILE + path_len.next_multiple_of(8);
                let end = id_off + id_len.next_multiple_of(8);
                assert_eq!(batch.len(), end);
                assert_eq!(word(batch.buf, HEADER + SIZE), Some((end - HEADER) as u32));
                for (off, len, end) in [(HEADER + FILE, path_len, id_off), (id_off, id_len, end)] {
                    let (blob, padding) = batch.buf[off..end].split_at(len);
                    assert!(blob.iter().all(|byte| *byte == 0xaa));
                    assert!(padding.iter().all(|byte| *byte == 0));
                }
            }
        }
        Ok(())
    }

    /// A file is no mapping, and is taken out again where the mapping behind it has no room.
    #[test]
    fn what_was_added_is_taken_out_again() -> Result {
        let mut buf = [0xff; 512];
        let mut batch = Batch::new(&mut buf);
        batch.push_unknown(0, 1).map_err(|_| ENOSPC)?;
        let mark = batch.mark();
        let len = batch.len();
        batch
            .push_file(Default::default(), &BYTES, &[])
            .map_err(|_| ENOSPC)?;
        assert!(batch.records == 2 && batch.mappings() == 1 && batch.len() > len);
        batch.rewind(mark);
        assert!(batch.records == 1 && batch.mappings() == 1 && batch.len() == len);
        Ok(())
    }

    /// A record has room to its last byte or leaves the batch as it was.
    #[test]
    fn full_to_the_last_byte() -> Result {
        for (capacity, fits) in [
            (HEADER + VMA + 7, false),
            (HEADER + VMA + 8, true),
            (HEADER + VMA - 1, false),
        ] {
            let mut buf = [0; HEADER + VMA + 8];
            let mut batch = Batch::new(&mut buf[..capacity]);
            let pushed = batch.push_vma(Default::default(), &BYTES[..1]);
            assert_eq!(pushed.is_ok(), fits);
            assert_eq!(batch.mappings(), u32::from(fits));
            assert_eq!(batch.len(), if fits { capacity } else { HEADER });
        }
        Ok(())
    }
}
