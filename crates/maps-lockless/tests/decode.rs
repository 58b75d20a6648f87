// SPDX-License-Identifier: MIT OR Apache-2.0

//! The decoder on good, later, broken and hostile bytes.

use maps_lockless::{
    BuildId, MappingRef, NameRef,
    decode::{Batch, DecodeErrorKind, Record, batches},
    wire::*,
};
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

const HEADER: usize = size_of::<maps_lockless_batch>();
const FIXED: usize = size_of::<maps_lockless_vma>();

fn header(size: usize, count: u32) -> maps_lockless_batch {
    maps_lockless_batch {
        magic: MAPS_LOCKLESS_MAGIC,
        version: MAPS_LOCKLESS_VERSION,
        header_size: HEADER as u16,
        size: size as u32,
        count,
        flags: MAPS_LOCKLESS_BATCH_FINAL,
        end_reason: MAPS_LOCKLESS_END_COMPLETE,
        next: MAPS_LOCKLESS_POS_END,
        mm_id: 1,
        seq_begin: 2,
        seq_end: 2,
        fields: 0x3f,
        fields_asked: 0x3f,
        vma_flags: 0xf,
        page_size: 4096,
        reserved: 0,
    }
}

fn record(start: u64, name_off: usize, name_len: usize, size: usize) -> maps_lockless_vma {
    maps_lockless_vma {
        r#type: MAPS_LOCKLESS_TYPE_VMA,
        fixed_size: FIXED as u16,
        size: size as u32,
        valid: MAPS_LOCKLESS_FIELD_FLAGS | MAPS_LOCKLESS_FIELD_NAME,
        name_kind: MAPS_LOCKLESS_NAME_PATH,
        start,
        end: start + 4096,
        vma_start: start,
        vma_flags: MAPS_LOCKLESS_VMA_READ,
        name_off: name_off as u32,
        name_len: name_len as u32,
        ..Default::default()
    }
}

/// Two mappings of one file, whose name stands in the first record.
fn two_records() -> Vec<u8> {
    let off = HEADER + FIXED;
    let size = HEADER + 2 * FIXED + 8;
    let mut bytes = header(size, 2).as_bytes().to_vec();
    bytes.extend(record(0x1000, off, 5, FIXED + 8).as_bytes());
    bytes.extend(b"/a\nb \0\0\0");
    bytes.extend(record(0x2000, off, 5, FIXED).as_bytes());
    assert_eq!(bytes.len(), size);
    bytes
}

fn names(bytes: &[u8]) -> Result<Vec<Vec<u8>>, DecodeErrorKind> {
    Batch::parse(bytes)
        .map_err(|error| error.kind)?
        .records()
        .filter_map(|record| match record {
            Ok(Record::Vma(vma)) => Some(Ok(vma.name.to_vec())),
            Ok(_) => None,
            Err(error) => Some(Err(error.kind)),
        })
        .collect()
}

#[test]
fn a_name_may_stand_in_an_earlier_record() {
    assert_eq!(
        names(&two_records()),
        Ok(vec![b"/a\nb ".to_vec(), b"/a\nb ".to_vec()])
    );
}

#[test]
fn a_batch_ends_where_its_size_says() {
    let mut bytes = two_records();
    let one = bytes.len();
    bytes.extend(two_records());
    let sizes: Vec<usize> = batches(&bytes).map(|batch| batch.unwrap().size()).collect();
    assert_eq!(sizes, [one, one]);
}

/// What a kernel to come may return.
fn future() -> Vec<u8> {
    // A header and a record that are 16 bytes longer, and a record of unknown type before it.
    let long_header = HEADER + 16;
    let long_fixed = FIXED + 16;
    let name_off = long_header + 24 + long_fixed;
    let size = name_off + 8;
    let mut head = header(size, 2);
    head.header_size = long_header as u16;
    head.flags |= 1 << 31;
    head.fields = u64::MAX;
    let mut vma = record(0x1000, name_off, 3, long_fixed + 8);
    vma.fixed_size = long_fixed as u16;
    vma.valid |= 1 << 63;
    vma.flags |= 1 << 31;
    vma.vma_flags |= 1 << 63;
    let mut unknown = vec![0xee; 24];
    unknown[0..2].copy_from_slice(&999_u16.to_ne_bytes());
    unknown[4..8].copy_from_slice(&24_u32.to_ne_bytes());

    let mut bytes = head.as_bytes().to_vec();
    bytes.extend([0xee; 16]);
    bytes.extend(unknown);
    bytes.extend(vma.as_bytes());
    bytes.extend([0xee; 16]);
    bytes.extend(b"/ab\0\0\0\0\0");
    bytes
}

