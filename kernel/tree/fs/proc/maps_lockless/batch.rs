// SPDX-License-Identifier: GPL-2.0

//! The buffer that a batch's records are collected in.

use super::wire::*;
use kernel::prelude::*;

const HEADER: usize = size_of::<maps_lockless_batch>();
const VMA: usize = size_of::<maps_lockless_vma>();
const FILE: usize = size_of::<maps_lockless_file>();
const UNKNOWN: usize = size_of::<maps_lockless_unknown>();

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
/// Its memory is allocated in one piece at the start and charged to the reader's memory cgroup, so
/// that records can be added within an RCU section.
pub(crate) struct Batch {
    buf: KVVec<u8>,
    capacity: usize,
    /// Records of any type.
    records: u32,
    /// Records of mappings, and of ranges that may hold some.
    mappings: u32,
}

impl Batch {
    /// Makes a batch of at most `capacity` bytes, header included. It has room for the header.
    pub(crate) fn new(capacity: usize) -> Result<Self> {
        let capacity = capacity.clamp(HEADER, MAPS_LOCKLESS_MAX_BATCH as usize);
        // A reader that runs out of memory is told so. The log need not be.
        let mut buf = KVVec::with_capacity(capacity, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        buf.resize(HEADER, 0, GFP_KERNEL_ACCOUNT)?;
        Ok(Self {
            buf,
            capacity,
            records: 0,
            mappings: 0,
        })
    }

    /// Number of records of mappings, and of ranges that may hold some.
    pub(crate) fn mappings(&self) -> u32 {
        self.mappings
    }

    /// Bytes, header included.
    pub(crate) fn len(&self) -> usize {
        self.buf.len()
    }

    /// How far the batch is filled.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            len: self.buf.len(),
            records: self.records,
        }
    }

    /// Takes out the records that were added since `mark`, among which is no mapping.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.buf.truncate(mark.len);
        self.records = mark.records;
    }

    /// Adds a mapping. Fills in the record's type and lengths.
    ///
    /// Does not allocate, as the other functions that add a record.
    pub(crate) fn push_vma(&mut self, mut vma: maps_lockless_vma, name: &[u8]) -> Result<(), Full> {
        vma.r#type = MAPS_LOCKLESS_TYPE_VMA;
        vma.fixed_size = VMA as u16;
        vma.size = self.room_for(VMA, &[name])?;
        vma.name_len = name.len() as u32;
        self.put(vma.as_bytes(), &[name])?;
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
        let place = self.buf.len() as u32;
        file.r#type = MAPS_LOCKLESS_TYPE_FILE;
        file.fixed_size = FILE as u16;
        file.size = self.room_for(FILE, &[path, build_id])?;
        file.path_len = path.len() as u32;
        file.build_id_len = build_id.len() as u32;
        self.put(file.as_bytes(), &[path, build_id])?;
        Ok(place)
    }

    /// Adds a range of which nothing is known.
    pub(crate) fn push_unknown(&mut self, start: u64, end: u64) -> Result<(), Full> {
        let unknown = maps_lockless_unknown {
            r#type: MAPS_LOCKLESS_TYPE_UNKNOWN,
            fixed_size: UNKNOWN as u16,
            size: self.room_for(UNKNOWN, &[])?,
            start,
            end,
        };
        self.put(unknown.as_bytes(), &[])?;
        self.mappings += 1;
        Ok(())
    }

    /// Completes the batch with its header, which the caller has filled in but for its own part.
    pub(crate) fn finish(&mut self, mut header: maps_lockless_batch) -> &[u8] {
        header.size = self.buf.len() as u32;
        header.count = self.records;
        self.buf.as_mut_slice()[..HEADER].copy_from_slice(header.as_bytes());
        &self.buf
    }

    /// The bytes of a record with these behind its fixed part, if there is room for them.
    fn room_for(&self, fixed: usize, blobs: &[&[u8]]) -> Result<u32, Full> {
        let size = blobs
            .iter()
            .fold(fixed, |size, bytes| size + bytes.len().next_multiple_of(8));
        if size > self.capacity - self.buf.len() {
            return Err(Full);
        }
        // No truncation: it is below MAPS_LOCKLESS_MAX_BATCH.
        Ok(size as u32)
    }

    fn put(&mut self, fixed: &[u8], blobs: &[&[u8]]) -> Result<(), Full> {
        self.extend(fixed)?;
        for bytes in blobs {
            self.extend(bytes)?;
            self.extend(&[0; 8][..bytes.len().next_multiple_of(8) - bytes.len()])?;
        }
        self.records += 1;
        Ok(())
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), Full> {
        // `room_for()` has seen to the room. Within the capacity nothing is allocated.
        self.buf
            .extend_from_slice(bytes, GFP_NOWAIT)
            .map_err(|_| Full)
    }
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
                let mut batch = Batch::new(4096)?;
                let place = batch
                    .push_file(Default::default(), &BYTES[..path_len], &BYTES[..id_len])
                    .map_err(|_| ENOSPC)?;
                assert_eq!(place as usize, HEADER);
                let id_off = HEADER + FILE + path_len.next_multiple_of(8);
                let end = id_off + id_len.next_multiple_of(8);
                assert_eq!(batch.len(), end);
                assert_eq!(word(&batch.buf, HEADER + SIZE), Some((end - HEADER) as u32));
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
        let mut batch = Batch::new(4096)?;
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
            let mut batch = Batch::new(capacity)?;
            let pushed = batch.push_vma(Default::default(), &BYTES[..1]);
            assert_eq!(pushed.is_ok(), fits);
            assert_eq!(batch.mappings(), u32::from(fits));
            assert_eq!(batch.len(), if fits { capacity } else { HEADER });
        }
        assert_eq!(
            Batch::new(usize::MAX)?.capacity,
            MAPS_LOCKLESS_MAX_BATCH as usize
        );
        Ok(())
    }
}
