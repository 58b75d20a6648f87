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
pub(crate) struct Files(KVVec<SeenFile>);

impl Files {
    pub(crate) fn new() -> Self {
        Self(KVVec::new())
    }

    /// Makes room for `count` more files. May sleep.
    pub(crate) fn reserve(&mut self, count: usize) -> Result {
        // As for the batch, its reader is told.
        Ok(self.0.reserve(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?)
    }

    /// Adds a file, for which there must be room. Does not sleep.
    pub(crate) fn add(&mut self, file: SeenFile) -> Result<(), Full> {
        self.0.push_within_capacity(file).map_err(|_| Full)
    }

    /// Looks for a file. Neighbouring VMAs often map the same, so that it is mostly the last one.
    pub(crate) fn find(&self, id: FileId) -> Option<usize> {
        self.0.iter().rposition(|seen| seen.id == id)
    }

    /// A file that was found.
    pub(crate) fn get(&self, place: usize) -> Option<SeenFile> {
        self.0.get(place).copied()
    }
}
