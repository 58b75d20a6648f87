// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mappings whose pages have other sizes, and other protection keys.

#![expect(
    unsafe_code,
    reason = "mapping memory and what libc alone offers has no safe form"
)]

use crate::shapes::{PAGE, anonymous};
use anyhow::{Result, bail, ensure};
use nix::{
    libc::{self, c_int, c_ulong},
    sys::mman::MapFlags,
};
use std::{io, path::Path};

/// Sizes of pages of hugetlbfs, as logarithms, and the folder that the kernel has for each that it knows.
const HUGE: [(c_int, &str); 2] = [
    (21, "/sys/kernel/mm/hugepages/hugepages-2048kB"),
    (30, "/sys/kernel/mm/hugepages/hugepages-1048576kB"),
];

/// Maps memory of each size that the machine has, and touches none of it. Says which.
pub fn sizes() -> Result<String> {
    let mut said = Vec::new();
    for (shift, folder) in HUGE {
        if !Path::new(folder).exists() {
            continue;
        }
        let flags = libc::MAP_PRIVATE
            | libc::MAP_ANONYMOUS
            // No page is set aside for it, of which there may be none.
            | libc::MAP_NORESERVE
            | libc::MAP_HUGETLB
            | shift << libc::MAP_HUGE_SHIFT;
        // SAFETY: The kernel chooses an address where nothing is.
        let memory = unsafe {
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), 1 << shift, prot, flags, -1, 0)
        };
        ensure!(
            memory != libc::MAP_FAILED,
            "pages of {} bytes: {}",
            1_u64 << shift,
            io::Error::last_os_error()
        );
        said.push((1_u64 << shift).to_string());
    }
    // SysV shared memory has an operation of its own that tells the size.
    // SAFETY: Neither call takes a pointer that it could misuse.
    unsafe {
        let flags = libc::IPC_CREAT | libc::SHM_HUGETLB | libc::SHM_NORESERVE | 0o600;
        let id = libc::shmget(libc::IPC_PRIVATE, 2 << 20, flags);
        if id < 0 || libc::shmat(id, std::ptr::null(), 0) as isize == -1 {
            bail!("shmget: {}", io::Error::last_os_error());
        }
        libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut());
    }
    Ok(said.join(" "))
}

/// Gives memory a protection key. Says which and where, or nothing where the machine has none.
pub fn protection_keys() -> Result<String> {
    // SAFETY: The call takes no pointer.
    let key = unsafe { libc::syscall(libc::SYS_pkey_alloc, 0 as c_ulong, 0 as c_ulong) };
    if key < 0 {
        return Ok(String::new());
    }
    let memory = anonymous(3 * PAGE, MapFlags::MAP_PRIVATE)?;
    // SAFETY: The page is of the mapping made above, which nobody else uses.
    unsafe {
        let page = memory.as_ptr().byte_add(PAGE);
        let prot = libc::PROT_READ as c_ulong;
        if libc::syscall(libc::SYS_pkey_mprotect, page, PAGE, prot, key) != 0 {
            bail!("pkey_mprotect: {}", io::Error::last_os_error());
        }
        Ok(format!("{key} {:x}", page.addr()))
    }
}
