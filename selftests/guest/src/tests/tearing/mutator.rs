// SPDX-License-Identifier: MIT OR Apache-2.0

//! The process whose mappings change: a fork that makes system calls and nothing else.
//!
//! It works on places, ranges of addresses that nobody else uses. An epoch for each tells readers when
//! a place was made what it is before the change: what they saw of it meanwhile is no sample.

#![expect(
    unsafe_code,
    reason = "mapping memory, and a process that does nothing else, have no safe form"
)]

use super::effect::{Arena, Effect};
use crate::shapes::PAGE;
use anyhow::{Result, ensure};
use nix::{
    libc::{self, c_int, c_void},
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{Pid, pipe, read, write},
};
use std::{
    ffi::{CStr, CString},
    fs::{self, File},
    ops::{Deref, Range},
    os::fd::{AsRawFd, OwnedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};

/// Places that change in turn.
pub const PLACES: usize = 8;
/// Pages of the file that places map.
const FILE_PAGES: usize = 32;

/// Pages of heap below the place, which are listed with it. Each is a mapping.
pub const HEAP_BELOW: usize = 16;

pub const NONE: c_int = libc::PROT_NONE;
pub const R: c_int = libc::PROT_READ;
pub const RW: c_int = libc::PROT_READ | libc::PROT_WRITE;
pub const RX: c_int = libc::PROT_READ | libc::PROT_EXEC;

/// What both processes see.
#[derive(Default)]
pub struct Shared {
    /// Where the first place is.
    pub base: AtomicUsize,
    /// Odd while a place is made what it is before the change.
    pub epochs: [AtomicU32; PLACES],
    /// A system call failed that must not.
    pub failed: AtomicBool,
    /// For what a test needs besides.
    pub word: AtomicUsize,
}

/// [`Shared`] in memory that a fork shares.
pub struct SharedMemory(NonNull<Shared>);

impl SharedMemory {
    pub fn new() -> Result<Self> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: The kernel chooses an address where nothing is.
        let memory = unsafe { libc::mmap(ptr::null_mut(), size_of::<Shared>(), RW, flags, -1, 0) };
        ensure!(memory != libc::MAP_FAILED, "mmap of shared memory");
        let Some(memory) = NonNull::new(memory.cast()) else {
            anyhow::bail!("mapped at 0");
        };
        Ok(Self(memory))
    }
}

impl Deref for SharedMemory {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        // SAFETY: The memory was mapped for a `Shared`, is aligned to a page, and stays until the drop.
        // All zero is one, and as all of it is atomic, the fork may change it.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: Nobody has a reference any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<Shared>()) };
    }
}

// SAFETY: All that is in it is atomic.
unsafe impl Send for SharedMemory {}
// SAFETY: As above.
unsafe impl Sync for SharedMemory {}

/// What is opened and named before the fork, which allocates nothing.
struct Files {
    mapped: File,
    /// A file that can be mapped, but for its file system, which then says no.
    refused: File,
    /// Two paths for each place.
    paths: Vec<[CString; 2]>,
}

impl Files {
    fn new() -> Result<Self> {
        fs::write("/tmp/tearing", vec![0; FILE_PAGES * PAGE])?;
        let path = |place, name| CString::new(format!("/tmp/tearing-{place}-{name}"));
        Ok(Self {
            mapped: File::open("/tmp/tearing")?,
            refused: File::open("/sys/kernel/fscaps")?,
            paths: (0..PLACES)
                .map(|place| Ok([path(place, "before")?, path(place, "after")?]))
                .collect::<Result<_>>()?,
        })
    }
}

/// A range of addresses that only its owner uses. Pages are counted from its start.
///
/// What fails returns false.
pub struct Place<'a> {
    start: usize,
    index: usize,
    files: &'a Files,
}

