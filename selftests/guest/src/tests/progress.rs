// SPDX-License-Identifier: MIT OR Apache-2.0

//! A listing comes to its end, and costs little more, where a writer never rests.

use super::Test;
use crate::{
    child::Target, invariants::Listing, raw::Lockless, sched::cpu_time, shapes::RESTLESS_PAGES,
    trace::Trace,
};
use anyhow::{Context, Result, ensure};
use maps_lockless::{decode::Batch, wire::*};
use std::{io::Read, time::Duration};

const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
/// Records that a full batch has at least: the last one that fits is no longer than a path allows.
const FULL: u32 = 15;
/// Listings of each process.
const ROUNDS: usize = 21;
/// How many times the work of a quiet listing is too much.
const RATIO: f64 = 8.0;
/// The attempts of a lookup, at most.
const ATTEMPTS: u64 = 4;
/// Each attempt is a walk from the root of the maple tree,
const WALK: &str = "mas_walk";
/// by a function whose name has this.
const OURS: &str = "lockless";

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "progress: a listing ends in time against a writer that never rests",
        ends_in_time,
    )]
}

/// What a listing took.
struct Cost {
    reads: u32,
    lookups: u64,
    withheld: usize,
    moved: bool,
    time: Duration,
}

/// All batches of a listing.
fn batches(target: &Target, buf: &mut [u8]) -> Result<Vec<Vec<u8>>> {
    let mut file = Lockless::open(target.pid())?.0;
    let mut batches: Vec<Vec<u8>> = Vec::new();
    loop {
        let len = file.read(buf)?;
        batches.push(buf[..len].to_vec());
        if Batch::parse(&buf[..len])?.is_final() {
            return Ok(batches);
        }
    }
}

fn list(target: &Target, buf: &mut [u8]) -> Result<Cost> {
    let begin = cpu_time()?;
    let batches = batches(target, buf)?;
    let time = cpu_time()? - begin;
    cost(&batches, time)
}

/// What the listing that these batches are took.
fn cost(batches: &[Vec<u8>], time: Duration) -> Result<Cost> {
    let mut listing = Listing::from(0);
    for bytes in batches {
        listing.add(bytes)?;
        let header = *Batch::parse(bytes)?.header();
        ensure!(
            listing.is_over() || header.count >= FULL,
            "a batch ended early: {header:?}"
        );
    }
    // A lookup finds a mapping or a gap, and the next one is of what is behind it.
    let mut lookups = 0;
    let mut end = 0;
    for record in listing.records() {
        lookups += 1 + u64::from(record.start > end);
        end = record.end;
    }
    let withheld = |record: &&maps_lockless_vma| record.flags & MAPS_LOCKLESS_REC_WITHHELD != 0;
    Ok(Cost {
        reads: batches.len() as u32,
        lookups,
        withheld: listing.records().iter().filter(withheld).count(),
        moved: listing.proved()?.is_none(),
        time,
    })
}

fn ends_in_time() -> Result<()> {
    let quiet = Target::start(&format!("vmas-{RESTLESS_PAGES}"))?;
    let restless = Target::start("restless")?;
    let mut buf = vec![0; MAX];
    let (mut rested, mut ratios) = (Vec::new(), Vec::new());
    let (mut most_reads, mut most_lookups, mut withheld, mut moved) = (0, 0, 0, 0);
    for _ in 0..ROUNDS {
        let one = list(&quiet, &mut buf)?;
        let other = list(&restless, &mut buf)?;
        ratios.push(other.time.as_secs_f64() / one.time.as_secs_f64());
        most_reads = most_reads.max(other.reads);
        most_lookups = most_lookups.max(other.lookups);
        withheld += other.withheld;
        moved += usize::from(other.moved);
        rested.push(one);
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ROUNDS / 2];
    let first = rested.first().context("no listing")?;
    println!(
        "# a quiet listing: {} reads, {} lookups; beside a writer that never rests: {most_reads} reads, \
         {most_lookups} lookups at most, {:.2} times the CPU time ({:.2} to {:.2})",
        first.reads,
        first.lookups,
        ratio,
        ratios[0],
        ratios[ROUNDS - 1],
    );
    println!("# {moved} of {ROUNDS} listings met a change; {withheld} records were withheld");
    ensure!(moved > ROUNDS / 2, "the writer rested");
    // It makes no more mappings than the quiet one has: each page is one at most.
    ensure!(
        most_lookups <= first.lookups + 8 && most_reads <= first.reads + 1,
        "more than the bound"
    );
    ensure!(ratio <= RATIO, "{ratio:.2} times the CPU time");

    let quiet = walks(&quiet, &mut buf)?;
    let restless = walks(&restless, &mut buf)?;
    println!(
        "# walks for a lookup: {quiet:.4}; beside a writer that never rests: {restless:.4} at most"
    );
    // A read that has no room for what it found looks it up once more.
    ensure!((0.9..1.1).contains(&quiet), "{quiet:.4} walks for a lookup");
    ensure!(
        restless <= ATTEMPTS as f64 + 0.1,
        "{restless:.4} walks for a lookup"
    );
    Ok(())
}

/// The most walks for a lookup among some listings, as the kernel's tracing sees them.
fn walks(target: &Target, buf: &mut [u8]) -> Result<f64> {
    let trace = Trace::new(&[WALK], &[])?;
    let mut most: f64 = 0.0;
    for _ in 0..ROUNDS / 4 {
        let (batches, events) = trace.record(|| batches(target, buf))?;
        let walks = events.iter().filter(|event| event.text.contains(OURS));
        let cost = cost(&batches, Duration::ZERO)?;
        most = most.max(walks.count() as f64 / cost.lookups as f64);
    }
    Ok(most)
}
