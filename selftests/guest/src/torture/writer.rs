// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process that changes its mappings all the time, in several threads.

#![expect(unsafe_code, reason = "mapping memory has no safe form")]

use super::{
    counts::Counts,
    fault::Injector,
    key::{FILES, Key, STACK_PAGES, WINDOW},
};
use crate::{rng::Rng, shapes::PAGE};
use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    libc::{self, c_int, c_void},
    unistd::execv,
};
use std::{
    ffi::CString,
    fs::File,
    io::{Write, stdin, stdout},
    os::fd::AsRawFd,
    thread,
    time::{Duration, Instant},
};

/// Threads that change the mappings.
const THREADS: u64 = 3;
const PRIVATE: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
const FIXED: c_int = PRIVATE | libc::MAP_FIXED;

/// Numbers of kinds of changes,
const KINDS: u64 = 36;
/// and of those that every thread makes: the heap and the stack are one thread's alone.
const KINDS_OF_ALL: u64 = 34;
/// The last one. It touches memory, for which there must be some.
const STACK_GROWTH: u64 = KINDS - 1;

/// How a process ends, unless it is killed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does not.
    Killed,
    /// It exits.
    Exits,
    /// It calls execve(2) and goes on as another such process.
    Executes,
    /// As [`Fate::Killed`], after execve(2).
    Executed,
}

/// What becomes of a process and when, as an argument of its program's.
pub fn argument(key: Key, fate: Fate, life: Duration) -> String {
    format!("writer:{}:{}:{}", key.0, fate as u8, life.as_millis())
}

/// Does what the argument says.
pub fn run(argument: &str) -> Result<()> {
    let mut words = argument.split(':').skip(1).map(str::parse::<u32>);
    let mut word = || words.next().context("a word is missing")?.context("number");
    let (key, fate, life) = (Key(word()?), word()?, word()?);
    let fate = [Fate::Killed, Fate::Exits, Fate::Executes, Fate::Executed][fate as usize & 3];
    let life = Duration::from_millis(life.into());

    let writer = Writer::new(key)?;
    writer.make_sentinels()?;
    if fate != Fate::Executed {
        println!("ready");
        stdout().flush()?;
        stdin().lines().next().transpose()?;
    }
    let begin = Instant::now();
    thread::scope(|scope| {
        for number in 1..THREADS {
            let writer = &writer;
            scope.spawn(move || -> Result<()> {
                let mut rng = Rng::new(u64::from(key.0) * THREADS + number);
                let injector = Injector::new()?;
                loop {
                    writer.change_or_fail(rng.below(KINDS_OF_ALL), &mut rng, &injector)?;
                }
            });
        }
        let mut rng = Rng::new(u64::from(key.0) * THREADS);
        let injector = Injector::new()?;
        // Each kind of change once, however short this life is.
        for kind in 0..KINDS {
            writer.change(kind, &mut rng);
        }
        while begin.elapsed() < life || matches!(fate, Fate::Killed | Fate::Executed) {
            writer.change_or_fail(rng.below(KINDS), &mut rng, &injector)?;
        }
        if fate == Fate::Executes {
            writer.counts.add("execve", 1);
            let next = CString::new(self::argument(key, Fate::Executed, life))?;
            execv(c"/bin/torture", &[c"/bin/torture", &next])?;
        }
        writer.counts.add("exit", 1);
        // SAFETY: exit_group(2) takes no pointer and does not return.
        unsafe { libc::_exit(0) }
    })
}

/// A process's arena, and what it maps there.
struct Writer {
    key: Key,
    counts: Counts,
    files: Vec<File>,
    names: Vec<CString>,
    begin: Instant,
}

/// A range of the arena without sentinel.
#[derive(Clone, Copy)]
struct Span {
    at: *mut c_void,
    pages: usize,
}

impl Span {
    fn len(self) -> usize {
        self.pages * PAGE
    }

    /// A part of it.
    fn part(self, first: usize, pages: usize) -> Self {
        Self {
            at: self.at.wrapping_byte_add(first * PAGE),
            pages,
        }
    }
}

impl Writer {
    fn new(key: Key) -> Result<Self> {
        let open = |which| File::options().read(true).write(true).open(key.file(which));
        let name = |which| CString::new(format!("{key}{which}"));
        Ok(Self {
            key,
            counts: Counts::open()?,
            files: (0..FILES).map(open).collect::<Result<_, _>>()?,
            names: (0..4).map(name).collect::<Result<_, _>>()?,
            begin: Instant::now(),
        })
    }

    fn make_sentinels(&self) -> Result<()> {
        for sentinel in self.key.sentinels() {
            let span = Span {
                at: sentinel.start as *mut c_void,
                pages: 1,
            };
            let prot = self.key.protections()[0] as c_int;
            ensure!(self.map(span, prot, FIXED), "{sentinel:x?}");
        }
        Ok(())
    }

