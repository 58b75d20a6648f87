// SPDX-License-Identifier: MIT OR Apache-2.0

//! The closing table of a run.

use super::counts::{Counts, GROUPS};
use std::time::Duration;

/// Prints it.
pub fn print(time: Duration, counts: &Counts, scanned: u64, failslab: bool, failures: usize) {
    line("seconds", time.as_secs());
    for (group, names) in GROUPS {
        line(
            group,
            names.iter().map(|name| counts.get(name)).sum::<u64>(),
        );
        for name in names {
            line(&format!("  {name}"), counts.get(name));
        }
    }
    let errors = counts.errors();
    println!("errors");
    for (errno, count) in errors {
        line(&format!("  {errno:?}"), count);
    }
    if !failslab {
        println!("{:<36}{:>12}", "  failing allocations", "skipped");
    }
    line("scanned for reclaim", scanned);
    line("failures", failures as u64);
}

fn line(name: &str, count: u64) {
    println!("{name:<36}{count:>12}");
}
