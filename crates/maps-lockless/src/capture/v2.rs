// SPDX-License-Identifier: MIT OR Apache-2.0

//! Payloads of version 2.
//!
//! A payload is a [`Head`], as many torn ranges as it says, as many unknown ranges, as many [`Batch`]es and
//! as many [`Entry`]s. The batches are the evidence by which the snapshot is judged once more when it is
//! read.

use super::{
    CapturedProcess, Values, is_range, put,
    v1::{Id, Origin, Whole},
};
use crate::{
    BatchEvidence, BuildId, Completeness, Device, Error, Judge, Judgement, Mapping, Marks, Name,
    Snapshot, Source, Token, VmaFlags,
};
use core::time::Duration;
use serde::{Deserialize, Serialize};
use std::vec::Vec;

/// What a payload begins with.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    pid: u32,
    tid: Option<u32>,
    label: &'a str,
    seconds: u64,
    nanoseconds: u32,
    source: Origin,
    completeness: Whole,
    judgement: Moment,
    torn: u64,
    unknown: u64,
    evidence: u64,
    mappings: u64,
}

/// [`Judgement`] of version 2. The order of the variants is the format's, here and below.
#[derive(Serialize, Deserialize)]
enum Moment {
    Consistent,
    PossiblyTorn,
    Gap,
    Unknown,
}

/// [`BatchEvidence`] of version 2.
#[derive(Serialize, Deserialize)]
struct Batch {
    first: bool,
    last: bool,
    end_reason: u32,
    begin: u64,
    next: u64,
    request: u64,
    mm_id: u64,
    seq_begin: u64,
    seq_end: u64,
    unknown: bool,
}

/// [`Mapping`] of version 2.
#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    start: u64,
    end: u64,
    vma_start: u64,
    flags_set: u64,
    flags_known: u64,
    offset: Option<u64>,
    page_size: Option<u64>,
    pkey: Option<u8>,
    /// Major and minor number.
    device: Option<(u32, u32)>,
    inode: Option<u64>,
    deleted: Option<bool>,
    #[serde(borrow)]
    name: Called<'a>,
    #[serde(borrow)]
    build_id: Id<'a>,
    unstable: bool,
    withheld: bool,
    clipped: bool,
}

