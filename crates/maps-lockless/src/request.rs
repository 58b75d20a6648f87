// SPDX-License-Identifier: MIT OR Apache-2.0

//! What to read: which fields, of which mappings.

use crate::{
    Error, MappingRef,
    file::NamedFile,
    listing::Ask,
    mapping::TOLD_BY_MAPS,
    wire::{
        MAPS_LOCKLESS_FIELD_BUILD_ID, MAPS_LOCKLESS_FIELD_DELETED, MAPS_LOCKLESS_FIELD_DEV,
        MAPS_LOCKLESS_FIELD_FLAGS, MAPS_LOCKLESS_FIELD_INO, MAPS_LOCKLESS_FIELD_NAME,
        MAPS_LOCKLESS_FIELD_OFFSET, MAPS_LOCKLESS_FIELD_PAGE_SIZE, MAPS_LOCKLESS_FIELD_PATH,
        MAPS_LOCKLESS_FIELD_PKEY, MAPS_LOCKLESS_FIELD_RANGE, MAPS_LOCKLESS_FIELDS_MAPS,
        MAPS_LOCKLESS_VMA_EXEC, MAPS_LOCKLESS_VMA_FILE, maps_lockless_request,
    },
};
use core::ops::Range;

/// What to read. [`Default`] is what maps shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Which fields.
    pub fields: Fields,
    /// Of which mappings.
    pub selection: Selection,
}

/// Which fields of a mapping are wanted. A source may give others besides, and gives none that it does
/// not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// [`flags`](MappingRef::flags): permissions and others.
    pub flags: bool,
    /// [`offset`](MappingRef::offset).
    pub offset: bool,
    /// [`device`](MappingRef::device) and [`inode`](MappingRef::inode).
    pub file_id: bool,
    /// [`name`](MappingRef::name) and [`deleted`](MappingRef::deleted), which cost most.
    pub name: bool,
    /// [`build_id`](MappingRef::build_id). The text of maps has none.
    pub build_id: bool,
    /// [`page_size`](MappingRef::page_size). The text of maps has none.
    pub page_size: bool,
    /// [`pkey`](MappingRef::pkey). Only `maps_lockless` has it, and only on a machine that has
    /// protection keys.
    pub pkey: bool,
}

/// What maps shows.
impl Default for Fields {
    fn default() -> Self {
        Self {
            flags: true,
            offset: true,
            file_id: true,
            name: true,
            build_id: false,
            page_size: false,
            pkey: false,
        }
    }
}

impl Fields {
    /// All.
    pub const ALL: Self = Self {
        flags: true,
        offset: true,
        file_id: true,
        name: true,
        build_id: true,
        page_size: true,
        pkey: true,
    };

    /// Never 0, which asks for what maps shows.
    fn to_wire(self) -> u64 {
        let field = |wanted, field| if wanted { field } else { 0 };
        let file_id = MAPS_LOCKLESS_FIELD_DEV | MAPS_LOCKLESS_FIELD_INO;
        let name =
            MAPS_LOCKLESS_FIELD_NAME | MAPS_LOCKLESS_FIELD_PATH | MAPS_LOCKLESS_FIELD_DELETED;
        MAPS_LOCKLESS_FIELD_RANGE
            | field(self.flags, MAPS_LOCKLESS_FIELD_FLAGS)
            | field(self.offset, MAPS_LOCKLESS_FIELD_OFFSET)
            | field(self.file_id, file_id)
            | field(self.name, name)
            | field(self.build_id, MAPS_LOCKLESS_FIELD_BUILD_ID)
            | field(self.page_size, MAPS_LOCKLESS_FIELD_PAGE_SIZE)
            | field(self.pkey, MAPS_LOCKLESS_FIELD_PKEY)
    }
}

