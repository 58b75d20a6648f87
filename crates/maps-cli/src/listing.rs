// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads the mappings of one process, live or from a capture, and hands them on one by one.

use crate::{
    columns::{Column, Row},
    filter::Filter,
    options::{Options, SourceOption},
    processes::Target,
};
use anyhow::{Error, Result, anyhow};
use maps_lockless::{
    CapturedProcess, Completeness, Fields, Judgement, MappingRef, Process, Reader, Request,
    Selection, Snapshot, Source,
    wire::{MAPS_LOCKLESS_VMA_EXEC, MAPS_LOCKLESS_VMA_WRITE},
};
use std::{io, ops::Range, time::Duration};

/// How to read.
pub struct Plan<'a> {
    pub filter: &'a Filter,
    pub request: Request,
    pub source: SourceOption,
    /// Read up to so often, until the listing is consistent.
    pub attempts: Option<u32>,
    /// Just the mappings that hold these addresses. None: all.
    pub addresses: &'a [u64],
}

/// What is known of a listing at its end.
#[derive(Debug)]
pub struct Verdict {
    pub source: Source,
    pub completeness: Completeness,
    pub judgement: Judgement,
    pub totals: Totals,
    /// Ranges of which nothing is known: they may hold mappings that are not listed. In the order of
    /// their addresses.
    pub unknown: Vec<Range<u64>>,
    /// Addresses that no mapping holds.
    pub missing: Vec<u64>,
    /// Why it is not known what is mapped at an address, one for each.
    pub unproved: Vec<Error>,
}

/// Sums of the mappings that were wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub mappings: u64,
    pub bytes: u64,
    /// Mappings that are marked.
    pub marked: u64,
    /// Mappings that may be written and executed.
    pub writable_executable: u64,
}

/// What a listing is made of.
pub enum Item<'a> {
    Mapping(&'a Row<'a>),
    /// A range of which nothing is known. It is no mapping.
    Unknown(&'a Range<u64>),
}

/// What is done with each item.
pub type Each<'a> = dyn FnMut(Item<'_>) -> io::Result<()> + 'a;

impl<'a> Plan<'a> {
    pub fn new(options: &'a Options, filter: &'a Filter, columns: &[Column]) -> Self {
        let mut fields = Fields {
            // Nothing costs less, and W+X mappings are counted.
            flags: true,
            offset: false,
            file_id: false,
            name: filter.needs_names(),
            build_id: false,
            page_size: false,
            pkey: false,
        };
        for column in columns {
            column.needs(&mut fields);
        }
        // What holds an address is told from nothing before it is selected.
        let selection = match options.addr[..] {
            [] => filter.selection(),
            _ => Selection::default(),
        };
        Self {
            filter,
            request: Request { fields, selection },
            source: options.source,
            attempts: options.consistent.map(u32::from),
            addresses: &options.addr,
        }
    }

    /// For what is kept or compared.
    pub fn of_all_fields(options: &'a Options, filter: &'a Filter) -> Self {
        let mut plan = Self::new(options, filter, &[]);
        plan.request.fields = Fields::ALL;
        plan
    }

    /// Reads a process's mappings.
    pub fn read(&self, target: &Target, each: &mut Each<'_>) -> Result<Verdict> {
        let process = target.process();
        let mut rows = Rows::new(self.filter, target, each);
        let addresses = !self.addresses.is_empty();
        if addresses && self.source == SourceOption::Auto {
            return self.look_up(&process, rows);
        }
        // A source that is asked for is read as a whole, for addresses as well.
        if addresses || self.attempts.is_some() {
            return rows.of(&self.snapshot(&process)?, self.addresses);
        }
        let mut reader = self.open(&process)?;
        while let Some(batch) = reader.next_batch()? {
            rows.add_all(batch.mappings(), batch.unknown())?;
        }
        let completeness = reader.completeness().unwrap_or(Completeness::Unknown);
        let judgement = reader.judgement().unwrap_or(Judgement::Unknown);
        Ok(rows.end(reader.source(), completeness, judgement))
    }

    /// Reads all mappings at once.
    pub fn snapshot(&self, process: &Process) -> Result<Snapshot, maps_lockless::Error> {
        let mut reader = self.open(process)?;
        match self.attempts {
            None => reader.snapshot(),
            Some(attempts) => reader.consistent(attempts, Duration::MAX),
        }
    }

    /// Takes the mappings from a capture.
    pub fn replay(
        &self,
        target: &Target,
        captured: &CapturedProcess,
        each: &mut Each<'_>,
    ) -> Result<Verdict> {
        Rows::new(self.filter, target, each).of(&captured.snapshot, self.addresses)
    }

    /// Opens the source that is asked for, or the best one.
    ///
    /// Where PROCMAP_QUERY and the text are left, the text is faster, but where the kernel selects few
    /// mappings of many; and it has neither build IDs nor sizes of pages.
    fn open(&self, process: &Process) -> Result<Reader, maps_lockless::Error> {
        let open = |source| process.open_source(source, &self.request);
        match self.source {
            SourceOption::Lockless => open(Source::Lockless),
            SourceOption::Query => open(Source::Query),
            SourceOption::Maps => open(Source::Maps),
            SourceOption::Auto => {
                let selection = &self.request.selection;
                let few = selection.all & MAPS_LOCKLESS_VMA_EXEC != 0 || selection.end != 0;
                let Fields {
                    build_id,
                    page_size,
                    ..
                } = self.request.fields;
                let unsupported = |error: &maps_lockless::Error| error.is_unsupported();
                match open(Source::Lockless) {
                    Err(error) if unsupported(&error) => {}
                    result => return result,
                }
                if few || build_id || page_size {
                    match open(Source::Query) {
                        Err(error) if unsupported(&error) => {}
                        result => return result,
                    }
                }
                open(Source::Maps)
            }
        }
    }

