// SPDX-License-Identifier: MIT OR Apache-2.0

//! By what each process's mappings are told from those of every other.
//!
//! A process has a key that no other ever has. Its mappings lie in a region of addresses of its own,
//! have one of two permissions of its own, names and build IDs that hold the key, inodes of its own
//! files, and offsets within them that nobody else uses.

use crate::{
    elf,
    invariants::{VSYSCALL, has_kernel_address, is_kernel_address},
    rng::Rng,
};
use anyhow::{Result, bail, ensure};
use maps_lockless::{BuildId, Device, MappingRef, NameRef, wire::*};
use nix::sys::stat::{major, minor};
use std::{fmt, fs, ops::Range, os::unix::fs::MetadataExt, path::PathBuf};

const PAGE: u64 = 4096;
const REGIONS: u64 = 0x1000_0000_0000;
const REGION: u64 = 1 << 36;
const REGION_COUNT: u64 = 1024;
/// Bytes of a file that are a process's own.
const FILE_WINDOW: u64 = 4096 * PAGE;
/// Where in them mappings begin, so that an offset of another range stays within.
const FILE_MIDDLE: u64 = 2048 * PAGE;

/// Pages of the arena that writers change.
pub const ARENA_PAGES: u64 = 512;
/// Of as many pages the first is a sentinel, which nobody changes.
pub const WINDOW: u64 = 64;
/// Pages that a stack may have.
pub const STACK_PAGES: u64 = 16;
/// How many files a process maps.
pub const FILES: usize = 3;

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub u32);

/// As it stands in names.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key-{:08x}-", self.0)
    }
}

impl Key {
    fn region(self) -> Range<u64> {
        let start = REGIONS + u64::from(self.0) % REGION_COUNT * REGION;
        start..start + REGION
    }

    /// What writers change.
    pub fn arena(self) -> Range<u64> {
        let start = self.region().start + (1 << 30);
        start..start + ARENA_PAGES * PAGE
    }

    /// Where a stack grows.
    pub fn stack(self) -> Range<u64> {
        let end = self.region().start + (2 << 30);
        end - STACK_PAGES * PAGE..end
    }

    /// What stays mapped.
    pub fn sentinels(self) -> impl Iterator<Item = Range<u64>> {
        let start = self.arena().start;
        (0..ARENA_PAGES)
            .step_by(WINDOW as usize)
            .map(move |page| start + page * PAGE..start + (page + 1) * PAGE)
    }

    /// The permissions that its mappings have, as `PROT_*`, which are the first three VMA flags too. With
    /// the first, pages may be looked at.
    pub fn protections(self) -> [u64; 2] {
        const PAIRS: [[u64; 2]; 10] = [
            [1, 3],
            [5, 0],
            [7, 1],
            [3, 5],
            [7, 0],
            [5, 1],
            [3, 0],
            [7, 5],
            [1, 0],
            [3, 7],
        ];
        PAIRS[self.0 as usize % PAIRS.len()]
    }

    /// Whether it maps its files shared.
    pub fn shares(self) -> bool {
        self.0 % 2 == 1
    }

    /// Where in a file to map a page of the arena from.
    pub fn offset(self, page: u64) -> u64 {
        u64::from(self.0) * FILE_WINDOW + FILE_MIDDLE + page * PAGE
    }

    /// The name of a file of its own.
    pub fn file(self, which: usize) -> PathBuf {
        format!("/tmp/torture/{self}{which}").into()
    }

    fn build_id(self) -> String {
        format!("{self}ID.....")
    }

    /// Makes its files.
    pub fn make_files(self) -> Result<Facts> {
        let note = elf::build_id_note(self.build_id().as_bytes());
        let header = elf::header_64(1, PAGE, note.len() as u64);
        let len = (u64::from(self.0) + 1) * FILE_WINDOW;
        let (mut device, mut inodes) = (None, Vec::new());
        for which in 0..FILES {
            let file = elf::file(&self.file(which), len, &[(0, &header), (PAGE, &note)])?;
            let metadata = file.metadata()?;
            inodes.push(metadata.ino());
            device = Some(Device {
                major: major(metadata.dev()) as u32,
                minor: minor(metadata.dev()) as u32,
            });
        }
        Ok(Facts {
            key: self,
            device,
            inodes,
        })
    }

    /// Removes those of its files that are left.
    pub fn remove_files(self) {
        for which in 0..FILES {
            let _ = fs::remove_file(self.file(which));
        }
    }

