// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mappings whose pages have other sizes, by turns at one place too, and other protection keys.

#![expect(
    unsafe_code,
    reason = "mapping memory and what libc alone offers has no safe form"
)]

use crate::{
    rng::Rng,
    sched,
    shapes::{PAGE, anonymous},
};
use anyhow::{Context, Result, bail, ensure};
use nix::{
    libc::{self, c_int, c_ulong},
    sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap},
};
use std::{
    fs::{self, File},
    io,
    num::NonZeroUsize,
    path::Path,
    ptr::{self, NonNull},
    thread,
};

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

/// Bytes of the place where the kinds of memory take turns: a page of hugetlbfs.
pub const PLACE: usize = 2 << 20;
/// The CPU of those who map by turns. Readers have others.
const CPU: usize = 0;

/// Chooses the place. The memory behind it, twice as large, is reserved.
pub fn place() -> Result<usize> {
    let len = NonZeroUsize::new(4 * PLACE).context("nothing to map")?;
    let prot = ProtFlags::PROT_NONE;
    // SAFETY: The kernel chooses an address where nothing is, and of what it gave a part is given back.
    unsafe {
        let base = mmap_anonymous(None, len, prot, MapFlags::MAP_PRIVATE)?;
        let place = (base.addr().get() + PAGE).next_multiple_of(PLACE);
        unmap(place)?;
        Ok(place)
    }
}

/// # Safety
///
/// Nobody uses what is mapped at the place.
unsafe fn unmap(place: usize) -> Result<()> {
    let at = NonNull::new(ptr::with_exposed_provenance_mut(place)).context("null")?;
    // SAFETY: As the caller says.
    unsafe { munmap(at, PLACE)? };
    Ok(())
}

/// Maps memory of one kind after the other at `place`, of pages of either size, for ever, and touches none of
/// it. Another process that does so too gets the CPU each time, and the memory of the VMA that was freed.
pub fn map_by_turns(place: usize) -> Result<()> {
    sched::pin(sched::THIS, CPU)?;
    let path = format!("/tmp/pages-{}", std::process::id());
    fs::write(&path, [0; PAGE])?;
    let huge_segment = segment(
        place + PLACE,
        PLACE,
        libc::SHM_HUGETLB | libc::SHM_NORESERVE,
    )?;
    let segment = segment(place + 2 * PLACE, PAGE, 0)?;

    let at = NonZeroUsize::new(place);
    let page = NonZeroUsize::new(PAGE).context("a page")?;
    let huge_page = NonZeroUsize::new(PLACE).context("a page")?;
    let prot = ProtFlags::PROT_READ;
    let private = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
    let shared = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
    // No page is set aside, of which there may be none.
    let huge = MapFlags::MAP_HUGETLB | MapFlags::MAP_HUGE_2MB | MapFlags::MAP_NORESERVE;
    let mut rng = Rng::new(std::process::id().into());
    loop {
        // SAFETY: The place is used for nothing but this.
        unsafe {
            match rng.below(5) {
                0 => {
                    mmap_anonymous(at, page, prot, private)?;
                }
                1 => {
                    // The mapping alone keeps it open.
                    mmap(at, page, prot, shared, File::open(&path)?, 0)?;
                }
                2 => {
                    mmap_anonymous(at, huge_page, prot, private | huge)?;
                }
                3 => attach(segment, place, 0)?,
                _ => attach(huge_segment, place, 0)?,
            }
            thread::yield_now();
            unmap(place)?;
        }
        thread::yield_now();
    }
}

/// Makes a segment of SysV shared memory. It stays attached at `address`, where memory is reserved, until the
/// process ends, and then goes.
fn segment(address: usize, bytes: usize, flags: c_int) -> Result<c_int> {
    // SAFETY: Neither call takes a pointer. The address is of reserved memory, which nobody else uses.
    unsafe {
        let id = libc::shmget(libc::IPC_PRIVATE, bytes, libc::IPC_CREAT | flags | 0o600);
        if id < 0 {
            bail!("shmget: {}", io::Error::last_os_error());
        }
        attach(id, address, libc::SHM_REMAP)?;
        libc::shmctl(id, libc::IPC_RMID, ptr::null_mut());
        Ok(id)
    }
}

/// # Safety
///
/// Nobody uses what is mapped at the address, from there on for as long as the segment is.
unsafe fn attach(segment: c_int, address: usize, flags: c_int) -> Result<()> {
    // SAFETY: As the caller says.
    let at = unsafe { libc::shmat(segment, ptr::with_exposed_provenance(address), flags) };
    if at.addr() == usize::MAX {
        bail!("shmat: {}", io::Error::last_os_error());
    }
    Ok(())
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
