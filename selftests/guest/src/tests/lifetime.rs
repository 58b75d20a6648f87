// SPDX-License-Identifier: MIT OR Apache-2.0

//! Processes that exit, call execve, or never had an address space.

use super::{Test, snapshot};
use crate::{
    child::Target,
    raw::{HEADER, Lockless, Owned},
};
use anyhow::{Result, ensure};
use maps_lockless::{Completeness, Process, Source, wire::*};
use std::{fs, thread, time::Duration};

const MIN: usize = MAPS_LOCKLESS_MIN_BUFFER as usize;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "lifetime: a kernel thread has no address space",
            kernel_thread,
        ),
        Test::new("lifetime: a zombie has no address space", zombie),
        Test::new("lifetime: exit in the middle of a listing", exit_meanwhile),
        Test::new(
            "lifetime: execve in the middle of a listing",
            exec_meanwhile,
        ),
        Test::new("lifetime: a reader that dies in the middle", reader_dies),
        Test::new("lifetime: processes that come and go", come_and_go),
    ]
}

fn is_final(owned: &Owned, reason: u32) -> Result<()> {
    let header = owned.header()?;
    ensure!(header.end_reason == reason, "{header:?}");
    ensure!(owned.is_final() && header.count == 0 && owned.bytes().len() == HEADER);
    ensure!(header.next == MAPS_LOCKLESS_NEXT_NONE);
    Ok(())
}

fn no_address_space(pid: u32) -> Result<()> {
    let mut file = Lockless::open(pid)?;
    let batch = file.batch(MIN)?;
    is_final(&batch, MAPS_LOCKLESS_END_NO_MM)?;
    let header = batch.header()?;
    ensure!((header.mm_id, header.seq_begin, header.seq_end) == (0, 0, 0));
    ensure!(header.vma_count == 0 && file.position()? == MAPS_LOCKLESS_POS_END);
    ensure!(file.read(MIN)?.is_none());
    let state = file.state()?;
    ensure!(state.status == MAPS_LOCKLESS_STATUS_NO_MM, "{state:?}");
    ensure!((state.mm_id, state.seq, state.vma_count) == (0, 0, 0));
    let listing = snapshot(&Process::new(pid), Source::Lockless)?;
    ensure!(listing.completeness == Completeness::NoAddressSpace);
    ensure!(listing.mappings.is_empty());
    Ok(())
}

fn kernel_thread() -> Result<()> {
    // kthreadd
    no_address_space(2)
}

fn zombie() -> Result<()> {
    let mut target = Target::start("plain")?;
    target.kill()?;
    let stat = format!("/proc/{}/stat", target.pid());
    while !fs::read_to_string(&stat)?.contains(") Z ") {
        thread::sleep(Duration::from_millis(5));
    }
    no_address_space(target.pid())
}

fn exit_meanwhile() -> Result<()> {
    let mut target = Target::start("vmas-1000")?;
    let mut file = Lockless::open(target.pid())?;
    let first = file.batch(MIN)?.header()?;
    ensure!(first.end_reason == MAPS_LOCKLESS_END_FULL);
    ensure!(first.flags == MAPS_LOCKLESS_BATCH_FIRST);
    target.kill()?;
    target.reap()?;

    is_gone(&file, first.mm_id)?;
    let last = file.batch(MIN)?;
    is_final(&last, MAPS_LOCKLESS_END_GONE)?;
    let header = last.header()?;
    ensure!(header.mm_id == first.mm_id && header.begin == first.next);
    ensure!(file.read(MIN)?.is_none());
    Ok(())
}

/// The state says so. Its identity stays.
fn is_gone(file: &Lockless, mm_id: u64) -> Result<()> {
    let state = file.state()?;
    ensure!(state.status == MAPS_LOCKLESS_STATUS_GONE, "{state:?}");
    ensure!(state.mm_id == mm_id && state.vma_count == 0, "{state:?}");
    Ok(())
}

fn exec_meanwhile() -> Result<()> {
    let mut target = Target::start("exec")?;
    let mut file = Lockless::open(target.pid())?;
    let first = file.batch(HEADER + 300)?.header()?;
    ensure!(first.end_reason == MAPS_LOCKLESS_END_FULL);
    target.go_on()?;
    // The new program is there when its name on the command line is.
    let cmdline = format!("/proc/{}/cmdline", target.pid());
    while !fs::read(&cmdline)?.ends_with(b"\0plain\0") {
        thread::sleep(Duration::from_millis(5));
    }

    is_gone(&file, first.mm_id)?;
    is_final(&file.batch(MIN)?, MAPS_LOCKLESS_END_GONE)?;
    let mut new = Lockless::open(target.pid())?;
    ensure!(new.batch(MIN)?.header()?.mm_id != first.mm_id);
    ensure!(new.state()?.status == MAPS_LOCKLESS_STATUS_LIVE);
    Ok(())
}

/// Readers are killed at whatever moment. They leave nothing behind: the target can be listed, and
/// when it exits its address space goes.
fn reader_dies() -> Result<()> {
    let mut target = Target::start("vmas-10000")?;
    for delay in (0..40).map(Duration::from_millis) {
        let mut reader = Target::start(&format!("reader-{}", target.pid()))?;
        thread::sleep(delay);
        ensure!(reader.is_running()?, "the reader ended by itself");
        reader.kill()?;
        reader.reap()?;
    }
    let mut file = Lockless::open(target.pid())?;
    let (mappings, _) = file.rest(MIN)?;
    ensure!(mappings.len() >= 10_000);

    let mm_id = file.state()?.mm_id;
    target.kill()?;
    target.reap()?;
    // A reference that a reader did not give back would keep the address space for ever.
    is_gone(&file, mm_id)?;
    file.seek(0)?;
    is_final(&file.batch(MIN)?, MAPS_LOCKLESS_END_GONE)
}

/// Whatever the moment, each listing of each process ends in a way that says what happened.
fn come_and_go() -> Result<()> {
    let mut ends = [0; 3];
    for round in 0..60 {
        let mut target = Target::start("plain")?;
        let pid = target.pid();
        let reader = thread::spawn(move || {
            let mut ends = [0; 3];
            loop {
                match snapshot(&Process::new(pid), Source::Lockless) {
                    Ok(listing) => match listing.completeness {
                        Completeness::Complete => ends[0] += 1,
                        Completeness::Gone => ends[1] += 1,
                        Completeness::NoAddressSpace => ends[2] += 1,
                        other => anyhow::bail!("{other:?}"),
                    },
                    Err(error) if error.is_not_found() || error.is_exited() => return Ok(ends),
                    Err(error) => return Err(error.into()),
                }
            }
        });
        thread::sleep(Duration::from_millis(round % 7));
        target.kill()?;
        thread::sleep(Duration::from_millis(round % 3));
        target.reap()?;
        let seen = reader
            .join()
            .map_err(|_| anyhow::anyhow!("the reader panicked"))??;
        for (sum, seen) in ends.iter_mut().zip(seen) {
            *sum += seen;
        }
    }
    println!("# complete, gone, no address space: {ends:?}");
    ensure!(ends[0] > 0 && ends[2] > 0, "{ends:?}");
    Ok(())
}