    /// A page of its arena, as an address.
    pub fn random_page(self, rng: &mut Rng) -> u64 {
        self.arena().start + rng.below(ARENA_PAGES) * PAGE
    }
}

/// What is known of a process's mappings.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its key.
    pub key: Key,
    device: Option<Device>,
    inodes: Vec<u64>,
}

impl Facts {
    /// Fails where a mapping has anything of another process. Tells whether it is in the arena.
    pub fn check(&self, mapping: &MappingRef<'_>) -> Result<bool> {
        self.foreign(mapping)
            .map_err(|error| anyhow::anyhow!("broken: foreign {error}, in {self:?}: {mapping:x?}"))
    }

    fn foreign(&self, mapping: &MappingRef<'_>) -> Result<bool> {
        let gate = (mapping.start, mapping.end) == (VSYSCALL.start, VSYSCALL.end);
        let (offset, inode) = (mapping.offset.unwrap_or(0), mapping.inode.unwrap_or(0));
        let mut words = [mapping.start, mapping.end, mapping.vma_start, offset, inode].into_iter();
        ensure!(gate || !words.any(is_kernel_address), "pointer");

        let own = self.key.to_string();
        let name = match mapping.name {
            NameRef::Anon(name) | NameRef::AnonShmem(name) => name,
            NameRef::Path { path, .. } => path.strip_prefix(b"/tmp/torture/").unwrap_or(path),
            _ => &[],
        };
        ensure!(!has_kernel_address(name), "pointer");
        let keyed = name.starts_with(b"key-");
        ensure!(!keyed || name.starts_with(own.as_bytes()), "name");

        let regions = REGIONS..REGIONS + REGION_COUNT * REGION;
        if mapping.end <= regions.start || mapping.start >= regions.end {
            return Ok(false);
        }
        let within =
            |range: Range<u64>| range.start <= mapping.vma_start && mapping.end <= range.end;
        let (arena, stack) = (within(self.key.arena()), within(self.key.stack()));
        ensure!(arena || stack, "range");
        if mapping.marks.withheld {
            return Ok(true);
        }

        let known = mapping.flags.known;
        let has = |flag| mapping.flags.set & flag != 0;
        let known_file = mapping.is_file();
        let is_file = has(MAPS_LOCKLESS_VMA_FILE);
        if known & 7 == 7 {
            let protection = mapping.flags.set & 7;
            let allowed = self.key.protections().contains(&protection);
            ensure!(if stack { protection == 3 } else { allowed }, "permissions");
            let shared = is_file && self.key.shares();
            ensure!(has(MAPS_LOCKLESS_VMA_SHARED) == shared, "permissions");
        }
        if known & MAPS_LOCKLESS_VMA_GROWSDOWN != 0 {
            ensure!(has(MAPS_LOCKLESS_VMA_GROWSDOWN) == stack, "flags");
        }
        let of_file =
            mapping.offset.is_some() || mapping.inode.is_some() || mapping.device.is_some();
        if stack || known_file == Some(false) {
            ensure!(!of_file, "file");
        }
        // None of its mappings has pages of another size, or a key that it was given by pkey_mprotect(2).
        ensure!(matches!(mapping.page_size, None | Some(PAGE)), "page size");
        ensure!(matches!(mapping.pkey, None | Some(0)), "protection key");
        if let Some(offset) = mapping.offset {
            // That of another range of this process's may be 512 pages off.
            let base = self.key.offset(0);
            let near = base - ARENA_PAGES * PAGE..base + 2 * ARENA_PAGES * PAGE;
            ensure!(near.contains(&offset), "offset");
        }
        if let Some(inode) = mapping.inode {
            ensure!(self.inodes.contains(&inode), "inode");
        }
        if mapping.device.is_some() {
            ensure!(mapping.device == self.device, "device");
        }
        match mapping.name {
            NameRef::Unknown | NameRef::None => {}
            NameRef::Anon(_) if keyed && !stack && known_file != Some(true) => {}
            NameRef::Path { .. } if keyed && !stack && known_file != Some(false) => {}
            _ => bail!("name"),
        }
        match mapping.build_id {
            BuildId::Present(id) => ensure!(id == self.key.build_id().as_bytes(), "build ID"),
            // The file has one.
            BuildId::Absent => bail!("build ID"),
            BuildId::Unknown | BuildId::NotResident => {}
        }
        Ok(true)
    }
}
