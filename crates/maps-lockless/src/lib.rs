// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads the memory map of a Linux process.
//!
//! Where the kernel has `/proc/<pid>/maps_lockless`, the mappings come from there: no lock of the
//! process is taken, so that even a monitor of the lowest priority cannot stall it. Elsewhere they
//! come from `/proc/<pid>/maps`, and the answer says so.
//!
//! ```
//! let listing = maps_lockless::read(std::process::id().into())?;
//! for mapping in &listing.mappings {
//!     println!("{:x}-{:x} {}", mapping.start, mapping.end, mapping.name.to_maps().escape_ascii());
//! }
//! println!("read from {}", listing.source);
//! # Ok::<(), maps_lockless::Error>(())
//! ```
//!
//! [`decode`] is the decoder of the binary format alone: it takes bytes and does no I/O.

pub mod decode;
mod error;
mod mapping;
mod process;
mod source;
pub mod text;
#[rustfmt::skip]
pub mod wire;

pub use error::Error;
pub use mapping::{Device, Mapping, Marks, Name, Permissions};
pub use process::{Process, read, read_from};
pub use source::{Completeness, Listing, Source};
