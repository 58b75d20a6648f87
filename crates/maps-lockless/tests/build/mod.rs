// SPDX-License-Identifier: MIT OR Apache-2.0

//! Batches for tests, as a kernel of this machine's byte order would make them.
#![allow(
    dead_code,
    reason = "not all tests that have this module use all of it"
)]

use maps_lockless::wire::*;
// The library itself, which has this module too, has no prelude of std.
use std::vec::Vec;
use zerocopy::IntoBytes;

pub const HEADER: usize = size_of::<maps_lockless_batch>();
pub const VMA: usize = size_of::<maps_lockless_vma>();
pub const FILE: usize = size_of::<maps_lockless_file>();
pub const UNKNOWN: usize = size_of::<maps_lockless_unknown>();
pub const UNCHANGED: usize = size_of::<maps_lockless_unchanged>();
pub const PAGE: u64 = 4096;

/// The fields of a VMA that the kernel fills in where it has nothing to hide.
pub const OF_VMA: u64 = MAPS_LOCKLESS_FIELD_RANGE
    | MAPS_LOCKLESS_FIELD_FLAGS
    | MAPS_LOCKLESS_FIELD_OFFSET
    | MAPS_LOCKLESS_FIELD_NAME;
/// The fields of a file that the kernel fills in where it knows all.
pub const OF_FILE: u64 = MAPS_LOCKLESS_FIELD_DEV
    | MAPS_LOCKLESS_FIELD_INO
    | MAPS_LOCKLESS_FIELD_PATH
    | MAPS_LOCKLESS_FIELD_DELETED
    | MAPS_LOCKLESS_FIELD_BUILD_ID;

/// A batch in the making.
#[derive(Clone)]
pub struct Builder {
    /// All but the sizes and the number of records, which [`Builder::bytes`] fills in.
    pub header: maps_lockless_batch,
    /// By how many bytes the header and each fixed part are longer than today: of 0xee, as a later
    /// kernel's may be. It must not change once there is a record.
    pub longer: usize,
    records: Vec<u8>,
    count: u32,
}

/// A batch that is all of a listing.
impl Default for Builder {
    fn default() -> Self {
        Self {
            header: maps_lockless_batch {
                magic: MAPS_LOCKLESS_MAGIC,
                version: MAPS_LOCKLESS_VERSION,
                header_size: 0,
                size: 0,
                count: 0,
                flags: MAPS_LOCKLESS_BATCH_FIRST | MAPS_LOCKLESS_BATCH_FINAL,
                end_reason: MAPS_LOCKLESS_END_COMPLETE,
                begin: 0,
                next: MAPS_LOCKLESS_NEXT_NONE,
                mm_id: 1,
                seq_begin: 2,
                seq_end: 2,
                request: 1,
                fields_supported: OF_VMA | OF_FILE,
                fields_wanted: OF_VMA | OF_FILE,
                vma_flags_supported: 0xf | MAPS_LOCKLESS_VMA_FILE,
                page_size: PAGE as u32,
                vma_count: 2,
            },
            longer: 0,
            records: Vec::new(),
            count: 0,
        }
    }
}

impl Builder {
    /// Adds a record of which `head` has all but the sizes. Returns where it begins in the batch.
    fn put(&mut self, fixed: &[u8], blobs: &[&[u8]]) -> u32 {
        let at = self.records.len();
        self.records.extend(fixed);
        self.records.extend(std::iter::repeat_n(0xee, self.longer));
        for blob in blobs {
            self.records.extend(*blob);
            self.records
                .resize(self.records.len().next_multiple_of(8), 0);
        }
        let fixed_size = (fixed.len() + self.longer) as u16;
        let size = (self.records.len() - at) as u32;
        self.records[at + 2..at + 4].copy_from_slice(&fixed_size.to_ne_bytes());
        self.records[at + 4..at + 8].copy_from_slice(&size.to_ne_bytes());
        self.count += 1;
        (HEADER + self.longer + at) as u32
    }

    pub fn file(&mut self, fields: maps_lockless_file, path: &[u8], id: &[u8]) -> u32 {
        let fields = maps_lockless_file {
            r#type: MAPS_LOCKLESS_TYPE_FILE,
            path_len: path.len() as u32,
            build_id_len: id.len() as u32,
            ..fields
        };
        self.put(fields.as_bytes(), &[path, id])
    }

    pub fn vma(&mut self, fields: maps_lockless_vma, name: &[u8]) -> u32 {
        let fields = maps_lockless_vma {
            r#type: MAPS_LOCKLESS_TYPE_VMA,
            name_len: name.len() as u32,
            ..fields
        };
        self.put(fields.as_bytes(), &[name])
    }

    pub fn unknown(&mut self, start: u64, end: u64) -> u32 {
        let fields = maps_lockless_unknown {
            r#type: MAPS_LOCKLESS_TYPE_UNKNOWN,
            start,
            end,
            ..Default::default()
        };
        self.put(fields.as_bytes(), &[])
    }

    pub fn unchanged(&mut self, start: u64, end: u64, vma_count: u32) -> u32 {
        let fields = maps_lockless_unchanged {
            r#type: MAPS_LOCKLESS_TYPE_UNCHANGED,
            start,
            end,
            vma_count,
            ..Default::default()
        };
        self.put(fields.as_bytes(), &[])
    }

    /// A record of a type that only a later kernel knows, with `body` behind its first 8 bytes.
    pub fn other(&mut self, r#type: u16, body: &[u8]) -> u32 {
        let mut head = r#type.to_ne_bytes().to_vec();
        head.resize(8, 0);
        self.put(&head, &[body])
    }

    pub fn bytes(&self) -> Vec<u8> {
        let header_size = HEADER + self.longer;
        let header = maps_lockless_batch {
            header_size: header_size as u16,
            size: (header_size + self.records.len()) as u32,
            count: self.count,
            ..self.header
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(header_size, 0xee);
        bytes.extend(&self.records);
        bytes
    }
}

/// A page that may be read.
pub fn page(start: u64) -> maps_lockless_vma {
    maps_lockless_vma {
        valid: OF_VMA & !MAPS_LOCKLESS_FIELD_OFFSET,
        start,
        end: start + PAGE,
        vma_start: start,
        vma_flags: MAPS_LOCKLESS_VMA_READ,
        ..Default::default()
    }
}

/// A page of a file, whose record begins at `file`.
pub fn page_of(file: u32, start: u64) -> maps_lockless_vma {
    maps_lockless_vma {
        valid: OF_VMA,
        vma_flags: MAPS_LOCKLESS_VMA_READ | MAPS_LOCKLESS_VMA_FILE,
        file,
        ..page(start)
    }
}

/// A file of which all is known.
pub fn whole_file() -> maps_lockless_file {
    maps_lockless_file {
        valid: OF_FILE,
        ino: 7,
        dev_major: 0xfe,
        dev_minor: 1,
        ..Default::default()
    }
}

/// A listing of so many batches, each of one page, of an address space that rests.
pub fn listing(batches: u64) -> Vec<Builder> {
    let batch = |i: u64| {
        let mut batch = Builder::default();
        batch.header.begin = i * PAGE;
        batch.header.flags = if i == 0 { MAPS_LOCKLESS_BATCH_FIRST } else { 0 };
        if i + 1 == batches {
            batch.header.flags |= MAPS_LOCKLESS_BATCH_FINAL;
        } else {
            batch.header.end_reason = MAPS_LOCKLESS_END_LIMIT;
            batch.header.next = (i + 1) * PAGE;
        }
        batch.vma(page(i * PAGE), b"");
        batch
    };
    (0..batches).map(batch).collect()
}
