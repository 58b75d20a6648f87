// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory that is scarce, so that the kernel reclaims all the time, and never so scarce that it kills.
//!
//! The hog, a process, fills memory that it gives back by `MADV_FREE`: the kernel takes it where it
//! needs any. The kernel's reserve is raised to where it does.

#![expect(unsafe_code, reason = "mapping memory has no safe form")]

use super::Run;
use crate::{child::Target, shapes::PAGE};
use anyhow::{Context, Result, ensure};
use nix::{
    libc,
    sys::mman::{MapFlags, ProtFlags, mmap_anonymous},
};
use std::{
    fs,
    io::{Write, stdout},
    num::NonZeroUsize,
    thread::sleep,
    time::{Duration, Instant},
};

/// What the hog fills.
const HOG: usize = 96 << 20;
/// How much of it is given back at a time.
const PART: usize = 1 << 20;
/// What others find free without reclaiming, in KiB.
const SLACK: u64 = 48 << 10;
/// The kernel's reserve, in KiB. What is allocated below it reclaims first.
const RESERVE: &str = "/proc/sys/vm/min_free_kbytes";
/// How long memory is scarce, and then not.
const PHASE: Duration = Duration::from_secs(10);

/// Fills memory and gives it back, for ever.
pub fn hog() -> Result<()> {
    println!("ready");
    stdout().flush()?;
    let len = NonZeroUsize::new(HOG).context("nothing to map")?;
    let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: The kernel chooses an address where nothing is.
    let memory = unsafe { mmap_anonymous(None, len, prot, MapFlags::MAP_PRIVATE)? };
    let memory = memory.as_ptr().cast::<u8>();
    // Among so many who never rest it would not fill anything in time.
    // SAFETY: No pointer is passed.
    ensure!(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -10) } == 0);
    loop {
        for part in (0..HOG).step_by(PART) {
            for page in (part..part + PART).step_by(PAGE) {
                // SAFETY: The page is of the mapping made above, which nobody else uses.
                unsafe { memory.add(page).write_volatile(1) };
            }
            // SAFETY: As above. What the pages hold does not matter.
            let freed = unsafe { libc::madvise(memory.add(part).cast(), PART, libc::MADV_FREE) };
            ensure!(freed == 0, "MADV_FREE");
            // Others are to have the CPU, too.
            sleep(Duration::from_millis(2));
        }
    }
}

/// Makes memory scarce, and not, until the run is over.
pub fn press(run: &Run) -> Result<()> {
    let usual = fs::read_to_string(RESERVE)?;
    while !run.is_over() {
        let hog = Target::start_program("/bin/torture", "hog")?;
        run.counts.add("phases of memory pressure", 1);
        let status = format!("/proc/{}/status", hog.pid());
        let (begin, before) = (Instant::now(), scanned());
        // The hog may be slow to fill anything.
        while !run.is_over() && (begin.elapsed() < PHASE || scanned() == before) {
            let free = number("/proc/meminfo", "MemFree:").context("MemFree")?;
            // What the kernel can have of the hog is as good as free.
            let hogged = number(&status, "RssAnon:").unwrap_or(0);
            let reserve = (free + hogged).saturating_sub(SLACK);
            fs::write(RESERVE, reserve.to_string())?;
            sleep(Duration::from_millis(20));
        }
        fs::write(RESERVE, usual.trim())?;
        drop(hog);
        let begin = Instant::now();
        while !run.is_over() && begin.elapsed() < PHASE {
            sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

fn number(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// How many objects and pages the kernel has looked at to reclaim them.
pub fn scanned() -> u64 {
    ["slabs_scanned ", "pgscan_kswapd ", "pgscan_direct "]
        .iter()
        .filter_map(|name| number("/proc/vmstat", name))
        .sum()
}
