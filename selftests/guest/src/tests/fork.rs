// SPDX-License-Identifier: MIT OR Apache-2.0

//! fork(2) locks each mapping of the parent and changes none: it marks none, and a selection does not list what
//! is not wanted because of it.

use super::Test;
use crate::{
    child::Target,
    invariants::Listing,
    raw::{Lockless, MAPS},
    shapes::PAGE,
};
use anyhow::{Context, Result, ensure};
use maps_lockless::wire::*;
use std::time::{Duration, Instant};

const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
/// Mappings, every other one of which may be written.
const VMAS: usize = 2000;
/// How long each process is read.
const TIME: Duration = Duration::from_secs(5);
/// One record in so many may be what it should not be.
const FEW: u64 = 100;

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "fork: marks nothing, and lists nothing that is not wanted",
        marks_nothing,
    )]
}

/// What was seen of a process.
#[derive(Debug, Default)]
struct Seen {
    batches: u64,
    /// Those that met a change of the count.
    moved: u64,
    records: u64,
    unstable: u64,
    withheld: u64,
    /// Records of what was not asked for.
    unwanted: u64,
}

impl Seen {
    fn print(&self, what: &str) {
        let share = |count: u64| 100.0 * count as f64 / self.records.max(1) as f64;
        println!(
            "# {what}: {} of {} batches met a change; of {} records {:.3} % are unstable, {:.3} % withheld, {:.3} % not \
             asked for",
            self.moved,
            self.batches,
            self.records,
            share(self.unstable),
            share(self.withheld),
            share(self.unwanted)
        );
    }
}

/// Lists a process's mappings that have all of some flags, for a while.
fn read(target: &Target, flags: u64) -> Result<Seen> {
    let start = u64::from_str_radix(&target.said, 16).context("where its mappings are")?;
    let request = maps_lockless_request {
        fields_wanted: MAPS_LOCKLESS_FIELD_RANGE | MAPS_LOCKLESS_FIELD_FLAGS,
        vma_flags_all: flags,
        start,
        end: start + (VMAS * PAGE) as u64,
        ..MAPS
    };
    let mut file = Lockless::with_request(target.pid(), request)?;
    let mut seen = Seen::default();
    let begin = Instant::now();
    while begin.elapsed() < TIME {
        file.seek(0)?;
        let mut listing = Listing::of(start);
        while !listing.is_over() {
            let owned = file.batch(MAX)?;
            listing.add(owned.bytes())?;
            let header = owned.header()?;
            seen.batches += 1;
            seen.moved +=
                u64::from(header.seq_begin != header.seq_end || header.seq_begin % 2 != 0);
            for vma in owned.vmas()? {
                let fields = vma.fields;
                let has = |mark| u64::from(fields.flags & mark != 0);
                seen.records += 1;
                seen.unstable += has(MAPS_LOCKLESS_REC_UNSTABLE);
                seen.withheld += has(MAPS_LOCKLESS_REC_WITHHELD);
                seen.unwanted += u64::from(fields.vma_flags & flags != flags);
            }
        }
        listing.proved()?;
        ensure!(listing.is_complete() && !listing.mappings().is_empty());
    }
    Ok(seen)
}

fn marks_nothing() -> Result<()> {
    let rests = Target::start(&format!("vmas-{VMAS}"))?;
    let forks = Target::start(&format!("forks-{VMAS}"))?;
    for (what, flags) in [
        ("all mappings", 0),
        ("those that may be written", MAPS_LOCKLESS_VMA_WRITE),
    ] {
        let (quiet, busy) = (read(&rests, flags)?, read(&forks, flags)?);
        quiet.print(&format!("at rest, {what}"));
        busy.print(&format!("forking, {what}"));
        ensure!(quiet.moved == 0 && quiet.unstable == 0 && quiet.unwanted == 0);
        ensure!(busy.moved * 10 > busy.batches, "it hardly ever forked");
        ensure!(
            busy.unwanted * FEW < busy.records,
            "{what}: what is not asked for is listed"
        );
        ensure!(
            busy.unstable * FEW < busy.records,
            "{what}: fork(2) marks what it does not change"
        );
    }
    Ok(())
}
