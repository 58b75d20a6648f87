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
use anyhow::{Context, Result, ensure};
use maps_lockless::{
    decode::{Batch, Record},
    wire::*,
};
use std::os::unix::fs::FileExt;

const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
/// The lookups of one section, and of one read, as the kernel has them.
const SECTION: usize = 64;
const READ: usize = 65_536;
/// The lookups that a path takes the place of, and a build ID.
const PATH: usize = 8;
const BUILD_ID: usize = 32;
/// Batches that are read of each process.
const BATCHES: usize = 24;
/// Called once for each VMA that was looked up and proved.
const LOOKUP: &str = "special_mapping_name_from";
const FUNCTIONS: [&str; 3] = ["__rcu_read_lock", "__rcu_read_unlock", LOOKUP];

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

/// An outermost RCU section.
struct Section {
    lookups: usize,
    micros: f64,
}

/// The sections among what a thread did.
fn sections(events: &[Event]) -> Result<Vec<Section>> {
    let mut sections = Vec::new();
    let (mut depth, mut begin, mut lookups) = (0_usize, 0.0, 0);
    for event in events {
        match &event.name[..] {
            "__rcu_read_lock" => {
                if depth == 0 {
                    (begin, lookups) = (event.time, 0);
                }
                depth += 1;
            }
            "__rcu_read_unlock" => {
                // The first one may end what began before.
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    let micros = (event.time - begin) * 1e6;
                    sections.push(Section { lookups, micros });
                }
            }
            _ => {
                ensure!(depth > 0, "a lookup outside of RCU");
                lookups += 1;
            }
        }
    }
    ensure!(depth == 0, "a section does not end");
    Ok(sections)
}

/// What was seen of a process's sections.
#[derive(Default)]
struct Seen {
    lookups: Vec<usize>,
    micros: Vec<f64>,
}

impl Seen {
    /// Reads a batch at `address`. The sections that the rest of the kernel has meanwhile look up
    /// nothing.
    fn read(
        &mut self,
        trace: &Trace,
        file: &Lockless,
        address: u64,
        buffer: &mut [u8],
    ) -> Result<()> {
        let (len, events) = trace.record(|| Ok(file.0.read_at(buffer, position_of(address))?))?;
        let mut records = 0;
        for record in Batch::parse(&buffer[..len])?.records() {
            records += usize::from(matches!(record?, Record::Vma(_)));
        }
        let sections = sections(&events)?;
        let looked = sections.iter().filter(|section| section.lookups > 0);
        let mut lookups = 0;
        for section in looked {
            lookups += section.lookups;
            self.lookups.push(section.lookups);
            // The last one of a batch is shorter.
            if section.lookups == SECTION {
                self.micros.push(section.micros);
            }
        }
        // The one that found no room has no record. That in no maple tree has no lookup.
        ensure!(
            lookups.abs_diff(records) <= 1,
            "{lookups} lookups, {records} records"
        );
        Ok(())
    }

    /// The most lookups of a section.
    fn longest(&self) -> usize {
        self.lookups.iter().copied().max().unwrap_or(0)
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
    let mut buffer = vec![0xaa; MAX];
    let mut seen = [Seen::default(), Seen::default()];
    let files = [Lockless::open(few.pid())?, Lockless::open(many.pid())?];
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
            seen.read(&trace, &files[which], address, &mut buffer)?;
        }
    }
    let mut times = Vec::new();
    for (seen, vmas) in seen.iter_mut().zip([1000, count]) {
        ensure!(
            seen.longest() == SECTION,
            "a section has {} lookups",
            seen.longest()
        );
        let (median, p99) = (seen.micros(0.5)?, seen.micros(0.99)?);
        println!(
            "# {vmas} VMAs: {} sections, {} lookups at most; traced, {SECTION} lookups take {median:.0} µs \
             (median), {p99:.0} µs (99 %), {:.0} µs (most)",
            seen.lookups.len(),
            seen.longest(),
            seen.micros(1.0)?,
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
    let read = || Ok(file.0.read_at(&mut buffer, position_of(first))?);
    let (len, events) = trace.record(read)?;
    let header = *Batch::parse(&buffer[..len])?.header();
    let of_read = sections(&events)?.len();
    let pages = (header.next - first) / u64::from(header.page_size);
    println!("# a read that finds nothing: {pages} VMAs, {of_read} sections");
    ensure!(header.end_reason == MAPS_LOCKLESS_END_BUDGET && pages == READ as u64);
    ensure!(of_read >= READ / SECTION);
    Ok(())
}

/// What the kernel takes each mapping of a batch to cost, which was asked for all fields. It looks for a path
/// and a build ID where it tells a file.
fn works(bytes: &[u8]) -> Result<Vec<usize>> {
    let batch = Batch::parse(bytes)?;
    let mut works = Vec::new();
    let mut of_file = 0;
    for record in batch.records() {
        match record? {
            Record::File(_) => of_file += PATH + BUILD_ID,
            _ => {
                works.push(1 + of_file);
                of_file = 0;
            }
        }
    }
    Ok(works)
}

fn by_work() -> Result<()> {
    let target = Target::start("build-ids")?;
    let trace = Trace::new(&FUNCTIONS, &[])?;
    let file = Lockless::with_request(target.pid(), ALL)?;
    let mut buffer = vec![0xaa; MAX];
    let mut micros: Vec<f64> = Vec::new();
    let (mut address, mut early) = (0, 0);
    while address != MAPS_LOCKLESS_NEXT_NONE {
        let read = || Ok(file.0.read_at(&mut buffer, position_of(address))?);
        let (len, events) = trace.record(read)?;
        let mut works = works(&buffer[..len])?.into_iter();
        for section in sections(&events)?
            .iter()
            .filter(|section| section.lookups > 0)
        {
            let works: Vec<usize> = works.by_ref().take(section.lookups).collect();
            let before: usize = works.iter().rev().skip(1).sum();
            ensure!(before < SECTION, "a section goes on after {works:?}");
            early += usize::from(works.iter().sum::<usize>() >= SECTION);
            micros.push(section.micros);
        }
        address = Batch::parse(&buffer[..len])?.header().next;
    }
    micros.sort_by(f64::total_cmp);
    println!(
        "# {} sections, of which {early} were ended by paths and build IDs; traced, the longest takes {:.0} µs",
        micros.len(),
        micros.last().context("no section")?,
    );
    ensure!(early > 3, "no section was ended early");
    Ok(())
}
