// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process that maps and unmaps, and a kernel that lists its mappings: a model of what docs/abi.md says of
//! `maps_lockless`.

use crate::{
    BatchEvidence, Error, Judge, Request, Source, Token,
    build::{Builder, OF_FILE, OF_VMA, PAGE, page, page_of, whole_file},
    decode::Batch,
    listing::{Ask, Collected, Lister, Listing},
    reader::{self, Reader},
    source::lockless::AllKnown,
    wire::*,
};
use core::ops::Range;
use std::{
    collections::{BTreeMap, VecDeque},
    format,
    path::Path,
    vec::Vec,
};

/// Stands in no tree, and never changes.
const GATE: Range<u64> = 0xffff_ffff_ff60_0000..0xffff_ffff_ff60_1000;

/// A VMA, without its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vma {
    pub(super) end: u64,
    /// Flags that tell VMAs apart, as permissions do.
    pub(super) flags: u64,
    /// The file that is mapped, at an offset that is its address.
    pub(super) file: Option<u8>,
    /// The change count with which it was changed last.
    pub(super) stamp: u64,
}

impl Vma {
    /// As a record has them.
    pub(super) fn all_flags(&self) -> u64 {
        self.flags | self.file.map_or(0, |_| MAPS_LOCKLESS_VMA_FILE)
    }
}

/// Something that changes the mappings, or only the count. In pages.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Map {
        pages: Range<u64>,
        flags: u64,
        file: Option<u8>,
    },
    Unmap(Range<u64>),
    /// Unmaps the so-manieth VMA of all exactly, which changes no other one.
    UnmapOne(usize),
    Protect {
        pages: Range<u64>,
        flags: u64,
    },
    /// Locks each VMA and changes none.
    Fork,
    Nothing,
    /// So many changes that stamps cannot tell.
    Age,
}

/// How the kernel fills its batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Records of a batch at most.
    pub(super) batch: usize,
    /// VMAs of an unchanged range at most.
    pub(super) run: usize,
    /// VMAs that are listed one by one, changed or not, after one that has changed.
    pub(super) leaf: usize,
    /// After how many records something else happens, where something is due.
    pub(super) pause: usize,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) vmas: BTreeMap<u64, Vma>,
    pub(super) count: u64,
    pub(super) mm_id: u64,
    pub(super) manner: Manner,
    pub(super) request: Request,
    /// What happens while something is listed.
    pub(super) due: VecDeque<Op>,
    /// Whether the kernel could not prove a page when something has happened.
    pub(super) unknown: bool,
    /// Whether it knows of no requests for what has changed.
    pub(super) old: bool,
    pub(super) gone: bool,
    /// Each VMA that there was since this was cleared.
    pub(super) seen: Vec<(u64, Vma)>,
    /// VMA records that were made.
    pub(super) told: usize,
    ask: Ask,
    requests: u64,
}

impl Process {
    pub(super) fn new(request: Request, manner: Manner) -> Self {
        Self {
            vmas: BTreeMap::new(),
            count: 2,
            mm_id: 1,
            manner,
            request,
            due: VecDeque::new(),
            unknown: false,
            old: false,
            gone: false,
            seen: Vec::new(),
            told: 0,
            ask: Ask::default(),
            requests: 1,
        }
    }

    pub(super) fn run(&mut self, op: &Op) {
        // Odd: being changed.
        self.count += 1;
        match op {
            Op::Map { pages, flags, file } => {
                self.unmap(pages);
                let vma = Vma {
                    end: pages.end * PAGE,
                    flags: *flags,
                    file: *file,
                    stamp: self.count,
                };
                self.vmas.insert(pages.start * PAGE, vma);
                self.merge(pages);
            }
            Op::Unmap(pages) => self.unmap(pages),
            Op::UnmapOne(at) => {
                let at = self.vmas.keys().nth(at % self.vmas.len().max(1));
                if let Some(start) = at.copied() {
                    self.vmas.remove(&start);
                }
            }
            Op::Protect { pages, flags } => {
                self.split(pages.start * PAGE);
                self.split(pages.end * PAGE);
                let stamp = self.count;
                for vma in self.within(pages) {
                    (vma.flags, vma.stamp) = (*flags, stamp);
                }
                self.merge(pages);
            }
            Op::Fork => {
                let stamp = self.count;
                self.vmas.values_mut().for_each(|vma| vma.stamp = stamp);
            }
            Op::Nothing => {}
            Op::Age => self.count += 1 << 32,
        }
        self.count += 1;
        self.see();
    }

    /// Notes what there is.
    pub(super) fn see(&mut self) {
        self.seen
            .extend(self.vmas.iter().map(|(start, vma)| (*start, *vma)));
        self.seen.push((GATE.start, gate()));
    }

