// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process that does one step after another when it is told to, and nothing else.

#![expect(
    unsafe_code,
    reason = "the process that changes its mappings must do nothing else"
)]

use anyhow::{Result, ensure};
use nix::{
    libc,
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{Pid, pipe, read, write},
};
use std::os::fd::OwnedFd;

/// The process. It is killed when dropped.
pub(super) struct Stepper {
    pid: Pid,
    go: OwnedFd,
    done: OwnedFd,
}

impl Stepper {
    /// Starts it. It prepares itself, and then does each of so many steps, by its number, when it is told to.
    /// Neither may do more than make system calls and touch its own memory: it is forked of a program with threads.
    pub(super) fn start<T: Copy>(
        steps: usize,
        prepare: impl FnOnce() -> T,
        run: impl Fn(usize, T) -> bool,
    ) -> Result<Self> {
        let (wait, go) = pipe()?;
        let (done, tell) = pipe()?;
        // SAFETY: The child makes system calls alone, allocates nothing and never returns.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let prepared = prepare();
            let mut byte = [0];
            for step in 0..steps {
                let _ = write(&tell, &byte);
                if read(&wait, &mut byte) != Ok(1) {
                    break;
                }
                byte[0] = u8::from(run(step, prepared));
            }
            let _ = write(&tell, &byte);
            let _ = read(&wait, &mut byte);
            // SAFETY: _exit(2) takes no pointer.
            unsafe { libc::_exit(0) };
        }
        ensure!(child > 0, "{}", std::io::Error::last_os_error());
        let stepper = Self {
            pid: Pid::from_raw(child),
            go,
            done,
        };
        stepper.result()?;
        Ok(stepper)
    }

    /// The process's ID.
    pub(super) fn pid(&self) -> Result<u32> {
        Ok(self.pid.as_raw().try_into()?)
    }

    /// Waits for the end of the step before. Returns whether it succeeded.
    fn result(&self) -> Result<bool> {
        let mut byte = [0];
        ensure!(read(&self.done, &mut byte)? == 1, "the process ended");
        Ok(byte[0] == 1)
    }

    /// Has it do the next step, and does not wait for its end.
    pub(super) fn go_on(&self) -> Result<()> {
        write(&self.go, b"x")?;
        Ok(())
    }

    /// Has it do the next step, and returns whether that succeeded.
    pub(super) fn step(&self) -> Result<bool> {
        self.go_on()?;
        self.result()
    }
}

impl Drop for Stepper {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}
