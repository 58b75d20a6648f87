// SPDX-License-Identifier: MIT OR Apache-2.0

//! The decoder on good, later, broken and hostile bytes.

mod build;

use build::{
    Builder, FILE, HEADER, OF_FILE, OF_VMA, PAGE, UNCHANGED, VMA, page, page_of, whole_file,
};
use maps_lockless::{
    BuildId, Device, Mapping, MappingRef, Marks, Name, NameRef, VmaFlags,
    decode::{Batch, DecodeErrorKind, Record, batches},
    wire::*,
};
use proptest::prelude::*;
use std::mem::offset_of;
use zerocopy::{FromBytes, IntoBytes};

/// Two mappings of one file.
fn two_of_a_file() -> Builder {
    let mut batch = Builder::default();
    let file = batch.file(whole_file(), b"/a\nb ", b"\x01\x02");
    batch.vma(page_of(file, 0x1000), b"");
    batch.vma(page_of(file, 0x2000), b"");
    batch
}

/// The size of each blob in it, padded.
const BLOB: usize = 8;
/// Where its records begin.
const FILE_AT: usize = HEADER;
const FIRST_AT: usize = HEADER + FILE + 2 * BLOB;
const SECOND_AT: usize = FIRST_AT + VMA;

fn mappings(bytes: &[u8]) -> Result<Vec<Mapping>, DecodeErrorKind> {
    let batch = Batch::parse(bytes).map_err(|error| error.kind)?;
    same_by_records(&batch);
    let mappings: Result<Vec<_>, _> = batch.mappings().collect();
    let mappings = mappings.map_err(|error| error.kind)?;
    Ok(mappings.iter().map(MappingRef::to_owned).collect())
}

/// That whoever passes records over finds the same mappings, and the same fault.
fn same_by_records(batch: &Batch<'_>) {
    let mut mappings = batch.mappings();
    for record in batch.records() {
        let expected = match record {
            Ok(Record::Vma(vma)) => Ok(MappingRef::new(&vma, batch.header())),
            Ok(_) => continue,
            Err(error) => Err(error),
        };
        assert_eq!(mappings.next(), Some(expected));
    }
    assert_eq!(mappings.next(), None);
    assert_eq!(mappings.next(), None, "fused");
}

fn one(batch: &Builder) -> Mapping {
    let all = mappings(&batch.bytes()).unwrap();
    let [one] = &all[..] else {
        panic!("{all:?}");
    };
    one.clone()
}

fn path(path: &[u8], marked: bool) -> Name {
    Name::Path {
        path: path.to_vec(),
        marked,
    }
}

#[test]
fn mappings_of_a_file_refer_to_its_record() {
    let all = mappings(&two_of_a_file().bytes()).unwrap();
    assert_eq!(all.len(), 2);
    for (mapping, start) in all.iter().zip([0x1000, 0x2000]) {
        assert_eq!((mapping.start, mapping.end), (start, start + PAGE));
        assert_eq!(mapping.name, path(b"/a\nb ", false));
        assert_eq!(mapping.inode, Some(7));
        let device = Device {
            major: 0xfe,
            minor: 1,
        };
        assert_eq!(mapping.device, Some(device));
        assert_eq!(mapping.deleted, Some(false));
        assert_eq!(mapping.build_id, BuildId::Present(vec![1, 2]));
        assert_eq!((mapping.page_size, mapping.pkey), (None, None));
    }
}

#[test]
fn a_batch_ends_where_its_size_says() {
    let mut bytes = two_of_a_file().bytes();
    let one = bytes.len();
    bytes.extend(two_of_a_file().bytes());
    let sizes: Vec<usize> = batches(&bytes).map(|batch| batch.unwrap().size()).collect();
    assert_eq!(sizes, [one, one]);
}

#[test]
fn a_name_says_what_maps_shows() {
    let named = |kind, name: &[u8]| {
        let mut batch = Builder::default();
        let vma = maps_lockless_vma {
            name_kind: kind,
            ..page(0x1000)
        };
        batch.vma(vma, name);
        one(&batch).name
    };
    assert_eq!(named(MAPS_LOCKLESS_NAME_NONE, b""), Name::None);
    assert_eq!(
        named(MAPS_LOCKLESS_NAME_ANON, b"a ]"),
        Name::Anon(b"a ]".to_vec())
    );
    assert_eq!(named(MAPS_LOCKLESS_NAME_HEAP, b""), Name::Heap);
    assert_eq!(named(MAPS_LOCKLESS_NAME_STACK, b""), Name::Stack);
    assert_eq!(
        named(MAPS_LOCKLESS_NAME_SPECIAL, b"[vdso]"),
        Name::Special(b"[vdso]".to_vec())
    );
    // Of a kernel to come.
    assert_eq!(named(77, b"name"), Name::Unknown);

    // A name that was given goes before the path.
    let mut shared = Builder::default();
    let file = shared.file(whole_file(), b"/dev/zero", b"");
    let vma = maps_lockless_vma {
        name_kind: MAPS_LOCKLESS_NAME_ANON_SHMEM,
        ..page_of(file, 0x1000)
    };
    shared.vma(vma, b"given");
    assert_eq!(one(&shared).name, Name::AnonShmem(b"given".to_vec()));
}

