// SPDX-License-Identifier: GPL-2.0

//! The buffer that a batch's records are collected in.

use super::wire::*;
use kernel::prelude::*;

const HEADER: usize = size_of::<maps_lockless_batch>();
const FIXED: usize = size_of::<maps_lockless_vma>();

/// The next record finds no room.
pub(crate) struct Full;

/// Where bytes that go with a record stand in the batch.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    off: u32,
    len: u32,
}

/// Bytes that go with a record: a name, or a build ID.
#[derive(Clone, Copy)]
pub(crate) enum Blob<'a> {
    /// There are none.
    None,
    /// They come with this record.
    New(&'a [u8]),
    /// They came with a record before it.
    Again(Place),
}

impl Blob<'_> {
    fn new_bytes(&self) -> &[u8] {
        match self {
            Self::New(bytes) => bytes,
            Self::None | Self::Again(_) => &[],
        }
    }
}

/// A header's place, and the records behind it.
///
/// Its memory is allocated in one piece at the start and charged to the reader's memory cgroup, so
/// that records can be added within an RCU section.
pub(crate) struct Batch {
    buf: KVVec<u8>,
    capacity: usize,
    count: u32,
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
            count: 0,
        })
    }

    /// Number of records.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Bytes, header included.
    pub(crate) fn len(&self) -> usize {
        self.buf.len()
    }

    /// Adds a record. Fills in its type, its sizes and where its name and build ID are, which it
    /// returns.
    ///
    /// Does not allocate.
    pub(crate) fn push(
        &mut self,
        mut vma: maps_lockless_vma,
        name: Blob<'_>,
        build_id: Blob<'_>,
    ) -> Result<(Place, Place), Full> {
        let blobs = [name.new_bytes(), build_id.new_bytes()];
        let size = blobs
            .iter()
            .fold(FIXED, |size, bytes| size + bytes.len().next_multiple_of(8));
        if size > self.capacity - self.buf.len() {
            return Err(Full);
        }
        let mut off = self.buf.len() + FIXED;
        let mut place = |blob: Blob<'_>| match blob {
            Blob::None => Place { off: 0, len: 0 },
            Blob::New(bytes) => {
                // No truncation: both are below MAPS_LOCKLESS_MAX_BATCH.
                let place = Place {
                    off: off as u32,
                    len: bytes.len() as u32,
                };
                off += bytes.len().next_multiple_of(8);
                place
            }
            Blob::Again(place) => place,
        };
        let (name, build_id) = (place(name), place(build_id));
        vma.r#type = MAPS_LOCKLESS_TYPE_VMA;
        vma.fixed_size = FIXED as u16;
        vma.size = size as u32;
        vma.name_off = name.off;
        vma.name_len = name.len;
        vma.build_id_off = build_id.off;
        vma.build_id_len = build_id.len;

        self.put(vma.as_bytes())?;
        for bytes in blobs {
            self.put(bytes)?;
            self.put(&[0; 8][..bytes.len().next_multiple_of(8) - bytes.len()])?;
        }
        self.count += 1;
        Ok((name, build_id))
    }

    /// Completes the batch with its header, which the caller has filled in but for its own part.
    pub(crate) fn finish(&mut self, mut header: maps_lockless_batch) -> &[u8] {
        header.size = self.buf.len() as u32;
        header.count = self.count;
        self.buf.as_mut_slice()[..HEADER].copy_from_slice(header.as_bytes());
        &self.buf
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        // `push()` has seen to the room. Within the capacity nothing is allocated.
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

    /// Names and build IDs of any length: where they stand, and that the padding behind is zero.
    #[test]
    fn records_are_laid_out() -> Result {
        const SIZE: usize = core::mem::offset_of!(maps_lockless_vma, size);

        for name_len in 0..=17 {
            for id_len in [0, 1, 8, 20] {
                let mut batch = Batch::new(4096)?;
                let (name, id) = batch
                    .push(
                        Default::default(),
                        Blob::New(&BYTES[..name_len]),
                        Blob::New(&BYTES[..id_len]),
                    )
                    .map_err(|_| EOVERFLOW)?;
                let (name_off, id_off) = (name.off as usize, id.off as usize);
                assert_eq!(name_off, HEADER + FIXED);
                assert_eq!(id_off, name_off + name_len.next_multiple_of(8));
                assert!(name.len as usize == name_len && id.len as usize == id_len);
                let end = id_off + id_len.next_multiple_of(8);
                assert_eq!(batch.len(), end);
                assert_eq!(word(&batch.buf, HEADER + SIZE), Some((end - HEADER) as u32));
                for (off, len, end) in [(name_off, name_len, id_off), (id_off, id_len, end)] {
                    let (blob, padding) = batch.buf[off..end].split_at(len);
                    assert!(blob.iter().all(|byte| *byte == 0xaa));
                    assert!(padding.iter().all(|byte| *byte == 0));
                }
            }
        }
        Ok(())
    }

    #[test]
    fn what_stands_there_is_referred_to() -> Result {
        let mut batch = Batch::new(4096)?;
        let name = Blob::New(&BYTES[..5]);
        let (place, _) = batch
            .push(Default::default(), name, Blob::None)
            .map_err(|_| EOVERFLOW)?;
        let begin = batch.len();
        let (again, none) = batch
            .push(Default::default(), Blob::Again(place), Blob::None)
            .map_err(|_| EOVERFLOW)?;
        assert!(again.off == place.off && again.len == 5);
        assert!(none.off == 0 && none.len == 0);
        assert!(batch.len() == begin + FIXED && batch.count() == 2);
        Ok(())
    }

    /// A record has room to its last byte or leaves the batch as it was.
    #[test]
    fn full_to_the_last_byte() -> Result {
        for (capacity, fits) in [
            (HEADER + FIXED + 7, false),
            (HEADER + FIXED + 8, true),
            (HEADER + FIXED - 1, false),
        ] {
            let mut batch = Batch::new(capacity)?;
            let pushed = batch.push(Default::default(), Blob::New(&BYTES[..1]), Blob::None);
            assert_eq!(pushed.is_ok(), fits);
            assert_eq!(batch.count(), u32::from(fits));
            assert_eq!(batch.len(), if fits { capacity } else { HEADER });
        }
        assert_eq!(
            Batch::new(usize::MAX)?.capacity,
            MAPS_LOCKLESS_MAX_BATCH as usize
        );
        Ok(())
    }
}
