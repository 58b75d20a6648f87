// SPDX-License-Identifier: MIT OR Apache-2.0

//! What may be believed of a listing. All of it is docs/tearing.md.

use crate::{
    decode,
    wire::{MAPS_LOCKLESS_END_COMPLETE, MAPS_LOCKLESS_END_GONE, MAPS_LOCKLESS_END_NO_MM},
};
use alloc::vec::Vec;
use core::{fmt, ops::Range};

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
    /// The source cannot tell, or the listing was not read to its end. `/proc/<pid>/maps` ends in the
    /// same way whether the process exited meanwhile or not.
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
    /// The process changed its mappings meanwhile, or was gone before the end, or the kernel could not
    /// tell what some range holds.
    PossiblyTorn,
    /// The batches are not those of one listing, one behind the other: one is missing, is there twice,
    /// stands in another's place, or was made by another request or of another address space.
    Gap,
    /// The source gives no evidence, or there is nothing to be judged.
    Unknown,
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Consistent => "consistent",
            Self::PossiblyTorn => "possibly torn",
            Self::Gap => "gap in the listing",
            Self::Unknown => "tearing unknown",
        })
    }
}

/// A state of an address space: the change count and whose it is. Two tokens that are equal say that
/// no mapping changed from one to the other. Two that differ say nothing: the count may move though
/// no mapping changed.
///
/// What is not covered is listed in docs/tearing.md: the paths of files, above all. A token is good
/// until the machine is rebooted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Token {
    /// Identity of the address space, which is not 0.
    pub mm_id: u64,
    /// Its change count, which is even.
    pub count: u64,
}

impl Token {
    /// [`None`] where there is no address space, or it is being changed.
    pub(crate) fn new(mm_id: u64, count: u64) -> Option<Self> {
        (mm_id != 0 && count % 2 == 0).then_some(Self { mm_id, count })
    }
}

/// What a batch says of the moments that it was made at, and of its place in the listing: the evidence
/// that a listing is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct BatchEvidence {
    /// Whether the listing begins with this batch.
    pub first: bool,
    /// Whether the listing ends with this batch.
    pub last: bool,
    /// `MAPS_LOCKLESS_END_*`: why the batch ended.
    pub end_reason: u32,
    /// The address at which the batch begins.
    pub begin: u64,
    /// The address at which the next batch begins.
    pub next: u64,
    /// Number of the request that the batch was made by.
    pub request: u64,
    /// Identity of the address space. 0: none.
    pub mm_id: u64,
    /// The change count before the first record was made. Odd: being changed.
    pub seq_begin: u64,
    /// The change count after the last record was made.
    pub seq_end: u64,
    /// Whether the kernel could not tell what some range of the batch holds.
    pub unknown: bool,
}

impl BatchEvidence {
    /// The evidence of a batch. What cannot be decoded of it counts as unknown.
    pub fn new(batch: &decode::Batch<'_>) -> Self {
        Self {
            unknown: batch.unknown().next().is_some(),
            ..Self::of_header(batch)
        }
    }

    /// The evidence of a batch, as if no range were unknown.
    pub(crate) fn of_header(batch: &decode::Batch<'_>) -> Self {
        let header = batch.header();
        Self {
            first: batch.is_first(),
            last: batch.is_final(),
            end_reason: header.end_reason,
            begin: header.begin,
            next: header.next,
            request: header.request,
            mm_id: header.mm_id,
            seq_begin: header.seq_begin,
            seq_end: header.seq_end,
            unknown: false,
        }
    }

    /// Whether the address space may have changed while the batch was made.
    fn moved(&self) -> bool {
        self.seq_begin % 2 != 0 || self.seq_begin != self.seq_end
    }

    /// How a listing ends with this batch.
    fn completeness(&self) -> Completeness {
        match self.end_reason {
            _ if !self.last => Completeness::Unknown,
            MAPS_LOCKLESS_END_COMPLETE => Completeness::Complete,
            MAPS_LOCKLESS_END_GONE => Completeness::Gone,
            MAPS_LOCKLESS_END_NO_MM => Completeness::NoAddressSpace,
            _ => Completeness::Unknown,
        }
    }
}

