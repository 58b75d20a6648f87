// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whole listings: open, read to the end with a buffer of 64 KiB, close.

use super::{contenders::Run, subject::Subject};
use crate::{
    query::{self, COVERING_OR_NEXT_VMA, EXECUTABLE_VMA, FILE_BACKED_VMA},
    raw::{Lockless, MAPS},
};
use anyhow::{Result, ensure};
use maps_lockless::{Process, Request, Source, wire::*};
use std::{fs::File, hint::black_box, io::Read, mem};

/// Bytes of a read.
const BUFFER: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
/// Bytes of the longest name, and the NUL behind it.
pub(super) const NAME: usize = 4096;

/// What is asked for beside what a request names none of: neither names nor files.
pub(super) const NO_NAMES: u64 =
    MAPS_LOCKLESS_FIELD_RANGE | MAPS_LOCKLESS_FIELD_FLAGS | MAPS_LOCKLESS_FIELD_OFFSET;
const CODE: u64 = MAPS_LOCKLESS_VMA_EXEC | MAPS_LOCKLESS_VMA_FILE;

/// The text, as it is.
pub fn maps(subject: &Subject) -> Result<Run> {
    text(subject, "maps")
}

/// The sums over all pages.
pub fn smaps_rollup(subject: &Subject) -> Result<Run> {
    text(subject, "smaps_rollup")
}

fn text(subject: &Subject, name: &str) -> Result<Run> {
    let path = format!("/proc/{}/{name}", subject.pid());
    let mut buffer = vec![0; BUFFER];
    Run::listing(subject, move || to_the_end(File::open(&path)?, &mut buffer))
}

/// The text, decoded by the library.
pub fn maps_decoded(subject: &Subject) -> Result<Run> {
    decoded(subject, Source::Maps)
}

/// The text, decoded by the crate procfs.
pub fn maps_by_procfs(subject: &Subject) -> Result<Run> {
    let pid = subject.pid().try_into()?;
    Run::listing(subject, move || {
        let maps = procfs::process::Process::new(pid)?.maps()?;
        Ok(maps.iter().map(black_box).count() as u64)
    })
}

/// One mapping after the other by PROCMAP_QUERY, without names.
pub fn query(subject: &Subject) -> Result<Run> {
    walk(subject, 0, 0)
}

/// The same with names.
pub fn query_names(subject: &Subject) -> Result<Run> {
    walk(subject, 0, NAME)
}

/// The same of executable mappings of files.
pub fn query_code(subject: &Subject) -> Result<Run> {
    walk(subject, EXECUTABLE_VMA | FILE_BACKED_VMA, NAME)
}

fn walk(subject: &Subject, flags: u64, name_size: usize) -> Result<Run> {
    let path = format!("/proc/{}/maps", subject.pid());
    let mut name = vec![0; name_size];
    let flags = flags | COVERING_OR_NEXT_VMA;
    Run::listing(subject, move || {
        let maps = File::open(&path)?;
        // That there are none is an answer as well.
        let (mut address, mut calls) = (0, 1);
        while let Some(vma) = query::named(&maps, flags, address, &mut name)? {
            address = black_box(vma).vma_end;
            calls += 1;
        }
        Ok(calls)
    })
}

/// What maps_lockless returns, as it is.
pub fn lockless(subject: &Subject) -> Result<Run> {
    requested(subject, None)
}

/// The same, decoded by the library.
pub fn lockless_decoded(subject: &Subject) -> Result<Run> {
    decoded(subject, Source::Lockless)
}

/// Neither names nor what else is known of files.
pub fn lockless_no_names(subject: &Subject) -> Result<Run> {
    let request = maps_lockless_request {
        fields_wanted: NO_NAMES,
        ..MAPS
    };
    requested(subject, Some(request))
}

/// Executable mappings of files alone.
pub fn lockless_code(subject: &Subject) -> Result<Run> {
    let request = maps_lockless_request {
        vma_flags_all: CODE,
        ..MAPS
    };
    requested(subject, Some(request))
}

/// The same with build IDs.
pub fn lockless_code_ids(subject: &Subject) -> Result<Run> {
    let request = maps_lockless_request {
        vma_flags_all: CODE,
        fields_wanted: MAPS.fields_wanted | MAPS_LOCKLESS_FIELD_BUILD_ID,
        ..MAPS
    };
    with_build_ids(subject, request)
}

/// All mappings, with build IDs.
pub fn lockless_ids(subject: &Subject) -> Result<Run> {
    let request = maps_lockless_request {
        fields_wanted: MAPS.fields_wanted | MAPS_LOCKLESS_FIELD_BUILD_ID,
        ..MAPS
    };
    with_build_ids(subject, request)
}

/// Sees to it that what is measured finds build IDs: at least one, and of files that have none at most the
/// program's own.
fn with_build_ids(subject: &Subject, request: maps_lockless_request) -> Result<Run> {
    let mut file = Lockless::with_request(subject.pid(), request)?;
    let (mut with, mut without) = (0, 0);
    for batch in file.batches(BUFFER)? {
        for file in batch.files()? {
            match file.fields.build_id_len {
                0 => without += 1,
                _ => with += 1,
            }
        }
    }
    ensure!(
        with > 0 && without <= 1,
        "of the files that are listed {with} have build IDs, and {without} have none"
    );
    requested(subject, Some(request))
}

fn requested(subject: &Subject, request: Option<maps_lockless_request>) -> Result<Run> {
    let pid = subject.pid();
    let mut buffer = vec![0; BUFFER];
    Run::listing(subject, move || {
        let file = match request {
            None => Lockless::open(pid)?,
            Some(request) => Lockless::with_request(pid, request)?,
        };
        to_the_end(file.0, &mut buffer)
    })
}

/// Reads until nothing is returned. Returns the number of bytes.
fn to_the_end(mut file: File, buffer: &mut [u8]) -> Result<u64> {
    let mut bytes = 0;
    loop {
        match file.read(buffer)? {
            0 => return Ok(bytes),
            len => bytes += len as u64,
        }
    }
}

/// Reads by the library, and looks at each mapping.
fn decoded(subject: &Subject, source: Source) -> Result<Run> {
    let process = Process::new(subject.pid());
    let mut buffer = Vec::new();
    Run::listing(subject, move || {
        let reader = process.open_source(source, &Request::default())?;
        let mut reader = reader.with_buffer(mem::take(&mut buffer));
        let mut count = 0;
        while let Some(batch) = reader.next_batch()? {
            for mapping in batch.mappings() {
                black_box(mapping?);
                count += 1;
            }
        }
        buffer = reader.into_buffer();
        Ok(count)
    })
}
