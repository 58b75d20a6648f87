// SPDX-License-Identifier: MIT OR Apache-2.0

//! Follows a model of a process. Whatever happens, what a follower has must be what a whole listing shows.

mod process;

use super::*;
use crate::{
    BuildId, Judge, Judgement, Mapping, Name, Request, Selection, Token,
    build::PAGE,
    listing::Listing,
    wire::{
        MAPS_LOCKLESS_VMA_EXEC, MAPS_LOCKLESS_VMA_FILE, MAPS_LOCKLESS_VMA_READ,
        MAPS_LOCKLESS_VMA_WRITE,
    },
};
use process::{Manner, Op, Process};
use proptest::prelude::*;
use std::{collections::BTreeMap, path::Path, string::ToString, vec::Vec};

const MANNER: Manner = Manner {
    batch: 1000,
    run: 128,
    leaf: 1,
    pause: 1,
};
/// Pages in which the model maps.
const PAGES: u64 = 600;

/// A process with so many VMAs, of which every fourth is behind a gap, and a follower that has them.
fn followed(vmas: u64, request: Request) -> (Process, Kept) {
    let mut process = Process::new(request, MANNER);
    for i in 0..vmas {
        let start = i + i / 4;
        process.run(&Op::Map {
            pages: start..start + 1,
            flags: if i % 2 == 0 {
                MAPS_LOCKLESS_VMA_READ
            } else {
                MAPS_LOCKLESS_VMA_WRITE
            },
            file: (i % 3 == 0).then_some((i % 7) as u8),
        });
    }
    let mut kept = Kept::default();
    assert_eq!(update(&mut process, &mut kept, 1), Update::Proved);
    process.told = 0;
    (process, kept)
}

/// Updates, and checks what can be checked whatever has happened.
fn update(process: &mut Process, kept: &mut Kept, attempts: u32) -> Update {
    let before = process.vmas.clone();
    let (count, proved) = (process.count, kept.proved.clone());
    process.seen.clear();
    process.see();
    let mut tries = Tries::new(attempts, Duration::MAX);
    let update = kept.update(process, &mut tries).unwrap();
    match update {
        Update::Same | Update::Proved => {
            assert!(kept.unproved.is_none());
            let kept = kept.proved.as_ref().unwrap();
            assert_eq!(kept.token, Some(process.token()));
            assert_eq!(kept.mappings, process.whole().snapshot.mappings);
            assert!(kept.unknown.is_empty() && kept.torn.is_empty());
            // As a capture will judge it.
            let mut judge = Judge::default();
            kept.evidence.iter().for_each(|batch| judge.add(batch));
            assert_eq!(
                (judge.judgement(), judge.token()),
                (Judgement::Consistent, kept.token)
            );
        }
        Update::Unproved => {
            assert_eq!(kept.proved, proved, "the proved one is kept");
            let unproved = kept.unproved.as_ref().unwrap();
            assert!(unproved.token.is_none() && !unproved.is_consistent());
            assert!(is_strict(&unproved.mappings));
            plausible(process, &before, count, unproved);
        }
    }
    update
}

/// Whether a mapping is a VMA, or a part of it.
fn is_part(mapping: &Mapping, start: u64, vma: &process::Vma) -> bool {
    let build_id = match &mapping.build_id {
        BuildId::Present(id) => id.first().copied(),
        _ => None,
    };
    mapping.flags.set == vma.all_flags()
        && build_id == vma.file
        && start <= mapping.start
        && mapping.end <= vma.end
}

/// What is not proved has each VMA that did not change, and nothing that there never was.
fn plausible(process: &Process, before: &BTreeMap<u64, process::Vma>, count: u64, read: &Snapshot) {
    for mapping in &read.mappings {
        let mut seen = process.seen.iter();
        assert!(
            seen.any(|(start, vma)| is_part(mapping, *start, vma)),
            "{mapping:x?} never was"
        );
    }
    let selection = process.request.selection;
    for (start, vma) in before {
        let rested = vma.stamp <= count && process.vmas.get(start) == Some(vma);
        let whole = selection.start <= *start && (selection.end == 0 || *start < selection.end);
        let unknown = read.unknown.iter();
        let hidden = unknown
            .clone()
            .any(|range| range.start < vma.end && *start < range.end);
        if !rested || !whole || hidden {
            continue;
        }
        let flags = vma.all_flags();
        let wanted = flags & selection.all == selection.all
            && flags & selection.none == 0
            && (selection.any == 0 || flags & selection.any != 0);
        let found = read.mappings.iter().find(|mapping| mapping.start == *start);
        assert_eq!(
            found.is_some_and(|found| is_part(found, *start, vma)),
            wanted,
            "{start:x} {vma:x?}"
        );
    }
}

