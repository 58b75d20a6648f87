// SPDX-License-Identifier: MIT OR Apache-2.0

//! A live process's mappings, looked up one by one.

use crate::{
    Error, Mapping, Process, Reader, Request, Source,
    source::{lockless, query::Query},
};
use std::sync::{Mutex, PoisonError};

/// A live process's mappings, looked up one by one, without a snapshot.
///
/// May be used by many threads. See [`Process::lookup`].
#[derive(Debug)]
pub struct Lookup(Open);

#[derive(Debug)]
enum Open {
    /// pread(2): threads do not meet.
    Lockless(lockless::Lookup),
    Query(Mutex<Query>),
    /// The text knows no lookup: all of it is read, each time.
    Text(Mutex<Reader>),
}

impl Lookup {
    pub(crate) fn open(process: &Process, request: &Request) -> Result<Self, Error> {
        let lockless = process
            .lockless_file()
            .and_then(|file| lockless::Lookup::new(file, request));
        match lockless {
            Ok(lockless) => return Ok(Self(Open::Lockless(lockless))),
            Err(error) if !error.is_unsupported() => return Err(error),
            Err(_) => {}
        }
        match Query::new(process.file("maps")?, request) {
            Ok(query) => Ok(Self(Open::Query(Mutex::new(query)))),
            Err(error) if error.is_unsupported() => {
                let reader = process.open_source(Source::Maps, request)?;
                Ok(Self(Open::Text(Mutex::new(reader))))
            }
            Err(error) => Err(error),
        }
    }

    /// Where the mappings come from.
    pub fn source(&self) -> Source {
        match &self.0 {
            Open::Lockless(_) => Source::Lockless,
            Open::Query(_) => Source::Query,
            Open::Text(_) => Source::Maps,
        }
    }

    /// The mapping that holds an address, if it is what was asked for.
    ///
    /// Fails with [`Error::is_unproved`] where the kernel could not prove what is mapped there.
    pub fn find(&self, address: u64) -> Result<Option<Mapping>, Error> {
        if let Open::Lockless(lookup) = &self.0 {
            return lookup.at(address);
        }
        let found = self.find_from(address)?;
        Ok(found.filter(|mapping| mapping.vma_start <= address))
    }

    /// The mapping that holds an address, or the next one, of those that were asked for.
    ///
    /// Fails with [`Error::is_unproved`] where the kernel could not prove what is mapped there or
    /// before the next mapping.
    pub fn find_from(&self, address: u64) -> Result<Option<Mapping>, Error> {
        match &self.0 {
            Open::Lockless(lookup) => lookup.from(address),
            // What a thread that panicked has left begins anew with each call.
            Open::Query(query) => query
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .from(address),
            Open::Text(reader) => {
                let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                let mut mappings = reader.snapshot()?.mappings.into_iter();
                Ok(mappings.find(|mapping| mapping.end > address))
            }
        }
    }
}
