// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tests, by what they are about.

mod abi;
mod access;
mod alloc_failure;
mod build_id;
mod churn;
mod cli;
mod compat;
mod flags;
mod fork;
mod gap;
mod handover;
mod hostile;
mod ioctl;
mod judge;
mod kselftest;
mod lifetime;
mod locks;
mod nolock;
mod off;
mod page_size;
mod pins;
mod progress;
mod request;
mod same_as_maps;
mod sections;
mod since;
mod sources;
mod starved;
mod stepper;
mod streams;
mod tearing;
mod token;
mod torture;
mod whose;

use crate::shapes::{ODD_NAMES, QUIESCENT};
use anyhow::{Result, anyhow};
use maps_lockless::{Error, Process, Request, Snapshot, Source};
use nix::errno::Errno;
use std::{io, sync::OnceLock, thread};

/// A test.
pub struct Test {
    /// What it shows.
    pub name: String,
    /// Shows it.
    pub run: Box<dyn Fn() -> Result<()>>,
}

impl Test {
    fn new(name: impl Into<String>, run: impl Fn() -> Result<()> + 'static) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// Reads a process's mappings by the library, from one source.
fn snapshot(process: &Process, source: Source) -> Result<Snapshot, Error> {
    process.open_source(source, &Request::default())?.snapshot()
}

/// What takes too long on this kernel: parts of the names of tests and shapes.
static SKIPPED: OnceLock<Vec<String>> = OnceLock::new();

/// Skips tests and shapes whose names contain one of these. Once.
pub fn skip(parts: Vec<String>) {
    SKIPPED.get_or_init(|| parts);
}

/// Whether a test, or a shape, is not for this kernel.
pub fn is_skipped(name: &str) -> bool {
    skipped().any(|part| name.contains(part))
}

fn skipped() -> impl Iterator<Item = &'static str> {
    SKIPPED.get().into_iter().flatten().map(String::as_str)
}

/// Shapes that rest, all of them.
fn shapes_at_rest() -> impl Iterator<Item = &'static str> {
    let odd = ODD_NAMES.iter().map(|(shape, _)| *shape);
    QUIESCENT.into_iter().chain(odd)
}

/// Those of them that a test can start in turn, and read by its PID.
fn shapes_in_turn() -> impl Iterator<Item = &'static str> {
    // A main thread that exited has no mappings, or soon has none.
    shapes_at_rest().filter(|shape| *shape != "exited-main-thread" && !is_skipped(shape))
}

/// Has as many readers read at a time, each by its number, and adds up what they count.
fn sum_of_readers<const COUNTS: usize>(
    readers: usize,
    read: impl Fn(usize) -> Result<[u64; COUNTS]> + Sync,
) -> Result<[u64; COUNTS]> {
    thread::scope(|scope| {
        let read = &read;
        let readers: Vec<_> = (0..readers)
            .map(|number| scope.spawn(move || read(number)))
            .collect();
        let mut sum = [0; COUNTS];
        for reader in readers {
            let seen = reader.join().map_err(|_| anyhow!("a reader panicked"))??;
            for (sum, seen) in sum.iter_mut().zip(seen) {
                *sum += seen;
            }
        }
        Ok(sum)
    })
}

/// The errno that a call failed with.
fn errno(result: io::Result<impl Sized>) -> Option<Errno> {
    let error = result.err()?.raw_os_error()?;
    Some(Errno::from_raw(error))
}

/// The tests of a kernel with maps_lockless.
pub fn on() -> Vec<Test> {
    [
        same_as_maps::tests(),
        sources::tests(),
        abi::tests(),
        token::tests(),
        request::tests(),
        since::tests(),
        ioctl::tests(),
        flags::tests(),
        page_size::tests(),
        build_id::tests(),
        hostile::tests(),
        compat::tests(),
        access::tests(),
        alloc_failure::tests(),
        lifetime::tests(),
        locks::tests(),
        nolock::tests(),
        sections::tests(),
        starved::tests(),
        pins::tests(),
        gap::tests(),
        fork::tests(),
        judge::tests(),
        churn::tests(),
        whose::tests(),
        handover::tests(),
        tearing::tests(),
        cli::tests(),
        kselftest::tests(),
        progress::tests(),
        streams::tests(),
        torture::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The tests of a kernel without.
pub fn off() -> Vec<Test> {
    off::tests().into_iter().chain(kselftest::off()).collect()
}
