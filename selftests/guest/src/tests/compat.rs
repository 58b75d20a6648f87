// SPDX-License-Identifier: MIT OR Apache-2.0

//! A 32-bit program, `reader32.c`, reads the same bytes as this one.

use super::{Test, same_as_maps::same};
use crate::{
    child::Target,
    invariants::VSYSCALL,
    raw::{GET_STATE, HEADER, Lockless, MAPS},
};
use anyhow::{Result, ensure};
use maps_lockless::{decode::Batch, wire::*};
use nix::libc;
use std::{
    fs,
    mem::offset_of,
    process::{Command, Output},
};

const PROGRAM: &str = "/bin/reader32";
const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
const STATE: usize = size_of::<maps_lockless_state>();

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("32-bit: the program is one", is_32_bit),
        Test::new("32-bit: reads the same bytes", same_bytes),
        Test::new("32-bit: is told the same state", same_state),
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

/// Batches without the numbers of their requests, of which no two are the same.
fn unnumbered(mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    let mut at = 0;
    while at < bytes.len() {
        let size = Batch::parse(&bytes[at..])?.size();
        bytes[at + offset_of!(maps_lockless_batch, request)..][..8].fill(0);
        at += size;
    }
    Ok(bytes)
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
            fields_wanted: MAPS_LOCKLESS_FIELDS_MAPS | MAPS_LOCKLESS_FIELD_BUILD_ID,
            vma_flags_all: MAPS_LOCKLESS_VMA_EXEC | MAPS_LOCKLESS_VMA_FILE,
            ..MAPS
        };
        let mut seeked = open()?;
        seeked.seek(VSYSCALL.start)?;
        let look_up =
            |address| -> Result<_> { Ok(open()?.batch_at(MAX, address)?.bytes().to_vec()) };
        for (what, ours) in [
            ("read", all(open()?)?),
            ("ask", all(Lockless::with_request(target.pid(), exec)?)?),
            ("lookup", look_up(1 << 32)?),
            ("vsyscall", look_up(VSYSCALL.start)?),
            ("seek", all(seeked)?),
        ] {
            let theirs = reader(what, &target)?;
            ensure!(theirs.status.success(), "{what}: {}", theirs.status);
            let (theirs, ours) = (unnumbered(theirs.stdout)?, unnumbered(ours)?);
            ensure!(ours.len() >= HEADER && theirs == ours, "{shape}: {what}");
        }
    }
    Ok(())
}

fn same_state() -> Result<()> {
    let target = Target::start("vmas-1000")?;
    let file = Lockless::open(target.pid())?;
    let mut words = [0_u64; STATE / 8];
    words[0] = STATE as u64;
    file.ioctl(GET_STATE, words.as_mut_ptr().expose_provenance())?;
    let ours: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let theirs = reader("get", &target)?;
    ensure!(theirs.status.success(), "{}", theirs.status);
    ensure!(theirs.stdout == ours, "{:x?}, not {ours:x?}", theirs.stdout);
    Ok(())
}

fn same_errors() -> Result<()> {
    let target = Target::start("plain")?;
    for (what, errno) in [
        ("fault", libc::EFAULT),
        ("ioctl", libc::EFAULT),
        ("negative", libc::EINVAL),
        ("beyond", libc::EINVAL),
        ("too small", libc::EINVAL),
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
