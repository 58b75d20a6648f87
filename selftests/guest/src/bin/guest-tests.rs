// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tests that need a booted kernel. Prints KTAP.
//!
//! `guest-tests [--off] [--filter PART]... [--skip PART]...`: `--off` is for a kernel without
//! maps_lockless. Tests whose names contain a PART are the only ones that run, or do not. Shapes of
//! processes that rest are skipped by their names as well.

use anyhow::Result;
use guest::tests;
use std::{panic, process::ExitCode, time::Instant};

fn main() -> Result<ExitCode> {
    let mut args = std::env::args().skip(1);
    let mut off = false;
    let (mut filters, mut skips) = (Vec::new(), Vec::new());
    while let Some(arg) = args.next() {
        match &arg[..] {
            "--off" => off = true,
            "--filter" => filters.extend(args.next()),
            "--skip" => skips.extend(args.next()),
            _ => anyhow::bail!("usage: guest-tests [--off] [--filter PART]... [--skip PART]..."),
        }
    }

    let mut all = if off { tests::off() } else { tests::on() };
    let is_wanted = |name: &str| filters.iter().any(|part| name.contains(part));
    all.retain(|test| filters.is_empty() || is_wanted(&test.name));
    anyhow::ensure!(
        !all.is_empty(),
        "no test's name contains any of {filters:?}"
    );
    tests::skip(skips);
    println!("KTAP version 1\n1..{}", all.len());
    let mut failed = false;
    for (i, test) in all.iter().enumerate() {
        let number = i + 1;
        let name = &test.name;
        if tests::is_skipped(name) {
            println!("ok {number} {name} # SKIP not on this kernel");
            continue;
        }
        let begin = Instant::now();
        let result = panic::catch_unwind(panic::AssertUnwindSafe(|| (test.run)()));
        let seconds = begin.elapsed().as_secs_f32();
        match result {
            Ok(Ok(())) => println!("ok {number} {name} # {seconds:.1} s"),
            Ok(Err(error)) => {
                failed = true;
                println!("not ok {number} {name}");
                for line in format!("{error:?}").lines() {
                    println!("# {line}");
                }
            }
            Err(_) => {
                failed = true;
                println!("not ok {number} {name} # panicked");
            }
        }
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
