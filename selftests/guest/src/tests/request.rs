// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a reader asks for by ioctl(2), and gets.

mod set;

use super::{Test, errno};
use crate::{
    child::Target,
    query,
    raw::{ALL, FILE_FIELDS, Lockless, MAPS, VMA_FIELDS},
    shapes::PAGE,
};
use anyhow::{Context, Result, ensure};
use maps_lockless::{MappingRef, wire::*};
use std::fs;

const MIN: usize = MAPS_LOCKLESS_MIN_BUFFER as usize;
const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;

pub(super) fn tests() -> Vec<Test> {
    let mut tests = set::tests();
    tests.extend([
        Test::new("request: tells what is supported", supported),
        Test::new("request: each field by itself", fields),
        Test::new("request: VMAs by their flags", by_flags),
        Test::new("request: VMAs of a range", by_range),
        Test::new("request: a number of records", by_number),
        Test::new("request: files do not count as records", files_uncounted),
        Test::new(
            "request: nothing among very many VMAs ends each read in time",
            nothing,
        ),
        Test::new("request: finds what PROCMAP_QUERY finds", same_as_query),
    ]);
    tests
}

fn supported() -> Result<()> {
    let file = Lockless::open(std::process::id())?;
    let header = file.batch_at(MIN, 0)?.header()?;
    let fields = header.fields_supported & !MAPS_LOCKLESS_FIELD_PKEY;
    ensure!(fields == VMA_FIELDS | FILE_FIELDS);
    ensure!(header.fields_wanted == MAPS.fields_wanted);
    ensure!(header.flags & MAPS_LOCKLESS_BATCH_SELECTED == 0);
    let answer = file.request(ALL)?;
    ensure!(answer.fields_supported == header.fields_supported);
    ensure!(answer.vma_flags_supported == header.vma_flags_supported);
    ensure!(answer.size == size_of::<maps_lockless_request>() as u64);
    let state = file.state()?;
    ensure!(state.fields_supported == header.fields_supported);
    ensure!(state.vma_flags_supported == header.vma_flags_supported);
    ensure!(state.page_size == header.page_size);
    ensure!(file.batch_at(MIN, 0)?.header()?.fields_wanted == ALL.fields_wanted);
    Ok(())
}

/// What a record has of one field, and of its file's.
fn values(vma: &maps_lockless_vma, file: &maps_lockless_file) -> [(u64, u64); 9] {
    let name = u64::from(vma.name_kind) << 32 | u64::from(vma.name_len);
    let device = u64::from(file.dev_major) << 32 | u64::from(file.dev_minor);
    let deleted = file.flags & MAPS_LOCKLESS_FILE_DELETED;
    [
        (MAPS_LOCKLESS_FIELD_FLAGS, vma.vma_flags),
        (MAPS_LOCKLESS_FIELD_OFFSET, vma.offset),
        (MAPS_LOCKLESS_FIELD_NAME, name),
        (MAPS_LOCKLESS_FIELD_PAGE_SIZE, vma.page_shift.into()),
        (MAPS_LOCKLESS_FIELD_DEV, device),
        (MAPS_LOCKLESS_FIELD_INO, file.ino),
        (MAPS_LOCKLESS_FIELD_PATH, file.path_len.into()),
        (MAPS_LOCKLESS_FIELD_DELETED, deleted.into()),
        (MAPS_LOCKLESS_FIELD_BUILD_ID, file.build_id_len.into()),
    ]
}

/// The fixed parts of all records of VMAs and of their files.
fn with_files(
    pid: u32,
    fields_wanted: u64,
) -> Result<Vec<(maps_lockless_vma, Option<maps_lockless_file>)>> {
    let request = maps_lockless_request {
        fields_wanted,
        ..MAPS
    };
    let mut all = Vec::new();
    for owned in Lockless::with_request(pid, request)?.batches(MAX)? {
        // The range is always told.
        let told = owned.header()?.fields_wanted;
        ensure!(
            told == fields_wanted | MAPS_LOCKLESS_FIELD_RANGE,
            "{told:#x}"
        );
        let vmas = owned.vmas()?.into_iter();
        all.extend(vmas.map(|vma| (vma.fields, vma.file.map(|file| file.fields))));
    }
    Ok(all)
}

