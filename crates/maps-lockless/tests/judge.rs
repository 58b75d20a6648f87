// SPDX-License-Identifier: MIT OR Apache-2.0

//! What proves a listing consistent, and what does not.

mod build;

use build::{Builder, PAGE, listing};
use maps_lockless::{
    BatchEvidence, Completeness, Judge, Judgement, Token,
    decode::{Batch, batches},
    wire::*,
};
use proptest::{prelude::*, sample::Index};

fn judge(listing: &[Builder]) -> Judge {
    let stream: Vec<u8> = listing.iter().flat_map(Builder::bytes).collect();
    let mut judge = Judge::default();
    for batch in batches(&stream) {
        judge.add(&BatchEvidence::new(&batch.unwrap()));
    }
    judge
}

/// What is said of a listing of four batches, of which something was changed.
fn judged(change: impl FnOnce(&mut Vec<Builder>)) -> Judgement {
    let mut listing = listing(4);
    change(&mut listing);
    let judge = judge(&listing);
    let judgement = judge.judgement();
    assert_eq!(judge.token().is_some(), judgement == Judgement::Consistent);
    judgement
}

#[test]
fn a_listing_at_rest_is_proved() {
    for count in [1, 2, 100] {
        let judge = judge(&listing(count));
        assert_eq!(judge.judgement(), Judgement::Consistent);
        assert_eq!(judge.completeness(), Completeness::Complete);
        assert_eq!(judge.token(), Some(Token { mm_id: 1, count: 2 }));
        assert_eq!(judge.mm_id(), Some(1));
        assert!(judge.torn().is_empty());
    }
    // A listing of a range begins where the range does.
    let mut range = listing(3);
    range.remove(0);
    range[0].header.flags |= MAPS_LOCKLESS_BATCH_FIRST;
    assert_eq!(judge(&range).judgement(), Judgement::Consistent);
}

#[test]
fn batches_that_are_not_one_listing_have_a_gap() {
    for at in 0..3 {
        let removed = judged(|listing| drop(listing.remove(at)));
        assert_eq!(removed, Judgement::Gap, "batch {at} is missing");
    }
    for at in 0..4 {
        let doubled = judged(|listing| listing.insert(at, listing[at].clone()));
        assert_eq!(doubled, Judgement::Gap, "batch {at} is there twice");
    }
    for at in 0..3 {
        let swapped = judged(|listing| listing.swap(at, at + 1));
        assert_eq!(swapped, Judgement::Gap, "batch {at} changed places");
    }
    for at in 0..4 {
        let foreign = judged(|listing| listing[at].header.request += 1);
        assert_eq!(foreign, Judgement::Gap, "batch {at} is of another request");
        let foreign = judged(|listing| listing[at].header.mm_id += 1);
        assert_eq!(foreign, Judgement::Gap, "batch {at} is of another process");
    }
    // The first one does not say that it is.
    let headless = judged(|listing| listing[0].header.flags = 0);
    assert_eq!(headless, Judgement::Gap);
    // Two listings, one behind the other.
    let twice = judged(|listing| listing.extend_from_within(..));
    assert_eq!(twice, Judgement::Gap);
}

#[test]
fn what_changed_is_not_proved() {
    for at in 0..4 {
        let sequence = |begin, end| {
            judged(|listing| {
                let header = &mut listing[at].header;
                (header.seq_begin, header.seq_end) = (begin, end);
            })
        };
        assert_eq!(sequence(2, 4), Judgement::PossiblyTorn);
        assert_eq!(sequence(3, 3), Judgement::PossiblyTorn);
        assert_eq!(sequence(4, 4), Judgement::PossiblyTorn);
        let unknown = judged(|listing| {
            let start = at as u64 * PAGE + PAGE;
            listing[at].unknown(start, start);
        });
        assert_eq!(unknown, Judgement::PossiblyTorn, "a range is unknown");
    }
    // An odd count all the time.
    let odd = judged(|listing| {
        for batch in listing {
            (batch.header.seq_begin, batch.header.seq_end) = (3, 3);
        }
    });
    assert_eq!(odd, Judgement::PossiblyTorn);
}

#[test]
fn what_does_not_end_well_is_not_proved() {
    let end = |flags, reason| {
        judged(|listing| {
            let header = &mut listing[3].header;
            (header.flags, header.end_reason) = (flags, reason);
        })
    };
    let last = MAPS_LOCKLESS_BATCH_FINAL;
    assert_eq!(end(last, MAPS_LOCKLESS_END_COMPLETE), Judgement::Consistent);
    assert_eq!(end(last, MAPS_LOCKLESS_END_GONE), Judgement::PossiblyTorn);
    assert_eq!(end(last, MAPS_LOCKLESS_END_NO_MM), Judgement::Unknown);
    // A reason of a kernel to come.
    assert_eq!(end(last, 77), Judgement::Unknown);
    // Not final, whatever the reason.
    assert_eq!(end(0, MAPS_LOCKLESS_END_COMPLETE), Judgement::Unknown);
    let cut = judged(|listing| drop(listing.pop()));
    assert_eq!(cut, Judgement::Unknown);
    assert_eq!(judged(Vec::clear), Judgement::Unknown);
}

