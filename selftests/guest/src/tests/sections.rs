// SPDX-License-Identifier: MIT OR Apache-2.0

//! A read's RCU sections are no longer where there are a thousand times as many VMAs, and end earlier where
//! these have paths and build IDs.

use super::Test;
use crate::{
    child::Target,
    raw::{ALL, Lockless, MAPS, position_of},
    shapes::PAGE,
    trace::{Event, Trace},
};
use anyhow::{Context, Result, bail, ensure};
use maps_lockless::{
    decode::{Batch, Record},
    wire::*,
};
use std::{mem, os::unix::fs::FileExt};

const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
/// The lookups of one section, and of one read, as the kernel has them.
const SECTION: usize = 64;
const READ: usize = 65_536;
/// The lookups that a path in the directory of the one before it takes the place of, another path, and a build ID.
const NAME: usize = 3;
const PATH: usize = 8;
const BUILD_ID: usize = 32;
/// Batches that are read of each process.
const BATCHES: usize = 24;
const FUNCTIONS: [&str; 2] = ["__rcu_read_lock", "__rcu_read_unlock"];
/// The read of a final batch is not looked at: it gives its memory back, and has to allocate it again. Hence
/// buffers that are too small for all that is left.
const SMALL: usize = MAX / 32;
/// How often a read is traced. An interrupt may have RCU sections of its own.
const TIMES: usize = 4;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "no lock: RCU sections do not grow with the number of VMAs",
            sections_stay,
        ),
        Test::new(
            "no lock: paths and build IDs end an RCU section early",
            by_work,
        ),
    ]
}

/// Microseconds that each outermost RCU section took, among what a thread did.
fn sections(events: &[Event]) -> Result<Vec<f64>> {
    let mut sections = Vec::new();
    let (mut depth, mut begin) = (0_usize, 0.0);
    for event in events {
        if event.name == "__rcu_read_lock" {
            if depth == 0 {
                begin = event.time;
            }
            depth += 1;
        } else {
            // The first one may end what began before.
            depth = depth.saturating_sub(1);
            if depth == 0 {
                sections.push((event.time - begin) * 1e6);
            }
        }
    }
    ensure!(depth == 0, "a section does not end");
    Ok(sections)
}

/// Reads whose RCU sections are looked at.
struct Traced<'a> {
    trace: &'a Trace,
    /// The sections that a read has before and behind those in which it looks at VMAs.
    others: usize,
}

impl<'a> Traced<'a> {
    fn new(trace: &'a Trace, pid: u32) -> Result<Self> {
        let request = maps_lockless_request {
            max_records: 1,
            ..MAPS
        };
        let file = Lockless::with_request(pid, request)?;
        let first = file
            .batch_at(MAX, 0)?
            .vmas()?
            .first()
            .map(|vma| vma.fields.start);
        let mut traced = Self { trace, others: 0 };
        let mut buffer = vec![0; MAX];
        let one = traced.read(&file, first.context("no VMA")?, &mut buffer)?.1;
        traced.others = one.len().checked_sub(1).context("no section")?;
        Ok(traced)
    }

    /// Reads a batch of a process that rests. Returns its length, and how long each section took that is its own.
    fn read(&self, file: &Lockless, address: u64, buffer: &mut [u8]) -> Result<(usize, Vec<f64>)> {
        // Allocates what the others need not allocate again. That has sections, too.
        let len = file.0.read_at(buffer, position_of(address))?;
        let mut fewest: Option<Vec<f64>> = None;
        for _ in 0..TIMES {
            let (_, events) = self
                .trace
                .record(|| Ok(file.0.read_at(buffer, position_of(address))?))?;
            let sections = sections(&events)?;
            if fewest
                .as_ref()
                .is_none_or(|least| sections.len() < least.len())
            {
                fewest = Some(sections);
            }
        }
        let mut sections = fewest.context("not read")?;
        // The others look at no VMA.
        for _ in 0..self.others.min(sections.len()) {
            let shortest = (0..sections.len()).min_by(|a, b| sections[*a].total_cmp(&sections[*b]));
            sections.remove(shortest.context("no section")?);
        }
        Ok((len, sections))
    }
}

