// SPDX-License-Identifier: MIT OR Apache-2.0

//! A listing as the kernel tells it in both formats, and ways to read all of it.

use maps_lockless::{
    MappingRef, NameRef,
    decode::batches,
    text,
    wire::{self, *},
};
use procfs::{
    FromBufRead,
    process::{MMapPath, MemoryMap, MemoryMaps},
};
use std::{collections::HashMap, hint::black_box, os::unix::ffi::OsStrExt};
use zerocopy::IntoBytes;

/// How many VMAs are listed.
pub const VMAS: usize = 10_000;

const HEADER: usize = size_of::<maps_lockless_batch>();
const FILE: usize = size_of::<maps_lockless_file>();
const VMA: usize = size_of::<maps_lockless_vma>();

/// One listing, twice.
pub struct Listing {
    /// What maps_lockless returns, batch behind batch.
    pub stream: Vec<u8>,
    /// What maps shows.
    pub text: Vec<u8>,
}

impl Listing {
    /// Lists a process with many libraries, threads and arenas.
    pub fn new() -> Self {
        let stream = stream(&vmas());
        let mut text = Vec::new();
        let mut lines = 0;
        for batch in batches(&stream) {
            for mapping in batch.unwrap().mappings() {
                text::write_line(&mut text, &mapping.unwrap()).unwrap();
                lines += 1;
            }
        }
        assert_eq!(lines, VMAS);
        Self { stream, text }
    }
}

/// A VMA, and its name or the file that it maps.
struct Vma {
    fields: maps_lockless_vma,
    name: String,
    file: Option<File>,
}

/// A file.
struct File {
    deleted: bool,
    dev: (u32, u32),
    ino: u64,
    path: String,
}

/// The VMAs in groups of ten: those of a library, those of a thread, and memory with names.
fn vmas() -> Vec<Vma> {
    const R: u64 = MAPS_LOCKLESS_VMA_READ;
    const W: u64 = MAPS_LOCKLESS_VMA_WRITE;
    const X: u64 = MAPS_LOCKLESS_VMA_EXEC;
    const S: u64 = MAPS_LOCKLESS_VMA_SHARED;

    let mut vmas = Vec::with_capacity(VMAS);
    for i in 0..VMAS / 10 {
        let number = i as u64;
        let library = format!("/usr/lib/x86_64-linux-gnu/libexample-{i}.so.{}", i % 13);
        let mut offset = 0;
        for (pages, flags) in [(6, R), (31, R | X), (9, R), (1, R), (1, R | W)] {
            let file = File {
                deleted: false,
                dev: (0xfe, 1),
                ino: 1_048_576 + number * 7,
                path: library.clone(),
            };
            vmas.push(of_file(pages, flags, offset, file));
            offset += pages * 4096;
        }
        vmas.push(memory(3, R | W, MAPS_LOCKLESS_NAME_NONE, ""));
        vmas.push(memory(1, 0, MAPS_LOCKLESS_NAME_NONE, ""));
        vmas.push(match i {
            0 => memory(33, R | W, MAPS_LOCKLESS_NAME_HEAP, ""),
            1 => memory(33, R | W, MAPS_LOCKLESS_NAME_STACK, ""),
            2 => memory(2, R | X, MAPS_LOCKLESS_NAME_SPECIAL, "[vdso]"),
            _ => memory(2048, R | W, MAPS_LOCKLESS_NAME_NONE, ""),
        });
        let pool = format!("pool {i}");
        vmas.push(memory(16, R | W, MAPS_LOCKLESS_NAME_ANON, &pool));
        let frames = File {
            deleted: true,
            dev: (0, 1),
            ino: 1024 + number,
            path: format!("/memfd:frames-{i}"),
        };
        vmas.push(of_file(4, R | W | S, 0, frames));
    }

    // One behind the other.
    let mut at = 0x7f12_3456_0000;
    for Vma { fields, .. } in &mut vmas {
        fields.start += at;
        fields.vma_start += at;
        fields.end += at;
        at = fields.end;
    }
    vmas
}

