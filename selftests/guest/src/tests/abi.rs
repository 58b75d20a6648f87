// SPDX-License-Identifier: MIT OR Apache-2.0

//! Buffers, positions, headers and records: docs/abi.md, line by line.

use super::{Test, errno};
use crate::{
    child::Target,
    invariants::{VSYSCALL, check_bytes},
    raw::{ALL, FILE_RECORD, HEADER, Lockless, MAPS, RECORD, SMALLEST, position_of},
    shapes::PAGE,
};
use anyhow::{Context, Result, ensure};
use maps_lockless::{decode::Record, wire::*};
use nix::{errno::Errno, libc};
use std::{
    fs::File,
    os::fd::AsRawFd,
    os::unix::fs::{FileExt, MetadataExt},
};

const MIN: usize = MAPS_LOCKLESS_MIN_BUFFER as usize;
const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("header: says what it is", header),
        Test::new("header: the first batch says so, and no other", first),
        Test::new("buffer: of no byte", no_byte),
        Test::new("buffer: smaller than a header and a record", below_smallest),
        Test::new("buffer: too small for the next record", too_small),
        Test::new("buffer: any size gives the same listing", any_size),
        Test::new("buffer: where nothing is mapped", bad_pointer),
        Test::new(
            "buffer: nothing is written behind the batch",
            no_stray_bytes,
        ),
        Test::new("position: is the number of the next page", position),
        Test::new("position: pread looks up an address", pread),
        Test::new("position: vsyscall is looked up like any other", vsyscall),
        Test::new("position: the end, and nothing behind it", end),
        Test::new("position: that is no page's number", out_of_range),
        Test::new("record: padding and unused fields are zero", zeroes),
        Test::new("record: a file is told once in a batch", files_once),
        Test::new(
            "record: none of a file where nothing of files is asked for",
            no_files,
        ),
        Test::new(
            "record: a path that is too long is told to be",
            path_too_long,
        ),
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
    ensure!(header.flags == MAPS_LOCKLESS_BATCH_FINAL | MAPS_LOCKLESS_BATCH_FIRST);
    ensure!(header.end_reason == MAPS_LOCKLESS_END_COMPLETE);
    ensure!(header.begin == 0 && header.next == MAPS_LOCKLESS_NEXT_NONE);
    ensure!(header.mm_id != 0 && header.request == 0);
    ensure!(header.seq_begin == header.seq_end && header.seq_begin % 2 == 0);

    let other = Target::start("plain")?;
    let other = Lockless::open(other.pid())?.batch(MIN)?.header()?;
    ensure!(other.mm_id != header.mm_id, "two processes have one ID");
    Ok(())
}

/// Whether a batch says that the listing begins with it, and where it begins.
fn begins(file: &Lockless, address: u64) -> Result<(bool, u64)> {
    let owned = file.batch_at(MIN, address)?;
    Ok((owned.batch()?.is_first(), owned.header()?.begin))
}

fn first() -> Result<()> {
    let target = Target::start("vmas-1000")?;
    let mut file = Lockless::open(target.pid())?;
    let batches = file.batches(MIN)?;
    ensure!(batches.len() > 3);
    let mut next = 0;
    for (i, owned) in batches.iter().enumerate() {
        let header = owned.header()?;
        ensure!(owned.batch()?.is_first() == (i == 0), "batch {i}");
        ensure!(
            header.begin == next,
            "batch {i} begins at {:x}",
            header.begin
        );
        next = header.next;
    }
    // It depends on where, and not on what was read before.
    let page = PAGE as u64;
    ensure!(begins(&file, 0)? == (true, 0) && begins(&file, page)? == (false, page));
    let start = batches[1].header()?.begin;
    file.request(maps_lockless_request { start, ..MAPS })?;
    for at in [0, start - page, start] {
        ensure!(begins(&file, at)? == (true, start), "{at:x}");
    }
    ensure!(begins(&file, start + page)? == (false, start + page));
    Ok(())
}

fn no_byte() -> Result<()> {
    let mut file = Lockless::open(std::process::id())?;
    ensure!(file.read(0)?.is_none());
    ensure!(file.position()? == 0);
    Ok(())
}

fn below_smallest() -> Result<()> {
    let mut file = Lockless::open(std::process::id())?;
    for size in 1..SMALLEST {
        ensure!(errno(file.read(size)) == Some(Errno::EINVAL), "{size}");
    }
    ensure!(file.position()? == 0);
    Ok(())
}

