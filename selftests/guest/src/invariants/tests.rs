// SPDX-License-Identifier: MIT OR Apache-2.0

//! Each invariant holds of a good listing, and is missed where it is broken.

use super::{
    Broken,
    Invariant::{self, *},
    Listing, PAGE, check_bytes, has_kernel_address,
};
use maps_lockless::wire::*;
use zerocopy::IntoBytes;

const HEADER: usize = size_of::<maps_lockless_batch>();
const FIXED: usize = size_of::<maps_lockless_vma>();
const NAME: &[u8] = b"/a/file";
const FILE: u64 = MAPS_LOCKLESS_FIELD_FLAGS | MAPS_LOCKLESS_FIELD_PGOFF | MAPS_LOCKLESS_FIELD_NAME;

/// Two pages of memory, a page of a named file, a withheld page, `[vsyscall]`.
fn records() -> Vec<maps_lockless_vma> {
    let vma = |start, end, valid| maps_lockless_vma {
        r#type: MAPS_LOCKLESS_TYPE_VMA,
        fixed_size: FIXED as u16,
        size: FIXED as u32,
        start,
        end,
        vma_start: start,
        valid,
        ..Default::default()
    };
    let memory = vma(PAGE, 3 * PAGE, MAPS_LOCKLESS_FIELD_FLAGS);
    let mut file = vma(3 * PAGE, 4 * PAGE, FILE);
    file.size += 8;
    file.pgoff = PAGE;
    file.name_kind = MAPS_LOCKLESS_NAME_PATH;
    file.name_off = (HEADER + 2 * FIXED) as u32;
    file.name_len = NAME.len() as u32;
    let mut withheld = vma(8 * PAGE, 9 * PAGE, 0);
    withheld.flags = MAPS_LOCKLESS_REC_WITHHELD;
    let gate = vma(
        0xffff_ffff_ff60_0000,
        0xffff_ffff_ff60_1000,
        MAPS_LOCKLESS_FIELD_FLAGS,
    );
    vec![memory, file, withheld, gate]
}

/// The batch of these records, the second of which has the name's bytes behind it.
fn batch(records: &[maps_lockless_vma]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    for record in records {
        bytes.extend(record.as_bytes());
        if record.size as usize > FIXED {
            bytes.extend(NAME);
            bytes.push(0);
        }
    }
    let header = maps_lockless_batch {
        magic: MAPS_LOCKLESS_MAGIC,
        version: MAPS_LOCKLESS_VERSION,
        header_size: HEADER as u16,
        size: bytes.len() as u32,
        count: records.len() as u32,
        flags: MAPS_LOCKLESS_BATCH_FINAL,
        end_reason: MAPS_LOCKLESS_END_COMPLETE,
        next: MAPS_LOCKLESS_POS_END,
        mm_id: 1,
        seq_begin: 6,
        seq_end: 8,
        fields: 0,
        fields_asked: 0,
        vma_flags: 0,
        page_size: PAGE as u32,
        reserved: 0,
    };
    bytes[..HEADER].copy_from_slice(header.as_bytes());
    bytes
}

fn listing(bytes: &[u8]) -> Result<Listing, Broken> {
    let mut listing = Listing::from(0);
    listing.add(bytes)?;
    Ok(listing)
}

/// What is broken once a record was changed.
fn broken(which: usize, change: impl FnOnce(&mut maps_lockless_vma)) -> Option<Invariant> {
    let mut records = records();
    change(&mut records[which]);
    let broken = listing(&batch(&records)).err()?;
    Some(broken.invariant)
}

/// What is broken once the header was changed.
fn broken_header(change: impl FnOnce(&mut maps_lockless_batch)) -> Option<Invariant> {
    let mut bytes = batch(&records());
    let mut header: maps_lockless_batch = zerocopy::FromBytes::read_from_prefix(&bytes).unwrap().0;
    change(&mut header);
    bytes[..HEADER].copy_from_slice(header.as_bytes());
    let broken = listing(&bytes).err()?;
    Some(broken.invariant)
}

fn unmoved(records: &[maps_lockless_vma]) -> Result<Listing, Broken> {
    let mut bytes = batch(records);
    let at = std::mem::offset_of!(maps_lockless_batch, seq_begin);
    bytes[at] = 8;
    listing(&bytes)
}

#[test]
fn a_good_listing_passes() {
    let listing = listing(&batch(&records())).unwrap();
    listing.has(PAGE..4 * PAGE).unwrap();
    assert!(listing.is_complete());
    assert_eq!(listing.proved().unwrap(), None);
}

#[test]
fn ranges() {
    assert_eq!(
        broken(1, |vma| (vma.start, vma.end, vma.vma_start) = (0, PAGE, 0)),
        Some(Order)
    );
    assert_eq!(
        broken(1, |vma| vma.flags = MAPS_LOCKLESS_REC_CLIPPED),
        Some(Order)
    );
    assert_eq!(
        broken(1, |vma| (vma.start, vma.vma_start) = (2 * PAGE, 2 * PAGE)),
        Some(Overlap)
    );
    assert_eq!(broken(0, |vma| vma.end += 1), Some(Overlap));
    assert_eq!(broken(0, |vma| vma.end = vma.start), Some(Overlap));
}

