// SPDX-License-Identifier: MIT OR Apache-2.0

//! What ends: a special mapping under `MAP_FIXED` (T6), an address space by execve(2) (T12) and by
//! exit (T13). Each happens once in a process's life.

use super::{
    effect::{EFFECT, Effect, name, rest, torn},
    processes::{Sharers, VdsoReplacer, vdso},
    tally::{Mode, Piece, Tally},
};
use crate::{
    child::Target,
    invariants::Listing,
    raw::{HEADER, Lockless, MAPS, RECORD},
};
use anyhow::{Context, Result, ensure};
use maps_lockless::wire::*;
use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
/// A buffer for one record, which costs less to make.
const ONE_RECORD: usize = HEADER + 2 * RECORD;
/// Processes that are started, unless that takes longer than this.
const ROUNDS: usize = 20;
const TIME: Duration = Duration::from_secs(4);
/// How long to start others, five times as many at least, for an outcome that has not been seen yet.
const TIMEOUT: Duration = Duration::from_secs(30);

const SPECIAL: Effect = Effect {
    name: "T6 MAP_FIXED over [vdso]",
    // However many it has.
    pages: 1,
    show: name,
    outcomes: &[
        rest("Before", "0-1:rx=[vdso]"),
        rest("After", "0-1:r"),
        torn("BeforeWithoutName", "0-1:rx"),
    ],
    ..EFFECT
};

const EXECVE: Effect = Effect {
    name: "T12 execve",
    outcomes: &[
        rest("Old", ""),
        rest("GoneAtOnce", ""),
        torn("OldThenGone", ""),
        torn("OldBatchOverExecve", ""),
        rest("KeptByAnother", ""),
    ],
    ..EFFECT
};

const EXIT: Effect = Effect {
    name: "T13 exit",
    outcomes: &[
        rest("Old", ""),
        rest("GoneAtOnce", ""),
        torn("OldThenGone", ""),
        torn("OldBatchOverExit", ""),
    ],
    ..EFFECT
};

/// Has `round` happen until every outcome was seen. It is told how many there were.
fn rounds(
    effect: &'static Effect,
    mut round: impl FnMut(&mut Tally, usize) -> Result<()>,
) -> Result<()> {
    let mut tally = Tally::new(effect);
    let begin = Instant::now();
    let mut result = Ok(());
    let mut count = 0;
    let mut enough = false;
    while result.is_ok() && !enough {
        result = round(&mut tally, count);
        count += 1;
        let time = begin.elapsed();
        let all = tally.unseen().is_empty() && (count >= ROUNDS || time >= TIME);
        enough = all || (time >= TIMEOUT && count >= 5 * ROUNDS);
    }
    tally.print();
    result.context(effect.name)?;
    tally.finish()
}

pub fn special() -> Result<()> {
    let start = vdso();
    let own = Lockless::open(std::process::id())?.batch_at(MAX, start)?;
    let own = own.vmas()?.first().context("no [vdso]")?.fields;
    ensure!(own.start == start && own.name_kind == MAPS_LOCKLESS_NAME_SPECIAL);
    rounds(&SPECIAL, |tally, _| {
        let process = VdsoReplacer::start(start..own.end)?;
        let start = process.vdso();
        let request = maps_lockless_request {
            start,
            // The first mapping alone.
            end: start + 1,
            ..MAPS
        };
        let file = Lockless::with_request(process.pid(), request)?;
        // Judged afterwards, so that little time is spent between reads.
        let mut batches = vec![file.batch_at(MAX, 0)?];
        process.go();
        while !process.is_done()? {
            batches.push(file.batch_at(ONE_RECORD, 0)?);
        }
        batches.push(file.batch_at(MAX, 0)?);
        for batch in batches {
            let mut listing = Listing::of(start);
            listing.add(batch.bytes())?;
            let vmas = batch.vmas()?;
            let pieces: Vec<_> = vmas.iter().map(|vma| Piece::new(&SPECIAL, vma)).collect();
            let pieces: Vec<_> = pieces.iter().collect();
            tally.listings += 1;
            tally.add(&listing, &pieces, start, Mode::Within)?;
        }
        Ok(())
    })
}

/// Reads from address 0 to the end, in batches of `max_records`, and has `meanwhile` happen after so
/// many of them. Tells the outcome, or nothing where the listing was over before.
fn cut(
    file: &mut Lockless,
    max_records: u32,
    batches: usize,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<Option<&'static str>> {
    file.request(maps_lockless_request {
        max_records,
        ..MAPS
    })?;
    file.seek(0)?;
    let mut listing = Listing::of(0);
    for _ in 0..batches {
        if listing.is_over() {
            return Ok(None);
        }
        listing.add(file.batch(MAX)?.bytes())?;
    }
    let listed = listing.mappings().len();
    meanwhile()?;
    while !listing.is_over() {
        listing.add(file.batch(MAX)?.bytes())?;
    }
    ensure!(file.read(MAX)?.is_none(), "a batch behind the final one");
    // A proved one has no marks.
    listing.proved()?;
    Ok(
        match (listing.is_complete(), listed, listing.mappings().len()) {
            (true, ..) => Some("Old"),
            (false, 0, 0) => Some("GoneAtOnce"),
            // Not one record more.
            (false, before, after) if before == after => Some("OldThenGone"),
            (false, before, after) => {
                anyhow::bail!("{before} records before the end, {after} in all")
            }
        },
    )
}

