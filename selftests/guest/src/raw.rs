// SPDX-License-Identifier: MIT OR Apache-2.0

//! The file as the kernel gives it, without the library's help in reading.

use crate::shapes::PAGE;
use anyhow::{Context, Result, bail, ensure};
use maps_lockless::{
    Mapping,
    decode::{Batch, File as FileRecord, Record, Vma},
    wire::*,
};
use nix::{libc, request_code_readwrite};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::{fd::AsRawFd, unix::fs::FileExt},
};

/// `PROCFS_IOCTL_MAGIC`.
const MAGIC: u8 = b'f';
/// The number of the ioctl(2) that sets a request.
pub const SET_REQUEST: libc::c_ulong = request_code_readwrite!(
    MAGIC,
    MAPS_LOCKLESS_NR_SET_REQUEST,
    size_of::<maps_lockless_request>()
);
/// The number of the ioctl(2) that reads a request back.
pub const GET_REQUEST: libc::c_ulong = request_code_readwrite!(
    MAGIC,
    MAPS_LOCKLESS_NR_GET_REQUEST,
    size_of::<maps_lockless_request>()
);
/// The number of the ioctl(2) that tells the state of the address space.
pub const GET_STATE: libc::c_ulong = request_code_readwrite!(
    MAGIC,
    MAPS_LOCKLESS_NR_GET_STATE,
    size_of::<maps_lockless_state>()
);

/// What is asked for where nobody has made a request.
pub const MAPS: maps_lockless_request = maps_lockless_request {
    size: size_of::<maps_lockless_request>() as u64,
    fields_wanted: MAPS_LOCKLESS_FIELDS_MAPS,
    vma_flags_all: 0,
    vma_flags_any: 0,
    vma_flags_none: 0,
    start: 0,
    end: 0,
    max_records: 0,
    reserved: 0,
    since_mm_id: 0,
    since_seq: 0,
    request: 0,
    fields_supported: 0,
    vma_flags_supported: 0,
};

/// The fields of VMAs that this version describes, but for the protection key, which not every machine
/// has.
pub const VMA_FIELDS: u64 = MAPS_LOCKLESS_FIELD_RANGE
    | MAPS_LOCKLESS_FIELD_FLAGS
    | MAPS_LOCKLESS_FIELD_OFFSET
    | MAPS_LOCKLESS_FIELD_NAME
    | MAPS_LOCKLESS_FIELD_PAGE_SIZE;
/// The fields of files that this version describes.
pub const FILE_FIELDS: u64 = MAPS_LOCKLESS_FIELD_DEV
    | MAPS_LOCKLESS_FIELD_INO
    | MAPS_LOCKLESS_FIELD_PATH
    | MAPS_LOCKLESS_FIELD_DELETED
    | MAPS_LOCKLESS_FIELD_BUILD_ID;

/// All that every machine can tell.
pub const ALL: maps_lockless_request = maps_lockless_request {
    fields_wanted: VMA_FIELDS | FILE_FIELDS,
    ..MAPS
};

/// The ranges alone.
pub const RANGES: maps_lockless_request = maps_lockless_request {
    fields_wanted: MAPS_LOCKLESS_FIELD_RANGE,
    ..MAPS
};

/// Bytes of a header.
pub const HEADER: usize = size_of::<maps_lockless_batch>();
/// Bytes of a VMA's record that has no name.
pub const RECORD: usize = size_of::<maps_lockless_vma>();
/// Bytes of a file's record that has neither path nor build ID.
pub const FILE_RECORD: usize = size_of::<maps_lockless_file>();
/// The smallest buffer that read(2) takes.
pub const SMALLEST: usize =
    MAPS_LOCKLESS_BATCH_SIZE_VER0 as usize + MAPS_LOCKLESS_VMA_SIZE_VER0 as usize;

/// The file position from which a listing goes on at an address.
pub fn position_of(address: u64) -> u64 {
    address / PAGE as u64
}

/// An open `maps_lockless`.
pub struct Lockless(pub File);

/// A batch of its own bytes.
pub struct Owned(Vec<u8>);

impl Owned {
    /// The batch.
    pub fn batch(&self) -> Result<Batch<'_>> {
        Ok(Batch::parse(&self.0)?)
    }

    /// Its header.
    pub fn header(&self) -> Result<maps_lockless_batch> {
        Ok(*self.batch()?.header())
    }

    /// Whether the listing ends with it.
    pub fn is_final(&self) -> bool {
        self.batch().is_ok_and(|batch| batch.is_final())
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its records, all of them decoded.
    pub fn records(&self) -> Result<Vec<Record<'_>>> {
        Ok(self.batch()?.records().collect::<Result<_, _>>()?)
    }

    /// Its VMAs, all of them decoded. There may be no record of a type that is not known.
    pub fn vmas(&self) -> Result<Vec<Vma<'_>>> {
        let mut vmas = Vec::new();
        for record in self.records()? {
            match record {
                Record::Vma(vma) => vmas.push(vma),
                Record::File(_) | Record::Unknown(_) => {}
                other => bail!("unknown record {other:?}"),
            }
        }
        Ok(vmas)
    }

    /// Its files' records, all of them decoded.
    pub fn files(&self) -> Result<Vec<FileRecord<'_>>> {
        let records = self.records()?.into_iter();
        Ok(records
            .filter_map(|record| match record {
                Record::File(file) => Some(file),
                _ => None,
            })
            .collect())
    }
}

