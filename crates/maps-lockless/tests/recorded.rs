// SPDX-License-Identifier: MIT OR Apache-2.0

//! Streams that a real kernel returned. See data/README.md.
#![cfg(feature = "std")]

mod byte_order;

use maps_lockless::{
    BatchEvidence, BuildId, Judge, Judgement, Mapping, MappingRef, NameRef,
    decode::{Batch, DecodeErrorKind, Record, batches},
    text,
    wire::*,
};
use std::{fs, path::PathBuf};

fn data(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let bytes = fs::read(path.join(name)).unwrap();
    if name.ends_with(".stream") {
        return byte_order::native(bytes);
    }
    bytes
}

fn mappings(batch: &Batch<'_>) -> Vec<Mapping> {
    let mappings = batch.mappings();
    mappings
        .map(|mapping| mapping.unwrap().to_owned())
        .collect()
}

/// How a stream ends: whether by a final batch, and for which reason.
fn end(stream: &[u8]) -> (bool, u32) {
    let last = batches(stream).map(Result::unwrap).last().unwrap();
    (last.is_final(), last.header().end_reason)
}

/// What may be believed of a listing.
fn judge(batches: &[Batch<'_>]) -> Judgement {
    let mut judge = Judge::default();
    for batch in batches {
        judge.add(&BatchEvidence::new(batch));
    }
    judge.judgement()
}

/// The streams of processes that rest.
const RESTING: [&str; 13] = [
    "anon-name",
    "anon-shmem-name",
    "build-ids",
    "deleted-file",
    "file-vmas-1000",
    "flags",
    "memfd",
    "name-live-deleted",
    "name-newline",
    "name-not-utf8",
    "name-spaces",
    "ranges-alone",
    "selected",
];

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
                text::write_line(&mut rendered, &mapping.as_ref()).unwrap();
            }
        }
        let maps = data(&format!("{name}.maps"));
        assert_eq!(
            rendered.escape_ascii().to_string(),
            maps.escape_ascii().to_string()
        );
        assert_eq!(end(&stream), (true, MAPS_LOCKLESS_END_COMPLETE));
    }
}

#[test]
fn a_recording_is_judged_as_the_listing_was() {
    for name in RESTING {
        let stream = data(&format!("{name}.stream"));
        let all: Vec<_> = batches(&stream).map(Result::unwrap).collect();
        assert_eq!(judge(&all), Judgement::Consistent, "{name}");
        for at in 0..all.len() {
            let mut tampered = all.clone();
            tampered.remove(at);
            assert_ne!(judge(&tampered), Judgement::Consistent, "{name}");
            tampered.splice(at..at, [all[at], all[at]]);
            assert_eq!(judge(&tampered), Judgement::Gap, "{name}");
            tampered.remove(at);
            tampered.swap(0, at);
            let same = at == 0;
            assert_eq!(judge(&tampered) == Judgement::Consistent, same, "{name}");
        }
    }
    for (name, expected) in [
        ("churn", Judgement::PossiblyTorn),
        ("gone", Judgement::PossiblyTorn),
        ("kthread", Judgement::Unknown),
    ] {
        let stream = data(&format!("{name}.stream"));
        let all: Vec<_> = batches(&stream).map(Result::unwrap).collect();
        assert_eq!(judge(&all), expected, "{name}");
    }
}

/// What is left of a mapping where only the text of maps tells of it.
fn as_text_tells<'a>(mapping: &MappingRef<'a>, text: &MappingRef<'a>) -> MappingRef<'a> {
    let mut mapping = *mapping;
    mapping.flags.known = text.flags.known;
    mapping.flags.set &= text.flags.known;
    // The path of the file below shared memory is not shown.
    let shown = matches!(mapping.name, NameRef::Path { .. });
    mapping.deleted = mapping.deleted.filter(|deleted| shown && !deleted);
    mapping
}

#[test]
fn what_maps_showed_is_read_as_the_same() {
    for name in [
        "anon-name",
        "anon-shmem-name",
        "deleted-file",
        "file-vmas-1000",
        "flags",
        "memfd",
    ] {
        let (stream, maps) = (
            data(&format!("{name}.stream")),
            data(&format!("{name}.maps")),
        );
        let mut lines = text::lines(&maps);
        for batch in batches(&stream) {
            for mapping in mappings(&batch.unwrap()) {
                let line = lines.next().unwrap().unwrap();
                assert_eq!(as_text_tells(&mapping.as_ref(), &line), line);
            }
        }
        assert!(lines.next().is_none(), "{name}");
    }
}

/// abi.md: the order is that of the kernel, and the magic number tells a foreign one.
#[test]
fn the_other_byte_order_is_refused() {
    let little = include_bytes!("data/flags.stream");
    let mut big = little.to_vec();
    byte_order::swap(&mut big);
    let parsed = |bytes| Batch::parse(bytes).map(|_| ()).map_err(|error| error.kind);
    let foreign = Err(DecodeErrorKind::ForeignByteOrder);
    let expected = match cfg!(target_endian = "little") {
        true => (Ok(()), foreign),
        false => (foreign, Ok(())),
    };
    assert_eq!((parsed(&little[..]), parsed(&big[..])), expected);
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
    assert_ne!(
        batch.header().fields_wanted & MAPS_LOCKLESS_FIELD_BUILD_ID,
        0
    );
    let mut answers: Vec<String> = batch
        .records()
        .filter_map(|record| match record.unwrap() {
            Record::File(file) => Some(match file.build_id() {
                BuildId::Present(id) => format!("{} bytes", id.len()),
                other => format!("{other:?}"),
            }),
            Record::Vma(_) => None,
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
    let executable = |mapping: &Mapping| mapping.permissions().unwrap().execute;
    assert!(mappings(&batch).iter().all(executable));

    let stream = data("ranges-alone.stream");
    for batch in batches(&stream) {
        let batch = batch.unwrap();
        assert!(!batch.is_selected() && batch.header().count <= 5);
        assert_eq!(batch.header().fields_wanted, MAPS_LOCKLESS_FIELD_RANGE);
        let unknown = |mapping: &Mapping| mapping.permissions().is_none();
        assert!(mappings(&batch).iter().all(unknown));
    }
}

#[test]
fn an_exit_is_told() {
    let stream = data("gone.stream");
    assert_eq!(end(&stream), (true, MAPS_LOCKLESS_END_GONE));
    assert!(batches(&stream).count() > 1);
}

#[test]
fn a_kernel_thread_is_told() {
    let stream = data("kthread.stream");
    assert_eq!(end(&stream), (true, MAPS_LOCKLESS_END_NO_MM));
    assert_eq!(batches(&stream).count(), 1);
}
