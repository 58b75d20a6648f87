// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where mappings can be read from.

pub(crate) mod lockless;
pub(crate) mod query;
pub(crate) mod text;

use core::fmt;

/// What tells the mappings of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Source {
    /// `/proc/<pid>/maps_lockless`: takes no lock of the process.
    Lockless,
    /// The ioctl(2) PROCMAP_QUERY of `/proc/<pid>/maps`, since Linux 6.11: may stall the process.
    Query,
    /// The text of `/proc/<pid>/maps`: may stall the process.
    Maps,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lockless => "maps_lockless",
            Self::Query => "PROCMAP_QUERY",
            Self::Maps => "maps",
        })
    }
}
