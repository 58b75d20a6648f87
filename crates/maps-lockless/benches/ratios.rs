// SPDX-License-Identifier: MIT OR Apache-2.0

//! How many times as fast as procfs this library is, measured side by side: on the same bytes, and on a
//! live process, where most of the time is the kernel's.
//!
//! `cargo bench -p maps-lockless --bench ratios` fails where a target is missed.
//!
//! The crate proc-maps is left out: its parser is private, and reads `/proc/<pid>/maps` alone.

mod listing;
mod live;

use listing::{Listing, read_stream, read_text, read_text_by_procfs};
use std::{
    env,
    hint::black_box,
    process::ExitCode,
    time::{Duration, Instant},
};

/// Odd, so that there is a median.
const ROUNDS: usize = 31;

/// A way to read the listing, or the live process.
struct Side {
    name: &'static str,
    read: fn(&Listing) -> u64,
    /// Readings a round, so that each side runs for some milliseconds.
    times: u32,
    /// How many times as fast as procfs it has to be.
    target: Option<f64>,
}

const SIDES: [Side; 3] = [
    Side {
        name: "text by procfs",
        read: |listing| read_text_by_procfs(&listing.text),
        times: 1,
        target: None,
    },
    Side {
        name: "text by maps-lockless",
        read: |listing| read_text(&listing.text),
        times: 8,
        target: Some(3.0),
    },
    Side {
        name: "stream by maps-lockless",
        read: |listing| read_stream(&listing.stream),
        times: 32,
        target: Some(20.0),
    },
];

fn main() -> ExitCode {
    let listing = Listing::new();
    let sums = SIDES.map(|side| (side.read)(&listing));
    assert!(sums.iter().all(|&sum| sum == sums[0]), "{sums:x?}");
    // `cargo test --benches` runs this, too, without optimization.
    if !env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }

    let met = table("", &SIDES, &listing, listing::VMAS);
    let vmas = live::grow();
    table("a live process", &live::sides(), &listing, vmas);
    if !met {
        println!("a target was missed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Prints how long each side takes for so many VMAs, and returns whether all targets are met. The first
/// side is what the others are compared with.
fn table(title: &str, sides: &[Side], listing: &Listing, vmas: usize) -> bool {
    // The sides take turns, so that whatever slows the machine down slows all of them down.
    let rounds: Vec<Vec<f64>> = (0..ROUNDS)
        .map(|_| {
            let times = sides.iter().map(|side| time(side, listing).as_secs_f64());
            times.collect()
        })
        .collect();

    println!(
        "{:<24} {:>10} {:>8} {:>8}",
        title, "ns per VMA", "ratio", "target"
    );
    let mut met = true;
    for (i, side) in sides.iter().enumerate() {
        let seconds = median(rounds.iter().map(|round| round[i]));
        let ratio = median(rounds.iter().map(|round| round[0] / round[i]));
        let target = side.target.map(|target| format!("{target:.1}"));
        println!(
            "{:<24} {:>10.1} {:>8.1} {:>8}",
            side.name,
            seconds * 1e9 / vmas as f64,
            ratio,
            target.unwrap_or_default(),
        );
        met &= side.target.is_none_or(|target| ratio >= target);
    }
    met
}

/// How long one reading takes.
fn time(side: &Side, listing: &Listing) -> Duration {
    let start = Instant::now();
    for _ in 0..side.times {
        black_box((side.read)(black_box(listing)));
    }
    start.elapsed() / side.times
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
