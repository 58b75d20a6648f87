// SPDX-License-Identifier: MIT OR Apache-2.0

//! The change count, as a token: what moves it, and what does not.

#![expect(
    unsafe_code,
    reason = "the process that changes its mappings must do nothing else"
)]

use super::{Test, stepper::Stepper};
use crate::{raw::Lockless, shapes::PAGE};
use anyhow::{Result, ensure};
use maps_lockless::{Mapping, wire::*};
use nix::libc::{self, c_int, c_void};
use std::{fs, ptr};

const MADV_GUARD_INSTALL: c_int = 102;
const READ_WRITE: c_int = libc::PROT_READ | libc::PROT_WRITE;
const PRIVATE: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
const MIN: usize = MAPS_LOCKLESS_MIN_BUFFER as usize;
/// Pages of the range that is worked on.
const PAGES: usize = 16;

/// Steps, and whether each moves the count.
const STEPS: [(&str, bool); 18] = [
    ("nothing", false),
    ("a page fault", false),
    ("mprotect of a part", true),
    ("mprotect that changes nothing", true),
    ("munmap of a part", true),
    ("munmap that is refused for its argument", true),
    ("mmap into a gap", true),
    ("mmap over mappings", true),
    ("mremap", true),
    ("brk", true),
    ("prctl that names memory", true),
    ("madvise that sets a flag", true),
    ("madvise that drops pages", false),
    ("mlock", true),
    ("fork", true),
    // docs/tearing.md says that these are not covered.
    ("guard pages", false),
    ("rename of a mapped file", false),
    ("unlink of a mapped file", false),
];

/// Does a step. Returns whether it did what its name says.
fn run(step: &str, base: *mut c_void) -> bool {
    let at = |page: usize| base.wrapping_byte_add(page * PAGE);
    let fixed = PRIVATE | libc::MAP_FIXED;
    // SAFETY: What is changed is the range at `base`, of `PAGES` pages, or the heap's end, or a file.
    // Nobody else uses them.
    unsafe {
        match step {
            "nothing" => true,
            "a page fault" => {
                base.cast::<u8>().write_volatile(1);
                true
            }
            "mprotect of a part" | "mprotect that changes nothing" => {
                libc::mprotect(base, PAGE, libc::PROT_READ) == 0
            }
            "munmap of a part" => libc::munmap(at(2), PAGE) == 0,
            "munmap that is refused for its argument" => {
                libc::munmap(base.wrapping_byte_add(1), PAGE) != 0
            }
            "mmap into a gap" => libc::mmap(at(2), PAGE, READ_WRITE, fixed, -1, 0) == at(2),
            "mmap over mappings" => libc::mmap(base, 3 * PAGE, READ_WRITE, fixed, -1, 0) == base,
            "mremap" => {
                let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
                libc::mremap(at(4), PAGE, PAGE, flags, at(5)) == at(5)
            }
            "brk" => libc::sbrk(PAGE as libc::intptr_t) as isize != -1,
            "prctl that names memory" => {
                let option = libc::PR_SET_VMA_ANON_NAME as libc::c_ulong;
                libc::prctl(libc::PR_SET_VMA, option, at(6), PAGE, c"name".as_ptr()) == 0
            }
            "madvise that sets a flag" => libc::madvise(at(7), PAGE, libc::MADV_DONTFORK) == 0,
            "madvise that drops pages" => libc::madvise(base, PAGE, libc::MADV_DONTNEED) == 0,
            "mlock" => libc::mlock(at(8), PAGE) == 0,
            "fork" => {
                let child = libc::fork();
                if child == 0 {
                    libc::_exit(0);
                }
                libc::waitpid(child, ptr::null_mut(), 0) == child
            }
            "guard pages" => libc::madvise(at(9), PAGE, MADV_GUARD_INSTALL) == 0,
            "rename of a mapped file" => {
                libc::rename(c"/tmp/token".as_ptr(), c"/tmp/token-renamed".as_ptr()) == 0
            }
            "unlink of a mapped file" => libc::unlink(c"/tmp/token-renamed".as_ptr()) == 0,
            _ => false,
        }
    }
}

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "token: moves with every change, and not without",
        moves,
    )]
}

/// A process that does the steps.
fn stepper() -> Result<Stepper> {
    fs::write("/tmp/token", [0; PAGE])?;
    let file = fs::File::open("/tmp/token")?;
    let prepare = || {
        use std::os::fd::AsRawFd;
        // SAFETY: The kernel chooses addresses where nothing is.
        unsafe {
            libc::mmap(
                ptr::null_mut(),
                PAGE,
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            );
            libc::mmap(ptr::null_mut(), PAGES * PAGE, READ_WRITE, PRIVATE, -1, 0)
        }
    };
    Stepper::start(STEPS.len(), prepare, |step, base| run(STEPS[step].0, base))
}

fn moves() -> Result<()> {
    let stepper = stepper()?;
    let file = Lockless::open(stepper.pid()?)?;
    let token = || -> Result<(u64, u64)> {
        let state = file.state()?;
        ensure!(state.status == MAPS_LOCKLESS_STATUS_LIVE && state.seq % 2 == 0);
        let header = file.batch_at(MIN, 0)?.header()?;
        let of_batch = (header.mm_id, header.seq_begin, header.seq_end);
        ensure!(
            of_batch == (state.mm_id, state.seq, state.seq),
            "{state:?}, but {header:?}"
        );
        Ok((state.mm_id, state.seq))
    };
    let listing = || -> Result<Vec<Mapping>> {
        let mut file = Lockless::open(stepper.pid()?)?;
        Ok(file.rest(MIN)?.0)
    };
    for (step, moves) in STEPS {
        let (before, was) = (token()?, listing()?);
        ensure!(stepper.step()?, "{} failed", step);
        let (after, is) = (token()?, listing()?);
        ensure!(before.0 == after.0, "{}: another address space", step);
        ensure!(
            (before != after) == moves,
            "{}: {before:?} to {after:?}",
            step
        );
        if !moves && step != "guard pages" {
            // All but the path, which no step but those of files changes.
            let covered = |mappings: &[Mapping]| -> Vec<_> {
                mappings
                    .iter()
                    .map(|mapping| {
                        let file = (mapping.offset, mapping.device, mapping.inode);
                        (mapping.start, mapping.end, mapping.flags, file)
                    })
                    .collect()
            };
            ensure!(
                covered(&was) == covered(&is),
                "{}: a change without a move",
                step
            );
        }
    }
    Ok(())
}