/// What is told of a mapping of a file of which no more is known than this.
fn of_file(valid: u64, flags: u32, path: &[u8], id: &[u8]) -> Mapping {
    let mut batch = Builder::default();
    let fields = maps_lockless_file {
        valid,
        flags,
        ..whole_file()
    };
    let file = batch.file(fields, path, id);
    batch.vma(page_of(file, 0x1000), b"");
    one(&batch)
}

#[test]
fn a_file_is_known_as_far_as_its_record_says() {
    let nothing = of_file(0, 0, b"", b"");
    assert_eq!((nothing.device, nothing.inode), (None, None));
    assert_eq!((nothing.deleted, nothing.name), (None, Name::Unknown));
    assert_eq!(nothing.build_id, BuildId::Unknown);
    assert_eq!(nothing.offset, Some(0));

    let known = MAPS_LOCKLESS_FIELD_PATH;
    assert_eq!(of_file(known, 0, b"/a", b"").name, path(b"/a", false));
    // Three answers.
    let deleted = |valid, flags| {
        let mapping = of_file(valid | known, flags, b"/a", b"");
        (mapping.deleted, mapping.name)
    };
    let valid = MAPS_LOCKLESS_FIELD_DELETED;
    let flag = MAPS_LOCKLESS_FILE_DELETED;
    assert_eq!(deleted(valid, flag), (Some(true), path(b"/a", true)));
    assert_eq!(deleted(valid, 0), (Some(false), path(b"/a", false)));
    assert_eq!(deleted(0, 0), (None, path(b"/a", false)));

    let too_long = of_file(valid, flag | MAPS_LOCKLESS_FILE_PATH_TOO_LONG, b"", b"");
    assert_eq!(too_long.name, Name::PathTooLong);
    assert_eq!(too_long.deleted, Some(true));
}

#[test]
fn a_build_id_has_four_answers() {
    let valid = MAPS_LOCKLESS_FIELD_BUILD_ID;
    let not_resident = MAPS_LOCKLESS_FILE_BUILD_ID_NOT_RESIDENT;
    let answer = |valid, flags, id| of_file(valid, flags, b"", id).build_id;
    assert_eq!(answer(valid, 0, &[7; 20]), BuildId::Present(vec![7; 20]));
    assert_eq!(answer(valid, 0, b""), BuildId::Absent);
    assert_eq!(answer(0, not_resident, b""), BuildId::NotResident);
    assert_eq!(answer(0, 0, b""), BuildId::Unknown);
}

#[test]
fn without_a_record_of_a_file_it_depends_on_what_was_asked_for() {
    let name = |wanted, valid, vma_flags| {
        let mut batch = Builder::default();
        batch.header.fields_wanted = wanted;
        let vma = maps_lockless_vma {
            valid,
            vma_flags,
            ..page(0x1000)
        };
        batch.vma(vma, b"");
        one(&batch).name
    };
    let name_alone = MAPS_LOCKLESS_FIELD_RANGE | MAPS_LOCKLESS_FIELD_NAME;
    let with_flags = name_alone | MAPS_LOCKLESS_FIELD_FLAGS;
    let with_path = name_alone | MAPS_LOCKLESS_FIELD_PATH;
    // A path was asked for, and there is no file.
    assert_eq!(name(with_path, name_alone, 0), Name::None);
    // No path was asked for. The flags tell whether there is a file.
    assert_eq!(name(with_flags, with_flags, 0), Name::None);
    let of_file = name(with_flags, with_flags, MAPS_LOCKLESS_VMA_FILE);
    assert_eq!(of_file, Name::Unknown);
    assert_eq!(name(name_alone, name_alone, 0), Name::Unknown);
    // No name was asked for.
    let ranges = MAPS_LOCKLESS_FIELD_RANGE;
    assert_eq!(name(ranges, ranges, 0), Name::Unknown);
}

#[test]
fn a_path_is_known_where_no_name_was_asked_for() {
    let mut batch = Builder::default();
    let file = batch.file(whole_file(), b"/a", b"");
    let vma = maps_lockless_vma {
        valid: MAPS_LOCKLESS_FIELD_RANGE,
        ..page_of(file, 0x1000)
    };
    batch.vma(vma, b"");
    assert_eq!(one(&batch).name, path(b"/a", false));
}

