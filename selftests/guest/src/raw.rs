// SPDX-License-Identifier: MIT OR Apache-2.0

//! The file as the kernel gives it, without the library's help in reading.

use anyhow::{Context, Result, ensure};
use maps_lockless::{
    Mapping,
    decode::{Batch, Record, Vma},
    wire::maps_lockless_batch,
};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
};

/// Bytes of a header: the size of a poll.
pub const HEADER: usize = size_of::<maps_lockless_batch>();

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

    /// Its VMAs, all of them decoded.
    pub fn vmas(&self) -> Result<Vec<Vma<'_>>> {
        self.batch()?
            .records()
            .map(|record| match record? {
                Record::Vma(vma) => Ok(vma),
                other => anyhow::bail!("unknown record {other:?}"),
            })
            .collect()
    }
}

impl Lockless {
    /// Opens the file of a process.
    pub fn open(pid: u32) -> io::Result<Self> {
        File::open(format!("/proc/{pid}/maps_lockless")).map(Self)
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
        let len = self.0.read_at(&mut buf, address)?;
        ensure!(len > 0, "pread(2) returned 0");
        buf.truncate(len);
        Ok(Owned(buf))
    }

    /// The file position.
    pub fn position(&mut self) -> io::Result<u64> {
        self.0.stream_position()
    }

    /// Goes to an address.
    pub fn seek(&mut self, address: u64) -> io::Result<u64> {
        self.0.seek(SeekFrom::Start(address))
    }

    /// Reads to the final batch with buffers of `size` bytes. Returns the mappings and that batch.
    pub fn rest(&mut self, size: usize) -> Result<(Vec<Mapping>, Owned)> {
        let mut mappings = Vec::new();
        loop {
            let owned = self.batch(size)?;
            mappings.extend(owned.vmas()?.into_iter().map(Mapping::from));
            if owned.batch()?.is_final() {
                return Ok((mappings, owned));
            }
        }
    }
}
