// SPDX-License-Identifier: MIT OR Apache-2.0

//! Torture of `/proc/PID/maps_lockless`: for a set time, processes that change their mappings in
//! every way are born, read and killed, and nothing that a reader is told may be another process's, be
//! a kernel address, or break an invariant.

mod counts;
mod fault;
mod follow;
mod herd;
mod key;
mod peers;
mod plant;
mod pressure;
mod reader;
mod table;
mod writer;

pub use plant::PLANTS;

use anyhow::{Context, Error, Result, anyhow, ensure};
use counts::{Counts, MUTATIONS, READS};
use herd::Herd;
use nix::errno::Errno;
use reader::Reader;
use std::{
    fs,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// For how long a run may go on.
const EXTENSION: Duration = Duration::from_secs(300);
/// Threads that read maps_lockless.
const READERS: u64 = 4;

/// What to do.
#[derive(Debug)]
pub struct Options {
    /// For how long.
    pub time: Duration,
    /// What to plant of [`PLANTS`], or nothing.
    pub plant: String,
}

/// A run.
struct Run {
    begin: Instant,
    time: Duration,
    plant: String,
    counts: Counts,
    herd: Herd,
    /// Whether allocations can be made to fail.
    failslab: bool,
    over: AtomicBool,
    failures: Mutex<Vec<Error>>,
}

impl Run {
    /// A short run goes on for as long as something has not been done yet, for the clock of an emulated
    /// machine may run far too fast.
    fn is_over(&self) -> bool {
        let late = self.begin.elapsed().saturating_sub(self.time);
        self.over.load(Relaxed)
            || (late > Duration::ZERO
                && (late >= EXTENSION || self.plant == "idle" || self.idle().is_empty()))
    }

    /// What has not been done, or seen, by any reader or writer.
    fn idle(&self) -> Vec<&'static str> {
        let seen = [
            "records in arenas",
            "records of files",
            "proved consistent",
            "same token, read twice",
            "followed, compared",
            "ranges read again",
            "gone meanwhile",
            "unstable",
            "clipped",
            "killed",
        ];
        let counted = MUTATIONS.into_iter().chain(READS).chain(seen);
        let mut idle: Vec<_> = counted.filter(|name| self.counts.get(name) == 0).collect();
        if self.failslab {
            let enomem = |(errno, _): &(Errno, u64)| *errno == Errno::ENOMEM;
            if !self.counts.errors().iter().any(enomem) {
                idle.push("failing allocations");
            }
            if self.counts.get("of those, failed") == 0 {
                idle.push("failing allocations of writers");
            }
        }
        idle
    }

    /// Ends the run where something failed.
    fn note(&self, result: Result<()>) {
        if let Err(error) = result {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.push(error);
            self.over.store(true, Relaxed);
        }
    }
}

/// What a process that a run starts is for, by its argument.
pub fn process(argument: &str) -> Result<()> {
    match argument {
        "hog" => pressure::hog(),
        _ => writer::run(argument),
    }
}

/// Tortures, and prints the closing table. Fails where anything did.
pub fn run(options: Options) -> Result<()> {
    fs::create_dir_all("/tmp/torture")?;
    let scanned = pressure::scanned();
    let failslab = fault::is_possible();
    if failslab {
        fault::prepare()?;
    } else {
        println!("# skipped: failing allocations, for this kernel has no failslab");
    }
    let run = Run {
        begin: Instant::now(),
        time: options.time,
        plant: options.plant,
        counts: Counts::create()?,
        herd: Herd::default(),
        failslab,
        over: AtomicBool::new(false),
        failures: Mutex::new(Vec::new()),
    };
    thread::scope(|scope| {
        let run = &run;
        scope.spawn(|| run.note(herd::breed(run).context("herd")));
        scope.spawn(|| run.note(pressure::press(run).context("memory pressure")));
        scope.spawn(|| run.note(peers::read_on(run)));
        for number in 0..READERS {
            scope.spawn(move || {
                let read = Reader::new(run, number).and_then(|mut reader| reader.read_on());
                run.note(read);
            });
        }
    });
    let seconds = run.begin.elapsed();
    let scanned = pressure::scanned() - scanned;
    if !run.over.load(Relaxed) {
        let pressed = (scanned == 0).then_some("memory pressure");
        for name in run.idle().into_iter().chain(pressed) {
            run.note(Err(anyhow!("broken: idle: {name}")));
        }
    }
    let failures = run
        .failures
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    table::print(seconds, &run.counts, scanned, failslab, failures.len());
    for failure in &failures {
        println!("failure: {failure:#}");
    }
    ensure!(failures.is_empty(), "{} failures", failures.len());
    Ok(())
}