#[test]
fn what_is_not_valid_is_not_known() {
    let mut batch = Builder::default();
    let vma = maps_lockless_vma {
        valid: MAPS_LOCKLESS_FIELD_RANGE,
        flags: MAPS_LOCKLESS_REC_WITHHELD,
        ..page(0x1000)
    };
    batch.vma(vma, b"");
    let withheld = one(&batch);
    let marks = Marks {
        withheld: true,
        ..Marks::default()
    };
    assert_eq!(withheld.marks, marks);
    assert_eq!(withheld.name, Name::Unknown);
    assert_eq!(withheld.flags.known, 0);
    assert_eq!((withheld.offset, withheld.inode), (None, None));
    assert_eq!(withheld.build_id, BuildId::Unknown);
}

#[test]
fn pages_and_keys() {
    let told = |valid, page_shift| {
        let mut batch = Builder::default();
        let vma = maps_lockless_vma {
            valid,
            page_shift,
            pkey: 15,
            ..page(0x1000)
        };
        batch.vma(vma, b"");
        let mapping = one(&batch);
        (mapping.page_size, mapping.pkey)
    };
    let both = MAPS_LOCKLESS_FIELD_PAGE_SIZE | MAPS_LOCKLESS_FIELD_PKEY;
    assert_eq!(told(both, 21), (Some(2 << 20), Some(15)));
    assert_eq!(told(both, 63), (Some(1 << 63), Some(15)));
    assert_eq!(told(both, 64), (None, Some(15)), "no number has these bits");
    assert_eq!(told(0, 21), (None, None));
}

#[test]
fn a_flag_is_known_where_the_kernel_reports_it() {
    let mut batch = Builder::default();
    batch.vma(page(0x1000), b"");
    let flags = VmaFlags {
        set: MAPS_LOCKLESS_VMA_READ,
        known: batch.header.vma_flags_supported,
    };
    assert_eq!(one(&batch).flags, flags);
}

#[test]
fn an_unknown_range_is_no_mapping() {
    let mut batch = Builder::default();
    batch.vma(page(0x1000), b"");
    batch.unknown(0x2000, 0x5000);
    batch.vma(page(0x5000), b"");
    batch.unknown(0x9000, u64::MAX);
    let bytes = batch.bytes();
    let starts: Vec<_> = mappings(&bytes).unwrap().iter().map(|m| m.start).collect();
    assert_eq!(starts, [0x1000, 0x5000]);
    let batch = Batch::parse(&bytes).unwrap();
    assert_eq!(batch.header().count, 4);
    let unknown: Vec<_> = batch.unknown().map(Result::unwrap).collect();
    assert_eq!(unknown, [0x2000..0x5000, 0x9000..u64::MAX]);
}

#[test]
fn an_unchanged_range_is_no_mapping() {
    for longer in [0, 8] {
        let mut batch = Builder::default();
        batch.longer = longer;
        batch.header.flags |= MAPS_LOCKLESS_BATCH_SINCE;
        batch.unchanged(0, 0x1000, 1);
        batch.vma(page(0x1000), b"");
        batch.unknown(0x2000, 0x3000);
        batch.unchanged(0x3000, u64::MAX, u32::MAX);
        let bytes = batch.bytes();
        let starts: Vec<_> = mappings(&bytes).unwrap().iter().map(|m| m.start).collect();
        assert_eq!(starts, [0x1000]);
        let batch = Batch::parse(&bytes).unwrap();
        assert!(batch.is_since() && !batch.is_selected());
        let all: Vec<_> = batch.unchanged().map(Result::unwrap).collect();
        let told: Vec<_> = all.iter().map(|r| (r.range.clone(), r.vma_count)).collect();
        assert_eq!(told, [(0..0x1000, 1), (0x3000..u64::MAX, u32::MAX)]);
        let records = batch.records().filter_map(|record| match record {
            Ok(Record::Unchanged(unchanged)) => Some(unchanged),
            _ => None,
        });
        assert!(records.eq(all));
        assert_eq!(batch.unknown().count(), 1);
    }
    assert!(
        !Batch::parse(&Builder::default().bytes())
            .unwrap()
            .is_since()
    );
}

#[test]
fn an_unchanged_range_has_a_size_and_an_order() {
    let mut batch = Builder::default();
    batch.unchanged(0x1000, 0x2000, 3);
    let good = batch.bytes();
    let refused = |bytes: &[u8], kind| {
        assert_eq!(mappings(bytes), Err(kind));
        let batch = Batch::parse(bytes).unwrap();
        assert_eq!(batch.unchanged().next().unwrap().unwrap_err().kind, kind);
        assert!(batch.records().next().unwrap().is_err());
    };
    for fixed in [0_u16, 8, 24, 31, UNCHANGED as u16 + 8] {
        let mut bytes = good.clone();
        bytes[HEADER + 2..HEADER + 4].copy_from_slice(&fixed.to_ne_bytes());
        refused(&bytes, DecodeErrorKind::BadSize);
    }
    let mut backwards = Builder::default();
    backwards.unchanged(0x2000, 0x1000, 3);
    refused(&backwards.bytes(), DecodeErrorKind::BadRange);
    // One that is empty, with no VMA, says nothing.
    let mut empty = Builder::default();
    empty.unchanged(0x2000, 0x2000, 0);
    assert_eq!(mappings(&empty.bytes()).unwrap().len(), 0);
}

