// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ioctl(2) calls that nix has no function for. This is the library's only unsafe code.

#![expect(unsafe_code, reason = "ioctl(2) takes a pointer")]

use crate::wire::{
    MAPS_LOCKLESS_NR_GET_REQUEST, MAPS_LOCKLESS_NR_GET_STATE, MAPS_LOCKLESS_NR_SET_REQUEST,
    maps_lockless_request, maps_lockless_state,
};
use nix::{
    errno::Errno,
    libc::{self, c_int, c_ulong},
    request_code_readwrite,
};
use std::os::fd::{AsRawFd, BorrowedFd};

/// `PROCFS_IOCTL_MAGIC` of include/uapi/linux/fs.h.
const PROCFS: u8 = b'f';

const SET_REQUEST: c_ulong = request_code_readwrite!(
    PROCFS,
    MAPS_LOCKLESS_NR_SET_REQUEST,
    size_of::<maps_lockless_request>()
) as c_ulong;
const GET_REQUEST: c_ulong = request_code_readwrite!(
    PROCFS,
    MAPS_LOCKLESS_NR_GET_REQUEST,
    size_of::<maps_lockless_request>()
) as c_ulong;
const GET_STATE: c_ulong = request_code_readwrite!(
    PROCFS,
    MAPS_LOCKLESS_NR_GET_STATE,
    size_of::<maps_lockless_state>()
) as c_ulong;
const PROCMAP_QUERY: c_ulong =
    request_code_readwrite!(PROCFS, 17, size_of::<ProcmapQuery>()) as c_ulong;

/// `struct procmap_query` of include/uapi/linux/fs.h.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct ProcmapQuery {
    pub(crate) size: u64,
    pub(crate) query_flags: u64,
    pub(crate) query_addr: u64,
    pub(crate) vma_start: u64,
    pub(crate) vma_end: u64,
    pub(crate) vma_flags: u64,
    pub(crate) vma_page_size: u64,
    pub(crate) vma_offset: u64,
    pub(crate) inode: u64,
    pub(crate) dev_major: u32,
    pub(crate) dev_minor: u32,
    pub(crate) vma_name_size: u32,
    pub(crate) build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

/// Sets what later reads of an open `maps_lockless` return. A request that is refused by EINVAL has
/// what the kernel supports filled in as well.
pub(crate) fn set_request(
    fd: BorrowedFd<'_>,
    request: &mut maps_lockless_request,
) -> Result<(), Errno> {
    request.size = size_of_val(request) as u64;
    // SAFETY: The struct is as long as its first field says, the kernel writes no more than that, any
    // bytes are a value of it, and it is borrowed for the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), SET_REQUEST as _, request) };
    done(result)
}

/// What reads of an open `maps_lockless` return.
pub(crate) fn get_request(fd: BorrowedFd<'_>) -> Result<maps_lockless_request, Errno> {
    let mut request = maps_lockless_request {
        size: size_of::<maps_lockless_request>() as u64,
        ..Default::default()
    };
    // SAFETY: The struct is as long as its first field says, the kernel writes no more than that, any
    // bytes are a value of it, and it is borrowed for the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), GET_REQUEST as _, &raw mut request) };
    done(result)?;
    Ok(request)
}

/// The state of the address space of an open `maps_lockless`.
pub(crate) fn get_state(fd: BorrowedFd<'_>) -> Result<maps_lockless_state, Errno> {
    let mut state = maps_lockless_state {
        size: size_of::<maps_lockless_state>() as u64,
        ..Default::default()
    };
    // SAFETY: The struct is as long as its first field says, the kernel writes no more than that, any
    // bytes are a value of it, and it is borrowed for the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), GET_STATE as _, &raw mut state) };
    done(result)?;
    Ok(state)
}

/// Asks an open `maps` for a mapping. The name goes to `name`, with the NUL behind it, and the build
/// ID to `build_id`, of each as much as the answer's sizes tell. Either may be empty: not wanted.
pub(crate) fn procmap_query(
    fd: BorrowedFd<'_>,
    flags: u64,
    address: u64,
    name: &mut [u8],
    build_id: &mut [u8],
) -> Result<ProcmapQuery, Errno> {
    let pointer = |bytes: &mut [u8]| match bytes {
        [] => 0,
        bytes => bytes.as_mut_ptr().expose_provenance() as u64,
    };
    let mut query = ProcmapQuery {
        size: size_of::<ProcmapQuery>() as u64,
        query_flags: flags,
        query_addr: address,
        vma_name_size: u32::try_from(name.len()).unwrap_or(u32::MAX),
        build_id_size: u32::try_from(build_id.len()).unwrap_or(u32::MAX),
        vma_name_addr: pointer(name),
        build_id_addr: pointer(build_id),
        ..Default::default()
    };
    // SAFETY: The struct is as long as its first field says. Both buffers are as long as it says, or
    // longer, and all three are borrowed for the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), PROCMAP_QUERY as _, &raw mut query) };
    done(result)?;
    Ok(query)
}

fn done(result: c_int) -> Result<(), Errno> {
    Errno::result(result).map(drop)
}
