// SPDX-License-Identifier: MIT OR Apache-2.0

//! Two processes on one CPU: one frees a VMA, and the other at once gets the memory that it was in.

#![expect(unsafe_code, reason = "mapping memory has no safe form")]

use crate::{sched, shapes::PAGE};
use anyhow::{Context, Result};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::{
    io::{BufRead, BufReader, Write, stdin, stdout},
    num::NonZeroUsize,
    process::{Command, Stdio},
    ptr::NonNull,
    thread,
    time::Duration,
};

/// What either process may do with what it maps. No other mapping is looked at.
pub const GIVEN: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);
const TAKEN: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_EXEC);
/// The page of the arena whose VMA is freed.
pub const PLACE: usize = 2 * PAGE;
/// As long as a reader may take to look a VMA up.
const WHILE: Duration = Duration::from_micros(500);
/// The processes' CPU. Readers have others.
const CPU: usize = 0;

fn map(at: usize, protection: ProtFlags) -> Result<()> {
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
    let len = NonZeroUsize::new(PAGE).context("a page")?;
    // SAFETY: The arena is used for nothing but this.
    unsafe { mmap_anonymous(NonZeroUsize::new(at), len, protection, flags)? };
    Ok(())
}

fn unmap(at: usize, pages: usize) -> Result<()> {
    let at = NonNull::new(at as *mut _).context("null")?;
    // SAFETY: As above.
    unsafe { munmap(at, pages * PAGE)? };
    Ok(())
}

/// Frees a VMA at `arena`, by munmap(2) or by a merge, for another process to take, for ever.
pub fn give(by_merge: bool, arena: usize) -> Result<()> {
    sched::pin(sched::THIS, CPU)?;
    let mut taker = Command::new("/bin/target")
        .arg("handover-taker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut to = taker.stdin.take().context("standard input")?;
    let mut said = BufReader::new(taker.stdout.take().context("standard output")?).lines();
    said.next().context("the taker ended")??;
    loop {
        map(arena, GIVEN)?;
        map(arena + PLACE, GIVEN)?;
        thread::sleep(WHILE);
        if by_merge {
            map(arena + PAGE, GIVEN)?;
        } else {
            unmap(arena + PLACE, 1)?;
        }
        to.write_all(b"\n")?;
        said.next().context("the taker ended")??;
        unmap(arena, 3)?;
    }
}

/// Maps a page at `arena` for a while, for each line of standard input.
pub fn take(arena: usize) -> Result<()> {
    sched::pin(sched::THIS, CPU)?;
    for line in stdin().lines() {
        line?;
        map(arena, TAKEN)?;
        thread::sleep(WHILE);
        unmap(arena, 1)?;
        println!("taken");
        stdout().flush()?;
    }
    Ok(())
}
