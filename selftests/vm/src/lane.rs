// SPDX-License-Identifier: MIT OR Apache-2.0

//! Work that goes on beside this process: another `cargo vm` does it, and its output is kept apart.

use crate::{paths, progress::Progress};
use anyhow::{Context, Result};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{self, Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// When the work goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As any other.
    Usual,
    /// While a CPU has nothing else to do.
    Idle,
}

/// Work in progress.
pub struct Lane {
    name: String,
    child: Child,
    log: PathBuf,
    begin: Instant,
}

/// Work that has ended.
pub struct Ended {
    /// All that it printed.
    pub output: String,
    /// How it ended.
    pub status: ExitStatus,
    /// How long it took.
    pub took: Duration,
}

impl Lane {
    /// Has another process of this program work, with the same Linux tree. It does not wait for the lock
    /// of builds, which this process holds.
    pub fn begin(name: &str, pace: Pace, linux: Option<&Path>, args: &[&str]) -> Result<Self> {
        let log = paths::work("logs")?.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        // This very program, also where cargo has put another in the place of its file meanwhile.
        let program = format!("/proc/{}/exe", process::id());
        let mut command = match pace {
            Pace::Usual => Command::new(&program),
            Pace::Idle => {
                let mut command = Command::new("chrt");
                command.args(["--idle", "0", &program]);
                command
            }
        };
        if let Some(linux) = linux {
            command.arg("--linux").arg(linux);
        }
        let child = command
            .args(["--lane", name])
            .args(args)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{name}: {program}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
            begin: Instant::now(),
        })
    }

    /// Waits for the end.
    pub fn end(mut self) -> Result<Ended> {
        let mut ended = self.child.try_wait()?;
        if ended.is_none() {
            let mut progress = Progress::new(format!("waiting for {}", self.name), None);
            while ended.is_none() {
                thread::sleep(Duration::from_millis(100));
                progress.tell();
                ended = self.child.try_wait()?;
            }
            progress.end();
        }
        let output =
            fs::read(&self.log).with_context(|| format!("{}: its output", self.log.display()))?;
        Ok(Ended {
            output: String::from_utf8_lossy(&output).into_owned(),
            status: self.child.wait()?,
            took: self.begin.elapsed(),
        })
    }
}

/// What nobody waits for any more, after an error, is of no use.
impl Drop for Lane {
    fn drop(&mut self) {
        // Of one that has ended already, this does nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
