// SPDX-License-Identifier: MIT OR Apache-2.0

//! Batches as a kernel would return them, one a read(2), and what is made of a refusal.

use super::*;
use crate::{
    BatchEvidence, Judgement, Reader, Snapshot, Source,
    build::{self, Builder, PAGE, listing, page},
    wire::{
        MAPS_LOCKLESS_END_BUDGET, MAPS_LOCKLESS_FIELD_PKEY, MAPS_LOCKLESS_VMA_FILE,
        MAPS_LOCKLESS_VMA_LOCKED, MAPS_LOCKLESS_VMA_READ, MAPS_LOCKLESS_VMA_SEALED,
    },
};
use std::{
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    string::ToString,
};

/// Reads a listing of which each read(2) returns one batch, as a datagram.
fn read(listing: &[Builder]) -> Result<Snapshot, Error> {
    let batches: Vec<_> = listing.iter().map(Builder::bytes).collect();
    Snapshot::read(&mut reader(&batches))
}

#[test]
fn a_listing_is_read_to_its_end() {
    let snapshot = read(&listing(5)).unwrap();
    assert_eq!(snapshot.mappings.len(), 5);
    assert_eq!(snapshot.completeness, Completeness::Complete);
    assert_eq!(snapshot.judgement, Judgement::Consistent);
    assert_eq!(snapshot.token, Some(Token { mm_id: 1, count: 2 }));
    assert_eq!(snapshot.evidence.len(), 5);
    assert!(snapshot.torn.is_empty() && snapshot.unknown.is_empty());
}

#[test]
fn a_batch_that_somebody_else_has_read_is_missed() {
    let mut shared = listing(5);
    shared.remove(2);
    let snapshot = read(&shared).unwrap();
    assert_eq!(snapshot.judgement, Judgement::Gap);
    assert_eq!((snapshot.mappings.len(), snapshot.token), (4, None));
    // As a request that somebody else has made meanwhile.
    let mut shared = listing(5);
    shared[3].header.request = 7;
    assert_eq!(read(&shared).unwrap().judgement, Judgement::Gap);
}

#[test]
fn an_unknown_range_is_told_and_no_mapping() {
    let mut listing = listing(2);
    listing[1].unknown(2 * PAGE, 5 * PAGE);
    listing[1].unknown(5 * PAGE, 6 * PAGE);
    let snapshot = read(&listing).unwrap();
    assert_eq!(snapshot.mappings.len(), 2);
    assert!(snapshot.unknown.iter().eq([&(2 * PAGE..6 * PAGE)]));
    assert_eq!(snapshot.judgement, Judgement::PossiblyTorn);
    assert!(snapshot.is_torn_at(3 * PAGE) && snapshot.find(3 * PAGE).is_none());
    assert!(!snapshot.is_torn_at(PAGE));
}

#[test]
fn a_batch_that_does_not_go_on_is_an_error() {
    let mut listing = listing(3);
    listing[1].header.next = PAGE;
    let error = read(&listing).unwrap_err();
    assert!(error.is_malformed(), "{error}");
}

/// A reader of these bytes, of which each read(2) returns one batch.
fn reader(batches: &[Vec<u8>]) -> Reader {
    let (kernel, reader) = UnixDatagram::pair().unwrap();
    for batch in batches {
        kernel.send(batch).unwrap();
    }
    let file = NamedFile::new(OwnedFd::from(reader));
    Reader::new(file, Source::Lockless, &Request::default()).unwrap()
}

/// A batch that is all of a listing, with an unknown range before the VMA `at`, or behind the last one for 3, or
/// none.
fn with_unknown(at: usize) -> Builder {
    let mut batch = Builder::default();
    for i in 0..3 {
        if at == i {
            batch.unknown(9 * PAGE, 9 * PAGE);
        }
        batch.vma(page(i as u64 * PAGE), b"");
    }
    if at == 3 {
        batch.unknown(9 * PAGE, 9 * PAGE);
    }
    batch
}

/// Whatever somebody does with a batch, and whenever he asks, what is said is what its bytes say.
fn judged_by_its_bytes(bytes: &[u8]) {
    let mut expected = Judge::default();
    expected.add(&BatchEvidence::new(&Batch::parse(bytes).unwrap()));
    let batches = [bytes.to_vec()];
    for mappings in [0, 1, 3, 4] {
        let mut reader = reader(&batches);
        let batch = reader.next_batch().unwrap().unwrap();
        let _ = batch.mappings().take(mappings).count();
        assert_eq!(reader.judgement(), Some(expected.judgement()));
        assert_eq!(reader.judge().token(), expected.token());
        // Neither another buffer nor the end changes that.
        reader = reader.with_buffer(Vec::new());
        assert_eq!(reader.judgement(), Some(expected.judgement()));
        assert!(reader.next_batch().unwrap().is_none());
        assert_eq!(reader.judgement(), Some(expected.judgement()));
        assert_eq!(reader.completeness(), Some(expected.completeness()));
    }
}

#[test]
fn an_unknown_range_is_noticed_whatever_is_read() {
    for at in 0..=4 {
        let bytes = with_unknown(at).bytes();
        judged_by_its_bytes(&bytes);
        // Damage may make a range known or unknown, or end the batch before.
        for byte in build::HEADER..bytes.len() {
            for change in [2, 0x80] {
                let mut changed = bytes.clone();
                changed[byte] ^= change;
                judged_by_its_bytes(&changed);
            }
        }
    }
}

