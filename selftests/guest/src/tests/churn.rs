// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process that changes its mappings all the time: what docs/tearing.md guarantees, holds.

use super::{Test, sum_of_readers};
use crate::{
    child::Target,
    invariants::Listing,
    raw::{ALL, FILE_FIELDS, Lockless, MAPS, VMA_FIELDS},
    shapes::{ARENA_PAGES, CHURNED_FILE, PAGE, SPLIT_PAGES, SPLIT_PLACES, SPLIT_STEP},
};
use anyhow::{Context, Result, ensure};
use maps_lockless::{BuildId, decode::Vma, wire::*};
use std::{
    ops::Range,
    time::{Duration, Instant},
};

const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
/// `r-xp`, of a file.
const EXECUTABLE_FILE: u64 =
    MAPS_LOCKLESS_VMA_READ | MAPS_LOCKLESS_VMA_EXEC | MAPS_LOCKLESS_VMA_FILE;
/// Readers at a time, where one is not enough.
const READERS: usize = 6;
/// How long each test reads.
const TIME: Duration = Duration::from_secs(5);

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "churn: the guarantees hold, and little is withheld",
            guarantees,
        ),
        Test::new(
            "churn: nothing that was asked for is left out",
            nothing_left_out,
        ),
    ]
}

/// The addresses that a target changes.
fn arena(target: &Target, pages: usize) -> Result<Range<u64>> {
    let start = u64::from_str_radix(&target.said, 16).context("where the arena is")?;
    Ok(start..start + (pages * PAGE) as u64)
}

/// How many records there were, and what was the matter with how many.
#[derive(Default)]
struct Seen {
    records: u64,
    whole: u64,
    unstable: u64,
    withheld: u64,
    unknown: u64,
    path_too_long: u64,
    build_id_not_resident: u64,
}

impl Seen {
    fn add(&mut self, vma: &Vma<'_>) {
        let has = |flag| u64::from(vma.fields.flags & flag != 0);
        self.records += 1;
        self.unstable += has(MAPS_LOCKLESS_REC_UNSTABLE);
        self.withheld += has(MAPS_LOCKLESS_REC_WITHHELD);
        let of_file = vma.file.map(|file| file.fields);
        let has = |flag| u64::from(of_file.is_some_and(|file| file.flags & flag != 0));
        self.path_too_long += has(MAPS_LOCKLESS_FILE_PATH_TOO_LONG);
        self.build_id_not_resident += has(MAPS_LOCKLESS_FILE_BUILD_ID_NOT_RESIDENT);
        let is_file = vma.fields.vma_flags & MAPS_LOCKLESS_VMA_FILE != 0;
        let whole = match of_file {
            // A file's mapping has an offset, and its file all that was asked for.
            Some(file) => is_file && file.valid == FILE_FIELDS && vma.fields.valid == VMA_FIELDS,
            None => !is_file && vma.fields.valid == VMA_FIELDS & !MAPS_LOCKLESS_FIELD_OFFSET,
        };
        self.whole += u64::from(whole);
    }
}

