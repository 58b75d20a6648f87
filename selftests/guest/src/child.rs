// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process with mappings of a chosen shape, for as long as a test needs it.

use anyhow::{Context, Result, bail};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::Instant,
};

/// A running target. It is killed when dropped.
pub struct Target {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    /// What it said after `ready`.
    pub said: String,
}

impl Target {
    /// Starts `/bin/target SHAPE` and waits until its mappings are made.
    pub fn start(shape: &str) -> Result<Self> {
        Self::start_program("/bin/target", shape)
    }

    /// As [`Target::start`], with another build of the program.
    pub fn start_program(program: impl AsRef<Path>, shape: &str) -> Result<Self> {
        let mut command = Command::new(program.as_ref());
        Self::spawn(command.arg(shape))
    }

    /// As [`Target::start`], as another user.
    pub fn start_as(user: u32, shape: &str) -> Result<Self> {
        let mut command = Command::new("/bin/target");
        Self::spawn(command.arg(shape).uid(user).gid(user))
    }

    /// As [`Target::start`], with as many VMAs as can be made in a minute, of up to a million: a kernel
    /// with KASAN is slow at it. Returns their number, but for those that every process has.
    pub fn with_most_vmas() -> Result<(Self, usize)> {
        fs::write("/proc/sys/vm/max_map_count", "2000000")?;
        // It maps more than the VM has, and touches none of it.
        fs::write("/proc/sys/vm/overcommit_memory", "1")?;
        let begin = Instant::now();
        drop(Self::start("vmas-10000")?);
        let of_a_minute = 10_000 * 60_000 / begin.elapsed().as_millis().max(1) as usize;
        let count = of_a_minute.clamp(200_000, 1_000_000);
        Ok((Self::start(&format!("vmas-{count}"))?, count))
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let mut line = String::new();
        let mut stdout = child.stdout.take().map(BufReader::new);
        if let Some(stdout) = &mut stdout {
            stdout.read_line(&mut line)?;
        }
        match line.trim_end().strip_prefix("ready") {
            Some(said) => Ok(Self {
                child,
                stdout,
                said: said.trim_start().to_owned(),
            }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                bail!("{command:?} did not get ready: {line:?}")
            }
        }
    }

    /// The process's ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it go on to what its shape does next.
    pub fn go_on(&mut self) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("the target's stdin")?;
        stdin.write_all(b"\n")?;
        Ok(())
    }

    /// Has it go on, and returns what it says then.
    pub fn ask(&mut self) -> Result<String> {
        self.go_on()?;
        let mut line = String::new();
        let stdout = self.stdout.as_mut().context("the target's stdout")?;
        stdout.read_line(&mut line)?;
        Ok(line)
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Kills it. It stays a zombie until [`Target::reap`].
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        Ok(())
    }

    /// Waits for its end.
    pub fn reap(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
