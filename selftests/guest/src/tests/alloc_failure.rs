// SPDX-License-Identifier: MIT OR Apache-2.0

//! One allocation, or one copy to or from user space, fails after another: a call fails as a whole or
//! not at all. On kernels with fault injection alone.

use super::Test;
use crate::{
    child::Target,
    raw::{ALL, Lockless},
};
use anyhow::{Context, Result, bail, ensure};
use maps_lockless::wire::*;
use nix::errno::Errno;
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
};

const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
/// How often each is made to fail in turn, at most.
const ROUNDS: u32 = 20;
/// Which of the calls to come is to fail, in this thread alone.
const FAIL_NTH: &str = "/proc/thread-self/fail-nth";

pub(super) fn tests() -> Vec<Test> {
    if !Path::new(FAIL_NTH).exists() {
        return Vec::new();
    }
    vec![
        Test::new("failing allocations: open, request, read", || {
            each_fails(&Target::start_program("/bin/target-dynamic", "plain")?)
        }),
        Test::new("failing allocations: of a large listing", || {
            each_fails(&Target::start("file-vmas-1000")?)
        }),
    ]
}

/// Lets allocations fail that may sleep, and of a single page, without a report of each.
fn set_up() -> Result<()> {
    for (file, value) in [
        ("failslab/ignore-gfp-wait", "N"),
        ("fail_page_alloc/ignore-gfp-wait", "N"),
        ("fail_page_alloc/min-order", "0"),
        ("failslab/verbose", "0"),
        ("fail_page_alloc/verbose", "0"),
        ("fail_usercopy/verbose", "0"),
    ] {
        let path = format!("/sys/kernel/debug/{file}");
        fs::write(&path, value).context(path)?;
    }
    Ok(())
}

/// What is done while a call fails, and how far it came.
fn list(pid: u32, step: &mut &str) -> io::Result<Vec<Vec<u8>>> {
    *step = "open";
    let mut file = Lockless::open(pid)?;
    *step = "request";
    file.request(ALL)?;
    *step = "read";
    let mut batches = Vec::new();
    loop {
        let position = file.position()?;
        let batch = match file.read(MAX) {
            Ok(batch) => batch,
            Err(error) => {
                *step = match file.position()? == position {
                    true => "read",
                    false => "read, which has moved the position",
                };
                return Err(error);
            }
        };
        match batch {
            Some(batch) => batches.push(batch.bytes().to_vec()),
            None => return Ok(batches),
        }
    }
}

fn each_fails(target: &Target) -> Result<()> {
    set_up()?;
    let expected = list(target.pid(), &mut "")?;
    let mut fail_nth = File::options().read(true).write(true).open(FAIL_NTH)?;
    let (mut survived, mut failed) = (0, Vec::new());
    let count = |failed: &[&str], step| failed.iter().filter(|failed| **failed == step).count();
    let counts = |failed: &[&str]| ["open", "request", "read"].map(|step| count(failed, step));
    let (mut n, mut round) = (0, 0);
    // The kernel does not make the same allocations each time, so that one may be missed.
    while round < ROUNDS && (round == 0 || counts(&failed).contains(&0)) {
        n += 1;
        ensure!(n < 10_000, "there is no end to it");
        let mut step = "";
        fail_nth.write_all(n.to_string().as_bytes())?;
        let result = list(target.pid(), &mut step);
        // What is left is to be 0. To tell it takes a copy to user space, which may be what fails.
        let mut left = [0; 1];
        let reached = fail_nth.read_at(&mut left, 0).is_ok() && left[0] == b'0';
        while fail_nth.write_all(b"0").is_err() {}
        match result {
            Ok(batches) => {
                ensure!(batches == expected, "number {n}: another listing");
                survived += u32::from(reached);
            }
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOMEM | Errno::EFAULT) => failed.push(step),
                _ => bail!("number {n}: {step}: {error}"),
            },
        }
        if !reached {
            (n, round) = (0, round + 1);
        }
    }
    ensure!(list(target.pid(), &mut "")? == expected);
    let counts = counts(&failed);
    println!("# failed in open, request, read: {counts:?}; without a failure: {survived}");
    ensure!(
        counts.iter().sum::<usize>() == failed.len(),
        "{failed:?}: the position of a read that failed"
    );
    ensure!(counts.iter().all(|count| *count > 0), "{counts:?}");
    Ok(())
}