/// [`Name`] of version 2.
#[derive(Serialize, Deserialize)]
enum Called<'a> {
    Unknown,
    None,
    /// With [`Name::Path::marked`].
    Path(&'a [u8], bool),
    PathTooLong,
    Anon(&'a [u8]),
    AnonShmem(&'a [u8]),
    Heap,
    Stack,
    Special(&'a [u8]),
}

/// Appends a payload.
pub(super) fn encode(process: &CapturedProcess, payload: &mut Vec<u8>) -> Result<(), Error> {
    let snapshot = &process.snapshot;
    let head = Head {
        pid: process.pid,
        tid: process.tid,
        label: &process.label,
        seconds: process.time.as_secs(),
        nanoseconds: process.time.subsec_nanos(),
        source: match snapshot.source {
            Source::Lockless => Origin::Lockless,
            Source::Query => Origin::Query,
            Source::Maps => Origin::Maps,
        },
        completeness: match snapshot.completeness {
            Completeness::Complete => Whole::Complete,
            Completeness::Gone => Whole::Gone,
            Completeness::NoAddressSpace => Whole::NoAddressSpace,
            Completeness::Unknown => Whole::Unknown,
        },
        judgement: match snapshot.judgement {
            Judgement::Consistent => Moment::Consistent,
            Judgement::PossiblyTorn => Moment::PossiblyTorn,
            Judgement::Gap => Moment::Gap,
            Judgement::Unknown => Moment::Unknown,
        },
        torn: snapshot.torn.len() as u64,
        unknown: snapshot.unknown.len() as u64,
        evidence: snapshot.evidence.len() as u64,
        mappings: snapshot.mappings.len() as u64,
    };
    put(&head, Head::is_valid, payload)?;
    for range in snapshot.torn.iter().chain(&snapshot.unknown) {
        put(&(range.start, range.end), is_range, payload)?;
    }
    for batch in &snapshot.evidence {
        put(&Batch::from(batch), |_| true, payload)?;
    }
    for mapping in &snapshot.mappings {
        put(&Entry::from(mapping), Entry::is_valid, payload)?;
    }
    Ok(())
}

/// Fails with where in the payload something is wrong.
pub(super) fn decode(payload: &[u8]) -> Result<CapturedProcess, usize> {
    let mut values = Values::of(payload);
    let head: Head<'_> = values.take(Head::is_valid)?;
    let torn = values.take_all(head.torn, is_range, |(start, end)| start..end)?;
    let unknown = values.take_all(head.unknown, is_range, |(start, end)| start..end)?;
    let evidence = values.take_all(head.evidence, |_: &Batch| true, BatchEvidence::from)?;
    let mappings = values.take_all(head.mappings, Entry::is_valid, Entry::into_mapping)?;
    values.end()?;
    let mut snapshot = Snapshot {
        mappings,
        source: head.source.into(),
        completeness: head.completeness.into(),
        judgement: match head.judgement {
            Moment::Consistent => Judgement::Consistent,
            Moment::PossiblyTorn => Judgement::PossiblyTorn,
            Moment::Gap => Judgement::Gap,
            Moment::Unknown => Judgement::Unknown,
        },
        torn,
        unknown,
        evidence,
        token: None,
    };
    if snapshot.is_consistent() {
        (snapshot.judgement, snapshot.token) = prove(&snapshot);
    }
    Ok(CapturedProcess {
        pid: head.pid,
        tid: head.tid,
        label: head.label.into(),
        time: Duration::new(head.seconds, head.nanoseconds),
        snapshot,
    })
}

/// What the evidence says of a snapshot that was called consistent.
fn prove(snapshot: &Snapshot) -> (Judgement, Option<Token>) {
    let mut judge = Judge::default();
    snapshot.evidence.iter().for_each(|batch| judge.add(batch));
    let whole = snapshot.unknown.is_empty() && snapshot.completeness == judge.completeness();
    match judge.judgement() {
        Judgement::Consistent if !whole => (Judgement::PossiblyTorn, None),
        judgement => (judgement, judge.token()),
    }
}

impl Head<'_> {
    fn is_valid(&self) -> bool {
        self.nanoseconds < 1_000_000_000
    }
}

impl From<&BatchEvidence> for Batch {
    fn from(batch: &BatchEvidence) -> Self {
        Self {
            first: batch.first,
            last: batch.last,
            end_reason: batch.end_reason,
            begin: batch.begin,
            next: batch.next,
            request: batch.request,
            mm_id: batch.mm_id,
            seq_begin: batch.seq_begin,
            seq_end: batch.seq_end,
            unknown: batch.unknown,
        }
    }
}

impl From<Batch> for BatchEvidence {
    fn from(batch: Batch) -> Self {
        Self {
            first: batch.first,
            last: batch.last,
            end_reason: batch.end_reason,
            begin: batch.begin,
            next: batch.next,
            request: batch.request,
            mm_id: batch.mm_id,
            seq_begin: batch.seq_begin,
            seq_end: batch.seq_end,
            unknown: batch.unknown,
        }
    }
}

impl<'a> From<&'a Mapping> for Entry<'a> {
    fn from(mapping: &'a Mapping) -> Self {
        Self {
            start: mapping.start,
            end: mapping.end,
            vma_start: mapping.vma_start,
            flags_set: mapping.flags.set,
            flags_known: mapping.flags.known,
            offset: mapping.offset,
            page_size: mapping.page_size,
            pkey: mapping.pkey,
            device: mapping.device.map(|device| (device.major, device.minor)),
            inode: mapping.inode,
            deleted: mapping.deleted,
            name: match &mapping.name {
                Name::Unknown => Called::Unknown,
                Name::None => Called::None,
                Name::Path { path, marked } => Called::Path(path, *marked),
                Name::PathTooLong => Called::PathTooLong,
                Name::Anon(name) => Called::Anon(name),
                Name::AnonShmem(name) => Called::AnonShmem(name),
                Name::Heap => Called::Heap,
                Name::Stack => Called::Stack,
                Name::Special(name) => Called::Special(name),
            },
            build_id: match &mapping.build_id {
                BuildId::Unknown => Id::Unknown,
                BuildId::Absent => Id::Absent,
                BuildId::NotResident => Id::NotResident,
                BuildId::Present(id) => Id::Present(id),
            },
            unstable: mapping.marks.unstable,
            withheld: mapping.marks.withheld,
            clipped: mapping.marks.clipped,
        }
    }
}

impl Entry<'_> {
    fn is_valid(&self) -> bool {
        self.vma_start <= self.start && self.start <= self.end
    }

    fn into_mapping(self) -> Mapping {
        Mapping {
            start: self.start,
            end: self.end,
            vma_start: self.vma_start,
            flags: VmaFlags {
                set: self.flags_set,
                known: self.flags_known,
            },
            offset: self.offset,
            page_size: self.page_size,
            pkey: self.pkey,
            device: self.device.map(|(major, minor)| Device { major, minor }),
            inode: self.inode,
            deleted: self.deleted,
            name: match self.name {
                Called::Unknown => Name::Unknown,
                Called::None => Name::None,
                Called::Path(path, marked) => Name::Path {
                    path: path.to_vec(),
                    marked,
                },
                Called::PathTooLong => Name::PathTooLong,
                Called::Anon(name) => Name::Anon(name.to_vec()),
                Called::AnonShmem(name) => Name::AnonShmem(name.to_vec()),
                Called::Heap => Name::Heap,
                Called::Stack => Name::Stack,
                Called::Special(name) => Name::Special(name.to_vec()),
            },
            build_id: self.build_id.into(),
            marks: Marks {
                unstable: self.unstable,
                withheld: self.withheld,
                clipped: self.clipped,
            },
        }
    }
}