    fn within(&mut self, pages: &Range<u64>) -> impl Iterator<Item = &mut Vma> {
        let range = pages.start * PAGE..pages.end * PAGE;
        self.vmas.range_mut(range).map(|(_, vma)| vma)
    }

    /// Splits the VMA that an address lies within. Both parts have changed.
    fn split(&mut self, address: u64) {
        let stamp = self.count;
        if let Some((_, vma)) = self.vmas.range_mut(..address).next_back() {
            if vma.end > address {
                vma.stamp = stamp;
                let upper = *vma;
                vma.end = address;
                self.vmas.insert(address, upper);
            }
        }
    }

    fn unmap(&mut self, pages: &Range<u64>) {
        self.split(pages.start * PAGE);
        self.split(pages.end * PAGE);
        let range = pages.start * PAGE..pages.end * PAGE;
        self.vmas.retain(|start, _| !range.contains(start));
    }

    /// Makes one of neighbours that are alike, as long as one of them has just changed.
    fn merge(&mut self, pages: &Range<u64>) {
        let stamp = self.count;
        let mut at = pages.start * PAGE;
        if let Some((below, _)) = self.vmas.range(..at).next_back() {
            at = *below;
        }
        while at <= pages.end * PAGE {
            let Some((&start, &vma)) = self.vmas.range(at..).next() else {
                return;
            };
            let next = self.vmas.get(&vma.end).copied();
            let alike = |next: &Vma| (next.flags, next.file) == (vma.flags, vma.file);
            match next.filter(|next| alike(next) && (vma.stamp == stamp || next.stamp == stamp)) {
                Some(next) => {
                    self.vmas.remove(&vma.end);
                    let end = next.end;
                    self.vmas.insert(start, Vma { end, stamp, ..vma });
                    at = start;
                }
                None => at = vma.end,
            }
        }
    }

    /// A whole listing, while nothing happens.
    pub(super) fn whole(&mut self) -> Listing {
        let due = core::mem::take(&mut self.due);
        let told = self.told;
        let listing = self.list(&Ask::default()).unwrap();
        self.due = due;
        self.told = told;
        listing
    }

    pub(super) fn token(&self) -> Token {
        Token {
            mm_id: self.mm_id,
            count: self.count,
        }
    }
}

fn gate() -> Vma {
    Vma {
        end: GATE.end,
        flags: MAPS_LOCKLESS_VMA_EXEC,
        file: None,
        stamp: 0,
    }
}

impl Lister for Process {
    fn changed_since(&self, token: &Token) -> Result<bool, Error> {
        if self.gone {
            return Err(Error::os(self.path(), nix::errno::Errno::ESRCH));
        }
        Ok(self.token() != *token)
    }

    fn list(&mut self, ask: &Ask) -> Result<Listing, Error> {
        if self.old && ask.since.is_some() {
            return Err(Error::cannot_select(self.path()));
        }
        if self.ask != *ask {
            self.requests += 1;
            self.ask = ask.clone();
        }
        let wire = self.request.part_to_wire(ask);
        let all_known = AllKnown::default();
        let mut judge = Judge::default();
        let mut collected = Collected::default();
        let mut next = Some(wire.start / PAGE * PAGE);
        while let Some(cursor) = next {
            let (bytes, behind) = Kernel::new(self, &wire, cursor).batch();
            let batch = Batch::parse(&bytes).unwrap();
            judge.add(&BatchEvidence::new(&batch));
            collected.add(&reader::Batch::of(batch, &all_known, Path::new("model")))?;
            next = behind;
        }
        Ok(collected.into_listing(Source::Lockless, &judge))
    }

    fn path(&self) -> &Path {
        Path::new("/proc/7/maps_lockless")
    }
}

/// A read(2).
struct Kernel<'a> {
    process: &'a mut Process,
    wire: &'a maps_lockless_request,
    batch: Builder,
    cursor: u64,
    records: usize,
    since: Option<u64>,
}

impl<'a> Kernel<'a> {
    fn new(process: &'a mut Process, wire: &'a maps_lockless_request, cursor: u64) -> Self {
        let mut batch = Builder::default();
        let header = &mut batch.header;
        header.fields_supported = OF_VMA | OF_FILE;
        header.vma_flags_supported = u64::MAX;
        (header.begin, header.mm_id) = (cursor, process.mm_id);
        (header.seq_begin, header.request) = (process.count, process.requests);
        header.flags = 0;
        if cursor == wire.start / PAGE * PAGE {
            header.flags |= MAPS_LOCKLESS_BATCH_FIRST;
        }
        let moved = process.count.wrapping_sub(wire.since_seq);
        let is_since = wire.since_mm_id == process.mm_id && moved < 1 << 32;
        if is_since {
            header.flags |= MAPS_LOCKLESS_BATCH_SINCE;
        }
        Self {
            process,
            wire,
            batch,
            cursor,
            records: 0,
            since: is_since.then_some(wire.since_seq),
        }
    }

