// SPDX-License-Identifier: MIT OR Apache-2.0

//! `/proc/<pid>/maps_lockless`.

use crate::{
    Completeness, Error, Mapping, Request, Token,
    decode::Batch,
    file::NamedFile,
    judge::{self, Evidence},
    sys,
    wire::{
        MAPS_LOCKLESS_BATCH_SIZE_VER0, MAPS_LOCKLESS_END_GONE, MAPS_LOCKLESS_MAX_BATCH,
        MAPS_LOCKLESS_MIN_BUFFER,
    },
};
use nix::errno::Errno;
use std::{path::Path, vec::Vec};

/// An open `maps_lockless`.
#[derive(Debug)]
pub(crate) struct Lockless {
    file: NamedFile,
    /// Its length is that of a read once there was one.
    pub(crate) buf: Vec<u8>,
    state: State,
}

/// How far a listing is.
#[derive(Debug, Default)]
struct State {
    next: u64,
    evidence: Evidence,
    end: Option<Completeness>,
}

impl Lockless {
    /// Makes the request, unless it is what the kernel does anyhow.
    pub(crate) fn new(file: NamedFile, request: &Request) -> Result<Self, Error> {
        if !request.is_what_maps_shows() {
            set(&file, request, 0)?;
        }
        Ok(Self {
            file,
            buf: Vec::new(),
            state: State::default(),
        })
    }

    /// Reads the next batch. [`None`] behind the final one. The path is for errors.
    pub(crate) fn next(&mut self) -> Result<Option<(Batch<'_>, &Path)>, Error> {
        if self.state.end.is_some() {
            return Ok(None);
        }
        self.buf.resize(MAPS_LOCKLESS_MAX_BATCH as usize, 0);
        let len = self.file.read(&mut self.buf)?;
        let path = self.file.path();
        let batch = Batch::parse(&self.buf[..len]).map_err(|error| Error::format(path, error))?;
        let state = &mut self.state;
        let from = state.next;
        state.evidence.add(&batch, from);
        if batch.is_final() {
            state.end = Some(judge::completeness(&batch));
        } else if batch.header().next <= from {
            // Addresses only ever go up, so that the number of reads has a bound.
            return Err(Error::stuck(path));
        }
        state.next = batch.header().next;
        Ok(Some((batch, path)))
    }

    /// The end that was reached, and the evidence up to there.
    pub(crate) fn end(&self) -> Option<(Completeness, &Evidence)> {
        Some((self.state.end?, &self.state.evidence))
    }

    pub(crate) fn rewind(&mut self) -> Result<(), Error> {
        self.file.rewind()?;
        self.state = State::default();
        Ok(())
    }

    pub(crate) fn token(&self) -> Result<Option<Token>, Error> {
        let mut buf = [0; MAPS_LOCKLESS_BATCH_SIZE_VER0 as usize];
        let len = self.file.read_at(&mut buf, 0)?;
        let batch =
            Batch::parse(&buf[..len]).map_err(|error| Error::format(self.file.path(), error))?;
        let header = batch.header();
        if header.end_reason == MAPS_LOCKLESS_END_GONE {
            return Err(Error::os(self.file.path(), Errno::ESRCH));
        }
        let mut evidence = Evidence::default();
        evidence.add(&batch, 0);
        Ok(evidence.token())
    }
}

/// An open `maps_lockless` that returns one mapping a read.
#[derive(Debug)]
pub(crate) struct Lookup(NamedFile);

impl Lookup {
    pub(crate) fn new(file: NamedFile, request: &Request) -> Result<Self, Error> {
        set(&file, request, 1)?;
        Ok(Self(file))
    }

    /// The mapping at an address, or the next one.
    pub(crate) fn from(&self, address: u64) -> Result<Option<Mapping>, Error> {
        let mut buf = [0; MAPS_LOCKLESS_MIN_BUFFER as usize];
        let mut from = address;
        // pread(2) takes no address beyond. What is there comes behind all else.
        while let Ok(position) = i64::try_from(from.min(1 << 62)) {
            let len = self.0.read_at(&mut buf, position)?;
            let malformed = |error| Error::format(self.0.path(), error);
            let batch = Batch::parse(&buf[..len]).map_err(malformed)?;
            for mapping in batch.mappings() {
                let mapping = mapping.map_err(malformed)?;
                if mapping.end > address {
                    return Ok(Some(mapping.to_owned()));
                }
            }
            if batch.header().end_reason == MAPS_LOCKLESS_END_GONE {
                return Err(Error::os(self.0.path(), Errno::ESRCH));
            }
            if batch.is_final() {
                return Ok(None);
            }
            if batch.header().next <= from {
                return Err(Error::stuck(self.0.path()));
            }
            from = batch.header().next;
        }
        Ok(None)
    }
}

fn set(file: &NamedFile, request: &Request, max_records: u32) -> Result<(), Error> {
    match sys::set_request(file.fd(), &mut request.to_wire(max_records)) {
        Ok(()) => Ok(()),
        Err(Errno::EINVAL | Errno::E2BIG | Errno::ENOTTY) => Err(Error::cannot_select(file.path())),
        Err(errno) => Err(Error::os(file.path(), errno)),
    }
}