fn map(pages: core::ops::Range<u64>) -> Op {
    let (flags, file) = (MAPS_LOCKLESS_VMA_EXEC, None);
    Op::Map { pages, flags, file }
}

#[test]
fn what_rests_is_not_read() {
    let (mut process, mut kept) = followed(300, Request::default());
    assert_eq!(update(&mut process, &mut kept, 1), Update::Same);
    assert_eq!(process.told, 0);
    // The count alone has moved: all but the gate is unchanged.
    process.run(&Op::Nothing);
    assert_eq!(update(&mut process, &mut kept, 1), Update::Proved);
    assert_eq!(process.told, 1);
}

#[test]
fn a_change_costs_what_has_changed() {
    let (mut process, mut kept) = followed(400, Request::default());
    process.run(&map(7..8));
    assert_eq!(update(&mut process, &mut kept, 1), Update::Proved);
    assert_eq!(process.told, 2, "the VMA and the gate");
    // One that is gone costs the run that it was in.
    process.told = 0;
    process.run(&Op::UnmapOne(200));
    assert_eq!(update(&mut process, &mut kept, 1), Update::Proved);
    assert!((100..=129).contains(&process.told), "{}", process.told);
}

#[test]
fn mappings_are_moved() {
    let (mut process, mut kept) = followed(300, Request::default());
    let names = |kept: &Kept| {
        let mappings = kept.proved.as_ref().unwrap().mappings.iter();
        let files = mappings.filter_map(|mapping| match &mapping.name {
            Name::Path { path, .. } => Some((mapping.start, path.as_ptr())),
            _ => None,
        });
        files.collect::<BTreeMap<_, _>>()
    };
    let before = names(&kept);
    process.run(&map(7..8));
    assert_eq!(update(&mut process, &mut kept, 1), Update::Proved);
    let after = names(&kept);
    let same = before
        .iter()
        .filter(|(start, path)| after.get(start) == Some(path));
    assert!(same.count() >= before.len() - 1);
}

#[test]
fn what_could_not_be_proved_keeps_what_is() {
    let (mut process, mut kept) = followed(300, Request::default());
    let proved = kept.proved.clone().unwrap();
    process.run(&Op::UnmapOne(3));
    process.due.push_back(Op::UnmapOne(290));
    assert_eq!(update(&mut process, &mut kept, 1), Update::Unproved);
    assert_eq!(kept.proved.as_ref(), Some(&proved));
    // Another attempt proves it, and what has changed since the proved one is found.
    process.due.push_back(map(10..11));
    assert_eq!(update(&mut process, &mut kept, 2), Update::Proved);
    assert_eq!(
        kept.proved.as_ref().unwrap().mappings.len(),
        proved.mappings.len() - 2
    );
}

/// The listing of what has changed is proved, but what is read again is of another moment.
#[test]
fn a_range_that_is_read_again_must_be_of_the_same_moment() {
    let (mut process, mut kept) = followed(100, Request::default());
    process.manner.pause = 3;
    process.run(&Op::UnmapOne(3));
    // The first listing has two records: a run and the gate.
    process.due.push_back(Op::UnmapOne(50));
    assert_eq!(
        update(&mut process, &mut kept, 1),
        Update::Proved,
        "by a whole listing"
    );
    assert!(process.due.is_empty());
    // The gate, what was read again, and everything.
    assert_eq!(process.told, 1 + 98 + 99);
}

/// What is read again grows over what was listed behind it.
#[test]
fn what_is_not_proved_does_not_overlap() {
    let (mut process, mut kept) = followed(100, Request::default());
    process.manner.run = 20;
    process.run(&Op::UnmapOne(3));
    // Five runs are listed, and the first is read again.
    process.due.extend([const { Op::Nothing }; 5]);
    process.due.push_back(map(2..90));
    assert_eq!(update(&mut process, &mut kept, 1), Update::Unproved);
    assert!(process.due.is_empty());
    let unproved = kept.unproved.as_ref().unwrap();
    assert_eq!(unproved.judgement, Judgement::PossiblyTorn);
    assert!(
        unproved
            .find(2 * PAGE)
            .is_some_and(|mapping| mapping.flags.set == MAPS_LOCKLESS_VMA_EXEC)
    );
}

