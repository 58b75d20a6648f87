// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where threads run, and who goes first.

#![expect(unsafe_code, reason = "sched_setscheduler(2) has no safe form")]

use anyhow::{Context, Result, bail};
use nix::{
    libc,
    sched::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use std::{
    fs, io,
    path::Path,
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    thread::{JoinHandle, spawn},
    time::{Duration, Instant},
};

/// The calling thread, for the functions below.
pub const THIS: u32 = 0;

/// Has a thread run on one CPU.
pub fn pin(thread: u32, cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(thread.try_into()?), &set)?;
    Ok(())
}

/// Has a thread run where nobody else wants to.
pub fn idle(thread: u32) -> Result<()> {
    schedule(thread, libc::SCHED_IDLE, 0)
}

/// Has a thread run before all that are not of real time, for as long as it likes.
pub fn real_time(thread: u32) -> Result<()> {
    schedule(thread, libc::SCHED_FIFO, 10)
}

fn schedule(thread: u32, policy: libc::c_int, priority: libc::c_int) -> Result<()> {
    let param = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: The kernel only reads the struct.
    match unsafe { libc::sched_setscheduler(thread.try_into()?, policy, &raw const param) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// How long the calling thread has had a CPU so far: what others take of its time does not count.
pub fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// A thread of real time that takes a CPU away from all others for a while, each time that it is told to.
///
/// It needs [`Unlimited`].
pub struct Hog {
    tell: Sender<()>,
    done: Receiver<()>,
    thread: JoinHandle<Result<()>>,
}

impl Hog {
    /// One that takes this CPU for so long.
    pub fn new(cpu: usize, time: Duration) -> Self {
        let (tell, told) = channel();
        let (send, done) = channel();
        let thread = spawn(move || {
            pin(THIS, cpu)?;
            real_time(THIS)?;
            while told.recv().is_ok() {
                let begin = Instant::now();
                while begin.elapsed() < time {
                    std::hint::spin_loop();
                }
                if send.send(()).is_err() {
                    break;
                }
            }
            Ok(())
        });
        Self { tell, done, thread }
    }

    /// Has it take the CPU.
    pub fn take(&self) -> Result<()> {
        self.tell.send(()).context("who takes the CPU ended")
    }

    /// Waits until it has given the CPU back. Tells whether it still had the CPU before.
    pub fn finish(&self) -> Result<bool> {
        match self.done.try_recv() {
            Ok(()) => Ok(false),
            Err(TryRecvError::Empty) => self.done.recv().map(|()| true).context("it ended"),
            Err(TryRecvError::Disconnected) => bail!("who takes the CPU ended"),
        }
    }

    /// Ends it. Fails where it failed.
    pub fn end(self) -> Result<()> {
        drop(self.tell);
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => bail!("who takes the CPU panicked"),
        }
    }
}

/// Lets real-time threads have a CPU for themselves alone, until this is dropped.
pub struct Unlimited(Vec<(String, String)>);

impl Unlimited {
    /// Takes away both of the kernel's ways to leave others a share: throttling, and the fair server.
    pub fn new(cpu: usize) -> Result<Self> {
        let mut before = Vec::new();
        for (path, value) in [
            ("/proc/sys/kernel/sched_rt_runtime_us".to_owned(), "-1"),
            (
                format!("/sys/kernel/debug/sched/fair_server/cpu{cpu}/runtime"),
                "0",
            ),
        ] {
            if Path::new(&path).exists() {
                let was = fs::read_to_string(&path)?;
                fs::write(&path, value)?;
                before.push((path, was));
            }
        }
        Ok(Self(before))
    }
}

impl Drop for Unlimited {
    fn drop(&mut self) {
        for (path, value) in &self.0 {
            let _ = fs::write(path, value.trim_end());
        }
    }
}