fn fields() -> Result<()> {
    let target = Target::start("build-ids")?;
    let whole = with_files(target.pid(), ALL.fields_wanted)?;
    let range = MAPS_LOCKLESS_FIELD_RANGE;
    for bit in (0..13)
        .map(|n| 1 << n)
        .filter(|bit| ALL.fields_wanted & bit != 0)
    {
        let listed = with_files(target.pid(), bit)?;
        ensure!(listed.len() == whole.len(), "{bit:#x}");
        let mut seen = false;
        for ((got, got_file), (full, full_file)) in listed.iter().zip(&whole) {
            ensure!((got.start, got.end) == (full.start, full.end));
            ensure!(
                got.valid == full.valid & (bit | range),
                "{bit:#x}: {got:?}, not {full:?}"
            );
            // The file's record is there for what is asked for of files alone.
            let has_file = full_file.is_some() && bit & FILE_FIELDS != 0;
            ensure!(got_file.is_some() == has_file, "{bit:#x}: {got:?}");
            let (got_file, full_file) =
                (got_file.unwrap_or_default(), full_file.unwrap_or_default());
            ensure!(got_file.valid == full_file.valid & bit);
            let (got, full) = (values(got, &got_file), values(full, &full_file));
            for ((field, value), (_, whole)) in got.into_iter().zip(full) {
                let expected = if field == bit { whole } else { 0 };
                ensure!(value == expected, "{bit:#x}: {field:#x} is {value:#x}");
                seen |= value != 0;
            }
        }
        // None of its files was unlinked.
        let nothing = [range, MAPS_LOCKLESS_FIELD_DELETED].contains(&bit);
        ensure!(seen != nothing, "{bit:#x}");
    }
    Ok(())
}

/// What a listing with a request must be, judged by one without.
fn selected(whole: &[maps_lockless_vma], request: &maps_lockless_request) -> Vec<(u64, u64)> {
    whole
        .iter()
        .filter(|vma| {
            let flags = vma.vma_flags;
            flags & request.vma_flags_all == request.vma_flags_all
                && flags & request.vma_flags_none == 0
                && (request.vma_flags_any == 0 || flags & request.vma_flags_any != 0)
                && vma.end > request.start
                && (request.end == 0 || vma.start < request.end)
        })
        .map(|vma| (vma.vma_start, vma.end))
        .collect()
}

fn true_ranges(vmas: &[maps_lockless_vma]) -> Vec<(u64, u64)> {
    vmas.iter().map(|vma| (vma.vma_start, vma.end)).collect()
}

fn check_selection(
    pid: u32,
    whole: &[maps_lockless_vma],
    request: maps_lockless_request,
) -> Result<usize> {
    let mut file = Lockless::with_request(pid, request)?;
    let got = true_ranges(&file.fields()?);
    let expected = selected(whole, &request);
    ensure!(
        got == expected,
        "{request:?}:\n{got:x?}, not\n{expected:x?}"
    );
    file.seek(0)?;
    ensure!(file.batch(MAX)?.batch()?.is_selected());
    Ok(got.len())
}

fn by_flags() -> Result<()> {
    let target = Target::start("protections")?;
    let whole = Lockless::open(target.pid())?.fields()?;
    let bits = [
        MAPS_LOCKLESS_VMA_READ,
        MAPS_LOCKLESS_VMA_WRITE,
        MAPS_LOCKLESS_VMA_EXEC,
        MAPS_LOCKLESS_VMA_SHARED,
        MAPS_LOCKLESS_VMA_FILE,
    ];
    let (mut some, mut all) = (0, 0);
    for set in 1..1 << bits.len() {
        let mask = (0..bits.len())
            .filter(|n| set >> n & 1 != 0)
            .map(|n| bits[n])
            .sum();
        for request in [
            maps_lockless_request {
                vma_flags_all: mask,
                ..MAPS
            },
            maps_lockless_request {
                vma_flags_any: mask,
                ..MAPS
            },
            maps_lockless_request {
                vma_flags_none: mask,
                ..MAPS
            },
            // The flags select whether or not they are wanted themselves.
            maps_lockless_request {
                vma_flags_any: mask,
                fields_wanted: MAPS_LOCKLESS_FIELD_PATH,
                ..MAPS
            },
            maps_lockless_request {
                vma_flags_all: MAPS_LOCKLESS_VMA_FILE,
                vma_flags_any: mask,
                vma_flags_none: MAPS_LOCKLESS_VMA_WRITE,
                ..MAPS
            },
        ] {
            let count = check_selection(target.pid(), &whole, request)?;
            some += usize::from(count > 0 && count < whole.len());
            all += 1;
        }
    }
    println!("# {some} of {all} requests selected some of the VMAs and not all");
    ensure!(some > all / 2);
    Ok(())
}

