// SPDX-License-Identifier: MIT OR Apache-2.0

//! Each invariant holds of a good listing, and is missed where it is broken.

use super::{
    Broken,
    Invariant::{self, *},
    Listing, PAGE, check_bytes, has_kernel_address,
};
use crate::raw::{FILE_RECORD, HEADER, RECORD};
use maps_lockless::wire::*;
use std::mem::offset_of;
use zerocopy::IntoBytes;

const PATH: &[u8] = b"/a/file";
const NAME: &[u8] = b"a name";
const ID: &[u8] = b"build ID";
const UNKNOWN: usize = size_of::<maps_lockless_unknown>();
const WANTED: u64 = MAPS_LOCKLESS_FIELDS_MAPS | MAPS_LOCKLESS_FIELD_BUILD_ID;
const RANGE: u64 = MAPS_LOCKLESS_FIELD_RANGE;
const FLAGS: u64 = RANGE | MAPS_LOCKLESS_FIELD_FLAGS;

/// What a batch is made of.
#[derive(Clone)]
struct Parts {
    header: maps_lockless_batch,
    /// The second one maps the file.
    vmas: Vec<maps_lockless_vma>,
    file: maps_lockless_file,
    /// Stands behind the third one.
    unknown: maps_lockless_unknown,
    path: Vec<u8>,
}

/// Two pages of memory with a name, a page of a file, a withheld page, a page of which nothing is known,
/// `[vsyscall]`.
fn parts() -> Parts {
    let vma = |start, end, valid| maps_lockless_vma {
        r#type: MAPS_LOCKLESS_TYPE_VMA,
        fixed_size: RECORD as u16,
        size: RECORD as u32,
        start,
        end,
        vma_start: start,
        valid,
        ..Default::default()
    };
    let mut memory = vma(PAGE, 3 * PAGE, FLAGS | MAPS_LOCKLESS_FIELD_NAME);
    memory.size += 8;
    (memory.name_kind, memory.name_len) = (MAPS_LOCKLESS_NAME_ANON, NAME.len() as u32);
    let mut of_file = vma(3 * PAGE, 4 * PAGE, FLAGS | MAPS_LOCKLESS_FIELD_OFFSET);
    (of_file.offset, of_file.vma_flags) = (PAGE, MAPS_LOCKLESS_VMA_FILE);
    of_file.file = (HEADER + RECORD + 8) as u32;
    let mut withheld = vma(8 * PAGE, 9 * PAGE, RANGE);
    withheld.flags = MAPS_LOCKLESS_REC_WITHHELD;
    let gate = vma(0xffff_ffff_ff60_0000, 0xffff_ffff_ff60_1000, FLAGS);
    Parts {
        header: maps_lockless_batch {
            magic: MAPS_LOCKLESS_MAGIC,
            version: MAPS_LOCKLESS_VERSION,
            header_size: HEADER as u16,
            size: 0,
            count: 6,
            flags: MAPS_LOCKLESS_BATCH_FINAL | MAPS_LOCKLESS_BATCH_FIRST,
            end_reason: MAPS_LOCKLESS_END_COMPLETE,
            begin: 0,
            next: MAPS_LOCKLESS_NEXT_NONE,
            mm_id: 1,
            seq_begin: 6,
            seq_end: 8,
            request: 3,
            fields_supported: 0,
            fields_wanted: WANTED,
            vma_flags_supported: 0,
            page_size: PAGE as u32,
            vma_count: 4,
        },
        vmas: vec![memory, of_file, withheld, gate],
        file: maps_lockless_file {
            r#type: MAPS_LOCKLESS_TYPE_FILE,
            fixed_size: FILE_RECORD as u16,
            size: (FILE_RECORD + 16) as u32,
            valid: WANTED & !0xff,
            path_len: PATH.len() as u32,
            ino: 77,
            dev_major: 8,
            dev_minor: 1,
            build_id_len: ID.len() as u32,
            ..Default::default()
        },
        unknown: maps_lockless_unknown {
            r#type: MAPS_LOCKLESS_TYPE_UNKNOWN,
            fixed_size: UNKNOWN as u16,
            size: UNKNOWN as u32,
            start: 9 * PAGE,
            end: 10 * PAGE,
        },
        path: [PATH, b"\0"].concat(),
    }
}

