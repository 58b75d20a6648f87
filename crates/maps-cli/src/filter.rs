// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which mappings are wanted: what the source selects, and what is left to select here.

use crate::options::{Options, Perms};
use anyhow::{Context, Result};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use maps_lockless::{
    MappingRef, NameRef, Selection,
    wire::{
        MAPS_LOCKLESS_VMA_EXEC, MAPS_LOCKLESS_VMA_FILE, MAPS_LOCKLESS_VMA_READ,
        MAPS_LOCKLESS_VMA_SHARED, MAPS_LOCKLESS_VMA_WRITE,
    },
};
use std::{ffi::OsStr, ops::Range, os::unix::ffi::OsStrExt, path::Path};

/// Which mappings are wanted.
pub struct Filter {
    /// Flags and range, by which a source selects.
    selection: Selection,
    files: Option<Files>,
}

/// Patterns for names of files, and for paths.
struct Files {
    names: GlobSet,
    paths: GlobSet,
}

impl Filter {
    pub fn new(options: &Options) -> Result<Self> {
        let mut selection = Selection::default();
        if let Some(Range { start, end }) = options.range {
            (selection.start, selection.end) = (start, end);
        }
        if options.exec {
            selection.all |= MAPS_LOCKLESS_VMA_EXEC;
        }
        if options.anon {
            selection.none |= MAPS_LOCKLESS_VMA_FILE;
        }
        if !options.file.is_empty() {
            selection.all |= MAPS_LOCKLESS_VMA_FILE;
        }
        if let Some(perms) = options.perms {
            let (wanted, exactly, private) = match perms {
                Perms::Exactly(wanted) => (wanted, true, false),
                Perms::Least(wanted, private) => (wanted, false, private),
            };
            for (has, flag) in [
                (wanted.read, MAPS_LOCKLESS_VMA_READ),
                (wanted.write, MAPS_LOCKLESS_VMA_WRITE),
                (wanted.execute, MAPS_LOCKLESS_VMA_EXEC),
                (wanted.shared, MAPS_LOCKLESS_VMA_SHARED),
            ] {
                if has {
                    selection.all |= flag;
                } else if exactly || private && flag == MAPS_LOCKLESS_VMA_SHARED {
                    selection.none |= flag;
                }
            }
        }
        let files = match &options.file[..] {
            [] => None,
            patterns => Some(Files::new(patterns)?),
        };
        Ok(Self { selection, files })
    }

    /// What the source is asked for.
    pub fn selection(&self) -> Selection {
        self.selection
    }

    /// Whether names are needed.
    pub fn needs_names(&self) -> bool {
        self.files.is_some()
    }

    /// Whether a range has addresses in the one that is wanted.
    pub fn meets(&self, range: &Range<u64>) -> bool {
        let Selection { start, end, .. } = self.selection;
        range.end > start && (end == 0 || range.start < end)
    }

    /// Whether a mapping is wanted, as far as it is known. What was changing while it was read is listed,
    /// marked, as the kernel does.
    pub fn wants(&self, mapping: &MappingRef<'_>) -> bool {
        let Selection { all, none, .. } = self.selection;
        let flags = mapping.flags;
        self.meets(&(mapping.start..mapping.end))
            && (mapping.marks.is_torn()
                || (flags.known & !flags.set & all == 0 && flags.set & none == 0))
            && self.files.as_ref().is_none_or(|files| match mapping.name {
                NameRef::Path { path, .. } => files.match_path(path),
                NameRef::AnonShmem(_) | NameRef::None => false,
                _ => mapping.marks.withheld,
            })
    }
}

impl Files {
    fn new(patterns: &[String]) -> Result<Self> {
        let set = |has_slash| {
            let wanted = patterns.iter().filter(|p| p.contains('/') == has_slash);
            glob_set(wanted.map(String::as_str))
        };
        Ok(Self {
            names: set(false)?,
            paths: set(true)?,
        })
    }

    fn match_path(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        matches(&self.names, name) || matches(&self.paths, path)
    }
}

/// Patterns as a shell has them. In paths, * matches / as well.
pub fn glob_set<'a>(patterns: impl Iterator<Item = &'a str>) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).backslash_escape(true).build();
        set.add(glob.with_context(|| format!("the pattern {pattern:?}"))?);
    }
    Ok(set.build()?)
}

/// Whether one of the patterns matches all of a name.
pub fn matches(set: &GlobSet, name: &[u8]) -> bool {
    set.is_match(Path::new(OsStr::from_bytes(name)))
}