#[test]
fn a_kernel_that_cannot_tell_is_read_whole() {
    let (mut process, mut kept) = followed(100, Request::default());
    process.old = true;
    process.run(&map(7..8));
    assert_eq!(update(&mut process, &mut kept, 1), Update::Proved);
    assert_eq!(process.told, 101);
}

/// `MAPS_LOCKLESS_VMA_MAYBE_GUARD` is set without a stamp, so that a request may find more than the earlier listing.
#[test]
fn more_than_there_can_be_is_read_whole() {
    let mut request = Request::default();
    request.selection.all = MAPS_LOCKLESS_VMA_READ;
    let (mut process, mut kept) = followed(100, request);
    let guarded = process.vmas.values_mut().nth(5).unwrap();
    assert_eq!(guarded.flags & MAPS_LOCKLESS_VMA_READ, 0);
    guarded.flags |= MAPS_LOCKLESS_VMA_READ;
    process.run(&map(200..201));
    assert_eq!(update(&mut process, &mut kept, 1), Update::Proved);
}

#[test]
fn all_is_read_if_asked_for() {
    let (mut process, mut kept) = followed(100, Request::default());
    // No count tells that.
    process.vmas.values_mut().next().unwrap().file = Some(99);
    let mut tries = Tries::new(1, Duration::MAX);
    assert_eq!(kept.update(&mut process, &mut tries).unwrap(), Update::Same);
    let listing = process.whole().snapshot.mappings;
    assert_ne!(kept.proved.as_ref().unwrap().mappings, listing);
    assert_eq!(
        kept.refresh(&mut process, &mut tries).unwrap(),
        Update::Proved
    );
    assert_eq!(kept.proved.as_ref().unwrap().mappings, listing);
}

/// Else what the change count does not cover would be told, and taken back by the next update.
#[test]
fn all_is_read_until_it_is_proved() {
    let (mut process, mut kept) = followed(300, Request::default());
    process.vmas.values_mut().next().unwrap().file = Some(99);
    process.due.push_back(Op::UnmapOne(290));
    let mut tries = Tries::new(1, Duration::MAX);
    assert_eq!(
        kept.refresh(&mut process, &mut tries).unwrap(),
        Update::Unproved
    );
    assert_eq!(update(&mut process, &mut kept, 1), Update::Proved);
    let listing = process.whole().snapshot.mappings;
    assert_eq!(kept.proved.as_ref().unwrap().mappings, listing);
}

#[test]
fn an_address_space_that_is_gone_is_an_error() {
    let (mut process, mut kept) = followed(100, Request::default());
    let mut tries = Tries::new(3, Duration::MAX);
    process.gone = true;
    for _ in 0..2 {
        let error = kept.update(&mut process, &mut tries).unwrap_err();
        assert!(error.is_exited());
        assert!(error.to_string().contains("/proc/7/maps_lockless"));
        assert!(
            kept.refresh(&mut process, &mut tries)
                .unwrap_err()
                .is_exited()
        );
    }
    assert!(kept.proved.is_some());
}

/// A monitor may ask with the token of a program that ran before.
#[test]
fn another_address_space_is_read_whole() {
    let (mut process, mut kept) = followed(100, Request::default());
    process.mm_id = 9;
    process.vmas.retain(|start, _| *start > 50 * PAGE);
    let earlier = kept.proved.as_ref().unwrap();
    let mut tries = Tries::new(1, Duration::MAX);
    match read_changes(&mut process, earlier, &mut tries).unwrap() {
        Reading::Changes(changes) => assert!(changes.is_whole() && changes.is_proved()),
        Reading::Whole(_) => {}
    }
    assert_eq!(update(&mut process, &mut kept, 1), Update::Proved);
}

/// A kernel that tells a VMA that overlaps an unchanged range.
struct Liar {
    process: Process,
    lies: bool,
}

impl Lister for Liar {
    fn changed_since(&self, token: &Token) -> Result<bool, Error> {
        self.process.changed_since(token)
    }

    fn list(&mut self, ask: &Ask) -> Result<Listing, Error> {
        let mut listing = self.process.list(ask)?;
        if ask.since.is_some() && self.lies {
            let changed = &mut listing.snapshot.mappings;
            changed[0].start -= 20 * PAGE;
        }
        Ok(listing)
    }

