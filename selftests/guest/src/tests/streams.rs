// SPDX-License-Identifier: MIT OR Apache-2.0

//! Streams of live processes, handed out of the VM, where the runner has the decoder in Python and
//! the library decode them and compares.

use super::Test;
use crate::{
    child::Target,
    raw::{ALL, HEADER, Lockless, MAPS, Owned},
};
use anyhow::{Context, Result, ensure};
use maps_lockless::{BuildId, wire::*};
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    time::{Duration, Instant},
};

const MIN: usize = MAPS_LOCKLESS_MIN_BUFFER as usize;
const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "streams: of live processes, for the decoder in Python",
        hand_out,
    )]
}

/// Where they go: a name's length and a stream's, 4 bytes each, then both. The runner reads it.
struct Port(File);

impl Port {
    fn put(&mut self, name: &str, batches: &[Owned]) -> Result<()> {
        let stream: Vec<u8> = batches
            .iter()
            .flat_map(|owned| owned.bytes().to_vec())
            .collect();
        self.put_bytes(&format!("{name}.stream"), &stream)
    }

    fn put_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let len = |bytes: &[u8]| u32::try_from(bytes.len());
        self.0.write_all(&len(name.as_bytes())?.to_ne_bytes())?;
        self.0.write_all(&len(bytes)?.to_ne_bytes())?;
        self.0.write_all(name.as_bytes())?;
        self.0.write_all(bytes)?;
        Ok(())
    }
}

fn hand_out() -> Result<()> {
    let mut port = Port(OpenOptions::new().write(true).open("/dev/vport0p2")?);
    for shape in [
        "anon-name",
        "anon-shmem-name",
        "deleted-file",
        "file-vmas-1000",
        "flags",
        "memfd",
        "name-live-deleted",
        "name-newline",
        "name-not-utf8",
        "name-spaces",
    ] {
        let target = Target::start(shape)?;
        port.put(shape, &Lockless::open(target.pid())?.batches(MAX)?)?;
        port.put_bytes(
            &format!("{shape}.maps"),
            &fs::read(format!("/proc/{}/maps", target.pid()))?,
        )?;
    }
    let build_ids = Target::start("build-ids")?;
    let batches = Lockless::with_request(build_ids.pid(), ALL)?.batches(MAX)?;
    let answers = batches[0].vmas()?;
    for wanted in [BuildId::Absent, BuildId::NotResident] {
        ensure!(answers.iter().any(|vma| vma.build_id() == wanted));
    }
    port.put("build-ids", &batches)?;
    let ranges = maps_lockless_request {
        fields: 0,
        max_records: 5,
        ..MAPS
    };
    port.put(
        "ranges-alone",
        &Lockless::with_request(build_ids.pid(), ranges)?.batches(MAX)?,
    )?;
    let exec = maps_lockless_request {
        vma_flags_all: MAPS_LOCKLESS_VMA_EXEC,
        ..ALL
    };
    port.put(
        "selected",
        &Lockless::with_request(build_ids.pid(), exec)?.batches(MAX)?,
    )?;
    port.put("kthread", &Lockless::open(2)?.batches(MAX)?)?;
    port.put("gone", &gone()?)?;
    port.put("churn", &torn()?)?;
    // The last one: the runner knows by it that nothing is missing.
    port.put_bytes("end", b"")
}

/// Two batches, and a third that says that the process is gone.
fn gone() -> Result<Vec<Owned>> {
    let mut target = Target::start("vmas-1000")?;
    let mut file = Lockless::open(target.pid())?;
    let mut batches = vec![file.batch(MIN)?, file.batch(HEADER)?];
    target.kill()?;
    target.reap()?;
    batches.extend(file.batches(MIN)?);
    ensure!(batches.last().context("none")?.header()?.end_reason == MAPS_LOCKLESS_END_GONE);
    Ok(batches)
}

/// A listing during which the process changed, with a mark to show for it.
fn torn() -> Result<Vec<Owned>> {
    let target = Target::start("churn")?;
    let start = u64::from_str_radix(&target.said, 16).context("where the arena is")?;
    // A part of it, to keep the stream short.
    let request = maps_lockless_request {
        start,
        end: start + (8 << 20),
        ..ALL
    };
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(60) {
        let batches = Lockless::with_request(target.pid(), request)?.batches(MAX)?;
        for owned in &batches {
            let header = owned.header()?;
            let marks = MAPS_LOCKLESS_REC_UNSTABLE | MAPS_LOCKLESS_REC_WITHHELD;
            let marked = owned
                .vmas()?
                .iter()
                .any(|vma| vma.fields.flags & marks != 0);
            if header.seq_begin != header.seq_end && marked {
                return Ok(batches);
            }
        }
    }
    anyhow::bail!("no listing was torn in a minute")
}
