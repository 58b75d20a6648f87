// SPDX-License-Identifier: MIT OR Apache-2.0

//! A live process is followed, on whatever kernel this is, and compared with whole listings.
#![cfg(feature = "std")]

use maps_lockless::{
    Fields, Follower, Process, Request, Selection, Source, Update, wire::MAPS_LOCKLESS_VMA_WRITE,
};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write, stdin},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// In its environment, this program is the process that is followed.
const FOLLOWED: &str = "MAPS_LOCKLESS_TEST_FOLLOWED";
/// So large that malloc(3) maps them, and that few stacks are kept for later.
const LARGE: usize = 1 << 20;

/// Maps and unmaps as it is told: a number a line, from which follows what it does. Answers each line.
#[test]
fn followed() {
    if std::env::var_os(FOLLOWED).is_none() {
        return;
    }
    let mut threads: BTreeMap<u64, (Arc<AtomicBool>, JoinHandle<()>)> = BTreeMap::new();
    let mut memory: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    println!("\nready");
    for line in stdin().lock().lines() {
        let mut random: u64 = line.unwrap().parse().unwrap();
        for _ in 0..random % 7 {
            // Knuth's MMIX.
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let (what, which) = (random >> 60, random >> 40 & 0x1f);
            match what {
                0..6 => {
                    // Its end unmaps a stack and its guard, if it does not leave them to another one.
                    if let Some((stop, thread)) = threads.remove(&which) {
                        stop.store(true, Relaxed);
                        thread.thread().unpark();
                        thread.join().unwrap();
                    } else {
                        threads.insert(which, sleeper());
                    }
                }
                6..15 => {
                    if memory.remove(&which).is_none() {
                        memory.insert(which, vec![1; LARGE * (1 + which as usize % 3)]);
                    }
                }
                _ => memory.clear(),
            }
        }
        println!("done");
    }
}

/// A thread that does nothing from now on, until it is told to end.
fn sleeper() -> (Arc<AtomicBool>, JoinHandle<()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let started = Arc::new(Barrier::new(2));
    let (its_stop, its_start) = (stop.clone(), started.clone());
    let builder = thread::Builder::new().stack_size(8 * LARGE);
    let sleep = move || {
        its_start.wait();
        while !its_stop.load(Relaxed) {
            thread::park();
        }
    };
    let thread = builder.spawn(sleep).unwrap();
    started.wait();
    (stop, thread)
}

struct Followed(Child, ChildStdin, BufReader<ChildStdout>);

impl Followed {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "followed", "--nocapture"])
            .env(FOLLOWED, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut followed = Self(child, stdin, BufReader::new(stdout));
        followed.wait_for("ready");
        followed
    }

    fn say(&mut self, number: u64) {
        writeln!(self.1, "{number}").unwrap();
    }

    fn wait_for(&mut self, what: &str) {
        let mut line = String::new();
        while line.trim() != what {
            line.clear();
            assert_ne!(self.2.read_line(&mut line).unwrap(), 0, "it has exited");
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn requests() -> [Request; 3] {
    let all = Request {
        fields: Fields::ALL,
        ..Request::default()
    };
    let writable = Selection {
        all: MAPS_LOCKLESS_VMA_WRITE,
        ..Selection::default()
    };
    let upper = Selection {
        start: 0x7000_0000_0123,
        end: 0x7fff_ffff_0123,
        ..Selection::default()
    };
    [
        all,
        Request {
            selection: writable,
            ..all
        },
        Request {
            selection: upper,
            ..all
        },
    ]
}

/// What of a round is compared.
fn same_as_whole(follower: &Follower, process: &Process, request: &Request) {
    let whole = process
        .open(request)
        .unwrap()
        .consistent(100, Duration::MAX);
    let (whole, followed) = (whole.unwrap(), follower.snapshot().unwrap());
    assert_eq!(followed.mappings, whole.mappings);
    assert_eq!(
        (followed.token, followed.judgement),
        (whole.token, whole.judgement)
    );
}

#[test]
fn a_follower_has_what_a_whole_listing_shows() {
    let has_lockless = fs::exists("/proc/self/maps_lockless").unwrap();
    for request in requests() {
        let mut followed = Followed::start();
        let process = Process::pinned(followed.0.id()).unwrap();
        let mut follower = Follower::new(process.open(&request).unwrap());
        let is_lockless = follower.reader().source() == Source::Lockless;
        assert_eq!(is_lockless, has_lockless);
        let mut same = 0;
        for round in 0..300 {
            followed.say(round * 7919 + 13);
            // At times while it is at it.
            if round % 3 == 0 {
                let update = follower.update(1, Duration::ZERO).unwrap();
                assert!(update != Update::Proved || is_lockless);
            }
            followed.wait_for("done");
            let update = follower.update(100, Duration::MAX).unwrap();
            same += u32::from(update == Update::Same);
            assert_eq!(update == Update::Unproved, !is_lockless);
            same_as_whole(&follower, &process, &request);
        }
        assert_eq!(same > 0, is_lockless, "some rounds change nothing");
        follower.refresh(100, Duration::MAX).unwrap();
        same_as_whole(&follower, &process, &request);
    }
}

#[test]
fn an_exit_is_an_error() {
    let mut followed = Followed::start();
    let process = Process::pinned(followed.0.id()).unwrap();
    let mut follower = Follower::new(process.open(&Request::default()).unwrap());
    follower.update(3, Duration::MAX).unwrap();
    assert!(!follower.snapshot().unwrap().mappings.is_empty());
    followed.0.kill().unwrap();
    followed.0.wait().unwrap();
    if follower.reader().source() == Source::Lockless {
        assert!(follower.update(3, Duration::MAX).unwrap_err().is_exited());
        assert!(follower.refresh(3, Duration::MAX).unwrap_err().is_exited());
        // What was proved stays.
        assert!(follower.proved().is_some());
    }
}

#[test]
fn what_has_changed_can_be_read_alone() {
    let mut followed = Followed::start();
    let process = Process::pinned(followed.0.id()).unwrap();
    let mut reader = process.open(&Request::default()).unwrap();
    let whole = reader.consistent(100, Duration::MAX).unwrap();
    let Some(token) = whole.token else {
        assert_ne!(reader.source(), Source::Lockless);
        return;
    };
    let mut changes = || {
        reader.rewind_since(&token).unwrap();
        let (mut mappings, mut unchanged) = (0, 0);
        while let Some(batch) = reader.next_batch().unwrap() {
            mappings += batch.mappings().map(Result::unwrap).count();
            let ranges = batch
                .unchanged()
                .map(|range| range.unwrap().vma_count as usize);
            unchanged += ranges.sum::<usize>();
        }
        (mappings, unchanged)
    };
    // But for [vsyscall], which is no VMA.
    let (mappings, unchanged) = changes();
    assert!(mappings <= 1, "{mappings} have changed");
    assert_eq!(mappings + unchanged, whole.mappings.len());
    // Neighbours of what has changed may be told as well.
    followed.say(13);
    followed.wait_for("done");
    let (mappings, unchanged) = changes();
    assert!(
        mappings > 1 && unchanged > 0,
        "{mappings} have changed, {unchanged} have not"
    );
    // A snapshot is always whole.
    let after = reader.snapshot().unwrap();
    assert!(after.mappings.len() >= mappings.max(unchanged));
}
