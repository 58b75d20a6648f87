// SPDX-License-Identifier: MIT OR Apache-2.0

//! A mapping, as every source tells it: borrowed from a source's bytes, or owned.

use crate::{
    decode,
    name::{Name, NameRef},
    wire,
};
use alloc::vec::Vec;
use core::fmt;

/// One mapping of a process, a VMA, borrowed from the bytes that tell of it.
///
/// What a source cannot know, or the mapping does not have, is absent; nothing is guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MappingRef<'a> {
    /// First address.
    pub start: u64,
    /// First address behind the mapping.
    pub end: u64,
    /// First address of the mapping itself: below `start` where the record is clipped, see
    /// [`Marks::clipped`].
    pub vma_start: u64,
    /// Permissions and other flags, as far as they are known.
    pub flags: VmaFlags,
    /// Offset in the mapped file of `start`, in bytes. Only file-backed mappings have one.
    pub offset: Option<u64>,
    /// Bytes of a page of this mapping. [`None`] where the source does not tell, or the kernel cannot
    /// (device DAX).
    pub page_size: Option<u64>,
    /// Protection key, see pkeys(7). [`None`] where the source does not tell, or the machine has none.
    pub pkey: Option<u8>,
    /// Device of the mapped file's file system, as in maps. stat(2) may tell another one on btrfs and
    /// overlayfs.
    pub device: Option<Device>,
    /// Inode number of the mapped file.
    pub inode: Option<u64>,
    /// Whether the mapped file was unlinked. [`None`] where no file is mapped, and where it is not
    /// known: it was not asked for, or the text of maps shows a path that ends in ` (deleted)`, as a
    /// file may be called as well.
    pub deleted: Option<bool>,
    /// What it is called.
    pub name: NameRef<'a>,
    /// Build ID of the mapped file.
    pub build_id: BuildId<&'a [u8]>,
    /// What the kernel had to say against this record.
    pub marks: Marks,
}

/// One mapping of a process, a VMA. See [`MappingRef`] for what its fields mean.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
#[expect(missing_docs, reason = "they are MappingRef's")]
pub struct Mapping {
    pub start: u64,
    pub end: u64,
    pub vma_start: u64,
    pub flags: VmaFlags,
    pub offset: Option<u64>,
    pub page_size: Option<u64>,
    pub pkey: Option<u8>,
    pub device: Option<Device>,
    pub inode: Option<u64>,
    pub deleted: Option<bool>,
    pub name: Name,
    pub build_id: BuildId<Vec<u8>>,
    pub marks: Marks,
}

/// What is known of the build ID of a mapped file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BuildId<B> {
    /// Nothing: it was not asked for, or no file is mapped, or the source cannot tell.
    #[default]
    Unknown,
    /// The file has none.
    Absent,
    /// A part of the file that may have it was not in the page cache.
    NotResident,
    /// These bytes, at most 20 of them from the kernels of today.
    Present(B),
}

/// `MAPS_LOCKLESS_VMA_*` flags, and which of them the source tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct VmaFlags {
    /// Flags that are set.
    #[cfg_attr(feature = "serde", serde(with = "crate::serial::flags"))]
    pub set: u64,
    /// Flags that the source tells: one that is here and not in `set` is clear.
    #[cfg_attr(feature = "serde", serde(with = "crate::serial::flags"))]
    pub known: u64,
}

/// What a mapping allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Permissions {
    /// `r` in maps.
    pub read: bool,
    /// `w` in maps.
    pub write: bool,
    /// `x` in maps.
    pub execute: bool,
    /// `s` in maps, where it is `p` otherwise.
    pub shared: bool,
}

/// A device number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// What the kernel had to say against a record. See `docs/tearing.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Marks {
    /// Range and fields are of different moments: the mapping was changing.
    pub unstable: bool,
    /// The fields were withheld; the range stands.
    pub withheld: bool,
    /// The mapping begins before `start`, at `vma_start`.
    pub clipped: bool,
}

impl Marks {
    /// Whether the record may mix two moments, or lacks what could not be proved.
    pub fn is_torn(self) -> bool {
        self.unstable || self.withheld
    }
}

/// The flags that maps tells as permissions.
pub(crate) const PERMISSIONS: u64 = wire::MAPS_LOCKLESS_VMA_READ
    | wire::MAPS_LOCKLESS_VMA_WRITE
    | wire::MAPS_LOCKLESS_VMA_EXEC
    | wire::MAPS_LOCKLESS_VMA_SHARED;

