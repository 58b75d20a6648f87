// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process that changes its mappings step by step, in each way that there is.

#![expect(
    unsafe_code,
    reason = "the process that changes its mappings must do nothing else"
)]

use crate::{shapes::PAGE, tests::stepper::Stepper};
use anyhow::{Context, Result, ensure};
use nix::libc::{self, c_int, c_ulong, c_void};
use std::{
    fs,
    os::fd::{AsRawFd, RawFd},
    ptr,
};

const R: c_int = libc::PROT_READ;
const RW: c_int = libc::PROT_READ | libc::PROT_WRITE;
const RX: c_int = libc::PROT_READ | libc::PROT_EXEC;
const FIXED: c_int = libc::MAP_FIXED;
const PRIVATE: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
const MADV_GUARD_INSTALL: c_int = 102;
const SYS_MSEAL: libc::c_long = 462;
const UFFDIO_API: c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: c_ulong = 0xc020_aa00;
const UFFDIO_UNREGISTER: c_ulong = 0x8010_aa01;
const UFFD_API: u64 = 0xaa;

/// Pages that are worked on.
pub(super) const PAGES: usize = 2048;
/// Of these, one by one with permissions by turns.
const ALTERNATE: usize = 256;
/// From the end of these on, every other one.
const LONE: usize = 512;
/// From here on is nothing, up to what grows downwards.
const NOTHING: usize = 1200;
const GROWS: usize = 1700;
/// From here on, pages of files.
const FILES: usize = 1800;
/// Pages of each file.
const FILE_PAGES: usize = 8;

/// The memory, and a file.
#[derive(Clone, Copy)]
pub(super) struct Arena {
    base: *mut c_void,
    file: RawFd,
}

/// The address of one of its pages: the same in each process that is forked of this one.
pub(super) fn place(base: u64, page: usize) -> u64 {
    base + (page * PAGE) as u64
}

impl Arena {
    fn at(self, page: usize) -> *mut c_void {
        self.base.wrapping_byte_add(page * PAGE)
    }

    fn map(self, page: usize, pages: usize, prot: c_int, flags: c_int) -> bool {
        let at = self.at(page);
        // SAFETY: The range is the arena's, which nobody uses but by these steps.
        unsafe { libc::mmap(at, pages * PAGE, prot, PRIVATE | FIXED | flags, -1, 0) == at }
    }

    fn map_file(self, page: usize, pages: usize, prot: c_int, from: usize) -> bool {
        let (at, offset) = (self.at(page), (from * PAGE) as libc::off_t);
        let flags = libc::MAP_SHARED | FIXED;
        // SAFETY: As in `map()`.
        unsafe { libc::mmap(at, pages * PAGE, prot, flags, self.file, offset) == at }
    }

    fn unmap(self, page: usize, pages: usize) -> bool {
        // SAFETY: As in `map()`.
        unsafe { libc::munmap(self.at(page), pages * PAGE) == 0 }
    }

    fn protect(self, page: usize, pages: usize, prot: c_int) -> bool {
        // SAFETY: As in `map()`.
        unsafe { libc::mprotect(self.at(page), pages * PAGE, prot) == 0 }
    }

    fn advise(self, page: usize, pages: usize, advice: c_int) -> bool {
        // SAFETY: As in `map()`.
        unsafe { libc::madvise(self.at(page), pages * PAGE, advice) == 0 }
    }

    fn remap(self, from: usize, pages: usize, to: usize, new: usize, flags: c_int) -> bool {
        let flags = flags | libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let (old, at) = (self.at(from), self.at(to));
        // SAFETY: As in `map()`.
        unsafe { libc::mremap(old, pages * PAGE, new * PAGE, flags, at) == at }
    }

    fn resize(self, page: usize, pages: usize, new: usize) -> bool {
        // SAFETY: As in `map()`.
        unsafe { libc::mremap(self.at(page), pages * PAGE, new * PAGE, 0) == self.at(page) }
    }

    fn name(self, page: usize, name: *const libc::c_char) -> bool {
        let option = libc::PR_SET_VMA_ANON_NAME as c_ulong;
        // SAFETY: As in `map()`. The name is a constant or null.
        unsafe { libc::prctl(libc::PR_SET_VMA, option, self.at(page), PAGE, name) == 0 }
    }

    fn touch(self, page: usize) -> bool {
        // SAFETY: The page is mapped writable, or the stack above grows over it.
        unsafe { self.at(page).cast::<u8>().write_volatile(1) };
        true
    }