#[test]
fn without_an_address_space_nothing_is_proved() {
    let nobody = judged(|listing| {
        for batch in listing {
            batch.header.mm_id = 0;
        }
    });
    assert_eq!(nobody, Judgement::Unknown);
}

#[test]
fn a_batch_that_cannot_be_decoded_proves_nothing() {
    let mut bytes = listing(1)[0].bytes();
    // One record more than there is.
    bytes[12..16].copy_from_slice(&2_u32.to_ne_bytes());
    let evidence = BatchEvidence::new(&Batch::parse(&bytes).unwrap());
    assert!(evidence.unknown);
    let mut judge = Judge::default();
    judge.add(&evidence);
    assert_eq!(judge.judgement(), Judgement::PossiblyTorn);
}

#[test]
fn where_it_changed_is_told() {
    let mut listing = listing(5);
    for at in [1, 2, 4] {
        listing[at].header.seq_end = 4;
    }
    let judge = judge(&listing);
    assert_eq!(judge.torn(), [PAGE..3 * PAGE, 4 * PAGE..u64::MAX]);
}

/// A change of a listing after which it is none.
#[derive(Clone, Debug)]
enum Tampered {
    Removed(Index),
    Doubled(Index),
    Moved(Index, Index),
    OfAnotherRequest(Index, u64),
    OfAnotherProcess(Index, u64),
    Changed(Index, u64),
    Unknown(Index),
    Begins(Index),
    BeginsElsewhere(Index, u64),
}

fn tampered() -> impl Strategy<Value = Tampered> {
    use Tampered::*;

    let at = any::<Index>;
    prop_oneof![
        at().prop_map(Removed),
        at().prop_map(Doubled),
        (at(), at()).prop_map(|(from, to)| Moved(from, to)),
        (at(), any::<u64>()).prop_map(|(at, number)| OfAnotherRequest(at, number)),
        (at(), any::<u64>()).prop_map(|(at, number)| OfAnotherProcess(at, number)),
        (at(), any::<u64>()).prop_map(|(at, number)| Changed(at, number)),
        at().prop_map(Unknown),
        at().prop_map(Begins),
        (at(), any::<u64>()).prop_map(|(at, address)| BeginsElsewhere(at, address)),
    ]
}

/// Applies it, and returns whether anything is another.
fn tamper(listing: &mut Vec<Builder>, tampered: &Tampered) -> bool {
    let len = listing.len();
    let replace = |number: &mut u64, with: u64| std::mem::replace(number, with) != with;
    match tampered {
        Tampered::Removed(at) => drop(listing.remove(at.index(len))),
        Tampered::Doubled(at) => {
            let at = at.index(len);
            listing.insert(at, listing[at].clone());
        }
        Tampered::Moved(from, to) => {
            let batch = listing.remove(from.index(len));
            listing.insert(to.index(len), batch);
            return from.index(len) != to.index(len);
        }
        Tampered::OfAnotherRequest(at, number) => {
            return len > 1 && replace(&mut listing[at.index(len)].header.request, *number);
        }
        Tampered::OfAnotherProcess(at, number) => {
            return len > 1 && replace(&mut listing[at.index(len)].header.mm_id, *number);
        }
        Tampered::Changed(at, number) => {
            return replace(&mut listing[at.index(len)].header.seq_end, *number);
        }
        Tampered::Unknown(at) => {
            let batch = &mut listing[at.index(len)];
            let end = batch.header.begin + PAGE;
            batch.unknown(end, end);
        }
        Tampered::Begins(at) => {
            listing[at.index(len)].header.flags ^= MAPS_LOCKLESS_BATCH_FIRST;
        }
        Tampered::BeginsElsewhere(at, address) => {
            let at = at.index(len);
            // Where a listing begins is its own matter.
            return at > 0 && replace(&mut listing[at].header.begin, *address);
        }
    }
    true
}

proptest! {
    #[test]
    fn what_is_tampered_with_is_not_proved(count in 1_u64..12, tampered in tampered()) {
        let mut listing = listing(count);
        let changed = tamper(&mut listing, &tampered);
        prop_assert_eq!(judge(&listing).judgement() == Judgement::Consistent, !changed);
    }
}