/// VMAs of which each is much like the one before it: two of each kind that a listing has in runs.
fn runs(longer: usize) -> Builder {
    let mut batch = Builder::default();
    batch.longer = longer;
    // Whether a VMA without a record of a file has no name depends on its flags then.
    batch.header.fields_wanted &= !MAPS_LOCKLESS_FIELD_PATH;
    let first = batch.file(whole_file(), b"/first", b"\x01");
    let second = batch.file(whole_file(), b"/the second", b"");
    let more = MAPS_LOCKLESS_FIELD_PAGE_SIZE | MAPS_LOCKLESS_FIELD_PKEY;
    let anon = |name_kind, start| maps_lockless_vma {
        name_kind,
        ..page(start)
    };
    let keyed = |start| maps_lockless_vma {
        valid: page(start).valid | more,
        page_shift: 21,
        pkey: 3,
        ..page(start)
    };
    let withheld = |start| maps_lockless_vma {
        valid: MAPS_LOCKLESS_FIELD_RANGE,
        flags: MAPS_LOCKLESS_REC_WITHHELD,
        vma_flags: 0,
        ..page(start)
    };
    for i in 1..=2 {
        let of_file = |file, start| maps_lockless_vma {
            vma_flags: MAPS_LOCKLESS_VMA_FILE | i,
            offset: i * PAGE,
            ..page_of(file, start)
        };
        batch.vma(of_file(first, i * PAGE), b"");
    }
    for start in [0x3000, 0x4000] {
        batch.vma(page_of(second, start), b"");
        // It does not come between: the VMA behind it is like the one before it.
        batch.unknown(start + PAGE, start + PAGE);
        batch.unchanged(start + PAGE, start + PAGE, 1);
    }
    // Back to a file that is not the last.
    batch.vma(page_of(first, 0x5000), b"");
    for start in [0x6000, 0x7000] {
        batch.vma(page(start), b"");
    }
    for (start, name) in [(0x8000, "one"), (0x9000, "two"), (0xa000, ""), (0xb000, "")] {
        batch.vma(anon(MAPS_LOCKLESS_NAME_ANON, start), name.as_bytes());
    }
    for start in [0xc000, 0xd000] {
        batch.vma(keyed(start), b"");
    }
    for start in [0xe000, 0xf000] {
        batch.vma(withheld(start), b"");
    }
    // A file's record comes between two VMAs of another file.
    batch.vma(page_of(first, 0x10000), b"");
    let third = batch.file(whole_file(), b"/third", b"");
    batch.vma(page_of(first, 0x11000), b"");
    batch.vma(page_of(third, 0x12000), b"");
    // A file of which less is known than of the one before it.
    let fields = maps_lockless_file {
        valid: MAPS_LOCKLESS_FIELD_INO,
        flags: MAPS_LOCKLESS_FILE_PATH_TOO_LONG | MAPS_LOCKLESS_FILE_BUILD_ID_NOT_RESIDENT,
        ..whole_file()
    };
    let fourth = batch.file(fields, b"", b"");
    batch.vma(page_of(fourth, 0x13000), b"");
    // Neither of these is called after its file.
    for (file, start) in [(first, 0x14000), (second, 0x15000)] {
        let named = anon(MAPS_LOCKLESS_NAME_ANON_SHMEM, start);
        batch.vma(maps_lockless_vma { file, ..named }, b"");
    }
    // The paths of these are known though their own names are not. They map two files by turns.
    for (file, start) in [(first, 0x16000), (second, 0x17000), (first, 0x18000)] {
        let valid = OF_VMA & !MAPS_LOCKLESS_FIELD_NAME;
        batch.vma(
            maps_lockless_vma {
                valid,
                ..page_of(file, start)
            },
            b"",
        );
    }
    batch
}

