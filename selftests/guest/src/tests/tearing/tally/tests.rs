// SPDX-License-Identifier: MIT OR Apache-2.0

//! A tally takes what is permitted and nothing else.

use super::{
    super::effect::{EFFECT, offset, rest, torn},
    *,
};
use zerocopy::IntoBytes;

const BASE: u64 = 0x10_000;
const CLIPPED: u32 = MAPS_LOCKLESS_REC_CLIPPED;
const UNSTABLE: u32 = MAPS_LOCKLESS_REC_UNSTABLE;
const WITHHELD: u32 = MAPS_LOCKLESS_REC_WITHHELD;

const MERGE: Effect = Effect {
    pages: 8,
    offsets: true,
    outcomes: &[
        rest("Before", "0-4:r 4-8:rx"),
        rest("After", "0-8:rx"),
        torn("Clipped", "0-4:r 4-8:rx<0"),
        torn("Lower", "0-4:r"),
        offset("Offset", "4-8@0"),
        torn("Rare", "4-8:rx").rare("it is"),
    ],
    ..EFFECT
};

fn piece(pages: [u64; 3], shown: &str, flags: u32) -> Piece {
    let [start, end, vma_start] = pages.map(|page| BASE + page * PAGE as u64);
    Piece {
        start,
        end,
        vma_start,
        flags,
        shown: (flags & WITHHELD == 0).then(|| shown.to_owned()),
        offset: Some(start - BASE),
    }
}

/// A listing, proved or not.
fn listing(seq_end: u64) -> Listing {
    let header = maps_lockless_batch {
        magic: MAPS_LOCKLESS_MAGIC,
        version: MAPS_LOCKLESS_VERSION,
        header_size: size_of::<maps_lockless_batch>() as u16,
        size: size_of::<maps_lockless_batch>() as u32,
        flags: MAPS_LOCKLESS_BATCH_FINAL | MAPS_LOCKLESS_BATCH_FIRST,
        end_reason: MAPS_LOCKLESS_END_COMPLETE,
        begin: 0,
        next: MAPS_LOCKLESS_NEXT_NONE,
        mm_id: 1,
        seq_begin: 2,
        seq_end,
        count: 0,
        request: 0,
        fields_supported: 0,
        fields_wanted: 0,
        vma_flags_supported: 0,
        page_size: PAGE as u32,
        vma_count: 0,
    };
    let mut listing = Listing::of(0);
    listing.add(header.as_bytes()).unwrap();
    listing
}

/// Counts of the outcomes after these pieces, or nothing where they are refused.
fn counts(listing: &Listing, pieces: &[Piece], mode: Mode) -> Option<Vec<u64>> {
    let mut tally = Tally::new(&MERGE);
    let pieces: Vec<_> = pieces.iter().collect();
    tally.add(listing, &pieces, BASE, mode).ok()?;
    Some(
        tally
            .counts
            .iter()
            .map(|count| count.iter().sum())
            .collect(),
    )
}

fn two(second: Piece) -> [Piece; 2] {
    [piece([0, 4, 0], "r", 0), second]
}

#[test]
fn what_is_permitted() {
    let moved = listing(4);
    let seen = |pieces: &[Piece]| counts(&moved, pieces, Mode::Within);
    let before = two(piece([4, 8, 4], "rx", 0));
    assert_eq!(seen(&before), Some(vec![1, 0, 0, 0, 0, 0]));
    let clipped = two(piece([4, 8, 0], "rx", CLIPPED));
    assert_eq!(seen(&clipped), Some(vec![0, 0, 1, 0, 0, 0]));
    // What is withheld may be anything that has this range.
    let withheld = two(piece([4, 8, 4], "", WITHHELD));
    assert_eq!(seen(&withheld), Some(vec![1, 0, 0, 0, 0, 0]));
    let mut other = two(piece([4, 8, 4], "rx", UNSTABLE));
    other[1].offset = Some(0);
    assert_eq!(seen(&other), Some(vec![1, 0, 0, 0, 1, 0]));
}

#[test]
fn what_is_not() {
    let moved = listing(4);
    let seen = |pieces: &[Piece]| counts(&moved, pieces, Mode::Within);
    for pieces in [
        // Other permissions, another range, another page that it begins at, more, less.
        two(piece([4, 8, 4], "r", 0)).to_vec(),
        two(piece([4, 7, 4], "rx", 0)).to_vec(),
        two(piece([4, 8, 2], "rx", CLIPPED)).to_vec(),
        two(piece([5, 8, 5], "", WITHHELD)).to_vec(),
        [
            two(piece([4, 8, 4], "rx", 0)).to_vec(),
            vec![piece([8, 9, 8], "r", 0)],
        ]
        .concat(),
        vec![],
    ] {
        assert_eq!(seen(&pieces), None, "{pieces:?}");
    }
    // An offset that is not marked, and one that is of nothing.
    for (offset, flags) in [(0, 0), (PAGE as u64, UNSTABLE)] {
        let mut pieces = two(piece([4, 8, 4], "rx", flags));
        pieces[1].offset = Some(offset);
        assert_eq!(seen(&pieces), None, "{pieces:?}");
    }
}

#[test]
fn nothing_torn_is_proved() {
    let proved = listing(2);
    let seen = |pieces: &[Piece]| counts(&proved, pieces, Mode::Within);
    assert!(seen(&two(piece([4, 8, 4], "rx", 0))).is_some());
    assert!(seen(&two(piece([4, 8, 0], "rx", CLIPPED))).is_none());
}

#[test]
fn all_must_be_seen() {
    let mut tally = Tally::new(&MERGE);
    assert_eq!(
        tally.unseen(),
        ["Before", "After", "Clipped", "Lower", "Offset"]
    );
    assert!(tally.finish().is_err());
    for name in tally.unseen() {
        tally.see(name, Mode::Within).unwrap();
    }
    tally.finish().unwrap();
    tally.unknown = 1;
    assert!(tally.finish().is_err());
    tally.unknown = 0;
    assert!(tally.see("Other", Mode::Within).is_err());
}