    /// Chooses a window between two sentinels.
    fn window(&self, rng: &mut Rng) -> Span {
        let window = rng.below(super::key::ARENA_PAGES / WINDOW);
        let at = self.key.arena().start + (window * WINDOW + 1) * PAGE as u64;
        Span {
            at: at as *mut c_void,
            pages: WINDOW as usize - 1,
        }
    }

    /// Chooses some pages, three at least.
    fn span(&self, rng: &mut Rng) -> Span {
        let window = self.window(rng);
        let pages = 3 + rng.below(8) as usize;
        let first = rng.below((window.pages - pages) as u64 + 1) as usize;
        window.part(first, pages)
    }

    /// As [`Writer::span`], and maps it if it is free, so that there mostly is something to change.
    fn mapped(&self, rng: &mut Rng) -> Span {
        let (span, prot) = (self.span(rng), self.prot(rng));
        self.map(span, prot, PRIVATE | libc::MAP_FIXED_NOREPLACE);
        span
    }

    /// Changes something. Where allocations can be made to fail, a quarter of the changes meets such.
    fn change_or_fail(&self, kind: u64, rng: &mut Rng, injector: &Injector) -> Result<()> {
        let failing = injector.is_there() && kind != STACK_GROWTH && rng.below(4) == 0;
        let done = injector.with(failing, || self.change(kind, rng))?;
        if failing {
            self.counts.add("changes with allocations failing", 1);
            let failed = !done && Errno::last() == Errno::ENOMEM;
            self.counts.add("of those, failed", failed.into());
        }
        Ok(())
    }

    /// Changes something: what is below [`KINDS`], some kinds oftener than others. Tells whether all went
    /// well.
    fn change(&self, kind: u64, rng: &mut Rng) -> bool {
        // All threads at once, for otherwise no listing would ever be proved consistent.
        while self.begin.elapsed().subsec_millis() % 400 > 340 {
            thread::sleep(Duration::from_millis(5));
        }
        let (name, done) = match kind {
            0..4 => ("mmap", self.map_free(rng)),
            4..7 => ("mmap of a file", self.map_file(rng)),
            7..10 => ("munmap", self.unmap(self.span(rng))),
            10..13 => ("split", self.split(rng)),
            13..15 => ("merge", self.merge(rng)),
            15..17 => ("boundary move", self.move_boundary(rng)),
            17 => ("MAP_FIXED over several", {
                let prot = self.prot(rng);
                self.map(self.window(rng), prot, FIXED)
            }),
            18..21 => ("mremap move", self.remap(rng)),
            21..24 => ("prctl rename", self.rename(rng)),
            24..26 => ("mprotect", {
                let prot = self.prot(rng);
                self.protect(self.mapped(rng), prot)
            }),
            26..28 => ("madvise", self.advise(rng)),
            28 => ("mlock", self.lock(rng)),
            29..33 => ("munlock", self.unlock(rng)),
            33 => ("fork", self.fork()),
            34 => ("brk", self.brk(rng)),
            _ => ("stack growth", self.grow_stack()),
        };
        self.counts.add(name, done.into());
        done
    }

    fn prot(&self, rng: &mut Rng) -> c_int {
        self.key.protections()[rng.below(2) as usize] as c_int
    }

    fn map(&self, span: Span, prot: c_int, flags: c_int) -> bool {
        // SAFETY: The span is of the arena, which is used for nothing but this.
        let at = unsafe { libc::mmap(span.at, span.len(), prot, flags, -1, 0) };
        at == span.at
    }

    fn protect(&self, span: Span, prot: c_int) -> bool {
        // SAFETY: As in `map()`.
        unsafe { libc::mprotect(span.at, span.len(), prot) == 0 }
    }

    fn unmap(&self, span: Span) -> bool {
        // SAFETY: As in `map()`.
        unsafe { libc::munmap(span.at, span.len()) == 0 }
    }

    fn map_free(&self, rng: &mut Rng) -> bool {
        let (span, prot) = (self.span(rng), self.prot(rng));
        self.map(span, prot, PRIVATE | libc::MAP_FIXED_NOREPLACE)
    }

    fn map_file(&self, rng: &mut Rng) -> bool {
        let (span, prot) = (self.span(rng), self.prot(rng));
        let file = &self.files[rng.below(FILES as u64) as usize];
        let page = (span.at.addr() as u64 - self.key.arena().start) / PAGE as u64;
        let kind = if self.key.shares() {
            libc::MAP_SHARED
        } else {
            libc::MAP_PRIVATE
        };
        // SAFETY: As in `map()`.
        let at = unsafe {
            libc::mmap(
                span.at,
                span.len(),
                prot,
                kind | libc::MAP_FIXED,
                file.as_raw_fd(),
                self.key.offset(page) as libc::off_t,
            )
        };
        at == span.at
    }

