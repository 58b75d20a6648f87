// SPDX-License-Identifier: MIT OR Apache-2.0

//! What changed from one snapshot to a later one.

use crate::{
    BuildId, Mapping, Name, Snapshot, VmaFlags, mapping::PERMISSIONS, wire::MAPS_LOCKLESS_VMA_FILE,
};
use core::ops::Range;
use std::vec::Vec;

/// What became of a mapping. See [`Snapshot::diff`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// None of its addresses was mapped before, nor in a range that was
    /// [`unknown`](Snapshot::unknown).
    Added(&'a Mapping),
    /// None of its addresses is mapped any more, nor in a range that is
    /// [`unknown`](Snapshot::unknown).
    Removed(&'a Mapping),
    /// Two mappings, one of before and one of after, that have addresses in common and differ.
    Changed {
        /// As it was.
        before: &'a Mapping,
        /// As it is.
        after: &'a Mapping,
        /// In what they differ.
        difference: Difference,
    },
}

/// In what two mappings differ. What one of them does not know is no difference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Difference {
    /// The addresses that both hold. What differs besides the ends differs at these.
    pub addresses: Range<u64>,
    /// `start` is another.
    pub start: bool,
    /// `end` is another.
    pub end: bool,
    /// `MAPS_LOCKLESS_VMA_*` flags that both know and only one has, but for
    /// `MAPS_LOCKLESS_VMA_FILE`, which is told as remapped.
    pub flags: u64,
    /// They are called otherwise, or the file was deleted.
    pub renamed: bool,
    /// They map another file, other offsets of it, or a file in place of memory, or the other way
    /// round.
    pub remapped: bool,
    /// They have build IDs, and not the same.
    pub build_id: bool,
    /// Their pages are of another size.
    pub page_size: bool,
    /// They have another protection key.
    pub pkey: bool,
}

impl Difference {
    /// Whether a boundary moved.
    pub fn is_resized(&self) -> bool {
        self.start || self.end
    }

    /// Whether read, write, execute or shared is another.
    pub fn is_reprotected(&self) -> bool {
        self.flags & PERMISSIONS != 0
    }

    /// `exact` tells whether names are from the same kind of source.
    fn new(before: &Mapping, after: &Mapping, exact: bool) -> Self {
        let from = before.start.max(after.start);
        Self {
            addresses: from..before.end.min(after.end),
            start: before.start != after.start,
            end: before.end != after.end,
            flags: flags(before.flags, after.flags) & !MAPS_LOCKLESS_VMA_FILE,
            renamed: renamed(&before.name, &after.name, exact)
                || differ(before.deleted, after.deleted),
            remapped: flags(before.flags, after.flags) & MAPS_LOCKLESS_VMA_FILE != 0
                || differ(before.device, after.device)
                || differ(before.inode, after.inode)
                || differ(offset_at(before, from), offset_at(after, from)),
            build_id: differ(build_id(before), build_id(after)),
            page_size: differ(before.page_size, after.page_size),
            pkey: differ(before.pkey, after.pkey),
        }
    }

    fn is_none(&self) -> bool {
        let addresses = self.addresses.clone();
        *self
            == Self {
                addresses,
                ..Self::default()
            }
    }
}

