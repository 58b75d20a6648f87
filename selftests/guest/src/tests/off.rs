// SPDX-License-Identifier: MIT OR Apache-2.0

//! A kernel without maps_lockless.

use super::{Test, cli::lsmaps, snapshot};
use crate::child::Target;
use anyhow::{Result, ensure};
use maps_lockless::{Judgement, Process, Source};
use std::fs;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("off: there is no such file", no_file),
        Test::new("off: the library falls back to maps", falls_back),
        Test::new("off: lsmaps falls back to maps and says so", says_so),
        Test::new("off: a name can still be given and taken", names),
    ]
}

fn no_file() -> Result<()> {
    let pid = std::process::id();
    for dir in [format!("/proc/{pid}"), format!("/proc/{pid}/task/{pid}")] {
        for entry in fs::read_dir(&dir)? {
            let name = entry?.file_name();
            ensure!(name != "maps_lockless", "{dir}");
        }
        ensure!(fs::exists(format!("{dir}/maps"))?);
    }
    let error = snapshot(&Process::new(pid), Source::Lockless).err();
    ensure!(error.is_some_and(|error| error.is_unsupported()));
    Ok(())
}

fn falls_back() -> Result<()> {
    let target = Target::start("vmas-1000")?;
    let listing = Process::new(target.pid()).snapshot()?;
    ensure!(listing.source == Source::Query && listing.judgement == Judgement::Unknown);
    ensure!(listing.mappings.len() >= 1_000);
    Ok(())
}

fn says_so() -> Result<()> {
    let target = Target::start("plain")?;
    let pid = target.pid().to_string();
    let (output, stderr) = lsmaps(&["--raw", &pid])?;
    ensure!(output.stdout == fs::read(format!("/proc/{pid}/maps"))?);
    ensure!(
        stderr.contains("this kernel has no maps_lockless"),
        "{stderr}"
    );
    Ok(())
}

fn names() -> Result<()> {
    for (shape, name) in [
        ("anon-name", "[anon:private name]"),
        ("anon-shmem-name", "[anon_shmem:shared name]"),
    ] {
        let target = Target::start(shape)?;
        let maps = fs::read_to_string(format!("/proc/{}/maps", target.pid()))?;
        ensure!(maps.contains(name), "{maps}");
    }
    Ok(())
}
