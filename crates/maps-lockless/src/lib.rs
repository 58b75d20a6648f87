// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads the memory map of a Linux process.
//!
#![cfg_attr(feature = "std", doc = "```")]
#![cfg_attr(not(feature = "std"), doc = "```ignore")]
//! let snapshot = maps_lockless::Process::current().snapshot()?;
//! for mapping in &snapshot.mappings {
//!     let name = mapping.name.as_ref().to_maps();
//!     println!("{:x}-{:x} {}", mapping.start, mapping.end, name.escape_ascii());
//! }
//! println!("{} mappings from {}: {}", snapshot.mappings.len(), snapshot.source, snapshot.judgement);
//! # Ok::<(), maps_lockless::Error>(())
//! ```
//!
//! Where the kernel has `/proc/<pid>/maps_lockless`, the mappings come from there. To read them takes no
//! lock of the process, so that even a monitor of the lowest priority cannot stall it. (To open the file
//! takes `exec_update_lock`, as to open maps. [`Process::open`] does so once.) Elsewhere they come from PROCMAP_QUERY or from the text of `/proc/<pid>/maps`, and the snapshot says so.
//!
//! - [`Process`] names a process, by its ID, a thread's or a pidfd.
//! - [`Process::snapshot`] reads all of its mappings; [`Process::open`] gives a [`Reader`], which reads
//!   them some at a time, tells by a [`Token`] whether any has changed, and reads again until a
//!   snapshot is consistent.
//! - A [`Request`] says which fields of which mappings are wanted. The kernel selects where it can.
//! - [`Process::lookup`] looks single addresses up.
//! - [`Snapshot::normalize`] makes a listing a strict map, and [`Snapshot::diff`] tells what changed
//!   from one to another.
//! - A [`Follower`] keeps a snapshot of one address space up to date, and reads only what changed.
//! - A [`Monitor`] follows many processes, and reads only those that changed.
//! - [`Reader::state`] tells the state of an address space without a look at its mappings.
//! - [`decode`] and [`text`] are the decoders alone: they take bytes, do no I/O and allocate nothing. A
//!   [`Judge`] says what is proved of a listing whose batches were recorded. Without the feature `std`
//!   these are all that there is.
//!
//! # Features
//!
//! - `std`, by default: reading processes.
//! - `serde`: `Serialize` and `Deserialize` for what is owned.
//! - `capture`: files of snapshots, see `CaptureWriter` and `CaptureReader`.
//! - `procfs`: `From<&Mapping>` for `procfs::process::MemoryMap`, of the crate procfs 0.18.
//!
//! # JSON
//!
//! What the feature `serde` makes of these types in JSON is stable. This is version 1 of it: fields
//! may be added, and enumerations may get values, but nothing is renamed, removed or given another
//! type.
//!
//! - Fields are called as in Rust. What is not known is `null`.
//! - Enumerations are strings in snake case: `"no_address_space"`.
//! - Numbers are numbers, up to 2^64 - 1. Some readers round those above 2^53; addresses and offsets,
//!   which end in zero bits, come through that.
//! - [`VmaFlags`], whose highest bits are in use, are strings: `{"set":"0x5","known":"0xf"}`.
//! - A [`Name`] is `{"kind":"path","text":"/bin/true","marked":false}`. `kind` is `unknown`, `none`,
//!   `path`, `path_too_long`, `anon`, `anon_shmem`, `heap`, `stack` or `special`; `text` is `null` where
//!   the kind says all, and `marked` for all kinds but `path`.
//! - `text` is always a string, and keeps each byte: a backslash is written `\\`, a byte that is not
//!   UTF-8 `\xff`. JSON escapes these backslashes once more.
//! - A [`BuildId`] is `{"state":"present","id":"0123ab"}`, with the bytes in hexadecimal. `state` is
//!   `unknown`, `absent`, `not_resident` or `present`; `id` is `null` but for the last.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;
// What the tests share takes the library by its name.
#[cfg(test)]
extern crate self as maps_lockless;

// What several of the unit tests need, and those beside the library.
#[cfg(all(test, feature = "std"))]
#[path = "../tests/build/mod.rs"]
mod build;
#[cfg(feature = "capture")]
mod capture;
pub mod decode;
#[cfg(feature = "procfs")]
mod interop;
mod judge;
mod mapping;
mod name;
#[cfg(feature = "serde")]
mod serial;
mod smaps;
pub mod text;
#[rustfmt::skip]
pub mod wire;

#[cfg(feature = "std")]
mod diff;
#[cfg(feature = "std")]
mod error;
#[cfg(feature = "std")]
mod file;
#[cfg(feature = "std")]
mod follower;
#[cfg(feature = "std")]
mod listing;
#[cfg(feature = "std")]
mod lookup;
#[cfg(feature = "std")]
mod mapped;
#[cfg(feature = "std")]
mod merge;
#[cfg(feature = "std")]
mod monitor;
#[cfg(feature = "std")]
mod normalize;
#[cfg(feature = "std")]
mod process;
#[cfg(feature = "std")]
mod reader;
#[cfg(feature = "std")]
mod request;
#[cfg(feature = "std")]
mod snapshot;
#[cfg(feature = "std")]
mod source;
#[cfg(feature = "std")]
mod stat;
#[cfg(feature = "std")]
mod state;
#[cfg(feature = "std")]
mod sys;

pub use judge::{BatchEvidence, Completeness, Judge, Judgement, Token};
pub use mapping::{BuildId, Device, Mapping, MappingRef, Marks, Permissions, VmaFlags};
pub use name::{Name, NameRef};

#[cfg(feature = "capture")]
pub use capture::{CaptureReader, CaptureWriter, CapturedProcess};
#[cfg(feature = "std")]
pub use {
    diff::{Change, Difference},
    error::Error,
    follower::{Follower, Update},
    lookup::Lookup,
    monitor::{Event, Monitor, MonitorOptions},
    normalize::Mended,
    process::Process,
    reader::{Batch, Reader},
    request::{Fields, Request, Selection},
    snapshot::Snapshot,
    source::Source,
    state::{State, Status},
};
