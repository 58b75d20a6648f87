// SPDX-License-Identifier: MIT OR Apache-2.0

//! Makes a listing out of what has changed and an earlier listing. The rule is that of docs/abi.md, "Only
//! what changed". Nothing is read here.

use crate::{Mapping, MappingRef, Snapshot, decode::Unchanged, listing::Listing, snapshot::union};
use core::{mem, ops::Range};
use std::vec::Vec;

/// What becomes of each unchanged range of a listing, in the order of their addresses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// The mappings of the earlier listing with these indices are those of the range, which begins there.
    Kept { start: u64, held: Range<usize> },
    /// Some of the mappings that the earlier listing has in this range are gone.
    Again(Range<u64>),
}

impl Plan {
    /// Compares the unchanged ranges of a listing with the mappings of an earlier one. [`None`] where the
    /// kernel knows more of them than the earlier listing has, so that this cannot be what it had then.
    ///
    /// Both are in the order of their addresses. O(m log n).
    pub(crate) fn new(earlier: &[Mapping], unchanged: &[Unchanged]) -> Option<Self> {
        let mut parts = Vec::with_capacity(unchanged.len());
        for Unchanged { range, vma_count } in unchanged {
            let held = overlapping(earlier, range);
            let count = *vma_count as usize;
            if held.len() < count {
                return None;
            }
            if held.len() == count {
                let start = range.start;
                parts.push(Part::Kept { start, held });
                continue;
            }
            match parts.last_mut() {
                // One request instead of two.
                Some(Part::Again(last)) if last.end == range.start => last.end = range.end,
                _ => parts.push(Part::Again(range.clone())),
            }
        }
        Some(Self { parts })
    }

    /// The ranges that have to be read again.
    pub(crate) fn again(&self) -> impl Iterator<Item = &Range<u64>> {
        self.parts.iter().filter_map(|part| match part {
            Part::Kept { .. } => None,
            Part::Again(range) => Some(range),
        })
    }

    /// Whether nothing of the earlier listing is kept.
    fn keeps_nothing(&self) -> bool {
        let mut parts = self.parts.iter();
        !parts.any(|part| matches!(part, Part::Kept { .. }))
    }

    /// The new listing. `again` has what was read of [`Plan::again`], in this order, and `take` gives a
    /// mapping of the earlier listing, which is asked for once at most.
    ///
    /// It has the evidence of the listing of changes: by that it is judged, if each range that was read again
    /// is proved with the same token, or if the listing of changes itself is not proved.
    pub(crate) fn merge(
        self,
        changes: Snapshot,
        again: Vec<Snapshot>,
        mut take: impl FnMut(usize) -> Mapping,
    ) -> Snapshot {
        let (mut torn, mut unknown) = (changes.torn, changes.unknown);
        let mut merged = Vec::new();
        let mut changed = changes.mappings.into_iter().peekable();
        let mut again = again.into_iter();
        // The first mapping of the earlier listing that was not asked for yet.
        let mut next = 0;
        for part in self.parts {
            let start = match &part {
                Part::Kept { start, .. } | Part::Again(Range { start, .. }) => *start,
            };
            while let Some(mapping) = changed.next_if(|mapping| mapping.start < start) {
                merged.push(mapping);
            }
            match part {
                Part::Kept { held, .. } => {
                    merged.extend((held.start.max(next)..held.end).map(&mut take));
                    next = next.max(held.end);
                }
                Part::Again(_) => {
                    if let Some(read) = again.next() {
                        merged.extend(read.mappings);
                        torn.extend(read.torn);
                        unknown.extend(read.unknown);
                    }
                }
            }
        }
        merged.extend(changed);
        Snapshot {
            mappings: merged,
            torn: union(torn),
            unknown: union(unknown),
            ..changes
        }
    }
}

/// Takes mappings out of a listing that is given up, one by one.
pub(crate) fn out_of(earlier: &mut [Mapping]) -> impl FnMut(usize) -> Mapping {
    // Neither end nor beginning allocates.
    |at| mem::replace(&mut earlier[at], MappingRef::NOTHING.to_owned())
}

/// The indices of the mappings, which are in the order of their addresses, with an address in the range.
fn overlapping(mappings: &[Mapping], range: &Range<u64>) -> Range<usize> {
    let first = mappings.partition_point(|mapping| mapping.end <= range.start);
    let behind = mappings.partition_point(|mapping| mapping.start < range.end);
    first..behind.max(first)
}

/// What was read to bring an earlier listing up to date.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) listing: Listing,
    pub(crate) plan: Plan,
    pub(crate) again: Vec<Snapshot>,
}

impl Changes {
    /// Whether nothing of the earlier listing is kept, so that all was read.
    pub(crate) fn is_whole(&self) -> bool {
        self.plan.keeps_nothing()
    }

    /// Whether what [`Changes::merge`] makes is proved to be of one moment.
    pub(crate) fn is_proved(&self) -> bool {
        let token = self.listing.snapshot.token;
        token.is_some() && self.again.iter().all(|read| read.token == token)
    }

    /// See [`Plan::merge`].
    pub(crate) fn merge(self, take: impl FnMut(usize) -> Mapping) -> Snapshot {
        self.plan.merge(self.listing.snapshot, self.again, take)
    }
}

#[cfg(test)]
mod tests;
