// SPDX-License-Identifier: GPL-2.0

//! `/proc/<pid>/maps_lockless`: a process's memory map, read without a lock.
//!
//! - `wire.rs` is the format.
//! - `request.rs` is what a reader asks for, and `ioctl.rs` how it says so.
//! - `walk.rs` goes through the VMAs in short RCU sections and makes records of them.
//! - `files.rs` remembers the files that it met.
//! - `batch.rs` lays the records out.
//! - `buffers.rs` is the memory that a read works with.
//! - `flags.rs` translates `vm_flags`.
//!
//! This file is the entry from C. It is the only one here with unsafe code: what is unsafe about
//! VMAs that nobody has locked is in `rust/kernel/mm/lockless.rs`.
//!
//! No read takes a lock of the target: neither its `mmap_lock` nor a VMA's. To open the file does,
//! as to open maps: `mm_access()` takes the `exec_update_lock`. See
//! `Documentation/filesystems/proc_maps_lockless.rst`.

mod batch;
mod buffers;
mod files;
mod flags;
mod ioctl;
mod request;
mod walk;
#[expect(unreachable_pub, reason = "shared with a library, where it is public")]
mod wire;

use buffers::Buffers;
use core::{mem, ptr::NonNull};
use ioctl::Argument;
use kernel::{
    bindings,
    ioctl::{_IOC_NR, _IOC_TYPE},
    mm::Mm,
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{Atomic, Relaxed},
        SpinLock,
    },
    transmute::AsBytes,
    types::ForeignOwnable,
    uaccess::{UserPtr, UserSlice, UserSliceWriter},
};
use request::Request;
use walk::Done;
use wire::*;

/// The letter of the ioctl(2)s of procfs.
const PROCFS_IOCTL_MAGIC: u32 = b'f' as u32;

// SAFETY: It has no padding and no `UnsafeCell`, as its `IntoBytes` and `Immutable` show.
unsafe impl AsBytes for maps_lockless_request {}

// SAFETY: As above.
unsafe impl AsBytes for maps_lockless_state {}

/// An open file.
#[pin_data]
struct OpenFile {
    /// The address space that the process had when the file was opened, if it had one.
    mm: Option<ARef<Mm>>,
    /// The number of the reader's request, for who needs nothing else of it.
    request: Atomic<u64>,
    /// Held to copy it in or out. Only readers through the same open file meet here.
    #[pin]
    reader: SpinLock<Reader>,
}

// Any thread may read it, and another one close it.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<OpenFile>()
};

/// What an open file keeps from one call to the next.
struct Reader {
    request: Request,
    /// The memory of a listing that is not at its end.
    spare: Option<KBox<Buffers>>,
}

/// The number of the last request that anybody has made. No two batches of different requests look
/// as if they were of one, whichever open files they come from.
static LAST_REQUEST: Atomic<u64> = Atomic::new(0);

impl OpenFile {
    /// Reads a batch.
    fn read(&self, out: &mut UserSliceWriter, pos: u64) -> Result<Done> {
        let (request, mut buffers) = {
            let mut reader = self.reader.lock();
            (reader.request, reader.spare.take())
        };
        let done = walk::read(self.mm.as_deref(), &request, &mut buffers, out, pos);
        if buffers.is_some() {
            // What another reader has left there meanwhile is freed behind the lock.
            let other = mem::replace(&mut self.reader.lock().spare, buffers);
            drop(other);
        }
        done
    }

    /// Has later reads do as the request says that user space has at `at`, and answers it.
    fn set_request(&self, at: UserPtr) -> Result {
        const OURS: usize = size_of::<maps_lockless_request>();
        let argument = Argument::new(at, MAPS_LOCKLESS_REQUEST_SIZE_VER0, OURS)?;
        let mut asked = argument.request()?;
        let request = Request::new(&asked);
        asked.fields_supported = request::supported_fields();
        asked.vma_flags_supported = flags::SUPPORTED;
        let Ok(mut request) = request else {
            // Tells why.
            argument.write(&asked)?;
            return request.map(|_| ());
        };
        request.number = LAST_REQUEST.fetch_add(1, Relaxed) + 1;
        asked.request = request.number;
        argument.write(&asked)?;
        let mut reader = self.reader.lock();
        reader.request = request;
        self.request.store(request.number, Relaxed);
        Ok(())
    }