fn memory(pages: u64, flags: u64, kind: u16, name: &str) -> Vma {
    Vma {
        fields: maps_lockless_vma {
            valid: MAPS_LOCKLESS_FIELD_RANGE | MAPS_LOCKLESS_FIELD_FLAGS | MAPS_LOCKLESS_FIELD_NAME,
            name_kind: kind,
            end: pages * 4096,
            vma_flags: flags,
            ..Default::default()
        },
        name: name.to_owned(),
        file: None,
    }
}

fn of_file(pages: u64, flags: u64, offset: u64, file: File) -> Vma {
    let mut vma = memory(pages, flags, MAPS_LOCKLESS_NAME_NONE, "");
    vma.fields.valid |= MAPS_LOCKLESS_FIELD_OFFSET;
    vma.fields.vma_flags |= MAPS_LOCKLESS_VMA_FILE;
    vma.fields.offset = offset;
    vma.file = Some(file);
    vma
}

/// Batches of at most the kernel's size, with each file once in each.
fn stream(vmas: &[Vma]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut rest = vmas;
    let mut begin = 0;
    while !rest.is_empty() {
        let (batch, count) = batch(rest, begin);
        begin = rest.get(count).map_or(0, |next| next.fields.start);
        stream.extend(batch);
        rest = &rest[count..];
    }
    stream
}

/// A batch of the first VMAs, and how many these are.
fn batch(vmas: &[Vma], begin: u64) -> (Vec<u8>, usize) {
    let mut batch = vec![0; HEADER];
    // Where the record of each inode begins.
    let mut files = HashMap::new();
    let mut count = 0;
    let mut records = 0;
    for vma in vmas {
        let before = batch.len();
        let put = put(&mut batch, vma, &mut files);
        if batch.len() > MAPS_LOCKLESS_MAX_BATCH as usize {
            batch.truncate(before);
            break;
        }
        count += 1;
        records += put;
    }
    let header = header(batch.len(), records, begin, vmas.get(count));
    batch[..HEADER].copy_from_slice(header.as_bytes());
    (batch, count)
}

/// Appends a VMA, and its file if this is the first of it. Returns the number of records.
fn put(batch: &mut Vec<u8>, vma: &Vma, files: &mut HashMap<u64, u32>) -> u32 {
    let mut records = 1;
    let file = vma.file.as_ref().map_or(0, |file| {
        *files.entry(file.ino).or_insert_with(|| {
            records += 1;
            put_file(batch, file)
        })
    });
    let record = maps_lockless_vma {
        r#type: MAPS_LOCKLESS_TYPE_VMA,
        fixed_size: VMA as u16,
        size: (VMA + vma.name.len().next_multiple_of(8)) as u32,
        file,
        name_len: vma.name.len() as u32,
        ..vma.fields
    };
    put_record(batch, record.as_bytes(), &vma.name);
    records
}

/// Appends a file, and returns where its record begins.
fn put_file(batch: &mut Vec<u8>, file: &File) -> u32 {
    let at = batch.len() as u32;
    let record = maps_lockless_file {
        r#type: MAPS_LOCKLESS_TYPE_FILE,
        fixed_size: FILE as u16,
        size: (FILE + file.path.len().next_multiple_of(8)) as u32,
        valid: MAPS_LOCKLESS_FIELD_DEV
            | MAPS_LOCKLESS_FIELD_INO
            | MAPS_LOCKLESS_FIELD_PATH
            | MAPS_LOCKLESS_FIELD_DELETED,
        flags: if file.deleted {
            MAPS_LOCKLESS_FILE_DELETED
        } else {
            0
        },
        path_len: file.path.len() as u32,
        ino: file.ino,
        dev_major: file.dev.0,
        dev_minor: file.dev.1,
        ..Default::default()
    };
    put_record(batch, record.as_bytes(), &file.path);
    at
}

fn put_record(batch: &mut Vec<u8>, fixed: &[u8], text: &str) {
    batch.extend(fixed);
    batch.extend(text.as_bytes());
    batch.resize(batch.len().next_multiple_of(8), 0);
}

