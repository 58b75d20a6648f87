// SPDX-License-Identifier: MIT OR Apache-2.0

//! Makes a listing a strict map: in order, without overlap, without empty ranges.

use crate::{Judgement, Mapping, Snapshot, snapshot::union};
use core::ops::Range;
use std::{collections::BTreeMap, vec::Vec};

/// What [`Snapshot::normalize`] had to mend. `mapping` is the range of a mapping as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Mended {
    /// It was read behind a mapping that it now stands before.
    Reordered {
        /// What was read too late.
        mapping: Range<u64>,
        /// Of the mappings read before, the one that starts highest.
        after: Range<u64>,
    },
    /// It lost addresses to mappings that were read later. What is left of it may be in two places
    /// and more.
    Clipped {
        /// What lost addresses.
        mapping: Range<u64>,
        /// The addresses, in one piece. Each piece is told by itself.
        lost: Range<u64>,
    },
    /// Nothing is left of it: it was empty, or mappings that were read later hold all its addresses.
    Dropped {
        /// What was dropped. Empty ([`Range::is_empty`]) if that was the reason.
        mapping: Range<u64>,
    },
}

impl Snapshot {
    /// Makes the mappings a strict map: ordered by address, without overlap and empty ranges. Returns
    /// what had to be mended, in the order in which it was read: nothing, if all was well.
    ///
    /// [`Source::Lockless`](crate::Source::Lockless) never needs it. The text of maps and PROCMAP_QUERY
    /// can go back, repeat themselves and overlap while the process changes its mappings.
    ///
    /// **The mapping that was read later wins** an address that several hold, for it is newer. So the
    /// mappings must still be in the order that they were read in. No address is lost, and none is
    /// added.
    ///
    /// A mapping that loses its first addresses is marked [`clipped`](crate::Marks::clipped): its
    /// `offset` is that of the new `start`, and its `vma_start` stays. One that loses its last
    /// addresses only ends earlier.
    ///
    /// Where something was mended, the listing mixes moments: the addresses are added to
    /// [`torn`](Self::torn), the judgement becomes [`Judgement::PossiblyTorn`], and there is no token.
    ///
    /// ```
    /// # use maps_lockless::{Mended, Process, text};
    /// # let mut snapshot = Process::current().snapshot()?;
    /// let read = b"1000-5000 r--p 00000000 fe:01 9                          /lib/a.so\n\
    ///              1000-3000 rw-p 00000000 00:00 0 \n";
    /// snapshot.mappings = text::lines(read).map(|line| line.unwrap().to_owned()).collect();
    /// let mended = snapshot.normalize();
    /// assert_eq!(mended[0], Mended::Clipped { mapping: 0x1000..0x5000, lost: 0x1000..0x3000 });
    /// let file = &snapshot.mappings[1];
    /// assert_eq!((file.start, file.end, file.offset), (0x3000, 0x5000, Some(0x2000)));
    /// assert!(file.marks.clipped && file.vma_start == 0x1000);
    /// # Ok::<(), maps_lockless::Error>(())
    /// ```
    pub fn normalize(&mut self) -> Vec<Mended> {
        if is_strict(&self.mappings) {
            return Vec::new();
        }
        let mut mended = Vec::new();
        let mut pieces = Vec::new();
        let mut newer = Claimed::default();
        for (index, mapping) in self.mappings.iter().enumerate().rev() {
            let mapping = mapping.start..mapping.end;
            let lost = newer.claim(&mapping);
            let left = without(&mapping, &lost);
            if left.is_empty() {
                mended.push((index, Mended::Dropped { mapping }));
            } else {
                let clipped = lost.into_iter().map(|lost| {
                    let mapping = mapping.clone();
                    (index, Mended::Clipped { mapping, lost })
                });
                mended.extend(clipped);
            }
            pieces.extend(left.into_iter().map(|piece| (index, piece)));
        }
        mended.extend(self.reordered(&mut pieces));
        mended.sort_by_key(|&(index, _)| index);

        pieces.sort_unstable_by_key(|(_, piece)| piece.start);
        self.mappings = pieces
            .into_iter()
            .map(|(index, piece)| cut(&self.mappings[index], piece))
            .collect();
        let mended: Vec<_> = mended.into_iter().map(|(_, mended)| mended).collect();
        let addresses = mended.iter().map(Mended::addresses).cloned();
        let torn = addresses.filter(|range| !range.is_empty());
        self.torn = union(self.torn.drain(..).chain(torn).collect());
        self.judgement = Judgement::PossiblyTorn;
        self.token = None;
        mended
    }

