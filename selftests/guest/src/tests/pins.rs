// SPDX-License-Identifier: MIT OR Apache-2.0

//! A reader that stands still in the middle of a read keeps no file that it has met: a program which was open for
//! writing can be run once the process has closed it.

use super::Test;
use crate::{
    child::Target,
    pins::{BUSY, count_file},
    sched::{Hog, THIS, Unlimited, idle, pin},
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// The CPU of the process that is read, and the one where the reader is starved.
const WRITER_CPU: usize = 0;
const READER_CPU: usize = 1;
/// How long the reader stands still each time. The process tries to run the program for a small part of it.
const STARVED: Duration = Duration::from_millis(400);
/// How often.
const ROUNDS: usize = 16;
/// How long a reader may take for two reads.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "pins: a starved reader keeps no program from being run",
        // In a thread of its own, for it and its children keep to one CPU.
        || match thread::spawn(starved_reader).join() {
            Ok(result) => result,
            Err(_) => bail!("it panicked"),
        },
    )]
}

/// How often the program could be run at the first attempt, at a later one, and at none.
#[derive(Debug, Default)]
struct Runs {
    at_once: usize,
    later: usize,
    busy: usize,
}

impl Runs {
    fn add(&mut self, said: &str) -> Result<()> {
        match said.trim_end() {
            BUSY => self.busy += 1,
            attempt => match attempt.parse::<u32>().context("which attempt")? {
                1 => self.at_once += 1,
                _ => self.later += 1,
            },
        }
        Ok(())
    }

    fn count(&self) -> usize {
        self.at_once + self.later + self.busy
    }
}

/// How many reads a reader has made.
fn reads(reader: &Target) -> u64 {
    let bytes = fs::read(count_file(reader.pid())).unwrap_or_default();
    bytes.try_into().map_or(0, u64::from_ne_bytes)
}

/// Waits until a reader has begun a read, and is in the middle of it or of a later one.
fn wait_for_a_read(reader: &Target) -> Result<()> {
    let (before, begin) = (reads(reader), Instant::now());
    // The first of them may have begun earlier.
    while reads(reader) < before + 2 {
        ensure!(begin.elapsed() < TIMEOUT, "the reader does not get on");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn is_within_a_read(reader: &Target) -> Result<bool> {
    let stack = fs::read_to_string(format!("/proc/{}/stack", reader.pid()))?;
    Ok(stack.contains("maps_lockless_read"))
}

fn starved_reader() -> Result<()> {
    let _unlimited = Unlimited::new(READER_CPU)?;
    pin(THIS, WRITER_CPU)?;
    let mut process = Target::start("pins")?;
    let mut alone = Runs::default();
    for _ in 0..ROUNDS {
        process.ask()?;
        alone.add(&process.ask()?)?;
    }

    let reader = Target::start(&format!("pins-reader-{}-{}", process.pid(), process.said))?;
    pin(reader.pid(), READER_CPU)?;
    idle(reader.pid())?;
    let hog = Hog::new(READER_CPU, STARVED);
    let mut read = Runs::default();
    for _ in 0..ROUNDS {
        process.ask()?;
        wait_for_a_read(&reader)?;
        hog.take()?;
        thread::sleep(STARVED / 8);
        let within = is_within_a_read(&reader)?;
        let said = process.ask()?;
        let still_within = is_within_a_read(&reader)?;
        // Only what happened while the reader stood still counts.
        if hog.finish()? && within && still_within {
            read.add(&said)?;
        }
    }
    hog.end()?;
    drop(reader);
    println!(
        "# run without a reader: {alone:?}; while one stood still in the middle of a read: {read:?}"
    );
    ensure!(
        alone.at_once == ROUNDS,
        "it could not be run at once without a reader"
    );
    ensure!(
        read.count() >= ROUNDS / 4,
        "the reader hardly ever stood still in the middle of a read"
    );
    // It may stand still within the RCU section that met the file, which is one in a hundred.
    ensure!(
        read.busy * 8 <= read.count(),
        "the reader keeps the program's file"
    );
    Ok(())
}
