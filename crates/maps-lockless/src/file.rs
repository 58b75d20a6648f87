// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files below /proc: opened and read, with their names kept for errors.

use crate::Error;
use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat},
    sys::{stat::Mode, uio::pread},
    unistd::{Whence, lseek, read},
};
use std::{
    format, fs,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

/// An open file, and its name.
#[derive(Debug)]
pub(crate) struct NamedFile {
    fd: OwnedFd,
    path: PathBuf,
}

impl NamedFile {
    /// Opens a file by its full name.
    pub(crate) fn open(path: PathBuf) -> Result<Self, Error> {
        Self::opened(path, |path, flags| open(path, flags, Mode::empty()))
    }

    /// Opens `name` in a folder. `path` is for errors.
    pub(crate) fn open_at(dir: BorrowedFd<'_>, name: &str, path: PathBuf) -> Result<Self, Error> {
        Self::opened(path, |_, flags| openat(dir, name, flags, Mode::empty()))
    }

    fn opened(
        path: PathBuf,
        call: impl Fn(&Path, OFlag) -> Result<OwnedFd, Errno>,
    ) -> Result<Self, Error> {
        match retry(|| call(&path, OFlag::O_RDONLY | OFlag::O_CLOEXEC)) {
            Ok(fd) => Ok(Self { fd, path }),
            Err(errno) => Err(Error::os(path, errno)),
        }
    }

    /// Takes a file that is open already, and finds out its name.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let path = fs::read_link(&link).unwrap_or_else(|_| link.into());
        Self { fd, path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Reads at the file position, which moves. 0 at the end.
    pub(crate) fn read(&self, buf: &mut [u8]) -> Result<usize, Error> {
        self.done(retry(|| read(&self.fd, buf)))
    }

    /// Reads at an address, which is no negative offset.
    pub(crate) fn read_at(&self, buf: &mut [u8], address: i64) -> Result<usize, Error> {
        self.done(retry(|| pread(&self.fd, buf, address)))
    }

    pub(crate) fn rewind(&self) -> Result<(), Error> {
        self.done(lseek(&self.fd, 0, Whence::SeekSet).map(drop))
    }

    fn done<T>(&self, result: Result<T, Errno>) -> Result<T, Error> {
        result.map_err(|errno| Error::os(&self.path, errno))
    }
}

impl From<NamedFile> for std::fs::File {
    fn from(file: NamedFile) -> Self {
        file.fd.into()
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
