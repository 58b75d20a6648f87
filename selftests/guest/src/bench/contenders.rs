// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ways to read a process's mappings.

use super::{calls, listings, since, subject::Subject};
use anyhow::Result;

/// A way to read a process's mappings.
pub struct Contender {
    /// Its name.
    pub name: &'static str,
    /// What it reads.
    pub group: Group,
    /// Gets ready what is not to be measured.
    pub prepare: fn(&Subject) -> Result<Run>,
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// All mappings, as text.
    Text,
    /// What has changed, of all mappings.
    Changes,
    /// What has changed since a round of changes.
    Follow,
    /// All mappings, in another way.
    Listing,
    /// All executable mappings of files.
    Selection,
    /// The same with build IDs.
    SelectionWithIds,
    /// All mappings with build IDs.
    ListingWithIds,
    /// One mapping, or something else that is quick.
    Call,
}

/// What is measured.
pub struct Run {
    /// What the instructions are given for.
    pub unit: &'static str,
    /// How many of these there are.
    pub units: usize,
    /// Does it once, and returns how much was read or done.
    pub run: Box<dyn FnMut() -> Result<u64>>,
    /// Gets ready for once, before the process makes its round of changes. [`None`]: it makes none.
    pub before_changes: Option<Box<dyn FnMut() -> Result<()>>>,
}

/// All of them.
pub const CONTENDERS: [Contender; 22] = [
    // /proc/PID/maps: bytes alone, decoded by this project's library, decoded by the crate procfs.
    of("maps", Group::Text, listings::maps),
    of("maps-decoded", Group::Listing, listings::maps_decoded),
    of("maps-procfs", Group::Listing, listings::maps_by_procfs),
    // A call of PROCMAP_QUERY for each mapping.
    of("query", Group::Listing, listings::query),
    of("query-names", Group::Listing, listings::query_names),
    of("query-code", Group::Selection, listings::query_code),
    // /proc/PID/maps_lockless: bytes alone, but for the one that is decoded.
    of("lockless", Group::Listing, listings::lockless),
    of(
        "lockless-decoded",
        Group::Listing,
        listings::lockless_decoded,
    ),
    of(
        "lockless-no-names",
        Group::Listing,
        listings::lockless_no_names,
    ),
    // The same, where nothing has changed; and where a few things have.
    of("since", Group::Changes, since::nothing_changed),
    of("follow", Group::Follow, since::followed),
    of("lockless-code", Group::Selection, listings::lockless_code),
    of(
        "lockless-code-ids",
        Group::SelectionWithIds,
        listings::lockless_code_ids,
    ),
    of(
        "lockless-ids",
        Group::ListingWithIds,
        listings::lockless_ids,
    ),
    // For scale: what it costs to look at all of the process's pages.
    of("smaps-rollup", Group::Call, listings::smaps_rollup),
    // Single mappings.
    of("find-query", Group::Call, calls::query),
    of("find-query-name", Group::Call, calls::query_name),
    of("find", Group::Call, calls::lockless),
    of("find-name", Group::Call, calls::lockless_name),
    of("state", Group::Call, calls::state),
    // For scale: one of the smallest files of /proc, and one of the least system calls.
    of("comm", Group::Call, calls::comm),
    of("getppid", Group::Call, calls::getppid),
];

const fn of(name: &'static str, group: Group, prepare: fn(&Subject) -> Result<Run>) -> Contender {
    Contender {
        name,
        group,
        prepare,
    }
}

impl Run {
    /// Reads all mappings of a process.
    pub fn listing(subject: &Subject, run: impl FnMut() -> Result<u64> + 'static) -> Result<Self> {
        Ok(Self {
            unit: "VMA",
            units: subject.mappings.len(),
            run: Box::new(run),
            before_changes: None,
        })
    }
}
