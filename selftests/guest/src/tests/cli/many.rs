// SPDX-License-Identifier: MIT OR Apache-2.0

//! Thousands of processes, and a million VMAs, in memory that does not grow with them.

use super::{Test, good_text, maps};
use crate::child::Target;
use anyhow::{Context, Result, ensure};
use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read},
    process::{Command, Stdio},
};

/// What writes as it reads. A table holds a few hundred lines back, as many as there are of few.
const STREAMS: [&str; 6] = [
    "--format=raw",
    "--format=jsonl",
    "--format=json",
    "--format=maps",
    "--format=table",
    "--count",
];

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("lsmaps: a million VMAs in constant memory", vmas),
        Test::new(
            "lsmaps: thousands of processes in constant memory",
            processes,
        ),
    ]
}

/// Runs lsmaps. Returns the lines that it wrote, and the most memory that it had in use: a number of
/// time(1), whose unit does not matter here.
fn lines_and_memory(args: &[&str]) -> Result<(usize, u64)> {
    let mut child = Command::new("/bin/busybox")
        .args(["time", "-f", "%M", "/bin/lsmaps"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdout = child.stdout.take().context("no stdout")?;
    let mut buffer = vec![0; 1 << 16];
    let mut lines = 0;
    loop {
        match stdout.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => lines += buffer[..len].iter().filter(|&&byte| byte == b'\n').count(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let output = child.wait_with_output()?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{args:?}: {stderr}");
    let memory = stderr.trim().parse();
    Ok((
        lines,
        memory.with_context(|| format!("{args:?}: {stderr}"))?,
    ))
}

/// A quarter more is allowed: a page more or less of what is mapped anyway.
fn is_constant(what: &str, few: u64, many: u64) -> Result<()> {
    println!("# {what}: {:.2} times the memory", many as f64 / few as f64);
    ensure!(many < few + few / 4, "{what}: {many}, where few take {few}");
    Ok(())
}

fn vmas() -> Result<()> {
    let few = Target::start("vmas-1000")?;
    let (many, _) = Target::with_most_vmas()?;
    let count: usize = good_text(&["--count", &many.pid().to_string()])?
        .trim()
        .parse()?;
    println!("# {count} VMAs");
    for way in STREAMS {
        let of = |target: &Target| lines_and_memory(&[way, &target.pid().to_string()]);
        let ((_, less), (lines, more)) = (of(&few)?, of(&many)?);
        // A heading, an end or the like.
        ensure!(
            way == "--count" || (count..count + 4).contains(&lines),
            "{way}: {lines}"
        );
        is_constant(way, less, more)?;
    }
    // Where the kernel selects, few come.
    let args = ["--format=maps", "-x", &many.pid().to_string()];
    let executable = maps(few.pid())?
        .iter()
        .filter(|line| line.perms.contains('x'))
        .count();
    ensure!(lines_and_memory(&args)?.0 == executable);
    Ok(())
}

fn processes() -> Result<()> {
    const COUNT: usize = 2_000;
    let args = |way| ["--all", way, "-o", "PID,START,END,NAME"];
    let streams = ["--format=raw", "--format=jsonl", "--format=table"];
    let before = streams.map(|way| lines_and_memory(&args(way)));
    let sleepers = Target::start(&format!("sleepers-{COUNT}"))?;
    for (way, before) in streams.into_iter().zip(before) {
        let ((few_lines, few), (lines, many)) = (before?, lines_and_memory(&args(way))?);
        ensure!(lines > few_lines + COUNT, "{way}: {lines}");
        is_constant(way, few, many)?;
    }
    let text = good_text(&["--all", "-n", "-r", "-o", "PID", "-f", "target"])?;
    let pids: BTreeSet<&str> = text.lines().collect();
    ensure!(pids.len() == COUNT + 1, "{} processes", pids.len());
    let counts = good_text(&["--comm", "target", "--count"])?;
    ensure!(counts.lines().count() == COUNT + 1);
    drop(sleepers);
    Ok(())
}
