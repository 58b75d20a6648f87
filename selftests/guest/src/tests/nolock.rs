// SPDX-License-Identifier: MIT OR Apache-2.0

//! A reader takes no lock of the process that it reads, by the kernel's own account.
//!
//! Every `mmap_lock` is taken by a function of `mmap_lock.h`, and each of these has a tracepoint. Each
//! lock of a single VMA is taken by one of two functions that can be traced, or under the `mmap_lock`.
//! A kernel with lockdep tells each lock by its name besides.

use super::Test;
use crate::{
    child::Target,
    query,
    raw::{ALL, HEADER, Lockless, MAPS, RANGES, RECORD, position_of},
    shapes::PAGE,
    trace::{Event, Trace},
};
use anyhow::{Context, Result, bail, ensure};
use maps_lockless::{decode::Batch, wire::*};
use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
};

const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
/// How many lookups, calls for the state and small reads are made.
const TIMES: usize = 200;
/// How often something is done anew in which the reader took a lock of its own.
const ATTEMPTS: usize = 20;

/// Tracepoints of every `mmap_lock`, and lockdep's of both kinds of lock.
const MMAP_LOCK: &str = "mmap_lock/mmap_lock_start_locking";
const LOCKDEP: &str = "lock/lock_acquire";
const EVENTS: [(&str, &str); 2] = [
    (MMAP_LOCK, "0"),
    (LOCKDEP, "name == \"vm_lock\" || name == \"&mm->mmap_lock\""),
];
/// All that take the lock of a VMA for reading.
const VMA_LOCK: [&str; 2] = ["lock_vma_under_rcu", "lock_next_vma"];

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new("no lock: counted, by every option", counted)]
}

/// The locks that a thread took.
#[derive(Debug, Default, PartialEq, Eq)]
struct Locks {
    /// `mmap_lock`s.
    mmap: usize,
    /// Locks of single VMAs.
    vma: usize,
    /// Both, by lockdep.
    lockdep: usize,
}

/// How the thread's own mm is called in events.
struct Own {
    mm: String,
    /// Its `mmap_lock`, by lockdep.
    lock: Option<String>,
}

/// The locks of other processes that were taken, and whether any of the thread's own was: its page
/// faults, and its allocations, take them.
fn count(events: &[Event], own: &Own) -> Result<(Locks, bool)> {
    let mut locks = Locks::default();
    let mut took_own = false;
    for event in events {
        let (about, _) = event.text.split_once(' ').unwrap_or((&event.text, ""));
        match &event.name[..] {
            "mmap_lock_start_locking" if about == own.mm => took_own = true,
            "mmap_lock_start_locking" => locks.mmap += 1,
            name if VMA_LOCK.contains(&name) && event.text.contains("fault") => took_own = true,
            name if VMA_LOCK.contains(&name) => locks.vma += 1,
            // Said of each copy to user space, whether or not it faults: see might_fault().
            "lock_acquire" if own.lock.as_deref() == Some(about) => {}
            "lock_acquire" => locks.lockdep += 1,
            _ => bail!("{event:?}"),
        }
    }
    Ok((locks, took_own))
}

/// Does something until it is done without a lock of the thread's own.
fn locks<T>(trace: &Trace, own: &Own, mut what: impl FnMut() -> Result<T>) -> Result<(T, Locks)> {
    for _ in 0..ATTEMPTS {
        let (done, events) = trace.record(&mut what)?;
        if let (locks, false) = count(&events, own)? {
            return Ok((done, locks));
        }
    }
    bail!("the reader takes locks of its own each time")
}

/// Finds out how this process's mm is called.
fn own(trace: &Trace) -> Result<Own> {
    let this = std::process::id();
    let path = format!("/proc/{this}/smaps_rollup");
    let (_, events) = trace.record(|| Ok(fs::read(&path)?))?;
    let first = |name: &str, end: &str| {
        let mut events = events.iter();
        let event = events.find(|event| event.name == name && event.text.ends_with(end))?;
        Some(event.text.split(' ').next()?.to_owned())
    };
    let mm = first("mmap_lock_start_locking", "").context("no mmap_lock")?;
    ensure!(mm.starts_with("mm="), "{mm}");
    let lock = first("lock_acquire", "&mm->mmap_lock");
    ensure!(lock.is_some() == trace.has(LOCKDEP));
    Ok(Own { mm, lock })
}

/// Reads from the position to the end of the listing. Returns the number of records and of reads.
fn to_the_end(file: &mut File, buffer: &mut [u8]) -> Result<(usize, usize)> {
    let (mut records, mut reads) = (0, 0);
    file.seek(SeekFrom::Start(0))?;
    loop {
        let len = file.read(buffer)?;
        let batch = Batch::parse(&buffer[..len])?;
        records += batch.header().count as usize;
        reads += 1;
        if batch.is_final() {
            return Ok((records, reads));
        }
    }
}

/// A way to read, by a buffer. Returns how many records it got.
type Way<'a> = Box<dyn FnMut(&mut [u8]) -> Result<usize> + 'a>;