    fn path(&self) -> &Path {
        self.process.path()
    }
}

#[test]
fn what_overlaps_is_read_whole_though_it_is_proved() {
    for lies in [false, true] {
        let (mut process, mut kept) = followed(100, Request::default());
        process.run(&map(50..51));
        let mut liar = Liar { process, lies };
        let mut tries = Tries::new(1, Duration::MAX);
        let update = kept.update(&mut liar, &mut tries).unwrap();
        assert_eq!(update, Update::Proved);
        let listing = liar.process.whole().snapshot.mappings;
        assert_eq!(kept.proved.as_ref().unwrap().mappings, listing);
        assert_eq!(liar.process.told > 100, lies);
    }
}

/// Runs of pages, most of them short.
fn pages() -> impl Strategy<Value = core::ops::Range<u64>> {
    let len = prop_oneof![4 => 1..4_u64, 1 => 1..80_u64];
    (0..PAGES, len).prop_map(|(start, len)| start..start + len)
}

fn flags() -> impl Strategy<Value = u64> {
    prop::sample::select(std::vec![
        MAPS_LOCKLESS_VMA_READ,
        MAPS_LOCKLESS_VMA_WRITE,
        MAPS_LOCKLESS_VMA_READ | MAPS_LOCKLESS_VMA_WRITE,
        MAPS_LOCKLESS_VMA_EXEC,
    ])
}

fn op() -> impl Strategy<Value = Op> {
    let file = prop::option::weighted(0.4, 0..3_u8);
    prop_oneof![
        6 => (pages(), flags(), file).prop_map(|(pages, flags, file)| Op::Map { pages, flags, file }),
        3 => pages().prop_map(Op::Unmap),
        6 => (0..500_usize).prop_map(Op::UnmapOne),
        4 => (pages(), flags()).prop_map(|(pages, flags)| Op::Protect { pages, flags }),
        1 => Just(Op::Fork),
        1 => Just(Op::Nothing),
        1 => Just(Op::Age),
    ]
}

fn manner() -> impl Strategy<Value = Manner> {
    let batch = prop_oneof![1..4_usize, 5..300_usize];
    let run = prop_oneof![1..5_usize, Just(128_usize)];
    (batch, run, 1..9_usize, 1..12_usize).prop_map(|(batch, run, leaf, pause)| Manner {
        batch,
        run,
        leaf,
        pause,
    })
}

fn selection() -> impl Strategy<Value = Selection> {
    let flag = || prop_oneof![3 => Just(0), 1 => flags(), 1 => Just(MAPS_LOCKLESS_VMA_FILE)];
    // Not all at the beginning of a page.
    let range = prop_oneof![
        2 => Just((0, 0)),
        1 => (0..PAGES * PAGE, 1..PAGES * PAGE).prop_map(|(start, len)| (start, start + len)),
    ];
    (flag(), flag(), flag(), range).prop_map(|(all, any, none, (start, end))| Selection {
        all,
        any,
        none,
        start,
        end,
    })
}

/// What happens before an update, and during it.
#[derive(Clone, Debug)]
struct Round {
    before: Vec<Op>,
    during: Vec<Op>,
    attempts: u32,
    unknown: bool,
    manner: Manner,
}

fn round() -> impl Strategy<Value = Round> {
    let before = prop::collection::vec(op(), 0..6);
    let during = prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(op(), 1..6)];
    (before, during, 1..4_u32, any::<bool>(), manner()).prop_map(
        |(before, during, attempts, unknown, manner)| Round {
            before,
            during,
            attempts,
            unknown,
            manner,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn a_follower_has_what_a_whole_listing_shows(
        vmas in prop_oneof![0..20_u64, 150..400_u64],
        selection in selection(),
        rounds in prop::collection::vec(round(), 1..12),
    ) {
        let request = Request { selection, ..Request::default() };
        let (mut process, mut kept) = followed(vmas, request);
        for round in rounds {
            round.before.iter().for_each(|op| process.run(op));
            process.manner = round.manner;
            process.unknown = round.unknown;
            process.due = round.during.into();
            update(&mut process, &mut kept, round.attempts);
            // What did not happen meanwhile happens now.
            for op in core::mem::take(&mut process.due) {
                process.run(&op);
            }
        }
        // Once it rests, all is proved.
        let last = update(&mut process, &mut kept, 1);
        prop_assert!(last != Update::Unproved);
    }
}