/// A VMA or a gap, as the kernel counts its work.
#[derive(Clone, Debug, Default)]
struct Lookup {
    /// The directory of the path that was made for it, if one was.
    directory: Option<Vec<u8>>,
    /// Whether a build ID was looked for.
    build_id: bool,
}

impl Lookup {
    /// Its work, in an RCU section in which the path before it had this directory.
    fn work(&self, before: Option<&[u8]>) -> usize {
        let path = match self.directory.as_deref() {
            None => 0,
            directory if directory == before => NAME,
            Some(_) => PATH,
        };
        1 + path + if self.build_id { BUILD_ID } else { 0 }
    }
}

/// What was looked up for a batch. A path and a build ID are looked for where the batch tells a file, if they
/// were asked for.
fn lookups(bytes: &[u8]) -> Result<Vec<Lookup>> {
    let batch = Batch::parse(bytes)?;
    let header = batch.header();
    let wanted = |field| header.fields_wanted & field != 0;
    let mut lookups = Vec::new();
    let (mut end, mut of_file) = (header.begin, Lookup::default());
    for record in batch.records() {
        match record? {
            Record::File(file) => {
                let directory = file.path.iter().rposition(|byte| *byte == b'/');
                of_file = Lookup {
                    directory: directory
                        .filter(|_| wanted(MAPS_LOCKLESS_FIELD_PATH))
                        .map(|slash| file.path[..slash].to_vec()),
                    build_id: wanted(MAPS_LOCKLESS_FIELD_BUILD_ID),
                };
            }
            Record::Vma(vma) => {
                // The one in no maple tree is not looked up. What is before it is the end of the tree.
                lookups.extend((vma.fields.start > end).then(Lookup::default));
                lookups.push(mem::take(&mut of_file));
                end = vma.fields.end;
            }
            record => bail!("a process that rests, and {record:?}"),
        }
    }
    Ok(lookups)
}

/// How many sections these take.
fn sections_for<'a>(lookups: impl IntoIterator<Item = &'a Lookup>) -> usize {
    let (mut sections, mut left, mut before) = (0, 0_usize, None);
    for lookup in lookups {
        if left == 0 {
            (sections, left, before) = (sections + 1, SECTION, None);
        }
        left = left.saturating_sub(lookup.work(before));
        before = lookup.directory.as_deref().or(before);
    }
    sections
}

/// What was seen of a process's sections.
#[derive(Default)]
struct Seen {
    sections: usize,
    /// Of those that made as many lookups as a section may.
    micros: Vec<f64>,
}

impl Seen {
    /// Reads a batch at `address`, of a process that rests.
    fn read(
        &mut self,
        traced: &Traced<'_>,
        file: &Lockless,
        address: u64,
        buffer: &mut [u8],
    ) -> Result<()> {
        let (len, mut sections) = traced.read(file, address, buffer)?;
        let mut lookups = lookups(&buffer[..len])?;
        // The VMA that found no room has no record.
        let expected = sections_for(&lookups)..={
            lookups.push(Lookup::default());
            sections_for(&lookups)
        };
        ensure!(
            expected.contains(&sections.len()),
            "{} VMAs and gaps in {} sections, not in {expected:?}",
            lookups.len(),
            sections.len()
        );
        self.sections += sections.len();
        // The last one of a batch is shorter.
        sections.pop();
        self.micros.append(&mut sections);
        Ok(())
    }

    /// Microseconds that a part of the sections does not exceed.
    fn micros(&mut self, part: f64) -> Result<f64> {
        self.micros.sort_by(f64::total_cmp);
        let place = (self.micros.len() as f64 * part) as usize;
        let micros = self
            .micros
            .get(place.min(self.micros.len().saturating_sub(1)));
        micros.copied().context("no section")
    }
}