    /// Returns the bytes, and where to go on.
    fn batch(mut self) -> (Vec<u8>, Option<u64>) {
        let reason = self.fill();
        let header = &mut self.batch.header;
        header.seq_end = self.process.count;
        header.end_reason = reason;
        if reason == MAPS_LOCKLESS_END_FULL {
            header.next = self.cursor;
            return (self.batch.bytes(), Some(self.cursor));
        }
        header.flags |= MAPS_LOCKLESS_BATCH_FINAL;
        (self.batch.bytes(), None)
    }

    fn fill(&mut self) -> u32 {
        if self.process.gone {
            return MAPS_LOCKLESS_END_GONE;
        }
        let mut one_by_one = 0;
        loop {
            if self.records >= self.process.manner.batch {
                return MAPS_LOCKLESS_END_FULL;
            }
            if self.cursor >= self.limit() {
                return MAPS_LOCKLESS_END_COMPLETE;
            }
            if one_by_one == 0 && self.unchanged() {
                self.record();
                continue;
            }
            one_by_one = one_by_one.max(self.process.manner.leaf) - 1;
            let Some((start, vma)) = self.from(self.cursor) else {
                return self.end();
            };
            if start >= self.limit() {
                return MAPS_LOCKLESS_END_COMPLETE;
            }
            if self.wants(&vma) {
                self.vma(start, &vma);
                self.cursor = vma.end;
                self.record();
            } else {
                self.cursor = vma.end;
            }
        }
    }

    fn limit(&self) -> u64 {
        match self.wire.end {
            0 => u64::MAX,
            end => end,
        }
    }

    fn wants(&self, vma: &Vma) -> bool {
        let flags = vma.all_flags();
        let wire = self.wire;
        flags & wire.vma_flags_all == wire.vma_flags_all
            && flags & wire.vma_flags_none == 0
            && (wire.vma_flags_any == 0 || flags & wire.vma_flags_any != 0)
    }

    /// The VMA that holds an address, or the next one.
    fn from(&self, address: u64) -> Option<(u64, Vma)> {
        let below = self.process.vmas.range(..=address).next_back();
        let holds = below.filter(|(_, vma)| vma.end > address);
        let found = holds.or_else(|| self.process.vmas.range(address..).next())?;
        Some((*found.0, *found.1))
    }

    /// Tells a run of unchanged VMAs and gaps, if there is one at the cursor.
    fn unchanged(&mut self) -> bool {
        let Some(since) = self.since else {
            return false;
        };
        let (mut end, mut wanted) = (self.cursor, 0);
        for _ in 0..self.process.manner.run {
            let Some((start, vma)) = self.from(end) else {
                break;
            };
            if vma.stamp > since || start >= self.limit() {
                // The gap before it.
                end = end.max(start.min(self.limit()));
                break;
            }
            end = vma.end;
            wanted += u32::from(self.wants(&vma));
        }
        if wanted > 0 {
            self.batch.unchanged(self.cursor, end, wanted);
            self.cursor = end;
        }
        wanted > 0
    }

    fn vma(&mut self, start: u64, vma: &Vma) {
        let from = start.max(self.cursor);
        let mut fields = match vma.file {
            None => page(from),
            Some(file) => {
                let path = format!("/lib/{file}");
                let file = self.batch.file(whole_file(), path.as_bytes(), &[file]);
                maps_lockless_vma {
                    offset: from,
                    ..page_of(file, from)
                }
            }
        };
        fields.vma_flags = fields.vma_flags & MAPS_LOCKLESS_VMA_FILE | vma.flags;
        (fields.vma_start, fields.end) = (start, vma.end);
        if from > start {
            fields.flags = MAPS_LOCKLESS_REC_CLIPPED;
        }
        self.batch.vma(fields, b"");
        self.process.told += 1;
    }

    /// Behind the last VMA.
    fn end(&mut self) -> u32 {
        if self.limit() > GATE.start && self.wants(&gate()) {
            self.cursor = GATE.start;
            self.vma(GATE.start, &gate());
        }
        MAPS_LOCKLESS_END_COMPLETE
    }

    /// Notes that there is one more record. Something may happen then.
    fn record(&mut self) {
        self.records += 1;
        if self.records % self.process.manner.pause != 0 {
            return;
        }
        let Some(op) = self.process.due.pop_front() else {
            return;
        };
        self.process.run(&op);
        if self.process.unknown && self.cursor < self.limit() {
            self.batch.unknown(self.cursor, self.cursor + PAGE);
            self.records += 1;
            self.cursor += PAGE;
        }
    }
}

// What the model stands in for.
const _: fn(&mut Reader, &Ask) -> Result<Listing, Error> = <Reader as Lister>::list;
