// SPDX-License-Identifier: MIT OR Apache-2.0

//! That nothing is allocated where mappings are borrowed.
#![cfg(feature = "std")]

use maps_lockless::{
    BatchEvidence, MappingRef, Process, Request, Source, decode::batches, text, wire::*,
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fs,
    hint::black_box,
    path::PathBuf,
};
use zerocopy::IntoBytes;

/// The system's allocator, which counts for each thread how often it is asked for memory.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    // It needs neither memory nor a destructor, so that an allocator may use it.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

#[expect(unsafe_code, reason = "an allocator cannot be had without")]
// SAFETY: All is left to the system's allocator. What counts does neither allocate nor panic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: The caller keeps the same promises to us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: The caller keeps the same promises to us.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: The caller keeps the same promises to us, and the memory is the system's.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: The caller keeps the same promises to us, and the memory is the system's.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// What `f` returns, and how often it allocated.
fn allocations<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATIONS.get();
    let value = f();
    (value, ALLOCATIONS.get() - before)
}

/// The recordings whose names end so.
fn recordings(extension: &str) -> Vec<Vec<u8>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let files = fs::read_dir(path).unwrap().map(|file| file.unwrap().path());
    let all: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|found| found == extension))
        .map(|file| fs::read(file).unwrap())
        .collect();
    assert!(all.len() >= 10);
    all
}

/// Looks at all that a mapping tells, its bytes included.
fn read(mapping: &MappingRef<'_>) {
    black_box(mapping);
    black_box((mapping.permissions(), mapping.is_file()));
    black_box(mapping.name.path());
}

/// Decodes batches, and returns how many mappings there were.
fn decode(stream: &[u8]) -> usize {
    let mut mappings = 0;
    for batch in batches(stream) {
        let batch = batch.unwrap();
        for record in batch.records() {
            black_box(record.unwrap());
        }
        for mapping in batch.mappings() {
            read(&mapping.unwrap());
            mappings += 1;
        }
        black_box(BatchEvidence::new(&batch));
    }
    mappings
}

#[test]
fn allocations_are_counted() {
    let (_, counted) = allocations(|| black_box(Box::new(1)));
    assert_eq!(counted, 1);
}

#[test]
fn decoding_allocates_nothing() {
    let streams = recordings("stream");
    let (mappings, counted) = allocations(|| -> usize { streams.iter().map(|s| decode(s)).sum() });
    assert!(mappings > 1000);
    assert_eq!(counted, 0);
}

#[test]
fn parsing_text_allocates_nothing() {
    let texts = recordings("maps");
    let (lines, counted) = allocations(|| {
        let lines = texts.iter().flat_map(|text| text::lines(text));
        lines.map(|line| read(&line.unwrap())).count()
    });
    assert!(lines > 1000);
    assert_eq!(counted, 0);
}

/// The buffer that a reader had, how many mappings it showed, and how often it allocated meanwhile.
fn stream(source: Source, buffer: Vec<u8>) -> Option<(Vec<u8>, usize, usize)> {
    let reader = Process::current().open_source(source, &Request::default());
    let reader = match reader {
        Err(error) if error.is_unsupported() => return None,
        reader => reader.unwrap(),
    };
    let mut reader = reader.with_buffer(buffer);
    let (mappings, counted) = allocations(|| {
        let mut mappings = 0;
        while let Some(batch) = reader.next_batch().unwrap() {
            for mapping in batch.mappings() {
                read(&mapping.unwrap());
                mappings += 1;
            }
        }
        mappings
    });
    Some((reader.into_buffer(), mappings, counted))
}

#[test]
fn a_buffer_that_is_used_again_is_all_that_a_listing_needs() {
    for source in [Source::Lockless, Source::Query, Source::Maps] {
        // One of these grows; a later one is longer than any read.
        for length in [0, 10, 1 << 20] {
            let Some((buffer, first, counted)) = stream(source, vec![b'x'; length]) else {
                continue;
            };
            assert!(first > 10, "{source}");
            let grown = length < 1 << 20;
            assert_eq!(counted, usize::from(grown), "{source}, from {length} bytes");
            let at = buffer.as_ptr();
            let (buffer, second, counted) = stream(source, buffer).unwrap();
            assert!(second > 10, "{source}");
            assert_eq!((counted, buffer.as_ptr()), (0, at), "{source}");
        }
    }
}

/// A batch of as many mappings of one file as one read(2) returns.
fn fill(batch: &mut Vec<u8>, first: u64) -> u64 {
    const HEADER: usize = size_of::<maps_lockless_batch>();
    const FILE: usize = size_of::<maps_lockless_file>();
    const VMA: usize = size_of::<maps_lockless_vma>();
    const PATH: &[u8; 16] = b"/usr/lib/libx.so";
    const COUNT: usize = (MAPS_LOCKLESS_MAX_BATCH as usize - HEADER - FILE - PATH.len()) / VMA;

    let size = HEADER + FILE + PATH.len() + COUNT * VMA;
    let header = maps_lockless_batch {
        magic: MAPS_LOCKLESS_MAGIC,
        version: MAPS_LOCKLESS_VERSION,
        header_size: HEADER as u16,
        size: size as u32,
        count: 1 + COUNT as u32,
        flags: 0,
        end_reason: MAPS_LOCKLESS_END_FULL,
        begin: first * 4096,
        next: (first + COUNT as u64) * 4096,
        mm_id: 1,
        seq_begin: 2,
        seq_end: 2,
        request: 0,
        fields_supported: MAPS_LOCKLESS_FIELDS_MAPS,
        fields_wanted: MAPS_LOCKLESS_FIELDS_MAPS,
        vma_flags_supported: !0,
        page_size: 4096,
        vma_count: 1_000_000,
    };
    let file = maps_lockless_file {
        r#type: MAPS_LOCKLESS_TYPE_FILE,
        fixed_size: FILE as u16,
        size: (FILE + PATH.len()) as u32,
        valid: MAPS_LOCKLESS_FIELDS_MAPS,
        path_len: PATH.len() as u32,
        ino: 1,
        ..Default::default()
    };
    batch.clear();
    batch.extend(header.as_bytes());
    batch.extend(file.as_bytes());
    batch.extend(PATH);
    for i in 0..COUNT as u64 {
        let start = (first + i) * 4096;
        let vma = maps_lockless_vma {
            r#type: MAPS_LOCKLESS_TYPE_VMA,
            fixed_size: VMA as u16,
            size: VMA as u32,
            valid: MAPS_LOCKLESS_FIELDS_MAPS,
            start,
            end: start + 4096,
            vma_start: start,
            vma_flags: MAPS_LOCKLESS_VMA_READ | MAPS_LOCKLESS_VMA_FILE,
            file: HEADER as u32,
            ..Default::default()
        };
        batch.extend(vma.as_bytes());
    }
    COUNT as u64
}

#[test]
fn a_million_records_need_no_more_memory_than_one_batch() {
    let mut batch = Vec::with_capacity(MAPS_LOCKLESS_MAX_BATCH as usize);
    let (records, counted) = allocations(|| {
        let mut records = 0;
        while records < 1_000_000 {
            let count = fill(&mut batch, records);
            assert_eq!(decode(&batch) as u64, count);
            records += count;
        }
        records
    });
    assert!(records >= 1_000_000);
    assert_eq!(counted, 0);
}
