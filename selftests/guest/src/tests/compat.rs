// SPDX-License-Identifier: MIT OR Apache-2.0

//! A 32-bit program, `reader32.c`, reads the same bytes as this one.

use super::{Test, same_as_maps::same};
use crate::{
    child::Target,
    raw::{ALL, HEADER, Lockless},
};
use anyhow::{Result, ensure};
use maps_lockless::wire::*;
use nix::libc;
use std::{
    fs,
    process::{Command, Output},
};

const PROGRAM: &str = "/bin/reader32";
const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("32-bit: the program is one", is_32_bit),
        Test::new("32-bit: reads the same bytes", same_bytes),
        Test::new("32-bit: sees the same errors", same_errors),
        Test::new("32-bit: is shown as maps shows it", is_shown),
    ]
}

fn reader(what: &str, target: &Target) -> Result<Output> {
    let file = format!("/proc/{}/maps_lockless", target.pid());
    Ok(Command::new(PROGRAM).args([what, &file]).output()?)
}

fn is_32_bit() -> Result<()> {
    let elf = fs::read(PROGRAM)?;
    ensure!(elf.starts_with(b"\x7fELF\x01"));
    Ok(())
}

fn same_bytes() -> Result<()> {
    for shape in ["plain", "file-vmas-1000", "build-ids", "vmas-1000"] {
        let target = Target::start(shape)?;
        let all = |mut file: Lockless| -> Result<Vec<u8>> {
            let batches = file.batches(MAX)?;
            Ok(batches
                .iter()
                .flat_map(|owned| owned.bytes().to_vec())
                .collect())
        };
        let open = || Lockless::open(target.pid());
        let exec = maps_lockless_request {
            vma_flags_all: MAPS_LOCKLESS_VMA_EXEC | MAPS_LOCKLESS_VMA_FILE,
            ..ALL
        };
        let seeked = open()?;
        #[expect(unsafe_code, reason = "no safe form seeks beyond the signed range")]
        // SAFETY: No pointer is passed.
        unsafe {
            use std::os::fd::AsRawFd;
            libc::lseek(seeked.0.as_raw_fd(), -0xa0_0000, libc::SEEK_SET);
        }
        for (what, ours) in [
            ("read", all(open()?)?),
            ("ask", all(Lockless::with_request(target.pid(), exec)?)?),
            ("lookup", open()?.batch_at(MAX, 1 << 32)?.bytes().to_vec()),
            ("seek", all(seeked)?),
            ("poll", open()?.batch(HEADER)?.bytes().to_vec()),
        ] {
            let theirs = reader(what, &target)?;
            ensure!(theirs.status.success(), "{what}: {}", theirs.status);
            ensure!(
                ours.len() >= HEADER && theirs.stdout == ours,
                "{shape}: {what}"
            );
        }
    }
    Ok(())
}

fn same_errors() -> Result<()> {
    let target = Target::start("plain")?;
    for (what, errno) in [
        ("fault", libc::EFAULT),
        ("ioctl", libc::EFAULT),
        ("negative", libc::EINVAL),
    ] {
        let status = reader(what, &target)?.status;
        ensure!(status.code() == Some(errno), "{what}: {status}");
    }
    Ok(())
}

fn is_shown() -> Result<()> {
    let target = Target::start_program(PROGRAM, "wait")?;
    let mappings = same(target.pid(), None)?;
    ensure!(mappings.iter().all(|mapping| mapping.end <= 1 << 32));
    Ok(())
}
