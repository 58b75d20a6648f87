// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads a process's mappings, some at a time, in constant memory.

use crate::{
    Completeness, Error, Judge, Judgement, MappingRef, Request, Snapshot, Source, State, Token,
    decode::{self, Decoder, Unchanged},
    file::NamedFile,
    listing::{self, Ask, Lister, Listing, Tries},
    request::Selection,
    source::{
        lockless::{AllKnown, Lockless},
        query::Query,
        text::Text,
    },
    text,
};
use core::ops::Range;
use std::{os::fd::OwnedFd, path::Path, time::Duration, vec::Vec};

/// An open source of a process's mappings.
///
/// It keeps to the address space that the process had when it was opened: after an execve(2), open
/// anew. See [`Process::open`](crate::Process::open).
#[derive(Debug)]
pub struct Reader {
    source: Open,
}

#[derive(Debug)]
enum Open {
    Lockless(Lockless),
    Query(Query),
    Text(Text),
}

/// Some of a process's mappings, in the order of their addresses.
#[derive(Debug)]
pub struct Batch<'a> {
    part: Part<'a>,
    path: &'a Path,
}

#[derive(Debug)]
enum Part<'a> {
    Lockless {
        batch: decode::Batch<'a>,
        all_known: &'a AllKnown,
    },
    Query(MappingRef<'a>),
    Text {
        lines: text::Lines<'a>,
        first: usize,
        selection: Selection,
    },
}

