// SPDX-License-Identifier: MIT OR Apache-2.0

//! Each VMA's flags are those that smaps shows.

use super::Test;
use crate::{child::Target, raw::Lockless};
use anyhow::{Context, Result, ensure};
use maps_lockless::wire::*;
use std::{collections::BTreeSet, fs};

/// smaps' names of the flags, as in docs/abi.md.
const SMAPS: [(&str, u64); 38] = [
    ("rd", MAPS_LOCKLESS_VMA_READ),
    ("wr", MAPS_LOCKLESS_VMA_WRITE),
    ("ex", MAPS_LOCKLESS_VMA_EXEC),
    ("sh", MAPS_LOCKLESS_VMA_SHARED_WRITABLE),
    ("mr", MAPS_LOCKLESS_VMA_MAYREAD),
    ("mw", MAPS_LOCKLESS_VMA_MAYWRITE),
    ("me", MAPS_LOCKLESS_VMA_MAYEXEC),
    ("ms", MAPS_LOCKLESS_VMA_SHARED),
    ("gd", MAPS_LOCKLESS_VMA_GROWSDOWN),
    ("pf", MAPS_LOCKLESS_VMA_PFNMAP),
    ("gu", MAPS_LOCKLESS_VMA_MAYBE_GUARD),
    ("lo", MAPS_LOCKLESS_VMA_LOCKED),
    ("io", MAPS_LOCKLESS_VMA_IO),
    ("sr", MAPS_LOCKLESS_VMA_SEQ_READ),
    ("rr", MAPS_LOCKLESS_VMA_RAND_READ),
    ("dc", MAPS_LOCKLESS_VMA_DONTCOPY),
    ("de", MAPS_LOCKLESS_VMA_DONTEXPAND),
    ("lf", MAPS_LOCKLESS_VMA_LOCKONFAULT),
    ("ac", MAPS_LOCKLESS_VMA_ACCOUNT),
    ("nr", MAPS_LOCKLESS_VMA_NORESERVE),
    ("ht", MAPS_LOCKLESS_VMA_HUGETLB),
    ("sf", MAPS_LOCKLESS_VMA_SYNC),
    ("ar", MAPS_LOCKLESS_VMA_ARCH_1),
    ("wf", MAPS_LOCKLESS_VMA_WIPEONFORK),
    ("dd", MAPS_LOCKLESS_VMA_DONTDUMP),
    ("sd", MAPS_LOCKLESS_VMA_SOFTDIRTY),
    ("mm", MAPS_LOCKLESS_VMA_MIXEDMAP),
    ("hg", MAPS_LOCKLESS_VMA_HUGEPAGE),
    ("nh", MAPS_LOCKLESS_VMA_NOHUGEPAGE),
    ("mg", MAPS_LOCKLESS_VMA_MERGEABLE),
    ("um", MAPS_LOCKLESS_VMA_UFFD_MISSING),
    ("uw", MAPS_LOCKLESS_VMA_UFFD_WP),
    ("mt", MAPS_LOCKLESS_VMA_MTE),
    ("ui", MAPS_LOCKLESS_VMA_UFFD_MINOR),
    ("ur", MAPS_LOCKLESS_VMA_UFFD_RWP),
    ("ss", MAPS_LOCKLESS_VMA_SHADOW_STACK),
    ("dp", MAPS_LOCKLESS_VMA_DROPPABLE),
    ("sl", MAPS_LOCKLESS_VMA_SEALED),
];

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
            let known = SMAPS.iter().find(|(known, _)| *known == name);
            flags |= known.with_context(|| format!("smaps shows {name:?}"))?.1;
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
    let unseen: Vec<&str> = SMAPS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !seen.contains(name))
        .collect();
    ensure!(unseen == NOT_SEEN, "not seen: {unseen:?}");
    file.seek(0)?;
    let reported = file
        .batch(MAPS_LOCKLESS_MAX_BATCH as usize)?
        .header()?
        .vma_flags;
    ensure!(
        SMAPS
            .iter()
            .all(|(name, bit)| !seen.contains(name) || reported & bit != 0)
    );
    Ok(())
}
