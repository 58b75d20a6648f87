// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory that is scarce: the kernel's reserve follows what is free, so that it reclaims all the time,
//! and that below which it would kill somebody is never reached.

use super::Run;
use anyhow::{Context, Result};
use std::{
    fs,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

/// What the kernel keeps in reserve, in KiB. Above it by a quarter, its thread begins to reclaim.
const RESERVE: &str = "/proc/sys/vm/min_free_kbytes";
/// How long memory is scarce, and then not.
const PHASE: Duration = Duration::from_secs(10);

/// Makes memory scarce, and not, until the run is over.
pub fn press(run: &Run) -> Result<()> {
    let usual = fs::read_to_string(RESERVE)?;
    while !run.is_over() {
        run.counts.add("phases of memory pressure", 1);
        let begin = Instant::now();
        while !run.is_over() && begin.elapsed() < PHASE {
            let free = number("/proc/meminfo", "MemFree:").context("MemFree")?;
            fs::write(RESERVE, (free / 100 * 85).to_string())?;
            // Something to reclaim: without disk and swap, these are names and inodes.
            look_at(Path::new("/sys/devices"));
            sleep(Duration::from_millis(20));
        }
        fs::write(RESERVE, usual.trim())?;
        let begin = Instant::now();
        while !run.is_over() && begin.elapsed() < PHASE {
            sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// Looks at all that is in a folder.
fn look_at(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            look_at(&entry.path());
        }
    }
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
