// SPDX-License-Identifier: MIT OR Apache-2.0

//! What changes an address space that nobody reads: this process's own.

#![expect(
    unsafe_code,
    reason = "mapping memory that is chosen by its address, and fork(2), have no safe form"
)]

use super::{contenders::Run, rows};
use crate::shapes::PAGE;
use anyhow::{Context, Result, ensure};
use nix::{
    libc::_exit,
    sys::{
        mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, mprotect, munmap},
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, fork},
};
use std::{
    ffi::c_void,
    fs,
    num::NonZeroUsize,
    ptr::{NonNull, without_provenance_mut},
};

/// A change that is measured, in a process that has many VMAs or few.
pub struct Writer {
    /// `ROW/CHANGE`, where the row tells what VMAs the process has.
    pub name: &'static str,
    /// How many VMAs are made beforehand, besides the few that every process has.
    vmas: usize,
    /// Gets ready what is not to be measured.
    prepare: fn() -> Result<Run>,
}

/// All of them. Those of a process with many VMAs come last, as it has them from then on.
pub const WRITERS: [Writer; 8] = [
    of("few-vmas/mmap-munmap", FEW, map),
    of("few-vmas/mprotect", FEW, protect),
    of("few-vmas/fork", FEW, || forks(FORKS)),
    of("few-vmas/fault", FEW, faults),
    of("many-vmas/mmap-munmap", MANY, map),
    of("many-vmas/mprotect", MANY, protect),
    of("many-vmas/fork", MANY, || forks(FORKS_OF_MANY)),
    of("many-vmas/fault", MANY, faults),
];

const FEW: usize = 0;
const MANY: usize = 10_000;

const RW: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);
const PRIVATE: MapFlags = MapFlags::MAP_PRIVATE;

/// Pairs of calls that are measured as one. A round lasts for several timer interrupts, at 250 Hz one in 4 million
/// instructions, so that what these bring with them is in each round: freeing by RCU above all.
const PAIRS: usize = 10_000;
/// Children that are measured as one.
const FORKS: usize = 500;
/// The same of a process with many VMAs.
const FORKS_OF_MANY: usize = 5;
/// From this ID on the kernel's table of processes has a level more, and so takes more instructions. It has that much
/// room until long after the last child.
const HIGH_ID: i32 = 4096;
/// Pages of the range that is mapped and unmapped.
const PAGES: usize = 16;
/// Pages that are touched before they are given back.
const TOUCHED: usize = 1024;
/// How often they are.
const TIMES: usize = 20;

const fn of(name: &'static str, vmas: usize, prepare: fn() -> Result<Run>) -> Writer {
    Writer {
        name,
        vmas,
        prepare,
    }
}

/// Those that are called so.
pub fn named(name: &str) -> Option<&'static Writer> {
    WRITERS.iter().find(|writer| writer.name == name)
}

impl Writer {
    /// Gives this process the VMAs, if it has them not yet, and gets ready what is measured.
    pub fn start(&self) -> Result<Run> {
        let has = own_vmas()?;
        if has < self.vmas {
            rows::make_memory(self.vmas)?;
            let made = own_vmas()? - has;
            ensure!(made >= self.vmas, "{made} VMAs were made: some were merged");
        }
        let run = (self.prepare)()?;
        println!("# {}: of a process with {} VMAs", self.name, own_vmas()?);
        Ok(run)
    }
}

/// How many mappings this process has.
fn own_vmas() -> Result<usize> {
    let path = "/proc/self/maps";
    Ok(fs::read_to_string(path).context(path)?.lines().count())
}

/// A range is mapped, and unmapped, between two others with which it is not merged.
fn map() -> Result<Run> {
    let place = gap(PAGES * PAGE)?;
    let len = length(PAGES)?;
    Ok(repeated("pair", PAIRS, 1, move || {
        let flags = PRIVATE | MapFlags::MAP_FIXED_NOREPLACE;
        // SAFETY: It fails where something is. Nobody has used what it maps.
        unsafe {
            let base = mmap_anonymous(Some(place), len, RW, flags)?;
            munmap(base, len.get())?;
        }
        Ok(())
    }))
}

