// SPDX-License-Identifier: MIT OR Apache-2.0

//! `/proc/<pid>/maps_lockless`.

use super::{Completeness, Listing, Source, open_file, retry};
use crate::{
    Error, Mapping,
    decode::{Batch, Record},
    wire::{
        MAPS_LOCKLESS_END_COMPLETE, MAPS_LOCKLESS_END_GONE, MAPS_LOCKLESS_END_NO_MM,
        MAPS_LOCKLESS_MAX_BATCH,
    },
};
use nix::unistd::read as read_fd;
use std::path::PathBuf;

pub(crate) fn read(path: PathBuf) -> Result<Listing, Error> {
    let fd = open_file(&path).map_err(|errno| Error::os(&path, errno))?;
    let mut buf = vec![0; MAPS_LOCKLESS_MAX_BATCH as usize];
    let mut mappings = Vec::new();
    let mut evidence = Evidence::default();
    let mut next = None;

    loop {
        let len = retry(|| read_fd(&fd, &mut buf)).map_err(|errno| Error::os(&path, errno))?;
        let batch = Batch::parse(&buf[..len]).map_err(|error| Error::format(&path, error))?;
        for record in batch.records() {
            match record.map_err(|error| Error::format(&path, error))? {
                Record::Vma(vma) => mappings.push(Mapping::from(vma)),
                Record::Unknown { .. } => {}
            }
        }
        evidence.add(&batch);
        if batch.is_final() {
            let completeness = match batch.header().end_reason {
                MAPS_LOCKLESS_END_COMPLETE => Completeness::Complete,
                MAPS_LOCKLESS_END_GONE => Completeness::Gone,
                MAPS_LOCKLESS_END_NO_MM => Completeness::NoAddressSpace,
                _ => Completeness::Unknown,
            };
            return Ok(Listing {
                mappings,
                source: Source::Lockless,
                completeness,
                consistent: match completeness {
                    Completeness::NoAddressSpace => None,
                    Completeness::Complete => Some(evidence.consistent()),
                    _ => Some(false),
                },
            });
        }
        // Addresses only ever go up, so that the number of reads has a bound.
        if next.is_some_and(|next| batch.header().next <= next) {
            return Err(Error::stuck(&path));
        }
        next = Some(batch.header().next);
    }
}

/// What the batches say of the moments that they were made at.
#[derive(Default)]
struct Evidence {
    /// Identity and change count of the first batch.
    first: Option<(u64, u64)>,
    moved: bool,
}

impl Evidence {
    fn add(&mut self, batch: &Batch<'_>) {
        let header = batch.header();
        let first = *self.first.get_or_insert((header.mm_id, header.seq_begin));
        // An odd count is that of a change in progress.
        self.moved |= !header.seq_begin.is_multiple_of(2)
            || first != (header.mm_id, header.seq_begin)
            || first != (header.mm_id, header.seq_end);
    }

    fn consistent(&self) -> bool {
        !self.moved
    }
}
