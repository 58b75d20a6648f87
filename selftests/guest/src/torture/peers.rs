// SPDX-License-Identifier: MIT OR Apache-2.0

//! Readers of maps, by PROCMAP_QUERY and as text, and lsmaps: beside maps_lockless they must tell
//! nothing foreign either, and they take the locks that it does not.

use super::{Run, herd::Life, plant::Planter};
use crate::rng::Rng;
use anyhow::{Context, Result, ensure};
use maps_lockless::{Error, Fields, Reader, Request, Source};
use std::{
    fs::File,
    process::{Command, Stdio},
};

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
            ("lsmaps", lsmaps(&life).context("lsmaps")?)
        } else if turn % 2 == 0 {
            let read = read(run, &life, Source::Query, &mut planter, &mut rng);
            ("PROCMAP_QUERY", read.context("PROCMAP_QUERY")?)
        } else {
            let read = read(run, &life, Source::Maps, &mut planter, &mut rng);
            ("text", read.context("text")?)
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
    let Ok(file) = File::open(life.path("maps")) else {
        return Ok(false);
    };
    let request = Request {
        fields: if source == Source::Query {
            Fields::ALL
        } else {
            Fields::default()
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

/// Every key that lsmaps prints is the process's own.
fn lsmaps(life: &Life) -> Result<bool> {
    let output = Command::new("/bin/lsmaps")
        .arg(life.pid.to_string())
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
    // None is listed where the process ended meanwhile.
    ensure!(matches!(output.status.code(), Some(0 | 2)), "{output:?}");
    Ok(output.status.success())
}
