// SPDX-License-Identifier: MIT OR Apache-2.0

//! PROCMAP_QUERY, the ioctl(2) of `/proc/PID/maps`, to compare with. See include/uapi/linux/fs.h.

use anyhow::{Result, bail};
use nix::{errno::Errno, libc, request_code_readwrite};
use std::{fs::File, os::fd::AsRawFd};

/// Also the next mapping, where none covers the address.
pub const COVERING_OR_NEXT_VMA: u64 = 0x10;
/// Only executable mappings.
pub const EXECUTABLE_VMA: u64 = 0x04;
/// Only mappings of files.
pub const FILE_BACKED_VMA: u64 = 0x20;
/// Its number.
pub const PROCMAP_QUERY: libc::c_ulong = request_code_readwrite!(b'f', 17, size_of::<Query>());

/// `struct procmap_query`.
#[derive(Debug, Default)]
#[repr(C)]
#[expect(missing_docs, reason = "they are the kernel's")]
pub struct Query {
    pub size: u64,
    pub query_flags: u64,
    pub query_addr: u64,
    pub vma_start: u64,
    pub vma_end: u64,
    pub vma_flags: u64,
    pub vma_page_size: u64,
    pub vma_offset: u64,
    pub inode: u64,
    pub dev_major: u32,
    pub dev_minor: u32,
    pub vma_name_size: u32,
    pub build_id_size: u32,
    pub vma_name_addr: u64,
    pub build_id_addr: u64,
}

/// Looks a mapping up in an open `maps`. [`None`] where there is none.
pub fn query(maps: &File, flags: u64, address: u64) -> Result<Option<Query>> {
    Ok(ask(maps, flags, address, &mut [], &mut [])?)
}

/// As [`query`], with as much room for the name, which an empty one does not ask for.
pub fn named(maps: &File, flags: u64, address: u64, name: &mut [u8]) -> Result<Option<Query>> {
    Ok(ask(maps, flags, address, name, &mut [])?)
}

/// The build ID of the file that is mapped at an address. [`None`] where it has none.
pub fn build_id(maps: &File, address: u64) -> Result<Option<Vec<u8>>> {
    let mut id = [0; 20];
    let Some(query) = ask(maps, 0, address, &mut [], &mut id)? else {
        bail!("nothing is mapped at {address:x}");
    };
    Ok((query.build_id_size > 0).then(|| id[..query.build_id_size as usize].to_vec()))
}

fn ask(
    maps: &File,
    flags: u64,
    address: u64,
    name: &mut [u8],
    id: &mut [u8],
) -> Result<Option<Query>, Errno> {
    let pointer = |bytes: &mut [u8]| match bytes {
        [] => 0,
        bytes => bytes.as_mut_ptr().expose_provenance() as u64,
    };
    let mut query = Query {
        size: size_of::<Query>() as u64,
        query_flags: flags,
        query_addr: address,
        vma_name_size: name.len() as u32,
        build_id_size: id.len() as u32,
        vma_name_addr: pointer(name),
        build_id_addr: pointer(id),
        ..Default::default()
    };
    #[expect(unsafe_code, reason = "ioctl(2) has no safe form")]
    // SAFETY: The struct has the size that it tells, and so have the buffers that it points to.
    let result = unsafe { libc::ioctl(maps.as_raw_fd(), PROCMAP_QUERY, &raw mut query) };
    match result {
        0 => Ok(Some(query)),
        _ if Errno::last() == Errno::ENOENT => Ok(None),
        _ => Err(Errno::last()),
    }
}
