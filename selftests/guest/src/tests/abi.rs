// SPDX-License-Identifier: MIT OR Apache-2.0

//! Buffers, positions and headers: docs/abi.md, line by line.

use super::{Test, errno};
use crate::{
    child::Target,
    invariants::{check_bytes, only_valid},
    raw::{ALL, HEADER, Lockless},
    shapes::PAGE,
};
use anyhow::{Result, ensure};
use maps_lockless::{decode::Vma, wire::*};
use nix::{errno::Errno, libc};
use std::{fs::File, os::fd::AsRawFd, os::unix::fs::MetadataExt};

const RECORD: usize = size_of::<maps_lockless_vma>();
const MIN: usize = MAPS_LOCKLESS_MIN_BUFFER as usize;
const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("header: says what it is", header),
        Test::new("header: poll leaves the position alone", poll),
        Test::new("buffer: of no byte", no_byte),
        Test::new("buffer: smaller than a header", below_header),
        Test::new("buffer: too small for the next record", too_small),
        Test::new("buffer: any size gives the same listing", any_size),
        Test::new("buffer: where nothing is mapped", bad_pointer),
        Test::new(
            "buffer: nothing is written behind the batch",
            no_stray_bytes,
        ),
        Test::new("position: is the next address", position),
        Test::new("position: pread looks up an address", pread),
        Test::new("position: vsyscall, beyond the signed range", vsyscall),
        Test::new("position: the end, and nothing behind it", end),
        Test::new("record: padding and unused fields are zero", zeroes),
        Test::new("record: names stand once in a batch", names_once),
        Test::new("file: mode 0444, for threads too", mode),
    ]
}

fn header() -> Result<()> {
    let target = Target::start("plain")?;
    let mut file = Lockless::open(target.pid())?;
    let header = file.batch(MAX)?.header()?;
    ensure!(header.magic == MAPS_LOCKLESS_MAGIC && header.version == 1);
    ensure!(usize::from(header.header_size) == HEADER);
    ensure!(header.page_size as usize == PAGE);
    ensure!(header.flags == MAPS_LOCKLESS_BATCH_FINAL);
    ensure!(header.end_reason == MAPS_LOCKLESS_END_COMPLETE);
    ensure!(header.mm_id != 0 && header.reserved == 0);
    ensure!(header.seq_begin == header.seq_end && header.seq_begin % 2 == 0);

    let other = Target::start("plain")?;
    let other = Lockless::open(other.pid())?.batch(HEADER)?.header()?;
    ensure!(other.mm_id != header.mm_id, "two processes have one ID");
    Ok(())
}

fn poll() -> Result<()> {
    let target = Target::start("vmas-1000")?;
    let mut file = Lockless::open(target.pid())?;
    let poll = file.batch(HEADER)?.header()?;
    ensure!(poll.end_reason == MAPS_LOCKLESS_END_POLL && poll.flags == 0);
    ensure!(poll.size as usize == HEADER && poll.count == 0);
    ensure!(file.position()? == 0 && poll.next == 0);

    let batch = file.batch(MIN)?.header()?;
    ensure!(batch.end_reason == MAPS_LOCKLESS_END_FULL, "{batch:?}");
    let position = file.position()?;
    let again = file.batch(HEADER)?.header()?;
    ensure!(file.position()? == position && again.next == position);
    ensure!(again.mm_id == batch.mm_id && again.seq_end == batch.seq_end);
    Ok(())
}

fn no_byte() -> Result<()> {
    let mut file = Lockless::open(std::process::id())?;
    ensure!(file.read(0)?.is_none());
    ensure!(file.position()? == 0);
    Ok(())
}

fn below_header() -> Result<()> {
    let mut file = Lockless::open(std::process::id())?;
    for size in 1..HEADER {
        ensure!(errno(file.read(size)) == Some(Errno::EINVAL), "{size}");
    }
    Ok(())
}

/// What is too small for any record is a poll. Too small for the next one is what its name makes it.
fn too_small() -> Result<()> {
    let target = Target::start_program("/bin/target-dynamic", "plain")?;
    let mut file = Lockless::open(target.pid())?;
    for size in HEADER..HEADER + RECORD {
        let header = file.batch(size)?.header()?;
        ensure!(header.end_reason == MAPS_LOCKLESS_END_POLL && header.size as usize == HEADER);
        ensure!(file.position()? == 0, "{size}");
    }
    let name = "/bin/target-dynamic".len().next_multiple_of(8);
    for size in HEADER + RECORD..HEADER + RECORD + name {
        ensure!(errno(file.read(size)) == Some(Errno::EOVERFLOW), "{size}");
        ensure!(file.position()? == 0, "{size}");
    }
    ensure!(file.batch(HEADER + RECORD + name)?.header()?.count == 1);
    Ok(())
}

fn any_size() -> Result<()> {
    let target = Target::start("file-vmas-1000")?;
    let (whole, _) = Lockless::open(target.pid())?.rest(MAX)?;
    ensure!(whole.len() > 1000);
    let smallest = HEADER + RECORD + 64;
    // From one record to two, odd sizes too.
    let small = smallest..smallest + RECORD;
    for size in small.chain([1000, 1001, MIN, MAX - 1, 4 * MAX]) {
        let (mappings, _) = Lockless::open(target.pid())?.rest(size)?;
        ensure!(mappings == whole, "a buffer of {size} bytes");
    }
    Ok(())
}

