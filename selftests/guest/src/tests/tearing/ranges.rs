// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is mapped where: T1 to T7.

use super::{
    effect::{ANOTHER_WALK, EFFECT, Effect, account, offset, rest, torn},
    mutator::{R, RW, RX},
};

const PREEMPTED: &str = "the reader must be preempted between two lookups, within the few microseconds \
                         that one step of the system call takes";
const STOOD_STILL: &str = "the reader must be preempted between the walk to a VMA and the copies of its \
                           fields, a few instructions apart, for as long as the system call takes";

/// A page between the two ranges stays mapped, so that a batch may end there.
pub const MMAP_TWO: Effect = Effect {
    name: "T1 mmap of two free ranges, the lower first",
    pages: 8,
    before: |place| place.map(3..4, R),
    change: |place| place.map(0..2, RW) && place.map(5..7, RW),
    outcomes: &[
        rest("Neither", "3-4:r"),
        rest("LowerOnly", "0-2:rw 3-4:r"),
        rest("Both", "0-2:rw 3-4:r 5-7:rw"),
        // Never so at any moment.
        torn("UpperOnly", "3-4:r 5-7:rw"),
    ],
    ..EFFECT
};

pub const MMAP_BEHIND: Effect = Effect {
    name: "T1 mmap behind a mapping that it is merged with",
    pages: 8,
    before: |place| place.map_file(0..4, R),
    change: |place| place.map_file(4..8, R),
    offsets: true,
    outcomes: &[
        rest("Without", "0-4:r"),
        rest("Merged", "0-8:r"),
        torn("WithoutThenClipped", "0-4:r 4-8:r<0"),
    ],
    ..EFFECT
};

pub const MMAP_BELOW: Effect = Effect {
    name: "T1 mmap below a mapping that it is merged with",
    pages: 8,
    before: |place| place.map_file(4..8, R),
    change: |place| place.map_file(0..4, R),
    offsets: true,
    outcomes: &[
        rest("Without", "4-8:r"),
        rest("Merged", "0-8:r"),
        torn("GapThenClipped", "4-8:r<0").rare(ANOTHER_WALK),
        offset("WithoutOffsetOfMerged", "4-8@0"),
    ],
    ..EFFECT
};

pub const MUNMAP_TWO: Effect = Effect {
    name: "T2 munmap of two mappings, the lower first",
    pages: 8,
    before: |place| place.map(0..2, RW) && place.map(3..4, R) && place.map(5..7, RW),
    change: |place| place.unmap(0..2) && place.unmap(5..7),
    outcomes: &[
        rest("Both", "0-2:rw 3-4:r 5-7:rw"),
        rest("UpperOnly", "3-4:r 5-7:rw"),
        rest("Neither", "3-4:r"),
        // Never so at any moment.
        torn("LowerOnly", "0-2:rw 3-4:r"),
    ],
    ..EFFECT
};

pub const MUNMAP_PART: Effect = Effect {
    name: "T2 munmap of the middle",
    pages: 9,
    before: |place| place.map_file(0..9, R),
    change: |place| place.unmap(3..6),
    offsets: true,
    outcomes: &[
        rest("Whole", "0-9:r"),
        rest("WhatIsLeft", "0-3:r 6-9:r"),
        torn("TwoParts", "0-3:r 3-9:r"),
        torn("ThreeParts", "0-3:r 3-6:r 6-9:r"),
        offset("WholeOffsetOfUpper", "0-9@3"),
    ],
    ..EFFECT
};

pub const SPLIT_FIRST: Effect = Effect {
    name: "T3 split: mprotect of the first half",
    pages: 10,
    before: |place| place.map_file(0..10, RX),
    change: |place| place.protect(0..5, R),
    offsets: true,
    outcomes: &[
        rest("Whole", "0-10:rx"),
        rest("Parts", "0-5:r 5-10:rx"),
        torn("PartsFieldsOfWhole", "0-5:rx 5-10:rx"),
        torn("WholeFieldsOfFirst", "0-10:r!").rare(STOOD_STILL),
    ],
    ..EFFECT
};

