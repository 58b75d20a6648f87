// SPDX-License-Identifier: MIT OR Apache-2.0

//! A mapping, as every source tells it.

use crate::{decode, wire};
use std::{borrow::Cow, fmt};

/// One mapping of a process: a VMA.
///
/// A field that is [`None`] is not known, or the mapping has no such thing; nothing is guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind the mapping.
    pub end: u64,
    /// What it allows, if known.
    pub permissions: Option<Permissions>,
    /// `MAPS_LOCKLESS_VMA_*` bits beyond the permissions. 0 from a source that tells none.
    pub vma_flags: u64,
    /// Offset in the mapped file in bytes. Only file-backed mappings have one.
    pub offset: Option<u64>,
    /// Device of the mapped file's file system, as in maps.
    pub device: Option<Device>,
    /// Inode number of the mapped file.
    pub inode: Option<u64>,
    /// What it is called.
    pub name: Name,
    /// What the kernel had to say against this record.
    pub marks: Marks,
}

/// What a mapping allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// What a mapping is called. Names are bytes: nothing says that they are UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Name {
    /// The kernel withheld it: it could not be proved to be this mapping's.
    Unknown,
    /// It has none.
    None,
    /// The path of the mapped file.
    Path {
        /// The path, without any mark, seen from the root directory of the reader.
        path: Vec<u8>,
        /// Whether the file was unlinked.
        deleted: bool,
    },
    /// The path of the mapped file is longer than `PATH_MAX` (4096 bytes).
    PathTooLong,
    /// Given to private anonymous memory by `prctl(PR_SET_VMA_ANON_NAME)`.
    Anon(Vec<u8>),
    /// Given to shared anonymous memory by `prctl(PR_SET_VMA_ANON_NAME)`.
    AnonShmem(Vec<u8>),
    /// The heap that brk(2) moves.
    Heap,
    /// The main thread's stack.
    Stack,
    /// Mapped and named by the kernel, such as `[vdso]`.
    Special(Vec<u8>),
}

/// What the kernel had to say against a record. See `docs/tearing.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Range and fields are of different moments: the mapping was changing.
    pub unstable: bool,
    /// The fields were withheld; the range stands.
    pub withheld: bool,
    /// The mapping begins before `start`.
    pub clipped: bool,
}

impl Permissions {
    /// From `MAPS_LOCKLESS_VMA_*` bits.
    pub fn from_vma_flags(flags: u64) -> Self {
        Self {
            read: flags & wire::MAPS_LOCKLESS_VMA_READ != 0,
            write: flags & wire::MAPS_LOCKLESS_VMA_WRITE != 0,
            execute: flags & wire::MAPS_LOCKLESS_VMA_EXEC != 0,
            shared: flags & wire::MAPS_LOCKLESS_VMA_SHARED != 0,
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

impl Name {
    /// What maps shows, byte for byte: a newline in a path comes as `\012`, a deleted file carries
    /// the suffix ` (deleted)`. Empty where maps shows nothing.
    pub fn to_maps(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Unknown | Self::None | Self::PathTooLong => Cow::Borrowed(b""),
            Self::Heap => Cow::Borrowed(b"[heap]"),
            Self::Stack => Cow::Borrowed(b"[stack]"),
            Self::Special(name) => Cow::Borrowed(name),
            Self::Anon(name) => Cow::Owned([b"[anon:", &name[..], b"]"].concat()),
            Self::AnonShmem(name) => Cow::Owned([b"[anon_shmem:", &name[..], b"]"].concat()),
            Self::Path { path, deleted } => {
                let mut out = Vec::with_capacity(path.len());
                for &byte in path {
                    match byte {
                        b'\n' => out.extend(b"\\012"),
                        _ => out.push(byte),
                    }
                }
                if *deleted {
                    out.extend(b" (deleted)");
                }
                Cow::Owned(out)
            }
        }
    }
}

impl From<decode::Vma<'_>> for Mapping {
    fn from(vma: decode::Vma<'_>) -> Self {
        use wire::*;

        let fields = &vma.fields;
        let valid = |field| fields.valid & field != 0;
        let marked = |flag| fields.flags & flag != 0;
        let bytes = || vma.name.to_vec();
        let name = match fields.name_kind {
            _ if marked(MAPS_LOCKLESS_REC_NAME_TOO_LONG) => Name::PathTooLong,
            _ if !valid(MAPS_LOCKLESS_FIELD_NAME) => Name::Unknown,
            MAPS_LOCKLESS_NAME_NONE => Name::None,
            MAPS_LOCKLESS_NAME_PATH => Name::Path {
                path: bytes(),
                deleted: marked(MAPS_LOCKLESS_REC_DELETED),
            },
            MAPS_LOCKLESS_NAME_ANON => Name::Anon(bytes()),
            MAPS_LOCKLESS_NAME_ANON_SHMEM => Name::AnonShmem(bytes()),
            MAPS_LOCKLESS_NAME_HEAP => Name::Heap,
            MAPS_LOCKLESS_NAME_STACK => Name::Stack,
            MAPS_LOCKLESS_NAME_SPECIAL => Name::Special(bytes()),
            _ => Name::Unknown,
        };
        Self {
            start: fields.start,
            end: fields.end,
            permissions: valid(MAPS_LOCKLESS_FIELD_FLAGS)
                .then(|| Permissions::from_vma_flags(fields.vma_flags)),
            vma_flags: fields.vma_flags,
            offset: valid(MAPS_LOCKLESS_FIELD_PGOFF).then_some(fields.pgoff),
            device: valid(MAPS_LOCKLESS_FIELD_DEV).then_some(Device {
                major: fields.dev_major,
                minor: fields.dev_minor,
            }),
            inode: valid(MAPS_LOCKLESS_FIELD_INO).then_some(fields.ino),
            name,
            marks: Marks {
                unstable: marked(MAPS_LOCKLESS_REC_UNSTABLE),
                withheld: marked(MAPS_LOCKLESS_REC_WITHHELD),
                clipped: marked(MAPS_LOCKLESS_REC_CLIPPED),
            },
        }
    }
}
