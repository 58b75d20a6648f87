// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process that maps a program which it has open for writing, and then runs the program: that fails for as
//! long as anybody keeps the open file. And a reader of this process that meets the file first and then has
//! much to read.

#![expect(unsafe_code, reason = "mapping memory has no safe form")]

use crate::{
    raw::{Lockless, MAPS},
    shapes::PAGE,
};
use anyhow::{Context, Result, bail, ensure};
use maps_lockless::wire::*;
use nix::{
    errno::Errno,
    sys::mman::{MapFlags, ProtFlags, mmap, munmap},
};
use std::{
    fs::{self, File},
    io::{Write, stdin, stdout},
    num::NonZeroUsize,
    os::unix::{fs::FileExt, process::CommandExt},
    process::{Command, Stdio},
    ptr::NonNull,
    thread::sleep,
    time::Duration,
};

/// Mappings behind the program's, none of which the reader wants. They make 125 RCU sections.
pub const BEHIND: usize = 8000;
/// How often the program is run, until it can be.
const ATTEMPTS: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(20);
/// What is said where it cannot.
pub const BUSY: &str = "busy";

/// Where a reader counts its reads.
pub fn count_file(reader: u32) -> String {
    format!("/tmp/pins-reader-{reader}")
}

fn told() -> Result<()> {
    ensure!(
        stdin().lines().next().transpose()?.is_some(),
        "no more to do"
    );
    Ok(())
}

fn tell(what: &str) -> Result<()> {
    println!("{what}");
    Ok(stdout().flush()?)
}

/// For each line of standard input by turns: maps the program at `base`, open for writing; unmaps and closes it,
/// runs it, and says at which attempt it could be run.
pub fn run(base: usize) -> Result<()> {
    let program = format!("/tmp/pins-{}", std::process::id());
    fs::copy("/bin/busybox", &program)?;
    let len = NonZeroUsize::new(PAGE).context("a page")?;
    let place = NonNull::new(base as *mut _).context("null")?;
    loop {
        told()?;
        let file = File::options().read(true).write(true).open(&program)?;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
        let prot = ProtFlags::PROT_READ;
        // SAFETY: The page is used for nothing but this.
        unsafe { mmap(Some(place.addr()), len, prot, flags, &file, 0)? };
        tell("mapped")?;
        told()?;
        // SAFETY: As above.
        unsafe { munmap(place, PAGE)? };
        drop(file);
        match attempts(&program)? {
            Some(attempt) => tell(&attempt.to_string())?,
            None => tell(BUSY)?,
        }
    }
}

/// Runs a program. Returns at which attempt that was possible.
fn attempts(program: &str) -> Result<Option<u32>> {
    for attempt in 1..=ATTEMPTS {
        let ran = Command::new(program)
            .arg0("true")
            .stdin(Stdio::null())
            .status();
        match ran {
            Ok(status) => {
                ensure!(status.success(), "{program}: {status}");
                return Ok(Some(attempt));
            }
            Err(error) if error.raw_os_error() == Some(Errno::ETXTBSY as i32) => sleep(BETWEEN),
            Err(error) => bail!("{program}: {error}"),
        }
    }
    Ok(None)
}

/// Reads, for ever, from the program's mapping on, and wants those of files alone. `argument` has the process's
/// ID and the address, which a `-` parts.
pub fn read(argument: &str) -> Result<()> {
    let (pid, base) = argument.split_once('-').context("PID-ADDRESS")?;
    let request = maps_lockless_request {
        vma_flags_all: MAPS_LOCKLESS_VMA_FILE,
        start: u64::from_str_radix(base, 16)?,
        ..MAPS
    };
    let file = Lockless::with_request(pid.parse()?, request)?;
    let counts = File::create(count_file(std::process::id()))?;
    for count in 1_u64.. {
        file.batch_at(MAPS_LOCKLESS_MAX_BATCH as usize, 0)?;
        counts.write_all_at(&count.to_ne_bytes(), 0)?;
    }
    Ok(())
}