#[test]
fn a_mapping_like_the_last_differs_in_what_its_record_says() {
    let all = mappings(&runs(0).bytes()).unwrap();
    let starts: Vec<_> = all.iter().map(|mapping| mapping.start / PAGE).collect();
    assert_eq!(starts, Vec::from_iter(1..=24));
    for (mapping, i) in all.iter().zip(1..=2) {
        assert_eq!(mapping.flags.set, MAPS_LOCKLESS_VMA_FILE | i);
        assert_eq!(mapping.offset, Some(i * PAGE));
        assert_eq!(mapping.end, mapping.start + PAGE);
        assert_eq!(mapping.name, path(b"/first", false));
    }
    for mapping in &all[2..4] {
        assert_eq!(mapping.name, path(b"/the second", false));
        assert_eq!(mapping.build_id, BuildId::Absent);
    }
    assert_eq!(all[4].name, path(b"/first", false));
    assert_eq!((&all[5].name, all[5].inode), (&Name::None, None));
    let anon = |name: &[u8]| Name::Anon(name.to_vec());
    let names: Vec<_> = all[7..11].iter().map(|mapping| &mapping.name).collect();
    assert_eq!(
        names,
        [&anon(b"one"), &anon(b"two"), &anon(b""), &anon(b"")]
    );
    assert!(all[11..13].iter().all(|mapping| mapping.pkey == Some(3)));
    assert!(all[13..15].iter().all(|mapping| mapping.marks.withheld));
    let names: Vec<_> = all[15..].iter().map(|mapping| &mapping.name).collect();
    let [first, second, third] =
        [&b"/first"[..], b"/the second", b"/third"].map(|name| path(name, false));
    let shmem = Name::AnonShmem(Vec::new());
    assert_eq!(names[..3], [&first, &first, &third]);
    assert_eq!(names[3..6], [&Name::PathTooLong, &shmem, &shmem]);
    assert_eq!(names[6..], [&first, &second, &first]);
    assert_eq!((all[18].device, all[18].deleted), (None, None));
    assert_eq!(all[18].build_id, BuildId::NotResident);
    assert_eq!(all[20].build_id, BuildId::Absent);
}

/// Whatever byte of a record differs from the record before it, the mapping is decoded as it is by itself.
#[test]
fn each_byte_of_a_record_counts() {
    for longer in [0, 8] {
        let bytes = runs(longer).bytes();
        for at in HEADER..bytes.len() {
            for change in [1, 4, 0x40, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                same_by_records(&Batch::parse(&changed).unwrap());
            }
        }
    }
}

#[test]
fn zeroes_are_no_record() {
    let mut bytes = runs(0).bytes();
    bytes[HEADER..].fill(0);
    assert_eq!(mappings(&bytes), Err(DecodeErrorKind::BadSize));
}

/// A header of another length than a multiple of 8: its records are read, and no VMA may refer to one.
#[test]
fn a_file_is_referred_to_at_a_multiple_of_eight() {
    for (longer, expected) in [(8, Ok(2)), (4, Err(DecodeErrorKind::BadFile))] {
        let bytes = two_of_a_file().bytes();
        let mut moved = bytes.clone();
        moved.splice(HEADER..HEADER, vec![0; longer]);
        let size = moved.len() as u32;
        moved[6..8].copy_from_slice(&((HEADER + longer) as u16).to_ne_bytes());
        moved[8..12].copy_from_slice(&size.to_ne_bytes());
        for vma in [FIRST_AT, SECOND_AT] {
            let at = longer + vma + offset_of!(maps_lockless_vma, file);
            let file = (FILE_AT + longer) as u32;
            moved[at..at + 4].copy_from_slice(&file.to_ne_bytes());
        }
        assert_eq!(mappings(&moved).map(|all| all.len()), expected);
    }
}

/// What a kernel to come may return: longer structs, and bits, kinds, a reason and a type of record that
/// mean nothing today.
fn future() -> Builder {
    let mut batch = Builder::default();
    batch.longer = 16;
    let header = &mut batch.header;
    header.flags |= 1 << 31;
    header.end_reason = 99;
    header.fields_supported |= 1 << 62;
    header.fields_wanted |= 1 << 62;
    header.vma_flags_supported |= 1 << 62;
    let fields = maps_lockless_file {
        valid: OF_FILE | 1 << 62,
        flags: 1 << 31,
        ..whole_file()
    };
    let file = batch.file(fields, b"/ab", b"\xab");
    batch.other(999, &[0xee; 24]);
    let mut vma = page_of(file, 0x1000);
    vma.valid |= 1 << 62;
    vma.flags |= 1 << 31;
    vma.vma_flags |= 1 << 62;
    batch.vma(vma, b"");
    let named = maps_lockless_vma {
        name_kind: 77,
        ..page(0x2000)
    };
    batch.vma(named, b"of a kind to come");
    batch
}

