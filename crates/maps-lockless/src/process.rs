// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whose mappings to read.

use crate::{Error, Listing, Source, source};
use std::path::PathBuf;

/// A process, or one thread of it, named by its ID.
///
/// Threads share their mappings. To ask for a thread matters where the main thread has exited and
/// others go on: the process's own file shows nothing then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pid: u32,
    tid: Option<u32>,
}

impl Process {
    /// The process `pid`.
    pub fn new(pid: u32) -> Self {
        Self { pid, tid: None }
    }

    /// The thread `tid` of process `pid`.
    pub fn thread(pid: u32, tid: u32) -> Self {
        Self {
            pid,
            tid: Some(tid),
        }
    }

    pub(crate) fn file(self, name: &str) -> PathBuf {
        let Self { pid, tid } = self;
        match tid {
            None => format!("/proc/{pid}/{name}").into(),
            Some(tid) => format!("/proc/{pid}/task/{tid}/{name}").into(),
        }
    }
}

impl From<u32> for Process {
    fn from(pid: u32) -> Self {
        Self::new(pid)
    }
}

/// Reads the mappings of a process from the best source that the kernel has.
pub fn read(process: Process) -> Result<Listing, Error> {
    match read_from(process, Source::Lockless) {
        Err(error) if error.is_unsupported() => read_from(process, Source::Maps),
        result => result,
    }
}

/// Reads the mappings of a process from one source, or not at all.
pub fn read_from(process: Process, source: Source) -> Result<Listing, Error> {
    match source {
        Source::Lockless => {
            let path = process.file("maps_lockless");
            match source::lockless::read(path.clone()) {
                // No such file, or no such process? Its folder tells.
                Err(error) if error.is_not_found() && process.file("").exists() => {
                    Err(Error::unsupported(path))
                }
                result => result,
            }
        }
        Source::Maps => source::maps::read(process.file("maps")),
    }
}
