// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the records of one VMA and the next have in common.

use crate::{name::NameRef, wire::maps_lockless_vma};
use core::mem::offset_of;
use zerocopy::transmute;

/// Words of a VMA's record as it is known here.
const VMA: usize = size_of::<maps_lockless_vma>() / 8;
/// Those that stand in it before the range.
const FRONT: usize = offset_of!(maps_lockless_vma, start) / 8;
/// The one that has the file and the length of the name.
const BACK: usize = offset_of!(maps_lockless_vma, file) / 8;
// What the struct is longer by one day has to be compared as well.
const _: () = assert!(BACK + 1 == VMA);

/// Of a VMA's record without a name all that decides whether the record is good and what is told of the mapping,
/// but for the range, the flags and the offset.
pub(super) struct Common {
    front: [u64; FRONT],
    back: u64,
    /// Bytes of the whole record.
    pub(super) size: usize,
    /// Whether a file is mapped, after which the mapping is called.
    takes_file: bool,
}

impl Common {
    /// Of no record: no batch has so many bytes.
    pub(super) const NONE: Self = Self {
        front: [0; FRONT],
        back: 0,
        size: usize::MAX,
        takes_file: false,
    };

    #[inline]
    pub(super) fn of(record: &maps_lockless_vma, size: usize) -> Self {
        let words = words(record);
        let mut front = [0; FRONT];
        front.copy_from_slice(&words[..FRONT]);
        Self {
            front,
            back: words[BACK],
            size,
            takes_file: record.file != 0 && NameRef::is_of_file(record),
        }
    }

    /// Whether a record has the same before the range.
    #[inline(always)]
    pub(super) fn has_front_of(&self, record: &maps_lockless_vma) -> bool {
        // Word by word: as one array they take more instructions.
        let words = words(record);
        (0..FRONT).all(|at| words[at] == self.front[at])
    }

    /// Whether a record has the same behind the offset: the file, and no name.
    #[inline(always)]
    pub(super) fn has_back_of(&self, record: &maps_lockless_vma) -> bool {
        words(record)[BACK] == self.back
    }

    /// Whether a record with the same front has no name either, and its mapping is told from that of the last one
    /// by the file alone.
    #[inline(always)]
    pub(super) fn takes_file_of(&self, record: &maps_lockless_vma) -> bool {
        self.takes_file && record.file != 0 && record.name_len == 0
    }

    /// Takes the file of a record.
    #[inline(always)]
    pub(super) fn set_back(&mut self, record: &maps_lockless_vma) {
        self.back = words(record)[BACK];
    }
}

#[inline(always)]
fn words(record: &maps_lockless_vma) -> [u64; VMA] {
    transmute!(*record)
}
