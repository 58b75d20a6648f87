// SPDX-License-Identifier: MIT OR Apache-2.0

//! What read(2) returned, batch by batch, with the ranges that have not changed.

use super::{
    Proved,
    told::{Told, u32_at, u64_at},
};
use crate::shapes::PAGE;
use anyhow::{Context, Result, bail, ensure};
use maps_lockless::{decode::Batch, wire::*};
use std::{mem::offset_of, ops::Range};

/// Bytes of a record of a range that has not changed.
const UNCHANGED: usize = size_of::<maps_lockless_unchanged>();
/// The most VMAs of such a range: about 128, and the rest of a leaf of the maple tree.
const MOST: u32 = 128 + 15;

/// A range in which nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unchanged {
    /// The range.
    pub range: Range<u64>,
    /// How many VMAs there are.
    pub count: u32,
}

/// What a record is of. Those of files are in those of mappings.
#[derive(Clone, Debug)]
pub enum Item {
    /// A mapping.
    Vma(Told),
    /// What has not changed.
    Unchanged(Unchanged),
    /// A range of which nothing is known.
    Unknown(Range<u64>),
}

/// A listing that is being read.
#[derive(Debug)]
pub struct Listed {
    request: maps_lockless_request,
    /// Where the next batch begins.
    next: u64,
    /// What was listed ends here.
    listed: u64,
    /// Whether the first batch begins where the request does.
    from_start: bool,
    /// Identity, change count and request of the first batch.
    first: Option<(u64, u64, u64)>,
    moved: bool,
    end: Option<u32>,
    /// All that was listed, in order.
    pub items: Vec<Item>,
    /// How many batches had the flag that ranges may be unchanged.
    pub since: u64,
    /// How many there were.
    pub batches: u64,
    /// Bytes that were read.
    pub bytes: u64,
}

impl Listed {
    /// One that is read from an address on, or from where the request begins, whichever is higher.
    pub fn new(request: maps_lockless_request, from: u64) -> Self {
        let page = |address| address & !(PAGE as u64 - 1);
        let (start, from) = (page(request.start), page(from));
        let next = start.max(from);
        Self {
            request,
            next,
            listed: next,
            from_start: next == start,
            first: None,
            moved: false,
            end: None,
            items: Vec::new(),
            since: 0,
            batches: 0,
            bytes: 0,
        }
    }

    /// Takes what the next read(2) returned.
    pub fn add(&mut self, bytes: &[u8]) -> Result<()> {
        let batch = Batch::parse(bytes)?;
        let header = *batch.header();
        ensure!(header.size as usize == bytes.len(), "{header:?}");
        let is_first = header.flags & MAPS_LOCKLESS_BATCH_FIRST != 0;
        let is_since = header.flags & MAPS_LOCKLESS_BATCH_SINCE != 0;
        let expected = self.first.is_none() && self.from_start;
        self.moved |= header.begin != self.next || is_first != expected;
        let (mm_id, count, request) =
            *self
                .first
                .get_or_insert((header.mm_id, header.seq_begin, header.request));
        self.moved |= (mm_id, request) != (header.mm_id, header.request)
            || mm_id == 0
            || count % 2 != 0
            || (count, count) != (header.seq_begin, header.seq_end);
        let asked = self.request.since_mm_id;
        ensure!(
            !is_since || (asked != 0 && asked == header.mm_id),
            "broken: unchanged: nobody asked for it: {header:?}"
        );
        let ranges = self.records(bytes, &header)?;
        let limit = self.request.max_records;
        ensure!(
            limit == 0 || ranges <= limit,
            "{ranges} records of {limit}: {header:?}"
        );
        self.since += u64::from(is_since);
        self.batches += 1;
        self.bytes += u64::from(header.size);
        self.next = header.next;
        if batch.is_final() {
            self.end = Some(header.end_reason);
        } else {
            let on = header.next >= self.listed && header.next != MAPS_LOCKLESS_NEXT_NONE;
            ensure!(on, "listed to {:x}: {header:x?}", self.listed);
        }
        Ok(())
    }

