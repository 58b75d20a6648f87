// SPDX-License-Identifier: MIT OR Apache-2.0

//! `/proc/<pid>/maps_lockless`.

mod judged;

pub(crate) use judged::AllKnown;

use crate::{
    Completeness, Error, Judge, Mapping, MappingRef, Request, State, Status, Token,
    decode::{Batch, DecodeError, Record},
    file::{NamedFile, retry},
    listing::Ask,
    sys,
    wire::{
        MAPS_LOCKLESS_END_GONE, MAPS_LOCKLESS_MAX_BATCH, MAPS_LOCKLESS_MIN_BUFFER,
        maps_lockless_request,
    },
};
use core::ops::Range;
use judged::Judged;
use nix::errno::Errno;
use std::{path::Path, vec::Vec};

/// An open `maps_lockless`.
#[derive(Debug)]
pub(crate) struct Lockless {
    file: NamedFile,
    request: Request,
    /// What of the request is asked for now.
    ask: Ask,
    /// Its length is that of a read once there was one.
    buf: Vec<u8>,
    /// The batches that were read since the beginning.
    judged: Judged,
    /// The address that the next batch must go beyond.
    next: u64,
    ended: bool,
}

impl Lockless {
    /// Takes a file that was opened just now. Makes the request, unless it is what the kernel does
    /// anyhow.
    pub(crate) fn new(file: NamedFile, request: &Request) -> Result<Self, Error> {
        if !request.is_what_maps_shows() {
            set(&file, &request.to_wire(0))?;
        }
        Ok(Self::opened(file, request))
    }

    /// Takes a file that others may have used. Makes the request, unless it is made already.
    pub(crate) fn adopt(file: NamedFile, request: &Request) -> Result<Self, Error> {
        let made = match retry(|| sys::get_request(file.fd())) {
            Ok(made) => made,
            Err(Errno::ENOTTY) => return Err(Error::bad_answer(file.path())),
            Err(errno) => return Err(Error::os(file.path(), errno)),
        };
        let wanted = request.to_wire(0);
        if !same(&made, &wanted) {
            set(&file, &wanted)?;
        }
        Ok(Self::opened(file, request))
    }

    fn opened(file: NamedFile, request: &Request) -> Self {
        Self {
            file,
            request: *request,
            ask: Ask::default(),
            buf: Vec::new(),
            judged: Judged::default(),
            next: 0,
            ended: false,
        }
    }

    /// Reads into another buffer from now on.
    pub(crate) fn set_buffer(&mut self, buf: Vec<u8>) {
        self.judged.settle(&self.buf);
        self.buf = buf;
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buf
    }

    /// Reads the next batch. [`None`] behind the final one.
    pub(crate) fn next(&mut self) -> Result<Option<Read<'_>>, Error> {
        self.judged.settle(&self.buf);
        if self.ended {
            return Ok(None);
        }
        self.buf.resize(MAPS_LOCKLESS_MAX_BATCH as usize, 0);
        let len = self.file.read(&mut self.buf)?;
        let path = self.file.path();
        let batch = Batch::parse(&self.buf[..len]).map_err(|error| Error::format(path, error))?;
        self.judged.add(&batch);
        self.ended = batch.is_final();
        let next = batch.header().next;
        if !self.ended && next <= self.next {
            // Addresses only ever go up, so that the number of reads has a bound.
            return Err(Error::stuck(path));
        }
        self.next = next;
        Ok(Some(Read {
            batch,
            all_known: self.judged.all_known(),
            path,
        }))
    }

    /// What judges what was read so far.
    pub(crate) fn judge(&self) -> Judge {
        self.judged.judge(&self.buf)
    }

    /// Whether what was read so far is whole.
    pub(crate) fn completeness(&self) -> Completeness {
        self.judged.completeness()
    }

    /// Whether the final batch was read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.ended
    }

    /// Begins anew with the lowest address, and reads what is asked for. Makes a request, unless it is made
    /// already.
    pub(crate) fn begin(&mut self, ask: &Ask) -> Result<(), Error> {
        if self.ask != *ask {
            set(&self.file, &self.request.part_to_wire(ask))?;
            self.ask.clone_from(ask);
        }
        self.file.rewind()?;
        self.judged = Judged::default();
        self.next = 0;
        self.ended = false;
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn state(&self) -> Result<State, Error> {
        state(&self.file)
    }

    pub(crate) fn token(&self) -> Result<Option<Token>, Error> {
        let state = self.state()?;
        match state.status {
            Status::Gone => Err(Error::os(self.file.path(), Errno::ESRCH)),
            _ => Ok(state.token()),
        }
    }
}

/// What one read(2) returned.
pub(crate) struct Read<'a> {
    pub(crate) batch: Batch<'a>,
    /// Where whoever decodes the batch tells what it found.
    pub(crate) all_known: &'a AllKnown,
    /// For errors.
    pub(crate) path: &'a Path,
}

/// An open `maps_lockless` that returns one mapping a read.
#[derive(Debug)]
pub(crate) struct Lookup {
    file: NamedFile,
    /// A file position is a number of pages of so many bytes.
    page_size: u64,
}

