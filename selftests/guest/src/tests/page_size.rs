// SPDX-License-Identifier: MIT OR Apache-2.0

//! The size of a mapping's pages, and its protection key: as smaps and PROCMAP_QUERY tell them.

use super::{Test, shapes_in_turn, sum_of_readers};
use crate::{
    child::Target,
    invariants::Listing,
    pages::PLACE,
    query,
    raw::{ALL, Lockless, MAPS},
    sched,
    shapes::PAGE,
};
use anyhow::{Context, Result, ensure};
use maps_lockless::wire::*;
use std::{
    collections::BTreeSet,
    fs,
    fs::File,
    time::{Duration, Instant},
};

const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
/// How long mappings come and go, of how many processes, and the CPU of their readers: not that of the processes.
const TIME: Duration = Duration::from_secs(5);
const PROCESSES: usize = 2;
const READER_CPU: usize = 1;
/// Binary logarithms of the bytes of a page.
const ORDINARY: u8 = 12;
const HUGE: u8 = 21;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("page size: as told otherwise, for every shape", || {
            for shape in shapes_in_turn() {
                same(&Target::start(shape)?).context(shape)?;
            }
            Ok(())
        }),
        Test::new("page size: of every size that the machine has", all_sizes),
        Test::new("page size: of mappings that come and go", come_and_go),
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

/// Memory of pages of either size takes turns at one place of two processes. The kernel must tell the size of
/// what it has found: the VMA may be another one by then, whose driver knows nothing of the first one's pages.
fn come_and_go() -> Result<()> {
    let targets = (0..PROCESSES)
        .map(|_| Target::start("page-sizes-by-turns"))
        .collect::<Result<Vec<_>>>()?;
    let [ordinary, huge, wrong, unstable, withheld] = sum_of_readers(PROCESSES, |n| {
        read_sizes(targets.get(n).context("no such process")?)
    })?;
    println!(
        "# {ordinary} records of ordinary pages, {huge} of huge ones, {unstable} unstable, {withheld} withheld"
    );
    ensure!(wrong == 0, "{wrong} of a wrong size");
    Ok(())
}

/// Counts mappings of ordinary pages, of huge ones, those of both that were told another size or none, and
/// unstable and withheld records, whose size is not looked at.
///
/// A wrong size does not end the reading: a kernel that looks at freed memory is to have the time to fall over
/// it.
fn read_sizes(target: &Target) -> Result<[u64; 5]> {
    sched::pin(sched::THIS, READER_CPU)?;
    let place = u64::from_str_radix(&target.said, 16)?;
    let request = maps_lockless_request {
        fields_wanted: MAPS_LOCKLESS_FIELD_FLAGS | MAPS_LOCKLESS_FIELD_PAGE_SIZE,
        start: place,
        end: place + PLACE as u64,
        ..MAPS
    };
    let file = Lockless::with_request(target.pid(), request)?;
    let (mut ordinary, mut huge, mut wrong, mut unstable, mut withheld) = (0, 0, 0, 0, 0);
    let begin = Instant::now();
    while begin.elapsed() < TIME {
        let owned = file.batch_at(MAX, 0)?;
        Listing::of(place).add(owned.bytes())?;
        for vma in owned.vmas()? {
            let fields = vma.fields;
            if fields.flags & MAPS_LOCKLESS_REC_WITHHELD != 0 {
                withheld += 1;
                continue;
            }
            if fields.flags & MAPS_LOCKLESS_REC_UNSTABLE != 0 {
                unstable += 1;
                continue;
            }
            let is_huge = fields.vma_flags & MAPS_LOCKLESS_VMA_HUGETLB != 0;
            let (count, shift) = match is_huge {
                true => (&mut huge, HUGE),
                false => (&mut ordinary, ORDINARY),
            };
            *count += 1;
            if fields.valid & request.fields_wanted != request.fields_wanted
                || fields.page_shift != shift
            {
                if wrong == 0 {
                    println!("# pages of 2^{shift} bytes: {fields:x?}");
                }
                wrong += 1;
            }
        }
    }
    ensure!(ordinary > 0 && huge > 0, "nothing changed");
    Ok([ordinary, huge, wrong, unstable, withheld])
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
