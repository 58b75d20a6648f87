// SPDX-License-Identifier: MIT OR Apache-2.0

//! Readers by the library, of maps_lockless, of maps by PROCMAP_QUERY and as text, and lsmaps: they must tell
//! nothing foreign either, and those of maps take the locks that maps_lockless does not.

use super::{Run, herd::Life, plant::Planter};
use crate::{
    invariants::{VSYSCALL, is_kernel_address},
    rng::Rng,
};
use anyhow::{Context, Result, ensure};
use maps_lockless::{Error, Fields, Reader, Request, Source};
use std::{
    fs::File,
    process::{Command, Stdio},
};

/// How lsmaps is called, in turn.
const OPTIONS: [&str; 11] = [
    "--notruncate",
    "--json",
    "--raw",
    "--format=jsonl",
    "--format=maps",
    "--summary",
    "--tree",
    "--exec",
    "--output=+BUILD-ID,FLAGS",
    "--source=query",
    "--source=maps",
];

/// Reads until the run is over.
pub fn read_on(run: &Run) -> Result<()> {
    let mut rng = Rng::new(99);
    let mut planter = Planter::new(run);
    let mut turn = 0;
    while !run.is_over() {
        let Some(life) = run.herd.living(&mut rng) else {
            std::thread::yield_now();
            continue;
        };
        turn += 1;
        // It takes long, so that a process may end before it has begun.
        let due = if run.counts.get("lsmaps") == 0 { 4 } else { 20 };
        let (name, done) = if turn % due == 0 {
            let option = OPTIONS[turn / due % OPTIONS.len()];
            ("lsmaps", lsmaps(&life, option).context("lsmaps")?)
        } else {
            let (name, source) = [
                ("library", Source::Lockless),
                ("PROCMAP_QUERY", Source::Query),
                ("text", Source::Maps),
            ][turn % 3];
            let read = read(run, &life, source, &mut planter, &mut rng);
            (name, read.context(name)?)
        };
        run.counts.add(name, done.into());
    }
    Ok(())
}

fn read(
    run: &Run,
    life: &Life,
    source: Source,
    planter: &mut Planter<'_>,
    rng: &mut Rng,
) -> Result<bool> {
    let name = match source {
        Source::Lockless => "maps_lockless",
        _ => "maps",
    };
    let Ok(file) = File::open(life.path(name)) else {
        return Ok(false);
    };
    let request = Request {
        fields: match source {
            Source::Maps => Fields::default(),
            _ => Fields::ALL,
        },
        ..Request::default()
    };
    let facts = planter.facts(source, life, rng);
    let end = |error: Error| match error.is_exited() {
        true => Ok(false),
        false => Err(anyhow::Error::from(error)),
    };
    let mut reader = match Reader::from_file(file, source, &request) {
        Ok(reader) => reader,
        Err(error) => return end(error),
    };
    loop {
        let batch = match reader.next_batch() {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok(true),
            Err(error) => return end(error),
        };
        for mapping in batch.mappings() {
            facts.check(&mapping?)?;
        }
        if run.is_over() {
            return Ok(false);
        }
    }
}

/// Every key that lsmaps prints is the process's own, and no number is a kernel address.
fn lsmaps(life: &Life, option: &str) -> Result<bool> {
    let output = Command::new("/bin/lsmaps")
        .args([option, &life.pid.to_string()])
        .stdin(Stdio::null())
        .output()?;
    if !life.has_its_id() {
        return Ok(false);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let own = life.facts.key.to_string();
    for (at, _) in text.match_indices("key-") {
        ensure!(
            text[at..].starts_with(&own),
            "broken: foreign name: {text}, {own}"
        );
    }
    for word in text.split(|c: char| !c.is_ascii_hexdigit()) {
        let mut numbers = [10, 16]
            .into_iter()
            .map(|radix| u64::from_str_radix(word, radix));
        // An end is told, too.
        let is_gate = |n| (VSYSCALL.start..=VSYSCALL.end).contains(&n);
        let foreign =
            numbers.any(|number| number.is_ok_and(|n| is_kernel_address(n) && !is_gate(n)));
        ensure!(!foreign, "broken: foreign pointer: {word} in {text}");
    }
    // None is listed where the process ended meanwhile.
    ensure!(matches!(output.status.code(), Some(0 | 2)), "{output:?}");
    Ok(output.status.success())
}
