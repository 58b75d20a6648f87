// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a process frees is another's VMA a moment later: a lookup does not show it as the first one's. What a
//! process closes is another file a moment later: no mapping is told with the first one.

use super::Test;
use crate::{
    child::Target,
    handover::{BETWEEN, FILES, GIVEN, PLACE, places_of_files},
    invariants::Listing,
    raw::{Lockless, MAPS},
    sched,
    shapes::PAGE,
};
use anyhow::{Result, anyhow, ensure};
use maps_lockless::wire::*;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    thread,
    time::{Duration, Instant},
};

const TIME: Duration = Duration::from_secs(4);
/// Not that of the processes.
const CPU: usize = 1;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("handover: of a VMA that munmap frees", || {
            on_another_cpu("handover-munmap", look_up)
        }),
        Test::new("handover: of a VMA that a merge frees", || {
            on_another_cpu("handover-merge", look_up)
        }),
        Test::new("handover: of a file that munmap closes", || {
            for path in FILES {
                fs::write(path, [0; PAGE])?;
            }
            on_another_cpu("handover-files", list_files)
        }),
    ]
}

fn on_another_cpu(shape: &str, read: fn(&Target) -> Result<()>) -> Result<()> {
    let target = Target::start(shape)?;
    let reader = || {
        sched::pin(sched::THIS, CPU)?;
        read(&target)
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

/// Lists the place of the first file, that of the second one, and all mappings between them by one read(2) each
/// time. A batch that meets the first file, and then the second one in its memory, must tell them apart.
fn list_files(target: &Target) -> Result<()> {
    let arena = usize::from_str_radix(&target.said, 16)?;
    let places = places_of_files(arena).map(|place| place as u64);
    let inodes = [fs::metadata(FILES[0])?.ino(), fs::metadata(FILES[1])?.ino()];
    let [low, high] = places;
    let request = maps_lockless_request {
        start: low,
        end: high + PAGE as u64,
        ..MAPS
    };
    let file = Lockless::with_request(target.pid(), request)?;
    let (mut found, mut both, mut withheld) = ([0; 2], 0, 0);
    let begin = Instant::now();
    while begin.elapsed() < TIME {
        let owned = file.batch_at(MAPS_LOCKLESS_MAX_BATCH as usize, 0)?;
        Listing::of(low).add(owned.bytes())?;
        let mut told = [false; 2];
        for vma in owned.vmas()? {
            if vma.fields.flags & MAPS_LOCKLESS_REC_WITHHELD != 0 {
                withheld += 1;
                continue;
            }
            let Some(which) = places.iter().position(|place| *place == vma.fields.start) else {
                ensure!(vma.file.is_none(), "it maps no file: {vma:?}");
                continue;
            };
            let its_own = vma.file.as_ref().is_some_and(|file| {
                file.path == FILES[which].as_bytes() && file.fields.ino == inodes[which]
            });
            ensure!(its_own, "it maps {}: {vma:?}", FILES[which]);
            told[which] = true;
            found[which] += 1;
        }
        both += u32::from(told == [true; 2]);
    }
    println!(
        "# the files were found {found:?} times, in one batch with {BETWEEN} mappings between them {both} \
         times; {withheld} records were withheld"
    );
    ensure!(both > 0, "no batch met a file after the other was closed");
    Ok(())
}
