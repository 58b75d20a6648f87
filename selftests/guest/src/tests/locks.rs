// SPDX-License-Identifier: MIT OR Apache-2.0

//! While others hold the target's locks for write, maps waits and maps_lockless answers.

use super::{Test, snapshot};
use crate::{
    child::Target,
    raw::{ALL, HEADER, Lockless},
};
use anyhow::{Context, Result, ensure};
use maps_lockless::{Completeness, Judgement, Marks, Process, Snapshot, Source, wire::*};
use std::{
    fs,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

/// What the test hook, lib/test_mmap_lock_hold.c, is driven by.
const HOOK: &str = "/sys/kernel/debug/mmap_lock_hold";
/// Milliseconds that it holds the locks for,
const HOLD: u32 = 8000;
/// and how often, where that was too short for a machine whose clock runs too fast.
const ATTEMPTS: usize = 3;

/// Which VMAs are write-locked besides the mmap_lock.
#[derive(Clone, Copy, PartialEq)]
enum Vmas {
    /// None. Since Linux 6.17, maps does not wait for the mmap_lock alone.
    None,
    /// One in the middle, as munmap(2) does.
    One,
    /// All, as fork(2) does.
    All,
}

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("locks: mmap_lock held for write", || held(Vmas::None)),
        Test::new("locks: mmap_lock and one VMA held for write", || {
            held(Vmas::One)
        }),
        Test::new("locks: mmap_lock and all VMAs held for write", || {
            held(Vmas::All)
        }),
    ]
}

/// Who holds the target's mmap_lock, and the lock of its VMA at `address`, for write.
struct Holder(JoinHandle<std::io::Result<()>>);

impl Holder {
    /// Comes back when the lock is held, or was.
    fn start(pid: u32, address: u64) -> Result<Self> {
        let holder = thread::spawn(move || fs::write(HOOK, format!("{pid} {address:x} {HOLD}")));
        // The count is odd as soon as the lock is held.
        let file = Lockless::open(pid)?;
        while !holder.is_finished() && file.state()?.seq % 2 == 0 {
            thread::sleep(Duration::from_millis(2));
        }
        Ok(Self(holder))
    }

    fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    fn join(self) -> Result<()> {
        let result = self.0.join();
        result
            .map_err(|_| anyhow::anyhow!("the holder panicked"))?
            .context(HOOK)
    }
}

/// How many mappings are marked as changing.
fn marked(listing: &Snapshot) -> usize {
    let marks = listing.mappings.iter().map(|mapping| mapping.marks);
    marks.filter(|marks| marks.unstable).count()
}

/// What answers and what waits while the locks are held.
fn held(vmas: Vmas) -> Result<()> {
    for _ in 0..ATTEMPTS {
        if held_once(vmas)? {
            return Ok(());
        }
    }
    anyhow::bail!("each time the lock was released too early to show anything")
}

/// Whether the locks were held to the end of this.
fn held_once(vmas: Vmas) -> Result<bool> {
    let target = Target::start("vmas-1000")?;
    let pid = target.pid();
    let quiet = snapshot(&Process::new(pid), Source::Lockless)?;
    let middle = quiet.mappings[quiet.mappings.len() / 2].start;
    let address = match vmas {
        Vmas::None => 0,
        Vmas::One => middle,
        Vmas::All => u64::MAX,
    };
    let holder = Holder::start(pid, address)?;

    let file = Lockless::open(pid)?;
    let state = file.state()?;
    if holder.is_over() {
        return holder.join().map(|()| false);
    }
    ensure!(state.status == MAPS_LOCKLESS_STATUS_LIVE && state.seq % 2 == 1);
    ensure!(state.vma_count as usize == quiet.mappings.len() - 1);
    let lookup = file.batch_at(MAPS_LOCKLESS_MIN_BUFFER as usize, middle)?;
    ensure!(lookup.vmas()?[0].fields.start == middle);
    let one = maps_lockless_request {
        max_records: 1,
        vma_flags_all: MAPS_LOCKLESS_VMA_WRITE,
        ..ALL
    };
    let one = Lockless::with_request(pid, one)?.batch_at(HEADER + 5000, middle)?;
    ensure!(one.vmas()?.len() == 1 && one.header()?.end_reason == MAPS_LOCKLESS_END_LIMIT);
    let filtered = maps_lockless_request {
        vma_flags_all: MAPS_LOCKLESS_VMA_EXEC | MAPS_LOCKLESS_VMA_FILE,
        ..ALL
    };
    let listed = Lockless::with_request(pid, filtered)?.fields()?;
    let asked_for =
        |vma: &&maps_lockless_vma| vma.vma_flags & filtered.vma_flags_all == filtered.vma_flags_all;
    ensure!(listed.iter().filter(asked_for).count() > 0);
    // What may be changing is listed, too.
    let marks = MAPS_LOCKLESS_REC_UNSTABLE;
    ensure!(
        listed
            .iter()
            .all(|vma| asked_for(&vma) || vma.flags & marks != 0)
    );
    // A VMA whose lock is held may be changing, for all that a reader knows.
    let expected = match vmas {
        Vmas::None => 0,
        Vmas::One => 1,
        // All but the one that the kernel maps into every address space.
        Vmas::All => quiet.mappings.len() - 1,
    };
    ensure!(
        marked(&quiet) == 0,
        "{} marked without a lock",
        marked(&quiet)
    );
    // The hook locks one VMA after the other.
    let held = loop {
        let held = snapshot(&Process::new(pid), Source::Lockless)?;
        if holder.is_over() {
            println!("# {} of {expected} marked", marked(&held));
            return holder.join().map(|()| false);
        }
        if marked(&held) == expected {
            break held;
        }
    };
    let (send, maps) = mpsc::channel();
    thread::spawn(move || send.send(fs::read(format!("/proc/{pid}/maps"))));
    ensure!(held.completeness == Completeness::Complete);
    let mut unmarked = held.mappings.clone();
    for mapping in &mut unmarked {
        mapping.marks = Marks::default();
    }
    ensure!(
        unmarked == quiet.mappings,
        "holding a lock changes no mapping"
    );
    ensure!(
        held.judgement == Judgement::PossiblyTorn,
        "the lock was held all the time"
    );

    if vmas != Vmas::None {
        let early = maps.recv_timeout(Duration::from_millis(500));
        ensure!(early.is_err(), "maps did not wait");
    }
    if holder.is_over() {
        return holder.join().map(|()| false);
    }
    holder.join()?;
    let text = maps.recv_timeout(Duration::from_secs(20))??;
    ensure!(!text.is_empty(), "maps after the release");
    Ok(true)
}
