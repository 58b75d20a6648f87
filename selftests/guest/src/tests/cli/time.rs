// SPDX-License-Identifier: MIT OR Apache-2.0

//! Captures, differences, and watching.

use super::{Ran, Test, good, good_text, lsmaps, maps};
use crate::child::Target;
use anyhow::{Result, ensure};
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

const CAPTURE: &str = "/tmp/lsmaps-capture";

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("lsmaps: --record, --from-file", record),
        Test::new("lsmaps: --diff", diff),
        Test::new("lsmaps: --watch: a change, then exit", watch),
        Test::new("lsmaps: --watch: execve", watch_exec),
    ]
}

fn record() -> Result<()> {
    let (one, two) = (
        Target::start("file-vmas-1000")?,
        Target::start("name-newline")?,
    );
    let pids = [one.pid().to_string(), two.pid().to_string()];
    let ran = lsmaps(&["--record", CAPTURE, &pids[0], &pids[1]])?;
    let ran = ran.expect(0, "2 processes, ")?;
    ensure!(ran.stdout.is_empty());
    let mut both = Vec::new();
    for pid in &pids {
        let maps = fs::read(format!("/proc/{pid}/maps"))?;
        ensure!(good(&["--from-file", CAPTURE, "--format=maps", pid])? == maps);
        both.extend(maps);
    }
    ensure!(good(&["--from-file", CAPTURE, "--format=maps"])? == both);
    let count = good_text(&["--from-file", CAPTURE, "--count", "-f", "many", &pids[0]])?;
    ensure!(count == "1000\n", "{count}");
    // What is there stays if nothing can be recorded.
    lsmaps(&["--record", CAPTURE, "999999"])?.expect(2, "ENOENT")?;
    ensure!(good(&["--from-file", CAPTURE, "--format=maps"])? == both);
    Ok(())
}

/// Has a target of shape `grow` map more.
fn grow(target: &mut Target) -> Result<()> {
    let before = maps(target.pid())?.len();
    target.go_on()?;
    for _ in 0..500 {
        if maps(target.pid())?.len() > before {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    anyhow::bail!("it does not grow")
}

fn diff() -> Result<()> {
    let mut target = Target::start("grow")?;
    let pid = &target.pid().to_string()[..];
    lsmaps(&["--record", CAPTURE, pid])?.expect(0, "1 process, ")?;
    let same = good_text(&["--diff", CAPTURE])?;
    ensure!(
        same.starts_with(&format!("{pid} target: 0 changes in ")),
        "{same}"
    );
    grow(&mut target)?;
    let later = format!("{CAPTURE}-later");
    lsmaps(&["--record", &later, pid])?.expect(0, "")?;
    for args in [
        &["--diff", CAPTURE][..],
        &["--diff", CAPTURE, "--from-file", &later],
    ] {
        let text = good_text(args)?;
        let title = text.lines().next().unwrap_or_default();
        ensure!(
            title.contains(" change") && !title.contains(": 0 "),
            "{text}"
        );
        let mut grown = text
            .lines()
            .filter(|line| line.contains("[anon_shmem:grown]"));
        ensure!(
            grown.next().is_some_and(|line| line.starts_with("+ ")),
            "{text}"
        );
        ensure!(grown.next().is_none(), "{text}");
    }
    // Of what is not wanted, nothing is said.
    let none = good_text(&["--diff", CAPTURE, "-x"])?;
    ensure!(none.contains(": 0 changes in "), "{none}");
    target.kill()?;
    target.reap()?;
    lsmaps(&["--diff", CAPTURE])?.expect(2, "ENOENT")?;
    Ok(())
}

/// lsmaps that watches a process.
struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watch {
    fn start(pid: u32) -> Result<Self> {
        // Should nothing ever change, it is not waited for.
        let mut child = Command::new("/bin/busybox")
            .args([
                "timeout",
                "-s",
                "KILL",
                "120",
                "/bin/lsmaps",
                "--watch=0.05",
            ])
            .arg(pid.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take();
        let mut watch = Self {
            lines: BufReader::new(stdout.ok_or_else(|| anyhow::anyhow!("no stdout"))?),
            child,
        };
        watch.next(": is watched, ")?;
        Ok(watch)
    }

    /// A line to come holds this. What else changes, as a stack that grows, does not matter.
    fn next(&mut self, wanted: &str) -> Result<()> {
        let mut seen = String::new();
        loop {
            let begin = seen.len();
            let len = self.lines.read_line(&mut seen)?;
            ensure!(len > 0, "{seen} does not hold {wanted:?}");
            if seen[begin..].contains(wanted) {
                return Ok(());
            }
        }
    }

    /// It ends when the process does, and is content.
    fn end(mut self, target: &mut Target) -> Result<()> {
        target.kill()?;
        target.reap()?;
        self.next(": exited\n")?;
        let Self { child, .. } = self;
        let ran: Ran = child.wait_with_output()?.try_into()?;
        ensure!(ran.expect(0, "")?.stderr.is_empty());
        Ok(())
    }
}

fn watch() -> Result<()> {
    let mut target = Target::start("grow")?;
    let mut watch = Watch::start(target.pid())?;
    for _ in 0..3 {
        grow(&mut target)?;
        watch.next("[anon_shmem:grown]")?;
    }
    watch.end(&mut target)
}

fn watch_exec() -> Result<()> {
    let mut target = Target::start("exec")?;
    let mut watch = Watch::start(target.pid())?;
    target.go_on()?;
    watch.next(": called execve, ")?;
    watch.end(&mut target)
}