    /// The mappings whose first piece is below that of one that was read before.
    fn reordered(&self, pieces: &mut [(usize, Range<u64>)]) -> Vec<(usize, Mended)> {
        pieces.sort_unstable_by_key(|(index, piece)| (*index, piece.start));
        let range = |index: usize| self.mappings[index].start..self.mappings[index].end;
        let mut reordered = Vec::new();
        let mut highest: Option<(u64, usize)> = None;
        for of_one in pieces.chunk_by(|a, b| a.0 == b.0) {
            let (index, first) = &of_one[0];
            match highest {
                Some((start, after)) if first.start < start => reordered.push((
                    *index,
                    Mended::Reordered {
                        mapping: range(*index),
                        after: range(after),
                    },
                )),
                _ => highest = Some((first.start, *index)),
            }
        }
        reordered
    }
}

impl Mended {
    /// The addresses of which the listing mixed moments.
    fn addresses(&self) -> &Range<u64> {
        match self {
            Self::Reordered { mapping, .. } | Self::Dropped { mapping } => mapping,
            Self::Clipped { lost, .. } => lost,
        }
    }
}

/// Whether mappings are in order, without overlap and empty ranges.
pub(crate) fn is_strict(mappings: &[Mapping]) -> bool {
    mappings.iter().all(|mapping| mapping.start < mapping.end)
        && mappings.is_sorted_by(|before, after| before.end <= after.start)
}

/// A part of a mapping, with what is true of the part.
fn cut(mapping: &Mapping, piece: Range<u64>) -> Mapping {
    let mut part = mapping.clone();
    if piece.start > mapping.start {
        let skipped = piece.start - mapping.start;
        part.offset = mapping
            .offset
            .and_then(|offset| offset.checked_add(skipped));
        part.marks.clipped = true;
    }
    part.start = piece.start;
    part.end = piece.end;
    part
}

/// What is left of a range without others, which are in order and apart.
fn without(range: &Range<u64>, lost: &[Range<u64>]) -> Vec<Range<u64>> {
    let starts = [range.start].into_iter().chain(lost.iter().map(|r| r.end));
    let ends = lost.iter().map(|r| r.start).chain([range.end]);
    let between = starts.zip(ends).map(|(start, end)| start..end);
    between.filter(|range| !range.is_empty()).collect()
}

/// Addresses that have been claimed: ranges, by their start, that neither overlap nor meet.
#[derive(Default)]
struct Claimed(BTreeMap<u64, u64>);

impl Claimed {
    /// Claims a range. Returns what of it had been claimed already, in order and apart.
    fn claim(&mut self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut claimed = Vec::new();
        if range.is_empty() {
            return claimed;
        }
        let mut whole = range.clone();
        // Ranges that became one are met once only, so that all claims together are O(n log n).
        while let Some((&start, &end)) = self.0.range(..=range.end).next_back() {
            if end < range.start {
                break;
            }
            self.0.remove(&start);
            whole = whole.start.min(start)..whole.end.max(end);
            let both = range.start.max(start)..range.end.min(end);
            if !both.is_empty() {
                claimed.push(both);
            }
        }
        self.0.insert(whole.start, whole.end);
        claimed.reverse();
        claimed
    }
}