/// The first batch of a listing: what it must have before and after, and the identity.
#[derive(PartialEq)]
struct First(u64, Vec<String>);

impl First {
    /// Reads it. Nothing where the address space is gone.
    fn read(file: &Lockless) -> Result<Option<Self>> {
        let batch = file.batch_at(MAX, 0)?;
        Listing::of(0).add(batch.bytes())?;
        let header = batch.header()?;
        if header.end_reason == MAPS_LOCKLESS_END_GONE {
            return Ok(None);
        }
        let records = batch.vmas()?;
        let records = records.iter().map(|vma| format!("{:?}", vma.fields));
        Ok(Some(Self(header.mm_id, records.collect())))
    }
}

/// Reads first batches until the address space is gone. `ended` is asked before and after each.
fn until_gone(
    tally: &mut Tally,
    file: &Lockless,
    first: &First,
    over: &str,
    ended: impl Fn() -> Result<bool>,
) -> Result<()> {
    let begin = Instant::now();
    loop {
        ensure!(begin.elapsed() < TIMEOUT, "the address space stays");
        let before = ended()?;
        let Some(batch) = First::read(file)? else {
            tally.see("GoneAtOnce", Mode::Within)?;
            return Ok(());
        };
        ensure!(batch == *first, "not what was mapped before");
        tally.listings += 1;
        match !before && ended()? {
            true => tally.see(over, Mode::Within)?,
            false => tally.see("Old", Mode::Within)?,
        }
    }
}

/// Has a process end its address space, and reads meanwhile.
fn end_meanwhile(
    tally: &mut Tally,
    round: usize,
    start: impl Fn() -> Result<Target>,
    end: impl Fn(&mut Target) -> Result<()>,
) -> Result<()> {
    let mut target = start()?;
    let mut file = Lockless::open(target.pid())?;
    // After no batch, after one and so on, and after all of them.
    match cut(&mut file, 3, round % 12, || end(&mut target))? {
        Some(outcome) => tally.see(outcome, Mode::Between),
        None => Ok(()),
    }
}

pub fn execve() -> Result<()> {
    let mm_id = |pid| -> Result<u64> { Ok(Lockless::open(pid)?.state()?.mm_id) };
    rounds(&EXECVE, |tally, round| {
        end_meanwhile(
            tally,
            round,
            || Target::start("exec"),
            |target| {
                // The new one can be opened a moment before the old one is gone.
                let old = Lockless::open(target.pid())?;
                target.go_on()?;
                while old.state()?.status != MAPS_LOCKLESS_STATUS_GONE {
                    thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            },
        )?;

        let mut target = Target::start("exec")?;
        let file = Lockless::open(target.pid())?;
        let first = First::read(&file)?.context("gone")?;
        target.go_on()?;
        until_gone(tally, &file, &first, "OldBatchOverExecve", || {
            Ok(mm_id(target.pid())? != first.0)
        })?;
        // The new one may be half-made, but is in order.
        Lockless::open(target.pid())?.rest(MAX)?;

        let sharers = Sharers::start()?;
        let mut file = Lockless::open(sharers.pid())?;
        let old = mm_id(sharers.pid())?;
        let outcome = cut(&mut file, 3, 2, || {
            sharers.exec()?;
            while mm_id(sharers.pid())? == old {
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        })?;
        ensure!(
            outcome == Some("Old"),
            "{outcome:?} of a shared address space"
        );
        tally.see("KeptByAnother", Mode::Between)
    })
}

pub fn exit() -> Result<()> {
    rounds(&EXIT, |tally, round| {
        end_meanwhile(
            tally,
            round,
            || Target::start("plain"),
            |target| {
                target.kill()?;
                target.reap().map(drop)
            },
        )?;

        let mut target = Target::start("vmas-1000")?;
        let file = Lockless::open(target.pid())?;
        let first = First::read(&file)?.context("gone")?;
        let reaped = AtomicBool::new(false);
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                until_gone(tally, &file, &first, "OldBatchOverExit", || {
                    Ok(reaped.load(SeqCst))
                })
            });
            thread::sleep(Duration::from_millis(round as u64 % 5));
            target.kill()?;
            target.reap()?;
            reaped.store(true, SeqCst);
            let result = reader.join();
            result.map_err(|_| anyhow::anyhow!("the reader panicked"))?
        })
    })
}