fn guarantees() -> Result<()> {
    let target = Target::start("churn")?;
    let arena = arena(&target, ARENA_PAGES)?;
    let (mut seen, mut moved, mut listings) = (Seen::default(), 0, 0);
    let mut known_id: Option<Vec<u8>> = None;

    let begin = Instant::now();
    while begin.elapsed() < TIME {
        let mut file = Lockless::with_request(target.pid(), ALL)?;
        let mut listing = Listing::of(0);
        while !listing.is_over() {
            let owned = file.batch(MAX)?;
            listing.add(owned.bytes())?;
            let header = owned.header()?;
            moved += u64::from(header.seq_begin != header.seq_end);
            for range in owned.batch()?.unknown() {
                seen.unknown += u64::from(arena.contains(&range?.start));
            }
            for vma in owned.vmas()? {
                let fields = vma.fields;
                if !arena.contains(&fields.start) || fields.end > arena.end {
                    continue;
                }
                seen.add(&vma);
                if fields.flags & MAPS_LOCKLESS_REC_WITHHELD != 0 {
                    continue;
                }
                // Nothing else was ever mapped there.
                match fields.vma_flags & (15 | MAPS_LOCKLESS_VMA_FILE) {
                    3 => ensure!(
                        fields.name_kind == MAPS_LOCKLESS_NAME_NONE && vma.file.is_none(),
                        "{fields:?}"
                    ),
                    EXECUTABLE_FILE => {
                        let file = vma.file.context("no file")?;
                        ensure!(file.path == CHURNED_FILE.as_bytes(), "{file:?}");
                        ensure!(
                            fields.offset == 0 || fields.flags & MAPS_LOCKLESS_REC_UNSTABLE != 0
                        );
                        let BuildId::Present(id) = file.build_id() else {
                            anyhow::bail!("{:?}: {file:?}", file.build_id());
                        };
                        ensure!(*known_id.get_or_insert(id.to_vec()) == id);
                    }
                    _ => anyhow::bail!("neither rw-p memory nor the r-xp file: {fields:?}"),
                }
            }
        }
        ensure!(listing.is_complete());
        // The pages on either side are mapped all the time.
        let page = PAGE as u64;
        listing.has(arena.start - page..arena.start)?;
        listing.has(arena.end..arena.end + page)?;
        listing.proved()?;
        listings += 1;
    }
    println!(
        "# {listings} listings; {moved} batches saw a change; in the churned range {} records, \
         {:.3} % of them with all fields asked for",
        seen.records,
        100.0 * seen.whole as f64 / seen.records as f64,
    );
    println!(
        "# withheld: {} not proved, {} paths too long, {} build IDs not resident; {} unstable; {} ranges unknown",
        seen.withheld, seen.path_too_long, seen.build_id_not_resident, seen.unstable, seen.unknown,
    );
    ensure!(moved > 0, "no batch met a change: nothing was shown");
    ensure!(known_id.is_some(), "no file was met");
    ensure!(
        seen.whole * 100 >= seen.records * 99,
        "less than 99 % are whole"
    );
    ensure!(
        seen.unknown * 100 <= seen.records,
        "of more than 1 % nothing is known"
    );
    Ok(())
}

/// The second half of each of many mappings is executable all the time, while its first half is split
/// off, gets other permissions and is merged again.
///
/// There are more readers than CPUs, so that some are preempted within a lookup.
fn nothing_left_out() -> Result<()> {
    let target = Target::start("split")?;
    let arena = arena(&target, SPLIT_PLACES * SPLIT_STEP / PAGE)?;
    let read = |_| read_executable(target.pid(), &arena);
    let [listings, wholes, halves, unasked] = sum_of_readers(READERS, read)?;
    println!("# {listings} listings: {wholes} whole, {halves} half, {unasked} not asked for");
    ensure!(wholes > 0 && halves > 0, "only one state was seen");
    Ok(())
}

/// Lists what is executable of the arena, for a while. Counts listings, mappings that are shown whole,
/// those of which the second half is, and what was not asked for.
fn read_executable(pid: u32, arena: &Range<u64>) -> Result<[u64; 4]> {
    let request = maps_lockless_request {
        vma_flags_all: MAPS_LOCKLESS_VMA_EXEC,
        start: arena.start,
        end: arena.end,
        ..MAPS
    };
    let file = Lockless::with_request(pid, request)?;
    let mut seen = [0; 4];
    let begin = Instant::now();
    while begin.elapsed() < TIME {
        let owned = file.batch_at(MAX, 0)?;
        ensure!(owned.is_final());
        let mut listing = Listing::of(arena.start);
        listing.add(owned.bytes())?;
        let vmas = owned.vmas()?;
        let mut fields = vmas.iter().map(|vma| vma.fields).peekable();
        for place in 0..SPLIT_PLACES {
            let start = arena.start + (place * SPLIT_STEP) as u64;
            let (middle, end) = (
                start + (SPLIT_PAGES / 2 * PAGE) as u64,
                start + (SPLIT_PAGES * PAGE) as u64,
            );
            while let Some(vma) = fields.next_if(|vma| vma.start < end) {
                seen[1] += u64::from((vma.start, vma.end) == (start, end));
                seen[2] += u64::from((vma.start, vma.end) == (middle, end));
                if vma.vma_flags & MAPS_LOCKLESS_VMA_EXEC == 0 {
                    let marks = MAPS_LOCKLESS_REC_UNSTABLE | MAPS_LOCKLESS_REC_WITHHELD;
                    ensure!(
                        vma.flags & marks != 0,
                        "not asked for, and not marked: {vma:?}"
                    );
                    seen[3] += 1;
                }
            }
            // What stays executable.
            listing.covers(middle..end)?;
        }
        seen[0] += 1;
    }
    Ok(seen)
}