fn by_range() -> Result<()> {
    let target = Target::start("vmas-1000")?;
    let whole = Lockless::open(target.pid())?.fields()?;
    let middle = whole[whole.len() / 2];
    let last = whole.last().context("no VMA")?;
    for (start, end) in [
        (middle.start, middle.end),
        (middle.start + 1, middle.end - 1),
        (middle.start, middle.start + 1),
        (middle.end - 1, 0),
        (0, middle.start),
        (0, middle.start + 1),
        (1, 0),
        (0, 1),
        (last.start, 0),
        (last.start, u64::MAX),
        (last.end, 0),
        (u64::MAX - 1, u64::MAX),
    ] {
        let request = maps_lockless_request { start, end, ..MAPS };
        check_selection(target.pid(), &whole, request)?;
    }

    // A listing of a range clips at its start, as it does at a position. A position within goes on.
    let big = Target::start("plain")?;
    let stack = Lockless::open(big.pid())?.rest(MAX)?.0;
    let stack = stack
        .iter()
        .find(|m| m.name == maps_lockless::Name::Stack)
        .context("no stack")?;
    let within = stack.end - PAGE as u64;
    let request = maps_lockless_request {
        start: within + 1,
        end: stack.end,
        ..MAPS
    };
    let file = Lockless::with_request(big.pid(), request)?;
    for address in [0, within] {
        let owned = file.batch_at(MAX, address)?;
        let vmas = owned.vmas()?;
        ensure!(vmas.len() == 1 && owned.is_final());
        let fields = vmas[0].fields;
        ensure!((fields.start, fields.vma_start, fields.end) == (within, stack.start, stack.end));
        ensure!(fields.flags == MAPS_LOCKLESS_REC_CLIPPED);
    }
    let behind = file.batch_at(MAX, stack.end)?;
    ensure!(behind.is_final() && behind.header()?.count == 0);
    Ok(())
}

fn by_number() -> Result<()> {
    let target = Target::start("vmas-1000")?;
    let whole = Lockless::open(target.pid())?.fields()?;
    // The last mapping is in no maple tree, and counts as well where flags select. These select all.
    for vma_flags_any in [0, MAPS_LOCKLESS_VMA_MAYREAD | MAPS_LOCKLESS_VMA_EXEC] {
        for max_records in [1, 2, 3, 7, 1000, u32::MAX] {
            let request = maps_lockless_request {
                vma_flags_any,
                max_records,
                ..MAPS
            };
            let mut file = Lockless::with_request(target.pid(), request)?;
            let mut all = Vec::new();
            for owned in file.batches(MAX)? {
                let vmas = owned.vmas()?;
                let count = vmas.len() as u32;
                ensure!(count <= max_records, "{count} records");
                let limited = owned.header()?.end_reason == MAPS_LOCKLESS_END_LIMIT;
                ensure!(limited == (count == max_records && !owned.is_final()));
                all.extend(vmas.iter().map(|vma| (vma.fields.start, vma.fields.end)));
            }
            ensure!(
                all == true_ranges(&whole),
                "{max_records} of {vma_flags_any:#x}"
            );
            let selected = file.batch_at(MIN, 0)?.batch()?.is_selected();
            ensure!(selected == (vma_flags_any != 0));
        }
    }
    // A point lookup: one mapping, its true range, and no more work than that.
    let file = Lockless::with_request(
        target.pid(),
        maps_lockless_request {
            max_records: 1,
            ..MAPS
        },
    )?;
    for vma in &whole {
        let owned = file.batch_at(MAX, vma.end - 1)?;
        let vmas = owned.vmas()?;
        let found = vmas[0].fields;
        ensure!((found.vma_start, found.end) == (vma.start, vma.end));
        // Behind the last one, which is in no maple tree, there is nothing.
        let next = match owned.is_final() {
            true => MAPS_LOCKLESS_NEXT_NONE,
            false => vma.end,
        };
        ensure!(vmas.len() == 1 && owned.header()?.next == next);
    }
    Ok(())
}

fn files_uncounted() -> Result<()> {
    let target = Target::start("build-ids")?;
    let request = maps_lockless_request {
        max_records: 3,
        ..ALL
    };
    let mut most = 0;
    for owned in Lockless::with_request(target.pid(), request)?.batches(MAX)? {
        let (vmas, files) = (owned.vmas()?.len(), owned.files()?.len());
        ensure!(vmas == 3 || owned.is_final(), "{vmas}");
        ensure!(owned.header()?.count as usize == vmas + files);
        most = most.max(files);
    }
    ensure!(most == 3, "{most} files in a batch at most");
    Ok(())
}