    /// Gives the middle of a mapping other permissions than its ends.
    fn split(&self, rng: &mut Rng) -> bool {
        let (span, [one, other]) = (self.span(rng), self.key.protections());
        self.map(span, one as c_int, FIXED) && self.protect(span.part(1, 1), other as c_int)
    }

    /// Closes the gap between two mappings.
    fn merge(&self, rng: &mut Rng) -> bool {
        let (span, prot) = (self.span(rng), self.prot(rng));
        self.map(span.part(0, 1), prot, FIXED)
            && self.map(span.part(2, 1), prot, FIXED)
            && self.map(span.part(1, 1), prot, FIXED)
    }

    /// Moves a page from a mapping to its neighbour, and back.
    fn move_boundary(&self, rng: &mut Rng) -> bool {
        let (span, [one, other]) = (self.span(rng), self.key.protections());
        let (one, other) = (one as c_int, other as c_int);
        let half = span.pages / 2;
        self.map(span, one, FIXED)
            && self.protect(span.part(half, span.pages - half), other)
            && self.protect(span.part(half, 1), one)
            && self.protect(span.part(half, 1), other)
    }

    fn remap(&self, rng: &mut Rng) -> bool {
        let (from, to) = (self.span(rng), self.span(rng));
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let to = to.part(0, to.pages.min(from.pages));
        // SAFETY: As in `map()`.
        unsafe { libc::mremap(from.at, to.len(), to.len(), flags, to.at) == to.at }
    }

    fn rename(&self, rng: &mut Rng) -> bool {
        let span = self.mapped(rng);
        let name = &self.names[rng.below(4) as usize];
        // SAFETY: The name ends with NUL.
        unsafe {
            libc::prctl(
                libc::PR_SET_VMA,
                libc::PR_SET_VMA_ANON_NAME as libc::c_ulong,
                span.at,
                span.len(),
                name.as_ptr(),
            ) == 0
        }
    }

    fn advise(&self, rng: &mut Rng) -> bool {
        const ADVICE: [c_int; 6] = [
            libc::MADV_DONTDUMP,
            libc::MADV_DODUMP,
            libc::MADV_RANDOM,
            libc::MADV_NORMAL,
            libc::MADV_POPULATE_READ,
            libc::MADV_DONTNEED,
        ];
        let (span, advice) = (self.span(rng), ADVICE[rng.below(6) as usize]);
        // SAFETY: As in `map()`. Nobody looks at what the pages hold.
        unsafe { libc::madvise(span.at, span.len(), advice) == 0 }
    }

    fn lock(&self, rng: &mut Rng) -> bool {
        let span = self.span(rng);
        // SAFETY: As in `map()`.
        self.map(span, self.key.protections()[0] as c_int, FIXED)
            && unsafe { libc::mlock(span.at, span.len()) == 0 }
    }

    fn unlock(&self, rng: &mut Rng) -> bool {
        let span = self.span(rng);
        // SAFETY: As in `map()`.
        unsafe { libc::munlock(span.at, span.len()) == 0 }
    }

    /// Has a child that changes what it was given, and ends.
    fn fork(&self) -> bool {
        // SAFETY: The child makes system calls and nothing else. Its threads' locks are nobody's
        // concern, as it takes none.
        unsafe {
            match libc::fork() {
                0 => {
                    let arena = self.key.arena().start as usize + PAGE;
                    libc::munmap(arena as *mut c_void, 8 * PAGE);
                    libc::_exit(0)
                }
                child => child > 0 && libc::waitpid(child, std::ptr::null_mut(), 0) == child,
            }
        }
    }

    /// Makes the heap larger, or smaller again.
    fn brk(&self, rng: &mut Rng) -> bool {
        let pages = (1 + rng.below(8)) as libc::intptr_t * PAGE as libc::intptr_t;
        // SAFETY: No thread allocates: what is added at the heap's end and taken away again is used by
        // nobody.
        unsafe { libc::sbrk(pages) as isize != -1 && libc::sbrk(-pages) as isize != -1 }
    }

    /// Maps a stack of one page, has it grow, unmaps it.
    fn grow_stack(&self) -> bool {
        let zone = self.key.stack();
        let last = zone.end as usize - PAGE;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = FIXED | libc::MAP_GROWSDOWN;
        // SAFETY: The zone is used by this thread alone, and nothing is mapped within a gigabyte below
        // it, so that the pages touched are those that the stack grows by.
        unsafe {
            if libc::mmap(last as *mut c_void, PAGE, prot, flags, -1, 0).addr() != last {
                return false;
            }
            for page in 0..STACK_PAGES as usize - 1 {
                ((last - page * PAGE) as *mut u8).write_volatile(1);
            }
            let len = STACK_PAGES as usize * PAGE;
            libc::munmap(zone.start as *mut c_void, len) == 0
        }
    }
}
