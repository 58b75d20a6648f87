// SPDX-License-Identifier: MIT OR Apache-2.0

//! All mappings of a process, and what may be believed of them.

use crate::{
    BatchEvidence, Completeness, Error, Judgement, Mapping, Reader, Source, Token, listing::Listing,
};
use core::ops::Range;
use std::vec::Vec;

/// The mappings of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// In the order of their addresses.
    ///
    /// Of [`Source::Lockless`] they never overlap. Of the other sources, mappings that moved meanwhile
    /// may: see [`Snapshot::normalize`].
    pub mappings: Vec<Mapping>,
    /// Where they were read from.
    pub source: Source,
    /// Whether these are all.
    pub completeness: Completeness,
    /// Whether they are of one moment.
    pub judgement: Judgement,
    /// Addresses that were listed while the process was changing its mappings, mappings that are
    /// marked, and what is [`unknown`](Self::unknown). Elsewhere each part is of one moment, though not
    /// all of the same.
    pub torn: Vec<Range<u64>>,
    /// Addresses that may hold mappings which are not listed: the kernel could not prove that nothing
    /// is mapped there. In the order of their addresses, and apart. Only [`Source::Lockless`] tells such
    /// ranges.
    #[cfg_attr(feature = "serde", serde(default))]
    pub unknown: Vec<Range<u64>>,
    /// What each batch said of itself, in the order in which they were read: what the snapshot is
    /// judged by. Only [`Source::Lockless`] gives evidence.
    #[cfg_attr(feature = "serde", serde(default))]
    pub evidence: Vec<BatchEvidence>,
    /// The state that a consistent snapshot shows.
    pub token: Option<Token>,
}

impl Snapshot {
    pub(crate) fn read(reader: &mut Reader) -> Result<Self, Error> {
        Ok(Listing::read(reader)?.snapshot)
    }

    /// Whether it is proved that this is what the process had mapped at one moment.
    pub fn is_consistent(&self) -> bool {
        self.judgement == Judgement::Consistent
    }

    /// The mapping that holds an address, in O(log n). An address without one may be in a range that is
    /// [`unknown`](Self::unknown).
    ///
    /// ```
    /// let snapshot = maps_lockless::Process::current().snapshot()?;
    /// let value = 1;
    /// let stack = snapshot.find(&raw const value as u64).expect("this is mapped");
    /// assert!(stack.permissions().is_some_and(|permissions| permissions.write));
    /// # Ok::<(), maps_lockless::Error>(())
    /// ```
    pub fn find(&self, address: u64) -> Option<&Mapping> {
        let above = self
            .mappings
            .partition_point(|mapping| mapping.start <= address);
        let mapping = self.mappings.get(above.checked_sub(1)?)?;
        (address < mapping.end).then_some(mapping)
    }

    /// Whether something at an address may be of another moment than the rest.
    pub fn is_torn_at(&self, address: u64) -> bool {
        self.torn.iter().any(|range| range.contains(&address))
    }
}

/// The same addresses in ranges that are in order and apart.
pub(crate) fn union(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut apart: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match apart.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::union;

    #[test]
    fn ranges_that_meet_become_one() {
        let ranges = [5..7, 1..2, 2..3, 6..6, 10..11].to_vec();
        assert_eq!(union(ranges), [1..3, 5..7, 10..11]);
    }
}
