// SPDX-License-Identifier: MIT OR Apache-2.0

//! What was done and seen, counted in memory that all processes of a run share, so that nothing is
//! lost where one is killed.

#![expect(unsafe_code, reason = "sharing memory has no safe form")]

use anyhow::Result;
use nix::{
    libc,
    sys::mman::{MapFlags, ProtFlags, mmap},
};
use std::{
    fs::File,
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// What writers do.
pub const MUTATIONS: [&str; 18] = [
    "mmap",
    "mmap of a file",
    "munmap",
    "split",
    "merge",
    "boundary move",
    "MAP_FIXED over several",
    "mremap move",
    "prctl rename",
    "brk",
    "fork",
    "execve",
    "exit",
    "mprotect",
    "madvise",
    "mlock",
    "munlock",
    "stack growth",
];

/// What readers do.
pub const READS: [&str; 17] = [
    "whole",
    "fields",
    "masks",
    "range",
    "max_records",
    "build IDs",
    "lookup",
    "tiny buffer",
    "state",
    "read back",
    "shared descriptor",
    "dead process",
    "follow",
    "library",
    "PROCMAP_QUERY",
    "text",
    "lsmaps",
];

/// What becomes of processes.
pub const LIVES: [&str; 3] = ["born", "killed", "ended by themselves"];

/// What is seen of listings.
pub const SEEN: [&str; 19] = [
    "read(2) calls",
    "records",
    "records of files",
    "records in arenas",
    "complete listings",
    "proved consistent",
    "same token, read twice",
    "rounds followed",
    "followed, compared",
    "ranges read again",
    "gone meanwhile",
    "unstable",
    "withheld",
    "unknown",
    "clipped",
    "reads with allocations failing",
    "changes with allocations failing",
    "of those, failed",
    "phases of memory pressure",
];

/// A group of counters, and its names.
pub type Group = (&'static str, &'static [&'static str]);

/// All counters but those of errors.
pub const GROUPS: [Group; 4] = [
    ("mutations", &MUTATIONS),
    ("reads", &READS),
    ("processes", &LIVES),
    ("readers' findings", &SEEN),
];

/// Errors have counters of their own, from here on.
const ERRORS: usize = 64;
const ERRNOS: usize = 134;
const PLACES: usize = ERRORS + ERRNOS;
const FILE: &str = "/tmp/torture/counts";

/// The counters. They stay mapped until the process ends.
#[derive(Clone, Copy)]
pub struct Counts(&'static [AtomicU64; PLACES]);

impl Counts {
    /// Makes them, all zero, for processes that are started from now on.
    pub fn create() -> Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(FILE)?;
        file.set_len(size_of::<[AtomicU64; PLACES]>() as u64)?;
        Self::map(&file)
    }

    /// Those that another process made.
    pub fn open() -> Result<Self> {
        Self::map(&File::options().read(true).write(true).open(FILE)?)
    }

    fn map(file: &File) -> Result<Self> {
        const LEN: NonZeroUsize = NonZeroUsize::new(size_of::<[AtomicU64; PLACES]>()).unwrap();
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: The kernel chooses an address where nothing is. The mapping is as long as the array,
        // and the file too; it is aligned to a page and never unmapped. All bytes are initialised,
        // and nobody looks at them but by atomic operations.
        Ok(Self(unsafe {
            mmap(None, LEN, prot, MapFlags::MAP_SHARED, file, 0)?
                .cast()
                .as_ref()
        }))
    }

    fn place(&self, name: &str) -> &AtomicU64 {
        let mut names = GROUPS.iter().flat_map(|(_, names)| names.iter());
        let place = names.position(|known| *known == name);
        // Every name is a constant of this file's.
        &self.0[place.unwrap_or_else(|| panic!("no counter {name:?}"))]
    }

    /// Counts `more` of something.
    pub fn add(&self, name: &str, more: u64) {
        self.place(name).fetch_add(more, Relaxed);
    }

    /// How many there were.
    pub fn get(&self, name: &str) -> u64 {
        self.place(name).load(Relaxed)
    }

    /// Counts an error.
    pub fn error(&self, errno: libc::c_int) {
        if let Some(place) = self.0[ERRORS..].get(errno as usize) {
            place.fetch_add(1, Relaxed);
        }
    }

    /// The errors that there were, and how many of each.
    pub fn errors(&self) -> Vec<(nix::errno::Errno, u64)> {
        (0..ERRNOS)
            .map(|errno| {
                (
                    nix::errno::Errno::from_raw(errno as i32),
                    &self.0[ERRORS + errno],
                )
            })
            .map(|(errno, count)| (errno, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

const _: () = assert!(MUTATIONS.len() + READS.len() + LIVES.len() + SEEN.len() <= ERRORS);
