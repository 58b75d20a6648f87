// SPDX-License-Identifier: GPL-2.0

//! `/proc/<pid>/maps_lockless`: a process's memory map, read without a lock.
//!
//! - `wire.rs` is the format.
//! - `walk.rs` goes through the VMAs in short RCU sections and makes records of them.
//! - `batch.rs` is the buffer that the records are collected in.
//! - `flags.rs` translates `vm_flags`.
//!
//! This file is the entry from C. It is the only one here with unsafe code: what is unsafe about
//! VMAs that nobody has locked is in `rust/kernel/mm/lockless.rs`.
//!
//! No lock of the target is ever taken: neither its `mmap_lock` nor a VMA's. See
//! `Documentation/filesystems/proc_maps_lockless.rst`.

mod batch;
mod flags;
mod walk;
#[expect(
    dead_code,
    unreachable_pub,
    reason = "shared with a library, where it is public and where all of it is used"
)]
mod wire;

use kernel::{
    bindings,
    mm::Mm,
    prelude::*,
    uaccess::{UserPtr, UserSlice},
};

/// Reads a batch of records.
///
/// # Safety
///
/// * `mm` is null, or points to an `mm_struct` with a reference by `mmgrab()`.
/// * `ppos` may be read and written.
///
/// Both hold for the duration of the call.
#[export]
pub unsafe extern "C" fn maps_lockless_read(
    mm: *mut bindings::mm_struct,
    buf: *mut c_char,
    count: usize,
    ppos: *mut bindings::loff_t,
) -> isize {
    let mm = if mm.is_null() {
        None
    } else {
        // SAFETY: The caller vouches for it.
        Some(unsafe { Mm::from_raw(mm) })
    };
    // SAFETY: The caller vouches for it. Positions are unsigned here (`FOP_UNSIGNED_OFFSET`).
    let pos = unsafe { *ppos } as u64;
    let mut out = UserSlice::new(UserPtr::from_addr(buf.addr()), count).writer();

    match walk::read(mm, &mut out, pos) {
        Ok(read) => {
            // SAFETY: As above.
            unsafe { *ppos = read.pos as bindings::loff_t };
            read.bytes as isize
        }
        Err(error) => error.to_errno() as isize,
    }
}
