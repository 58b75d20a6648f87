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
        let mut buf = KVVec::with_capacity(capacity, GFP_KERNEL_ACCOUNT)?;
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
