// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mappings that have each flag which a test can bring about.

#![expect(unsafe_code, reason = "mapping memory has no safe form")]

use crate::shapes::PAGE;
use anyhow::{Context, Result, bail};
use nix::{
    libc::{self, c_int, c_long, c_ulong, c_void},
    sys::memfd::{MFdFlags, memfd_create},
    unistd::ftruncate,
};
use std::{fs::File, io, os::fd::AsRawFd};

const MAP_DROPPABLE: c_int = 0x08;
const MADV_GUARD_INSTALL: c_int = 102;
const SYS_MSEAL: c_long = 462;
const UFFDIO_API: c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: c_ulong = 0xc020_aa00;
const UFFD_API: u64 = 0xaa;
const UFFD_FEATURE_MINOR_SHMEM: u64 = 1 << 10;

const READ_WRITE: c_int = libc::PROT_READ | libc::PROT_WRITE;
const PRIVATE: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

/// Makes them. They stay until the process ends.
pub fn make() -> Result<()> {
    for advice in [
        libc::MADV_SEQUENTIAL,
        libc::MADV_RANDOM,
        libc::MADV_DONTFORK,
        libc::MADV_WIPEONFORK,
        libc::MADV_DONTDUMP,
        libc::MADV_HUGEPAGE,
        libc::MADV_NOHUGEPAGE,
        libc::MADV_MERGEABLE,
        MADV_GUARD_INSTALL,
    ] {
        let memory = map(PAGE, PRIVATE, -1)?;
        // SAFETY: The page is of the mapping made above, which nobody else uses.
        check(unsafe { libc::madvise(memory, PAGE, advice) }).context(advice)?;
    }
    for flags in [
        PRIVATE | libc::MAP_GROWSDOWN,
        PRIVATE | libc::MAP_NORESERVE,
        MAP_DROPPABLE | libc::MAP_ANONYMOUS,
        libc::MAP_SHARED | libc::MAP_ANONYMOUS,
    ] {
        map(PAGE, flags, -1).context(flags)?;
    }
    map(2 << 20, PRIVATE | libc::MAP_HUGETLB, -1)?;
    let memory = || map(PAGE, PRIVATE, -1);
    // SAFETY: Each call is about a page of its own, mapped for it.
    unsafe {
        check(libc::mlock(memory()?, PAGE))?;
        check(libc::mlock2(memory()?, PAGE, libc::MLOCK_ONFAULT as _))?;
        check(libc::syscall(SYS_MSEAL, memory()?, PAGE, 0) as c_int).context("mseal")?;
    }

    // Shared, of a file that was not open for writing.
    let file = File::open("/proc/self/exe")?;
    // SAFETY: The kernel chooses an address where nothing is.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            PAGE,
            libc::PROT_READ,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if memory == libc::MAP_FAILED {
        bail!(io::Error::last_os_error());
    }
    let shmem = memfd_create(c"minor faults", MFdFlags::empty())?;
    ftruncate(&shmem, PAGE as i64)?;
    userfaultfd(memory_of(map(PAGE, PRIVATE, -1)?), 1)?;
    userfaultfd(memory_of(map(PAGE, PRIVATE, -1)?), 2)?;
    userfaultfd(
        memory_of(map(PAGE, libc::MAP_SHARED, shmem.as_raw_fd())?),
        4,
    )
}

fn map(len: usize, flags: c_int, fd: c_int) -> Result<*mut c_void> {
    // SAFETY: The kernel chooses an address where nothing is.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), len, READ_WRITE, flags, fd, 0) };
    if memory == libc::MAP_FAILED {
        bail!(io::Error::last_os_error());
    }
    Ok(memory)
}

fn memory_of(memory: *mut c_void) -> u64 {
    memory.addr() as u64
}

/// Registers a page with a userfaultfd(2) that stays open.
fn userfaultfd(start: u64, mode: u64) -> Result<()> {
    let mut api = [
        UFFD_API,
        if mode == 4 {
            UFFD_FEATURE_MINOR_SHMEM
        } else {
            0
        },
        0,
    ];
    let mut register = [start, PAGE as u64, mode, 0];
    // SAFETY: Both structs are as long as the numbers of the calls say.
    unsafe {
        let fd = libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) as c_int;
        if fd < 0 {
            bail!("userfaultfd: {}", io::Error::last_os_error());
        }
        check(libc::ioctl(fd, UFFDIO_API, &raw mut api)).context("UFFDIO_API")?;
        check(libc::ioctl(fd, UFFDIO_REGISTER, &raw mut register))
            .with_context(|| format!("UFFDIO_REGISTER {mode}"))?;
    }
    Ok(())
}

fn check(result: c_int) -> Result<()> {
    if result != 0 {
        bail!(io::Error::last_os_error());
    }
    Ok(())
}