    /// Registers a page with a userfaultfd(2) and leaves it so, or not.
    fn userfault(self, page: usize, stays: bool) -> bool {
        let mut api = [UFFD_API, 0, 0];
        let range = [self.at(page).expose_provenance() as u64, PAGE as u64];
        let mut register = [range[0], range[1], 1, 0];
        // SAFETY: The kernel is handed structs of this size, and a page of the arena's that is not touched again.
        unsafe {
            let fd = libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) as c_int;
            fd >= 0
                && libc::ioctl(fd, UFFDIO_API, api.as_mut_ptr()) == 0
                && libc::ioctl(fd, UFFDIO_REGISTER, register.as_mut_ptr()) == 0
                && (stays || libc::ioctl(fd, UFFDIO_UNREGISTER, range.as_ptr()) == 0)
        }
    }

    fn fork(self) -> bool {
        // SAFETY: The child makes one system call.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(0);
            }
            libc::waitpid(child, ptr::null_mut(), 0) == child
        }
    }

    fn sbrk(self, pages: isize) -> bool {
        // SAFETY: The heap's end moves up, and down again by as much. Nobody else in this process moves it.
        unsafe { libc::sbrk(pages * PAGE as isize) as isize != -1 }
    }

    fn lock(self, page: usize, pages: usize, flags: libc::c_uint) -> bool {
        // SAFETY: As in `map()`.
        unsafe { libc::mlock2(self.at(page), pages * PAGE, flags) == 0 }
    }

    fn unlock(self, page: usize, pages: usize) -> bool {
        // SAFETY: As in `map()`.
        unsafe { libc::munlock(self.at(page), pages * PAGE) == 0 }
    }

    fn seal(self, page: usize) -> bool {
        // SAFETY: As in `map()`.
        unsafe { libc::syscall(SYS_MSEAL, self.at(page), PAGE, 0) == 0 }
    }
}