#[test]
fn what_a_later_kernel_adds_is_passed_over() {
    let bytes = future().bytes();
    let batch = Batch::parse(&bytes).unwrap();
    let records: Vec<_> = batch.records().map(Result::unwrap).collect();
    assert!(matches!(records[0], Record::File(_)));
    let Record::Other {
        r#type: 999,
        bytes: other,
    } = records[1]
    else {
        panic!("{:?}", records[1]);
    };
    assert_eq!(other.len(), 8 + 16 + 24);
    let all = mappings(&bytes).unwrap();
    assert_eq!((all[0].start, all[1].start), (0x1000, 0x2000));
    assert_eq!(all[0].name, path(b"/ab", false));
    assert_eq!(all[0].build_id, BuildId::Present(vec![0xab]));
    assert_eq!(all[0].marks, Marks::default());
    assert_eq!(all[1].name, Name::Unknown);
}

/// Each mark, each kind of name and each answer about a file, in two batches. UNKNOWN ranges too.
fn marks() -> Vec<u8> {
    let mut first = Builder::default();
    let header = &mut first.header;
    header.flags = MAPS_LOCKLESS_BATCH_FIRST;
    header.end_reason = MAPS_LOCKLESS_END_FULL;
    header.next = 0x9000;
    header.seq_end = 4;
    let more = MAPS_LOCKLESS_FIELD_PAGE_SIZE | MAPS_LOCKLESS_FIELD_PKEY;
    header.fields_supported |= more;
    header.fields_wanted |= more;
    let mut last = first.clone();

    let marked = |flags, vma| maps_lockless_vma { flags, ..vma };
    let named = |name_kind, vma| maps_lockless_vma { name_kind, ..vma };
    let file = |missing: u64, flags| maps_lockless_file {
        valid: OF_FILE & !missing,
        flags,
        ..whole_file()
    };
    let live = first.file(file(0, 0), b"/lib/a b", &[0xab; 20]);
    let mut clipped = marked(MAPS_LOCKLESS_REC_CLIPPED, page_of(live, 0x1000));
    clipped.vma_start = 0;
    clipped.offset = 0x1000;
    first.vma(clipped, b"");
    let mut keyed = page_of(live, 0x2000);
    keyed.valid |= more;
    (keyed.page_shift, keyed.pkey) = (21, 3);
    first.vma(keyed, b"");
    let mut withheld = marked(MAPS_LOCKLESS_REC_WITHHELD, page(0x3000));
    withheld.valid = MAPS_LOCKLESS_FIELD_RANGE;
    withheld.vma_flags = 0;
    first.vma(withheld, b"");
    first.unknown(0x4000, 0x6000);
    first.vma(marked(MAPS_LOCKLESS_REC_UNSTABLE, page(0x6000)), b"");
    let gone = first.file(file(0, MAPS_LOCKLESS_FILE_DELETED), b"/tmp/\xff\n\\", b"");
    first.vma(page_of(gone, 0x7000), b"");
    let too_long = first.file(
        file(
            MAPS_LOCKLESS_FIELD_PATH | MAPS_LOCKLESS_FIELD_BUILD_ID,
            MAPS_LOCKLESS_FILE_PATH_TOO_LONG | MAPS_LOCKLESS_FILE_BUILD_ID_NOT_RESIDENT,
        ),
        b"",
        b"",
    );
    first.vma(page_of(too_long, 0x8000), b"");

    let header = &mut last.header;
    header.flags = MAPS_LOCKLESS_BATCH_FINAL;
    header.end_reason = MAPS_LOCKLESS_END_COMPLETE;
    header.begin = 0x9000;
    header.next = MAPS_LOCKLESS_NEXT_NONE;
    header.seq_begin = 5;
    header.seq_end = 6;
    let asked_for_less = last.file(file(MAPS_LOCKLESS_FIELD_DELETED, 0), b"/lib/a b", b"\x01");
    last.vma(page_of(asked_for_less, 0x9000), b"");
    let zero = last.file(file(0, MAPS_LOCKLESS_FILE_DELETED), b"/dev/zero", b"");
    let shared = named(MAPS_LOCKLESS_NAME_ANON_SHMEM, page_of(zero, 0xa000));
    last.vma(shared, b"shared memory");
    for (kind, name) in [
        (MAPS_LOCKLESS_NAME_ANON, &b"private"[..]),
        (MAPS_LOCKLESS_NAME_HEAP, b""),
        (MAPS_LOCKLESS_NAME_STACK, b""),
        (MAPS_LOCKLESS_NAME_SPECIAL, b"[vdso]"),
    ] {
        let start = 0xb000 + u64::from(kind) * PAGE;
        last.vma(named(kind, page(start)), name);
    }
    last.unknown(0xffff_ffff_ff60_0000, 0xffff_ffff_ff60_1000);
    [first.bytes(), last.bytes()].concat()
}

