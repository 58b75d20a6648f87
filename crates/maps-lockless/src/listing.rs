// SPDX-License-Identifier: MIT OR Apache-2.0

//! A listing as it is read: whole, of a range, or of what has changed.

use crate::{
    BatchEvidence, Completeness, Error, Judge, Mapping, Reader, Snapshot, Source, Token,
    decode::Unchanged, reader::Batch, snapshot::union,
};
use core::ops::Range;
use std::{
    path::Path,
    time::{Duration, Instant},
    vec::Vec,
};

/// What of a reader's request a listing is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Only what has changed since.
    pub(crate) since: Option<Token>,
    /// Only these addresses.
    pub(crate) range: Option<Range<u64>>,
}

/// A listing, which is whole only together with what the ranges hold in which nothing has changed.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) snapshot: Snapshot,
    /// In the order of their addresses. None, but in a listing of what has changed.
    pub(crate) unchanged: Vec<Unchanged>,
}

impl Listing {
    /// Reads on to the end.
    pub(crate) fn read(reader: &mut Reader) -> Result<Self, Error> {
        let mut collected = Collected::default();
        while let Some(batch) = reader.next_batch()? {
            collected.add(&batch)?;
        }
        Ok(collected.into_listing(reader.source(), &reader.judge()))
    }
}

/// Who makes listings of one address space.
pub(crate) trait Lister {
    /// Whether a mapping may have changed since a token was taken.
    fn changed_since(&self, token: &Token) -> Result<bool, Error>;

    /// Makes a listing, from the lowest address on.
    fn list(&mut self, ask: &Ask) -> Result<Listing, Error>;

    /// What is read, for errors.
    fn path(&self) -> &Path;
}

/// How often, and for how long, a listing is tried again that is not proved.
pub(crate) struct Tries {
    left: u32,
    begin: Instant,
    time: Duration,
}

impl Tries {
    /// So many attempts, of which one is always made.
    pub(crate) fn new(attempts: u32, time: Duration) -> Self {
        Self {
            left: attempts,
            begin: Instant::now(),
            time,
        }
    }

    /// Notes that an attempt was made. Returns whether there may be another one.
    pub(crate) fn again(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0 && self.begin.elapsed() < self.time
    }
}

/// Lists everything, until it is proved consistent or there is no attempt left.
pub(crate) fn whole(lister: &mut impl Lister, tries: &mut Tries) -> Result<Snapshot, Error> {
    loop {
        let snapshot = lister.list(&Ask::default())?.snapshot;
        let may_become = snapshot.completeness == Completeness::Complete;
        if snapshot.is_consistent() || !may_become || !tries.again() {
            return Ok(snapshot);
        }
    }
}

/// What was read of a listing so far.
#[derive(Default)]
pub(crate) struct Collected {
    mappings: Vec<Mapping>,
    torn: Vec<Range<u64>>,
    unknown: Vec<Range<u64>>,
    unchanged: Vec<Unchanged>,
    evidence: Vec<BatchEvidence>,
}

impl Collected {
    /// Takes the next batch.
    pub(crate) fn add(&mut self, batch: &Batch<'_>) -> Result<(), Error> {
        for mapping in batch.mappings() {
            let mapping = mapping?;
            if mapping.marks.is_torn() {
                self.torn.push(mapping.start..mapping.end);
            }
            self.mappings.push(mapping.to_owned());
        }
        for range in batch.unknown() {
            self.unknown.push(range?);
        }
        for unchanged in batch.unchanged() {
            self.unchanged.push(unchanged?);
        }
        self.evidence.extend(batch.raw().map(BatchEvidence::new));
        Ok(())
    }

    /// All that was read, as it was judged.
    pub(crate) fn into_listing(mut self, source: Source, judge: &Judge) -> Listing {
        self.torn.extend_from_slice(judge.torn());
        self.torn.extend_from_slice(&self.unknown);
        let snapshot = Snapshot {
            mappings: self.mappings,
            source,
            completeness: judge.completeness(),
            judgement: judge.judgement(),
            torn: union(self.torn),
            unknown: union(self.unknown),
            evidence: self.evidence,
            token: judge.token(),
        };
        Listing {
            snapshot,
            unchanged: self.unchanged,
        }
    }
}
