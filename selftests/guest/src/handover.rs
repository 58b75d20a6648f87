// SPDX-License-Identifier: MIT OR Apache-2.0

//! What frees a VMA or a file on one CPU, for memory that is taken there at once: a process frees a VMA, and
//! another gets the VMA's memory; or a process closes a file, and opens another in the file's memory.

#![expect(unsafe_code, reason = "mapping memory has no safe form")]

use crate::{rng::Rng, sched, shapes::PAGE};
use anyhow::{Context, Result};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use std::{
    fs::File,
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
/// Mappings between the two places where a file is mapped, for a reader to be among when the files change.
pub const BETWEEN: usize = 64;
/// The file that is mapped below them, and the one above. The test makes the files.
pub const FILES: [&str; 2] = ["/tmp/handover-low", "/tmp/handover-high"];
/// The most microseconds that a file stays mapped: longer than a slow reader takes to look a VMA up, and about
/// as long as such a reader takes for all mappings.
const MAPPED: u64 = 4000;

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

/// Where the two files are mapped.
pub fn places_of_files(arena: usize) -> [usize; 2] {
    [arena, arena + (BETWEEN + 1) * PAGE]
}

/// Unmaps what is at either place.
pub fn make_room_for_files(arena: usize) -> Result<()> {
    places_of_files(arena)
        .into_iter()
        .try_for_each(|at| unmap(at, 1))
}

/// Maps one file and then the other, each at its own place and for a while, for ever. The mapping alone keeps
/// the file open, so that munmap(2) closes it, and the next open(2) gets its memory.
pub fn map_files_by_turns(arena: usize) -> Result<()> {
    sched::pin(sched::THIS, CPU)?;
    let places = places_of_files(arena);
    let mut rng = Rng::new(0);
    loop {
        for (path, at) in FILES.into_iter().zip(places) {
            map_file(path, at)?;
            thread::sleep(Duration::from_micros(rng.below(MAPPED)));
            unmap(at, 1)?;
        }
    }
}

fn map_file(path: &str, at: usize) -> Result<()> {
    let file = File::open(path)?;
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
    let len = NonZeroUsize::new(PAGE).context("a page")?;
    let prot = ProtFlags::PROT_READ;
    // SAFETY: As above.
    unsafe { mmap(NonZeroUsize::new(at), len, prot, flags, &file, 0)? };
    Ok(())
}
