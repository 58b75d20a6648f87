// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where mappings can be read from.

pub(crate) mod lockless;
pub(crate) mod maps;

use crate::Mapping;
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sys::stat::Mode,
};
use std::{fmt, os::fd::OwnedFd, path::Path};

/// A file that tells the mappings of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// `/proc/<pid>/maps_lockless`: takes no lock of the process.
    Lockless,
    /// `/proc/<pid>/maps`: may stall the process.
    Maps,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lockless => "maps_lockless",
            Self::Maps => "maps",
        })
    }
}

/// Whether a listing is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Completeness {
    /// The source said that nothing is mapped beyond.
    Complete,
    /// The address space went away meanwhile: the process exited, or called execve. What was listed
    /// until then may be cut short anywhere.
    Gone,
    /// There is no address space: a kernel thread, or a process that has exited and was not waited
    /// for.
    NoAddressSpace,
    /// The source cannot tell. `/proc/<pid>/maps` ends in the same way whether the process exited
    /// meanwhile or not.
    Unknown,
}

/// The mappings of a process.
#[derive(Clone, Debug)]
pub struct Listing {
    /// In the order of their addresses.
    pub mappings: Vec<Mapping>,
    /// Where they were read from.
    pub source: Source,
    /// Whether these are all.
    pub completeness: Completeness,
    /// Whether the listing is whole and nothing changed from the first read(2) to the last, so that
    /// it is what the process had mapped at one moment. [`None`] where the source cannot tell, or
    /// where there is nothing to be told.
    pub consistent: Option<bool>,
}

fn open_file(path: &Path) -> Result<OwnedFd, Errno> {
    retry(|| open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()))
}

/// Calls again what a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}