/// Judges a listing by its batches, which are added in the order in which they were read.
///
/// A listing is [`Judgement::Consistent`] where the first batch says that the listing begins with it,
/// each other one begins where the one before said that it goes on, all were made by one request of
/// one address space and have one even change count, no range is unknown, and the last one says that
/// the listing is complete.
///
/// A listing of [what has changed](crate::Reader::rewind_since) is judged as any other one. It is consistent
/// together with the ranges that it tells as unchanged.
///
/// ```
/// use maps_lockless::{BatchEvidence, Judge, Judgement, decode::batches};
///
/// fn judge(recorded: &[u8]) -> Result<Judgement, maps_lockless::decode::DecodeError> {
///     let mut judge = Judge::default();
///     for batch in batches(recorded) {
///         judge.add(&BatchEvidence::new(&batch?));
///     }
///     Ok(judge.judgement())
/// }
/// assert_eq!(judge(&[]), Ok(Judgement::Unknown));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Judge {
    first: Option<BatchEvidence>,
    /// The address that the next batch must begin at. [`None`] behind the last one.
    next: Option<u64>,
    completeness: Option<Completeness>,
    gap: bool,
    moved: bool,
    torn: Vec<Range<u64>>,
}

impl Judge {
    /// Takes the next batch.
    pub fn add(&mut self, batch: &BatchEvidence) {
        match &self.first {
            None => {
                self.gap = !batch.first;
                self.first = Some(*batch);
            }
            Some(first) => {
                self.gap |= batch.first
                    || self.next != Some(batch.begin)
                    || batch.request != first.request
                    || batch.mm_id != first.mm_id;
                self.moved |= batch.seq_begin != first.seq_begin;
            }
        }
        if batch.moved() {
            self.torn_at(batch.begin..batch.next.max(batch.begin));
        }
        self.moved |= batch.moved() || batch.unknown;
        self.next = (!batch.last).then_some(batch.next);
        self.completeness = Some(batch.completeness());
    }

    /// Notes that a range of a batch that was taken already is unknown.
    #[cfg(feature = "std")]
    pub(crate) fn add_unknown(&mut self) {
        self.moved = true;
    }

    /// Notes that what is listed of these addresses may be of different moments.
    fn torn_at(&mut self, range: Range<u64>) {
        match self.torn.last_mut() {
            Some(last) if (last.start..=last.end).contains(&range.start) => {
                last.end = last.end.max(range.end);
            }
            _ => self.torn.push(range),
        }
    }

    /// Whether the listing is whole, by its last batch. See [`Judge::judgement`] for whether one of
    /// the others is missing.
    pub fn completeness(&self) -> Completeness {
        self.completeness.unwrap_or(Completeness::Unknown)
    }

    /// What may be believed of the listing.
    pub fn judgement(&self) -> Judgement {
        match self.completeness() {
            _ if self.gap => Judgement::Gap,
            Completeness::NoAddressSpace | Completeness::Unknown => Judgement::Unknown,
            Completeness::Complete if self.mm_id().is_none() => Judgement::Unknown,
            Completeness::Complete if !self.moved => Judgement::Consistent,
            Completeness::Complete | Completeness::Gone => Judgement::PossiblyTorn,
        }
    }

    /// The state that a consistent listing shows.
    pub fn token(&self) -> Option<Token> {
        let first = self.first?;
        let consistent = self.judgement() == Judgement::Consistent;
        Token::new(first.mm_id, first.seq_begin).filter(|_| consistent)
    }

    /// Identity of the address space, whether or not it changed meanwhile.
    pub fn mm_id(&self) -> Option<u64> {
        let mm_id = self.first?.mm_id;
        (mm_id != 0).then_some(mm_id)
    }

    /// The addresses that were listed while the process was changing its mappings.
    pub fn torn(&self) -> &[Range<u64>] {
        &self.torn
    }
}