#[test]
fn each_mark_is_told() {
    let bytes = marks();
    let mut all = Vec::new();
    let mut unknown = Vec::new();
    for batch in batches(&bytes) {
        let batch = batch.unwrap();
        all.extend(batch.mappings().map(Result::unwrap));
        unknown.extend(batch.unknown().map(Result::unwrap));
    }
    let mut marks = all.iter().map(|mapping| mapping.marks);
    assert!(marks.any(|marks| marks.clipped && !marks.is_torn()));
    assert!(marks.any(|marks| marks.withheld && marks.is_torn()));
    assert!(marks.any(|marks| marks.unstable && marks.is_torn()));
    let names = |wanted: NameRef<'_>| all.iter().any(|mapping| mapping.name == wanted);
    assert!(names(NameRef::PathTooLong) && names(NameRef::Heap) && names(NameRef::Stack));
    let end = 0xffff_ffff_ff60_0000..0xffff_ffff_ff60_1000;
    assert_eq!(unknown, [0x4000..0x6000, end]);
}

/// The files are for decoders in other languages. They are not recorded, but made here.
#[test]
#[cfg(target_endian = "little")]
fn the_streams_that_no_kernel_made_are_kept() {
    for (made, kept) in [
        (future().bytes(), &include_bytes!("data/future.stream")[..]),
        (marks(), include_bytes!("data/marks.stream")),
    ] {
        assert_eq!(
            made.escape_ascii().to_string(),
            kept.escape_ascii().to_string()
        );
    }
}

/// A change of `two_of_a_file()` and the error that it must lead to.
fn broken(at: usize, with: &[u8]) -> DecodeErrorKind {
    let mut bytes = two_of_a_file().bytes();
    bytes[at..at + with.len()].copy_from_slice(with);
    mappings(&bytes).unwrap_err()
}

#[test]
fn each_kind_of_damage_has_its_error() {
    use DecodeErrorKind::*;

    let swapped = MAPS_LOCKLESS_MAGIC.swap_bytes().to_ne_bytes();
    let short = |number: usize| (number as u16).to_ne_bytes();
    let number = |number: usize| (number as u32).to_ne_bytes();
    let all = u32::MAX.to_ne_bytes();
    let of_file = |field: usize| FILE_AT + field;
    let of_first = |field: usize| FIRST_AT + field;
    let whole = SECOND_AT + VMA;
    let file = offset_of!(maps_lockless_vma, file);
    let name_len = offset_of!(maps_lockless_vma, name_len);
    let path_len = offset_of!(maps_lockless_file, path_len);
    let id_len = offset_of!(maps_lockless_file, build_id_len);
    for (at, with, expected) in [
        (0, &b"junk"[..], BadMagic),
        (0, &swapped, ForeignByteOrder),
        (4, &short(2), UnsupportedVersion(2)),
        (6, &short(HEADER - 8), BadSize),
        (6, &short(whole + 8), BadSize),
        (8, &number(HEADER - 8), BadSize),
        (8, &number(1 << 20), Truncated),
        // The batch ends within the last record.
        (8, &number(whole - 8), Truncated),
        (12, &number(2), BadCount),
        (12, &number(4), BadCount),
        (12, &all, BadCount),
        // The type of a VMA, with the fixed size of a file's record.
        (of_file(0), &MAPS_LOCKLESS_TYPE_VMA.to_ne_bytes(), BadSize),
        (of_file(2), &short(FILE - 8), BadSize),
        (of_file(2), &short(FILE + 8), BadBuildId),
        (of_file(2), &short(FILE + 3 * BLOB), BadSize),
        (of_file(4), &number(0), BadSize),
        (of_file(4), &number(4), BadSize),
        (of_file(4), &number(FILE + 2 * BLOB + 4), BadSize),
        (of_file(4), &number(!7), Truncated),
        (of_file(path_len), &number(2 * BLOB + 1), BadName),
        (of_file(path_len), &all, BadName),
        // No room is left for the build ID, or for what pads it.
        (of_file(path_len), &number(BLOB + 1), BadBuildId),
        (of_file(id_len), &number(BLOB + 1), BadBuildId),
        (of_file(id_len), &all, BadBuildId),
        (of_first(2), &short(VMA - 8), BadSize),
        (of_first(2), &short(VMA + 8), BadSize),
        (of_first(4), &number(VMA - 8), BadSize),
        (of_first(32), &0_u64.to_ne_bytes(), BadRange),
        (of_first(40), &u64::MAX.to_ne_bytes(), BadRange),
        (of_first(name_len), &number(1), BadName),
        (of_first(name_len), &all, BadName),
        // No file's record begins there: in the header, beside one, at the VMA itself, at the VMA
        // behind it, beyond the batch.
        (of_first(file), &number(8), BadFile),
        (of_first(file), &number(FILE_AT + 4), BadFile),
        (of_first(file), &number(FILE_AT + 8), BadFile),
        (of_first(file), &number(FIRST_AT), BadFile),
        (of_first(file), &number(SECOND_AT), BadFile),
        (of_first(file), &number(whole), BadFile),
        (of_first(file), &all, BadFile),
    ] {
        assert_eq!(broken(at, with), expected, "{with:?} at {at}");
    }
    // The second VMA takes the first one for a file.
    let at = SECOND_AT + file;
    assert_eq!(broken(at, &number(FIRST_AT)), BadFile);
}