fn sections_stay() -> Result<()> {
    let few = Target::start("vmas-1000")?;
    let (many, count) = Target::with_most_vmas()?;
    let trace = Trace::new(&FUNCTIONS, &[])?;
    let mut buffer = vec![0xaa; 8 * SMALL];
    let mut seen = [Seen::default(), Seen::default()];
    let files = [Lockless::open(few.pid())?, Lockless::open(many.pid())?];
    let traced = Traced::new(&trace, few.pid())?;
    let mut bases = Vec::new();
    for target in [&few, &many] {
        bases.push(u64::from_str_radix(&target.said, 16).context("where its mappings are")?);
    }
    // By turns, so that what else goes on hits both.
    for batch in 0..BATCHES {
        for (which, seen) in seen.iter_mut().enumerate() {
            // From all over the first half, so that there is enough behind.
            let page = [1000, count][which] / 2 * batch / BATCHES;
            let address = bases[which] + (page * PAGE) as u64;
            seen.read(&traced, &files[which], address, &mut buffer)?;
        }
    }
    let mut times = Vec::new();
    for (seen, vmas) in seen.iter_mut().zip([1000, count]) {
        let (median, p99, most) = (seen.micros(0.5)?, seen.micros(0.99)?, seen.micros(1.0)?);
        println!(
            "# {vmas} VMAs: {} sections; traced, {SECTION} lookups take {median:.0} µs (median), {p99:.0} µs \
             (99 %), {most:.0} µs (most)",
            seen.sections,
        );
        times.push((median, p99));
    }
    println!(
        "# the longer to the shorter listing: {:.2} (median), {:.2} (99 %)",
        times[1].0 / times[0].0,
        times[1].1 / times[0].1,
    );
    // The tree is deeper by two or three nodes, and not by a thousand.
    ensure!(times[1].0 < 4.0 * times[0].0, "sections take longer");

    // A read that finds nothing makes the most lookups.
    let request = maps_lockless_request {
        vma_flags_all: MAPS_LOCKLESS_VMA_READ,
        vma_flags_none: MAPS_LOCKLESS_VMA_READ,
        ..MAPS
    };
    let file = Lockless::with_request(many.pid(), request)?;
    let first = bases[1];
    let (len, sections) = traced.read(&file, first, &mut buffer)?;
    let header = *Batch::parse(&buffer[..len])?.header();
    let of_read = sections.len();
    let pages = (header.next - first) / u64::from(header.page_size);
    println!("# a read that finds nothing: {pages} VMAs, {of_read} sections");
    ensure!(header.end_reason == MAPS_LOCKLESS_END_BUDGET && pages == READ as u64);
    ensure!(of_read >= READ / SECTION);
    Ok(())
}

fn by_work() -> Result<()> {
    let trace = Trace::new(&FUNCTIONS, &[])?;
    for (shape, request, size) in [("build-ids", ALL, SMALL), ("files-200", MAPS, 8 * SMALL)] {
        by_work_of(&trace, shape, request, size).context(shape)?;
    }
    Ok(())
}

fn by_work_of(
    trace: &Trace,
    shape: &str,
    request: maps_lockless_request,
    size: usize,
) -> Result<()> {
    let target = Target::start(shape)?;
    let traced = Traced::new(trace, target.pid())?;
    let file = Lockless::with_request(target.pid(), request)?;
    let mut buffer = vec![0xaa; size];
    let mut micros: Vec<f64> = Vec::new();
    let (mut address, mut early) = (0, 0);
    loop {
        let (len, mut sections) = traced.read(&file, address, &mut buffer)?;
        let batch = Batch::parse(&buffer[..len])?;
        address = batch.header().next;
        if batch.is_final() {
            break;
        }
        let lookups = lookups(&buffer[..len])?;
        // What is behind the last record, and what found no room.
        let behind = [
            Lookup::default(),
            Lookup {
                directory: Some(Vec::new()),
                build_id: request.fields_wanted & MAPS_LOCKLESS_FIELD_BUILD_ID != 0,
            },
            Lookup::default(),
        ];
        let expected = sections_for(&lookups)..=sections_for(lookups.iter().chain(&behind));
        ensure!(
            expected.contains(&sections.len()),
            "{lookups:?} in {} sections, not in {expected:?}",
            sections.len()
        );
        early += sections
            .len()
            .saturating_sub(lookups.len().div_ceil(SECTION));
        micros.append(&mut sections);
    }
    micros.sort_by(f64::total_cmp);
    println!(
        "# {shape}: {} sections, of which {early} were ended by paths and build IDs; traced, the longest takes \
         {:.0} µs",
        micros.len(),
        micros.last().context("no section")?,
    );
    ensure!(early > 3, "no section was ended early");
    Ok(())
}