/// Here the new VMA is the first part, and the one that was the whole gets another offset.
pub const SPLIT_SECOND: Effect = Effect {
    name: "T3 split: mprotect of the second half",
    change: |place| place.protect(5..10, R),
    outcomes: &[
        rest("Whole", "0-10:rx"),
        rest("Parts", "0-5:rx 5-10:r"),
        torn("PartsFieldsOfWhole", "0-5:rx 5-10:rx"),
        torn("WholeFieldsOfSecond", "0-10:r!").rare(STOOD_STILL),
        offset("WholeOffsetOfSecond", "0-10@5"),
    ],
    ..SPLIT_FIRST
};

pub const SPLIT_MADVISE: Effect = Effect {
    name: "T3 split: madvise of the middle",
    pages: 10,
    before: |place| place.map_file(0..10, R),
    change: |place| place.advise(3..6, nix::libc::MADV_DONTFORK),
    show: super::effect::flags,
    offsets: true,
    outcomes: &[
        rest("Whole", "0-10:r"),
        rest("Parts", "0-3:r 3-6:r+dc 6-10:r"),
        torn("TwoPartsFieldsOfWhole", "0-3:r 3-10:r"),
        torn("PartsFieldsOfWhole", "0-3:r 3-6:r 6-10:r"),
        torn("WholeFieldsOfMiddle", "0-10:r+dc!").rare(STOOD_STILL),
        torn("TwoPartsFieldsOfMiddle", "0-3:r 3-10:r+dc!").rare(STOOD_STILL),
        offset("WholeOffsetOfUpper", "0-10@3"),
    ],
    ..EFFECT
};

pub const MERGE_NEXT: Effect = Effect {
    name: "T4 merge with the next",
    pages: 10,
    before: |place| place.map_file(0..5, R) && place.map_file(5..10, RX),
    change: |place| place.protect(0..5, RX),
    offsets: true,
    outcomes: &[
        rest("TwoBefore", "0-5:r 5-10:rx"),
        rest("OneAfter", "0-10:rx"),
        torn("FirstThenClipped", "0-5:r 5-10:rx<0"),
        offset("SecondOffsetOfMerged", "5-10@0"),
    ],
    ..EFFECT
};

pub const MERGE_PREVIOUS: Effect = Effect {
    name: "T4 merge with the one before",
    pages: 10,
    before: |place| place.map_file(0..5, RX) && place.map_file(5..10, R),
    change: |place| place.protect(5..10, RX),
    offsets: true,
    outcomes: &[
        rest("TwoBefore", "0-5:rx 5-10:r"),
        rest("OneAfter", "0-10:rx"),
        torn("FirstThenClipped", "0-5:rx 5-10:rx<0"),
    ],
    ..EFFECT
};

pub const MERGE_BOTH: Effect = Effect {
    name: "T4 merge with both neighbours",
    pages: 9,
    before: |place| place.map_file(0..3, RX) && place.map_file(3..6, R) && place.map_file(6..9, RX),
    change: |place| place.protect(3..6, RX),
    offsets: true,
    outcomes: &[
        rest("ThreeBefore", "0-3:rx 3-6:r 6-9:rx"),
        rest("OneAfter", "0-9:rx"),
        torn("FirstThenClipped", "0-3:rx 3-9:rx<0"),
        torn("TwoThenClipped", "0-3:rx 3-6:r 6-9:rx<0"),
    ],
    ..EFFECT
};

pub const BOUNDARY_DOWN: Effect = Effect {
    name: "T5 boundary moves down",
    pages: 12,
    before: |place| place.map_file(0..6, R) && place.map_file(6..12, RX),
    change: |place| place.protect(4..6, RX),
    offsets: true,
    outcomes: &[
        rest("Before", "0-6:r 6-12:rx"),
        rest("After", "0-4:r 4-12:rx"),
        torn("FirstThenClipped", "0-6:r 6-12:rx<4"),
        offset("SecondOffsetOfAfter", "6-12@4").rare(STOOD_STILL),
    ],
    ..EFFECT
};

