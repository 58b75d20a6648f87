// SPDX-License-Identifier: MIT OR Apache-2.0

//! A kernel without maps_lockless.

use super::{Test, cli::lsmaps, shapes_in_turn, snapshot};
use crate::child::Target;
use anyhow::{Result, ensure};
use maps_lockless::{Judgement, Process, Source};
use std::fs;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("off: there is no such file", no_file),
        Test::new("off: the library falls back to maps", falls_back),
        Test::new("off: lsmaps falls back to maps and says so", says_so),
        Test::new("off: lsmaps --format=maps is maps", same),
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
    let ran = lsmaps(&[&pid])?;
    ensure!(
        ran.status == Some(0) && ran.stderr.is_empty(),
        "{}",
        ran.stderr
    );
    let text = String::from_utf8(ran.stdout)?;
    let says = ", from maps, may be torn, the source does not tell\n";
    ensure!(text.ends_with(says), "{text}");
    // Build IDs are known to PROCMAP_QUERY alone.
    let ran = lsmaps(&["-o", "+BUILD-ID", &pid])?;
    let text = String::from_utf8(ran.stdout)?;
    let says = ", from PROCMAP_QUERY, may be torn, the source does not tell\n";
    ensure!(text.ends_with(says), "{text}");
    // What was asked for by name is missed.
    let ran = lsmaps(&["--source", "lockless", &pid])?;
    ensure!(ran.status == Some(2) && ran.stdout.is_empty());
    ensure!(
        ran.stderr.contains("this kernel has no such file (ENOENT)"),
        "{}",
        ran.stderr
    );
    Ok(())
}

fn same() -> Result<()> {
    for shape in shapes_in_turn() {
        let target = Target::start(shape)?;
        let pid = target.pid().to_string();
        let maps = fs::read(format!("/proc/{pid}/maps"))?;
        for source in ["auto", "maps"] {
            let ran = lsmaps(&["--format=maps", "--source", source, &pid])?;
            ensure!(
                ran.status == Some(0) && ran.stdout == maps,
                "{shape}, {source}: {}",
                ran.stderr
            );
        }
    }
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
