// SPDX-License-Identifier: MIT OR Apache-2.0

//! A listing comes to its end, and costs little more, where a writer never rests.

use super::Test;
use crate::{
    child::Target,
    invariants::{Listed, Listing},
    raw::Lockless,
    sched::cpu_time,
    shapes::RESTLESS_PAGES,
};
use anyhow::{Context, Result, ensure};
use maps_lockless::{decode::Batch, wire::*};
use std::{io::Read, time::Duration};

const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
/// Mappings that a full batch has at least: no record of a file is longer than a path allows.
const FULL: usize = 15;
/// Listings of each process.
const ROUNDS: usize = 21;
/// How many times the work of a quiet listing is too much. A lookup makes few attempts, and hardly ever more
/// than one.
const RATIO: f64 = 8.0;

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "progress: a listing ends in time against a writer that never rests",
        ends_in_time,
    )]
}

/// What a listing took.
struct Cost {
    reads: u32,
    /// Mappings, and gaps between them.
    ranges: u64,
    withheld: usize,
    unknown: u64,
    moved: bool,
    time: Duration,
}

fn list(target: &Target, buf: &mut [u8]) -> Result<Cost> {
    let mut file = Lockless::open(target.pid())?.0;
    let begin = cpu_time()?;
    let mut batches: Vec<Vec<u8>> = Vec::new();
    loop {
        let len = file.read(buf)?;
        batches.push(buf[..len].to_vec());
        if Batch::parse(&buf[..len])?.is_final() {
            break;
        }
    }
    let time = cpu_time()? - begin;

    let mut listing = Listing::of(0);
    let mut listed = 0;
    for bytes in &batches {
        listing.add(bytes)?;
        let more = listing.mappings().len() + listing.unknown() as usize - listed;
        ensure!(
            listing.is_over() || more >= FULL,
            "a batch of {more} ended early: {:?}",
            Batch::parse(bytes)?.header()
        );
        listed += more;
    }
    // Each took a lookup.
    let mut ranges = listing.unknown();
    let mut end = 0;
    for Listed { vma, .. } in listing.mappings() {
        ranges += 1 + u64::from(vma.start > end);
        end = vma.end;
    }
    let withheld = |one: &&Listed| one.vma.flags & MAPS_LOCKLESS_REC_WITHHELD != 0;
    Ok(Cost {
        reads: batches.len() as u32,
        ranges,
        withheld: listing.mappings().iter().filter(withheld).count(),
        unknown: listing.unknown(),
        moved: listing.proved()?.is_none(),
        time,
    })
}

fn ends_in_time() -> Result<()> {
    let quiet = Target::start(&format!("vmas-{RESTLESS_PAGES}"))?;
    let restless = Target::start("restless")?;
    let mut buf = vec![0; MAX];
    let (mut rested, mut ratios) = (Vec::new(), Vec::new());
    let (mut most_reads, mut most_ranges, mut moved) = (0, 0, 0);
    let (mut withheld, mut unknown) = (0, 0);
    for _ in 0..ROUNDS {
        let one = list(&quiet, &mut buf)?;
        let other = list(&restless, &mut buf)?;
        ratios.push(other.time.as_secs_f64() / one.time.as_secs_f64());
        most_reads = most_reads.max(other.reads);
        most_ranges = most_ranges.max(other.ranges);
        withheld += other.withheld;
        unknown += other.unknown;
        moved += usize::from(other.moved);
        rested.push(one);
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ROUNDS / 2];
    let first = rested.first().context("no listing")?;
    println!(
        "# a quiet listing: {} reads, {} ranges; beside a writer that never rests: {most_reads} reads, \
         {most_ranges} ranges at most, {:.2} times the CPU time ({:.2} to {:.2})",
        first.reads,
        first.ranges,
        ratio,
        ratios[0],
        ratios[ROUNDS - 1],
    );
    println!(
        "# {moved} of {ROUNDS} listings met a change; {withheld} records were withheld, of {unknown} ranges \
         nothing was known"
    );
    ensure!(moved > ROUNDS / 2, "the writer rested");
    // It makes no more mappings than the quiet one has: each page is one at most.
    ensure!(
        most_ranges <= first.ranges + 8 && most_reads <= first.reads + 1,
        "more than the bound"
    );
    ensure!(ratio <= RATIO, "{ratio:.2} times the CPU time");
    Ok(())
}
