// SPDX-License-Identifier: MIT OR Apache-2.0

//! PROCMAP_QUERY, the ioctl(2) of `/proc/<pid>/maps`: one mapping a call.

use crate::{
    BuildId, Device, Error, Mapping, MappingRef, Marks, NameRef, Request, VmaFlags,
    file::{NamedFile, retry},
    mapping::{PERMISSIONS, TOLD_BY_MAPS},
    sys::{self, ProcmapQuery},
    text,
    wire::MAPS_LOCKLESS_VMA_FILE,
};
use nix::errno::Errno;
use std::{path::Path, vec::Vec};

const COVERING_OR_NEXT_VMA: u64 = 0x10;
const FILE_BACKED_VMA: u64 = 0x20;
const PATH_MAX: usize = 4096;
const BUILD_ID_MAX: usize = 20;

/// An open `maps` that is asked for one mapping after the other.
#[derive(Debug)]
pub(crate) struct Query {
    file: NamedFile,
    request: Request,
    next: u64,
    done: bool,
    /// Its length is that of a name once one was asked for.
    pub(crate) name: Vec<u8>,
    build_id: [u8; BUILD_ID_MAX],
}

impl Query {
    /// Fails with [`Error::is_unsupported`] where the kernel has no such ioctl(2).
    pub(crate) fn new(file: NamedFile, request: &Request) -> Result<Self, Error> {
        request.selection.check_maps_can(&file)?;
        let request = *request;
        let query = Self {
            next: request.selection.start,
            name: Vec::new(),
            request,
            file,
            done: false,
            build_id: [0; BUILD_ID_MAX],
        };
        match sys::procmap_query(query.file.fd(), COVERING_OR_NEXT_VMA, 0, &mut [], &mut []) {
            // The second is what QEMU answers where it emulates system calls.
            Err(Errno::ENOTTY | Errno::ENOSYS) => Err(Error::unsupported(query.file.path())),
            _ => Ok(query),
        }
    }

    /// The next mapping that is wanted. The path is for errors.
    pub(crate) fn next(&mut self) -> Result<Option<(MappingRef<'_>, &Path)>, Error> {
        let answer = loop {
            if self.done {
                return Ok(None);
            }
            let Some(answer) = self.ask(self.next)? else {
                self.done = true;
                return Ok(None);
            };
            // Addresses only ever go up, so that the number of calls has a bound.
            if answer.vma_end <= self.next {
                return Err(Error::stuck(self.file.path()));
            }
            self.next = answer.vma_end;
            if self.request.selection.end != 0 && answer.vma_start >= self.request.selection.end {
                self.done = true;
                return Ok(None);
            }
            if self.request.selection.wants(&self.mapping(&answer)) {
                break answer;
            }
        };
        Ok(Some((self.mapping(&answer), self.file.path())))
    }

    /// The mapping at an address, or the next one.
    pub(crate) fn from(&mut self, address: u64) -> Result<Option<Mapping>, Error> {
        self.next = address.max(self.request.selection.start);
        self.done = false;
        Ok(self.next()?.map(|(mapping, _)| mapping.to_owned()))
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn rewind(&mut self) {
        self.next = self.request.selection.start;
        self.done = false;
    }

    fn ask(&mut self, address: u64) -> Result<Option<ProcmapQuery>, Error> {
        let all = self.request.selection.all;
        let mut flags = COVERING_OR_NEXT_VMA | all & PERMISSIONS;
        if all & MAPS_LOCKLESS_VMA_FILE != 0 {
            flags |= FILE_BACKED_VMA;
        }
        let build_id = if self.request.fields.build_id {
            &mut self.build_id[..]
        } else {
            &mut []
        };
        let mut name = if self.request.fields.name {
            self.name.resize(PATH_MAX, 0);
            &mut self.name[..]
        } else {
            &mut []
        };
        loop {
            let fd = self.file.fd();
            let answer = retry(|| sys::procmap_query(fd, flags, address, name, build_id));
            match answer {
                Ok(answer) => return Ok(Some(answer)),
                Err(Errno::ENOENT) => return Ok(None),
                // A name that is too long fails the whole call: once more, without.
                Err(Errno::ENAMETOOLONG) if !name.is_empty() => name = &mut [],
                Err(errno) => return Err(Error::os(self.file.path(), errno)),
            }
        }
    }

    fn mapping(&self, answer: &ProcmapQuery) -> MappingRef<'_> {
        // Only a file has one: memory that is shared has a file without a name of its own.
        let file = answer.inode != 0 || (answer.dev_major, answer.dev_minor) != (0, 0);
        let or_file = if file { MAPS_LOCKLESS_VMA_FILE } else { 0 };
        let len = (answer.vma_name_size as usize).min(self.name.len());
        let (name, deleted) = match (self.request.fields.name, len) {
            (false, _) => (NameRef::Unknown, None),
            (true, 0) if file => (NameRef::PathTooLong, None),
            (true, 0) => (NameRef::None, None),
            (true, len) => text::name(&self.name[..len - 1], file),
        };
        MappingRef {
            start: answer.vma_start,
            end: answer.vma_end,
            vma_start: answer.vma_start,
            flags: VmaFlags {
                set: answer.vma_flags & PERMISSIONS | or_file,
                known: TOLD_BY_MAPS,
            },
            offset: file.then_some(answer.vma_offset),
            page_size: self
                .request
                .fields
                .page_size
                .then_some(answer.vma_page_size),
            pkey: None,
            device: file.then_some(Device {
                major: answer.dev_major,
                minor: answer.dev_minor,
            }),
            inode: file.then_some(answer.inode),
            deleted,
            name,
            build_id: match (answer.build_id_size as usize).min(BUILD_ID_MAX) {
                // Why there is none, the call does not tell.
                0 => BuildId::Unknown,
                len => BuildId::Present(&self.build_id[..len]),
            },
            marks: Marks::default(),
        }
    }
}
