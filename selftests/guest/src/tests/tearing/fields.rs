// SPDX-License-Identifier: MIT OR Apache-2.0

//! What mappings are: T8 to T11, and fork(2), which leaves them as they are: T14.

use super::{
    effect::{ANOTHER_WALK, Arena, EFFECT, Effect, flags, name, path, rest, torn},
    mutator::{NONE, R, RW, RX},
};
use nix::libc::MADV_DONTFORK;

pub const MPROTECT: Effect = Effect {
    name: "T8 mprotect of two mappings",
    pages: 6,
    before: |place| place.map(0..3, R) && place.map_file(3..6, R),
    change: |place| place.protect(0..6, RX),
    outcomes: &[
        rest("Before", "0-3:r 3-6:r"),
        rest("After", "0-3:rx 3-6:rx"),
        torn("FirstAfter", "0-3:rx 3-6:r"),
        torn("SecondAfter", "0-3:r 3-6:rx"),
    ],
    ..EFFECT
};

pub const MADVISE: Effect = Effect {
    name: "T8 madvise of two mappings",
    pages: 6,
    before: |place| place.map(0..3, R) && place.map_file(3..6, R),
    change: |place| place.advise(0..6, MADV_DONTFORK),
    show: flags,
    outcomes: &[
        rest("Before", "0-3:r 3-6:r"),
        rest("After", "0-3:r+dc 3-6:r+dc"),
        torn("FirstAfter", "0-3:r+dc 3-6:r"),
        torn("SecondAfter", "0-3:r 3-6:r+dc"),
    ],
    ..EFFECT
};

pub const MLOCK: Effect = Effect {
    name: "T8 mlock: memory looks like a device's for a while",
    pages: 16,
    before: |place| place.map_populated(0..16, RW),
    change: |place| place.lock(0..16),
    show: flags,
    outcomes: &[
        rest("Before", "0-16:rw"),
        rest("After", "0-16:rw+lo"),
        torn("LockedAndIo", "0-16:rw+lo+io!"),
    ],
    ..EFFECT
};

pub const NAME: Effect = Effect {
    name: "T9 prctl that names two mappings",
    pages: 6,
    before: |place| place.map(0..3, R) && place.map(3..6, RW) && place.name(0..6, c"one"),
    change: |place| place.name(0..6, c"other"),
    show: name,
    outcomes: &[
        rest("Before", "0-3:r=one 3-6:rw=one"),
        rest("After", "0-3:r=other 3-6:rw=other"),
        torn("FirstAfter", "0-3:r=other 3-6:rw=one"),
        torn("SecondAfter", "0-3:r=one 3-6:rw=other"),
    ],
    ..EFFECT
};

/// The heap's piece below is read-only, so that the one above is another mapping.
pub const HEAP_GROWS: Effect = Effect {
    name: "T10 brk that grows the heap",
    arena: Arena::Heap,
    pages: 8,
    setup: |place| place.fill_heap_below(),
    before: |place| place.brk(0) && place.brk(4) && place.protect(0..4, R),
    change: |place| place.brk(8),
    show: name,
    outcomes: &[
        rest("Before", "0-4:r[heap]"),
        rest("After", "0-4:r[heap] 4-8:rw[heap]"),
        torn("NewWithoutLabel", "0-4:r[heap] 4-8:rw"),
    ],
    ..EFFECT
};

pub const HEAP_SHRINKS: Effect = Effect {
    name: "T10 brk that shrinks the heap",
    before: |place| place.brk(0) && place.brk(4) && place.protect(0..4, R) && place.brk(8),
    change: |place| place.brk(4),
    outcomes: &[
        rest("Before", "0-4:r[heap] 4-8:rw[heap]"),
        rest("After", "0-4:r[heap]"),
        torn("OldWithoutLabel", "0-4:r[heap] 4-8:rw"),
    ],
    ..HEAP_GROWS
};

/// A page below that nobody can use, so that a batch may end between it and the stack.
pub const STACK_GROWS: Effect = Effect {
    name: "T10 the stack grows",
    arena: Arena::Stack,
    pages: 14,
    setup: |place| place.touch(2) && place.map(0..1, NONE),
    before: |place| place.unmap(1..10),
    change: |place| place.touch(2),
    show: name,
    outcomes: &[
        rest("Before", "0-1:- 10-14:rw[stack]"),
        rest("After", "0-1:- 2-14:rw[stack]"),
        torn("BeforeClipped", "0-1:- 10-14:rw[stack]<2").rare(ANOTHER_WALK),
    ],
    ..EFFECT
};

/// Both mappings refer to one record of the file, and so show the same. A batch has another one where mappings
/// were freed in between, and the next batch has another one anyway.
pub const RENAME_ONE_FILE: Effect = Effect {
    name: "T11 rename of an open file that is mapped twice",
    pages: 3,
    before: |place| place.map_own_file([0, 2], false),
    change: |place| place.rename_own_file(),
    show: path,
    files: true,
    counted: false,
    outcomes: &[
        rest("Before", "0-1:r=before 2-3:r=before"),
        rest("After", "0-1:r=after 2-3:r=after"),
        torn("BeforeThenAfter", "0-1:r=before 2-3:r=after"),
    ],
    ..EFFECT
};

pub const RENAME_TWO_FILES: Effect = Effect {
    name: "T11 rename of a file that is mapped by two open files",
    before: |place| place.map_own_file([0, 2], true),
    outcomes: &[
        rest("Before", "0-1:r=before 2-3:r=before"),
        rest("After", "0-1:r=after 2-3:r=after"),
        torn("BeforeThenAfter", "0-1:r=before 2-3:r=after"),
    ],
    ..RENAME_ONE_FILE
};

pub const UNLINK_ONE_FILE: Effect = Effect {
    name: "T11 unlink of an open file that is mapped twice",
    change: |place| place.unlink_own_file(),
    outcomes: &[
        rest("Before", "0-1:r=before 2-3:r=before"),
        rest("After", "0-1:r=before(deleted) 2-3:r=before(deleted)"),
        torn("BeforeThenAfter", "0-1:r=before 2-3:r=before(deleted)"),
    ],
    ..RENAME_ONE_FILE
};

pub const UNLINK_TWO_FILES: Effect = Effect {
    name: "T11 unlink of a file that is mapped by two open files",
    before: |place| place.map_own_file([0, 2], true),
    outcomes: &[
        rest("Before", "0-1:r=before 2-3:r=before"),
        rest("After", "0-1:r=before(deleted) 2-3:r=before(deleted)"),
        torn("BeforeThenAfter", "0-1:r=before 2-3:r=before(deleted)"),
    ],
    ..UNLINK_ONE_FILE
};

pub const FORK: Effect = Effect {
    name: "T14 fork",
    pages: 6,
    before: |place| place.map(0..3, RW) && place.map_file(3..6, R),
    change: |place| place.fork(),
    offsets: true,
    outcomes: &[rest("Same", "0-3:rw 3-6:r")],
    ..EFFECT
};
