// SPDX-License-Identifier: MIT OR Apache-2.0

//! The library's error.

use crate::{VmaFlags, decode::DecodeError, request::field_names};
use core::fmt;
use nix::errno::Errno;
use std::{io, path::PathBuf};

/// Why a process's mappings could not be read, or a capture not be read or written.
///
/// Its text names the file, what failed and what to try.
#[derive(Debug)]
pub struct Error {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Os(Errno),
    /// ENOENT, and yet the process is there.
    Unsupported,
    /// The source does not know what is asked about.
    CannotSelect,
    /// `maps_lockless` does not know these fields and flags, which were asked for.
    Refused {
        fields: u64,
        vma_flags: u64,
    },
    /// The range that was asked for has no address.
    EmptyRange,
    /// What an ioctl(2) of `maps_lockless` answered is none.
    BadAnswer,
    /// The kernel could not prove what is mapped at an address.
    Unproved {
        address: u64,
    },
    Io(io::ErrorKind),
    Format(DecodeError),
    Text {
        line: usize,
    },
    Stuck,
    /// A capture, and where in it.
    #[cfg(feature = "capture")]
    Capture {
        offset: u64,
        fault: crate::capture::Fault,
    },
    /// Something that a capture cannot hold.
    #[cfg(feature = "capture")]
    Unwritable,
}

impl Error {
    pub(crate) fn os(path: impl Into<PathBuf>, errno: Errno) -> Self {
        Self {
            path: path.into(),
            cause: Cause::Os(errno),
        }
    }

    pub(crate) fn unsupported(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            cause: Cause::Unsupported,
        }
    }

    pub(crate) fn cannot_select(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            cause: Cause::CannotSelect,
        }
    }

    pub(crate) fn refused(path: impl Into<PathBuf>, fields: u64, vma_flags: u64) -> Self {
        Self {
            path: path.into(),
            cause: Cause::Refused { fields, vma_flags },
        }
    }

    pub(crate) fn empty_range(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            cause: Cause::EmptyRange,
        }
    }

    pub(crate) fn bad_answer(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            cause: Cause::BadAnswer,
        }
    }

    pub(crate) fn unproved(path: impl Into<PathBuf>, address: u64) -> Self {
        Self {
            path: path.into(),
            cause: Cause::Unproved { address },
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, error: &io::Error) -> Self {
        Self {
            path: path.into(),
            cause: match error.raw_os_error() {
                Some(errno) => Cause::Os(Errno::from_raw(errno)),
                None => Cause::Io(error.kind()),
            },
        }
    }

    pub(crate) fn format(path: impl Into<PathBuf>, error: DecodeError) -> Self {
        Self {
            path: path.into(),
            cause: Cause::Format(error),
        }
    }

    pub(crate) fn text(path: impl Into<PathBuf>, line: usize) -> Self {
        Self {
            path: path.into(),
            cause: Cause::Text { line },
        }
    }

    pub(crate) fn stuck(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            cause: Cause::Stuck,
        }
    }

    #[cfg(feature = "capture")]
    pub(crate) fn capture(offset: u64, fault: crate::capture::Fault) -> Self {
        Self {
            path: "capture".into(),
            cause: Cause::Capture { offset, fault },
        }
    }

    #[cfg(feature = "capture")]
    pub(crate) fn unwritable() -> Self {
        Self {
            path: "capture".into(),
            cause: Cause::Unwritable,
        }
    }

    /// The errno of the system call that failed, if one did.
    pub fn errno(&self) -> Option<i32> {
        self.os_errno().map(|errno| errno as i32)
    }

    fn os_errno(&self) -> Option<Errno> {
        match self.cause {
            Cause::Os(errno) => Some(errno),
            Cause::Unsupported => Some(Errno::ENOENT),
            Cause::Refused { .. } | Cause::EmptyRange => Some(Errno::EINVAL),
            _ => None,
        }
    }

    /// There is no such process or thread.
    pub fn is_not_found(&self) -> bool {
        matches!(self.cause, Cause::Os(Errno::ENOENT))
    }

    /// This kernel does not have the source that was asked for, or the source cannot select what was
    /// asked for.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self.cause,
            Cause::Unsupported | Cause::CannotSelect | Cause::Refused { .. }
        )
    }

    /// The process changed its mappings so much that the kernel could not prove what is mapped at the
    /// address that was looked up. Try again.
    pub fn is_unproved(&self) -> bool {
        matches!(self.cause, Cause::Unproved { .. })
    }

    /// The process has exited meanwhile.
    pub fn is_exited(&self) -> bool {
        matches!(self.os_errno(), Some(Errno::ESRCH))
    }

    /// The process's mappings may not be read by this user.
    pub fn is_permission(&self) -> bool {
        matches!(self.os_errno(), Some(Errno::EACCES | Errno::EPERM))
    }

    /// What the kernel returned, or a capture, cannot be understood.
    pub fn is_malformed(&self) -> bool {
        match self.cause {
            Cause::Format(_) | Cause::Text { .. } | Cause::Stuck | Cause::BadAnswer => true,
            #[cfg(feature = "capture")]
            Cause::Capture { .. } => true,
            _ => false,
        }
    }

    /// Where in what a read(2) returned, or in a capture, it cannot be understood, in bytes from the
    /// first.
    pub fn malformed_offset(&self) -> Option<usize> {
        match &self.cause {
            Cause::Format(error) => Some(error.offset),
            #[cfg(feature = "capture")]
            Cause::Capture { offset, .. } => usize::try_from(*offset).ok(),
            _ => None,
        }
    }
}

