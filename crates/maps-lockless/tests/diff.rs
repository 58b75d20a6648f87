// SPDX-License-Identifier: MIT OR Apache-2.0

//! What changed from one listing to another.
#![cfg(feature = "std")]

use maps_lockless::{
    BuildId, Change, Difference, Mapping, Name, Process, Snapshot, Source, text,
    wire::{MAPS_LOCKLESS_VMA_EXEC, MAPS_LOCKLESS_VMA_LOCKED, MAPS_LOCKLESS_VMA_WRITE},
};
use proptest::prelude::*;
use std::ops::Range;

/// What maps showed.
fn snapshot(maps: &str) -> Snapshot {
    let mut snapshot = Process::current().snapshot().unwrap();
    snapshot.source = Source::Maps;
    snapshot.mappings = text::lines(maps.as_bytes())
        .map(|line| line.unwrap().to_owned())
        .collect();
    snapshot
}

const LIB: &str = "fe:01 9  /lib/a.so\n";
const MEMORY: &str = "00:00 0 \n";

/// A change: of which kind, and the ranges before and after.
fn told(change: &Change<'_>) -> (char, Option<Range<u64>>, Option<Range<u64>>) {
    let range = |mapping: &Mapping| Some(mapping.start..mapping.end);
    match change {
        Change::Added(after) => ('+', None, range(after)),
        Change::Removed(before) => ('-', range(before), None),
        Change::Changed { before, after, .. } => ('~', range(before), range(after)),
    }
}