pub const BOUNDARY_UP: Effect = Effect {
    name: "T5 boundary moves up",
    pages: 12,
    before: |place| place.map_file(0..4, R) && place.map_file(4..12, RX),
    change: |place| place.protect(4..6, R),
    offsets: true,
    outcomes: &[
        rest("Before", "0-4:r 4-12:rx"),
        rest("After", "0-6:r 6-12:rx"),
        torn("FirstThenClipped", "0-4:r 4-6:r<0 6-12:rx"),
        offset("SecondOffsetOfAfter", "4-12@6").rare(STOOD_STILL),
    ],
    ..EFFECT
};

pub const FIXED_OVER_ALL: Effect = Effect {
    name: "T6 MAP_FIXED over three mappings",
    pages: 9,
    before: |place| place.map_file(0..3, R) && place.map(3..6, RX) && place.map_file(6..9, RX),
    change: |place| place.map(0..9, RW),
    outcomes: &[
        rest("Before", "0-3:r 3-6:rx 6-9:rx"),
        rest("After", "0-9:rw"),
        torn("OneThenClipped", "0-3:r 3-9:rw<0"),
        torn("TwoThenClipped", "0-3:r 3-6:rx 6-9:rw<0"),
    ],
    ..EFFECT
};

pub const FIXED_OVER_PARTS: Effect = Effect {
    name: "T6 MAP_FIXED over parts of two mappings",
    pages: 8,
    before: |place| place.map_file(0..4, R) && place.map_file(4..8, RX),
    change: |place| place.map(2..6, RW),
    offsets: true,
    outcomes: &[
        rest("Before", "0-4:r 4-8:rx"),
        rest("After", "0-2:r 2-6:rw 6-8:rx"),
        torn("FirstSplit", "0-2:r 2-4:r 4-8:rx"),
        torn("BothSplit", "0-2:r 2-4:r 4-6:rx 6-8:rx"),
        torn("BeforeThenSplit", "0-4:r 4-6:rx 6-8:rx").rare(PREEMPTED),
        torn("BeforeThenClipped", "0-4:r 4-6:rw<2 6-8:rx"),
        torn("SplitThenClipped", "0-2:r 2-4:r 4-6:rw<2 6-8:rx").rare(PREEMPTED),
        offset("FirstOffsetOfSplit", "0-4@2").rare(STOOD_STILL),
    ],
    ..EFFECT
};

pub const FIXED_FAILS: Effect = Effect {
    name: "T6 MAP_FIXED that fails half-way",
    pages: 8,
    before: |place| place.map_file(1..4, R) && place.map_file(4..7, RX),
    change: |place| place.map_refused(1..7),
    outcomes: &[
        rest("Before", "1-4:r 4-7:rx"),
        // Really there.
        rest("Gap", ""),
        torn("FirstThenGap", "1-4:r"),
    ],
    ..EFFECT
};

pub const MOVE_UP: Effect = Effect {
    name: "T7 mremap that moves up",
    pages: 9,
    before: |place| place.map(0..3, RW) && place.map(4..5, R),
    change: |place| place.move_to(0..3, 6),
    outcomes: &[
        rest("Old", "0-3:rw 4-5:r"),
        rest("New", "4-5:r 6-9:rw"),
        torn("Both", "0-3:rw 4-5:r 6-9:rw"),
    ],
    ..EFFECT
};

pub const MOVE_DOWN: Effect = Effect {
    name: "T7 mremap that moves down",
    pages: 9,
    before: |place| place.map(6..9, RW) && place.map(4..5, R),
    change: |place| place.move_to(6..9, 0),
    outcomes: &[
        rest("Old", "4-5:r 6-9:rw"),
        rest("New", "0-3:rw 4-5:r"),
        torn("Both", "0-3:rw 4-5:r 6-9:rw"),
        torn("Neither", "4-5:r"),
    ],
    ..EFFECT
};

pub const MOVE_ACCOUNT: Effect = Effect {
    name: "T8 mremap: what is moved is not accounted for a while",
    show: account,
    outcomes: &[
        rest("Old", "0-3:rw 4-5:r"),
        rest("New", "4-5:r 6-9:rw"),
        torn("Both", "0-3:rw 4-5:r 6-9:rw"),
        torn("BothOldUnaccounted", "0-3:rw-ac! 4-5:r 6-9:rw"),
    ],
    ..MOVE_UP
};
