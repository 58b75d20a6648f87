// SPDX-License-Identifier: MIT OR Apache-2.0

//! Each VMA's flags are those that smaps shows.

use super::Test;
use crate::{child::Target, raw::Lockless};
use anyhow::{Context, Result, ensure};
use maps_lockless::{VmaFlags, wire::*};
use std::{collections::BTreeSet, fs};

/// What no mapping here has: it takes DAX, another architecture or CPU, or a driver.
const NOT_SEEN: [&str; 6] = ["sf", "ar", "sd", "mt", "ur", "ss"];

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new("flags: the same as smaps shows", same_as_smaps)]
}

fn same_as_smaps() -> Result<()> {
    let target = Target::start("flags")?;
    let mut file = Lockless::open(target.pid())?;
    let vmas = file.fields()?;
    let smaps = fs::read_to_string(format!("/proc/{}/smaps", target.pid()))?;
    let lines = smaps
        .lines()
        .filter_map(|line| line.strip_prefix("VmFlags: "));

    let (mut count, mut seen) = (0, BTreeSet::new());
    for (vma, line) in vmas.iter().zip(lines) {
        let mut flags = 0;
        for name in line.split_whitespace() {
            let flag = VmaFlags::of_smaps_name(name);
            flags |= flag.with_context(|| format!("smaps shows {name:?}"))?;
            seen.insert(name);
        }
        if vma.valid & MAPS_LOCKLESS_FIELD_INO != 0 {
            flags |= MAPS_LOCKLESS_VMA_FILE;
        }
        ensure!(
            vma.vma_flags == flags,
            "{line}: {:#x}, not {flags:#x}: {vma:?}",
            vma.vma_flags
        );
        count += 1;
    }
    // vsyscall, which smaps shows as well.
    ensure!(count == vmas.len());
    let all = VmaFlags {
        set: u64::MAX,
        known: u64::MAX,
    };
    let unseen: Vec<&str> = all
        .smaps_names()
        .filter(|name| !seen.contains(name))
        .collect();
    ensure!(unseen == NOT_SEEN, "not seen: {unseen:?}");
    file.seek(0)?;
    let reported = file
        .batch(MAPS_LOCKLESS_MAX_BATCH as usize)?
        .header()?
        .vma_flags;
    let reported = VmaFlags {
        set: reported,
        known: reported,
    };
    let reported: BTreeSet<&str> = reported.smaps_names().collect();
    ensure!(seen.is_subset(&reported), "{seen:?}, {reported:?}");
    Ok(())
}
