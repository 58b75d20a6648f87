// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process that changes its mappings all the time, with a rest now and then, is followed.

#![expect(
    unsafe_code,
    reason = "the process that changes its mappings must do nothing else"
)]

use super::{MAX, MIN};
use crate::{
    raw::{ALL, Lockless, MAPS},
    rng::Rng,
    shapes::PAGE,
    since::{How, Round, differ},
    tests::{Test, stepper::Stepper},
};
use anyhow::{Context, Result, bail, ensure};
use maps_lockless::wire::*;
use nix::libc::{self, c_int, c_void};
use std::{
    ptr,
    time::{Duration, Instant},
};

/// How long each test follows.
const TIME: Duration = Duration::from_secs(10);
/// How often it must have been compared, for as long as a clock that runs too fast lets it.
const LEAST: u64 = 20;
const EXTENSION: Duration = Duration::from_secs(120);
const PAGES: usize = 1024;
const R: c_int = libc::PROT_READ;
const RW: c_int = libc::PROT_READ | libc::PROT_WRITE;
const PRIVATE: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

pub(super) fn tests() -> Vec<Test> {
    let a_few = maps_lockless_request {
        vma_flags_all: MAPS_LOCKLESS_VMA_WRITE,
        max_records: 20,
        ..MAPS
    };
    [
        ("everything", How::new(ALL, MAX)),
        ("small buffer", How::new(MAPS, MIN)),
        ("writable ones, a few at a time", How::new(a_few, MIN)),
    ]
    .into_iter()
    .map(|(name, how)| {
        let name = format!("since: under churn the followed listing is the whole one: {name}");
        Test::new(name, move || follow(&how))
    })
    .collect()
}

/// Changes mappings, some at a time, for ever.
fn change_for_ever(base: *mut c_void) {
    let mut rng = Rng::new(7);
    loop {
        for _ in 0..rng.below(12) {
            let page = rng.below(PAGES as u64) as usize;
            let pages = 1 + rng.below(3) as usize;
            let len = pages.min(PAGES - page) * PAGE;
            let at = base.wrapping_byte_add(page * PAGE);
            let prot = if rng.below(2) == 0 { R } else { RW };
            // SAFETY: Nobody uses the range.
            unsafe {
                match rng.below(4) {
                    0 => {
                        libc::munmap(at, len);
                    }
                    1 => {
                        libc::mprotect(at, len, prot);
                    }
                    _ => {
                        libc::mmap(at, len, prot, PRIVATE | libc::MAP_FIXED, -1, 0);
                    }
                }
            }
        }
        let rest = libc::timespec {
            tv_sec: 0,
            tv_nsec: rng.below(10_000_000) as libc::c_long,
        };
        // SAFETY: The struct is as the kernel wants it, and nobody asks for the time that is left.
        unsafe { libc::nanosleep(&raw const rest, ptr::null_mut()) };
    }
}

fn follow(how: &How) -> Result<()> {
    // It never comes to its step.
    let prepare = || {
        // SAFETY: The kernel chooses an address where nothing is.
        unsafe { libc::mmap(ptr::null_mut(), PAGES * PAGE, RW, PRIVATE, -1, 0) }
    };
    let stepper = Stepper::start(1, prepare, |_, base| {
        change_for_ever(base);
        true
    })?;
    stepper.go_on()?;
    let mut file = Lockless::open(stepper.pid()?)?;
    let (mut followed, mut compared, mut vain) = (0_u64, 0_u64, 0_u64);
    let mut sum = Round::default();
    let mut known = None;
    let begin = Instant::now();
    while begin.elapsed() < TIME || (compared < LEAST && begin.elapsed() < EXTENSION) {
        let Some(earlier) = &known else {
            known = how.whole(&mut file)?;
            continue;
        };
        let Some((new, round)) = how.follow(&mut file, earlier)? else {
            vain += 1;
            continue;
        };
        ensure!(new.mm_id == earlier.mm_id && new.seq >= earlier.seq);
        if new.seq != earlier.seq {
            followed += 1;
            sum.add(round);
        }
        let whole = how.whole(&mut file)?;
        if let Some(whole) = whole.filter(|whole| whole.seq == new.seq) {
            compared += u64::from(new.seq != earlier.seq);
            if let Some(differ) = differ(&new.mappings, &whole.mappings, Clone::clone) {
                bail!("since {} to {}, {round:?}: {differ}", earlier.seq, new.seq);
            }
        }
        known = Some(new);
    }
    println!("# {followed} rounds, {compared} compared, {vain} in vain; {sum:?}");
    known.context("never at rest")?;
    ensure!(
        compared >= LEAST && sum.kept > 0 && sum.told > 0,
        "{compared} compared, {sum:?}"
    );
    Ok(())
}