impl Parts {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        for vma in &self.vmas {
            if vma.file != 0 {
                bytes.extend(self.file.as_bytes());
                bytes.extend(&self.path);
                bytes.extend(ID);
            }
            bytes.extend(vma.as_bytes());
            if vma.size as usize > RECORD {
                bytes.extend(NAME);
                bytes.extend([0, 0]);
            }
            if vma.start == 8 * PAGE {
                bytes.extend(self.unknown.as_bytes());
            }
        }
        let mut header = self.header;
        header.size = bytes.len() as u32;
        bytes[..HEADER].copy_from_slice(header.as_bytes());
        bytes
    }

    /// As it is with no record.
    fn empty(mut self) -> Self {
        self.vmas.clear();
        self.header.count = 0;
        self
    }

    /// As it is where nothing moves and nothing is unsure.
    fn at_rest(mut self) -> Self {
        self.vmas.remove(2);
        self.header.count = 4;
        self.header.seq_begin = 8;
        self
    }
}

fn listing(parts: &Parts) -> Result<Listing, Broken> {
    let mut listing = Listing::of(0);
    listing.add(&parts.bytes())?;
    Ok(listing)
}

/// What is broken once something was changed.
fn broken(change: impl FnOnce(&mut Parts)) -> Option<Invariant> {
    let mut parts = parts();
    change(&mut parts);
    Some(listing(&parts).err()?.invariant)
}

fn broken_vma(which: usize, change: impl FnOnce(&mut maps_lockless_vma)) -> Option<Invariant> {
    broken(|parts| change(&mut parts.vmas[which]))
}

fn broken_file(change: impl FnOnce(&mut maps_lockless_file)) -> Option<Invariant> {
    broken(|parts| change(&mut parts.file))
}

fn broken_header(change: impl FnOnce(&mut maps_lockless_batch)) -> Option<Invariant> {
    broken(|parts| change(&mut parts.header))
}

#[test]
fn a_good_listing_passes() {
    let listing = listing(&parts()).unwrap();
    listing.has(PAGE..4 * PAGE).unwrap();
    assert!(listing.is_complete());
    assert_eq!(listing.proved().unwrap(), None);
    assert_eq!((listing.mappings().len(), listing.unknown()), (4, 1));
    let file = listing.mappings()[1].file.unwrap();
    assert_eq!(file.ino, 77);
}

#[test]
fn ranges() {
    assert_eq!(
        broken_vma(1, |vma| (vma.start, vma.end, vma.vma_start) = (0, PAGE, 0)),
        Some(Order)
    );
    assert_eq!(
        broken_vma(1, |vma| vma.flags = MAPS_LOCKLESS_REC_CLIPPED),
        Some(Order)
    );
    assert_eq!(
        broken_vma(1, |vma| (vma.start, vma.vma_start) = (2 * PAGE, 2 * PAGE)),
        Some(Overlap)
    );
    assert_eq!(broken_vma(0, |vma| vma.end += 1), Some(Overlap));
    assert_eq!(broken_vma(0, |vma| vma.end = vma.start), Some(Overlap));
    assert_eq!(
        broken(|parts| parts.unknown.start = 8 * PAGE),
        Some(Overlap)
    );
}

#[test]
fn fields() {
    assert_eq!(broken_vma(1, |vma| vma.valid = FLAGS), Some(Zero));
    assert_eq!(
        broken_vma(1, |vma| vma.valid &= !MAPS_LOCKLESS_FIELD_RANGE),
        Some(Zero)
    );
    assert_eq!(broken_vma(0, |vma| vma.page_shift = 12), Some(Zero));
    assert_eq!(broken_vma(0, |vma| vma.pkey = 1), Some(Zero));
    // It was not asked for.
    assert_eq!(
        broken_vma(0, |vma| vma.valid |= MAPS_LOCKLESS_FIELD_PKEY),
        Some(Zero)
    );
    assert_eq!(broken_vma(2, |vma| vma.offset = PAGE), Some(Withheld));
    assert_eq!(broken_vma(2, |vma| vma.valid = FLAGS), Some(Withheld));
    let marks = MAPS_LOCKLESS_REC_WITHHELD | MAPS_LOCKLESS_REC_UNSTABLE;
    assert_eq!(broken_vma(2, |vma| vma.flags = marks), Some(Withheld));
}