#[test]
fn fields() {
    assert_eq!(broken(1, |vma| vma.valid = 0), Some(Zero));
    assert_eq!(broken(0, |vma| vma.ino = 1), Some(Zero));
    assert_eq!(broken(0, |vma| vma.build_id_off = 1), Some(Zero));
    assert_eq!(broken(2, |vma| vma.dev_minor = 1), Some(Withheld));
    assert_eq!(
        broken(2, |vma| vma.valid = MAPS_LOCKLESS_FIELD_INO),
        Some(Withheld)
    );
    let marks = MAPS_LOCKLESS_REC_WITHHELD | MAPS_LOCKLESS_REC_UNSTABLE;
    assert_eq!(broken(2, |vma| vma.flags = marks), Some(Withheld));
}

#[test]
fn bytes_that_belong_to_nothing() {
    assert_eq!(broken(1, |vma| vma.name_len -= 1), Some(Padding));
    assert_eq!(
        broken(1, |vma| (vma.name_off, vma.name_len) = (0, 0)),
        Some(Padding)
    );
}

#[test]
fn pointers() {
    let pointer = 0xffff_8880_1234_5678;
    assert_eq!(broken(1, |vma| vma.pgoff = pointer), Some(Pointer));
    assert_eq!(broken(0, |vma| vma.vma_flags = pointer), Some(Pointer));
    assert_eq!(
        broken_header(|header| header.vma_flags = pointer),
        Some(Pointer)
    );
    // vsyscall's page, and nothing that only looks like it.
    assert_eq!(broken(3, |vma| vma.end += PAGE), Some(Pointer));
    let gate = 0xffff_ffff_ff60_0000;
    assert_eq!(broken(1, |vma| vma.pgoff = gate), Some(Pointer));
    assert_eq!(broken(3, |vma| vma.vma_flags = gate), Some(Pointer));

    let mut bytes = batch(&records());
    bytes[HEADER + 2 * FIXED..][..8].fill(0xff);
    // A name of eight bytes has no padding.
    let name_len = HEADER + FIXED + std::mem::offset_of!(maps_lockless_vma, name_len);
    bytes[name_len] = 8;
    assert_eq!(
        check_bytes(&bytes).err().map(|broken| broken.invariant),
        Some(Pointer)
    );
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
        broken_header(|header| (header.flags, header.next) = (0, 8 * PAGE)),
        Some(Progress)
    );
    let more = [batch(&records()), vec![0; 8]].concat();
    assert_eq!(listing(&more).unwrap_err().invariant, Format);

    // Another address space, a count that goes back.
    for (field, value) in [
        (std::mem::offset_of!(maps_lockless_batch, mm_id), 2),
        (std::mem::offset_of!(maps_lockless_batch, seq_begin), 2),
    ] {
        let mut first = Listing::from(0);
        let mut header = batch(&[]);
        first.add(&header).unwrap();
        header[field] = value;
        assert_eq!(first.add(&header).unwrap_err().invariant, Token);
    }
}

#[test]
fn nothing_is_skipped() {
    let listing = listing(&batch(&records())).unwrap();
    for missing in [0..PAGE, 3 * PAGE..5 * PAGE, 10 * PAGE..11 * PAGE] {
        assert_eq!(listing.has(missing).unwrap_err().invariant, Skipped);
    }
}

#[test]
fn what_does_not_change_is_the_same() {
    let mut records = records();
    assert_eq!(
        unmoved(&records).unwrap().proved().unwrap_err().invariant,
        Token
    );
    records.remove(2);
    let one = unmoved(&records).unwrap();
    assert!(one.agrees(&unmoved(&records).unwrap()).unwrap());
    records[0].vma_flags = MAPS_LOCKLESS_VMA_MAYBE_GUARD;
    assert!(one.agrees(&unmoved(&records).unwrap()).unwrap());
    records[0].vma_flags = MAPS_LOCKLESS_VMA_READ;
    let error = one.agrees(&unmoved(&records).unwrap()).unwrap_err();
    assert_eq!(error.invariant, Token);
    records[0].flags = MAPS_LOCKLESS_REC_UNSTABLE;
    assert_eq!(
        unmoved(&records).unwrap().proved().unwrap_err().invariant,
        Token
    );
}

#[test]
fn a_kernel_address_is_found_wherever_it_begins() {
    let mut bytes = [b'a'; 24];
    assert!(!has_kernel_address(&bytes));
    bytes[3..11].copy_from_slice(&0xffff_8880_0123_4560_u64.to_ne_bytes());
    assert!(has_kernel_address(&bytes));
    assert!(!has_kernel_address(&bytes[..10]));
}
