// SPDX-License-Identifier: GPL-2.0

//! `/proc/<pid>/maps_lockless`: a process's memory map, read without a lock.
//!
//! - `wire.rs` is the format.
//! - `request.rs` is what a reader asks for.
//! - `walk.rs` goes through the VMAs in short RCU sections and makes records of them.
//! - `files.rs` remembers the files that it met.
//! - `batch.rs` is the buffer that the records are collected in.
//! - `flags.rs` translates `vm_flags`.
//!
//! This file is the entry from C. It is the only one here with unsafe code: what is unsafe about
//! VMAs that nobody has locked is in `rust/kernel/mm/lockless.rs`.
//!
//! No lock of the target is ever taken: neither its `mmap_lock` nor a VMA's. See
//! `Documentation/filesystems/proc_maps_lockless.rst`.

mod batch;
mod files;
mod flags;
mod request;
mod walk;
#[expect(
    dead_code,
    unreachable_pub,
    reason = "shared with a library, where it is public and where all of it is used"
)]
mod wire;

use core::ptr::NonNull;
use kernel::{
    bindings,
    mm::Mm,
    new_spinlock,
    prelude::*,
    sync::{aref::ARef, SpinLock},
    types::ForeignOwnable,
    uaccess::{UserPtr, UserSlice},
};
use request::Request;

/// An open file.
#[pin_data]
struct OpenFile {
    /// The address space that the process had when the file was opened, if it had one.
    mm: Option<ARef<Mm>>,
    /// Held to copy it in or out. Only readers through the same open file meet here.
    #[pin]
    request: SpinLock<Request>,
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
            request <- new_spinlock!(Request::MAPS),
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
    // SAFETY: The caller vouches for it. Positions are unsigned here (`FOP_UNSIGNED_OFFSET`).
    let pos = unsafe { *ppos } as u64;
    let mut out = UserSlice::new(UserPtr::from_addr(buf.addr()), count).writer();
    let request = *file.request.lock();

    match walk::read(file.mm.as_deref(), &request, &mut out, pos) {
        Ok(read) => {
            // SAFETY: As above.
            unsafe { *ppos = read.pos as bindings::loff_t };
            read.bytes as isize
        }
        Err(error) => error.to_errno() as isize,
    }
}

/// Checks a request, and fills in the answers. Returns an errno where the request cannot be met.
///
/// # Safety
///
/// `request` may be read and written for the duration of the call.
#[export]
pub unsafe extern "C" fn maps_lockless_check(
    request: *mut bindings::maps_lockless_request,
) -> c_int {
    // SAFETY: The caller vouches for it. The struct that C made of the header, which is generated
    // from `wire.rs`, has the same layout.
    let request = unsafe { &mut *request.cast::<wire::maps_lockless_request>() };
    if let Err(error) = Request::new(request) {
        return error.to_errno();
    }
    request.supported_fields = request::SUPPORTED_FIELDS;
    request.supported_vma_flags = flags::SUPPORTED;
    0
}

/// Has later reads do as `request` says, which [`maps_lockless_check`] has found to be good.
///
/// # Safety
///
/// For the duration of the call:
///
/// * `file` is from [`maps_lockless_open`], and not closed.
/// * `request` may be read.
#[export]
pub unsafe extern "C" fn maps_lockless_set_request(
    file: *mut c_void,
    request: *const bindings::maps_lockless_request,
) {
    // SAFETY: The caller vouches for it.
    let file = unsafe { <Pin<KBox<OpenFile>>>::borrow(file) };
    // SAFETY: The caller vouches for it. As to the layout, see `maps_lockless_check()`.
    let request = unsafe { &*request.cast::<wire::maps_lockless_request>() };
    if let Ok(request) = Request::new(request) {
        *file.request.lock() = request;
    }
}