/// Writes the fields and flags that a kernel does not know, by name where they have one here.
fn write_unknown(f: &mut fmt::Formatter<'_>, fields: u64, vma_flags: u64) -> fmt::Result {
    if fields != 0 {
        write!(f, " the fields {fields:#x} (")?;
        write_names(f, field_names(fields))?;
        f.write_str(if vma_flags != 0 { ") and" } else { ")" })?;
    }
    if vma_flags != 0 {
        let flags = VmaFlags {
            set: vma_flags,
            known: vma_flags,
        };
        write!(f, " the VMA flags {vma_flags:#x} (")?;
        write_names(f, flags.smaps_names())?;
        f.write_str(")")?;
    }
    Ok(())
}

fn write_names<'a>(
    f: &mut fmt::Formatter<'_>,
    mut names: impl Iterator<Item = &'a str>,
) -> fmt::Result {
    f.write_str(names.next().unwrap_or("without name"))?;
    names.try_for_each(|name| write!(f, ", {name}"))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.cause {
            Cause::Os(Errno::ENOENT) => write!(f, "{path}: no such process (ENOENT)"),
            Cause::Unsupported => write!(
                f,
                "{path}: this kernel has no such file (ENOENT): try another source"
            ),
            Cause::CannotSelect => write!(
                f,
                "{path}: this source does not know what is asked for: try another one, or ask for less"
            ),
            Cause::Refused { fields, vma_flags } => {
                write!(f, "{path}: this kernel does not know")?;
                write_unknown(f, *fields, *vma_flags)?;
                f.write_str(" (EINVAL): try another source, or ask for less")
            }
            Cause::EmptyRange => write!(
                f,
                "{path}: the range that is asked for has no address (EINVAL): it must end above its start"
            ),
            Cause::BadAnswer => write!(
                f,
                "{path}: what the kernel answered cannot be understood: is this the file of that name, \
                 and is this program too old for it?"
            ),
            Cause::Unproved { address } => write!(
                f,
                "{path}: what is mapped at {address:#x} could not be proved, for the process was changing \
                 its mappings: try again"
            ),
            Cause::Io(kind) => write!(f, "{path}: {kind}"),
            Cause::Os(Errno::ESRCH) => write!(f, "{path}: the process has exited (ESRCH)"),
            Cause::Os(errno @ (Errno::EACCES | Errno::EPERM)) => write!(
                f,
                "{path}: not permitted ({errno:?}): try as root, or as the process's user; hidepid of \
                 /proc and security modules can forbid it too"
            ),
            Cause::Os(errno) => write!(f, "{path}: {} ({errno:?})", errno.desc()),
            Cause::Format(_) => write!(
                f,
                "{path}: what the kernel returned cannot be decoded: is this program too old for it?"
            ),
            Cause::Text { line } => write!(f, "{path}: line {line} is not a mapping"),
            Cause::Stuck => write!(f, "{path}: the kernel returned a batch that does not go on"),
            #[cfg(feature = "capture")]
            Cause::Capture { offset, fault } => write!(f, "{path}: at byte {offset}: {fault}"),
            #[cfg(feature = "capture")]
            Cause::Unwritable => write!(
                f,
                "{path}: this snapshot has no place in it: it is too large, try to select fewer \
                 mappings, or a range ends before it begins"
            ),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.cause {
            Cause::Format(error) => Some(error),
            // The text has the errno.
            _ => None,
        }
    }
}