impl Place<'_> {
    fn at(&self, page: usize) -> *mut c_void {
        ptr::with_exposed_provenance_mut(self.start + page * PAGE)
    }

    fn mmap(&self, pages: Range<usize>, prot: c_int, flags: c_int, fd: c_int) -> bool {
        let (at, len) = (self.at(pages.start), pages.len() * PAGE);
        let offset = if fd < 0 { 0 } else { pages.start * PAGE };
        // SAFETY: Nobody else uses what is mapped in a place.
        at == unsafe { libc::mmap(at, len, prot, flags | libc::MAP_FIXED, fd, offset as i64) }
    }

    /// Maps private memory.
    pub fn map(&self, pages: Range<usize>, prot: c_int) -> bool {
        self.mmap(pages, prot, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    /// As [`Place::map`], with all its pages there.
    pub fn map_populated(&self, pages: Range<usize>, prot: c_int) -> bool {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        self.mmap(pages, prot, flags, -1)
    }

    /// Maps a file shared, at the offset that is the same number of pages.
    pub fn map_file(&self, pages: Range<usize>, prot: c_int) -> bool {
        self.mmap(pages, prot, libc::MAP_SHARED, self.files.mapped.as_raw_fd())
    }

    /// Maps a file that refuses when what was mapped before is gone already.
    pub fn map_refused(&self, pages: Range<usize>) -> bool {
        let fd = self.files.refused.as_raw_fd();
        !self.mmap(pages, R, libc::MAP_PRIVATE, fd)
    }

    pub fn unmap(&self, pages: Range<usize>) -> bool {
        // SAFETY: Nobody else uses what is mapped in a place.
        unsafe { libc::munmap(self.at(pages.start), pages.len() * PAGE) == 0 }
    }

    pub fn protect(&self, pages: Range<usize>, prot: c_int) -> bool {
        // SAFETY: As above.
        unsafe { libc::mprotect(self.at(pages.start), pages.len() * PAGE, prot) == 0 }
    }

    pub fn advise(&self, pages: Range<usize>, advice: c_int) -> bool {
        // SAFETY: As above.
        unsafe { libc::madvise(self.at(pages.start), pages.len() * PAGE, advice) == 0 }
    }

    pub fn lock(&self, pages: Range<usize>) -> bool {
        // SAFETY: As above.
        unsafe { libc::mlock(self.at(pages.start), pages.len() * PAGE) == 0 }
    }

    /// mremap(2) to another page of the place.
    pub fn move_to(&self, pages: Range<usize>, to: usize) -> bool {
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let (from, to, len) = (self.at(pages.start), self.at(to), pages.len() * PAGE);
        // SAFETY: As above.
        unsafe { libc::mremap(from, len, len, flags, to) == to }
    }

    pub fn name(&self, pages: Range<usize>, name: &CStr) -> bool {
        let option = libc::PR_SET_VMA_ANON_NAME as libc::c_ulong;
        let (at, len) = (self.at(pages.start), pages.len() * PAGE);
        // SAFETY: The name ends with NUL.
        unsafe { libc::prctl(libc::PR_SET_VMA, option, at, len, name.as_ptr()) == 0 }
    }

    /// Ends the heap at a page of the place.
    pub fn brk(&self, page: usize) -> bool {
        // SAFETY: Nobody uses the heap from the place on: only the parent allocates.
        unsafe { libc::syscall(libc::SYS_brk, self.at(page)) == self.at(page) as libc::c_long }
    }

    /// Has the heap begin with pages that cannot be merged, so that a read takes a while from looking
    /// up where the heap is to what is in the place.
    pub fn fill_heap_below(&self) -> bool {
        let below = (2..=HEAP_BELOW).step_by(2);
        // SAFETY: As above.
        let mut protected = below.map(|page| unsafe {
            libc::mprotect(self.at(0).wrapping_byte_sub(page * PAGE), PAGE, R) == 0
        });
        self.brk(0) && protected.all(|done| done)
    }

    /// Has the kernel touch a page, which makes the stack grow down to it.
    pub fn touch(&self, page: usize) -> bool {
        // SAFETY: Nobody uses what is below the stack's end, and so below the red zone.
        unsafe {
            libc::syscall(
                libc::SYS_clock_gettime,
                libc::CLOCK_MONOTONIC,
                self.at(page),
            ) == 0
        }
    }

    /// Makes the place's own file anew, and maps a page of it at each of these. Each by an open file
    /// of its own, or all by one.
    pub fn map_own_file(&self, at: [usize; 2], own: bool) -> bool {
        let [before, after] = &self.files.paths[self.index];
        let flags = libc::O_CREAT | libc::O_RDWR;
        // SAFETY: The paths end with NUL. Nobody else uses what is mapped in a place.
        unsafe {
            libc::unlink(before.as_ptr());
            libc::unlink(after.as_ptr());
            let mut done = true;
            let first = libc::open(before.as_ptr(), flags, 0o600);
            let second = match own {
                true => libc::open(before.as_ptr(), flags, 0o600),
                false => first,
            };
            for (page, fd) in at.into_iter().zip([first, second]) {
                let flags = libc::MAP_SHARED | libc::MAP_FIXED;
                done &= libc::mmap(self.at(page), PAGE, R, flags, fd, 0) == self.at(page);
            }
            done &= libc::close(first) == 0;
            done && (!own || libc::close(second) == 0)
        }
    }

    pub fn rename_own_file(&self) -> bool {
        let [before, after] = &self.files.paths[self.index];
        // SAFETY: The paths end with NUL.
        unsafe { libc::rename(before.as_ptr(), after.as_ptr()) == 0 }
    }

    pub fn unlink_own_file(&self) -> bool {
        // SAFETY: The path ends with NUL.
        unsafe { libc::unlink(self.files.paths[self.index][0].as_ptr()) == 0 }
    }

    /// fork(2). The child exits.
    pub fn fork(&self) -> bool {
        // SAFETY: The child does nothing but exit.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(0);
            }
            libc::waitpid(child, ptr::null_mut(), 0) == child
        }
    }
}

