// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files below /proc: opened and read, with their names kept for errors.

use crate::Error;
use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat},
    sys::stat::Mode,
    unistd::{Whence, lseek, read},
};
use std::{
    format,
    fs::{self, File},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
};

/// An open file, and its name.
#[derive(Debug)]
pub(crate) struct NamedFile {
    file: File,
    path: PathBuf,
}

impl NamedFile {
    /// Opens a file by its full name.
    pub(crate) fn open(path: PathBuf, flags: OFlag) -> Result<Self, Error> {
        Self::opened(path, |path| {
            open(path, flags | OFlag::O_CLOEXEC, Mode::empty())
        })
    }

    /// Opens `name` in a folder. `path` is for errors.
    pub(crate) fn open_at(
        dir: BorrowedFd<'_>,
        name: &Path,
        path: PathBuf,
        flags: OFlag,
    ) -> Result<Self, Error> {
        Self::opened(path, |_| {
            openat(dir, name, flags | OFlag::O_CLOEXEC, Mode::empty())
        })
    }

    fn opened(
        path: PathBuf,
        call: impl Fn(&Path) -> Result<OwnedFd, Errno>,
    ) -> Result<Self, Error> {
        match retry(|| call(&path)) {
            Ok(fd) => Ok(Self {
                file: fd.into(),
                path,
            }),
            Err(errno) => Err(Error::os(path, errno)),
        }
    }

    /// Takes a file that is open already, and finds out its name.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let path = fs::read_link(&link).unwrap_or_else(|_| link.into());
        Self {
            file: fd.into(),
            path,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Reads at the file position, which moves. 0 at the end.
    pub(crate) fn read(&self, buf: &mut [u8]) -> Result<usize, Error> {
        self.done(retry(|| read(&self.file, buf)))
    }

    /// Reads at a position, and leaves the file's own alone.
    ///
    /// By std: nix's pread(2) has the libc's own type of offset, which some 32-bit machines have 32 bits of.
    pub(crate) fn read_at(&self, buf: &mut [u8], position: u64) -> Result<usize, Error> {
        self.done(retry(|| {
            let len = self.file.read_at(buf, position);
            len.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))
        }))
    }

    pub(crate) fn rewind(&self) -> Result<(), Error> {
        self.done(lseek(&self.file, 0, Whence::SeekSet).map(drop))
    }

    fn done<T>(&self, result: Result<T, Errno>) -> Result<T, Error> {
        result.map_err(|errno| Error::os(&self.path, errno))
    }
}

impl From<NamedFile> for File {
    fn from(file: NamedFile) -> Self {
        file.file
    }
}

/// Calls again what a signal interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}