/// A step: its name, and what does it.
pub(super) type Step = (&'static str, fn(Arena) -> bool);

/// All steps but that which nobody sees.
pub(super) const STEPS: [Step; 62] = [
    ("nothing", |_| true),
    ("mmap between neighbours", |a| a.map(257, 1, RX, 0)),
    ("mmap of a lone range", |a| a.map(1300, 3, RW, 0)),
    ("mmap that merges with the one below", |a| {
        a.map(1303, 2, RW, 0)
    }),
    ("mmap that merges with the one above", |a| {
        a.map(1299, 1, RW, 0)
    }),
    ("mmap that merges with both", |a| a.map(261, 1, RW, 0)),
    ("munmap of a VMA between neighbours", |a| a.unmap(10, 1)),
    ("munmap of a lone VMA", |a| a.unmap(300, 1)),
    ("munmap of the first VMA", |a| a.unmap(0, 1)),
    ("munmap of many VMAs", |a| a.unmap(20, 9)),
    ("munmap of lone VMAs and their gaps", |a| a.unmap(311, 40)),
    ("munmap of nothing", |a| a.unmap(300, 1)),
    ("munmap in the middle of a VMA", |a| a.unmap(600, 1)),
    ("munmap of the beginning of a VMA", |a| a.unmap(512, 2)),
    ("munmap of the end of a VMA", |a| a.unmap(1198, 2)),
    ("mprotect that splits", |a| a.protect(640, 1, R)),
    ("mprotect that merges", |a| a.protect(640, 1, RW)),
    ("mprotect that moves a boundary", |a| {
        a.protect(650, 10, R) && a.protect(655, 2, RW)
    }),
    ("mprotect that merges with both neighbours", |a| {
        a.protect(41, 1, R)
    }),
    ("mprotect of many VMAs", |a| a.protect(50, 11, R)),
    ("mprotect that changes nothing", |a| a.protect(50, 11, R)),
    ("mprotect of a lone VMA", |a| a.protect(358, 1, R)),
    ("mprotect of a lone VMA, to and fro", |a| {
        a.protect(360, 1, R) && a.protect(360, 1, RW)
    }),
    ("mremap that moves a part", |a| a.remap(660, 1, 363, 1, 0)),
    ("mremap that moves a lone VMA", |a| {
        a.remap(366, 1, 1330, 1, 0)
    }),
    ("mremap that moves it back", |a| a.remap(1330, 1, 366, 1, 0)),
    ("mremap that grows", |a| a.resize(1299, 6, 8)),
    ("mremap that shrinks", |a| a.resize(1299, 8, 5)),
    ("mremap that leaves the old range", |a| {
        a.remap(670, 1, 1320, 1, libc::MREMAP_DONTUNMAP)
    }),
    ("mremap over a VMA", |a| a.remap(672, 2, 80, 2, 0)),
    ("brk", |a| a.sbrk(4)),
    ("brk down", |a| a.sbrk(-4)),
    ("mlock", |a| a.lock(680, 2, 0)),
    ("mlock on fault", |a| a.lock(682, 2, 1)),
    ("munlock", |a| a.unlock(680, 1)),
    ("madvise: not for children", |a| {
        a.advise(690, 1, libc::MADV_DONTFORK)
    }),
    ("madvise: for children again", |a| {
        a.advise(690, 1, libc::MADV_DOFORK)
    }),
    ("madvise: in order", |a| {
        a.advise(370, 1, libc::MADV_SEQUENTIAL)
    }),
    ("madvise: at random", |a| {
        a.advise(370, 1, libc::MADV_RANDOM)
    }),
    ("madvise: not in dumps", |a| {
        a.advise(692, 3, libc::MADV_DONTDUMP)
    }),
    ("madvise: pages are dropped", |a| {
        a.advise(692, 3, libc::MADV_DONTNEED)
    }),
    ("a name", |a| a.name(700, c"a name".as_ptr())),
    ("another name", |a| a.name(700, c"another one".as_ptr())),
    ("no name", |a| a.name(700, ptr::null())),
    ("the name of a lone VMA", |a| a.name(380, c"lone".as_ptr())),
    ("MAP_FIXED over VMAs", |a| a.map(90, 7, RX, 0)),
    ("MAP_FIXED over a part", |a| a.map(710, 2, RX, 0)),
    ("MAP_FIXED of the same", |a| a.map(382, 1, RW, 0)),
    ("mmap of a file", |a| a.map_file(720, 4, R, 0)),
    ("mmap of more of the file", |a| a.map_file(724, 2, R, 4)),
    ("mprotect of a file's pages", |a| {
        a.protect(FILES + 1, 1, RW)
    }),
    ("munmap of a file's pages", |a| a.unmap(FILES + 16, 4)),
    ("growth of a stack", |a| a.touch(GROWS - 1)),
    ("growth of a stack by many pages", |a| a.touch(GROWS - 40)),
    ("a fault", |a| a.touch(730)),
    ("fork", |a| a.fork()),
    ("a change, then fork", |a| a.protect(740, 1, R) && a.fork()),
    ("fork, then a change", |a| a.fork() && a.protect(742, 1, R)),
    ("userfaultfd, and not any more", |a| a.userfault(750, false)),
    ("userfaultfd", |a| a.userfault(752, true)),
    ("a seal", |a| a.seal(760)),
    ("a seal of a lone VMA", |a| a.seal(384)),
];

/// Starts the process, of which each step is `steps`'s. Returns where it works as well.
pub(super) fn start(steps: &'static [Step]) -> Result<(Stepper, u64)> {
    fs::write("/tmp/since", vec![0; FILE_PAGES * PAGE])?;
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open("/tmp/since")?;
    // SAFETY: The kernel chooses an address where nothing is. A child has it at the same place.
    let base = unsafe { libc::mmap(ptr::null_mut(), PAGES * PAGE, RW, PRIVATE, -1, 0) };
    ensure!(base != libc::MAP_FAILED, "no memory");
    let arena = Arena {
        base,
        file: file.as_raw_fd(),
    };
    let stepper = Stepper::start(
        steps.len(),
        || prepare(arena).then_some(arena),
        |step, arena| arena.is_some_and(|arena| steps[step].1(arena)),
    );
    // SAFETY: Nobody uses it.
    let unmapped = unsafe { libc::munmap(base, PAGES * PAGE) == 0 };
    ensure!(unmapped, "{}", std::io::Error::last_os_error());
    let base = base.expose_provenance() as u64;
    Ok((stepper.context("the process of steps")?, base))
}

fn prepare(arena: Arena) -> bool {
    let alternate = (0..ALTERNATE)
        .step_by(2)
        .all(|page| arena.protect(page, 1, R));
    let lone = (ALTERNATE + 1..LONE)
        .step_by(2)
        .all(|page| arena.unmap(page, 1));
    let grows =
        arena.unmap(NOTHING, FILES - NOTHING) && arena.map(GROWS, 1, RW, libc::MAP_GROWSDOWN);
    // No two neighbours go on in the file.
    let files = (FILES..PAGES).step_by(2).all(|page| {
        let from = page / 2 % (FILE_PAGES / 2) * 2;
        arena.map_file(page, 1, R, from + 1) && arena.map_file(page + 1, 1, R, from)
    });
    alternate && lone && grows && files
}

/// Installs guard pages, which sets a flag without the lock.
pub(super) const GUARD: [Step; 2] = [
    ("guard pages", |a| a.advise(800, 1, MADV_GUARD_INSTALL)),
    ("mmap elsewhere", |a| a.map(1300, 1, RW, 0)),
];