/// The first mapping is one of a file. Its record and the file's must both have room.
fn too_small() -> Result<()> {
    let target = Target::start_program("/bin/target-dynamic", "plain")?;
    let mut file = Lockless::open(target.pid())?;
    let path = "/bin/target-dynamic".len().next_multiple_of(8);
    let needed = HEADER + FILE_RECORD + path + RECORD;
    for size in SMALLEST..needed {
        ensure!(errno(file.read(size)) == Some(Errno::ENOSPC), "{size}");
        ensure!(file.position()? == 0, "{size}");
    }
    let header = file.batch(needed)?.header()?;
    ensure!(header.count == 2 && header.end_reason == MAPS_LOCKLESS_END_FULL);
    Ok(())
}

fn any_size() -> Result<()> {
    let target = Target::start("file-vmas-1000")?;
    let (whole, _) = Lockless::open(target.pid())?.rest(MAX)?;
    ensure!(whole.len() > 1000);
    // From one mapping of a file to two, odd sizes too.
    let smallest = HEADER + FILE_RECORD + RECORD + 64;
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
        for vma in owned.vmas()? {
            ensure!(vma.fields.start >= last_end);
            last_end = vma.fields.end;
        }
        if owned.is_final() {
            ensure!(file.position()? == MAPS_LOCKLESS_POS_END);
            return Ok(());
        }
        ensure!(file.position()? == position_of(header.next));
        // Beyond a gap, perhaps.
        ensure!(header.next >= last_end);
    }
}

fn pread() -> Result<()> {
    let target = Target::start("vmas-1000")?;
    let mut file = Lockless::open(target.pid())?;
    let (whole, _) = file.rest(MAX)?;
    for mapping in whole.iter().step_by(11).chain(whole.last()) {
        let middle = mapping.start + (mapping.end - mapping.start) / 2;
        for address in [mapping.start, middle, mapping.end - 1] {
            let owned = file.batch_at(MIN, address)?;
            let vmas = owned.vmas()?;
            let fields = vmas[0].fields;
            let page = address & !(PAGE as u64 - 1);
            ensure!(owned.header()?.begin == page);
            ensure!(fields.start == page && fields.end == mapping.end);
            ensure!(fields.vma_start == mapping.start, "the true start");
            ensure!((fields.flags & MAPS_LOCKLESS_REC_CLIPPED != 0) == (page > mapping.start));
        }
    }
    ensure!(file.position()? == MAPS_LOCKLESS_POS_END, "pread moved it");
    Ok(())
}

fn vsyscall() -> Result<()> {
    let target = Target::start("plain")?;
    let mut file = Lockless::open(target.pid())?;
    let (whole, _) = file.rest(MAX)?;
    let last = whole.last().context("nothing is mapped")?;
    ensure!((last.start, last.end) == (VSYSCALL.start, VSYSCALL.end));
    // At its address, at its last byte, and at any address below that nothing covers.
    for address in [VSYSCALL.start, VSYSCALL.end - 1, 1 << 63, 1 << 62] {
        let owned = file.batch_at(MIN, address)?;
        let vmas = owned.vmas()?;
        ensure!(vmas.len() == 1 && owned.is_final(), "{address:x}");
        let fields = vmas[0].fields;
        ensure!((fields.start, fields.end) == (VSYSCALL.start, VSYSCALL.end));
        ensure!(vmas[0].name == b"[vsyscall]", "{address:x}");
    }
    let behind = file.batch_at(MIN, VSYSCALL.end)?;
    ensure!(behind.is_final() && behind.header()?.count == 0);
    // lseek(2) goes there as well.
    file.seek(VSYSCALL.start)?;
    ensure!(file.position()? == position_of(VSYSCALL.start));
    let owned = file.batch(MIN)?;
    ensure!(owned.vmas()?[0].fields.start == VSYSCALL.start && owned.is_final());
    Ok(())
}

fn end() -> Result<()> {
    let target = Target::start("plain")?;
    let mut file = Lockless::open(target.pid())?;
    let (first, last) = file.rest(MAX)?;
    ensure!(last.header()?.next == MAPS_LOCKLESS_NEXT_NONE);
    ensure!(file.read(MAX)?.is_none() && file.read(MIN)?.is_none());
    file.seek(0)?;
    let (second, _) = file.rest(MAX)?;
    ensure!(first == second, "from the start again");
    Ok(())
}

