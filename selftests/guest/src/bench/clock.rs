// SPDX-License-Identifier: MIT OR Apache-2.0

//! The clock that counts instructions: with `-icount shift=0` QEMU's time goes on by a nanosecond with each
//! instruction that is executed, and the time-stamp counter counts nanoseconds.

#![expect(
    unsafe_code,
    reason = "neither the counter nor instructions of a known number have a safe form"
)]

use anyhow::{Result, ensure};
use nix::time::{ClockId, clock_gettime};
use std::{
    arch::{asm, x86_64::_rdtsc},
    time::Instant,
};

/// Rounds of a loop of two instructions.
const ROUNDS: u64 = 10_000_000;
/// How much more than its own the loop may be seen to take, in percent: some timer interrupts.
const TOLERANCE: f64 = 1.0;

/// The instructions that were executed since the VM began, and time that passed while there was none to
/// execute.
pub fn instructions() -> u64 {
    // SAFETY: Every 64-bit CPU has the counter, and Linux lets programs read it.
    unsafe { _rdtsc() }
}

/// Returns right behind a timer interrupt, so that as many of them come into each round of a measurement.
pub fn await_tick() -> Result<()> {
    // Each interrupt moves it, and nothing else does.
    let now = || clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE);
    let begin = now()?;
    while now()? == begin {}
    Ok(())
}

/// Fails where the clock does not count instructions. Tells how much a loop of known length was seen to take.
pub fn check() -> Result<()> {
    await_tick()?;
    let time = Instant::now();
    let begin = instructions();
    spin(ROUNDS);
    let counted = instructions() - begin;
    let time = time.elapsed().as_nanos();
    let expected = 2 * ROUNDS;
    println!(
        "# {expected} instructions: {counted} by the time-stamp counter, {time} by CLOCK_MONOTONIC"
    );
    let excess = (counted as f64 / expected as f64 - 1.0) * 100.0;
    ensure!(
        (0.0..TOLERANCE).contains(&excess),
        "this clock does not count instructions: it told {counted} for {expected}. Run it by cargo vm bench"
    );
    Ok(())
}

/// Executes two instructions for each round, and a few others.
fn spin(rounds: u64) {
    // SAFETY: It changes its register and the flags, as is told.
    unsafe {
        asm!(
            "2:",
            "sub {left}, 1",
            "jnz 2b",
            left = inout(reg) rounds => _,
            options(nomem, nostack),
        );
    }
}
