// SPDX-License-Identifier: MIT OR Apache-2.0

//! Each VMA's flags are those that smaps shows.

use super::Test;
use crate::{child::Target, raw::Lockless};
use anyhow::{Context, Result, ensure};
use maps_lockless::{VmaFlags, wire::*};
use std::{collections::BTreeSet, fs};

/// What no mapping here has: it takes DAX, another architecture or CPU, or a driver.
const NOT_SEEN: [&str; 6] = ["sf", "bt", "sd", "mt", "ur", "ss"];

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new("flags: the same as smaps shows", same_as_smaps)]
}

fn same_as_smaps() -> Result<()> {
    let target = Target::start("flags")?;
    let mut file = Lockless::open(target.pid())?;
    let mut vmas = Vec::new();
    for owned in file.batches(MAPS_LOCKLESS_MAX_BATCH as usize)? {
        let listed = owned.vmas()?.into_iter();
        vmas.extend(listed.map(|vma| (vma.fields, vma.file.is_some())));
    }
    let smaps = fs::read_to_string(format!("/proc/{}/smaps", target.pid()))?;
    let lines = smaps
        .lines()
        .filter_map(|line| line.strip_prefix("VmFlags: "));

    let (mut count, mut seen) = (0, BTreeSet::new());
    for ((vma, is_file), line) in vmas.iter().zip(lines) {
        let mut flags = 0;
        for name in line.split_whitespace() {
            let flag = VmaFlags::of_smaps_name(name);
            flags |= flag.with_context(|| format!("smaps shows {name:?}"))?;
            seen.insert(name);
        }
        if *is_file {
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
        .vma_flags_supported;
    // That of arm64 alone, which another machine would never set.
    ensure!(reported & MAPS_LOCKLESS_VMA_BTI == 0);
    ensure!(reported & MAPS_LOCKLESS_VMA_FILE != 0);
    let reported = VmaFlags {
        set: reported,
        known: reported,
    };
    let reported: BTreeSet<&str> = reported.smaps_names().collect();
    ensure!(seen.is_subset(&reported), "{seen:?}, {reported:?}");
    Ok(())
}