/// The one change, which is a difference.
fn difference(before: &Snapshot, after: &Snapshot) -> Difference {
    match &before.diff(after)[..] {
        [Change::Changed { difference, .. }] => difference.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_changed() {
    let none = snapshot("");
    assert_eq!(none.diff(&none), []);
    let this = Process::current().snapshot().unwrap();
    assert_eq!(this.diff(&this.clone()), []);
}

#[test]
fn added_and_removed() {
    let none = snapshot("");
    let two = snapshot(&format!("1-2 r--p 0 {LIB}4-5 rw-p 0 {MEMORY}"));
    let other = snapshot(&format!("2-4 rw-p 0 {MEMORY}"));
    let told = |changes: Vec<Change<'_>>| changes.iter().map(told).collect::<Vec<_>>();
    let added = [('+', None, Some(1..2)), ('+', None, Some(4..5))];
    assert_eq!(told(none.diff(&two)), added);
    let removed = [('-', Some(1..2), None), ('-', Some(4..5), None)];
    assert_eq!(told(two.diff(&none)), removed);
    // In the order of the addresses.
    let both = [
        removed[0].clone(),
        ('+', None, Some(2..4)),
        removed[1].clone(),
    ];
    assert_eq!(told(two.diff(&other)), both);
}

#[test]
fn resized() {
    let before = snapshot(&format!("10-20 rw-p 0 {MEMORY}"));
    let longer = snapshot(&format!("10-30 rw-p 0 {MEMORY}"));
    let lower = snapshot(&format!("8-20 rw-p 0 {MEMORY}"));
    let end = difference(&before, &longer);
    assert!(end.end && !end.start && end.is_resized() && !end.is_reprotected());
    assert_eq!(end.addresses, 0x10..0x20);
    let start = difference(&before, &lower);
    assert!(start.start && !start.end && start.is_resized());
    assert!(!start.renamed && !start.remapped && !start.build_id && start.flags == 0);
}

#[test]
fn a_file_that_is_resized_is_not_remapped() {
    let before = snapshot(&format!("2000-4000 r--p 1000 {LIB}"));
    let lower = snapshot(&format!("1000-4000 r--p 0 {LIB}"));
    let difference = difference(&before, &lower);
    assert!(difference.start && !difference.remapped);
}

#[test]
fn reprotected() {
    let before = snapshot(&format!("10-20 rw-p 0 {MEMORY}"));
    let after = snapshot(&format!("10-20 r-xp 0 {MEMORY}"));
    let difference = difference(&before, &after);
    let flags = MAPS_LOCKLESS_VMA_WRITE | MAPS_LOCKLESS_VMA_EXEC;
    assert_eq!(difference.flags, flags);
    assert!(difference.is_reprotected() && !difference.is_resized());
}

#[test]
fn only_flags_that_both_know_differ() {
    let text = snapshot(&format!("10-20 rw-p 0 {MEMORY}"));
    let mut locked = text.clone();
    locked.mappings[0].flags.set |= MAPS_LOCKLESS_VMA_LOCKED;
    locked.mappings[0].flags.known |= MAPS_LOCKLESS_VMA_LOCKED;
    assert_eq!(text.diff(&locked), []);
    let mut unlocked = locked.clone();
    unlocked.mappings[0].flags.set &= !MAPS_LOCKLESS_VMA_LOCKED;
    let difference = difference(&locked, &unlocked);
    assert_eq!(difference.flags, MAPS_LOCKLESS_VMA_LOCKED);
    assert!(!difference.is_reprotected());
}

#[test]
fn renamed() {
    let before = snapshot("10-20 r--p 0 fe:01 9  /lib/a\n");
    let moved = snapshot("10-20 r--p 0 fe:01 9  /lib/b\n");
    let deleted = snapshot("10-20 r--p 0 fe:01 9  /lib/a (deleted)\n");
    for after in [moved, deleted] {
        let difference = difference(&before, &after);
        assert!(difference.renamed && !difference.remapped);
    }
    let mut unknown = before.clone();
    unknown.mappings[0].name = Name::Unknown;
    assert_eq!(before.diff(&unknown), []);
}

#[test]
fn names_from_different_sources_are_what_maps_shows() {
    let text = snapshot("10-20 r--p 0 fe:01 9  /lib/a\\012b (deleted)\n");
    let mut lockless = text.clone();
    lockless.mappings[0].name = Name::Path {
        path: b"/lib/a\nb".to_vec(),
        marked: true,
    };
    lockless.mappings[0].deleted = Some(true);
    assert!(difference(&text, &lockless).renamed);
    lockless.source = Source::Lockless;
    assert_eq!(text.diff(&lockless), []);
    assert_eq!(lockless.diff(&text), []);
}

#[test]
fn remapped() {
    let before = snapshot(&format!("10-20 r--p 1000 {LIB}"));
    for line in [
        "10-20 r--p 1000 fe:01 8  /lib/a.so\n",
        "10-20 r--p 1000 fe:02 9  /lib/a.so\n",
        "10-20 r--p 2000 fe:01 9  /lib/a.so\n",
        "10-20 r--p 0 00:00 0 \n",
    ] {
        let difference = difference(&before, &snapshot(line));
        assert!(difference.remapped && !difference.is_resized(), "{line}");
        assert_eq!(difference.flags, 0);
    }
    // Which range an offset is of is not known then.
    let mut unstable = snapshot(&format!("10-20 r--p 2000 {LIB}"));
    unstable.mappings[0].marks.unstable = true;
    assert_eq!(before.diff(&unstable), []);
}

#[test]
fn another_build_id() {
    let mut before = snapshot(&format!("10-20 r-xp 1000 {LIB}"));
    let mut after = before.clone();
    after.mappings[0].build_id = BuildId::Present(vec![1]);
    assert_eq!(before.diff(&after), []);
    before.mappings[0].build_id = BuildId::Present(vec![2]);
    assert!(difference(&before, &after).build_id);
}

#[test]
fn another_page_size_and_key() {
    let mut before = snapshot(&format!("10-20 rw-p 0 {MEMORY}"));
    let mut after = before.clone();
    (after.mappings[0].page_size, after.mappings[0].pkey) = (Some(4096), Some(1));
    assert_eq!(before.diff(&after), []);
    (before.mappings[0].page_size, before.mappings[0].pkey) = (Some(2 << 20), Some(1));
    let page_size = difference(&before, &after);
    assert!(page_size.page_size && !page_size.pkey);
    (before.mappings[0].page_size, before.mappings[0].pkey) = (Some(4096), Some(2));
    let pkey = difference(&before, &after);
    assert!(pkey.pkey && !pkey.page_size);
}

#[test]
fn a_file_is_deleted_whose_path_is_not_known() {
    let mut before = snapshot("10-20 r--p 0 fe:01 9  /lib/a\n");
    before.mappings[0].name = Name::PathTooLong;
    let mut after = before.clone();
    after.mappings[0].deleted = Some(true);
    assert!(difference(&before, &after).renamed);
    after.mappings[0].deleted = None;
    assert_eq!(before.diff(&after), []);
}

#[test]
fn of_a_range_that_is_unknown_nothing_is_told() {
    let before = snapshot(&format!(
        "10-20 r--p 0 {MEMORY}20-30 rw-p 0 {MEMORY}40-50 rw-p 0 {MEMORY}"
    ));
    let mut after = snapshot(&format!("10-20 r--p 0 {MEMORY}60-70 rw-p 0 {MEMORY}"));
    let told = |changes: Vec<Change<'_>>| changes.iter().map(told).collect::<Vec<_>>();
    let removed = |start, end| ('-', Some(start..end), None);
    let added = ('+', None, Some(0x60..0x70));
    let all = [removed(0x20, 0x30), removed(0x40, 0x50), added.clone()];
    assert_eq!(told(before.diff(&after)), all);
    // The first address of the one, none of the other's.
    after.unknown = vec![0x18..0x21, 0x50..0x60];
    assert_eq!(told(before.diff(&after)), [removed(0x40, 0x50), added]);
    // What comes out of it was perhaps there before.
    let back = told(after.diff(&before));
    assert_eq!(back, [('+', None, Some(0x40..0x50)), removed(0x60, 0x70)]);
}

#[test]
fn split_and_merged() {
    let whole = snapshot(&format!("10-40 rw-p 0 {MEMORY}"));
    let parts = snapshot(&format!(
        "10-20 rw-p 0 {MEMORY}20-30 r--p 0 {MEMORY}30-40 rw-p 0 {MEMORY}"
    ));
    for (before, after) in [(&whole, &parts), (&parts, &whole)] {
        let changes = before.diff(after);
        assert_eq!(changes.len(), 3);
        for (change, part) in changes.iter().zip(&parts.mappings) {
            let Change::Changed { difference, .. } = change else {
                panic!("{change:?}");
            };
            assert_eq!(difference.addresses, part.start..part.end);
            // At the addresses of the second part alone something else changed.
            assert_eq!(difference.is_reprotected(), part.start == 0x20);
            assert!(difference.is_resized());
        }
    }
}

#[test]
fn a_boundary_moves() {
    let before = snapshot(&format!("10-20 rw-p 0 {MEMORY}20-30 r--p 0 {MEMORY}"));
    let after = snapshot(&format!("10-24 rw-p 0 {MEMORY}24-30 r--p 0 {MEMORY}"));
    let changes = before.diff(&after);
    let shared: Vec<_> = changes
        .iter()
        .map(|change| match change {
            Change::Changed { difference, .. } => {
                (difference.addresses.clone(), difference.is_reprotected())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [(0x10..0x20, false), (0x20..0x24, true), (0x24..0x30, false)];
    assert_eq!(shared, expected);
}

/// A kind of mapping.
fn mapping((id, range): (u64, Range<u64>)) -> Mapping {
    let line = match id {
        0 => "0-0 rw-p 0 00:00 0 \n",
        1 => "0-0 r--p 0 00:00 0  [anon:a]\n",
        2 => "0-0 r-xp 5000 fe:01 9  /lib/a\n",
        _ => "0-0 r-xp 9000 fe:01 8  /lib/b (deleted)\n",
    };
    let mut mapping = snapshot(line).mappings.remove(0);
    mapping.offset = mapping.offset.map(|offset| offset + range.start);
    (mapping.start, mapping.end, mapping.vma_start) = (range.start, range.end, range.start);
    mapping
}

fn of(mappings: Vec<Mapping>) -> Snapshot {
    let mut of = snapshot("");
    of.mappings = mappings;
    of
}

fn any_kind() -> impl Strategy<Value = u64> {
    0..4_u64
}

/// Mappings in order and apart.
fn strict() -> impl Strategy<Value = Snapshot> {
    let pieces = prop::collection::vec((any_kind(), 0..3_u64, 1..6_u64), 0..12);
    pieces.prop_map(|pieces| {
        let mut at = 0;
        let ranges = pieces.into_iter().map(|(kind, gap, len)| {
            let start = at + gap;
            at = start + len;
            (kind, start..at)
        });
        of(ranges.map(mapping).collect())
    })
}

/// Mappings in any order, empty ones and reversed ones too.
fn any_listing() -> impl Strategy<Value = Snapshot> {
    let range = (0..20_u64, 0..20_u64).prop_map(|(start, end)| start..end);
    let listing = prop::collection::vec((any_kind(), range), 0..12);
    listing.prop_map(|listing| of(listing.into_iter().map(mapping).collect()))
}

proptest! {
    #[test]
    fn a_diff_leads_from_one_to_the_other(before in strict(), after in strict()) {
        let mut patched = before.mappings.clone();
        let changes = before.diff(&after);
        for change in &changes {
            if let Change::Removed(old) | Change::Changed { before: old, .. } = change {
                patched.retain(|mapping| mapping != *old);
            }
        }
        for change in &changes {
            if let Change::Added(new) | Change::Changed { after: new, .. } = change {
                if !patched.contains(new) {
                    patched.push((*new).clone());
                }
            }
        }
        patched.sort_by_key(|mapping| mapping.start);
        prop_assert_eq!(patched, after.mappings);
    }

    #[test]
    fn backwards_it_is_the_reverse(before in strict(), after in strict()) {
        let forth = before.diff(&after);
        let back = after.diff(&before);
        let reversed: Vec<_> = forth.into_iter().map(|change| match change {
            Change::Added(mapping) => Change::Removed(mapping),
            Change::Removed(mapping) => Change::Added(mapping),
            Change::Changed { before, after, difference } =>
                Change::Changed { before: after, after: before, difference },
        }).collect();
        prop_assert_eq!(reversed, back);
    }

    #[test]
    fn any_listings_are_survived(before in any_listing(), after in any_listing()) {
        before.diff(&after);
        let same = before.clone();
        prop_assert_eq!(before.diff(&same), []);
    }
}
