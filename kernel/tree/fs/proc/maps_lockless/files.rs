// SPDX-License-Identifier: GPL-2.0

//! The files that a batch has met.

use super::batch::Full;
use kernel::{mm::lockless::FileId, prelude::*};

/// A file that has a record in the batch, if any field of files was asked for.
///
/// Nothing keeps it: a file that a process has closed and unmapped is not to live on because of a
/// reader. [`FileId`] tells whether another mapping is of this file all the same.
#[derive(Clone, Copy)]
pub(crate) struct SeenFile {
    pub(crate) id: FileId,
    /// Where its record stands in the batch. 0 where none was asked for.
    pub(crate) place: u32,
    /// Binary logarithm of the bytes of its pages, if that can be told.
    pub(crate) page_shift: Option<u8>,
}

/// The files of a batch.
pub(crate) struct Files {
    seen: KVVec<SeenFile>,
    /// A hash table with linear probing, half full at most. Each slot is 0, or 1 more than the
    /// place of a file in `seen`.
    table: KVVec<u16>,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self {
            seen: KVVec::new(),
            table: KVVec::new(),
        }
    }

    /// Forgets all files, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        if !self.seen.is_empty() {
            self.seen.clear();
            self.table.as_mut_slice().fill(0);
        }
    }

    /// Makes room for `count` more files. May sleep.
    pub(crate) fn reserve(&mut self, count: usize) -> Result {
        // As for the batch, its reader is told.
        const FLAGS: kernel::alloc::Flags = GFP_KERNEL_ACCOUNT;

        let files = self.seen.len() + count;
        if self.seen.capacity() < files {
            self.seen.reserve(count, FLAGS | __GFP_NOWARN)?;
        }
        if self.table.len() < 2 * files {
            let slots = (2 * files).next_power_of_two();
            self.table = KVVec::zeroed(slots, FLAGS | __GFP_NOWARN)?;
            for place in 0..self.seen.len() {
                self.enter(place);
            }
        }
        Ok(())
    }

    /// Adds a file, for which there must be room. Does not sleep.
    pub(crate) fn add(&mut self, file: SeenFile) -> Result<(), Full> {
        let place = self.seen.len();
        if self.table.len() < 2 * (place + 1) {
            return Err(Full);
        }
        self.seen.push_within_capacity(file).map_err(|_| Full)?;
        self.enter(place);
        Ok(())
    }

    /// Looks for a file. Neighbouring VMAs often map the same, so that it is mostly the last one.
    #[inline]
    pub(crate) fn find(&self, id: FileId) -> Option<SeenFile> {
        let last = self.seen.last()?;
        if last.id == id {
            return Some(*last);
        }
        self.find_by_hash(id)
    }

    fn find_by_hash(&self, id: FileId) -> Option<SeenFile> {
        let mut slot = self.first_slot(id);
        // Half of the slots are free.
        while let place @ 1.. = usize::from(*self.table.get(slot)?) {
            let seen = self.seen.get(place - 1)?;
            if seen.id == id {
                return Some(*seen);
            }
            slot = self.next_slot(slot);
        }
        None
    }

    /// Enters a file of `seen` into the table.
    fn enter(&mut self, place: usize) {
        let mut slot = self.first_slot(self.seen[place].id);
        while self.table[slot] != 0 {
            slot = self.next_slot(slot);
        }
        // No truncation: a batch has room for fewer records.
        self.table[slot] = place as u16 + 1;
    }

    /// Where in the table a file is, unless another one is there.
    fn first_slot(&self, id: FileId) -> usize {
        // The size is a power of two.
        id.hash() & self.table.len().wrapping_sub(1)
    }

    /// Where else to look for it.
    fn next_slot(&self, slot: usize) -> usize {
        (slot + 1) & self.table.len().wrapping_sub(1)
    }
}
