// SPDX-License-Identifier: MIT OR Apache-2.0

//! Forks that do one thing when they are told to: they make system calls and nothing else.

#![expect(
    unsafe_code,
    reason = "a process that does nothing else has no safe form"
)]

use super::mutator::{R, RW, SharedMemory};
use crate::shapes::PAGE;
use anyhow::{Context, Result, ensure};
use nix::{
    libc::{self, c_int, c_void},
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, pipe, read, write},
};
use std::{
    ops::Range,
    os::fd::OwnedFd,
    ptr,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
    time::Duration,
};

/// A fork that is killed when dropped.
struct Fork(Pid);

impl Fork {
    /// Starts one that does `what`, and then nothing.
    ///
    /// # Safety
    ///
    /// `what` makes system calls and allocates nothing.
    unsafe fn start(what: impl FnOnce()) -> Result<Self> {
        // SAFETY: The child never returns, and by the contract only makes system calls.
        let child = unsafe { libc::fork() };
        if child == 0 {
            what();
            loop {
                // SAFETY: pause(2) takes nothing.
                unsafe { libc::pause() };
            }
        }
        ensure!(child > 0, "fork: {}", std::io::Error::last_os_error());
        Ok(Self(Pid::from_raw(child)))
    }

    /// Waits until it has told a word.
    fn told(&self, word: &AtomicUsize) -> Result<usize> {
        loop {
            match word.load(SeqCst) {
                0 => thread::sleep(Duration::from_millis(1)),
                told => return Ok(told),
            }
            let status = waitpid(self.0, Some(WaitPidFlag::WNOHANG))?;
            ensure!(status == WaitStatus::StillAlive, "it ended: {status:?}");
        }
    }
}

impl Drop for Fork {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

const READY: usize = 1;
const TOLD: usize = 2;
const DONE: usize = 3;
const FAILED: usize = 4;
/// Mappings behind `[vdso]`, which lose what special mappings have after it: that makes the moment last.
const BEHIND: usize = 256;

/// A process that maps memory over its `[vdso]`, once.
pub struct VdsoReplacer {
    fork: Fork,
    shared: SharedMemory,
}

impl VdsoReplacer {
    /// Starts it, and has it move its `[vdso]` to where it is to be replaced.
    pub fn start(vdso: Range<u64>) -> Result<Self> {
        let shared = SharedMemory::new()?;
        let (word, base) = (&shared.word, &shared.base);
        let replace = || {
            let len = (vdso.end - vdso.start) as usize;
            let all = len + BEHIND * PAGE;
            let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let moves = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
            let vdso = ptr::with_exposed_provenance_mut(vdso.start as usize);
            // SAFETY: The range is this process's own, and what it calls here needs no vdso.
            let ready = unsafe {
                let arena = libc::mmap(ptr::null_mut(), all, RW, private, -1, 0);
                base.store(arena.expose_provenance(), SeqCst);
                let page = |page| arena.wrapping_byte_add(len + page * PAGE);
                arena != libc::MAP_FAILED
                    && libc::mremap(vdso, len, len, moves, arena) == arena
                    && (0..BEHIND)
                        .step_by(2)
                        .all(|odd| libc::mprotect(page(odd), PAGE, R) == 0)
            };
            word.store(if ready { READY } else { FAILED }, SeqCst);
            while word.load(SeqCst) != TOLD {
                std::hint::spin_loop();
            }
            let arena = ptr::with_exposed_provenance_mut(base.load(SeqCst));
            let flags = private | libc::MAP_FIXED;
            // SAFETY: As above.
            let mapped = unsafe { libc::mmap(arena, all, R, flags, -1, 0) };
            word.store(if mapped == arena { DONE } else { FAILED }, SeqCst);
        };
        // SAFETY: It makes system calls.
        let fork = unsafe { Fork::start(replace)? };
        ensure!(fork.told(&shared.word)? == READY, "mremap of [vdso]");
        Ok(Self { fork, shared })
    }

    /// Where its `[vdso]` is.
    pub fn vdso(&self) -> u64 {
        self.shared.base.load(SeqCst) as u64
    }

    /// The process's ID.
    pub fn pid(&self) -> u32 {
        self.fork.0.as_raw().unsigned_abs()
    }

    /// Tells it.
    pub fn go(&self) {
        self.shared.word.store(TOLD, SeqCst);
    }

    /// Whether it has done it.
    pub fn is_done(&self) -> Result<bool> {
        let word = self.shared.word.load(SeqCst);
        ensure!(word != FAILED, "mmap over [vdso]");
        Ok(word == DONE)
    }
}

/// The address of `[vdso]`, here and in every fork.
pub fn vdso() -> u64 {
    // SAFETY: It takes no pointer.
    unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) }
}

/// Two processes that share an address space. One of them calls execve(2) when it is told to.
pub struct Sharers {
    _parent: Fork,
    execs: Pid,
    go: OwnedFd,
    _shared: SharedMemory,
}

impl Sharers {
    pub fn start() -> Result<Self> {
        const STACK: usize = 64 << 10;
        let shared = SharedMemory::new()?;
        let (wait, go) = pipe()?;
        let word = &shared.word;
        let share = || {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let argument = (&raw const wait).cast_mut().cast();
            // SAFETY: The stack is the new process's own, and `wait` stays, for this process never
            // returns. Both use one errno, of which neither takes notice.
            let pid = unsafe {
                let stack = libc::mmap(ptr::null_mut(), STACK, RW, flags, -1, 0);
                let top = stack.wrapping_byte_add(STACK);
                match stack == libc::MAP_FAILED {
                    true => -1,
                    false => libc::clone(exec, top, libc::CLONE_VM | libc::SIGCHLD, argument),
                }
            };
            word.store(if pid > 0 { pid as usize } else { usize::MAX }, SeqCst);
        };
        // SAFETY: It makes system calls.
        let parent = unsafe { Fork::start(share)? };
        let pid = i32::try_from(parent.told(&shared.word)?)
            .ok()
            .filter(|pid| *pid > 0);
        Ok(Self {
            _parent: parent,
            execs: Pid::from_raw(pid.context("clone")?),
            go,
            _shared: shared,
        })
    }

    /// The process that will call execve(2).
    pub fn pid(&self) -> u32 {
        self.execs.as_raw().unsigned_abs()
    }

    /// Tells it.
    pub fn exec(&self) -> Result<()> {
        write(&self.go, b"x")?;
        Ok(())
    }
}

impl Drop for Sharers {
    fn drop(&mut self) {
        // It is its parent's to reap, or init's.
        let _ = kill(self.execs, Signal::SIGKILL);
    }
}

extern "C" fn exec(wait: *mut c_void) -> c_int {
    // SAFETY: It points to the pipe's end that `Sharers::start()` has made.
    let wait = unsafe { &*wait.cast::<OwnedFd>() };
    let _ = read(wait, &mut [0]);
    let program = c"/bin/target".as_ptr();
    let arguments = [program, c"plain".as_ptr(), ptr::null()];
    // SAFETY: The strings end with NUL and the array with null. The file descriptors are this
    // process's own: the program shall not read from the console, nor write to it.
    unsafe {
        libc::close(0);
        libc::close(1);
        libc::execv(program, arguments.as_ptr());
        libc::_exit(1)
    }
}
