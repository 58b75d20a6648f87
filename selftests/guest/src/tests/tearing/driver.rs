// SPDX-License-Identifier: MIT OR Apache-2.0

//! Has a process change and reads meanwhile: between batches, where it is certain what is seen, and on
//! two CPUs at once, where it is not.

use super::{
    effect::{Arena, Effect},
    mutator::{Drive, HEAP_BELOW, Mutator},
    tally::{Mode, Piece, Tally},
};
use crate::{
    invariants::Listing,
    raw::{FILE_FIELDS, FILE_RECORD, HEADER, Lockless, MAPS, RECORD},
    shapes::PAGE,
};
use anyhow::{Context, Result, ensure};
use maps_lockless::wire::*;
use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
/// More than CPUs, so that some are preempted within a lookup.
const READERS: usize = 3;
/// A buffer that has room for one mapping with a short name and no file's record, and not for two without.
const ONE_RECORD: usize = HEADER + RECORD + 64;
/// The same for mappings of files, with their records.
const ONE_WITH_FILE: usize = ONE_RECORD + FILE_RECORD;
/// How long to read at least,
const TIME: Duration = Duration::from_millis(1000);
/// and at most, for an outcome that has not been seen yet. The clock of an emulated machine may run far
/// too fast: so many listings must be made, too.
const TIMEOUT: Duration = Duration::from_secs(30);
const LISTINGS: u64 = 3000;

/// What is read of places, and the pages that stay between them.
struct Window {
    file: Lockless,
    /// Bytes of a buffer.
    size: usize,
    start: u64,
}

/// What was read.
struct Seen {
    listing: Listing,
    pieces: Vec<Piece>,
    /// Ranges of which nothing is known.
    unknown: Vec<Range<u64>>,
}

impl Window {
    /// Of so many places, with a buffer of so many bytes. A batch has `max_records`, or as many as
    /// have room. Files are told where the effect shows them, or there is room for many.
    fn new(
        effect: &Effect,
        mutator: &Mutator,
        places: usize,
        size: usize,
        max_records: u32,
    ) -> Result<Self> {
        let base = mutator.shared.base.load(SeqCst);
        let (below, behind) = match effect.arena {
            Arena::Mapped => (PAGE, PAGE),
            Arena::Heap => (HEAP_BELOW * PAGE, 0),
            Arena::Stack => (0, 0),
        };
        let end = base + (places - 1) * effect.stride() + effect.pages * PAGE + behind;
        let files = match effect.files || size == MAX {
            true => FILE_FIELDS,
            false => 0,
        };
        let request = maps_lockless_request {
            fields_wanted: MAPS.fields_wanted & (!FILE_FIELDS | files),
            start: (base - below) as u64,
            end: end as u64,
            max_records,
            ..MAPS
        };
        Ok(Self {
            file: Lockless::with_request(mutator.pid(), request)?,
            size,
            start: request.start,
        })
    }

    /// Lists them, and has `meanwhile` happen after `batches`. Nothing where it was over before.
    fn list(
        &mut self,
        effect: &Effect,
        batches: usize,
        meanwhile: impl FnOnce() -> Result<()>,
    ) -> Result<Option<Seen>> {
        let mut seen = Seen {
            listing: Listing::of(self.start),
            pieces: Vec::new(),
            unknown: Vec::new(),
        };
        self.file.seek(0)?;
        let mut read = |seen: &mut Seen| {
            let batch = self.file.batch(self.size)?;
            seen.listing.add(batch.bytes())?;
            let vmas = batch.vmas()?;
            seen.pieces
                .extend(vmas.iter().map(|vma| Piece::new(effect, vma)));
            for range in batch.batch()?.unknown() {
                seen.unknown.push(range?);
            }
            anyhow::Ok(())
        };
        for _ in 0..batches {
            if seen.listing.is_over() {
                return Ok(None);
            }
            read(&mut seen)?;
        }
        meanwhile()?;
        while !seen.listing.is_over() {
            read(&mut seen)?;
        }
        ensure!(seen.listing.is_complete(), "the mutator ended");
        Ok(Some(seen))
    }
}

/// The pieces of a place. The pages beside it that stay mapped must be there. [`None`] where nothing is known
/// of a part of it all.
fn of_place<'a>(effect: &Effect, seen: &'a Seen, start: u64) -> Result<Option<Vec<&'a Piece>>> {
    let page = PAGE as u64;
    let end = start + (effect.pages * PAGE) as u64;
    let pieces = &seen.pieces;
    let stay = match effect.arena {
        Arena::Mapped => vec![start - page, end],
        Arena::Heap => (1..=HEAP_BELOW as u64).map(|i| start - i * page).collect(),
        Arena::Stack => Vec::new(),
    };
    let all = stay.iter().copied().min().unwrap_or(start).min(start)..end + page;
    let meets = |range: &Range<u64>| range.start < all.end && range.end > all.start;
    if seen.unknown.iter().any(meets) {
        return Ok(None);
    }
    for stays in stay {
        let there = pieces.iter().any(|piece| match effect.arena {
            // The heap's last page below may be one mapping with what is in the place.
            Arena::Heap => piece.start <= stays && piece.end >= stays + page,
            _ => (piece.start, piece.end) == (stays, stays + page),
        });
        ensure!(
            there,
            "{stays:x}, which stays mapped, is missing: {pieces:x?}"
        );
    }
    let within = |piece: &&Piece| piece.start < end && piece.end > start;
    Ok(Some(pieces.iter().filter(within).collect()))
}