#[test]
fn a_build_id_has_twenty_bytes_at_most() {
    for (len, expected) in [(20, Ok(1)), (21, Err(DecodeErrorKind::BadBuildId))] {
        let mut batch = Builder::default();
        let file = batch.file(whole_file(), b"", &vec![1; len]);
        batch.vma(page_of(file, 0x1000), b"");
        assert_eq!(mappings(&batch.bytes()).map(|all| all.len()), expected);
    }
}

#[test]
fn a_record_that_is_passed_over_is_checked() {
    // A file that nobody maps, and a range that ends before it begins.
    let mut file = Builder::default();
    file.file(whole_file(), b"/a", b"");
    let mut bytes = file.bytes();
    let at = HEADER + offset_of!(maps_lockless_file, path_len);
    bytes[at..at + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert_eq!(mappings(&bytes), Err(DecodeErrorKind::BadName));

    let mut range = Builder::default();
    range.unknown(0x2000, 0x1000);
    let bytes = range.bytes();
    assert_eq!(mappings(&bytes), Err(DecodeErrorKind::BadRange));
    let batch = Batch::parse(&bytes).unwrap();
    assert!(batch.unknown().next().unwrap().is_err());
    // A type that is not known, whose fixed part is longer than all of it.
    let mut other = Builder::default();
    other.other(999, &[]);
    let mut bytes = other.bytes();
    bytes[HEADER + 2..HEADER + 4].copy_from_slice(&16_u16.to_ne_bytes());
    assert_eq!(mappings(&bytes), Err(DecodeErrorKind::BadSize));
}

#[test]
fn a_files_record_ends_before_who_refers_to_it() {
    // It stands in a record of another type, and ends with it or in the VMA behind.
    for (behind, expected) in [(0, Ok(1)), (VMA, Err(DecodeErrorKind::BadFile))] {
        let mut batch = Builder::default();
        let file = maps_lockless_file {
            r#type: MAPS_LOCKLESS_TYPE_FILE,
            fixed_size: FILE as u16,
            size: (FILE + behind) as u32,
            ..Default::default()
        };
        let other = batch.other(999, file.as_bytes());
        batch.vma(page_of(other + 8, 0x1000), b"");
        let all = mappings(&batch.bytes());
        assert_eq!(all.map(|all| all.len()), expected);
    }
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = two_of_a_file().bytes();
    for len in 0..bytes.len() {
        assert_eq!(
            mappings(&bytes[..len]),
            Err(DecodeErrorKind::Truncated),
            "{len}"
        );
    }
}

/// Walks through whatever it is, and checks what must hold of it.
fn walk(bytes: &[u8]) {
    for batch in batches(bytes) {
        let Ok(batch) = batch else {
            continue;
        };
        let mut records = batch.records();
        let mut seen = 0;
        for record in records.by_ref() {
            seen += 1;
            assert!(
                seen <= bytes.len() / 8 + 1,
                "more records than there is room for"
            );
            if let Ok(Record::Vma(vma)) = record {
                assert!(vma.name.len() <= bytes.len());
                let mapping = MappingRef::new(&vma, batch.header());
                let _ = mapping.to_owned().as_ref().name.to_maps();
            }
        }
        assert!(records.next().is_none(), "fused");
        same_by_records(&batch);
        // Not each of the records that it passes over is looked into, so that it may come further.
        assert!(batch.unknown().count() <= bytes.len() / 8 + 1);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        walk(&bytes);
    }

    #[test]
    fn any_damage_is_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        len in any::<prop::sample::Index>(),
        which in 0..3,
    ) {
        let mut bytes = match which {
            0 => future().bytes(),
            1 => runs(0).bytes(),
            _ => marks(),
        };
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        walk(&bytes[..len.index(bytes.len() + 1)]);
    }

    #[test]
    fn any_header_with_good_magic_is_survived(
        mut header in prop::array::uniform32(any::<u8>()),
        rest in prop::collection::vec(any::<u8>(), HEADER - 32..1000),
    ) {
        header[..4].copy_from_slice(&MAPS_LOCKLESS_MAGIC.to_ne_bytes());
        header[4..6].copy_from_slice(&MAPS_LOCKLESS_VERSION.to_ne_bytes());
        header[6..8].copy_from_slice(&(HEADER as u16).to_ne_bytes());
        let bytes = [&header[..], &rest].concat();
        walk(&bytes);
        prop_assert!(maps_lockless_batch::read_from_prefix(&bytes).is_ok());
    }
}