impl Reader {
    /// Takes a file that is open already: the `maps_lockless` of a process for
    /// [`Source::Lockless`], its `maps` for the other sources. Somebody else may have opened it, for
    /// access is checked at open(2). The request becomes that of the open file, and so of all who
    /// share it.
    ///
    /// ```
    /// use maps_lockless::{Reader, Request, Source};
    ///
    /// let file = std::fs::File::open("/proc/self/maps")?;
    /// let snapshot = Reader::from_file(file, Source::Maps, &Request::default())?.snapshot()?;
    /// assert!(!snapshot.mappings.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_file(
        file: impl Into<OwnedFd>,
        source: Source,
        request: &Request,
    ) -> Result<Self, Error> {
        let file = NamedFile::new(file.into());
        match source {
            Source::Lockless => {
                let source = Open::Lockless(Lockless::adopt(file, request)?);
                Ok(Self { source })
            }
            Source::Query | Source::Maps => Self::new(file, source, request),
        }
    }

    pub(crate) fn new(file: NamedFile, source: Source, request: &Request) -> Result<Self, Error> {
        let source = match source {
            Source::Lockless => Open::Lockless(Lockless::new(file, request)?),
            Source::Query => Open::Query(Query::new(file, request)?),
            Source::Maps => Open::Text(Text::new(file, request)?),
        };
        Ok(Self { source })
    }

    /// Reads into this buffer from now on, whatever it holds and however long it is: it grows to what
    /// one read takes, at most 128 KiB. Without one, the reader makes its own when it is first asked for
    /// mappings.
    ///
    /// With a buffer that another reader grew, nothing is allocated until the end of a listing but, of a
    /// process that changes meanwhile, notes of where.
    ///
    /// ```
    /// use maps_lockless::{Process, Request};
    ///
    /// let mut buffer = Vec::new();
    /// let mut mappings = 0;
    /// for process in [Process::current(), Process::new(std::process::id())] {
    ///     let mut reader = process.open(&Request::default())?.with_buffer(buffer);
    ///     while let Some(batch) = reader.next_batch()? {
    ///         mappings += batch.mappings().count();
    ///     }
    ///     buffer = reader.into_buffer();
    /// }
    /// assert!(mappings > 0);
    /// # Ok::<(), maps_lockless::Error>(())
    /// ```
    #[must_use]
    pub fn with_buffer(mut self, buffer: Vec<u8>) -> Self {
        match &mut self.source {
            Open::Lockless(lockless) => lockless.set_buffer(buffer),
            Open::Query(query) => query.name = buffer,
            Open::Text(text) => text.set_buffer(buffer),
        }
        self
    }

    /// The buffer that was read into, for another reader. What it holds means nothing.
    pub fn into_buffer(self) -> Vec<u8> {
        match self.source {
            Open::Lockless(lockless) => lockless.into_buffer(),
            Open::Query(query) => query.name,
            Open::Text(text) => text.buf,
        }
    }

    /// Where the mappings come from.
    pub fn source(&self) -> Source {
        match self.source {
            Open::Lockless(_) => Source::Lockless,
            Open::Query(_) => Source::Query,
            Open::Text(_) => Source::Maps,
        }
    }

    /// Reads on. Returns [`None`] at the end, which need not mean that nothing is missing: see
    /// [`Reader::completeness`].
    ///
    /// A batch may be without mappings.
    pub fn next_batch(&mut self) -> Result<Option<Batch<'_>>, Error> {
        Ok(match &mut self.source {
            Open::Lockless(lockless) => lockless.next()?.map(|read| Batch {
                part: Part::Lockless {
                    batch: read.batch,
                    all_known: read.all_known,
                },
                path: read.path,
            }),
            Open::Query(query) => query.next()?.map(|(mapping, path)| Batch {
                part: Part::Query(mapping),
                path,
            }),
            Open::Text(text) => {
                let selection = text.request.selection;
                text.next()?.map(|chunk| Batch {
                    part: Part::Text {
                        lines: text::lines(chunk.lines),
                        first: chunk.first,
                        selection,
                    },
                    path: chunk.path,
                })
            }
        })
    }

    /// Whether what was read up to the end is all. [`None`] before the end.
    pub fn completeness(&self) -> Option<Completeness> {
        match &self.source {
            Open::Lockless(lockless) => lockless.is_at_end().then(|| lockless.completeness()),
            Open::Query(_) | Open::Text(_) => Some(Completeness::Unknown),
        }
    }

    /// Whether what was read up to the end is of one moment. [`None`] before the end.
    pub fn judgement(&self) -> Option<Judgement> {
        self.completeness().map(|_| self.judge().judgement())
    }

    /// What judges what was read so far.
    pub(crate) fn judge(&self) -> Judge {
        match &self.source {
            Open::Lockless(lockless) => lockless.judge(),
            Open::Query(_) | Open::Text(_) => Judge::default(),
        }
    }

    /// Begins anew with the lowest address.
    pub fn rewind(&mut self) -> Result<(), Error> {
        self.begin(&Ask::default())
    }

    /// Begins anew with the lowest address, and reads only what has changed since a token, until the next
    /// [`rewind`](Self::rewind). The token must be that of a [`Snapshot`] by the same request.
    ///
    /// Batches then have [`unchanged`](Batch::unchanged) ranges in place of mappings that did not change, and
    /// mappings of which some may not have changed either. What is in neither is not mapped any more.
    /// docs/abi.md says how to make a listing of them; a [`Follower`](crate::Follower) does it. The other sources,
    /// and a kernel that cannot tell, list everything.
    ///
    /// Fails as making any other request: with [`Error::is_unsupported`] where the kernel does not know such
    /// requests.
    pub fn rewind_since(&mut self, token: &Token) -> Result<(), Error> {
        self.begin(&Ask {
            since: Some(*token),
            range: None,
        })
    }

    /// Begins anew. The other sources than maps_lockless know no part of a request: they read all.
    fn begin(&mut self, ask: &Ask) -> Result<(), Error> {
        match &mut self.source {
            Open::Lockless(lockless) => lockless.begin(ask),
            Open::Query(query) => {
                query.rewind();
                Ok(())
            }
            Open::Text(text) => text.rewind(),
        }
    }

    /// Reads all mappings, from the lowest address on.
    pub fn snapshot(&mut self) -> Result<Snapshot, Error> {
        self.rewind()?;
        Snapshot::read(self)
    }

    /// Reads all mappings, again and again until they are proved to be those of one moment.
    ///
    /// Gives up after so many attempts, or once the time is over, and returns what was read last: its
    /// [`judgement`](Snapshot::judgement) tells. Nothing but the attempts is waited for, and from a
    /// source that gives no evidence there is one.
    pub fn consistent(&mut self, attempts: u32, time: Duration) -> Result<Snapshot, Error> {
        listing::whole(self, &mut Tries::new(attempts, time))
    }

    /// The state of the address space now, without reading a mapping. [`None`] where the source cannot
    /// tell.
    pub fn state(&self) -> Result<Option<State>, Error> {
        match &self.source {
            Open::Lockless(lockless) => lockless.state().map(Some),
            Open::Query(_) | Open::Text(_) => Ok(None),
        }
    }

    /// The token of the address space now, without reading a mapping. [`None`] where the source
    /// cannot tell, or the process is changing its mappings at this moment.
    ///
    /// Fails with [`Error::is_exited`] where the address space is gone.
    pub fn token(&self) -> Result<Option<Token>, Error> {
        match &self.source {
            Open::Lockless(lockless) => lockless.token(),
            Open::Query(_) | Open::Text(_) => Ok(None),
        }
    }

    /// Whether a mapping may have changed since a token was taken: not, if the answer is no. What is
    /// not covered, docs/tearing.md lists.
    pub fn changed_since(&self, token: &Token) -> Result<bool, Error> {
        Ok(self.token()?.is_none_or(|now| now != *token))
    }
}

impl Lister for Reader {
    fn changed_since(&self, token: &Token) -> Result<bool, Error> {
        Reader::changed_since(self, token)
    }

    fn list(&mut self, ask: &Ask) -> Result<Listing, Error> {
        self.begin(ask)?;
        Listing::read(self)
    }