    fn look_up(&self, process: &Process, mut rows: Rows<'_, '_>) -> Result<Verdict> {
        let lookup = process.lookup(&self.request)?;
        for &address in self.addresses {
            match lookup.find(address) {
                Ok(found) => rows.at(address, found.as_ref().map(|mapping| mapping.as_ref()))?,
                Err(error) if error.is_unproved() => rows.unproved.push(error.into()),
                Err(error) => return Err(error.into()),
            }
        }
        // Each is of one moment, and nothing is said of all.
        let judgement = Judgement::Unknown;
        Ok(rows.end(lookup.source(), Completeness::Unknown, judgement))
    }
}

/// Hands on what is wanted, and counts it.
struct Rows<'a, 'b> {
    filter: &'a Filter,
    target: &'a Target,
    each: &'a mut Each<'b>,
    totals: Totals,
    unknown: Vec<Range<u64>>,
    missing: Vec<u64>,
    unproved: Vec<Error>,
}

impl<'a, 'b> Rows<'a, 'b> {
    fn new(filter: &'a Filter, target: &'a Target, each: &'a mut Each<'b>) -> Self {
        Self {
            filter,
            target,
            each,
            totals: Totals::default(),
            unknown: Vec::new(),
            missing: Vec::new(),
            unproved: Vec::new(),
        }
    }

    /// Takes mappings and ranges of which nothing is known, both in the order of their addresses, in the
    /// order of the addresses of both.
    fn add_all<'m>(
        &mut self,
        mappings: impl Iterator<Item = Result<MappingRef<'m>, maps_lockless::Error>>,
        unknown: impl Iterator<Item = Result<Range<u64>, maps_lockless::Error>>,
    ) -> Result<()> {
        let mut unknown = unknown.peekable();
        for mapping in mappings {
            let mapping = mapping?;
            let is_before = |range: &Result<Range<u64>, _>| match range {
                Ok(range) => range.start < mapping.start,
                Err(_) => true,
            };
            while let Some(range) = unknown.next_if(is_before) {
                self.add_unknown(range?)?;
            }
            self.add(&mapping, None)?;
        }
        for range in unknown {
            self.add_unknown(range?)?;
        }
        Ok(())
    }

    /// Takes a range of which nothing is known. What it holds may be wanted, whatever is asked for.
    fn add_unknown(&mut self, range: Range<u64>) -> io::Result<()> {
        if !self.filter.meets(&range) {
            return Ok(());
        }
        (self.each)(Item::Unknown(&range))?;
        self.unknown.push(range);
        Ok(())
    }

    fn add(&mut self, mapping: &MappingRef<'_>, address: Option<u64>) -> io::Result<()> {
        if !self.filter.wants(mapping) {
            return Ok(());
        }
        let totals = &mut self.totals;
        totals.mappings += 1;
        totals.bytes += mapping.end.saturating_sub(mapping.start);
        totals.marked += u64::from(mapping.marks.is_torn());
        totals.writable_executable += u64::from(is_writable_executable(mapping));
        (self.each)(Item::Mapping(&Row {
            target: self.target,
            mapping,
            address,
        }))
    }

    fn at(&mut self, address: u64, found: Option<MappingRef<'_>>) -> io::Result<()> {
        match found {
            Some(mapping) => self.add(&mapping, Some(address)),
            None => {
                self.missing.push(address);
                Ok(())
            }
        }
    }

    /// What a snapshot has at the addresses, or all of it if there are none.
    fn of(mut self, snapshot: &Snapshot, addresses: &[u64]) -> Result<Verdict> {
        for &address in addresses {
            let found = snapshot.find(address);
            let mut unknown = snapshot.unknown.iter();
            if found.is_none() && unknown.any(|range| range.contains(&address)) {
                self.unproved.push(anyhow!(
                    "what is mapped at {address:x} is not known, for the process was changing its \
                     mappings: read them again"
                ));
                continue;
            }
            self.at(address, found.map(|mapping| mapping.as_ref()))?;
        }
        if addresses.is_empty() {
            let mappings = snapshot.mappings.iter().map(|mapping| Ok(mapping.as_ref()));
            self.add_all(mappings, snapshot.unknown.iter().cloned().map(Ok))?;
        }
        Ok(self.end(snapshot.source, snapshot.completeness, snapshot.judgement))
    }

    fn end(self, source: Source, completeness: Completeness, judgement: Judgement) -> Verdict {
        Verdict {
            source,
            completeness,
            judgement,
            totals: self.totals,
            unknown: self.unknown,
            missing: self.missing,
            unproved: self.unproved,
        }
    }
}

/// What an attacker likes best.
pub fn is_writable_executable(mapping: &MappingRef<'_>) -> bool {
    let both = MAPS_LOCKLESS_VMA_WRITE | MAPS_LOCKLESS_VMA_EXEC;
    mapping.flags.has(both) == Some(true)
}

impl Totals {
    pub fn add(&mut self, other: &Self) {
        self.mappings += other.mappings;
        self.bytes += other.bytes;
        self.marked += other.marked;
        self.writable_executable += other.writable_executable;
    }
}