#[test]
fn what_a_later_kernel_adds_is_passed_over() {
    let bytes = future();
    let batch = Batch::parse(&bytes).unwrap();
    let records: Vec<_> = batch.records().map(Result::unwrap).collect();
    assert!(matches!(records[0], Record::Unknown { r#type: 999, .. }));
    let Record::Vma(vma) = records[1] else {
        panic!("{:?}", records[1]);
    };
    let mapping = MappingRef::new(&vma, batch.header().vma_flags);
    assert_eq!(mapping.start, 0x1000);
    assert_eq!(
        mapping.name,
        NameRef::Path {
            path: b"/ab",
            deleted: Some(false)
        }
    );
}

/// The file is for decoders in other languages. It is not recorded, but what `future()` makes.
#[test]
#[cfg(target_endian = "little")]
fn the_stream_of_a_later_kernel_is_kept() {
    let kept = include_bytes!("data/future.stream");
    assert_eq!(
        future().escape_ascii().to_string(),
        kept.escape_ascii().to_string()
    );
}

#[test]
fn a_name_kind_of_a_later_kernel_is_unknown() {
    let mut bytes = two_records();
    let at = HEADER + std::mem::offset_of!(maps_lockless_vma, name_kind);
    bytes[at..at + 4].copy_from_slice(&77_u32.to_ne_bytes());
    let Some(Ok(Record::Vma(vma))) = Batch::parse(&bytes).unwrap().records().next() else {
        panic!();
    };
    assert_eq!(MappingRef::new(&vma, 0).name, NameRef::Unknown);
}

/// A change of `two_records()` and the error that it must lead to.
fn broken(at: usize, with: &[u8]) -> DecodeErrorKind {
    let mut bytes = two_records();
    bytes[at..at + with.len()].copy_from_slice(with);
    names(&bytes).unwrap_err()
}

#[test]
fn each_kind_of_damage_has_its_error() {
    use DecodeErrorKind::*;

    let second = HEADER + FIXED + 8;
    let swapped = MAPS_LOCKLESS_MAGIC.swap_bytes().to_ne_bytes();
    let number = |number: u32| number.to_ne_bytes();
    let field = |name: usize| HEADER + name;
    let name_off = std::mem::offset_of!(maps_lockless_vma, name_off);
    for (at, with, expected) in [
        (0, &b"junk"[..], BadMagic),
        (0, &swapped, ForeignByteOrder),
        (4, &2_u16.to_ne_bytes(), UnsupportedVersion(2)),
        (6, &72_u16.to_ne_bytes(), BadSize),
        (6, &89_u16.to_ne_bytes(), BadSize),
        (8, &number(8), BadSize),
        (8, &number(1 << 20), Truncated),
        (12, &number(1), BadCount),
        (12, &number(3), BadCount),
        (12, &number(u32::MAX), BadCount),
        (field(2), &88_u16.to_ne_bytes(), BadSize),
        (field(2), &u16::MAX.to_ne_bytes(), BadSize),
        (field(4), &number(0), BadSize),
        (field(4), &number(!7), Truncated),
        (field(32), &0_u64.to_ne_bytes(), BadRange),
        (field(name_off), &number(0), BadName),
        (field(name_off), &number(u32::MAX), BadName),
        (field(name_off + 4), &number(u32::MAX), BadName),
        // Forward, into a record that comes later.
        (field(name_off), &number(second as u32), BadName),
        (field(name_off + 12), &number(1), BadBuildId),
        (field(name_off + 12), &number(u32::MAX), BadBuildId),
    ] {
        assert_eq!(broken(at, with), expected, "{with:?} at {at}");
    }
}

#[test]
fn a_build_id_has_four_answers() {
    let answer = |valid, flags, len: usize| {
        let at = HEADER + FIXED;
        let mut vma = record(0x1000, 0, 0, FIXED + len.next_multiple_of(8));
        vma.valid = valid;
        vma.flags = flags;
        vma.build_id_off = if len > 0 { at as u32 } else { 0 };
        vma.build_id_len = len as u32;
        let size = HEADER + vma.size as usize;
        let mut bytes = header(size, 1).as_bytes().to_vec();
        bytes.extend(vma.as_bytes());
        bytes.resize(size, 7);
        let Record::Vma(vma) = Batch::parse(&bytes)
            .unwrap()
            .records()
            .next()
            .unwrap()
            .unwrap()
        else {
            panic!();
        };
        match vma.build_id() {
            BuildId::Present(id) => format!("present {id:?}"),
            other => format!("{other:?}"),
        }
    };
    let valid = MAPS_LOCKLESS_FIELD_BUILD_ID;
    assert_eq!(answer(valid, 0, 3), "present [7, 7, 7]");
    assert_eq!(answer(valid, 0, 0), "Absent");
    let not_resident = MAPS_LOCKLESS_REC_BUILD_ID_NOT_RESIDENT;
    assert_eq!(answer(0, not_resident, 0), "NotResident");
    assert_eq!(answer(0, 0, 0), "Unknown");
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = two_records();
    for len in 0..bytes.len() {
        assert_eq!(
            names(&bytes[..len]),
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
                let _ = MappingRef::new(&vma, u64::MAX)
                    .to_owned()
                    .as_ref()
                    .name
                    .to_maps();
            }
        }
        assert!(records.next().is_none(), "fused");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        walk(&bytes);
    }

    #[test]
    fn any_damage_is_survived(
        changes in prop::collection::vec((0_usize..HEADER + 2 * FIXED + 8, any::<u8>()), 1..12),
        len in 0_usize..=HEADER + 2 * FIXED + 8,
    ) {
        let mut bytes = two_records();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        walk(&bytes[..len]);
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
