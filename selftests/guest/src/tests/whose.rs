// SPDX-License-Identifier: MIT OR Apache-2.0

//! Many processes map and unmap at the same time: what is shown of one is never another's. VMAs, files
//! and names that one gives back are given to the next.

use super::{Test, sum_of_readers};
use crate::{
    child::Target,
    invariants::Listing,
    raw::{Lockless, MAPS},
    shapes::PAGE,
    signed::{SIGNED_PAGES, is_signed},
};
use anyhow::{Context, Result, ensure};
use maps_lockless::wire::*;
use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_secs(10);
/// More than there are CPUs, so that readers are preempted within a lookup while others free and reuse
/// what they are looking at.
const PROCESSES: u8 = 3;
const READERS: usize = 6;

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "churn: whose a mapping is, among processes that change",
        whose,
    )]
}

fn whose() -> Result<()> {
    let targets = (0..PROCESSES)
        .map(|number| Target::start(&format!("signed-{number}")))
        .collect::<Result<Vec<_>>>()?;
    let places = (0..PROCESSES)
        .zip(&targets)
        .map(|(number, target)| {
            let arena = u64::from_str_radix(&target.said, 16)?;
            Ok((number, target.pid(), arena))
        })
        .collect::<Result<Vec<_>>>()?;
    let [listings, records, unstable, withheld] = sum_of_readers(READERS, |n| {
        let (number, pid, arena) = places[n % places.len()];
        read(number, pid, arena).with_context(|| format!("process {number}"))
    })?;
    println!("# {listings} listings, {records} records: {unstable} unstable, {withheld} withheld");
    ensure!(records > 0 && unstable > 0, "nothing changed");
    Ok(())
}

/// Counts listings, records, unstable and withheld ones.
fn read(number: u8, pid: u32, arena: u64) -> Result<[u64; 4]> {
    let request = maps_lockless_request {
        start: arena,
        end: arena + (SIGNED_PAGES * PAGE) as u64,
        ..MAPS
    };
    let file = Lockless::with_request(pid, request)?;
    let mut seen = [0; 4];
    let begin = Instant::now();
    while begin.elapsed() < TIME {
        let owned = file.batch_at(MAPS_LOCKLESS_MAX_BATCH as usize, 0)?;
        Listing::of(arena).add(owned.bytes())?;
        for vma in owned.vmas()? {
            ensure!(is_signed(number, &vma), "not its own: {vma:?}");
            let has = |flag| u64::from(vma.fields.flags & flag != 0);
            seen[1] += 1;
            seen[2] += has(MAPS_LOCKLESS_REC_UNSTABLE);
            seen[3] += has(MAPS_LOCKLESS_REC_WITHHELD);
        }
        seen[0] += 1;
    }
    Ok(seen)
}
