// SPDX-License-Identifier: MIT OR Apache-2.0

//! What may be believed of a listing. All of it is docs/tearing.md.

use crate::{
    decode,
    wire::{MAPS_LOCKLESS_END_COMPLETE, MAPS_LOCKLESS_END_GONE, MAPS_LOCKLESS_END_NO_MM},
};
use core::{fmt, ops::Range};
use std::vec::Vec;

/// Whether a listing is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Completeness {
    /// The source said that nothing is mapped beyond.
    Complete,
    /// The address space went away meanwhile: the process exited, or called execve. What was listed
    /// until then may be cut short anywhere.
    Gone,
    /// There is no address space: a kernel thread, or a process that has exited and was not waited
    /// for.
    NoAddressSpace,
    /// The source cannot tell. `/proc/<pid>/maps` ends in the same way whether the process exited
    /// meanwhile or not.
    Unknown,
}

/// What is known of the moments that a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Judgement {
    /// It is what the process had mapped at one moment: nothing changed from the first read(2) to
    /// the last, and nothing is missing.
    Consistent,
    /// The process changed its mappings meanwhile, or was gone before the end.
    PossiblyTorn,
    /// The source gives no evidence, or there is nothing to be judged.
    Unknown,
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Consistent => "consistent",
            Self::PossiblyTorn => "possibly torn",
            Self::Unknown => "tearing unknown",
        })
    }
}

/// A state of an address space: the change count and whose it is. Two tokens that are equal say that
/// no mapping changed from one to the other.
///
/// What is not covered is listed in docs/tearing.md: the paths of files, above all. A token is good
/// until the machine is rebooted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Token {
    /// Identity of the address space.
    pub mm_id: u64,
    /// Its change count, which is even.
    pub count: u64,
}

/// What the batches of a listing say of the moments that they were made at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// Identity and change count of the first batch.
    first: Option<(u64, u64)>,
    moved: bool,
    torn: Vec<Range<u64>>,
}

impl Evidence {
    /// Takes a batch that lists what is mapped from `from` on.
    pub(crate) fn add(&mut self, batch: &decode::Batch<'_>, from: u64) {
        let header = batch.header();
        let first = *self.first.get_or_insert((header.mm_id, header.seq_begin));
        // An odd count is that of a change in progress.
        let within = header.seq_begin % 2 != 0 || header.seq_begin != header.seq_end;
        if within {
            self.torn_at(from..header.next);
        }
        self.moved |= within || first != (header.mm_id, header.seq_begin);
    }

    /// Notes that what is listed of these addresses may be of different moments.
    pub(crate) fn torn_at(&mut self, range: Range<u64>) {
        match self.torn.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => self.torn.push(range),
        }
    }

    pub(crate) fn judge(&self, completeness: Completeness) -> Judgement {
        match completeness {
            Completeness::Complete if !self.moved => Judgement::Consistent,
            Completeness::NoAddressSpace | Completeness::Unknown => Judgement::Unknown,
            _ => Judgement::PossiblyTorn,
        }
    }

    pub(crate) fn token(&self) -> Option<Token> {
        let (mm_id, count) = self.first?;
        (!self.moved && mm_id != 0).then_some(Token { mm_id, count })
    }

    /// Identity of the address space, whether or not it changed meanwhile.
    pub(crate) fn mm_id(&self) -> Option<u64> {
        let (mm_id, _) = self.first?;
        (mm_id != 0).then_some(mm_id)
    }

    pub(crate) fn into_torn(self) -> Vec<Range<u64>> {
        self.torn
    }
}

/// How a final batch ends a listing.
pub(crate) fn completeness(batch: &decode::Batch<'_>) -> Completeness {
    match batch.header().end_reason {
        MAPS_LOCKLESS_END_COMPLETE => Completeness::Complete,
        MAPS_LOCKLESS_END_GONE => Completeness::Gone,
        MAPS_LOCKLESS_END_NO_MM => Completeness::NoAddressSpace,
        _ => Completeness::Unknown,
    }
}
