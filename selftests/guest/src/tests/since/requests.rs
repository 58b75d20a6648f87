// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is asked for by such requests, what is refused, and what is then told.

use super::{MAX, MIN};
use crate::{
    child::Target,
    raw::{ALL, Lockless, MAPS},
    since::{How, Listed, Proved, differ},
    tests::{Test, errno, shapes_in_turn},
};
use anyhow::{Context, Result, ensure};
use maps_lockless::wire::*;
use nix::errno::Errno;

const EVERYTHING: How = How::new(ALL, MAX);
/// So many changes a stamp can tell apart.
const STAMPS: u64 = 1 << 32;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("since: nothing has changed, in any shape", nothing_changed),
        Test::new(
            "since: a few records tell of ten thousand VMAs",
            few_records,
        ),
        Test::new("since: another address space, another time", not_comparable),
        Test::new("since: what is refused, answered and read back", refused),
        Test::new("since: of no address space nothing is told", nothing_there),
    ]
}

/// A process that rests, and its listing.
fn at_rest(shape: &str) -> Result<(Target, Lockless, Proved)> {
    let target = Target::start(shape)?;
    let mut file = Lockless::open(target.pid())?;
    let whole = EVERYTHING.whole(&mut file)?;
    Ok((target, file, whole.context("a process at rest")?))
}

fn same(new: &Proved, whole: &Proved) -> Result<()> {
    let differ = differ(&new.mappings, &whole.mappings, Clone::clone);
    ensure!(differ.is_none(), "{differ:?}");
    Ok(())
}

/// All but the gate, which is in no tree and so has no stamp, and what execve(2) has done to the first listing.
fn nothing_changed() -> Result<()> {
    for shape in shapes_in_turn() {
        let (_target, mut file, whole) = at_rest(shape)?;
        let listed = EVERYTHING.list(&mut file, whole.since(ALL))?;
        ensure!(listed.since == listed.batches, "{shape}: {listed:x?}");
        ensure!(listed.proved() == Some((whole.mm_id, whole.seq)), "{shape}");
        let unchanged: u32 = listed.unchanged_ranges().map(|range| range.count).sum();
        // [vsyscall] is told.
        let told = whole.mappings.iter().filter(|told| told.start >> 63 != 0);
        let told = told.count();
        ensure!(
            unchanged as usize + told == whole.mappings.len(),
            "{shape}: {unchanged} unchanged and {told} told of {}",
            whole.mappings.len()
        );
        let (new, round) = whole
            .follow(listed, |range| anyhow::bail!("{range:x?} is read again"))?
            .context("a process at rest")?;
        ensure!(round.told as usize == told, "{shape}: {round:?}");
        same(&new, &whole).with_context(|| shape.to_owned())?;
    }
    Ok(())
}

fn few_records() -> Result<()> {
    for shape in ["vmas-10000", "file-vmas-1000"] {
        let (_target, mut file, whole) = at_rest(shape)?;
        let all = EVERYTHING.list(&mut file, ALL)?;
        let listed = EVERYTHING.list(&mut file, whole.since(ALL))?;
        let records = listed.items.len();
        println!(
            "# {shape}: {} bytes and {records} records, instead of {} and {}",
            listed.bytes,
            all.bytes,
            all.items.len()
        );
        ensure!(
            records * 100 <= all.items.len().max(1000) && listed.bytes * 50 <= all.bytes,
            "{shape}: {records} records"
        );
    }
    Ok(())
}

/// Fails where anything is told as unchanged, or is not what a whole listing has.
fn tells_everything(listed: Listed, whole: &Proved) -> Result<()> {
    ensure!(listed.unchanged_ranges().next().is_none(), "{listed:x?}");
    same(&listed.whole()?.context("not proved")?, whole)
}