/// What `MAPS_LOCKLESS_FIELD_*` bits are called, in lower case.
pub(crate) fn field_names(fields: u64) -> impl Iterator<Item = &'static str> {
    const NAMES: [(u64, &str); 11] = [
        (MAPS_LOCKLESS_FIELD_RANGE, "range"),
        (MAPS_LOCKLESS_FIELD_FLAGS, "flags"),
        (MAPS_LOCKLESS_FIELD_OFFSET, "offset"),
        (MAPS_LOCKLESS_FIELD_NAME, "name"),
        (MAPS_LOCKLESS_FIELD_PAGE_SIZE, "page_size"),
        (MAPS_LOCKLESS_FIELD_PKEY, "pkey"),
        (MAPS_LOCKLESS_FIELD_DEV, "dev"),
        (MAPS_LOCKLESS_FIELD_INO, "ino"),
        (MAPS_LOCKLESS_FIELD_PATH, "path"),
        (MAPS_LOCKLESS_FIELD_DELETED, "deleted"),
        (MAPS_LOCKLESS_FIELD_BUILD_ID, "build_id"),
    ];
    let named = NAMES
        .into_iter()
        .filter(move |(field, _)| fields & field != 0);
    named.map(|(_, name)| name)
}

/// Which mappings are wanted. [`Default`] is all of them.
///
/// One that was being changed may be listed though it is not wanted; it is marked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// `MAPS_LOCKLESS_VMA_*` flags: only mappings that have all of these.
    pub all: u64,
    /// `MAPS_LOCKLESS_VMA_*` flags: only mappings that have one of these at least. 0: all mappings.
    pub any: u64,
    /// `MAPS_LOCKLESS_VMA_*` flags: only mappings that have none of these.
    pub none: u64,
    /// Only mappings that end above this address.
    pub start: u64,
    /// Only mappings that start below this address. 0: all mappings.
    pub end: u64,
}

impl Selection {
    /// Executable mappings of files: what a profiler needs to find symbols.
    pub const CODE: Self = Self {
        all: MAPS_LOCKLESS_VMA_EXEC | MAPS_LOCKLESS_VMA_FILE,
        any: 0,
        none: 0,
        start: 0,
        end: 0,
    };

    /// Fails where this asks about flags that `maps`, which `file` is, does not tell.
    pub(crate) fn check_maps_can(&self, file: &NamedFile) -> Result<(), Error> {
        if (self.all | self.any | self.none) & !TOLD_BY_MAPS != 0 {
            return Err(Error::cannot_select(file.path()));
        }
        Ok(())
    }

    /// The same, but only of these addresses.
    fn within(self, range: &Range<u64>) -> Self {
        Self {
            start: self.start.max(range.start),
            end: match self.end {
                0 => range.end,
                end => end.min(range.end),
            },
            ..self
        }
    }

    /// Whether a mapping is wanted, of which all flags are known that this asks about.
    pub(crate) fn wants(&self, mapping: &MappingRef<'_>) -> bool {
        let flags = mapping.flags.set;
        flags & self.all == self.all
            && flags & self.none == 0
            && (self.any == 0 || flags & self.any != 0)
            && mapping.end > self.start
            && (self.end == 0 || mapping.start < self.end)
    }
}

impl Request {
    /// Everything that is known of executable mappings of files, their build IDs included.
    pub const CODE: Self = Self {
        fields: Fields::ALL,
        selection: Selection::CODE,
    };

    /// Without its size, which the call fills in.
    pub(crate) fn to_wire(self, max_records: u32) -> maps_lockless_request {
        let Selection {
            all,
            any,
            none,
            start,
            end,
        } = self.selection;
        maps_lockless_request {
            fields_wanted: self.fields.to_wire(),
            vma_flags_all: all,
            vma_flags_any: any,
            vma_flags_none: none,
            start,
            end,
            max_records,
            ..Default::default()
        }
    }

    /// The request for a part of this.
    pub(crate) fn part_to_wire(self, ask: &Ask) -> maps_lockless_request {
        let selection = match &ask.range {
            Some(range) => self.selection.within(range),
            None => self.selection,
        };
        let mut wire = Self { selection, ..self }.to_wire(0);
        if let Some(token) = ask.since {
            (wire.since_mm_id, wire.since_seq) = (token.mm_id, token.count);
        }
        wire
    }

    /// Whether the kernel does this without being asked.
    pub(crate) fn is_what_maps_shows(&self) -> bool {
        self.selection == Selection::default() && self.fields.to_wire() == MAPS_LOCKLESS_FIELDS_MAPS
    }
}
