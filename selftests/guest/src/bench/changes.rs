// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process that makes a few changes to its mappings when it is told to: as many each time, and so that there are as
//! many mappings after each.

#![expect(unsafe_code, reason = "mapping memory has no safe form")]

use super::{files, rows::Kind};
use crate::shapes::PAGE;
use anyhow::{Context, Result, ensure};
use maps_lockless::{Mapping, Name, Process, Request, Source, wire::*};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};
use std::{
    ffi::{OsStr, c_void},
    fs::File,
    num::NonZeroUsize,
    os::unix::ffi::OsStrExt,
    ptr::NonNull,
};

/// Changes of a round: four mprotect(2)s, three munmap(2)s and three mmap(2)s.
pub const CHANGES: usize = 10;
const PROTECTED: usize = 4;
const UNMAPPED: usize = 3;

/// Where the changes are.
pub struct Changes {
    places: Vec<Place>,
    round: usize,
}

/// A page that is a VMA of its own, among others.
struct Place {
    address: usize,
    /// What it is of.
    file: Option<File>,
}

/// Where in its file such a page is.
const FILE_PAGE: usize = 1;

impl Changes {
    /// Finds places that are spread over all mappings. Some of them are unmapped.
    pub fn new(kind: Kind) -> Result<Self> {
        let process = Process::new(std::process::id());
        let mut reader = process.open_source(Source::Maps, &Request::default())?;
        let mappings = reader.snapshot()?.mappings;
        let suited: Vec<&Mapping> = mappings.iter().filter(|m| is_suited(kind, m)).collect();
        ensure!(suited.len() >= 2 * CHANGES, "{} places", suited.len());
        let chosen = (0..CHANGES).map(|number| suited[number * suited.len() / CHANGES]);
        let places = chosen.map(|mapping| {
            Ok(Place {
                address: usize::try_from(mapping.start)?,
                file: match kind {
                    Kind::FourAFile => Some(File::open(OsStr::from_bytes(path(mapping)))?),
                    _ => None,
                },
            })
        });
        let places = places.collect::<Result<Vec<_>>>()?;
        for place in &places[PROTECTED + UNMAPPED..] {
            place.unmap()?;
        }
        Ok(Self { places, round: 0 })
    }

    /// Makes a round of changes.
    pub fn make(&mut self) -> Result<()> {
        let is_even = self.round % 2 == 0;
        self.round += 1;
        for (number, place) in self.places.iter().enumerate() {
            if number < PROTECTED {
                place.protect(is_even)?;
            } else if (number < PROTECTED + UNMAPPED) == is_even {
                place.unmap()?;
            } else {
                place.map()?;
            }
        }
        Ok(())
    }
}

/// Whether a mapping differs from its neighbours so that it is not merged with them, whatever is changed.
fn is_suited(kind: Kind, mapping: &Mapping) -> bool {
    let permissions = mapping.flags.set & 7;
    let one_page = mapping.end - mapping.start == PAGE as u64;
    match kind {
        Kind::FourAFile => {
            let code = MAPS_LOCKLESS_VMA_READ | MAPS_LOCKLESS_VMA_EXEC;
            one_page
                && permissions == code
                && path(mapping).starts_with(files::DIRECTORY.as_bytes())
        }
        _ => one_page && permissions == MAPS_LOCKLESS_VMA_READ && mapping.name == Name::None,
    }
}

/// The path of the file that is mapped, or nothing.
fn path(mapping: &Mapping) -> &[u8] {
    match &mapping.name {
        Name::Path { path, .. } => path,
        _ => &[],
    }
}

impl Place {
    fn pointer(&self) -> Result<NonNull<c_void>> {
        NonNull::new(self.address as *mut c_void).context("null")
    }

    /// Its permissions, when it is mapped.
    fn protection(&self) -> ProtFlags {
        match self.file {
            Some(_) => ProtFlags::PROT_READ | ProtFlags::PROT_EXEC,
            None => ProtFlags::PROT_READ,
        }
    }

    fn protect(&self, other: bool) -> Result<()> {
        let more = match self.file {
            Some(_) => ProtFlags::PROT_WRITE,
            None => ProtFlags::PROT_EXEC,
        };
        let mut protection = self.protection();
        protection.set(more, other);
        // SAFETY: Nobody uses what is there.
        unsafe { mprotect(self.pointer()?, PAGE, protection)? };
        Ok(())
    }

    fn unmap(&self) -> Result<()> {
        // SAFETY: As in `protect()`.
        unsafe { munmap(self.pointer()?, PAGE)? };
        Ok(())
    }

    fn map(&self) -> Result<()> {
        let place = NonZeroUsize::new(self.address);
        let len = NonZeroUsize::new(PAGE).context("a page")?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED_NOREPLACE;
        let prot = self.protection();
        // SAFETY: It fails where something is.
        unsafe {
            match &self.file {
                Some(file) => {
                    const { assert!(FILE_PAGE < files::PAGES) };
                    mmap(place, len, prot, flags, file, (FILE_PAGE * PAGE) as i64)?
                }
                None => mmap_anonymous(place, len, prot, flags)?,
            }
        };
        Ok(())
    }
}