#[test]
fn an_unknown_range_is_noticed_in_each_batch_of_a_listing() {
    for (at, mappings) in (0..3).flat_map(|at| [(at, 0), (at, 9)]) {
        let mut listing = listing(3);
        listing[at].unknown(9 * PAGE, 9 * PAGE);
        let batches: Vec<_> = listing.iter().map(Builder::bytes).collect();
        let mut reader = reader(&batches);
        while let Some(batch) = reader.next_batch().unwrap() {
            let _ = batch.mappings().take(mappings).count();
        }
        assert_eq!(reader.judgement(), Some(Judgement::PossiblyTorn));
    }
    // A batch of which all is known says nothing of the next one.
    let mut listing = listing(2);
    listing[1].unknown(9 * PAGE, 9 * PAGE);
    let batches: Vec<_> = listing.iter().map(Builder::bytes).collect();
    let mut reader = reader(&batches);
    assert_eq!(reader.next_batch().unwrap().unwrap().mappings().count(), 1);
    assert!(reader.next_batch().unwrap().is_some());
    assert_eq!(reader.judgement(), Some(Judgement::PossiblyTorn));
}

/// What is found first at an address of the second page, or behind.
fn found(batch: &Builder) -> Option<Found> {
    let bytes = batch.bytes();
    first_of(&Batch::parse(&bytes).unwrap(), PAGE + 7).unwrap()
}

#[test]
fn the_first_at_an_address_is_found() {
    let mut batch = Builder::default();
    assert!(found(&batch).is_none());
    batch.vma(page(0), b"");
    batch.unknown(0, PAGE + 7);
    assert!(found(&batch).is_none(), "they end before");
    let mut unknown = batch.clone();
    unknown.unknown(PAGE, 2 * PAGE);
    unknown.vma(page(2 * PAGE), b"");
    let range = PAGE..2 * PAGE;
    assert!(matches!(found(&unknown), Some(Found::Unknown(found)) if found == range));
    batch.vma(page(3 * PAGE), b"");
    batch.unknown(4 * PAGE, 5 * PAGE);
    assert!(matches!(found(&batch), Some(Found::Mapping(found)) if found.start == 3 * PAGE));
}

/// Why a request was refused by a kernel that supports this.
fn refused(fields_supported: u64, vma_flags_supported: u64, change: fn(&mut Request)) -> Error {
    let mut request = Request::CODE;
    change(&mut request);
    let request = maps_lockless_request {
        fields_supported,
        vma_flags_supported,
        ..request.to_wire(0)
    };
    refusal(Path::new("/proc/1/maps_lockless"), &request)
}

#[test]
fn a_refusal_says_what_is_not_supported() {
    let all = u64::MAX;
    let error = refused(!MAPS_LOCKLESS_FIELD_PKEY, all, |_| {});
    assert!(error.is_unsupported());
    assert_eq!(
        error.to_string(),
        "/proc/1/maps_lockless: this kernel does not know the fields 0x20 (pkey) (EINVAL): \
         try another source, or ask for less"
    );
    let flags = !(MAPS_LOCKLESS_VMA_LOCKED | MAPS_LOCKLESS_VMA_SEALED | 1 << 63);
    let error = refused(all, flags, |request| {
        request.selection.any = MAPS_LOCKLESS_VMA_LOCKED | MAPS_LOCKLESS_VMA_READ;
        request.selection.none = MAPS_LOCKLESS_VMA_SEALED;
    });
    assert!(error.is_unsupported());
    assert_eq!(error.errno(), Some(Errno::EINVAL as i32));
    let text = error.to_string();
    assert!(
        text.contains("the VMA flags 0x1002000000 (lo, sl) (EINVAL)"),
        "{text}"
    );
    // The flag of a file has no name in smaps.
    let error = refused(!MAPS_LOCKLESS_FIELD_PKEY, !MAPS_LOCKLESS_VMA_FILE, |_| {});
    let text = error.to_string();
    let expected = "the fields 0x20 (pkey) and the VMA flags 0x4000000000 (without name)";
    assert!(text.contains(expected), "{text}");

    let error = refused(all, all, |request| {
        (request.selection.start, request.selection.end) = (PAGE, PAGE);
    });
    assert!(!error.is_unsupported());
    assert!(error.to_string().contains("has no address (EINVAL)"));
    // A kernel that did not come so far as to answer.
    assert!(refused(0, 0, |_| {}).is_unsupported());
}

#[test]
fn the_same_request_is_made_once() {
    let request = Request::CODE.to_wire(0);
    let answered = maps_lockless_request {
        request: 5,
        fields_supported: 7,
        vma_flags_supported: 8,
        ..request
    };
    assert!(same(&answered, &request));
    assert!(!same(&Request::default().to_wire(0), &request));
    assert!(!same(&Request::CODE.to_wire(1), &request));
}

#[test]
fn a_batch_may_be_empty_and_not_the_last() {
    let mut listing = listing(2);
    let mut empty = Builder::default();
    empty.header.flags = 0;
    empty.header.end_reason = MAPS_LOCKLESS_END_BUDGET;
    (empty.header.begin, empty.header.next) = (PAGE, 9 * PAGE);
    listing[1].header.begin = 9 * PAGE;
    listing.insert(1, empty);
    let snapshot = read(&listing).unwrap();
    assert_eq!(snapshot.mappings.len(), 2);
    assert_eq!(snapshot.judgement, Judgement::Consistent);
}
