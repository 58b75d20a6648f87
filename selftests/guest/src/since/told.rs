// SPDX-License-Identifier: MIT OR Apache-2.0

//! A mapping by all the bytes that it was told with.

use maps_lockless::wire::*;
use std::mem::offset_of;

/// A mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// First address that is told.
    pub start: u64,
    /// First address behind.
    pub end: u64,
    /// All bytes of its record, but that where its file's record stands is zero.
    vma: Vec<u8>,
    /// All bytes of its file's record, if there is one.
    file: Vec<u8>,
}

impl Told {
    /// What a record says, and that of its file.
    pub(super) fn new(vma: &[u8], file: &[u8]) -> Self {
        let word = |at| u64_at(vma, at);
        let mut told = Self {
            start: word(offset_of!(maps_lockless_vma, start)),
            end: word(offset_of!(maps_lockless_vma, end)),
            vma: vma.to_vec(),
            file: file.to_vec(),
        };
        let place = offset_of!(maps_lockless_vma, file);
        told.vma[place..place + 4].fill(0);
        told
    }

    /// `MAPS_LOCKLESS_VMA_*`.
    pub fn flags(&self) -> u64 {
        u64_at(&self.vma, offset_of!(maps_lockless_vma, vma_flags))
    }

    /// What the change count covers of it: all but guard pages, and of its file the device and the inode.
    pub fn covered(&self) -> (Vec<u8>, Option<[u8; 16]>) {
        let mut vma = self.vma.clone();
        let flags = self.flags() & !MAPS_LOCKLESS_VMA_MAYBE_GUARD;
        let at = offset_of!(maps_lockless_vma, vma_flags);
        vma[at..at + 8].copy_from_slice(&flags.to_ne_bytes());
        (vma, self.inode())
    }

    /// The bytes of its file's inode number and device, in their order.
    fn inode(&self) -> Option<[u8; 16]> {
        let ino = u64_at_opt(&self.file, offset_of!(maps_lockless_file, ino))?;
        let major = u32_at(&self.file, offset_of!(maps_lockless_file, dev_major));
        let minor = u32_at(&self.file, offset_of!(maps_lockless_file, dev_minor));
        let device = u64::from(major) << 32 | u64::from(minor);
        Some((u128::from(ino) << 64 | u128::from(device)).to_ne_bytes())
    }
}

/// Tells of the first two mappings that are not the same, or of the first that one alone has.
pub fn differ<T: PartialEq>(
    these: &[Told],
    those: &[Told],
    by: impl Fn(&Told) -> T,
) -> Option<String> {
    for number in 0..these.len().max(those.len()) {
        let (this, that) = (these.get(number), those.get(number));
        if this.map(&by) != that.map(&by) {
            return Some(format!("{number}: {this:x?}, not {that:x?}"));
        }
    }
    None
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64_at_opt(bytes, at).unwrap_or_default()
}

fn u64_at_opt(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_ne_bytes(*word))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
    word.map_or(0, |word| u32::from_ne_bytes(*word))
}
