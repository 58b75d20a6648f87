// SPDX-License-Identifier: MIT OR Apache-2.0

//! The rule of docs/abi.md, on records as they come.

use super::*;
use crate::{
    Completeness, Judgement, Source,
    build::{Builder, PAGE, page},
    decode::Batch,
};

/// One mapping a page, of these pages.
fn pages(starts: impl IntoIterator<Item = u64>) -> Vec<Mapping> {
    let mut batch = Builder::default();
    for start in starts {
        batch.vma(page(start * PAGE), b"");
    }
    let bytes = batch.bytes();
    let batch = Batch::parse(&bytes).unwrap();
    let mappings = batch.mappings().map(|mapping| mapping.unwrap().to_owned());
    mappings.collect()
}

/// Ranges of pages, with a number each.
fn unchanged(ranges: &[(u64, u64, u32)]) -> Vec<Unchanged> {
    let mut batch = Builder::default();
    for (start, end, count) in ranges {
        batch.unchanged(start * PAGE, end * PAGE, *count);
    }
    let bytes = batch.bytes();
    let batch = Batch::parse(&bytes).unwrap();
    batch.unchanged().map(Result::unwrap).collect()
}

fn snapshot(mappings: Vec<Mapping>) -> Snapshot {
    Snapshot {
        mappings,
        source: Source::Lockless,
        completeness: Completeness::Complete,
        judgement: Judgement::PossiblyTorn,
        torn: Vec::new(),
        unknown: Vec::new(),
        evidence: Vec::new(),
        token: None,
    }
}

/// The pages that the new listing has, and those that are read again.
fn merged(
    earlier: impl IntoIterator<Item = u64>,
    changed: &[u64],
    ranges: &[(u64, u64, u32)],
    again: &[&[u64]],
) -> Option<(Vec<u64>, Vec<Range<u64>>)> {
    let mut earlier = pages(earlier);
    let plan = Plan::new(&earlier, &unchanged(ranges))?;
    let reread = plan.again().map(|r| r.start / PAGE..r.end / PAGE).collect();
    let again = again
        .iter()
        .map(|read| snapshot(pages(read.iter().copied())));
    let changes = snapshot(pages(changed.iter().copied()));
    let merged = plan.merge(changes, again.collect(), out_of(&mut earlier));
    let starts = merged.mappings.iter().map(|mapping| mapping.start / PAGE);
    Some((starts.collect(), reread))
}

#[test]
fn what_is_in_no_record_is_not_mapped() {
    assert_eq!(
        merged([1, 2, 3], &[], &[], &[]),
        Some((Vec::new(), Vec::new()))
    );
    assert_eq!(
        merged([1, 2, 3, 7], &[2, 5], &[(0, 2, 1), (6, 9, 1)], &[]),
        Some(([1, 2, 5, 7].to_vec(), Vec::new()))
    );
}

#[test]
fn what_has_changed_stands_at_its_place() {
    assert_eq!(
        merged([1, 3, 4], &[0, 2, 5], &[(1, 2, 1), (3, 5, 2)], &[]),
        Some((Vec::from_iter(0..6), Vec::new()))
    );
}

#[test]
fn a_range_with_fewer_is_read_again() {
    let (starts, again) =
        merged(0..9, &[], &[(0, 3, 3), (3, 6, 2), (6, 9, 3)], &[&[3, 5]]).unwrap();
    assert_eq!(starts, [0, 1, 2, 3, 5, 6, 7, 8]);
    assert!(again.iter().eq([&(3..6)]));
    // Two that meet are one.
    let (starts, again) = merged(
        0..9,
        &[6],
        &[(0, 3, 1), (3, 6, 2), (7, 9, 1)],
        &[&[0, 4, 5], &[8]],
    )
    .unwrap();
    assert_eq!(starts, [0, 4, 5, 6, 8]);
    assert_eq!(again, [0..6, 7..9]);
}

#[test]
fn more_than_there_was_is_a_contradiction() {
    assert_eq!(merged(0..9, &[], &[(0, 9, 10)], &[]), None);
    assert_eq!(merged([], &[], &[(0, 9, 1)], &[]), None);
    assert_eq!(merged(0..9, &[], &[(0, 9, u32::MAX)], &[]), None);
}

#[test]
fn who_begins_below_or_ends_above_overlaps() {
    let mut earlier = pages([2]);
    earlier[0].end = 8 * PAGE;
    for (start, end, held) in [
        (0, 2, 0),
        (0, 3, 1),
        (4, 5, 1),
        (7, 99, 1),
        (8, 99, 0),
        (4, 4, 1),
    ] {
        let range = start * PAGE..end * PAGE;
        assert_eq!(overlapping(&earlier, &range).len(), held, "{range:x?}");
    }
}

#[test]
fn no_mapping_is_taken_twice() {
    // No kernel says so.
    let ranges = [(0, 4, 4), (2, 6, 4), (0, 6, 6)];
    let (starts, _) = merged(0..6, &[], &ranges, &[]).unwrap();
    assert_eq!(starts, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn what_is_read_again_may_be_torn() {
    let earlier = pages(0..9);
    let plan = Plan::new(&earlier, &unchanged(&[(0, 9, 1)])).unwrap();
    assert!(plan.keeps_nothing());
    let mut read = snapshot(pages([1]));
    read.torn.push(PAGE..2 * PAGE);
    read.unknown.push(4 * PAGE..5 * PAGE);
    let merged = plan.merge(snapshot(Vec::new()), [read.clone()].into(), |at| {
        earlier[at].clone()
    });
    assert_eq!((merged.torn, merged.unknown), (read.torn, read.unknown));
}
