// SPDX-License-Identifier: MIT OR Apache-2.0

//! A listing is made a strict map, and what was mended is told.
#![cfg(feature = "std")]
#![expect(
    clippy::reversed_empty_ranges,
    clippy::single_range_in_vec_init,
    reason = "listings are ranges, good and bad"
)]

use maps_lockless::{Judgement, Mapping, Mended, Process, Snapshot, text};
use proptest::prelude::*;
use std::ops::Range;

const PAGE: u64 = 0x1000;

/// A file's mapping of these pages, whose offset tells who it was.
fn file(id: u64, pages: &Range<u64>) -> Mapping {
    let line = format!(
        "0-0 r--p {:x}00000000 fe:01 {}  /lib/{id}\n",
        id + 1,
        id + 1
    );
    let mut mapping = text::lines(line.as_bytes())
        .next()
        .flatten()
        .unwrap()
        .to_owned();
    mapping.start = pages.start * PAGE;
    mapping.end = pages.end * PAGE;
    mapping.vma_start = mapping.start;
    mapping
}

/// A snapshot of these ranges of pages, in this order, of one file each.
fn snapshot(pages: &[Range<u64>]) -> Snapshot {
    let mut snapshot = Process::current().snapshot().unwrap();
    snapshot.torn.clear();
    snapshot.judgement = Judgement::Unknown;
    snapshot.mappings = (0..).zip(pages).map(|(id, p)| file(id, p)).collect();
    snapshot
}

fn pages(range: Range<u64>) -> Range<u64> {
    range.start * PAGE..range.end * PAGE
}

/// Each mapping's pages, and its file's number.
fn shown(snapshot: &Snapshot) -> Vec<(Range<u64>, u64)> {
    let show = |m: &Mapping| (m.start / PAGE..m.end / PAGE, m.inode.unwrap() - 1);
    snapshot.mappings.iter().map(show).collect()
}

#[test]
fn what_is_strict_stays() {
    for strict in [&[][..], &[3..4], &[0..2, 2..5, 7..8]] {
        let mut snapshot = snapshot(strict);
        let before = snapshot.clone();
        assert_eq!(snapshot.normalize(), []);
        assert_eq!(snapshot, before);
    }
}

#[test]
fn what_goes_back_is_reordered() {
    let mut snapshot = snapshot(&[4..6, 8..9, 1..2]);
    let reordered = Mended::Reordered {
        mapping: pages(1..2),
        after: pages(8..9),
    };
    assert_eq!(snapshot.normalize(), [reordered]);
    assert_eq!(shown(&snapshot), [(1..2, 2), (4..6, 0), (8..9, 1)]);
    assert_eq!(snapshot.torn, [pages(1..2)]);
    assert_eq!(snapshot.judgement, Judgement::PossiblyTorn);
    // None lost anything.
    assert!(snapshot.mappings.iter().all(|m| !m.marks.clipped));
}

#[test]
fn the_one_that_was_read_later_wins() {
    let mut snapshot = snapshot(&[0..4, 3..6, 6..8]);
    let clipped = Mended::Clipped {
        mapping: pages(0..4),
        lost: pages(3..4),
    };
    assert_eq!(snapshot.normalize(), [clipped]);
    assert_eq!(shown(&snapshot), [(0..3, 0), (3..6, 1), (6..8, 2)]);
    assert_eq!(snapshot.torn, [pages(3..4)]);
}

#[test]
fn one_within_another_splits_it() {
    let mut snapshot = snapshot(&[0..10, 4..6]);
    let clipped = Mended::Clipped {
        mapping: pages(0..10),
        lost: pages(4..6),
    };
    assert_eq!(snapshot.normalize(), [clipped]);
    assert_eq!(shown(&snapshot), [(0..4, 0), (4..6, 1), (6..10, 0)]);
    let [low, _, high] = &snapshot.mappings[..] else {
        unreachable!();
    };
    assert!(!low.marks.clipped && high.marks.clipped);
    assert_eq!(high.vma_start, low.vma_start);
    assert_eq!(high.offset, low.offset.map(|offset| offset + 6 * PAGE));
}

#[test]
fn what_repeats_or_is_empty_is_dropped() {
    let mut snapshot = snapshot(&[0..2, 5..5, 0..2, 4..3]);
    let dropped = |range| Mended::Dropped {
        mapping: pages(range),
    };
    let expected = [dropped(0..2), dropped(5..5), dropped(4..3)];
    assert_eq!(snapshot.normalize(), expected);
    assert_eq!(shown(&snapshot), [(0..2, 2)]);
    assert_eq!(snapshot.torn, [pages(0..2)]);
}

#[test]
fn addresses_up_to_the_last_are_mended() {
    let mut snapshot = snapshot(&[0..1, 0..1]);
    for mapping in &mut snapshot.mappings {
        mapping.end = u64::MAX;
        mapping.offset = Some(u64::MAX);
    }
    snapshot.mappings[1].end = PAGE;
    snapshot.normalize();
    assert_eq!(snapshot.mappings[1].start, PAGE);
    // Nothing is guessed.
    assert_eq!(snapshot.mappings[1].offset, None);
}

/// Ranges of few pages, some of them empty or reversed.
fn any_pages() -> impl Strategy<Value = Vec<Range<u64>>> {
    let range = (0..40_u64, -1..8_i64);
    let range = range.prop_map(|(start, len)| start..start.saturating_add_signed(len));
    prop::collection::vec(range, 0..20)
}

proptest! {
    #[test]
    fn any_listing_becomes_strict(read in any_pages()) {
        let before = snapshot(&read);
        let mut after = before.clone();
        let mended = after.normalize();

        prop_assert!(after.mappings.iter().all(|m| m.start < m.end));
        prop_assert!(after.mappings.is_sorted_by(|a, b| a.end <= b.start));
        let strict = before.mappings.iter().all(|m| m.start < m.end)
            && before.mappings.is_sorted_by(|a, b| a.end <= b.start);
        prop_assert_eq!(mended.is_empty(), strict);
        prop_assert_eq!(strict, before == after);

        // Each address shows what was read of it last, at the offset that it had.
        for page in 0..64 {
            let address = page * PAGE;
            let holds = |m: &&Mapping| (m.start..m.end).contains(&address);
            let last = before.mappings.iter().rev().find(holds);
            let now = after.find(address);
            let tell = |m: &Mapping| (m.inode, m.offset.unwrap() + (address - m.start), m.vma_start);
            prop_assert_eq!(now.map(tell), last.map(tell));
        }
        for mapping in &after.mappings {
            prop_assert_eq!(mapping.marks.clipped, mapping.start != mapping.vma_start);
        }

        let again = after.clone();
        prop_assert_eq!(after.normalize(), []);
        prop_assert_eq!(after, again);
    }

    #[test]
    fn what_is_reported_is_all_that_was_lost(read in any_pages()) {
        let mut after = snapshot(&read);
        let size = |r: &Range<u64>| r.end.saturating_sub(r.start);
        let read: u64 = after.mappings.iter().map(|m| size(&(m.start..m.end))).sum();
        let lost: u64 = after.normalize().iter().map(|mended| match mended {
            Mended::Clipped { lost, .. } => size(lost),
            Mended::Dropped { mapping } => size(mapping),
            _ => 0,
        }).sum();
        let left: u64 = after.mappings.iter().map(Mapping::size).sum();
        prop_assert_eq!(read, left + lost);
    }
}