/// The flags that `/proc/<pid>/maps` tells, as text and by PROCMAP_QUERY.
pub(crate) const TOLD_BY_MAPS: u64 = PERMISSIONS | wire::MAPS_LOCKLESS_VMA_FILE;

impl VmaFlags {
    /// Whether a flag, or each of several, is set. [`None`] where the source does not tell.
    pub fn has(self, flags: u64) -> Option<bool> {
        (self.known & flags == flags).then_some(self.set & flags == flags)
    }

    /// The permissions, if they are known.
    pub fn permissions(self) -> Option<Permissions> {
        let has = |flag| self.set & flag != 0;
        self.has(PERMISSIONS).map(|_| Permissions {
            read: has(wire::MAPS_LOCKLESS_VMA_READ),
            write: has(wire::MAPS_LOCKLESS_VMA_WRITE),
            execute: has(wire::MAPS_LOCKLESS_VMA_EXEC),
            shared: has(wire::MAPS_LOCKLESS_VMA_SHARED),
        })
    }
}

impl From<Permissions> for VmaFlags {
    fn from(permissions: Permissions) -> Self {
        let flag = |set, flag| if set { flag } else { 0 };
        Self {
            set: flag(permissions.read, wire::MAPS_LOCKLESS_VMA_READ)
                | flag(permissions.write, wire::MAPS_LOCKLESS_VMA_WRITE)
                | flag(permissions.execute, wire::MAPS_LOCKLESS_VMA_EXEC)
                | flag(permissions.shared, wire::MAPS_LOCKLESS_VMA_SHARED),
            known: PERMISSIONS,
        }
    }
}

/// As in maps: `rw-p`.
impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = |set, c| if set { c } else { '-' };
        let kind = if self.shared { 's' } else { 'p' };
        let (r, w, x) = (
            flag(self.read, 'r'),
            flag(self.write, 'w'),
            flag(self.execute, 'x'),
        );
        write!(f, "{r}{w}{x}{kind}")
    }
}

/// As in maps: hexadecimal, `fd:01`.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}", self.major, self.minor)
    }
}

/// What the record of a file tells of each mapping of it.
#[derive(Clone, Copy)]
pub(crate) struct MappedFile<'a> {
    device: Option<Device>,
    inode: Option<u64>,
    deleted: Option<bool>,
    /// What a mapping without a name of its own is called.
    name: NameRef<'a>,
    build_id: BuildId<&'a [u8]>,
}

impl<'a> MappedFile<'a> {
    /// Where no file is mapped, or nothing is known of it.
    pub(crate) const NONE: Self = Self {
        device: None,
        inode: None,
        deleted: None,
        name: NameRef::Unknown,
        build_id: BuildId::Unknown,
    };

    #[inline]
    pub(crate) fn new(file: &decode::File<'a>) -> Self {
        use wire::*;

        let fields = &file.fields;
        let valid = |field| fields.valid & field != 0;
        Self {
            device: valid(MAPS_LOCKLESS_FIELD_DEV).then_some(Device {
                major: fields.dev_major,
                minor: fields.dev_minor,
            }),
            inode: valid(MAPS_LOCKLESS_FIELD_INO).then_some(fields.ino),
            deleted: file.deleted(),
            name: NameRef::of_file(file),
            build_id: file.build_id(),
        }
    }
}

impl<'a> MappingRef<'a> {
    /// One of which nothing is known.
    pub(crate) const NOTHING: Self = Self {
        start: 0,
        end: 0,
        vma_start: 0,
        flags: VmaFlags { set: 0, known: 0 },
        offset: None,
        page_size: None,
        pkey: None,
        device: None,
        inode: None,
        deleted: None,
        name: NameRef::Unknown,
        build_id: BuildId::Unknown,
        marks: Marks {
            unstable: false,
            withheld: false,
            clipped: false,
        },
    };

    /// The permissions, if they are known.
    pub fn permissions(&self) -> Option<Permissions> {
        self.flags.permissions()
    }

    /// Whether a file is mapped. [`None`] where that is not known.
    pub fn is_file(&self) -> Option<bool> {
        self.flags.has(wire::MAPS_LOCKLESS_VMA_FILE)
    }

