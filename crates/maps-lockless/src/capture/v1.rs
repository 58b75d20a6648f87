// SPDX-License-Identifier: MIT OR Apache-2.0

//! Payloads of version 1, which are read and no longer written.
//!
//! A payload is a [`Head`], as many torn ranges as it says, and as many [`Entry`]s. It keeps no evidence:
//! whether its snapshot is consistent is not known.

use super::{CapturedProcess, Values, is_range};
use crate::{
    BuildId, Completeness, Device, Judgement, Mapping, Marks, Name, Snapshot, Source, VmaFlags,
    wire::MAPS_LOCKLESS_VMA_FILE,
};
use core::time::Duration;
use serde::{Deserialize, Serialize};
use std::vec::Vec;

/// The VMA flag of version 1 that says that a file is mapped.
const VMA_FILE: u64 = 1 << 63;
/// A VMA flag of version 1 that meant something else on each architecture.
const VMA_ARCH_1: u64 = 0x1000_0000;

/// What a payload begins with.
#[derive(Deserialize)]
struct Head<'a> {
    pid: u32,
    tid: Option<u32>,
    label: &'a str,
    seconds: u64,
    nanoseconds: u32,
    source: Origin,
    completeness: Whole,
    /// Nothing stands behind it.
    _judgement: Moment,
    /// `mm_id` and `count`, of a consistent snapshot.
    _token: Option<(u64, u64)>,
    torn: u64,
    mappings: u64,
}

/// [`Source`] of versions 1 and 2. The order of the variants is the format's, here and below.
#[derive(Serialize, Deserialize)]
pub(super) enum Origin {
    Lockless,
    Query,
    Maps,
}

/// [`Completeness`] of versions 1 and 2.
#[derive(Serialize, Deserialize)]
pub(super) enum Whole {
    Complete,
    Gone,
    NoAddressSpace,
    Unknown,
}

/// [`Judgement`](crate::Judgement) of version 1.
#[derive(Deserialize)]
enum Moment {
    Consistent,
    PossiblyTorn,
    Unknown,
}

/// [`Mapping`] of version 1.
#[derive(Deserialize)]
struct Entry<'a> {
    start: u64,
    end: u64,
    vma_start: u64,
    flags_set: u64,
    flags_known: u64,
    offset: Option<u64>,
    /// Major and minor number.
    device: Option<(u32, u32)>,
    inode: Option<u64>,
    #[serde(borrow)]
    name: Called<'a>,
    #[serde(borrow)]
    build_id: Id<'a>,
    unstable: bool,
    withheld: bool,
    clipped: bool,
}

/// [`Name`] of version 1.
#[derive(Deserialize)]
enum Called<'a> {
    Unknown,
    None,
    /// And whether the file was unlinked.
    Path(&'a [u8], Option<bool>),
    PathTooLong,
    Anon(&'a [u8]),
    AnonShmem(&'a [u8]),
    Heap,
    Stack,
    Special(&'a [u8]),
}

/// [`BuildId`] of versions 1 and 2.
#[derive(Serialize, Deserialize)]
pub(super) enum Id<'a> {
    Unknown,
    Absent,
    NotResident,
    Present(&'a [u8]),
}

impl From<Origin> for Source {
    fn from(source: Origin) -> Self {
        match source {
            Origin::Lockless => Self::Lockless,
            Origin::Query => Self::Query,
            Origin::Maps => Self::Maps,
        }
    }
}

impl From<Whole> for Completeness {
    fn from(completeness: Whole) -> Self {
        match completeness {
            Whole::Complete => Self::Complete,
            Whole::Gone => Self::Gone,
            Whole::NoAddressSpace => Self::NoAddressSpace,
            Whole::Unknown => Self::Unknown,
        }
    }
}

impl From<Id<'_>> for BuildId<Vec<u8>> {
    fn from(id: Id<'_>) -> Self {
        match id {
            Id::Unknown => Self::Unknown,
            Id::Absent => Self::Absent,
            Id::NotResident => Self::NotResident,
            Id::Present(id) => Self::Present(id.to_vec()),
        }
    }
}

impl Entry<'_> {
    fn is_valid(&self) -> bool {
        self.vma_start <= self.start && self.start <= self.end
    }

    fn into_mapping(self) -> Mapping {
        let (name, deleted) = match self.name {
            Called::Unknown => (Name::Unknown, None),
            Called::None => (Name::None, None),
            Called::Path(path, deleted) => {
                let name = Name::Path {
                    path: path.to_vec(),
                    // Where this was not known, maps showed the mark.
                    marked: deleted != Some(false),
                };
                (name, deleted)
            }
            Called::PathTooLong => (Name::PathTooLong, None),
            Called::Anon(name) => (Name::Anon(name.to_vec()), None),
            Called::AnonShmem(name) => (Name::AnonShmem(name.to_vec()), None),
            Called::Heap => (Name::Heap, None),
            Called::Stack => (Name::Stack, None),
            Called::Special(name) => (Name::Special(name.to_vec()), None),
        };
        Mapping {
            start: self.start,
            end: self.end,
            vma_start: self.vma_start,
            flags: VmaFlags {
                set: flags(self.flags_set),
                known: flags(self.flags_known),
            },
            offset: self.offset,
            page_size: None,
            pkey: None,
            device: self.device.map(|(major, minor)| Device { major, minor }),
            inode: self.inode,
            deleted,
            name,
            build_id: self.build_id.into(),
            marks: Marks {
                unstable: self.unstable,
                withheld: self.withheld,
                clipped: self.clipped,
            },
        }
    }
}

/// Flags of version 1 as they are now.
fn flags(flags: u64) -> u64 {
    let file = match flags & VMA_FILE {
        0 => 0,
        _ => MAPS_LOCKLESS_VMA_FILE,
    };
    // What is the flag's bit now was no flag's then.
    flags & !(VMA_FILE | VMA_ARCH_1 | MAPS_LOCKLESS_VMA_FILE) | file
}

/// Fails with where in the payload something is wrong.
pub(super) fn decode(payload: &[u8]) -> Result<CapturedProcess, usize> {
    let mut values = Values::of(payload);
    let head: Head<'_> = values.take(|head: &Head<'_>| head.nanoseconds < 1_000_000_000)?;
    let torn = values.take_all(head.torn, is_range, |(start, end)| start..end)?;
    let mappings = values.take_all(head.mappings, Entry::is_valid, Entry::into_mapping)?;
    values.end()?;
    Ok(CapturedProcess {
        pid: head.pid,
        tid: head.tid,
        label: head.label.into(),
        time: Duration::new(head.seconds, head.nanoseconds),
        snapshot: Snapshot {
            mappings,
            source: head.source.into(),
            completeness: head.completeness.into(),
            judgement: Judgement::Unknown,
            torn,
            unknown: Vec::new(),
            evidence: Vec::new(),
            token: None,
        },
    })
}