fn header(size: usize, count: u32, begin: u64, next: Option<&Vma>) -> maps_lockless_batch {
    let (last, end_reason, next) = match next {
        Some(vma) => (0, MAPS_LOCKLESS_END_FULL, vma.fields.start),
        None => (
            MAPS_LOCKLESS_BATCH_FINAL,
            MAPS_LOCKLESS_END_COMPLETE,
            MAPS_LOCKLESS_NEXT_NONE,
        ),
    };
    let first = if begin == 0 {
        MAPS_LOCKLESS_BATCH_FIRST
    } else {
        0
    };
    maps_lockless_batch {
        magic: MAPS_LOCKLESS_MAGIC,
        version: MAPS_LOCKLESS_VERSION,
        header_size: HEADER as u16,
        size: size as u32,
        count,
        flags: first | last,
        end_reason,
        begin,
        next,
        mm_id: 1,
        seq_begin: 2,
        seq_end: 2,
        request: 0,
        fields_supported: MAPS_LOCKLESS_FIELDS_MAPS | MAPS_LOCKLESS_FIELD_BUILD_ID,
        fields_wanted: MAPS_LOCKLESS_FIELDS_MAPS,
        vma_flags_supported: !0,
        page_size: 4096,
        vma_count: VMAS as u32,
    }
}

/// Decodes a stream, and sums up all that it tells.
pub fn read_stream(stream: &[u8]) -> u64 {
    let mut total = 0_u64;
    for batch in batches(black_box(stream)) {
        for mapping in batch.unwrap().mappings() {
            total = total.wrapping_add(sum(&mapping.unwrap()));
        }
    }
    total
}

/// Parses text, and sums up all that it tells.
pub fn read_text(text: &[u8]) -> u64 {
    text::lines(black_box(text))
        .map(|mapping| sum(&mapping.unwrap()))
        .fold(0, u64::wrapping_add)
}

/// As [`read_text`], by procfs.
pub fn read_text_by_procfs(text: &[u8]) -> u64 {
    let maps = MemoryMaps::from_buf_read(black_box(text)).unwrap();
    maps.iter().map(sum_of_procfs).fold(0, u64::wrapping_add)
}

/// A sum that depends on all fields that maps shows.
pub fn sum(mapping: &MappingRef<'_>) -> u64 {
    let device = mapping.device.unwrap_or_default();
    let name = match black_box(mapping.name) {
        NameRef::Heap => 1,
        NameRef::Stack => 2,
        NameRef::Special(_) => 3,
        NameRef::Anon(name) => ends(b'a', "anon:".len() + name.len()),
        // As procfs leaves it: with the mark of a deleted file.
        NameRef::Path { path, marked } => {
            let mark = if marked { " (deleted)".len() } else { 0 };
            ends(path[0], path.len() + mark)
        }
        _ => 0,
    };
    total([
        mapping.start,
        mapping.end,
        mapping.flags.set & (R_W_X | MAPS_LOCKLESS_VMA_SHARED),
        mapping.offset.unwrap_or_default(),
        device.major.into(),
        device.minor.into(),
        mapping.inode.unwrap_or_default(),
        name,
    ])
}

const R_W_X: u64 = wire::MAPS_LOCKLESS_VMA_READ | MAPS_LOCKLESS_VMA_WRITE | MAPS_LOCKLESS_VMA_EXEC;

/// The same sum.
pub fn sum_of_procfs(mapping: &MemoryMap) -> u64 {
    let name = match black_box(&mapping.pathname) {
        MMapPath::Heap => 1,
        MMapPath::Stack => 2,
        MMapPath::Vdso => 3,
        MMapPath::Other(name) => ends(name.as_bytes()[0], name.len()),
        MMapPath::Path(path) => {
            let path = path.as_os_str().as_bytes();
            ends(path[0], path.len())
        }
        _ => 0,
    };
    total([
        mapping.address.0,
        mapping.address.1,
        // It has the same four bits, and one for what is private.
        u64::from(mapping.perms.bits()) & 0xf,
        mapping.offset,
        mapping.dev.0 as u64,
        mapping.dev.1 as u64,
        mapping.inode,
        name,
    ])
}

/// A name, by what both sides have of it.
fn ends(first: u8, len: usize) -> u64 {
    u64::from(first) << 32 | len as u64
}

fn total(fields: [u64; 8]) -> u64 {
    // Each field turned another way, so that two that are swapped are noticed.
    let turned = black_box(fields)
        .into_iter()
        .zip([0, 1, 2, 3, 5, 8, 13, 21]);
    turned.fold(0, |sum, (field, by)| {
        sum.wrapping_add(field.rotate_left(by))
    })
}
