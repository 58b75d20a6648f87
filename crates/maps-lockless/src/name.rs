// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a mapping is called. Names are bytes: nothing says that they are UTF-8.

use crate::{decode, wire};
use alloc::{borrow::Cow, vec::Vec};

/// What a mapping is called, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameRef<'a> {
    /// Not known: it was not asked for, or could not be proved to be this mapping's.
    Unknown,
    /// It has none.
    None,
    /// The path of the mapped file.
    Path {
        /// The path, seen from the root directory of the reader, without the mark of a deleted
        /// file. From the text of maps, a newline in it is written `\012`, which is not told from
        /// those four characters.
        path: &'a [u8],
        /// Whether maps shows ` (deleted)` behind it. Whether the file was unlinked is
        /// [`MappingRef::deleted`](crate::MappingRef::deleted).
        marked: bool,
    },
    /// The path of the mapped file is longer than `PATH_MAX` (4096 bytes).
    PathTooLong,
    /// Given to private anonymous memory by `prctl(PR_SET_VMA_ANON_NAME)`.
    Anon(&'a [u8]),
    /// Given to shared anonymous memory by `prctl(PR_SET_VMA_ANON_NAME)`.
    AnonShmem(&'a [u8]),
    /// The heap that brk(2) moves.
    Heap,
    /// The main thread's stack.
    Stack,
    /// Mapped and named by the kernel, such as `[vdso]`.
    Special(&'a [u8]),
}

/// What a mapping is called. See [`NameRef`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "they are NameRef's")]
pub enum Name {
    Unknown,
    None,
    Path { path: Vec<u8>, marked: bool },
    PathTooLong,
    Anon(Vec<u8>),
    AnonShmem(Vec<u8>),
    Heap,
    Stack,
    Special(Vec<u8>),
}

impl<'a> NameRef<'a> {
    /// Of a VMA's record and the name in it, and of what [`NameRef::of_file`] tells of its file.
    #[inline]
    pub(crate) fn new(
        fields: &wire::maps_lockless_vma,
        name: &'a [u8],
        of_file: Option<&Self>,
        batch: &wire::maps_lockless_batch,
    ) -> Self {
        use wire::*;

        let unnamed = of_file.copied().unwrap_or(Self::Unknown);
        if fields.valid & MAPS_LOCKLESS_FIELD_NAME == 0 {
            // The path may be known though a name of the VMA's own is not.
            return unnamed;
        }
        match fields.name_kind {
            MAPS_LOCKLESS_NAME_NONE => {
                let no_file = batch.fields_wanted & MAPS_LOCKLESS_FIELD_PATH != 0
                    || fields.valid & MAPS_LOCKLESS_FIELD_FLAGS != 0
                        && fields.vma_flags & MAPS_LOCKLESS_VMA_FILE == 0;
                match of_file {
                    None if no_file => Self::None,
                    _ => unnamed,
                }
            }
            MAPS_LOCKLESS_NAME_ANON => Self::Anon(name),
            MAPS_LOCKLESS_NAME_ANON_SHMEM => Self::AnonShmem(name),
            MAPS_LOCKLESS_NAME_HEAP => Self::Heap,
            MAPS_LOCKLESS_NAME_STACK => Self::Stack,
            MAPS_LOCKLESS_NAME_SPECIAL => Self::Special(name),
            // Of a kernel to come.
            _ => Self::Unknown,
        }
    }

    /// Whether a mapping of a file is called as [`NameRef::of_file`] tells, by its record.
    #[inline]
    pub(crate) fn is_of_file(fields: &wire::maps_lockless_vma) -> bool {
        use wire::*;

        fields.valid & MAPS_LOCKLESS_FIELD_NAME == 0 || fields.name_kind == MAPS_LOCKLESS_NAME_NONE
    }

    /// What a mapping of a file is called that has no name of its own: the path, if it is known.
    #[inline]
    pub(crate) fn of_file(file: &decode::File<'a>) -> Self {
        use wire::*;

        if file.fields.valid & MAPS_LOCKLESS_FIELD_PATH != 0 {
            Self::Path {
                path: file.path,
                marked: file.deleted() == Some(true),
            }
        } else if file.fields.flags & MAPS_LOCKLESS_FILE_PATH_TOO_LONG != 0 {
            Self::PathTooLong
        } else {
            Self::Unknown
        }
    }

    /// The path of the mapped file.
    #[cfg(feature = "std")]
    pub fn path(self) -> Option<&'a std::path::Path> {
        use std::os::unix::ffi::OsStrExt;

        match self {
            Self::Path { path, .. } => Some(std::ffi::OsStr::from_bytes(path).as_ref()),
            _ => None,
        }
    }

    /// What maps shows, byte for byte: a newline in a path comes as `\012`, a deleted file carries
    /// the suffix ` (deleted)`. Empty where maps shows nothing.
    pub fn to_maps(self) -> Cow<'a, [u8]> {
        match self {
            Self::Unknown | Self::None | Self::PathTooLong => Cow::Borrowed(b""),
            Self::Heap => Cow::Borrowed(b"[heap]"),
            Self::Stack => Cow::Borrowed(b"[stack]"),
            Self::Special(name) => Cow::Borrowed(name),
            Self::Anon(name) => Cow::Owned([b"[anon:", name, b"]"].concat()),
            Self::AnonShmem(name) => Cow::Owned([b"[anon_shmem:", name, b"]"].concat()),
            Self::Path {
                path,
                marked: false,
            } if !path.contains(&b'\n') => Cow::Borrowed(path),
            Self::Path { path, marked } => {
                let mut out = Vec::with_capacity(path.len() + 16);
                for &byte in path {
                    match byte {
                        b'\n' => out.extend(b"\\012"),
                        _ => out.push(byte),
                    }
                }
                if marked {
                    out.extend(b" (deleted)");
                }
                Cow::Owned(out)
            }
        }
    }

    /// A copy that owns its bytes.
    pub fn to_owned(self) -> Name {
        match self {
            Self::Unknown => Name::Unknown,
            Self::None => Name::None,
            Self::Path { path, marked } => Name::Path {
                path: path.to_vec(),
                marked,
            },
            Self::PathTooLong => Name::PathTooLong,
            Self::Anon(name) => Name::Anon(name.to_vec()),
            Self::AnonShmem(name) => Name::AnonShmem(name.to_vec()),
            Self::Heap => Name::Heap,
            Self::Stack => Name::Stack,
            Self::Special(name) => Name::Special(name.to_vec()),
        }
    }
}

impl Name {
    /// The same, borrowed.
    pub fn as_ref(&self) -> NameRef<'_> {
        match self {
            Self::Unknown => NameRef::Unknown,
            Self::None => NameRef::None,
            Self::Path { path, marked } => NameRef::Path {
                path,
                marked: *marked,
            },
            Self::PathTooLong => NameRef::PathTooLong,
            Self::Anon(name) => NameRef::Anon(name),
            Self::AnonShmem(name) => NameRef::AnonShmem(name),
            Self::Heap => NameRef::Heap,
            Self::Stack => NameRef::Stack,
            Self::Special(name) => NameRef::Special(name),
        }
    }

    /// The path of the mapped file.
    #[cfg(feature = "std")]
    pub fn path(&self) -> Option<&std::path::Path> {
        self.as_ref().path()
    }
}