    /// Tells what later reads do.
    fn get_request(&self, at: UserPtr) -> Result {
        const OURS: usize = size_of::<maps_lockless_request>();
        let argument = Argument::new(at, MAPS_LOCKLESS_REQUEST_SIZE_VER0, OURS)?;
        let request = self.reader.lock().request;
        let mut told = request.to_uapi();
        told.fields_supported = request::supported_fields();
        told.vma_flags_supported = flags::SUPPORTED;
        argument.write(&told)
    }

    /// Tells the state of the address space.
    fn get_state(&self, at: UserPtr) -> Result {
        const OURS: usize = size_of::<maps_lockless_state>();
        let argument = Argument::new(at, MAPS_LOCKLESS_STATE_SIZE_VER0, OURS)?;
        let request = self.request.load(Relaxed);
        argument.write(&walk::state(self.mm.as_deref(), request))
    }
}

/// Opens the file. Returns what the other functions take as `file`, or null where there is no
/// memory for it.
///
/// # Safety
///
/// `mm` is null, or the caller gives up a reference to it that was made by `mmgrab()`.
#[export]
pub unsafe extern "C" fn maps_lockless_open(mm: *mut bindings::mm_struct) -> *mut c_void {
    // SAFETY: The caller gives the reference up. `Mm` is transparent.
    let mm = NonNull::new(mm).map(|mm| unsafe { ARef::<Mm>::from_raw(mm.cast()) });
    let file = KBox::pin_init(
        pin_init!(OpenFile {
            mm,
            request: Atomic::new(Request::MAPS.number),
            reader <- new_spinlock!(Reader {
                request: Request::MAPS,
                spare: None,
            }),
        }),
        GFP_KERNEL_ACCOUNT,
    );
    file.map_or(core::ptr::null_mut(), ForeignOwnable::into_foreign)
}

/// Closes the file.
///
/// # Safety
///
/// `file` is from [`maps_lockless_open`], and nobody uses it any more.
#[export]
pub unsafe extern "C" fn maps_lockless_release(file: *mut c_void) {
    // SAFETY: The caller vouches for it.
    drop(unsafe { <Pin<KBox<OpenFile>>>::from_foreign(file) });
}

/// Reads a batch of records.
///
/// # Safety
///
/// For the duration of the call:
///
/// * `file` is from [`maps_lockless_open`], and not closed.
/// * `ppos` may be read and written.
#[export]
pub unsafe extern "C" fn maps_lockless_read(
    file: *mut c_void,
    buf: *mut c_char,
    count: usize,
    ppos: *mut bindings::loff_t,
) -> isize {
    // SAFETY: The caller vouches for it.
    let file = unsafe { <Pin<KBox<OpenFile>>>::borrow(file) };
    // SAFETY: The caller vouches for it.
    let pos = unsafe { *ppos } as u64;
    let mut out = UserSlice::new(UserPtr::from_addr(buf.addr()), count).writer();

    match file.read(&mut out, pos) {
        Ok(read) => {
            // SAFETY: As above.
            unsafe { *ppos = read.pos as bindings::loff_t };
            read.bytes as isize
        }
        Err(error) => error.to_errno() as isize,
    }
}

/// Does what ioctl(2) asks for. Returns 0 or an errno.
///
/// # Safety
///
/// `file` is from [`maps_lockless_open`], and not closed for the duration of the call.
#[export]
pub unsafe extern "C" fn maps_lockless_ioctl(
    file: *mut c_void,
    cmd: c_uint,
    arg: c_ulong,
) -> c_long {
    // SAFETY: The caller vouches for it.
    let file = unsafe { <Pin<KBox<OpenFile>>>::borrow(file) };
    let at = UserPtr::from_addr(arg);
    // Not by the size of the struct in the number, so that the struct may grow.
    let done = match (_IOC_TYPE(cmd), _IOC_NR(cmd)) {
        (PROCFS_IOCTL_MAGIC, MAPS_LOCKLESS_NR_SET_REQUEST) => file.set_request(at),
        (PROCFS_IOCTL_MAGIC, MAPS_LOCKLESS_NR_GET_REQUEST) => file.get_request(at),
        (PROCFS_IOCTL_MAGIC, MAPS_LOCKLESS_NR_GET_STATE) => file.get_state(at),
        _ => Err(ENOTTY),
    };
    done.map_or_else(|error| error.to_errno() as c_long, |()| 0)
}
