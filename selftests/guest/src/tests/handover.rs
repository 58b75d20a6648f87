// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a process frees is another's VMA a moment later: a lookup does not show it as the first one's.

use super::Test;
use crate::{
    child::Target,
    handover::{GIVEN, PLACE},
    invariants::Listing,
    raw::{Lockless, MAPS},
    sched,
    shapes::PAGE,
};
use anyhow::{Result, anyhow, ensure};
use maps_lockless::wire::*;
use std::{
    thread,
    time::{Duration, Instant},
};

const TIME: Duration = Duration::from_secs(4);
/// Not that of the processes.
const CPU: usize = 1;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("handover: of a VMA that munmap frees", || {
            on_another_cpu("handover-munmap")
        }),
        Test::new("handover: of a VMA that a merge frees", || {
            on_another_cpu("handover-merge")
        }),
    ]
}

fn on_another_cpu(shape: &str) -> Result<()> {
    let target = Target::start(shape)?;
    let reader = || {
        sched::pin(sched::THIS, CPU)?;
        look_up(&target)
    };
    let result = thread::scope(|scope| scope.spawn(reader).join());
    result.map_err(|_| anyhow!("the reader panicked"))?
}

fn look_up(target: &Target) -> Result<()> {
    let place = u64::from_str_radix(&target.said, 16)? + PLACE as u64;
    let request = maps_lockless_request {
        start: place,
        end: place + PAGE as u64,
        ..MAPS
    };
    let file = Lockless::with_request(target.pid(), request)?;
    let (mut found, mut withheld, mut nothing) = (0, 0, 0);
    let begin = Instant::now();
    while begin.elapsed() < TIME {
        let owned = file.batch_at(MAPS_LOCKLESS_MIN_BUFFER as usize, 0)?;
        Listing::of(place).add(owned.bytes())?;
        let vmas = owned.vmas()?;
        nothing += u32::from(vmas.is_empty());
        for vma in vmas {
            if vma.fields.flags & MAPS_LOCKLESS_REC_WITHHELD != 0 {
                withheld += 1;
                continue;
            }
            ensure!(
                vma.fields.vma_flags & 7 == GIVEN.bits() as u64,
                "not its own: {vma:?}"
            );
            found += 1;
        }
    }
    println!("# {found} lookups found the VMA, {nothing} nothing, {withheld} were withheld");
    ensure!(found > 0 && nothing > 0, "nothing changed");
    Ok(())
}