/// The change after each of the listing's batches, which have one mapping each.
fn between_batches(effect: &'static Effect, tally: &mut Tally) -> Result<()> {
    let mutator = Mutator::start(effect, Drive::ByHand)?;
    let base = mutator.shared.base.load(SeqCst) as u64;
    // A batch that has what was asked for ends at once, one without room behind the gap that follows.
    let one = match effect.files {
        true => ONE_WITH_FILE,
        false => ONE_RECORD,
    };
    for (size, max_records) in [(MAX, 1), (one, 0)] {
        for batches in 0.. {
            mutator.reset()?;
            let mut window = Window::new(effect, &mutator, 1, size, max_records)?;
            at_rest(effect, &mut window)?;
            let listed = window.list(effect, batches, || mutator.change())?;
            let Some(seen) = listed else {
                break;
            };
            let pieces = of_place(effect, &seen, base)?;
            let pieces =
                pieces.context("nothing changes during a read, and something is unknown")?;
            tally.add(&seen.listing, &pieces, base, Mode::Between)?;
            at_rest(effect, &mut window)?;
        }
    }
    Ok(())
}

/// Between changes, listings have the same token and show the same.
fn at_rest(effect: &Effect, window: &mut Window) -> Result<()> {
    let mut list = || {
        window
            .list(effect, 0, || Ok(()))?
            .context("over before it began")
    };
    let (first, second) = (list()?.listing, list()?.listing);
    ensure!(
        first.agrees(&second)?,
        "at rest: {first:?}, then {second:?}"
    );
    Ok(())
}

/// Readers and the mutator at once, until every outcome has been seen.
fn within_a_batch(effect: &'static Effect, tally: &mut Tally) -> Result<()> {
    let mutator = Mutator::start(effect, Drive::Free)?;
    let shared = Mutex::new(tally);
    let stop = AtomicBool::new(false);
    let lock = || {
        shared
            .lock()
            .map_err(|_| anyhow::anyhow!("a reader panicked"))
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut window = Window::new(effect, &mutator, effect.places(), MAX, 0)?;
                    let mut earlier: Option<Listing> = None;
                    while !stop.load(SeqCst) {
                        let (listing, samples, unknown) = sample(effect, &mutator, &mut window)?;
                        let agrees = match &earlier {
                            Some(earlier) => earlier.agrees(&listing)?,
                            None => false,
                        };
                        let mut tally = lock()?;
                        tally.listings += 1;
                        tally.agreed += u64::from(agrees);
                        tally.unknown += unknown;
                        tally.left_out += (effect.places() - samples.len()) as u64 - unknown;
                        for (base, pieces) in samples {
                            let pieces: Vec<_> = pieces.iter().collect();
                            tally.add(&listing, &pieces, base, Mode::Within)?;
                        }
                        earlier = Some(listing);
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        let begin = Instant::now();
        let mut enough = false;
        while !enough && !readers.iter().any(|reader| reader.is_finished()) {
            thread::sleep(Duration::from_millis(20));
            let time = begin.elapsed();
            enough = lock().is_ok_and(|tally| {
                let all = time >= TIME && tally.unseen().is_empty() && tally.agreed > 0;
                all || (time >= TIMEOUT && tally.listings >= LISTINGS)
            });
        }
        stop.store(true, SeqCst);
        for reader in readers {
            let result = reader.join();
            result.map_err(|_| anyhow::anyhow!("a reader panicked"))??;
        }
        anyhow::Ok(())
    })?;
    let failed = mutator.shared.failed.load(SeqCst);
    ensure!(!failed, "the mutator could not do what it was to do");
    Ok(())
}

/// Lists a window once. Returns the places that were not made anew meanwhile, and their pieces; and of how many
/// places something is unknown.
#[expect(clippy::type_complexity, reason = "said once")]
fn sample(
    effect: &Effect,
    mutator: &Mutator,
    window: &mut Window,
) -> Result<(Listing, Vec<(u64, Vec<Piece>)>, u64)> {
    let epochs = &mutator.shared.epochs[..effect.places()];
    let load = || -> Vec<u32> { epochs.iter().map(|epoch| epoch.load(SeqCst)).collect() };
    let before = load();
    let listed = window.list(effect, 0, || Ok(()))?;
    let seen = listed.context("over before it began")?;
    let after = load();
    let base = mutator.shared.base.load(SeqCst);
    let (mut samples, mut unknown) = (Vec::new(), 0);
    for (place, epoch) in before.iter().enumerate() {
        let start = (base + place * effect.stride()) as u64;
        let Some(pieces) = of_place(effect, &seen, start)? else {
            unknown += 1;
            continue;
        };
        if *epoch == after[place] && epoch % 2 == 0 {
            samples.push((start, pieces.into_iter().cloned().collect()));
        }
    }
    Ok((seen.listing, samples, unknown))
}

/// Shows an effect in both ways, and prints what was seen how often.
pub fn show(effect: &'static Effect) -> Result<()> {
    let mut tally = Tally::new(effect);
    let result = between_batches(effect, &mut tally)
        .and_then(|()| within_a_batch(effect, &mut tally))
        .with_context(|| effect.name);
    tally.print();
    result?;
    ensure!(tally.agreed > 0, "no token was seen twice");
    tally.finish()
}