impl Snapshot {
    /// What changed from this snapshot to a newer one of the same process, in the order of the
    /// addresses, in O(n).
    ///
    /// A mapping that was split, was merged, or has a boundary in common that moved is in as many
    /// changes as there are mappings on the other side that it shares addresses with: each says what
    /// differs at those. Where the first of two neighbours took a page of the second, that is three:
    /// the first ends later, the second starts later, and the page went from one to the other.
    ///
    /// Take the mappings of before away that the changes name, put those of after in: the one listing
    /// becomes the other, as far as both know it.
    ///
    /// What only one side knows is no difference: fields that were not asked for, flags that the other
    /// source does not tell, fields that were withheld, what is mapped in a range of which the other side
    /// does not know what it holds, and the offset of a mapping that is marked
    /// [`unstable`](crate::Marks::unstable). Of names from different sources, what maps shows is
    /// compared.
    ///
    /// Both listings should be strict maps, see [`normalize`](Self::normalize). Of others, mappings
    /// that did not change may be told as removed and added. Equal listings give nothing in any case.
    ///
    /// ```
    /// use maps_lockless::{Change, Process};
    ///
    /// let before = Process::current().snapshot()?;
    /// let memory = vec![1_u8; 64 << 20];
    /// let after = Process::current().snapshot()?;
    /// let here = memory.as_ptr() as u64;
    /// assert!(before.diff(&after).iter().any(|change| match change {
    ///     Change::Added(after) | Change::Changed { after, .. } => (after.start..after.end).contains(&here),
    ///     Change::Removed(_) => false,
    /// }));
    /// # Ok::<(), maps_lockless::Error>(())
    /// ```
    pub fn diff<'a>(&'a self, newer: &'a Snapshot) -> Vec<Change<'a>> {
        let exact = self.source == newer.source;
        let removed = |before: Option<&'a Mapping>| {
            let told = before.filter(|before| !meets(&newer.unknown, before));
            told.map(Change::Removed)
        };
        let added = |after: Option<&'a Mapping>| {
            let told = after.filter(|after| !meets(&self.unknown, after));
            told.map(Change::Added)
        };
        let mut changes = Vec::new();
        let mut old = Side::new(&self.mappings);
        let mut new = Side::new(&newer.mappings);
        loop {
            match (old.now(), new.now()) {
                (None, None) => return changes,
                (Some(_), None) => changes.extend(removed(old.pass())),
                (None, Some(_)) => changes.extend(added(new.pass())),
                (Some(before), Some(after)) => {
                    // Only what is no strict map has a range that is empty and equal.
                    let equal = (before.start, before.end) == (after.start, after.end);
                    if !equal && before.end <= after.start {
                        changes.extend(removed(old.pass()));
                        continue;
                    }
                    if !equal && after.end <= before.start {
                        changes.extend(added(new.pass()));
                        continue;
                    }
                    let difference = Difference::new(before, after, exact);
                    if !difference.is_none() {
                        changes.push(Change::Changed {
                            before,
                            after,
                            difference,
                        });
                    }
                    (old.met, new.met) = (true, true);
                    if before.end <= after.end {
                        old.pass();
                    }
                    if after.end <= before.end {
                        new.pass();
                    }
                }
            }
        }
    }
}

/// How far one of the two listings is.
struct Side<'a> {
    rest: core::slice::Iter<'a, Mapping>,
    /// Whether the first of the rest has addresses in common with the other side.
    met: bool,
}

impl<'a> Side<'a> {
    fn new(mappings: &'a [Mapping]) -> Self {
        Self {
            rest: mappings.iter(),
            met: false,
        }
    }

    fn now(&self) -> Option<&'a Mapping> {
        self.rest.as_slice().first()
    }

    /// Goes on. Returns the mapping that is done with, if it met none.
    fn pass(&mut self) -> Option<&'a Mapping> {
        let met = core::mem::take(&mut self.met);
        self.rest.next().filter(|_| !met)
    }
}

/// Whether a mapping has an address in one of these ranges, which are in order and apart.
fn meets(ranges: &[Range<u64>], mapping: &Mapping) -> bool {
    let first = ranges.partition_point(|range| range.end <= mapping.start);
    ranges
        .get(first)
        .is_some_and(|range| range.start < mapping.end)
}

/// Whether both are known and not the same.
fn differ<T: PartialEq>(before: Option<T>, after: Option<T>) -> bool {
    matches!((before, after), (Some(before), Some(after)) if before != after)
}

fn flags(before: VmaFlags, after: VmaFlags) -> u64 {
    (before.set ^ after.set) & before.known & after.known
}

fn offset_at(mapping: &Mapping, address: u64) -> Option<u64> {
    let offset = mapping.offset.filter(|_| !mapping.marks.unstable)?;
    Some(offset.wrapping_add(address.wrapping_sub(mapping.start)))
}

fn build_id(mapping: &Mapping) -> Option<&[u8]> {
    match &mapping.build_id {
        BuildId::Present(id) => Some(id),
        _ => None,
    }
}

fn renamed(before: &Name, after: &Name, exact: bool) -> bool {
    match (before, after) {
        (Name::Unknown, _) | (_, Name::Unknown) => false,
        _ if before == after => false,
        _ if exact => true,
        // How it is told is the source's own way.
        (Name::PathTooLong, _) | (_, Name::PathTooLong) => false,
        _ => before.as_ref().to_maps() != after.as_ref().to_maps(),
    }
}