#[test]
fn fields_of_files() {
    for field in [
        MAPS_LOCKLESS_FIELD_DEV,
        MAPS_LOCKLESS_FIELD_INO,
        MAPS_LOCKLESS_FIELD_PATH,
        MAPS_LOCKLESS_FIELD_BUILD_ID,
    ] {
        assert_eq!(broken_file(|file| file.valid &= !field), Some(Zero));
    }
    let deleted = |file: &mut maps_lockless_file| {
        file.valid &= !MAPS_LOCKLESS_FIELD_DELETED;
        file.flags = MAPS_LOCKLESS_FILE_DELETED;
    };
    assert_eq!(broken_file(deleted), Some(Zero));
    assert_eq!(broken_file(|file| file.reserved = 1), Some(Zero));
    // It is there, and too long.
    let flag = MAPS_LOCKLESS_FILE_PATH_TOO_LONG;
    assert_eq!(broken_file(|file| file.flags = flag), Some(Zero));
    assert_eq!(
        broken_header(|header| header.fields_wanted &= !MAPS_LOCKLESS_FIELD_INO),
        Some(Zero)
    );
}

#[test]
fn who_refers_to_a_file() {
    let none = |vma: &mut maps_lockless_vma| (vma.vma_flags, vma.valid, vma.offset) = (0, FLAGS, 0);
    // It maps none.
    assert_eq!(broken_vma(1, none), Some(File));
    // It maps one.
    let flag = MAPS_LOCKLESS_VMA_FILE;
    assert_eq!(broken_vma(0, |vma| vma.vma_flags = flag), Some(File));
    // Nobody refers to it, for it stands before the withheld one.
    let mut idle = parts();
    let mut bytes = idle.bytes();
    let at = HEADER + RECORD + 8 + FILE_RECORD + 16;
    bytes[at + offset_of!(maps_lockless_vma, file)..][..4].fill(0);
    bytes[at + offset_of!(maps_lockless_vma, vma_flags)..][..8].fill(0);
    bytes[at + offset_of!(maps_lockless_vma, offset)..][..8].fill(0);
    bytes[at + offset_of!(maps_lockless_vma, valid)..][..8].copy_from_slice(&FLAGS.to_ne_bytes());
    assert_eq!(Listing::of(0).add(&bytes).unwrap_err().invariant, File);
    // It stands nowhere.
    idle.vmas[1].file += 8;
    assert_eq!(listing(&idle).unwrap_err().invariant, Format);
}

#[test]
fn bytes_that_belong_to_nothing() {
    assert_eq!(broken(|parts| parts.path[7] = b'x'), Some(Padding));
    assert_eq!(
        broken_vma(0, |vma| {
            (vma.name_kind, vma.name_len) = (MAPS_LOCKLESS_NAME_HEAP, 0);
        }),
        Some(Padding)
    );
}

#[test]
fn pointers() {
    let pointer = 0xffff_8880_1234_5678;
    assert_eq!(broken_vma(1, |vma| vma.offset = pointer), Some(Pointer));
    assert_eq!(
        broken_vma(0, |vma| vma.vma_flags = pointer & !MAPS_LOCKLESS_VMA_FILE),
        Some(Pointer)
    );
    assert_eq!(broken_file(|file| file.ino = pointer), Some(Pointer));
    assert_eq!(
        broken_header(|header| header.vma_flags_supported = pointer),
        Some(Pointer)
    );
    // vsyscall's page, and nothing that only looks like it.
    assert_eq!(broken_vma(3, |vma| vma.end += PAGE), Some(Pointer));
    let gate = 0xffff_ffff_ff60_0000;
    assert_eq!(broken_vma(1, |vma| vma.offset = gate), Some(Pointer));
    assert_eq!(
        broken_vma(3, |vma| vma.vma_flags = gate & !MAPS_LOCKLESS_VMA_FILE),
        Some(Pointer)
    );

    // A path of eight bytes has no padding.
    let in_path = |parts: &mut Parts| {
        parts.file.path_len = 8;
        parts.path = vec![0xff; 8];
    };
    let mut parts = parts();
    in_path(&mut parts);
    let broken = check_bytes(&parts.bytes()).unwrap_err();
    assert_eq!(broken.invariant, Pointer);
}