/// The middle of a range gets other permissions, which splits it, and its own again, which merges it.
fn protect() -> Result<Run> {
    let place = gap(3 * PAGE)?.get();
    let base = memory(place, 3)?.addr().get();
    let middle = pointer(base + PAGE)?;
    Ok(repeated("pair", PAIRS, 1, move || {
        // SAFETY: Nobody uses that memory.
        unsafe {
            mprotect(middle, PAGE, ProtFlags::PROT_READ)?;
            mprotect(middle, PAGE, RW)?;
        }
        Ok(())
    }))
}

/// Children that exit at once, and are waited for.
fn forks(count: usize) -> Result<Run> {
    while fork_once()? < HIGH_ID {}
    Ok(repeated("fork", count, 1, || fork_once().map(drop)))
}

/// Returns the child's ID.
fn fork_once() -> Result<i32> {
    // SAFETY: This process has one thread, and the child does nothing but exit.
    match unsafe { fork() }? {
        // SAFETY: It runs nothing of this process any more.
        ForkResult::Child => unsafe { _exit(0) },
        ForkResult::Parent { child } => {
            let status = waitpid(child, None)?;
            ensure!(
                status == WaitStatus::Exited(child, 0),
                "the child ended so: {status:?}"
            );
            Ok(child.as_raw())
        }
    }
}

/// Pages are written to, given back, and written to again.
fn faults() -> Result<Run> {
    let place = gap(TOUCHED * PAGE)?.get();
    let base = memory(place, TOUCHED)?;
    Ok(repeated("fault", TIMES, TOUCHED, move || {
        for page in 0..TOUCHED {
            // SAFETY: The page is mapped and writable, and nobody else has a pointer into it.
            unsafe { base.cast::<u8>().add(page * PAGE).write_volatile(1) };
        }
        // SAFETY: Nobody wants what was written.
        unsafe { madvise(base, TOUCHED * PAGE, MmapAdvise::MADV_DONTNEED)? };
        Ok(())
    }))
}

/// Does it `times` times for a round, which is as many units each time.
fn repeated(
    unit: &'static str,
    times: usize,
    units: usize,
    mut once: impl FnMut() -> Result<()> + 'static,
) -> Run {
    Run {
        unit,
        units: times * units,
        run: Box::new(move || {
            for _ in 0..times {
                once()?;
            }
            Ok((times * units) as u64)
        }),
        before_changes: None,
    }
}

/// A place where nothing is, between two mappings that nobody may use.
fn gap(len: usize) -> Result<NonZeroUsize> {
    let whole = NonZeroUsize::new(len + 2 * PAGE).context("a length")?;
    // SAFETY: The kernel chooses an address where nothing is, and nobody has used what is unmapped.
    unsafe {
        let base = mmap_anonymous(None, whole, ProtFlags::PROT_NONE, PRIVATE)?;
        let place = base.addr().get() + PAGE;
        munmap(pointer(place)?, len)?;
        NonZeroUsize::new(place).context("an address")
    }
}

/// Memory at a place where nothing is.
fn memory(place: usize, pages: usize) -> Result<NonNull<c_void>> {
    let flags = PRIVATE | MapFlags::MAP_FIXED_NOREPLACE;
    // SAFETY: It fails where something is.
    Ok(unsafe { mmap_anonymous(NonZeroUsize::new(place), length(pages)?, RW, flags)? })
}

fn length(pages: usize) -> Result<NonZeroUsize> {
    NonZeroUsize::new(pages * PAGE).context("a length")
}

fn pointer(address: usize) -> Result<NonNull<c_void>> {
    NonNull::new(without_provenance_mut(address)).context("an address")
}

#[cfg(test)]
mod tests {
    use super::{WRITERS, named};

    #[test]
    fn each_has_a_name_of_its_own() {
        for writer in &WRITERS {
            let same = WRITERS.iter().filter(|other| other.name == writer.name);
            assert_eq!(same.count(), 1, "{}", writer.name);
            assert!(named(writer.name).is_some_and(|found| found.vmas == writer.vmas));
        }
        assert!(named("few-vmas").is_none());
        assert!(named("gaps-10000/maps").is_none());
    }

    #[test]
    fn what_has_many_vmas_comes_last() {
        assert!(WRITERS.iter().is_sorted_by_key(|writer| writer.vmas));
    }
}