impl Lockless {
    /// Opens the file of a process.
    pub fn open(pid: u32) -> io::Result<Self> {
        File::open(format!("/proc/{pid}/maps_lockless")).map(Self)
    }

    /// Opens the file of a process, and makes a request.
    pub fn with_request(pid: u32, request: maps_lockless_request) -> Result<Self> {
        let file = Self::open(pid)?;
        file.request(request)?;
        Ok(file)
    }

    /// Makes a request. Returns it with the kernel's answers filled in.
    pub fn request(&self, mut request: maps_lockless_request) -> io::Result<maps_lockless_request> {
        self.request_in(&mut request)?;
        Ok(request)
    }

    /// As [`Lockless::request`]. The answers are there where it is refused, too.
    pub fn request_in(&self, request: &mut maps_lockless_request) -> io::Result<()> {
        self.ioctl(SET_REQUEST, (&raw mut *request).expose_provenance())
    }

    /// Reads back what is asked for.
    pub fn requested(&self) -> io::Result<maps_lockless_request> {
        let mut request = maps_lockless_request {
            size: size_of::<maps_lockless_request>() as u64,
            ..Default::default()
        };
        self.ioctl(GET_REQUEST, (&raw mut request).expose_provenance())?;
        Ok(request)
    }

    /// Asks for the state of the address space.
    pub fn state(&self) -> io::Result<maps_lockless_state> {
        let mut state = maps_lockless_state {
            size: size_of::<maps_lockless_state>() as u64,
            ..Default::default()
        };
        self.ioctl(GET_STATE, (&raw mut state).expose_provenance())?;
        Ok(state)
    }

    /// ioctl(2) with any number and any argument, which may be an address.
    pub fn ioctl(&self, number: libc::c_ulong, argument: usize) -> io::Result<()> {
        #[expect(unsafe_code, reason = "ioctl(2) has no safe form")]
        // SAFETY: The kernel checks the pointer. Callers pass memory of their own that has room for
        // what the struct says, or none that is mapped.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), number, argument) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Reads with a buffer of `size` bytes. [`None`] at the end.
    pub fn read(&mut self, size: usize) -> io::Result<Option<Owned>> {
        let mut buf = vec![0xaa; size];
        let len = self.0.read(&mut buf)?;
        buf.truncate(len);
        Ok((len > 0).then_some(Owned(buf)))
    }

    /// As [`Lockless::read`], where there must be a batch.
    pub fn batch(&mut self, size: usize) -> Result<Owned> {
        self.read(size)?.context("read(2) returned 0")
    }

    /// Reads at `address`, which leaves the position alone.
    pub fn batch_at(&self, size: usize, address: u64) -> Result<Owned> {
        let mut buf = vec![0xaa; size];
        let len = self.0.read_at(&mut buf, position_of(address))?;
        ensure!(len > 0, "pread(2) returned 0");
        buf.truncate(len);
        Ok(Owned(buf))
    }

    /// The file position, a page's number.
    pub fn position(&mut self) -> io::Result<u64> {
        self.0.stream_position()
    }

    /// Goes to an address.
    pub fn seek(&mut self, address: u64) -> io::Result<u64> {
        self.0.seek(SeekFrom::Start(position_of(address)))
    }

    /// Reads to the final batch with buffers of `size` bytes. Returns the batches.
    pub fn batches(&mut self, size: usize) -> Result<Vec<Owned>> {
        let mut batches = Vec::new();
        loop {
            batches.push(self.batch(size)?);
            if batches.last().is_some_and(|last| last.is_final()) {
                return Ok(batches);
            }
        }
    }

    /// As [`Lockless::batches`]. Returns the mappings and the final batch.
    pub fn rest(&mut self, size: usize) -> Result<(Vec<Mapping>, Owned)> {
        let mut batches = self.batches(size)?;
        let mut mappings = Vec::new();
        for batch in &batches {
            for mapping in batch.batch()?.mappings() {
                mappings.push(mapping?.to_owned());
            }
        }
        Ok((mappings, batches.pop().context("no batch")?))
    }

    /// As [`Lockless::batches`]. Returns all VMAs' fixed parts.
    pub fn fields(&mut self) -> Result<Vec<maps_lockless_vma>> {
        let mut all = Vec::new();
        for batch in self.batches(MAPS_LOCKLESS_MAX_BATCH as usize)? {
            all.extend(batch.vmas()?.iter().map(|vma| vma.fields));
        }
        Ok(all)
    }
}
