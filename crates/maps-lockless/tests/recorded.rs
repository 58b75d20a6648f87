// SPDX-License-Identifier: MIT OR Apache-2.0

//! Streams that a real kernel returned. See data/README.md.

use maps_lockless::{
    Mapping,
    decode::{Batch, BuildId, Record, batches},
    text,
    wire::*,
};
use std::{fs, path::PathBuf};

fn data(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    fs::read(path.join(name)).unwrap()
}

fn mappings(batch: &Batch<'_>) -> Vec<Mapping> {
    batch
        .records()
        .map(|record| match record.unwrap() {
            Record::Vma(vma) => Mapping::from(vma),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// How a stream ends: the last batch's flags and reason, and how many batches there are.
fn end(stream: &[u8]) -> (u32, u32, usize) {
    let all: Vec<_> = batches(stream).map(Result::unwrap).collect();
    let last = all.last().unwrap().header();
    (last.flags, last.end_reason, all.len())
}

#[test]
fn a_stream_shows_what_maps_showed() {
    for name in [
        "anon-name",
        "anon-shmem-name",
        "deleted-file",
        "file-vmas-1000",
        "flags",
        "memfd",
        "name-live-deleted",
        "name-newline",
        "name-not-utf8",
        "name-spaces",
    ] {
        let stream = data(&format!("{name}.stream"));
        let mut rendered = Vec::new();
        for batch in batches(&stream) {
            for mapping in mappings(&batch.unwrap()) {
                text::write_line(&mut rendered, &mapping).unwrap();
            }
        }
        let maps = data(&format!("{name}.maps"));
        assert_eq!(
            rendered.escape_ascii().to_string(),
            maps.escape_ascii().to_string()
        );
        let (flags, reason, _) = end(&stream);
        assert_eq!(
            (flags, reason),
            (MAPS_LOCKLESS_BATCH_FINAL, MAPS_LOCKLESS_END_COMPLETE)
        );
    }
}

#[test]
fn what_maps_showed_is_read_as_the_same() {
    let stream = data("anon-shmem-name.stream");
    let batch = Batch::parse(&stream).unwrap();
    let from_text = text::parse(&data("anon-shmem-name.maps")).unwrap();
    for (lockless, text) in mappings(&batch).into_iter().zip(from_text) {
        let vma_flags = 0;
        assert_eq!(
            Mapping {
                vma_flags,
                ..lockless
            },
            text
        );
    }
}

#[test]
fn a_changing_process_was_seen_to_change() {
    let stream = data("churn.stream");
    let batch = Batch::parse(&stream).unwrap();
    assert!(batch.is_final());
    assert_ne!(batch.header().seq_begin, batch.header().seq_end);
    let all = mappings(&batch);
    assert!(all.windows(2).all(|pair| pair[0].end <= pair[1].start));
}

#[test]
fn build_ids_are_told_apart() {
    let stream = data("build-ids.stream");
    let batch = Batch::parse(&stream).unwrap();
    assert_eq!(batch.header().fields_asked, batch.header().fields);
    let mut answers: Vec<String> = batch
        .records()
        .filter_map(|record| match record.unwrap() {
            Record::Vma(vma) => match vma.build_id() {
                BuildId::Unknown => None,
                BuildId::Present(id) => Some(format!("{} bytes", id.len())),
                other => Some(format!("{other:?}")),
            },
            other => panic!("{other:?}"),
        })
        .collect();
    answers.sort();
    answers.dedup();
    let expected = ["20 bytes", "6 bytes", "8 bytes", "Absent", "NotResident"];
    assert_eq!(answers, expected);
}

#[test]
fn a_selection_is_told() {
    let stream = data("selected.stream");
    let batch = Batch::parse(&stream).unwrap();
    assert!(batch.is_selected() && batch.is_final());
    let executable = |mapping: &Mapping| mapping.permissions.unwrap().execute;
    assert!(mappings(&batch).iter().all(executable));

    let stream = data("ranges-alone.stream");
    for batch in batches(&stream) {
        let batch = batch.unwrap();
        assert!(!batch.is_selected() && batch.header().count <= 5);
        let unknown = |mapping: &Mapping| mapping.permissions.is_none();
        assert!(mappings(&batch).iter().all(unknown));
    }
}

#[test]
fn an_exit_is_told() {
    let expected = (MAPS_LOCKLESS_BATCH_FINAL, MAPS_LOCKLESS_END_GONE, 3);
    assert_eq!(end(&data("gone.stream")), expected);
}

#[test]
fn a_kernel_thread_is_told() {
    let expected = (MAPS_LOCKLESS_BATCH_FINAL, MAPS_LOCKLESS_END_NO_MM, 1);
    assert_eq!(end(&data("kthread.stream")), expected);
}