fn bad_pointer() -> Result<()> {
    let mut file = Lockless::open(std::process::id())?;
    for address in [0, PAGE, usize::MAX & !(PAGE - 1)] {
        #[expect(unsafe_code, reason = "no safe form passes a bad pointer")]
        // SAFETY: Nothing is mapped there, so that nothing can be overwritten.
        let result = unsafe { libc::read(file.0.as_raw_fd(), address as *mut libc::c_void, MIN) };
        ensure!(
            result == -1 && Errno::last() == Errno::EFAULT,
            "{address:x}"
        );
    }
    ensure!(file.position()? == 0);
    Ok(())
}

fn no_stray_bytes() -> Result<()> {
    use std::io::Read;

    let target = Target::start("plain")?;
    let mut file = Lockless::open(target.pid())?;
    let mut buf = vec![0xaa; MAX];
    let len = file.0.read(&mut buf)?;
    ensure!(len > 0 && buf[len..].iter().all(|&byte| byte == 0xaa));
    Ok(())
}

fn position() -> Result<()> {
    let target = Target::start("vmas-1000")?;
    let mut file = Lockless::open(target.pid())?;
    let mut last_end = 0;
    loop {
        let owned = file.batch(MIN)?;
        let header = owned.header()?;
        ensure!(file.position()? == header.next);
        for vma in owned.vmas()? {
            ensure!(vma.fields.start >= last_end);
            last_end = vma.fields.end;
        }
        if owned.batch()?.is_final() {
            return Ok(());
        }
        // Beyond a gap, perhaps.
        ensure!(header.next >= last_end);
    }
}

fn pread() -> Result<()> {
    let target = Target::start("vmas-1000")?;
    let mut file = Lockless::open(target.pid())?;
    let (whole, _) = file.rest(MAX)?;
    for mapping in whole
        .iter()
        .step_by(11)
        .filter(|mapping| mapping.start < 1 << 63)
    {
        let middle = (mapping.start + mapping.end) / 2;
        for address in [mapping.start, middle, mapping.end - 1] {
            let owned = file.batch_at(MIN, address)?;
            let vmas = owned.vmas()?;
            let fields = vmas[0].fields;
            let page = address & !(PAGE as u64 - 1);
            ensure!(fields.start == page && fields.end == mapping.end);
            ensure!(fields.vma_start == mapping.start, "the true start");
            ensure!((fields.flags & MAPS_LOCKLESS_REC_CLIPPED != 0) == (page > mapping.start));
        }
    }
    ensure!(file.position()? == MAPS_LOCKLESS_POS_END, "pread moved it");
    Ok(())
}

fn vsyscall() -> Result<()> {
    const VSYSCALL: u64 = 0xffff_ffff_ff60_0000;

    let target = Target::start("plain")?;
    let mut file = Lockless::open(target.pid())?;
    let (whole, _) = file.rest(MAX)?;
    ensure!(
        whole
            .last()
            .is_some_and(|mapping| mapping.start == VSYSCALL)
    );
    // pread(2) takes no negative offset, but any address below finds it.
    let owned = file.batch_at(MIN, 1 << 62)?;
    ensure!(owned.vmas()?[0].fields.start == VSYSCALL);
    // lseek(2) does.
    #[expect(unsafe_code, reason = "no safe form seeks beyond the signed range")]
    // SAFETY: No pointer is passed.
    let position = unsafe { libc::lseek(file.0.as_raw_fd(), VSYSCALL as i64, libc::SEEK_SET) };
    ensure!(position as u64 == VSYSCALL);
    let owned = file.batch(MIN)?;
    ensure!(owned.vmas()?[0].fields.start == VSYSCALL && owned.batch()?.is_final());
    Ok(())
}

fn end() -> Result<()> {
    let target = Target::start("plain")?;
    let mut file = Lockless::open(target.pid())?;
    let (first, last) = file.rest(MAX)?;
    ensure!(last.header()?.next == MAPS_LOCKLESS_POS_END);
    ensure!(file.read(MAX)?.is_none() && file.read(MIN)?.is_none());
    file.seek(0)?;
    let (second, _) = file.rest(MAX)?;
    ensure!(first == second, "from the start again");
    Ok(())
}

fn zeroes() -> Result<()> {
    for shape in ["file-vmas-1000", "build-ids"] {
        let target = Target::start(shape)?;
        let owned = Lockless::with_request(target.pid(), ALL)?.batch(MAX)?;
        check_bytes(owned.bytes())?;
        for vma in owned.vmas()? {
            let fields = vma.fields;
            only_valid(&fields)?;
            ensure!(fields.size % 8 == 0 && fields.fixed_size as usize == RECORD);
        }
    }
    Ok(())
}

fn names_once() -> Result<()> {
    let target = Target::start("file-vmas-1000")?;
    let owned = Lockless::open(target.pid())?.batch(MAX)?;
    let vmas = owned.vmas()?;
    let many: Vec<_> = vmas.iter().filter(|vma| vma.name == b"/tmp/many").collect();
    ensure!(many.len() > 500, "{} mappings of the file", many.len());
    let with_bytes = many
        .iter()
        .filter(|vma| vma.fields.size as usize > RECORD)
        .count();
    ensure!(with_bytes == 1, "its name stands there {with_bytes} times");
    let with_offset = |vma: &&&Vma<'_>| vma.fields.valid & MAPS_LOCKLESS_FIELD_PGOFF != 0;
    ensure!(many.iter().filter(with_offset).count() == many.len());
    Ok(())
}

fn mode() -> Result<()> {
    let pid = std::process::id();
    for path in [
        format!("/proc/{pid}/maps_lockless"),
        format!("/proc/{pid}/task/{pid}/maps_lockless"),
    ] {
        let mode = File::open(&path)?.metadata()?.mode();
        ensure!(mode & 0o7777 == 0o444, "{path}: {mode:o}");
    }
    Ok(())
}
