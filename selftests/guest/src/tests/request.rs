// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a reader asks for by ioctl(2), and gets.

use super::{Test, errno};
use crate::{
    child::Target,
    query,
    raw::{ALL, HEADER, IOC_REQUEST, Lockless, MAPS},
    shapes::PAGE,
};
use anyhow::{Context, Result, ensure};
use maps_lockless::{BuildId, MappingRef, wire::*};
use nix::{errno::Errno, libc};
use std::fs;

const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
const REQUEST: usize = size_of::<maps_lockless_request>();

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("request: tells what is supported", supported),
        Test::new("request: each field by itself", fields),
        Test::new("request: VMAs by their flags", by_flags),
        Test::new("request: VMAs of a range", by_range),
        Test::new("request: a number of records", by_number),
        Test::new("request: is of one open file", one_open_file),
        Test::new(
            "request: nothing among very many VMAs ends each read in time",
            nothing,
        ),
        Test::new("request: finds what PROCMAP_QUERY finds", same_as_query),
        Test::new("request: what is not understood is refused", refused),
        Test::new("request: sizes, pointers and numbers", sizes),
    ]
}

fn supported() -> Result<()> {
    let mut file = Lockless::open(std::process::id())?;
    let header = file.batch(HEADER)?.header()?;
    ensure!(header.fields == ALL.fields && header.fields_asked == MAPS.fields);
    ensure!(header.flags & MAPS_LOCKLESS_BATCH_SELECTED == 0);
    let answer = file.request(ALL)?;
    ensure!(answer.supported_fields == header.fields);
    ensure!(answer.supported_vma_flags == header.vma_flags && answer.size == REQUEST as u64);
    ensure!(file.batch(HEADER)?.header()?.fields_asked == ALL.fields);
    Ok(())
}

fn fields() -> Result<()> {
    let target = Target::start("file-vmas-1000")?;
    let whole = Lockless::with_request(target.pid(), ALL)?.fields()?;
    for bit in (0..6).map(|n| 1 << n) {
        let mut file = Lockless::with_request(
            target.pid(),
            maps_lockless_request {
                fields: bit,
                ..MAPS
            },
        )?;
        let mut seen = 0;
        for owned in file.batches(MAX)? {
            ensure!(owned.header()?.fields_asked == bit);
            for vma in owned.vmas()? {
                let (got, full) = (vma.fields, whole.get(seen).context("too many")?);
                seen += 1;
                ensure!((got.start, got.end) == (full.start, full.end));
                ensure!(
                    got.valid == full.valid & bit,
                    "{bit:#x}: {got:?}, not {full:?}"
                );
                let name = bit == MAPS_LOCKLESS_FIELD_NAME;
                ensure!(got.name_kind == if name { full.name_kind } else { 0 });
                ensure!(got.name_len == if name { full.name_len } else { 0 });
                let or_zero = |field, value: u64| if bit == field { value } else { 0 };
                ensure!(got.vma_flags == or_zero(MAPS_LOCKLESS_FIELD_FLAGS, full.vma_flags));
                ensure!(got.pgoff == or_zero(MAPS_LOCKLESS_FIELD_PGOFF, full.pgoff));
                ensure!(got.ino == or_zero(MAPS_LOCKLESS_FIELD_INO, full.ino));
                let device = u64::from(got.dev_major) << 32 | u64::from(got.dev_minor);
                let full = u64::from(full.dev_major) << 32 | u64::from(full.dev_minor);
                ensure!(device == or_zero(MAPS_LOCKLESS_FIELD_DEV, full));
                ensure!(bit == MAPS_LOCKLESS_FIELD_BUILD_ID || vma.build_id() == BuildId::Unknown);
            }
        }
        ensure!(seen == whole.len(), "{bit:#x}");
    }
    // The ranges alone.
    let ranges = Lockless::with_request(target.pid(), maps_lockless_request { fields: 0, ..MAPS })?
        .fields()?;
    ensure!(ranges.len() == whole.len() && ranges.iter().all(|vma| vma.valid == 0));
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
                fields: MAPS_LOCKLESS_FIELD_NAME,
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
    for max_records in [1, 2, 7, 1000, u32::MAX] {
        let request = maps_lockless_request {
            max_records,
            ..MAPS
        };
        let mut file = Lockless::with_request(target.pid(), request)?;
        let mut all = Vec::new();
        for owned in file.batches(MAX)? {
            let header = owned.header()?;
            ensure!(header.count <= max_records);
            let limited = header.end_reason == MAPS_LOCKLESS_END_LIMIT;
            ensure!(limited == (header.count == max_records && !owned.is_final()));
            all.extend(
                owned
                    .vmas()?
                    .iter()
                    .map(|vma| (vma.fields.start, vma.fields.end)),
            );
        }
        ensure!(all == true_ranges(&whole), "{max_records}");
        ensure!(!file.batch_at(HEADER, 0)?.batch()?.is_selected());
    }
    // A point lookup: one record, its true range, and no more work than that.
    let file = Lockless::with_request(
        target.pid(),
        maps_lockless_request {
            max_records: 1,
            ..MAPS
        },
    )?;
    for vma in whole.iter().filter(|vma| vma.start < 1 << 63) {
        let owned = file.batch_at(MAX, vma.end - 1)?;
        let found = owned.vmas()?[0].fields;
        ensure!((found.vma_start, found.end) == (vma.start, vma.end));
        ensure!(owned.header()?.count == 1 && owned.header()?.next == vma.end);
    }
    Ok(())
}