fn not_comparable() -> Result<()> {
    let (_target, mut file, whole) = at_rest("vmas-10000")?;
    let (_other, _, of_other) = at_rest("plain")?;
    let (id, seq) = (whole.mm_id, whole.seq);
    ensure!(of_other.mm_id != id);
    for (what, since_mm_id, since_seq) in [
        ("nobody's", u64::MAX, seq),
        ("of an address space to come", id + 1_000_000, seq),
        ("another process's", of_other.mm_id, of_other.seq),
        ("another process's, this one's count", of_other.mm_id, seq),
        ("the next count", id, seq + 2),
        ("a count to come", id, seq + 1_000_000),
        ("2^32 to come", id, seq + STAMPS),
        ("2^32 ago", id, seq.wrapping_sub(STAMPS)),
        ("2^32 and a change ago", id, seq.wrapping_sub(STAMPS + 2)),
        ("half of all counts away", id, seq ^ 1 << 63),
    ] {
        let request = maps_lockless_request {
            since_mm_id,
            since_seq,
            ..ALL
        };
        let listed = EVERYTHING.list(&mut file, request)?;
        ensure!(listed.since == 0, "{what}: {} batches", listed.since);
        tells_everything(listed, &whole).context(what)?;
    }
    // Counts that no address space ever had, which are less than 2^32 below this one's by arithmetic that wraps.
    for since_seq in [u64::MAX - 1, seq.wrapping_sub(STAMPS - 2)] {
        let request = maps_lockless_request {
            since_mm_id: id,
            since_seq,
            ..ALL
        };
        tells_everything(EVERYTHING.list(&mut file, request)?, &whole)?;
    }
    // Everything was mapped since the count was 0.
    let request = maps_lockless_request {
        since_mm_id: id,
        since_seq: 0,
        ..ALL
    };
    let listed = EVERYTHING.list(&mut file, request)?;
    ensure!(listed.since == listed.batches);
    tells_everything(listed, &whole)
}

fn refused() -> Result<()> {
    let (_target, mut file, whole) = at_rest("plain")?;
    let good = whole.since(MAPS);
    let set = file.request(good)?;
    ensure!(set.request != 0);
    for (since_mm_id, since_seq) in [
        (whole.mm_id, whole.seq + 1),
        (whole.mm_id, 1),
        (whole.mm_id, u64::MAX),
        (0, whole.seq),
        (0, 1),
        (0, 2),
    ] {
        let mut request = maps_lockless_request {
            since_mm_id,
            since_seq,
            ..MAPS
        };
        let result = file.request_in(&mut request);
        ensure!(
            errno(result) == Some(Errno::EINVAL),
            "{since_mm_id}, {since_seq}"
        );
        ensure!(request.fields_supported == set.fields_supported);
        ensure!(request.vma_flags_supported == set.vma_flags_supported);
        ensure!((request.since_mm_id, request.since_seq) == (since_mm_id, since_seq));
    }
    // What was set before stays.
    let got = file.requested()?;
    ensure!(got.request == set.request);
    ensure!((got.since_mm_id, got.since_seq) == (whole.mm_id, whole.seq));
    let header = file.batch_at(MIN, 0)?.header()?;
    ensure!(header.request == set.request && header.flags & MAPS_LOCKLESS_BATCH_SINCE != 0);
    // Nor is anything left of it when another one is set.
    let mut listed = Listed::new(MAPS, 0);
    file.request(MAPS)?;
    ensure!(file.requested()?.since_mm_id == 0 && file.requested()?.since_seq == 0);
    file.seek(0)?;
    for batch in file.batches(MAX)? {
        listed.add(batch.bytes())?;
    }
    ensure!(listed.since == 0 && listed.whole()?.is_some());
    Ok(())
}

/// A kernel thread has no address space, and so none whose identity is 0, as that of a request for everything.
fn nothing_there() -> Result<()> {
    const KTHREADD: u32 = 2;
    let mut file = Lockless::open(KTHREADD)?;
    for request in [None, Some((0, 0)), Some((1, 0)), Some((u64::MAX, 2))] {
        if let Some((since_mm_id, since_seq)) = request {
            file.request(maps_lockless_request {
                since_mm_id,
                since_seq,
                ..MAPS
            })?;
        }
        file.seek(0)?;
        let header = file.batch(MIN)?.header()?;
        ensure!(header.end_reason == MAPS_LOCKLESS_END_NO_MM, "{header:?}");
        ensure!(
            header.flags & MAPS_LOCKLESS_BATCH_SINCE == 0,
            "{request:?}: {header:?}"
        );
    }
    Ok(())
}