#[test]
fn batches() {
    assert_eq!(broken_header(|header| header.count -= 1), Some(Format));
    assert_eq!(
        broken_header(|header| header.end_reason = MAPS_LOCKLESS_END_GONE),
        Some(Format)
    );
    assert_eq!(broken_header(|header| header.seq_end = 4), Some(Token));
    assert_eq!(
        broken_header(|header| header.next = 12 * PAGE),
        Some(Progress)
    );
    let first = MAPS_LOCKLESS_BATCH_FIRST;
    // That there is no next is for the last one to say.
    for (next, broken) in [(8 * PAGE, Progress), (MAPS_LOCKLESS_NEXT_NONE, Pointer)] {
        assert_eq!(
            broken_header(|header| (header.flags, header.next) = (first, next)),
            Some(broken)
        );
    }
    assert_eq!(
        broken_header(|header| header.flags ^= first),
        Some(Progress)
    );
    assert_eq!(broken_header(|header| header.begin = PAGE), Some(Progress));
    let more = [parts().bytes(), vec![0; 8]].concat();
    assert_eq!(Listing::of(0).add(&more).unwrap_err().invariant, Format);
}

#[test]
fn one_batch_behind_the_other() {
    let mut head = parts().empty();
    (head.header.flags, head.header.next) = (MAPS_LOCKLESS_BATCH_FIRST, PAGE);
    let mut rest = parts();
    (rest.header.flags, rest.header.begin) = (MAPS_LOCKLESS_BATCH_FINAL, PAGE);
    rest.header.seq_begin = 8;
    let goes_on = |change: &dyn Fn(&mut maps_lockless_batch)| {
        let mut changed = rest.clone();
        change(&mut changed.header);
        let mut listing = listing(&head).unwrap();
        Some(listing.add(&changed.bytes()).err()?.invariant)
    };
    assert_eq!(goes_on(&|_| {}), None);
    // One was left out, or is another's.
    assert_eq!(goes_on(&|header| header.begin = 0), Some(Progress));
    assert_eq!(
        goes_on(&|header| header.flags |= MAPS_LOCKLESS_BATCH_FIRST),
        Some(Progress)
    );
    assert_eq!(goes_on(&|header| header.mm_id = 2), Some(Token));
    assert_eq!(goes_on(&|header| header.request = 4), Some(Token));
    assert_eq!(goes_on(&|header| header.seq_begin = 2), Some(Token));

    // What begins behind the beginning is not the first.
    let mut behind = Listing::from(PAGE);
    behind.add(&rest.bytes()).unwrap();
    assert_eq!(
        Listing::from(0).add(&head.bytes()).unwrap_err().invariant,
        Progress
    );
    Listing::anywhere().add(&rest.bytes()).unwrap();
}

#[test]
fn nothing_is_skipped() {
    let listing = listing(&parts()).unwrap();
    for missing in [0..PAGE, 3 * PAGE..5 * PAGE, 10 * PAGE..11 * PAGE] {
        assert_eq!(listing.has(missing).unwrap_err().invariant, Skipped);
    }
    // Where nothing is known, something may be mapped.
    listing.has(8 * PAGE..10 * PAGE).unwrap();
}

#[test]
fn what_does_not_change_is_the_same() {
    let rests = |parts: &Parts| listing(parts).unwrap();
    let fails = |parts: &Parts| rests(parts).proved().unwrap_err().invariant;
    let mut marked = parts();
    marked.header.seq_begin = 8;
    assert_eq!(fails(&marked), Token);
    // Without the withheld one, nothing is still known of the page behind it.
    marked.vmas[2].flags = 0;
    assert_eq!(fails(&marked), Token);

    let mut parts = parts().at_rest();
    let one = rests(&parts);
    assert!(one.agrees(&rests(&parts)).unwrap());
    parts.vmas[0].vma_flags = MAPS_LOCKLESS_VMA_MAYBE_GUARD;
    assert!(one.agrees(&rests(&parts)).unwrap());
    parts.file.ino = 78;
    let error = one.agrees(&rests(&parts)).unwrap_err();
    assert_eq!(error.invariant, Token);
    parts.file.ino = 77;
    parts.vmas[0].vma_flags = MAPS_LOCKLESS_VMA_READ;
    let error = one.agrees(&rests(&parts)).unwrap_err();
    assert_eq!(error.invariant, Token);
    parts.vmas[0].flags = MAPS_LOCKLESS_REC_UNSTABLE;
    assert_eq!(fails(&parts), Token);
}

#[test]
fn a_kernel_address_is_found_wherever_it_begins() {
    let mut bytes = [b'a'; 24];
    assert!(!has_kernel_address(&bytes));
    bytes[3..11].copy_from_slice(&0xffff_8880_0123_4560_u64.to_ne_bytes());
    assert!(has_kernel_address(&bytes));
    assert!(!has_kernel_address(&bytes[..10]));
}