/// Makes the place what it is before the change. Readers are told.
fn reset(effect: &Effect, place: &Place<'_>, shared: &Shared) -> bool {
    let epoch = &shared.epochs[place.index];
    epoch.fetch_add(1, SeqCst);
    let cleared = effect.arena != Arena::Mapped || place.unmap(0..effect.pages);
    let done = cleared && (effect.before)(place);
    epoch.fetch_add(1, SeqCst);
    done
}

/// Chooses where the places are. Zero where that failed.
fn make_arena(effect: &Effect) -> usize {
    match effect.arena {
        Arena::Mapped => {
            let len = effect.places() * effect.stride() + PAGE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: The kernel chooses an address where nothing is.
            let arena = unsafe { libc::mmap(ptr::null_mut(), len, NONE, flags, -1, 0) };
            match arena == libc::MAP_FAILED {
                true => 0,
                false => arena.expose_provenance() + PAGE,
            }
        }
        Arena::Heap => {
            // SAFETY: The heap's end is told, and not moved.
            let end = unsafe { libc::syscall(libc::SYS_brk, 0) };
            (end as usize).next_multiple_of(PAGE) + HEAP_BELOW * PAGE
        }
        Arena::Stack => {
            // Far below what this process will ever need.
            let local = 0_u8;
            let low = (&raw const local).addr() - 64 * PAGE;
            low / PAGE * PAGE
        }
    }
}

/// How a mutator is driven.
#[derive(Clone, Copy, PartialEq)]
pub enum Drive {
    /// By [`Mutator::reset`] and [`Mutator::change`], in the first place.
    ByHand,
    /// By itself, in all places.
    Free,
}

/// The process. It is killed when dropped.
pub struct Mutator {
    pid: Pid,
    go: OwnedFd,
    done: OwnedFd,
    /// Where and when.
    pub shared: SharedMemory,
}

impl Mutator {
    /// Starts one. The places are what they are before the change.
    pub fn start(effect: &Effect, drive: Drive) -> Result<Self> {
        let files = Files::new()?;
        let shared = SharedMemory::new()?;
        let (wait, go) = pipe()?;
        let (done, tell) = pipe()?;
        // SAFETY: The child makes system calls alone, allocates nothing and never returns.
        let child = unsafe { libc::fork() };
        if child == 0 {
            mutate(effect, drive, &files, &shared, (wait, tell));
        }
        ensure!(child > 0, "fork: {}", std::io::Error::last_os_error());
        drop(tell);
        let mutator = Self {
            pid: Pid::from_raw(child),
            go,
            done,
            shared,
        };
        mutator.answer()?;
        Ok(mutator)
    }

    /// The process's ID.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    fn answer(&self) -> Result<()> {
        let mut byte = [0];
        ensure!(read(&self.done, &mut byte)? == 1, "the mutator ended");
        ensure!(byte[0] == 1, "the mutator could not do what it was to do");
        Ok(())
    }

    /// Makes the first place what it is before the change.
    pub fn reset(&self) -> Result<()> {
        write(&self.go, b"r")?;
        self.answer()
    }

    /// Changes the first place.
    pub fn change(&self) -> Result<()> {
        write(&self.go, b"c")?;
        self.answer()
    }
}

impl Drop for Mutator {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

/// What the process does. It never returns.
fn mutate(
    effect: &Effect,
    drive: Drive,
    files: &Files,
    shared: &Shared,
    (wait, tell): (OwnedFd, OwnedFd),
) -> ! {
    let base = make_arena(effect);
    shared.base.store(base, SeqCst);
    let place = |index| Place {
        start: base + index * effect.stride(),
        index,
        files,
    };
    let places = || (0..effect.places()).map(place);
    let made = base != 0
        && (effect.setup)(&place(0))
        && places().all(|place| reset(effect, &place, shared));
    let _ = write(&tell, &[u8::from(made)]);
    if !made {
        exit();
    }
    if drive == Drive::ByHand {
        let mut byte = [0];
        while read(&wait, &mut byte) == Ok(1) {
            let done = match byte[0] {
                b'r' => reset(effect, &place(0), shared),
                _ => (effect.change)(&place(0)),
            };
            let _ = write(&tell, &[u8::from(done)]);
        }
        exit();
    }
    loop {
        let changed = places().all(|place| (effect.change)(&place));
        pause(effect);
        let again = places().all(|place| reset(effect, &place, shared));
        pause(effect);
        if !changed || !again {
            shared.failed.store(true, SeqCst);
            break;
        }
    }
    exit()
}

fn exit() -> ! {
    // SAFETY: _exit(2) takes no pointer.
    unsafe { libc::_exit(0) }
}

/// A single place would be made anew as soon as it has changed: gives readers time for a sample.
fn pause(effect: &Effect) {
    let begin = Instant::now();
    while effect.places() == 1 && begin.elapsed() < Duration::from_micros(100) {
        std::hint::spin_loop();
    }
}