/// What a lookup finds first, at an address or behind it.
pub(crate) enum Found {
    Mapping(Mapping),
    /// A range that may hold mappings.
    Unknown(Range<u64>),
    Nothing,
}

impl Lookup {
    pub(crate) fn new(file: NamedFile, request: &Request) -> Result<Self, Error> {
        set(&file, &request.to_wire(1))?;
        let page_size = state(&file)?.page_size;
        Ok(Self { file, page_size })
    }

    /// The mapping that holds an address.
    pub(crate) fn at(&self, address: u64) -> Result<Option<Mapping>, Error> {
        match self.first(address)? {
            Found::Mapping(mapping) => Ok(Some(mapping).filter(|m| m.vma_start <= address)),
            Found::Unknown(range) if range.start <= address => Err(self.unproved(address)),
            Found::Unknown(_) | Found::Nothing => Ok(None),
        }
    }

    /// The mapping at an address, or the next one.
    pub(crate) fn from(&self, address: u64) -> Result<Option<Mapping>, Error> {
        match self.first(address)? {
            Found::Mapping(mapping) => Ok(Some(mapping)),
            Found::Unknown(range) => Err(self.unproved(range.start.max(address))),
            Found::Nothing => Ok(None),
        }
    }

    fn unproved(&self, address: u64) -> Error {
        Error::unproved(self.file.path(), address)
    }

    fn first(&self, address: u64) -> Result<Found, Error> {
        let mut buf = [0; MAPS_LOCKLESS_MIN_BUFFER as usize];
        let mut from = address;
        loop {
            let len = self.file.read_at(&mut buf, from / self.page_size)?;
            let malformed = |error| Error::format(self.file.path(), error);
            let batch = Batch::parse(&buf[..len]).map_err(malformed)?;
            if let Some(found) = first_of(&batch, address).map_err(malformed)? {
                return Ok(found);
            }
            if batch.header().end_reason == MAPS_LOCKLESS_END_GONE {
                return Err(Error::os(self.file.path(), Errno::ESRCH));
            }
            if batch.is_final() {
                return Ok(Found::Nothing);
            }
            if batch.header().next <= from {
                return Err(Error::stuck(self.file.path()));
            }
            from = batch.header().next;
        }
    }
}

/// What of a batch is first at an address or behind it.
fn first_of(batch: &Batch<'_>, address: u64) -> Result<Option<Found>, DecodeError> {
    for record in batch.records() {
        match record? {
            Record::Vma(vma) if vma.fields.end > address => {
                let mapping = MappingRef::new(&vma, batch.header());
                return Ok(Some(Found::Mapping(mapping.to_owned())));
            }
            Record::Unknown(range) if range.end > address => {
                return Ok(Some(Found::Unknown(range)));
            }
            _ => {}
        }
    }
    Ok(None)
}

fn state(file: &NamedFile) -> Result<State, Error> {
    let state = retry(|| sys::get_state(file.fd()));
    let state = state.map_err(|errno| Error::os(file.path(), errno))?;
    State::new(&state).ok_or_else(|| Error::bad_answer(file.path()))
}

/// Whether two requests ask for the same.
fn same(a: &maps_lockless_request, b: &maps_lockless_request) -> bool {
    let asked = |request: &maps_lockless_request| {
        let flags = [
            request.vma_flags_all,
            request.vma_flags_any,
            request.vma_flags_none,
        ];
        let range = (request.start, request.end);
        let since = (request.since_mm_id, request.since_seq);
        (
            request.fields_wanted,
            flags,
            range,
            request.max_records,
            since,
        )
    };
    asked(a) == asked(b)
}

/// Makes a request. What a kernel or a machine does not know of the fields is done without, as other
/// sources do; what it does not know of the selection is an error.
fn set(file: &NamedFile, request: &maps_lockless_request) -> Result<(), Error> {
    let mut wire = *request;
    let mut result = retry(|| sys::set_request(file.fd(), &mut wire));
    let known = wire.fields_supported;
    // Where nothing is filled in, the kernel did not come so far.
    if result == Err(Errno::EINVAL) && known != 0 && wire.fields_wanted & !known != 0 {
        wire = *request;
        wire.fields_wanted &= known;
        result = retry(|| sys::set_request(file.fd(), &mut wire));
    }
    match result {
        Ok(()) => Ok(()),
        Err(Errno::EINVAL) => Err(refusal(file.path(), &wire)),
        Err(Errno::E2BIG | Errno::ENOTTY) => Err(Error::cannot_select(file.path())),
        Err(errno) => Err(Error::os(file.path(), errno)),
    }
}

/// Why a request was refused, by what the kernel filled in.
fn refusal(path: &Path, request: &maps_lockless_request) -> Error {
    let asked = request.vma_flags_all | request.vma_flags_any | request.vma_flags_none;
    let fields = request.fields_wanted & !request.fields_supported;
    let vma_flags = asked & !request.vma_flags_supported;
    match () {
        () if request.fields_supported == 0 => Error::cannot_select(path),
        () if fields | vma_flags != 0 => Error::refused(path, fields, vma_flags),
        () if request.end != 0 && request.end <= request.start => Error::empty_range(path),
        () => Error::os(path, Errno::EINVAL),
    }
}

#[cfg(test)]
mod tests;
