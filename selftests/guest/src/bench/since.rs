// SPDX-License-Identifier: MIT OR Apache-2.0

//! What has changed since a listing: read to the end with a buffer of 64 KiB, by a file that stays open.

use super::{contenders::Run, subject::Subject};
use crate::{
    raw::{Lockless, MAPS},
    since::{How, Proved},
};
use anyhow::{Context, Result, ensure};
use maps_lockless::{decode::Batch, wire::*};
use std::{
    cell::RefCell,
    io::{Read, Seek},
    mem::offset_of,
    ops::Range,
    rc::Rc,
};

/// Bytes of a read.
const BUFFER: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
const HOW: How = How::new(MAPS, BUFFER);

/// Since the process rests: what is read is not even looked at.
pub fn nothing_changed(subject: &Subject) -> Result<Run> {
    let mut file = Lockless::open(subject.pid())?;
    let whole = HOW.whole(&mut file)?.context("the process does not rest")?;
    let unchanged = HOW.list(&mut file, whole.since(MAPS))?;
    let unchanged: u64 = unchanged
        .unchanged_ranges()
        .map(|range| u64::from(range.count))
        .sum();
    let all = subject.mappings.len() as u64;
    ensure!(unchanged == all, "{unchanged} of {all} have not changed");
    let request = whole.since(MAPS);
    let mut buffer = vec![0; BUFFER];
    Run::listing(subject, move || {
        file.request(request)?;
        file.seek(0)?;
        let mut bytes = 0;
        loop {
            match file.0.read(&mut buffer)? {
                0 => return Ok(bytes),
                len => bytes += len as u64,
            }
        }
    })
}

/// An earlier listing: the ranges of its mappings.
struct Earlier {
    listing: Proved,
    ranges: Vec<Range<u64>>,
}

/// Since a round of changes: what is read is looked at as far as to know which ranges have to be read again, and these
/// are.
pub fn followed(subject: &Subject) -> Result<Run> {
    let mut file = Lockless::open(subject.pid())?;
    let mut other = Lockless::open(subject.pid())?;
    let earlier: Rc<RefCell<Option<Earlier>>> = Rc::default();
    let next = earlier.clone();
    let get_ready = move || {
        let listing = HOW
            .whole(&mut other)?
            .context("the process does not rest")?;
        let ranges = listing.mappings.iter();
        let ranges = ranges.map(|told| told.start..told.end).collect();
        *next.borrow_mut() = Some(Earlier { listing, ranges });
        Ok(())
    };
    let mut buffer = vec![0; BUFFER];
    let mut again = Vec::new();
    let run = Run::listing(subject, move || {
        let earlier = earlier.borrow();
        let earlier = earlier.as_ref().context("no earlier listing")?;
        again.clear();
        let request = earlier.listing.since(MAPS);
        let mut mappings = read(&file, request, &mut buffer, |range, count| {
            let had = &earlier.ranges;
            let begin = had.partition_point(|had| had.end <= range.start);
            let end = had.partition_point(|had| had.start < range.end);
            if end - begin != count as usize {
                again.push(range);
                return 0;
            }
            u64::from(count)
        })?;
        for range in &again {
            let request = maps_lockless_request {
                start: range.start,
                end: range.end,
                ..MAPS
            };
            mappings += read(&file, request, &mut buffer, |_, _| 0)?;
        }
        file.0.rewind()?;
        Ok(mappings)
    })?;
    Ok(Run {
        before_changes: Some(Box::new(get_ready)),
        ..run
    })
}

/// Reads what a request asks for. Returns how many mappings there are: those that have records, and what `unchanged`
/// says of each range.
fn read(
    file: &Lockless,
    request: maps_lockless_request,
    buffer: &mut [u8],
    mut unchanged: impl FnMut(Range<u64>, u32) -> u64,
) -> Result<u64> {
    file.request(request)?;
    (&file.0).rewind()?;
    let mut mappings = 0;
    loop {
        let len = (&file.0).read(buffer)?;
        let bytes = &buffer[..len];
        let batch = Batch::parse(bytes)?;
        let mut at = usize::from(batch.header().header_size);
        while let Some(&[t0, t1, _, _, s0, s1, s2, s3]) =
            bytes.get(at..).and_then(<[u8]>::first_chunk)
        {
            match u16::from_ne_bytes([t0, t1]) {
                MAPS_LOCKLESS_TYPE_VMA => mappings += 1,
                MAPS_LOCKLESS_TYPE_UNCHANGED => {
                    let word = |field: usize| -> Result<u64> {
                        let word = bytes.get(at + field..).and_then(<[u8]>::first_chunk);
                        Ok(u64::from_ne_bytes(*word.context("a whole record")?))
                    };
                    let start = word(offset_of!(maps_lockless_unchanged, start))?;
                    let end = word(offset_of!(maps_lockless_unchanged, end))?;
                    // The count and what is zero behind it, on a little-endian machine.
                    let count = word(offset_of!(maps_lockless_unchanged, vma_count))? as u32;
                    mappings += unchanged(start..end, count);
                }
                _ => {}
            }
            at += u32::from_ne_bytes([s0, s1, s2, s3]) as usize;
        }
        if batch.is_final() {
            return Ok(mappings);
        }
    }
}
