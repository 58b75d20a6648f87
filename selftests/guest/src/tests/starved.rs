// SPDX-License-Identifier: MIT OR Apache-2.0

//! Readers of the least priority that never get a CPU delay nobody who maps memory.
//!
//! They share a CPU with a thread of real time that takes it for long whiles, so that they stand still
//! wherever they are. On the other CPU, the process that they read maps and unmaps on time, or not.

use super::Test;
use crate::{
    child::Target,
    sched::{Hog, THIS, Unlimited, idle, pin},
};
use anyhow::{Context, Result, bail, ensure};
use std::{fs, thread, time::Duration};

/// The CPU of the process that is read, and the one where readers are starved.
const WRITER_CPU: usize = 0;
const READER_CPU: usize = 1;
/// How long the readers stand still each time.
const STARVED: Duration = Duration::from_millis(400);
/// How long they may go on in between. The sum of both is no multiple of anything.
const FED: Duration = Duration::from_millis(13);
/// How often.
const ROUNDS: usize = 12;
/// Parts of all this in which each kind of reader has its turn.
const TURNS: usize = 2;
const READERS: usize = 4;
/// How often all this is tried. A CPU that the machine itself takes away for a while makes the writer late, too.
const ATTEMPTS: usize = 3;

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "no lock: a starved reader delays no writer",
        || match thread::spawn(starved_readers).join() {
            Ok(result) => result,
            Err(_) => bail!("it panicked"),
        },
    )]
}

/// Who reads.
#[derive(Clone, Copy, Debug)]
enum Readers {
    Nobody,
    Lockless,
    Maps,
}

impl Readers {
    const ALL: [Self; 3] = [Self::Nobody, Self::Lockless, Self::Maps];

    fn start(self, pid: u32) -> Result<Vec<Target>> {
        let shape = match self {
            Self::Nobody => return Ok(Vec::new()),
            Self::Lockless => format!("reader-{pid}"),
            Self::Maps => format!("maps-reader-{pid}"),
        };
        let start = |_| {
            let reader = Target::start(&shape)?;
            pin(reader.pid(), READER_CPU)?;
            idle(reader.pid())?;
            Ok(reader)
        };
        (0..READERS).map(start).collect()
    }

    /// What stands on the kernel's stack of a reader that is in the middle of a read.
    fn function(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Lockless => "maps_lockless_read",
            Self::Maps => "seq_read_iter",
        }
    }
}

/// What was seen.
#[derive(Default)]
struct Seen {
    /// Rounds in which a reader stood still in the middle of a read,
    within: usize,
    /// and in which the writer slept, waiting for a lock, in the middle of it and towards its end.
    stalled: usize,
    /// Microseconds from when the writer should have begun until it was done.
    delays: Vec<u64>,
}

impl Seen {
    fn delay(&self, part: f64) -> Result<u64> {
        let place = (self.delays.len() as f64 * part) as usize;
        let delay = self
            .delays
            .get(place.min(self.delays.len().saturating_sub(1)));
        delay.copied().context("the writer did nothing")
    }
}

/// Whether a process sleeps and no signal wakes it, as one that waits for a lock.
fn waits_for_a_lock(pid: u32) -> Result<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("its state")?;
    Ok(fields.starts_with('D'))
}

/// In a thread of its own, for it and its children keep to one CPU.
fn starved_readers() -> Result<()> {
    let _unlimited = Unlimited::new(READER_CPU)?;
    pin(THIS, WRITER_CPU)?;
    let mut writer = Target::start("writer")?;
    let hog = Hog::new(READER_CPU, STARVED);

    let mut on_time = false;
    for _ in 0..ATTEMPTS {
        let mut all = Readers::ALL.map(|who| (who, Seen::default()));
        for _ in 0..TURNS {
            for (who, seen) in &mut all {
                turn(*who, seen, &mut writer, &hog)?;
            }
        }
        for (_, seen) in &mut all {
            seen.delays.sort_unstable();
        }
        on_time = report(&all)?;
        if on_time {
            break;
        }
    }
    hog.end()?;
    ensure!(
        on_time,
        "each time the writer was late while readers of maps_lockless starved, or not later with those of maps"
    );
    Ok(())
}

/// Has readers of one kind starve for some rounds.
fn turn(who: Readers, seen: &mut Seen, writer: &mut Target, hog: &Hog) -> Result<()> {
    let readers = who.start(writer.pid())?;
    writer.ask()?;
    for _ in 0..ROUNDS {
        thread::sleep(FED);
        hog.take()?;
        thread::sleep(STARVED / 2);
        let mut stalled = waits_for_a_lock(writer.pid())?;
        let mut within = false;
        for reader in &readers {
            let stack = fs::read_to_string(format!("/proc/{}/stack", reader.pid()))?;
            within |= stack.contains(who.function());
        }
        thread::sleep(STARVED / 4);
        stalled &= waits_for_a_lock(writer.pid())?;
        // Only what was seen before the end counts.
        if hog.finish()? {
            seen.within += usize::from(within);
            seen.stalled += usize::from(stalled);
        }
    }
    let delays = writer.ask()?;
    for delay in delays.split_whitespace() {
        seen.delays.push(delay.parse()?);
    }
    Ok(())
}

/// Tells what was seen. Fails where the writer waited for a lock as it must not, and tells whether it was on
/// time.
fn report(all: &[(Readers, Seen); 3]) -> Result<bool> {
    let rounds = TURNS * ROUNDS;
    let [(_, nobody), (_, lockless), (_, maps)] = all;
    for (who, seen) in all {
        let ratio = |part| anyhow::Ok(seen.delay(part)? as f64 / nobody.delay(part)? as f64);
        println!(
            "# read by {who:?}: {} of {rounds} rounds within a read; the writer stalled in {}; its delay \
             {} µs (median), {} µs (99 %), {} µs (most); {:.2} and {:.2} times that without readers",
            seen.within,
            seen.stalled,
            seen.delay(0.5)?,
            seen.delay(0.99)?,
            seen.delay(1.0)?,
            ratio(0.5)?,
            ratio(0.99)?,
        );
    }
    ensure!(
        lockless.within >= rounds / 4 && maps.within >= rounds / 4,
        "the readers were hardly ever starved within a read"
    );
    ensure!(
        lockless.stalled == 0 && nobody.stalled == 0,
        "the writer waited for a starved reader of maps_lockless"
    );
    // Nor otherwise. On a busy machine it is late even where nobody reads.
    let late = (STARVED.as_micros() as u64 / 2).max(2 * nobody.delay(0.99)?);
    // Shows that what is counted can be seen.
    ensure!(
        maps.stalled >= rounds / 8,
        "the writer hardly ever waited for a starved reader of maps"
    );
    Ok(lockless.delay(0.99)? < late && maps.delay(0.99)? > late)
}