fn out_of_range() -> Result<()> {
    let file = Lockless::open(std::process::id())?;
    let mut buf = vec![0; MIN];
    let last = position_of(u64::MAX);
    ensure!(file.0.read_at(&mut buf, last)? == HEADER, "the last page");
    for position in [
        last + 1,
        1 << 60,
        MAPS_LOCKLESS_POS_END - 1,
        MAPS_LOCKLESS_POS_END + 1,
        i64::MAX as u64,
        // What pread(2) itself takes for negative.
        1 << 63,
        u64::MAX,
    ] {
        let read = file.0.read_at(&mut buf, position);
        ensure!(errno(read) == Some(Errno::EINVAL), "{position:x}");
    }
    ensure!(file.0.read_at(&mut buf, MAPS_LOCKLESS_POS_END)? == 0);
    Ok(())
}

fn zeroes() -> Result<()> {
    for shape in ["file-vmas-1000", "build-ids", "anon-name"] {
        let target = Target::start(shape)?;
        for owned in Lockless::with_request(target.pid(), ALL)?.batches(MAX)? {
            check_bytes(owned.bytes())?;
            for vma in owned.vmas()? {
                let fields = vma.fields;
                ensure!(fields.size % 8 == 0 && usize::from(fields.fixed_size) == RECORD);
            }
            for file in owned.files()? {
                let fields = file.fields;
                ensure!(fields.size % 8 == 0 && usize::from(fields.fixed_size) == FILE_RECORD);
            }
        }
    }
    Ok(())
}

/// Of one open file that is mapped many times, and of a process that rests.
fn files_once() -> Result<()> {
    let target = Target::start("file-vmas-1000")?;
    let mut file = Lockless::open(target.pid())?;
    let mut of_many = 0;
    for owned in file.batches(MAX)? {
        let records = owned.records()?;
        let is_many = |record: &Record<'_>| match record {
            Record::File(file) => file.path == b"/tmp/many",
            _ => false,
        };
        let told = records.iter().filter(|record| is_many(record)).count();
        let vmas = owned.vmas()?;
        let many = vmas
            .iter()
            .filter(|vma| vma.file.is_some_and(|file| file.path == b"/tmp/many"));
        let offset = MAPS_LOCKLESS_FIELD_OFFSET;
        let mut count = 0;
        for vma in many {
            ensure!(vma.fields.valid & offset != 0 && vma.fields.size as usize == RECORD);
            count += 1;
        }
        ensure!(told == usize::from(count > 0), "{told} times, of {count}");
        // The mapping that is the first to refer to a file stands right behind the file's record.
        for pair in records.windows(2) {
            if let Record::File(file) = &pair[0] {
                let Record::Vma(vma) = &pair[1] else {
                    anyhow::bail!("{:?} behind a file's record", pair[1]);
                };
                ensure!(vma.file.is_some_and(|own| own.path == file.path));
            }
        }
        of_many += count;
    }
    ensure!(of_many == 1000, "{of_many} mappings of the file");
    Ok(())
}

fn no_files() -> Result<()> {
    let target = Target::start("file-vmas-1000")?;
    let request = maps_lockless_request {
        fields_wanted: MAPS_LOCKLESS_FIELD_FLAGS | MAPS_LOCKLESS_FIELD_OFFSET,
        ..MAPS
    };
    let mut of_file = 0;
    for owned in Lockless::with_request(target.pid(), request)?.batches(MAX)? {
        ensure!(owned.files()?.is_empty());
        for vma in owned.vmas()? {
            ensure!(vma.fields.file == 0);
            of_file += u32::from(vma.fields.vma_flags & MAPS_LOCKLESS_VMA_FILE != 0);
        }
    }
    ensure!(of_file > 1000);
    Ok(())
}

/// All else of the file is told.
fn path_too_long() -> Result<()> {
    let target = Target::start("path-too-long")?;
    let mut found = 0;
    for owned in Lockless::with_request(target.pid(), ALL)?.batches(MAX)? {
        check_bytes(owned.bytes())?;
        for file in owned.files()? {
            let fields = file.fields;
            let has_path = fields.valid & MAPS_LOCKLESS_FIELD_PATH != 0;
            let too_long = fields.flags & MAPS_LOCKLESS_FILE_PATH_TOO_LONG != 0;
            ensure!(has_path != too_long, "{fields:?}");
            if too_long {
                let rest = ALL.fields_wanted & !0xff & !MAPS_LOCKLESS_FIELD_PATH;
                ensure!(fields.valid == rest && fields.ino != 0, "{fields:?}");
                found += 1;
            }
        }
    }
    ensure!(found == 1, "{found} files whose path is too long");
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
