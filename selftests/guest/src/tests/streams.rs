// SPDX-License-Identifier: MIT OR Apache-2.0

//! Streams of live processes, handed out of the VM, where the runner has the decoder in Python and
//! the library decode them and compares.

use super::Test;
use crate::{
    child::Target,
    raw::{ALL, Lockless, MAPS, Owned, RANGES},
    shapes::{FREED_AMONG, PAGE},
};
use anyhow::{Context, Result, ensure};
use maps_lockless::{BuildId, decode::Record, wire::*};
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
    let files = batches[0].files()?;
    for wanted in [BuildId::Absent, BuildId::NotResident] {
        ensure!(files.iter().any(|file| file.build_id() == wanted));
    }
    port.put("build-ids", &batches)?;
    let ranges = maps_lockless_request {
        max_records: 5,
        ..RANGES
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
    port.put("clipped", &clipped()?)?;
    port.put("path-too-long", &path_too_long()?)?;
    port.put("page-sizes", &page_sizes()?)?;
    port.put("two-requests", &two_requests()?)?;
    port.put("churn", &torn()?)?;
    // These need that mappings are freed at each of the kernel's attempts, so that a stream may lack them.
    for (name, stream) in rare()? {
        match stream {
            Some(stream) => port.put(name, &stream)?,
            None => println!("# not seen in {} s: {name}", RARE.as_secs()),
        }
    }
    // The last one: the runner knows by it that nothing is missing.
    port.put_bytes("end", b"")
}

/// Two batches, and a third that says that the process is gone.
fn gone() -> Result<Vec<Owned>> {
    let mut target = Target::start("vmas-1000")?;
    let mut file = Lockless::open(target.pid())?;
    let mut batches = vec![file.batch(MIN)?, file.batch(MIN)?];
    target.kill()?;
    target.reap()?;
    batches.extend(file.batches(MIN)?);
    ensure!(batches.last().context("none")?.header()?.end_reason == MAPS_LOCKLESS_END_GONE);
    Ok(batches)
}

/// From the middle of a mapping on.
fn clipped() -> Result<Vec<Owned>> {
    let target = Target::start("plain")?;
    let whole = Lockless::open(target.pid())?.fields()?;
    let large = whole.iter().find(|vma| vma.end - vma.start > PAGE as u64);
    let large = large.context("no mapping of two pages")?;
    let request = maps_lockless_request {
        start: large.start + PAGE as u64,
        end: large.end + 1,
        ..ALL
    };
    let batches = Lockless::with_request(target.pid(), request)?.batches(MAX)?;
    let clipped = batches[0].vmas()?[0].fields;
    ensure!(clipped.flags == MAPS_LOCKLESS_REC_CLIPPED && clipped.vma_start == large.start);
    Ok(batches)
}

fn path_too_long() -> Result<Vec<Owned>> {
    let target = Target::start("path-too-long")?;
    let batches = Lockless::with_request(target.pid(), ALL)?.batches(MAX)?;
    let mut is_told = false;
    for owned in &batches {
        let too_long = MAPS_LOCKLESS_FILE_PATH_TOO_LONG;
        let files = owned.files()?;
        is_told |= files.iter().any(|file| file.fields.flags & too_long != 0);
    }
    ensure!(is_told, "no path is too long");
    Ok(batches)
}

/// With protection keys, where the machine has any.
fn page_sizes() -> Result<Vec<Owned>> {
    let target = Target::start("page-sizes")?;
    let file = Lockless::open(target.pid())?;
    let fields = file.state()?.fields_supported;
    file.request(maps_lockless_request {
        fields_wanted: fields,
        ..MAPS
    })?;
    let batches = Lockless(file.0).batches(MAX)?;
    let huge =
        |owned: &Owned| anyhow::Ok(owned.vmas()?.iter().any(|vma| vma.fields.page_shift > 12));
    ensure!(huge(&batches[0])?, "no page is huge");
    Ok(batches)
}

/// The first half by one request and the rest by another, which are no listing.
fn two_requests() -> Result<Vec<Owned>> {
    let target = Target::start("vmas-1000")?;
    let mut file = Lockless::with_request(target.pid(), RANGES)?;
    let mut batches = vec![file.batch(MIN)?, file.batch(MIN)?];
    file.request(RANGES)?;
    batches.extend(file.batches(MIN)?);
    Ok(batches)
}

/// How long to look for what is rare.
const RARE: Duration = Duration::from_secs(5);

/// What a stream is called, and the stream where there is one.
type Rare = (&'static str, Option<Vec<Owned>>);

/// Listings of a process that frees mappings all the time: one with a withheld mapping, and one with a range of
/// which nothing is known.
fn rare() -> Result<[Rare; 2]> {
    let target = Target::start("frees")?;
    let start = u64::from_str_radix(&target.said, 16).context("where its mappings are")?;
    let request = maps_lockless_request {
        start,
        end: start + (FREED_AMONG * PAGE) as u64,
        ..ALL
    };
    let file = Lockless::with_request(target.pid(), request)?;
    let (mut withheld, mut unknown) = (None, None);
    let begin = Instant::now();
    while begin.elapsed() < RARE && (withheld.is_none() || unknown.is_none()) {
        let owned = file.batch_at(MAX, 0)?;
        let records = owned.records()?;
        let has_withheld = records.iter().any(|record| match record {
            Record::Vma(vma) => vma.fields.flags & MAPS_LOCKLESS_REC_WITHHELD != 0,
            _ => false,
        });
        let is_unknown = |record: &Record<'_>| matches!(record, Record::Unknown(_));
        let has_unknown = records.iter().any(is_unknown);
        if has_withheld && withheld.is_none() {
            withheld = Some(vec![owned]);
        } else if has_unknown && unknown.is_none() {
            unknown = Some(vec![owned]);
        }
    }
    Ok([("withheld", withheld), ("unknown", unknown)])
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
            let marked = owned
                .vmas()?
                .iter()
                .any(|vma| vma.fields.flags & MAPS_LOCKLESS_REC_UNSTABLE != 0);
            if header.seq_begin != header.seq_end && marked {
                return Ok(batches);
            }
        }
    }
    anyhow::bail!("no listing was torn in a minute")
}