    /// Takes the records. Returns how many of them are of mappings and ranges.
    fn records(&mut self, bytes: &[u8], header: &maps_lockless_batch) -> Result<u32> {
        let mut at = usize::from(header.header_size);
        let mut ranges = 0;
        for _ in 0..header.count {
            let size = u32_at(bytes, at + 4) as usize;
            let record = bytes.get(at..).and_then(|record| record.get(..size));
            let record = record.filter(|record| record.len() >= 8);
            let record = record.with_context(|| format!("no record at {at}: {header:?}"))?;
            match u32_at(record, 0) as u16 {
                MAPS_LOCKLESS_TYPE_VMA => {
                    let file = u32_at(record, offset_of!(maps_lockless_vma, file)) as usize;
                    let told = Told::new(record, file_at(bytes, file)?);
                    self.range(&(told.start..told.end))?;
                    self.items.push(Item::Vma(told));
                    ranges += 1;
                }
                MAPS_LOCKLESS_TYPE_UNCHANGED => {
                    let unchanged = self.unchanged(record, header)?;
                    self.range(&unchanged.range)?;
                    self.items.push(Item::Unchanged(unchanged));
                    ranges += 1;
                }
                MAPS_LOCKLESS_TYPE_UNKNOWN => {
                    let start = u64_at(record, offset_of!(maps_lockless_unknown, start));
                    let end = u64_at(record, offset_of!(maps_lockless_unknown, end));
                    self.range(&(start..end))?;
                    self.items.push(Item::Unknown(start..end));
                    ranges += 1;
                }
                MAPS_LOCKLESS_TYPE_FILE => {}
                other => bail!("a record of type {other}: {header:?}"),
            }
            at += size;
        }
        Ok(ranges)
    }

    fn unchanged(&self, record: &[u8], header: &maps_lockless_batch) -> Result<Unchanged> {
        let start = u64_at(record, offset_of!(maps_lockless_unchanged, start));
        let end = u64_at(record, offset_of!(maps_lockless_unchanged, end));
        let count = u32_at(record, offset_of!(maps_lockless_unchanged, vma_count));
        let reserved = u32_at(record, offset_of!(maps_lockless_unchanged, reserved));
        let unchanged = Unchanged {
            range: start..end,
            count,
        };
        let fixed = u32_at(record, 0) >> 16;
        ensure!(
            fixed as usize == UNCHANGED && record.len() == UNCHANGED && reserved == 0,
            "broken: unchanged: {record:x?}"
        );
        ensure!(
            (1..=MOST).contains(&count),
            "broken: unchanged: {unchanged:x?}"
        );
        ensure!(
            header.flags & MAPS_LOCKLESS_BATCH_SINCE != 0,
            "broken: unchanged: {unchanged:x?}, but {header:?}"
        );
        Ok(unchanged)
    }

    /// A range that is behind all others, and of whole pages.
    fn range(&mut self, range: &Range<u64>) -> Result<()> {
        let pages = (range.start | range.end) % PAGE as u64 == 0;
        ensure!(
            pages && range.start >= self.listed && range.start < range.end,
            "broken: order: {range:x?} behind {:x}",
            self.listed
        );
        self.listed = range.end;
        Ok(())
    }

    /// Whether the final batch was read.
    pub fn is_over(&self) -> bool {
        self.end.is_some()
    }

    /// The address space and its change count, if the listing is proved consistent. One that begins at an address
    /// of the caller's is, if it begins there.
    pub fn proved(&self) -> Option<(u64, u64)> {
        let complete = self.end == Some(MAPS_LOCKLESS_END_COMPLETE);
        let unknown = |item: &Item| matches!(item, Item::Unknown(_));
        if self.moved || !complete || self.items.iter().any(unknown) {
            return None;
        }
        self.first.map(|(mm_id, count, _)| (mm_id, count))
    }

    /// The ranges that have not changed.
    pub fn unchanged_ranges(&self) -> impl Iterator<Item = &Unchanged> {
        self.items.iter().filter_map(|item| match item {
            Item::Unchanged(unchanged) => Some(unchanged),
            _ => None,
        })
    }

    /// The listing, of which nothing may be told as unchanged. [`None`] where it is not proved.
    pub fn whole(self) -> Result<Option<Proved>> {
        let Some((mm_id, seq)) = self.proved() else {
            return Ok(None);
        };
        let mappings = self.items.into_iter().map(|item| match item {
            Item::Vma(told) => Ok(told),
            other => bail!("broken: unchanged: nobody asked for it: {other:x?}"),
        });
        Ok(Some(Proved {
            mm_id,
            seq,
            mappings: mappings.collect::<Result<_>>()?,
        }))
    }
}

/// The record of a file, or nothing where a mapping refers to none.
fn file_at(bytes: &[u8], at: usize) -> Result<&[u8]> {
    if at == 0 {
        return Ok(&[]);
    }
    let size = u32_at(bytes, at + 4) as usize;
    let record = bytes.get(at..).and_then(|record| record.get(..size));
    let record = record.filter(|record| u32_at(record, 0) as u16 == MAPS_LOCKLESS_TYPE_FILE);
    record.with_context(|| format!("no file's record at {at}"))
}
