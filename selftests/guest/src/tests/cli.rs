// SPDX-License-Identifier: MIT OR Apache-2.0

//! lsmaps, as a user runs it.

use super::Test;
use crate::child::Target;
use anyhow::{Result, ensure};
use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Command, Output},
};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("lsmaps: --raw writes what maps shows", raw),
        Test::new("lsmaps: says where the mappings came from", source),
        Test::new("lsmaps: no such process", no_process),
        Test::new("lsmaps: not permitted", not_permitted),
        Test::new("lsmaps: kernel thread", kernel_thread),
    ]
}

/// Runs lsmaps.
pub(super) fn lsmaps(args: &[&str]) -> Result<(Output, String)> {
    let output = Command::new("/bin/lsmaps").args(args).output()?;
    let stderr = String::from_utf8(output.stderr.clone())?;
    Ok((output, stderr))
}

fn raw() -> Result<()> {
    for shape in ["vmas-1000", "name-newline", "memfd", "anon-shmem-name"] {
        let target = Target::start(shape)?;
        let (output, stderr) = lsmaps(&["--raw", &target.pid().to_string()])?;
        ensure!(output.status.success() && stderr.is_empty(), "{stderr}");
        let maps = fs::read(format!("/proc/{}/maps", target.pid()))?;
        ensure!(output.stdout == maps, "{shape}");
    }
    Ok(())
}

fn source() -> Result<()> {
    let target = Target::start("plain")?;
    let pid = target.pid().to_string();
    for (args, expected) in [
        (&[&pid[..]][..], "from maps_lockless, consistent\n"),
        (&["--source", "maps", &pid], "from maps, may be torn"),
    ] {
        let (output, stderr) = lsmaps(args)?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        ensure!(stderr.is_empty(), "{stderr}");
        ensure!(stdout.contains(expected), "{stdout}");
    }
    Ok(())
}

fn no_process() -> Result<()> {
    let (output, stderr) = lsmaps(&["999999"])?;
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty());
    ensure!(
        stderr == "lsmaps: /proc/999999/maps_lockless: no such process (ENOENT)\n",
        "{stderr}"
    );
    Ok(())
}

fn not_permitted() -> Result<()> {
    let target = Target::start("plain")?;
    let output = Command::new("/bin/lsmaps")
        .arg(target.pid().to_string())
        .uid(65_534)
        .gid(65_534)
        .output()?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty());
    ensure!(
        stderr.contains("not permitted (EACCES): try as root"),
        "{stderr}"
    );
    Ok(())
}

fn kernel_thread() -> Result<()> {
    let (output, stderr) = lsmaps(&["2"])?;
    ensure!(output.status.success());
    ensure!(stderr.contains("no memory of its own"), "{stderr}");
    Ok(())
}
