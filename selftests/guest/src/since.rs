// SPDX-License-Identifier: MIT OR Apache-2.0

//! A listing that is kept up to date by what has changed, from the bytes of read(2) alone: docs/abi.md, "Only what
//! changed", by the letter.

mod listed;
mod told;

pub use listed::{Item, Listed, Unchanged};
pub use told::{Told, differ};

use crate::raw::Lockless;
use anyhow::{Result, bail, ensure};
use maps_lockless::wire::*;
use std::ops::Range;

/// A listing that was proved consistent.
#[derive(Clone, Debug)]
pub struct Proved {
    /// The address space.
    pub mm_id: u64,
    /// Its change count at that moment.
    pub seq: u64,
    /// All mappings.
    pub mappings: Vec<Told>,
}

/// What a round of following was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Mappings that had records.
    pub told: u64,
    /// Mappings that were taken over from the earlier listing.
    pub kept: u64,
    /// Ranges that were read again.
    pub again: u64,
    /// Bytes of the listing, those that were read again left out.
    pub bytes: u64,
}

impl Round {
    /// Counts another round's, too.
    pub fn add(&mut self, other: Self) {
        self.told += other.told;
        self.kept += other.kept;
        self.again += other.again;
        self.bytes += other.bytes;
    }
}

impl Proved {
    /// Those of its mappings that overlap a range.
    pub fn within(&self, range: &Range<u64>) -> &[Told] {
        let begin = self
            .mappings
            .partition_point(|told| told.end <= range.start);
        let end = self.mappings.partition_point(|told| told.start < range.end);
        self.mappings.get(begin..end).unwrap_or_default()
    }

    /// The same request, for what has changed since.
    pub fn since(&self, request: maps_lockless_request) -> maps_lockless_request {
        maps_lockless_request {
            since_mm_id: self.mm_id,
            since_seq: self.seq,
            ..request
        }
    }

    /// Fails where a range is told as unchanged that has more mappings than it had. This holds of each batch by
    /// itself, whether the listing is proved or not.
    pub fn has_had(&self, unchanged: &Unchanged) -> Result<()> {
        let had = self.within(&unchanged.range).len();
        ensure!(
            unchanged.count as usize <= had,
            "broken: unchanged: {unchanged:x?} since {}, where {had} mappings were",
            self.seq
        );
        Ok(())
    }

    /// Makes the new listing of this one and of what a request for what has changed since has listed. `again`
    /// lists a range without such a request. [`None`] where the new one is not proved.
    pub fn follow(
        &self,
        listed: Listed,
        mut again: impl FnMut(&Range<u64>) -> Result<Option<Proved>>,
    ) -> Result<Option<(Self, Round)>> {
        for item in &listed.items {
            if let Item::Unchanged(unchanged) = item {
                self.has_had(unchanged)?;
            }
        }
        let Some((mm_id, seq)) = listed.proved() else {
            return Ok(None);
        };
        let mut mappings = Vec::new();
        let mut round = Round {
            bytes: listed.bytes,
            ..Round::default()
        };
        for item in listed.items {
            match item {
                Item::Vma(told) => {
                    mappings.push(told);
                    round.told += 1;
                }
                Item::Unchanged(Unchanged { range, count }) => {
                    let had = self.within(&range);
                    if had.len() == count as usize {
                        mappings.extend_from_slice(had);
                        round.kept += u64::from(count);
                        continue;
                    }
                    round.again += 1;
                    let Some(read) = again(&range)? else {
                        return Ok(None);
                    };
                    if (read.mm_id, read.seq) != (mm_id, seq) {
                        return Ok(None);
                    }
                    ensure!(
                        read.mappings.len() == count as usize,
                        "broken: unchanged: {count} mappings in {range:x?}, which has {:x?}",
                        read.mappings
                    );
                    mappings.extend(read.mappings);
                }
                Item::Unknown(range) => bail!("proved, but nothing is known of {range:x?}"),
            }
        }
        let new = Self {
            mm_id,
            seq,
            mappings,
        };
        Ok(Some((new, round)))
    }
}

/// How to read a listing.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// What is asked for.
    pub request: maps_lockless_request,
    /// Bytes of a read.
    pub buffer: usize,
    /// Where the first read begins, if that is above what the request begins with.
    pub from: u64,
}

impl How {
    /// From the lowest address on that the request has.
    pub const fn new(request: maps_lockless_request, buffer: usize) -> Self {
        Self {
            request,
            buffer,
            from: 0,
        }
    }

    /// Reads a listing.
    pub fn list(&self, file: &mut Lockless, request: maps_lockless_request) -> Result<Listed> {
        file.request(request)?;
        file.seek(self.from)?;
        let mut listed = Listed::new(request, self.from);
        while !listed.is_over() {
            listed.add(file.batch(self.buffer)?.bytes())?;
        }
        Ok(listed)
    }

    /// Reads a listing of everything. [`None`] where it is not proved.
    pub fn whole(&self, file: &mut Lockless) -> Result<Option<Proved>> {
        self.list(file, self.request)?.whole()
    }

    /// Reads what has changed. [`None`] where the new listing is not proved.
    pub fn follow(&self, file: &mut Lockless, earlier: &Proved) -> Result<Option<(Proved, Round)>> {
        let listed = self.list(file, earlier.since(self.request))?;
        earlier.follow(listed, |range| {
            let request = maps_lockless_request {
                start: range.start,
                end: range.end,
                ..self.request
            };
            Self::new(request, self.buffer).whole(file)
        })
    }
}
