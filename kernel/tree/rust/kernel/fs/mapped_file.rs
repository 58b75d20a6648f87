// SPDX-License-Identifier: GPL-2.0

//! A file that is mapped, and what user space calls it: its path, device and inode number.
//!
//! For a file on overlayfs these are the overlay's own, not those of the layer below.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use crate::{
    bindings,
    error::{code::EAGAIN, to_result, Result},
    ffi::c_int,
    sync::{aref::AlwaysRefCounted, rcu},
    types::Opaque,
};
use core::{marker::PhantomData, mem::MaybeUninit, ptr::NonNull, slice};

/// A file that some process, which need not be the current one, has mapped.
///
/// Unlike a [`LocalFile`] it says nothing of who may be using the file's position, and gives no
/// access to it.
///
/// [`LocalFile`]: super::LocalFile
///
/// # Invariants
///
/// The file is kept by a reference.
#[repr(transparent)]
pub struct MappedFile(Opaque<bindings::file>);

// SAFETY: The type's references are those of `get_file()` and `fput()`.
unsafe impl AlwaysRefCounted for MappedFile {
    #[inline]
    fn inc_ref(&self) {
        // SAFETY: By the type invariants the file has a reference.
        unsafe { bindings::get_file(self.as_ptr()) };
    }

    #[inline]
    unsafe fn dec_ref(file: NonNull<Self>) {
        // SAFETY: The caller gives up a reference.
        unsafe { bindings::fput(file.cast().as_ptr()) };
    }
}

/// The most bytes that a build ID has.
pub const BUILD_ID_MAX: usize = bindings::BUILD_ID_SIZE_MAX as usize;

/// What a file's build ID is.
pub enum BuildId {
    /// So many of these bytes.
    Found([u8; BUILD_ID_MAX], usize),
    /// The file has none: it is not ELF, or has no such note where the kernel looks for it.
    None,
    /// It may have one in a part that is not in the page cache.
    NotResident,
}

/// The identity of the inode that user space takes a file for.
#[derive(Clone, Copy)]
pub struct UserInode {
    /// Major device number of its file system.
    pub major: u32,
    /// Minor device number of its file system.
    pub minor: u32,
    /// Inode number.
    pub ino: u64,
}

/// Makes the paths of files, one after the other, within an RCU section.
///
/// The path of a directory is made once for those of its files that come one after the other.
pub struct UserPaths<'a> {
    buf: &'a mut [MaybeUninit<u8>],
    dir: bindings::d_path_dir,
    _rcu: PhantomData<&'a rcu::Guard>,
}

/// A file's path.
pub struct UserPath<'a> {
    /// Its bytes, without NUL.
    pub bytes: &'a [u8],
    /// Whether it was made from the root on, for its directory was not that of the path before it.
    pub walked: bool,
}

impl<'a> UserPaths<'a> {
    /// Paths have room in `buf`.
    #[inline]
    pub fn new(buf: &'a mut [MaybeUninit<u8>], _rcu: &'a rcu::Guard) -> Self {
        Self {
            buf,
            dir: Default::default(),
            _rcu: PhantomData,
        }
    }

    /// Returns the file's path, as seen from the current task's root directory. The path has no
    /// mark where the file was unlinked.
    ///
    /// Does not sleep. Fails with `ENAMETOOLONG` where the buffer is too short.
    pub fn path(&mut self, file: &MappedFile) -> Result<UserPath<'_>> {
        let walks = self.dir.walks;
        let size = i32::try_from(self.buf.len()).unwrap_or(i32::MAX);
        // SAFETY: By the type invariants the file has a reference, and a file owns its path. `buf`
        // may be written for `size` bytes. `dir` began as zeroes in this RCU section, and is of
        // the path that was made last in this buffer, which nobody else writes.
        let len = to_result_with(unsafe {
            bindings::d_path_unmarked(
                bindings::file_user_path(file.as_ptr()),
                self.buf.as_mut_ptr().cast(),
                size,
                &mut self.dir,
            )
        })?;
        Ok(UserPath {
            // SAFETY: The function has written so many bytes to the beginning of the buffer.
            bytes: unsafe { slice::from_raw_parts(self.buf.as_ptr().cast(), len) },
            walked: self.dir.walks != walks,
        })
    }
}

/// Takes a length, or an errno below zero.
fn to_result_with(len: c_int) -> Result<usize> {
    to_result(len.min(0))?;
    Ok(len as usize)
}

impl MappedFile {
    /// Returns a raw pointer to the inner C struct.
    #[inline]
    pub fn as_ptr(&self) -> *mut bindings::file {
        self.0.get()
    }

    /// Returns the build ID that stands in the file's ELF notes.
    ///
    /// Looks at what is in the page cache alone, and does not sleep.
    pub fn build_id(&self) -> BuildId {
        let mut bytes = [0; BUILD_ID_MAX];
        let mut size = 0;
        // SAFETY: By the type invariants the file has a reference. `bytes` has room for the
        // longest build ID, and the function tells its size in `size`.
        match to_result(unsafe {
            bindings::build_id_parse_resident(self.as_ptr(), bytes.as_mut_ptr(), &mut size)
        }) {
            Ok(()) => BuildId::Found(bytes, size as usize),
            Err(EAGAIN) => BuildId::NotResident,
            Err(_) => BuildId::None,
        }
    }

    /// Whether `d_path` would mark the file's path with " (deleted)".
    pub fn user_path_deleted(&self) -> bool {
        // SAFETY: By the type invariants the file has a reference, and a file owns its path.
        unsafe { bindings::d_path_deleted(bindings::file_user_path(self.as_ptr())) }
    }

    /// Returns the binary logarithm of the bytes of a page where the file is mapped, or [`None`]
    /// where only the driver of a device knows.
    pub fn page_shift(&self) -> Option<u8> {
        // SAFETY: By the type invariants the file has a reference.
        match unsafe { bindings::mapped_file_page_shift(self.as_ptr()) } {
            0 => None,
            shift => Some(shift as u8),
        }
    }

    /// Returns what identifies the file's inode.
    pub fn user_inode(&self) -> UserInode {
        // `MINORBITS` of include/linux/kdev_t.h.
        const MINORBITS: u32 = 20;

        // SAFETY: By the type invariants the file has a reference, which holds its inode and, by
        // that, the super block, whose `s_dev` stays. A FUSE server may give the inode another
        // number at any time: volatile, as `READ_ONCE()`.
        let (dev, ino) = unsafe {
            let inode = bindings::file_user_inode(self.as_ptr());
            (
                (*(*inode).i_sb).s_dev,
                (&raw const (*inode).i_ino).read_volatile(),
            )
        };
        UserInode {
            major: dev >> MINORBITS,
            minor: dev & ((1 << MINORBITS) - 1),
            ino,
        }
    }
}
