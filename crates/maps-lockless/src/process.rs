// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whose mappings to read.

use crate::{
    Error, Lookup, Mapping, Reader, Request, Snapshot, Source,
    file::{NamedFile, retry},
    mapped,
};
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::stat::Mode,
};
use std::{
    format, fs,
    fs::File,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    string::String,
    sync::Arc,
};

/// A process, or one thread of it.
///
/// Threads share their mappings. To ask for a thread matters where the main thread has exited and
/// others go on: the process's own files show nothing then.
#[derive(Clone, Debug)]
pub struct Process {
    /// `/proc/PID`, or that of a thread.
    path: PathBuf,
    /// The same, open: whoever gets the ID later, this is the process that it was.
    dir: Option<Arc<OwnedFd>>,
}

impl Process {
    /// The process `pid`.
    pub fn new(pid: u32) -> Self {
        Self::at(format!("/proc/{pid}"))
    }

    /// The thread `tid` of process `pid`.
    pub fn thread(pid: u32, tid: u32) -> Self {
        Self::at(format!("/proc/{pid}/task/{tid}"))
    }

    /// The process that calls.
    pub fn current() -> Self {
        Self::at("/proc/self".into())
    }

    fn at(path: String) -> Self {
        Self {
            path: path.into(),
            dir: None,
        }
    }

    /// The process that a pidfd is of (pidfd_open(2)). Whoever gets its ID later is not taken for it.
    pub fn from_pidfd(pidfd: BorrowedFd<'_>) -> Result<Self, Error> {
        let info = PathBuf::from(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
        let text = fs::read_to_string(&info).map_err(|error| Error::io(&info, &error))?;
        let pid = text
            .lines()
            .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
            .ok_or_else(|| Error::os(&info, Errno::EBADF))?;
        let process = Self::pinned(pid)?;
        // It has not exited, so the ID was its own while the folder was opened.
        let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
        match retry(|| poll(&mut fds, PollTimeout::ZERO)) {
            Ok(0) => Ok(process),
            Ok(_) => Err(Error::os(&process.path, Errno::ESRCH)),
            Err(errno) => Err(Error::os(&info, errno)),
        }
    }

    /// The process `pid`, kept by its folder: whoever gets the ID later is not taken for it.
    pub fn pinned(pid: u32) -> Result<Self, Error> {
        Self::new(pid).pin()
    }

    /// The same, kept by its folder, if it was not already.
    pub(crate) fn pin(mut self) -> Result<Self, Error> {
        if self.dir.is_some() {
            return Ok(self);
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match retry(|| open(&self.path, flags, Mode::empty())) {
            Ok(dir) => {
                self.dir = Some(Arc::new(dir));
                Ok(self)
            }
            Err(errno) => Err(Error::os(&self.path, errno)),
        }
    }

    pub(crate) fn file(&self, name: impl AsRef<Path>) -> Result<NamedFile, Error> {
        self.open_file(name.as_ref(), OFlag::O_RDONLY)
    }

    /// Opens one of the process's files, or a file below its root.
    pub(crate) fn open_file(&self, name: &Path, flags: OFlag) -> Result<NamedFile, Error> {
        let path = self.path.join(name);
        match &self.dir {
            None => NamedFile::open(path, flags),
            Some(dir) => NamedFile::open_at(dir.as_fd(), name, path, flags),
        }
    }

    pub(crate) fn lockless_file(&self) -> Result<NamedFile, Error> {
        match self.file("maps_lockless") {
            // No such file, or no such process? The process's other files tell.
            Err(error) if error.is_not_found() && self.file("stat").is_ok() => {
                Err(Error::unsupported(self.path.join("maps_lockless")))
            }
            result => result,
        }
    }

    /// Opens the best source that the kernel has.
    ///
    /// A source that cannot select as the request asks is none.
    pub fn open(&self, request: &Request) -> Result<Reader, Error> {
        let mut last = None;
        for source in [Source::Lockless, Source::Query, Source::Maps] {
            match self.open_source(source, request) {
                Err(error) if error.is_unsupported() => last = Some(error),
                result => return result,
            }
        }
        Err(last.unwrap_or_else(|| Error::unsupported(&self.path)))
    }

    /// Opens one source, or fails.
    pub fn open_source(&self, source: Source, request: &Request) -> Result<Reader, Error> {
        let file = match source {
            Source::Lockless => self.lockless_file()?,
            Source::Query | Source::Maps => self.file("maps")?,
        };
        Reader::new(file, source, request)
    }

    /// Reads all mappings from the best source that the kernel has.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        self.open(&Request::default())?.snapshot()
    }

    /// Opens the best source to look single addresses up, one that is live.
    pub fn lookup(&self, request: &Request) -> Result<Lookup, Error> {
        Lookup::open(self, request)
    }

    /// Opens the file that a mapping maps: the very file, whatever has become of its path, in
    /// whichever mount namespace.
    ///
    /// The way is `/proc/<pid>/map_files`, which takes `CAP_CHECKPOINT_RESTORE`. Without it, the path
    /// is tried as the process sees it, and taken if device and inode are those of the mapping. It is
    /// not opened before that is known.
    pub fn open_mapped(&self, mapping: &Mapping) -> Result<File, Error> {
        mapped::open(self, mapping)
    }
}

impl From<u32> for Process {
    fn from(pid: u32) -> Self {
        Self::new(pid)
    }
}