    /// Of a record, and the header of its batch, which says what was asked for and what the kernel
    /// reports at all.
    #[inline]
    pub fn new(vma: &decode::Vma<'a>, batch: &wire::maps_lockless_batch) -> Self {
        let file = vma.file.as_ref().map(MappedFile::new);
        Self::of(&vma.fields, vma.name, file.as_ref(), batch)
    }

    /// As [`MappingRef::new`], where what the file's record tells is known already.
    #[inline]
    pub(crate) fn of(
        fields: &wire::maps_lockless_vma,
        name: &'a [u8],
        file: Option<&MappedFile<'a>>,
        batch: &wire::maps_lockless_batch,
    ) -> Self {
        use wire::*;

        let valid = |field| fields.valid & field != 0;
        let marked = |flag| fields.flags & flag != 0;
        let has_file = file.is_some();
        let file = file.unwrap_or(const { &MappedFile::NONE });
        Self {
            start: fields.start,
            end: fields.end,
            vma_start: fields.vma_start,
            flags: VmaFlags {
                set: fields.vma_flags,
                known: if valid(MAPS_LOCKLESS_FIELD_FLAGS) {
                    batch.vma_flags_supported
                } else {
                    0
                },
            },
            offset: valid(MAPS_LOCKLESS_FIELD_OFFSET).then_some(fields.offset),
            page_size: if valid(MAPS_LOCKLESS_FIELD_PAGE_SIZE) {
                1_u64.checked_shl(fields.page_shift.into())
            } else {
                None
            },
            pkey: valid(MAPS_LOCKLESS_FIELD_PKEY).then_some(fields.pkey),
            device: file.device,
            inode: file.inode,
            deleted: file.deleted,
            name: NameRef::new(fields, name, has_file.then_some(&file.name), batch),
            build_id: file.build_id,
            marks: Marks {
                unstable: marked(MAPS_LOCKLESS_REC_UNSTABLE),
                withheld: marked(MAPS_LOCKLESS_REC_WITHHELD),
                clipped: marked(MAPS_LOCKLESS_REC_CLIPPED),
            },
        }
    }

    /// Makes it the mapping of another record, which differs from its own in no more than the range, the
    /// flags and the offset.
    #[inline]
    pub(crate) fn reuse(&mut self, fields: &wire::maps_lockless_vma) {
        self.start = fields.start;
        self.end = fields.end;
        self.vma_start = fields.vma_start;
        self.flags.set = fields.vma_flags;
        if let Some(offset) = &mut self.offset {
            *offset = fields.offset;
        }
    }

    /// Makes it the mapping of another file, whose name it has.
    #[inline]
    pub(crate) fn set_file(&mut self, file: &MappedFile<'a>) {
        self.device = file.device;
        self.inode = file.inode;
        self.deleted = file.deleted;
        self.name = file.name;
        self.build_id = file.build_id;
    }

    /// A copy that owns its bytes.
    pub fn to_owned(&self) -> Mapping {
        Mapping {
            start: self.start,
            end: self.end,
            vma_start: self.vma_start,
            flags: self.flags,
            offset: self.offset,
            page_size: self.page_size,
            pkey: self.pkey,
            device: self.device,
            inode: self.inode,
            deleted: self.deleted,
            name: self.name.to_owned(),
            build_id: match self.build_id {
                BuildId::Unknown => BuildId::Unknown,
                BuildId::Absent => BuildId::Absent,
                BuildId::NotResident => BuildId::NotResident,
                BuildId::Present(id) => BuildId::Present(id.to_vec()),
            },
            marks: self.marks,
        }
    }
}

impl Mapping {
    /// The same, borrowed.
    pub fn as_ref(&self) -> MappingRef<'_> {
        MappingRef {
            start: self.start,
            end: self.end,
            vma_start: self.vma_start,
            flags: self.flags,
            offset: self.offset,
            page_size: self.page_size,
            pkey: self.pkey,
            device: self.device,
            inode: self.inode,
            deleted: self.deleted,
            name: self.name.as_ref(),
            build_id: match &self.build_id {
                BuildId::Unknown => BuildId::Unknown,
                BuildId::Absent => BuildId::Absent,
                BuildId::NotResident => BuildId::NotResident,
                BuildId::Present(id) => BuildId::Present(id),
            },
            marks: self.marks,
        }
    }

    /// The permissions, if they are known.
    pub fn permissions(&self) -> Option<Permissions> {
        self.flags.permissions()
    }

    /// Bytes that are mapped.
    pub fn size(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}
