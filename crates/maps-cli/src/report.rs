// SPDX-License-Identifier: MIT OR Apache-2.0

//! What went wrong with which process, and the exit status that comes of it.

use crate::processes::Target;
use anyhow::Error;
use std::{collections::BTreeMap, io, process::ExitCode};

/// Wrong usage, or nothing could be begun.
pub const USAGE: u8 = 1;
/// None of the processes was listed.
pub const NONE: u8 = 2;
/// Some were not, as with pmap.
const SOME: u8 = 42;

/// Counts processes that were listed, and those that were not.
#[derive(Default)]
pub struct Report {
    listed: u64,
    failed: u64,
    /// Of processes that the user did not name: how many failed with which errno.
    refused: BTreeMap<Option<i32>, (u64, String)>,
}

impl Report {
    pub fn listed(&mut self) {
        self.listed += 1;
    }

    /// A process was not listed, or not to its end. Said at once of one that the user named.
    ///
    /// Where it is the output that failed, there is nothing more to do: that is returned.
    pub fn failed(&mut self, target: &Target, error: Error) -> Result<(), Error> {
        if error.is::<io::Error>() {
            return Err(error.context("standard output"));
        }
        let known = error.downcast_ref::<maps_lockless::Error>();
        if !target.named {
            // To exit is no fault.
            if known.is_some_and(|error| error.is_exited() || error.is_not_found()) {
                return Ok(());
            }
            let errno = known.and_then(maps_lockless::Error::errno);
            let (count, _) = self
                .refused
                .entry(errno)
                .or_insert_with(|| (0, format!("{error:#}")));
            *count += 1;
        } else {
            eprintln!("lsmaps: {}: {error:#}", target.pid);
        }
        self.failed += 1;
        Ok(())
    }

    /// None of many processes has this address.
    pub fn missing(&mut self, address: u64) {
        eprintln!("lsmaps: nothing is mapped at {address:x}");
        self.failed += 1;
    }

    /// Of a process that the user named, something is to be said that is no error.
    pub fn note(&self, target: &Target, text: &str) {
        if target.named {
            eprintln!("lsmaps: {}: {text}", target.pid);
        }
    }

    /// Says what was not said at once.
    pub fn finish(&self) {
        for (count, example) in self.refused.values() {
            match count {
                1 => eprintln!("lsmaps: {example}"),
                _ => eprintln!("lsmaps: {count} processes could not be read, as {example}"),
            }
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        match (self.listed, self.failed) {
            (_, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(NONE),
            _ => ExitCode::from(SOME),
        }
    }
}