    fn path(&self) -> &Path {
        match &self.source {
            Open::Lockless(lockless) => lockless.path(),
            Open::Query(query) => query.path(),
            Open::Text(text) => text.path(),
        }
    }
}

/// See [`Batch::mappings`].
struct Mappings<'a, 'p, T> {
    part: Mapped<'a, T>,
    /// For errors.
    path: &'p Path,
    /// The last one. All are returned from here, so that each is copied once, whatever the source is.
    last: MappingRef<'a>,
}

/// The mappings of a part.
enum Mapped<'a, T> {
    Lockless(Decoder<'a>, &'a AllKnown),
    Query(Option<MappingRef<'a>>),
    /// What the lines tell, and their numbers.
    Text(T),
}

impl<'a, T> Mappings<'a, '_, T>
where
    T: Iterator<Item = (Option<MappingRef<'a>>, usize)>,
{
    /// Makes the last mapping the next one, and returns whether there is a next one.
    // As Decoder::decode.
    #[inline(never)]
    fn read(&mut self) -> Result<bool, Error> {
        let mapping = match &mut self.part {
            Mapped::Lockless(decoder, all_known) => {
                let more = decoder.decode(&mut self.last);
                let more = more.map_err(|error| Error::format(self.path, error))?;
                if !more && decoder.all_known {
                    all_known.set();
                }
                return Ok(more);
            }
            Mapped::Query(mapping) => mapping.take(),
            Mapped::Text(lines) => match lines.next() {
                Some((None, number)) => return Err(Error::text(self.path, number)),
                Some((mapping, _)) => mapping,
                None => None,
            },
        };
        let Some(mapping) = mapping else {
            return Ok(false);
        };
        self.last = mapping;
        Ok(true)
    }
}

impl<'a, T> Iterator for Mappings<'a, '_, T>
where
    T: Iterator<Item = (Option<MappingRef<'a>>, usize)>,
{
    type Item = Result<MappingRef<'a>, Error>;

    // As that of decode::Batch::mappings.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let reused = match &mut self.part {
            Mapped::Lockless(decoder, _) => decoder.reuse(&mut self.last),
            Mapped::Query(_) | Mapped::Text(_) => false,
        };
        // In one place, so that it is copied once.
        match if reused { Ok(true) } else { self.read() } {
            Ok(true) => Some(Ok(self.last)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl<'a> Batch<'a> {
    /// A batch that was not read.
    #[cfg(test)]
    pub(crate) fn of(batch: decode::Batch<'a>, all_known: &'a AllKnown, path: &'a Path) -> Self {
        Self {
            part: Part::Lockless { batch, all_known },
            path,
        }
    }

    /// The mappings. One that cannot be understood is an error, and the others come all the same.
    pub fn mappings(&self) -> impl Iterator<Item = Result<MappingRef<'a>, Error>> + use<'a, '_> {
        Mappings {
            part: match &self.part {
                Part::Lockless { batch, all_known } => {
                    Mapped::Lockless(Decoder::new(batch), all_known)
                }
                Part::Query(mapping) => Mapped::Query(Some(*mapping)),
                Part::Text {
                    lines,
                    first,
                    selection,
                } => {
                    let selection = *selection;
                    let lines = lines.clone().zip(*first..);
                    Mapped::Text(lines.filter(move |(line, _)| {
                        line.as_ref().is_none_or(|line| selection.wants(line))
                    }))
                }
            },
            path: self.path,
            last: MappingRef::NOTHING,
        }
    }

    /// The ranges that may hold mappings which the batch does not show: the kernel could not prove
    /// that nothing is mapped there. They are no mappings. Of [`Source::Lockless`] alone.
    pub fn unknown(&self) -> impl Iterator<Item = Result<Range<u64>, Error>> + use<'a, '_> {
        let path = self.path;
        let unknown = self.raw().into_iter().flat_map(decode::Batch::unknown);
        unknown.map(move |range| range.map_err(|error| Error::format(path, error)))
    }

    /// The ranges in which nothing has changed since the token of [`Reader::rewind_since`]. They stand for mappings
    /// that the batch does not show. Of [`Source::Lockless`] alone.
    pub fn unchanged(&self) -> impl Iterator<Item = Result<Unchanged, Error>> + use<'a, '_> {
        let path = self.path;
        let since = self.raw().filter(|batch| batch.is_since());
        let unchanged = since.into_iter().flat_map(decode::Batch::unchanged);
        unchanged.map(move |range| range.map_err(|error| Error::format(path, error)))
    }

    /// The batch as the kernel gave it, with its evidence. Of [`Source::Lockless`] alone.
    pub fn raw(&self) -> Option<&decode::Batch<'a>> {
        match &self.part {
            Part::Lockless { batch, .. } => Some(batch),
            Part::Query(_) | Part::Text { .. } => None,
        }
    }
}
