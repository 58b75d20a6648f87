// SPDX-License-Identifier: MIT OR Apache-2.0

//! The size of a mapping's pages, and its protection key: as smaps and PROCMAP_QUERY tell them.

use super::{Test, shapes_in_turn};
use crate::{
    child::Target,
    query,
    raw::{ALL, Lockless},
    shapes::PAGE,
};
use anyhow::{Context, Result, ensure};
use maps_lockless::wire::*;
use std::{collections::BTreeSet, fs, fs::File};

const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("page size: as told otherwise, for every shape", || {
            for shape in shapes_in_turn() {
                same(&Target::start(shape)?).context(shape)?;
            }
            Ok(())
        }),
        Test::new("page size: of every size that the machine has", all_sizes),
        Test::new("protection key: as smaps tells it", keys),
    ]
}

/// What smaps tells of each mapping in a line of this name.
fn smaps(target: &Target, name: &str) -> Result<Vec<u64>> {
    let text = fs::read(format!("/proc/{}/smaps", target.pid()))?;
    let text = String::from_utf8_lossy(&text);
    let values = text.lines().filter_map(|line| line.strip_prefix(name));
    values
        .map(|value| {
            let number = value.split_whitespace().next();
            let number = number.with_context(|| format!("{name}{value}"))?;
            Ok(number.parse()?)
        })
        .collect()
}

/// All mappings, with the size of their pages. Returns the sizes.
fn same(target: &Target) -> Result<BTreeSet<u64>> {
    let vmas = Lockless::with_request(target.pid(), ALL)?.fields()?;
    let maps = File::open(format!("/proc/{}/maps", target.pid()))?;
    let of_smaps = smaps(target, "KernelPageSize:")?;
    ensure!(of_smaps.len() == vmas.len(), "{} in smaps", of_smaps.len());
    let mut sizes = BTreeSet::new();
    for (vma, kib) in vmas.iter().zip(of_smaps) {
        ensure!(vma.valid & MAPS_LOCKLESS_FIELD_PAGE_SIZE != 0, "{vma:?}");
        let size = 1_u64
            .checked_shl(vma.page_shift.into())
            .context("too large")?;
        ensure!(size == kib * 1024, "{kib} KiB in smaps: {vma:?}");
        // It is no VMA, so that PROCMAP_QUERY does not know of it.
        if vma.start < 1 << 63 {
            let theirs = query::query(&maps, 0, vma.start)?.context("not found")?;
            ensure!(theirs.vma_page_size == size, "{theirs:?}, here {vma:?}");
        }
        sizes.insert(size);
    }
    ensure!(sizes.contains(&(PAGE as u64)));
    Ok(sizes)
}

fn all_sizes() -> Result<()> {
    let target = Target::start("page-sizes")?;
    let mut expected = BTreeSet::from([PAGE as u64]);
    for size in target.said.split_whitespace() {
        expected.insert(size.parse()?);
    }
    let sizes = same(&target)?;
    println!("# pages of {sizes:?} bytes");
    ensure!(sizes == expected && sizes.len() > 1, "mapped: {expected:?}");
    Ok(())
}

/// Where the machine has none, nobody tells one, and none can be asked for.
fn keys() -> Result<()> {
    let target = Target::start("protection-keys")?;
    let of_smaps = smaps(&target, "ProtectionKey:")?;
    let file = Lockless::open(target.pid())?;
    let supported = file.state()?.fields_supported & MAPS_LOCKLESS_FIELD_PKEY != 0;
    ensure!(supported != of_smaps.is_empty(), "smaps: {of_smaps:?}");
    if !supported {
        ensure!(target.said.is_empty(), "it has {}", target.said);
        println!("# this machine has no protection keys");
        return Ok(());
    }
    let (key, address) = target.said.split_once(' ').context("no key was given")?;
    let (key, address): (u8, u64) = (key.parse()?, u64::from_str_radix(address, 16)?);
    file.request(maps_lockless_request {
        fields_wanted: ALL.fields_wanted | MAPS_LOCKLESS_FIELD_PKEY,
        ..ALL
    })?;
    let mut vmas = Vec::new();
    for owned in Lockless(file.0).batches(MAX)? {
        vmas.extend(owned.vmas()?.iter().map(|vma| vma.fields));
    }
    ensure!(vmas.len() == of_smaps.len());
    for (vma, theirs) in vmas.iter().zip(of_smaps) {
        // That which is in no maple tree may lack it.
        let told = vma.valid & MAPS_LOCKLESS_FIELD_PKEY != 0;
        ensure!(told || vma.start >= 1 << 63, "{vma:?}");
        ensure!(u64::from(vma.pkey) == theirs, "{theirs} in smaps: {vma:?}");
    }
    let given = vmas.iter().find(|vma| vma.start == address);
    let given = given.context("the page is not listed")?;
    ensure!(key != 0 && given.pkey == key, "{key} was given: {given:?}");
    Ok(())
}