/// The limits of what one read does, and that a reader gets on all the same.
fn nothing() -> Result<()> {
    let (target, count) = Target::with_most_vmas()?;
    let request = maps_lockless_request {
        vma_flags_all: MAPS_LOCKLESS_VMA_READ,
        vma_flags_none: MAPS_LOCKLESS_VMA_READ,
        ..MAPS
    };
    let mut file = Lockless::with_request(target.pid(), request)?;
    let batches = file.batches(MAX)?;
    let mut next = 0;
    for owned in &batches[..batches.len() - 1] {
        let header = owned.header()?;
        ensure!(header.count == 0 && header.end_reason == MAPS_LOCKLESS_END_BUDGET);
        let flags = header.flags & !MAPS_LOCKLESS_BATCH_FIRST;
        ensure!(flags == MAPS_LOCKLESS_BATCH_SELECTED && header.next > next);
        next = header.next;
    }
    let last = batches.last().context("no batch")?.header()?;
    ensure!(last.count == 0 && last.end_reason == MAPS_LOCKLESS_END_COMPLETE);
    println!("# {count} VMAs, {} reads", batches.len());
    // A read looks 65,536 times, at VMAs and gaps.
    let fewest = count / 65_536;
    ensure!(batches.len() > fewest && batches.len() <= 2 * fewest);
    Ok(())
}

/// Each answer of PROCMAP_QUERY can be had by a request and a pread(2).
fn same_as_query() -> Result<()> {
    let target = Target::start("protections")?;
    let maps = fs::File::open(format!("/proc/{}/maps", target.pid()))?;
    let whole = Lockless::open(target.pid())?.fields()?;
    let permissions = [
        MAPS_LOCKLESS_VMA_READ,
        MAPS_LOCKLESS_VMA_WRITE,
        MAPS_LOCKLESS_VMA_EXEC,
        MAPS_LOCKLESS_VMA_SHARED,
    ];
    let (mut found, mut none) = (0, 0);
    for flags in 0..64_u64 {
        let mut all: u64 = (0..4)
            .filter(|n| flags >> n & 1 != 0)
            .map(|n| permissions[n])
            .sum();
        if flags & query::FILE_BACKED_VMA != 0 {
            all |= MAPS_LOCKLESS_VMA_FILE;
        }
        let request = maps_lockless_request {
            vma_flags_all: all,
            max_records: 1,
            ..ALL
        };
        let file = Lockless::with_request(target.pid(), request)?;
        for vma in whole.iter().filter(|vma| vma.start < 1 << 63) {
            for address in [vma.start, vma.end - 1, vma.end, vma.start - 1] {
                let theirs = query::query(&maps, flags, address)?;
                let owned = file.batch_at(MAX, address)?;
                let vmas = owned.vmas()?;
                let or_next = flags & query::COVERING_OR_NEXT_VMA != 0;
                // vsyscall is no VMA, so that PROCMAP_QUERY does not know of it.
                let ours = vmas.first().filter(|ours| {
                    ours.fields.start < 1 << 63 && (or_next || ours.fields.vma_start <= address)
                });
                match (theirs, ours) {
                    (None, None) => none += 1,
                    (Some(theirs), Some(ours)) => {
                        found += 1;
                        let mapping = MappingRef::new(ours, &owned.header()?);
                        let range = (ours.fields.vma_start, ours.fields.end);
                        ensure!(range == (theirs.vma_start, theirs.vma_end));
                        ensure!(ours.fields.vma_flags & 15 == theirs.vma_flags);
                        ensure!(mapping.page_size == Some(theirs.vma_page_size));
                        ensure!(mapping.inode.unwrap_or(0) == theirs.inode);
                        let clipped = ours.fields.start - ours.fields.vma_start;
                        let whole = ours.fields.offset.wrapping_sub(clipped);
                        ensure!(mapping.inode.is_none() || whole == theirs.vma_offset);
                    }
                    (theirs, ours) => anyhow::bail!(
                        "{flags:#x} at {address:x}: {theirs:x?} by PROCMAP_QUERY, here {ours:x?}"
                    ),
                }
            }
        }
    }
    println!("# {found} found, {none} not, by both");
    ensure!(found > 0 && none > 0);
    Ok(())
}
