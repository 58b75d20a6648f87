// SPDX-License-Identifier: GPL-2.0

//! The files that a batch has met, each pinned and asked once.

use super::batch::{Blob, Full, Place};
use kernel::{
    fs::{BuildId, FileAddr, MappedFile, UserInode, BUILD_ID_MAX},
    prelude::*,
    sync::aref::ARef,
};

/// A file, and what was found out about it.
///
/// The reference that this holds makes the file's address its identity until the batch ends.
pub(crate) struct SeenFile {
    pub(crate) file: ARef<MappedFile>,
    pub(crate) inode: UserInode,
    /// Where its path stands in the batch, and whether it was unlinked. [`None`] where that was
    /// not needed yet, or the path is too long.
    pub(crate) path: Option<(Place, bool)>,
    /// Its build ID, if that was needed already.
    pub(crate) build_id: Option<FileBuildId>,
}

/// A file's build ID, as a batch knows it.
#[derive(Clone, Copy)]
pub(crate) enum FileBuildId {
    /// These bytes, of which so many count. They do not stand in the batch yet.
    New([u8; BUILD_ID_MAX], usize),
    /// It stands here in the batch.
    At(Place),
    /// The file has none.
    None,
    /// A part of the file that may have it is not in the page cache.
    NotResident,
}

impl FileBuildId {
    /// What goes with a record.
    pub(crate) fn blob(&self) -> Blob<'_> {
        match self {
            Self::New(bytes, len) => Blob::New(bytes.get(..*len).unwrap_or(bytes)),
            Self::At(place) => Blob::Again(*place),
            Self::None | Self::NotResident => Blob::None,
        }
    }
}

/// The files of a batch.
pub(crate) struct Files(KVVec<SeenFile>);

impl Files {
    pub(crate) fn new() -> Self {
        Self(KVVec::new())
    }

    /// Makes room for `count` more files. May sleep.
    pub(crate) fn reserve(&mut self, count: usize) -> Result {
        // As for the batch, its reader is told.
        Ok(self.0.reserve(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?)
    }

    /// Adds a file, for which there must be room, and returns its place. Does not sleep.
    pub(crate) fn add(&mut self, file: ARef<MappedFile>) -> Result<usize, Full> {
        let seen = SeenFile {
            inode: file.user_inode(),
            file,
            path: None,
            build_id: None,
        };
        self.0.push_within_capacity(seen).map_err(|_| Full)?;
        Ok(self.0.len() - 1)
    }

    /// Looks for a file. Neighbouring VMAs often map the same, so that it is mostly the last one.
    pub(crate) fn find(&self, addr: FileAddr) -> Option<usize> {
        self.0.iter().rposition(|seen| seen.file.addr() == addr)
    }

    /// A file that was added.
    pub(crate) fn get(&mut self, place: usize) -> Result<&mut SeenFile, Full> {
        self.0.get_mut(place).ok_or(Full)
    }

    /// A file's build ID. It is looked for where neither this file nor another open file of the
    /// same contents was asked before.
    pub(crate) fn build_id(&mut self, place: usize) -> Result<FileBuildId, Full> {
        let seen = self.0.get(place).ok_or(Full)?;
        let same = |other: &&SeenFile| other.file.same_contents(&seen.file);
        let build_id = match self.0.iter().filter(same).find_map(|other| other.build_id) {
            Some(known) => known,
            None => match seen.file.build_id() {
                BuildId::Found(bytes, len) => return Ok(FileBuildId::New(bytes, len)),
                BuildId::None => FileBuildId::None,
                BuildId::NotResident => FileBuildId::NotResident,
            },
        };
        self.get(place)?.build_id = Some(build_id);
        Ok(build_id)
    }
}