/// All ways to read maps_lockless.
fn ways(target: &Target) -> Result<Vec<(&'static str, Way<'static>)>> {
    let pid = target.pid();
    let whole = |request| -> Result<Way<'static>> {
        let mut file = Lockless::with_request(pid, request)?;
        Ok(Box::new(move |buffer| {
            Ok(to_the_end(&mut file.0, buffer)?.0)
        }))
    };
    let anonymous = maps_lockless_request {
        vma_flags_all: MAPS_LOCKLESS_VMA_READ,
        vma_flags_none: MAPS_LOCKLESS_VMA_FILE,
        ..ALL
    };
    let nothing = maps_lockless_request {
        vma_flags_all: MAPS_LOCKLESS_VMA_READ,
        vma_flags_none: MAPS_LOCKLESS_VMA_READ,
        ..MAPS
    };
    let one = maps_lockless_request {
        max_records: 1,
        ..ALL
    };
    let start = u64::from_str_radix(&target.said, 16).context("where the arena is")?;
    let mut small = Lockless::with_request(pid, RANGES)?;
    let lookup = Lockless::with_request(pid, one)?;
    let kept = Lockless::open(pid)?;
    Ok(vec![
        ("all that maps shows", whole(MAPS)?),
        ("all fields", whole(ALL)?),
        ("ranges alone", whole(RANGES)?),
        ("those without file", whole(anonymous)?),
        ("none of them", whole(nothing)?),
        (
            "a range of addresses",
            whole(maps_lockless_request {
                start: start + 100 * PAGE as u64,
                end: start + 10_000 * PAGE as u64,
                ..ALL
            })?,
        ),
        (
            "one record a read",
            Box::new(move |buffer| {
                small.seek(0)?;
                let mut records = 0;
                for _ in 0..TIMES {
                    let len = small.0.read(&mut buffer[..HEADER + RECORD])?;
                    records += Batch::parse(&buffer[..len])?.header().count as usize;
                }
                Ok(records)
            }),
        ),
        (
            "lookups by pread",
            Box::new(move |buffer| {
                let mut records = 0;
                for page in 0..TIMES {
                    let address = start + (page * 100 * PAGE) as u64;
                    let len = lookup.0.read_at(buffer, position_of(address))?;
                    records += Batch::parse(&buffer[..len])?.header().count as usize;
                }
                Ok(records)
            }),
        ),
        (
            "calls for the state",
            Box::new(move |_| {
                for _ in 0..TIMES {
                    ensure!(kept.state()?.status == MAPS_LOCKLESS_STATUS_LIVE);
                    kept.requested()?;
                }
                Ok(TIMES)
            }),
        ),
        (
            "open, ioctl, read, close",
            Box::new(move |buffer| {
                let mut file = Lockless::with_request(pid, ALL)?;
                Ok(to_the_end(&mut file.0, &mut buffer[..MAX / 8])?.0)
            }),
        ),
    ])
}

fn counted() -> Result<()> {
    let target = Target::start("churn")?;
    let pid = target.pid();
    let trace = Trace::new(&VMA_LOCK, &EVENTS)?;
    let own = own(&trace)?;
    // Every page of it is touched here.
    let mut buffer = vec![0xaa; MAX];

    for (name, mut way) in ways(&target)? {
        let (records, locks) = locks(&trace, &own, || way(&mut buffer))?;
        println!("# maps_lockless, {name}: {records} records, {locks:?}");
        ensure!(records > 0 || name == "none of them");
        ensure!(locks == Locks::default(), "{name}: {locks:?}");
    }

    // The same count of those who do take locks.
    let lockdep = trace.has(LOCKDEP);
    let (lines, of_maps) = locks(&trace, &own, || {
        let mut maps = File::open(format!("/proc/{pid}/maps"))?;
        let mut lines = 0;
        loop {
            match maps.read(&mut buffer)? {
                0 => return Ok(lines),
                len => lines += buffer[..len].iter().filter(|byte| **byte == b'\n').count(),
            }
        }
    })?;
    println!("# maps: {lines} lines, {of_maps:?}");
    // The last one is in no maple tree.
    ensure!(lines > 1 && of_maps.vma >= lines - 1);
    let maps = File::open(format!("/proc/{pid}/maps"))?;
    let (found, of_query) = locks(&trace, &own, || {
        let (mut found, mut address) = (0, 0);
        while let Some(query) = query::query(&maps, query::COVERING_OR_NEXT_VMA, address)? {
            address = query.vma_end;
            found += 1;
        }
        Ok(found)
    })?;
    println!("# PROCMAP_QUERY: {found} found, {of_query:?}");
    ensure!(found > 0 && of_query.vma >= found);
    let rollup = format!("/proc/{pid}/smaps_rollup");
    let (_, of_rollup) = locks(&trace, &own, || Ok(File::open(&rollup)?.read(&mut buffer)?))?;
    println!("# smaps_rollup: {of_rollup:?}");
    ensure!(of_rollup.mmap > 0);
    if lockdep {
        ensure!(of_maps.lockdep > 0 && of_query.lockdep > 0 && of_rollup.lockdep > 0);
    }
    Ok(())
}