fn one_open_file() -> Result<()> {
    let target = Target::start("plain")?;
    let mut plain = Lockless::open(target.pid())?;
    let exec = maps_lockless_request {
        vma_flags_all: MAPS_LOCKLESS_VMA_EXEC,
        ..MAPS
    };
    let mut asked = Lockless::with_request(target.pid(), exec)?;
    let (all, some) = (plain.fields()?.len(), asked.fields()?.len());
    ensure!(0 < some && some < all);
    // A duplicate is the same open file, and a later request replaces the one before.
    let mut duplicate = Lockless(asked.0.try_clone()?);
    duplicate.request(MAPS)?;
    asked.seek(0)?;
    ensure!(asked.fields()?.len() == all);
    duplicate.seek(0)?;
    ensure!(duplicate.fields()?.len() == all);
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
        ensure!(header.flags == MAPS_LOCKLESS_BATCH_SELECTED && header.next > next);
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
                        let mapping = MappingRef::new(ours, u64::MAX);
                        let range = (ours.fields.vma_start, ours.fields.end);
                        ensure!(range == (theirs.vma_start, theirs.vma_end));
                        ensure!(ours.fields.vma_flags & 15 == theirs.vma_flags);
                        ensure!(mapping.inode.unwrap_or(0) == theirs.inode);
                        let whole = ours.fields.pgoff - (ours.fields.start - ours.fields.vma_start);
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

fn refused() -> Result<()> {
    let file = Lockless::open(std::process::id())?;
    let supported = file.request(MAPS)?.supported_vma_flags;
    let unknown = 1 << (!supported).trailing_zeros();
    for request in [
        maps_lockless_request {
            fields: 1 << 6,
            ..MAPS
        },
        maps_lockless_request {
            fields: 1 << 63,
            ..MAPS
        },
        maps_lockless_request {
            vma_flags_all: unknown,
            ..MAPS
        },
        maps_lockless_request {
            vma_flags_any: unknown,
            ..MAPS
        },
        maps_lockless_request {
            vma_flags_none: unknown,
            ..MAPS
        },
        maps_lockless_request {
            reserved: 1,
            ..MAPS
        },
        maps_lockless_request {
            start: 4096,
            end: 4096,
            ..MAPS
        },
        maps_lockless_request {
            start: 4097,
            end: 4096,
            ..MAPS
        },
        maps_lockless_request {
            start: u64::MAX,
            ..MAPS
        },
    ] {
        ensure!(
            errno(file.request(request)) == Some(Errno::EINVAL),
            "{request:?}"
        );
    }
    // What was asked for before stays.
    ensure!(file.batch_at(HEADER, 0)?.header()?.fields_asked == MAPS.fields);
    // What the kernel answers may hold anything before.
    file.request(maps_lockless_request {
        supported_fields: u64::MAX,
        supported_vma_flags: 77,
        ..MAPS
    })?;
    Ok(())
}

fn sizes() -> Result<()> {
    let file = Lockless::open(std::process::id())?;
    let mut words = [0_u64; 600];
    let ioctl =
        |number, words: &mut [u64]| file.ioctl(number, words.as_mut_ptr().expose_provenance());
    words[1] = ALL.fields;
    let good = words;
    for (size, expected) in [
        (0, Some(Errno::EINVAL)),
        (1, Some(Errno::EINVAL)),
        (8, Some(Errno::EINVAL)),
        (REQUEST - 8, Some(Errno::EINVAL)),
        (REQUEST - 1, Some(Errno::EINVAL)),
        (REQUEST, None),
        (REQUEST + 1, None),
        (REQUEST + 8, None),
        (PAGE, None),
        (PAGE + 1, Some(Errno::E2BIG)),
        (usize::MAX, Some(Errno::E2BIG)),
    ] {
        words = good;
        words[0] = size as u64;
        ensure!(errno(ioctl(IOC_REQUEST, &mut words)) == expected, "{size}");
        if expected.is_none() {
            ensure!(words[8] == ALL.fields, "{size}: no answer");
            ensure!(
                words[10..].iter().all(|&word| word == 0),
                "{size}: written behind"
            );
        }
    }
    // A struct of a later version: only what is not used of it may be sent to this kernel.
    words = good;
    (words[0], words[10]) = (REQUEST as u64 + 8, 1);
    ensure!(errno(ioctl(IOC_REQUEST, &mut words)) == Some(Errno::E2BIG));

    for address in [0, PAGE, usize::MAX & !(PAGE - 1), usize::MAX] {
        let result = file.ioctl(IOC_REQUEST, address);
        ensure!(errno(result) == Some(Errno::EFAULT), "{address:x}");
    }
    // Where the answer cannot be written, nothing has changed.
    file.request(MAPS)?;
    static READ_ONLY: maps_lockless_request = ALL;
    let result = file.ioctl(IOC_REQUEST, (&raw const READ_ONLY).expose_provenance());
    ensure!(errno(result) == Some(Errno::EFAULT));
    ensure!(file.batch_at(HEADER, 0)?.header()?.fields_asked == MAPS.fields);

    let number = |direction: u64, size: u64, nr: u64| direction << 30 | size << 16 | 0x66 << 8 | nr;
    for wrong in [
        0,
        u64::from(u32::MAX),
        query::PROCMAP_QUERY,
        number(3, 8, 17),
        number(3, 8, 19),
        number(3, REQUEST as u64, 18),
        number(3, 0, 18),
        number(1, 8, 18),
        number(2, 8, 18),
        number(0, 0, 18),
        libc::TCGETS,
    ] {
        words = good;
        ensure!(
            errno(ioctl(wrong, &mut words)) == Some(Errno::ENOTTY),
            "{wrong:#x}"
        );
    }
    let maps = Lockless(fs::File::open("/proc/self/maps")?);
    ensure!(errno(maps.request(MAPS)) == Some(Errno::ENOTTY));
    Ok(())
}
