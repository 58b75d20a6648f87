// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process that maps and unmaps all the time: what docs/tearing.md guarantees, holds.

use super::Test;
use crate::{
    child::Target,
    raw::Lockless,
    shapes::{ARENA_PAGES, PAGE},
};
use anyhow::{Context, Result, ensure};
use maps_lockless::wire::*;
use std::time::{Duration, Instant};

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new("churn: the guarantees hold", guarantees)]
}

fn guarantees() -> Result<()> {
    let target = Target::start("churn")?;
    let arena = u64::from_str_radix(&target.said, 16).context("where the arena is")?;
    let arena = arena..arena + (ARENA_PAGES * PAGE) as u64;
    let (mut records, mut unstable, mut withheld, mut moved, mut listings) = (0, 0, 0, 0, 0);

    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        let mut file = Lockless::open(target.pid())?;
        let mut last_end = 0;
        let mut neighbours = 0;
        loop {
            let owned = file.batch(MAPS_LOCKLESS_MAX_BATCH as usize)?;
            let header = owned.header()?;
            ensure!(header.seq_begin <= header.seq_end);
            moved += u64::from(header.seq_begin != header.seq_end);
            for vma in owned.vmas()? {
                let fields = vma.fields;
                records += 1;
                ensure!(last_end <= fields.start && fields.start < fields.end);
                ensure!(fields.start % PAGE as u64 == 0 && fields.end % PAGE as u64 == 0);
                last_end = fields.end;
                // The pages on either side are mapped all the time.
                neighbours += u32::from(fields.start < arena.start && fields.end >= arena.start);
                neighbours += u32::from(fields.start <= arena.end && fields.end > arena.end);
                unstable += u64::from(fields.flags & MAPS_LOCKLESS_REC_UNSTABLE != 0);
                if fields.flags & MAPS_LOCKLESS_REC_WITHHELD != 0 {
                    withheld += 1;
                    let zero = maps_lockless_vma {
                        r#type: fields.r#type,
                        fixed_size: fields.fixed_size,
                        size: fields.size,
                        flags: fields.flags,
                        start: fields.start,
                        end: fields.end,
                        vma_start: fields.vma_start,
                        ..Default::default()
                    };
                    ensure!(format!("{zero:?}") == format!("{fields:?}"), "{fields:?}");
                } else if arena.contains(&fields.start) && fields.end <= arena.end {
                    // Nothing else was ever mapped there.
                    ensure!(fields.name_kind == MAPS_LOCKLESS_NAME_NONE, "{fields:?}");
                    ensure!(fields.valid & MAPS_LOCKLESS_FIELD_INO == 0, "{fields:?}");
                    ensure!(fields.vma_flags & 15 == 3, "rw-p: {fields:?}");
                }
            }
            if owned.batch()?.is_final() {
                ensure!(header.end_reason == MAPS_LOCKLESS_END_COMPLETE);
                break;
            }
        }
        ensure!(neighbours >= 2, "what stayed mapped was skipped");
        listings += 1;
    }
    println!(
        "# {listings} listings, {records} records, {unstable} unstable, {withheld} withheld; \
         {moved} batches saw a change"
    );
    ensure!(moved > 0, "no batch met a change: nothing was shown");
    Ok(())
}
