// SPDX-License-Identifier: MIT OR Apache-2.0

//! What stays mapped is never shown as a gap, though a boundary beside it moves and what is beyond the boundary
//! is unmapped at once.

use super::{Test, sum_of_readers};
use crate::{
    child::Target,
    gap::{PLACES, Way, middle, place},
    invariants::Listing,
    raw::{Lockless, RANGES, SMALLEST},
    rng::Rng,
    sched,
    shapes::PAGE,
};
use anyhow::{Context, Result, ensure};
use maps_lockless::wire::*;
use std::{
    ops::Range,
    time::{Duration, Instant},
};

const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
/// How long each way is read at least,
const TIME: Duration = Duration::from_secs(10);
/// and, on a slow machine, at most: so many lookups must be made, too.
const TIMEOUT: Duration = Duration::from_secs(60);
const LOOKUPS: u64 = 50_000;
/// The process's CPU, and that of the readers, which preempt each other there.
const WRITER_CPU: usize = 0;
const READER_CPU: usize = 1;
const READERS: usize = 3;
/// One lookup in so many may find that nothing is known.
const FEW: u64 = 10_000;

pub(super) fn tests() -> Vec<Test> {
    let test = |name: &str, way| Test::new(format!("gap: {name}"), move || stays(way));
    vec![
        test(
            "a half that is merged into the mapping above stays listed",
            Way::MergedUp,
        ),
        test(
            "a half that is merged into the mapping below stays listed",
            Way::MergedDown,
        ),
        test(
            "what is left where the lower half is unmapped stays listed",
            Way::CutBelow,
        ),
        test(
            "what is left where the upper half is unmapped stays listed",
            Way::CutAbove,
        ),
    ]
}

/// What a reader counts.
#[derive(Default)]
struct Seen {
    /// Lookups: by pread(2), or mappings and unknown ranges of a listing.
    lookups: u64,
    /// Pages that stay mapped, and are in no record.
    misses: u64,
    /// Records that say that nothing is known.
    unknown: u64,
    /// Mappings in the middle as they are while whole,
    whole: u64,
    /// and their remaining halves, alone or with a neighbour.
    half: u64,
}

impl Seen {
    /// Counts what a listing has of a place, whose pages `stays` must be in it.
    fn add(&mut self, listing: &Listing, stays: Range<u64>) {
        if let Err(broken) = listing.covers(stays) {
            if self.misses == 0 {
                println!("# {broken}: {listing:x?}");
            }
            self.misses += 1;
        }
    }

    /// Counts the states that a listing shows of the place that begins at `start`.
    fn states(&mut self, listing: &Listing, start: u64) {
        let middle = middle(start);
        for listed in listing.mappings() {
            let (begin, end) = (listed.vma.vma_start, listed.vma.end);
            if begin <= middle.start && end >= middle.end {
                self.whole += 1;
            } else if begin < middle.end && end > middle.start {
                self.half += 1;
            }
        }
    }

    fn counts(&self) -> [u64; 5] {
        [
            self.lookups,
            self.misses,
            self.unknown,
            self.whole,
            self.half,
        ]
    }
}

fn stays(way: Way) -> Result<()> {
    let target = Target::start(&format!("gap-{way}"))?;
    sched::pin(target.pid(), WRITER_CPU)?;
    let arena = u64::from_str_radix(&target.said, 16).context("where the places are")?;
    let [lookups, misses, unknown, whole, half] = sum_of_readers(READERS, |number| {
        sched::pin(sched::THIS, READER_CPU)?;
        let seen = match number {
            0 => list(target.pid(), way, arena)?,
            _ => look_up(target.pid(), way, arena, number as u64)?,
        };
        Ok(seen.counts())
    })?;
    println!(
        "# {way}: {lookups} lookups, {misses} misses, {unknown} unknown ({:.1} in a million); {whole} times the \
         whole was seen, {half} times a half",
        1e6 * unknown as f64 / lookups as f64
    );
    ensure!(misses == 0, "{misses} times a mapped page was in no record");
    ensure!(whole > 0 && half > 0, "only one state was seen");
    ensure!(unknown * FEW < lookups, "too often nothing is known");
    Ok(())
}

/// Whether a reader has read enough.
fn is_over(begin: Instant, seen: &Seen) -> bool {
    let time = begin.elapsed();
    time >= TIMEOUT || (time >= TIME && seen.lookups >= LOOKUPS / READERS as u64)
}

/// Looks up pages that stay mapped, at random.
fn look_up(pid: u32, way: Way, arena: u64, number: u64) -> Result<Seen> {
    const PAGES: u64 = PAGE as u64;
    let request = maps_lockless_request {
        max_records: 1,
        ..RANGES
    };
    let file = Lockless::with_request(pid, request)?;
    let mut rng = Rng::new(number);
    let mut seen = Seen::default();
    let begin = Instant::now();
    while !is_over(begin, &seen) {
        let start = place(arena, rng.below(PLACES as u64) as usize);
        // Mostly what has been in the middle, which is the one that changes.
        let all = way.stays(start);
        let middle = middle(start);
        let mut within = all
            .iter()
            .map(|part| part.start.max(middle.start)..part.end.min(middle.end));
        let changes = within.find(|part| part.start < part.end);
        let part = match rng.below(8) {
            0 => all[rng.below(2) as usize].clone(),
            _ => changes.context("nothing of it stays")?,
        };
        let address = part.start + rng.below((part.end - part.start) / PAGES) * PAGES;
        let owned = file.batch_at(SMALLEST, address)?;
        let mut listing = Listing::from(address);
        listing.add(owned.bytes())?;
        seen.lookups += 1;
        seen.unknown += listing.unknown();
        seen.add(&listing, address..address + PAGES);
        seen.states(&listing, start);
    }
    Ok(seen)
}

/// Lists all places.
fn list(pid: u32, way: Way, arena: u64) -> Result<Seen> {
    let request = maps_lockless_request {
        start: arena,
        end: place(arena, PLACES),
        ..RANGES
    };
    let file = Lockless::with_request(pid, request)?;
    let mut seen = Seen::default();
    let begin = Instant::now();
    while !is_over(begin, &seen) {
        let owned = file.batch_at(MAX, 0)?;
        ensure!(owned.is_final(), "it takes more than a batch");
        let mut listing = Listing::of(arena);
        listing.add(owned.bytes())?;
        seen.lookups += listing.mappings().len() as u64 + listing.unknown();
        seen.unknown += listing.unknown();
        for number in 0..PLACES {
            let start = place(arena, number);
            for stays in way.stays(start) {
                seen.add(&listing, stays);
            }
            seen.states(&listing, start);
        }
    }
    Ok(seen)
}
