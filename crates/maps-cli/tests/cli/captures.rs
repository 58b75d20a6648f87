// SPDX-License-Identifier: MIT OR Apache-2.0

//! The captures in tests/data, made of streams that a real kernel returned and of what no kernel can be
//! asked for: hostile names at fixed addresses.

use crate::bytes_are_current;
use maps_lockless::{
    BatchEvidence, BuildId, CaptureWriter, CapturedProcess, Judge, Mapping, Name, Snapshot,
    decode::{Batch, batches},
    text,
    wire::{MAPS_LOCKLESS_END_COMPLETE, MAPS_LOCKLESS_NEXT_NONE},
};
use serde_json::json;
use std::{fs, path::PathBuf, time::Duration};

/// What is known of a listing: source, completeness, judgement, as in JSON.
type Verdict = [&'static str; 3];
const CONSISTENT: Verdict = ["lockless", "complete", "consistent"];

/// The day on which all was captured.
const NOW: Duration = Duration::from_secs(1_800_000_000);
/// Until what is captured later.
const LATER: Duration = Duration::from_secs(90);

fn stream(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../maps-lockless/tests/data");
    fs::read(path.join(name)).unwrap()
}

fn recorded(name: &str) -> Vec<Mapping> {
    batches(&stream(name))
        .flat_map(|batch| mappings_of(&batch.unwrap()))
        .collect()
}

fn mappings_of(batch: &Batch<'_>) -> Vec<Mapping> {
    let mappings = batch.mappings();
    mappings
        .map(|mapping| mapping.unwrap().to_owned())
        .collect()
}

fn written(maps: &str) -> Vec<Mapping> {
    let lines = text::lines(maps.as_bytes()).map(|mapping| mapping.unwrap().to_owned());
    lines.collect()
}

/// These types are built by the library alone, or by what it stores.
pub fn process(pid: u32, label: &str, verdict: Verdict, mappings: &[Mapping]) -> CapturedProcess {
    let torn = mappings.iter().filter(|mapping| mapping.marks.is_torn());
    let torn = torn.map(|mapping| json!({ "start": mapping.start, "end": mapping.end }));
    // Without evidence, no capture is consistent to whoever reads it.
    let evidence = json!({
        "first": true,
        "last": true,
        "end_reason": MAPS_LOCKLESS_END_COMPLETE,
        "begin": 0,
        "next": MAPS_LOCKLESS_NEXT_NONE,
        "request": 0,
        "mm_id": pid,
        "seq_begin": 2,
        "seq_end": 2,
        "unknown": false,
    });
    let evidence = Vec::from_iter((verdict == CONSISTENT).then_some(evidence));
    let [source, completeness, judgement] = verdict;
    let snapshot: Snapshot = serde_json::from_value(json!({
        "mappings": mappings,
        "source": source,
        "completeness": completeness,
        "judgement": judgement,
        "torn": torn.collect::<Vec<_>>(),
        "evidence": evidence,
        "token": null,
    }))
    .unwrap();
    captured(pid, label, snapshot)
}

fn captured(pid: u32, label: &str, snapshot: Snapshot) -> CapturedProcess {
    let mut captured = CapturedProcess::new(pid, snapshot);
    captured.label = label.into();
    captured.time = NOW;
    captured
}

/// A stream with each mark and with ranges of which nothing is known, without the first `skip` batches,
/// as the library judges it.
fn marks(pid: u32, label: &str, skip: usize) -> CapturedProcess {
    let stream = stream("marks.stream");
    let (mut judge, mut mappings) = (Judge::default(), Vec::new());
    let (mut unknown, mut evidence) = (Vec::new(), Vec::new());
    for batch in batches(&stream).skip(skip) {
        let batch = batch.unwrap();
        mappings.extend(mappings_of(&batch));
        unknown.extend(batch.unknown().map(Result::unwrap));
        let told = BatchEvidence::new(&batch);
        judge.add(&told);
        evidence.push(told);
    }
    let torn = [judge.torn(), &unknown[..]].concat();
    let snapshot = json!({
        "mappings": mappings,
        "source": "lockless",
        "completeness": judge.completeness(),
        "judgement": judge.judgement(),
        "torn": torn,
        "unknown": unknown,
        "evidence": evidence,
        "token": null,
    });
    captured(pid, label, serde_json::from_value(snapshot).unwrap())
}

/// What `marks` may be a while later: other pages, another key, and a range of which now it is known
/// what it holds.
fn marks_later() -> CapturedProcess {
    let mut process = marks(1700, "marks", 0);
    process.time += LATER;
    let snapshot = &mut process.snapshot;
    snapshot.unknown.remove(0);
    for mapping in &mut snapshot.mappings {
        match mapping.start {
            0x2000 => (mapping.page_size, mapping.pkey) = (Some(4096), Some(4)),
            // Only its file's name is too long to be told.
            0x8000 => mapping.deleted = Some(true),
            _ => {}
        }
    }
    let mut appeared = snapshot.mappings[0].clone();
    (appeared.vma_start, appeared.start, appeared.end) = (0x4000, 0x4000, 0x5000);
    snapshot.mappings.push(appeared);
    snapshot.mappings.sort_by_key(|mapping| mapping.start);
    process
}

pub fn capture(processes: &[CapturedProcess]) -> Vec<u8> {
    let mut writer = CaptureWriter::create(Vec::new()).unwrap();
    for process in processes {
        writer.add(process).unwrap();
    }
    writer.finish().unwrap()
}

/// A program with all kinds of mappings, and one more that may be written and executed.
fn demo() -> Vec<Mapping> {
    let mut mappings = recorded("flags.stream");
    mappings.extend(written(
        "7f8117a00000-7f8117a40000 rwxp 00000000 00:00 0 [anon:jit code]\n",
    ));
    mappings.sort_by_key(|mapping| mapping.start);
    mappings
}

/// A process that was mapping and unmapping, as few lines as show that.
fn churn() -> Vec<Mapping> {
    let mut mappings = recorded("churn.stream");
    let mut calm = 0;
    mappings.retain(|mapping| {
        calm += u32::from(!mapping.marks.is_torn());
        mapping.marks.is_torn() || calm <= 6
    });
    mappings.truncate(12);
    assert!(mappings.iter().any(|mapping| mapping.marks.is_torn()));
    mappings
}

/// Names that somebody chose in order to mislead, and names that are merely odd.
fn names() -> Vec<Mapping> {
    let odd = |mapping: &Mapping| match &mapping.name {
        Name::Path { path, .. } => path != b"/bin/target",
        Name::Anon(_) | Name::AnonShmem(_) => true,
        _ => false,
    };
    let mut mappings: Vec<Mapping> = [
        "anon-name",
        "anon-shmem-name",
        "deleted-file",
        "memfd",
        "name-live-deleted",
        "name-newline",
        "name-not-utf8",
        "name-spaces",
    ]
    .iter()
    .flat_map(|name| recorded(&format!("{name}.stream")))
    .filter(odd)
    .collect();
    assert_eq!(mappings.len(), 8);
    mappings.sort_by_key(|mapping| mapping.start);
    for (i, name) in [
        &b"/tmp/\x1b]0;owned\x07\x1b[2J\x1b[31mred"[..],
        "/tmp/\u{202e}gpj.exe\u{202c}".as_bytes(),
        b"/tmp/\xc2\x9b31m",
        b"-",
        b"/tmp/tab\there\\x41",
        "/tmp/日本語.so".as_bytes(),
        b"/tmp/not a field 7ffe00000000 7ffe00001000 4K rwxp 0 [stack]",
    ]
    .into_iter()
    .enumerate()
    {
        let start = 0x7fff_0000_0000 + 0x2000 * i as u64;
        let mut line = written(&format!(
            "{start:x}-{:x} r--p 00001000 08:01 {} /tmp/name\n",
            start + 0x1000,
            100 + i,
        ));
        line[0].name = Name::Path {
            path: name.to_vec(),
            marked: i == 1,
        };
        line[0].deleted = Some(i == 1);
        mappings.append(&mut line);
    }
    mappings
}

/// What `demo` may be a while later: a mapping gone, one more, others changed.
fn demo_later() -> Vec<Mapping> {
    let mut mappings = demo();
    mappings.retain(|mapping| mapping.start != 0x7f81_17a0_0000);
    for mapping in &mut mappings {
        match mapping.start {
            // The heap grew.
            0x5555_5625_c000 => mapping.end += 0x2_1000,
            // mprotect(2).
            0x7f81_1810_3000 => mapping.flags.set |= 3,
            // prctl(PR_SET_VMA).
            0x7f81_1810_4000 => mapping.name = Name::Anon(b"cache".to_vec()),
            0x7f81_1816_b000 => mapping.build_id = BuildId::Present(vec![0xab; 20]),
            _ => {}
        }
    }
    mappings.extend(written(
        "7f8117b00000-7f8117b10000 r-xp 00000000 08:01 4711 /usr/lib/plugin.so\n",
    ));
    mappings.sort_by_key(|mapping| mapping.start);
    mappings
}

/// All captures, by name, but for `version-1.capture`: that is what `demo` was when version 1 was
/// written, and what was captured once must stay readable.
fn captures() -> Vec<(&'static str, Vec<CapturedProcess>)> {
    let demo = process(1204, "demo", CONSISTENT, &demo());
    let churn = ["lockless", "complete", "possibly_torn"];
    let churn = process(1310, "churn", churn, &self::churn());
    let kernel = process(
        77,
        "kworker/u8:3",
        ["lockless", "no_address_space", "unknown"],
        &[],
    );
    let text = include_str!("../../../maps-lockless/tests/data/memfd.maps");
    let old = process(1402, "old", ["maps", "complete", "unknown"], &written(text));
    let gone = ["lockless", "gone", "possibly_torn"];
    let gone = process(1500, "gone", gone, &self::demo()[..3]);
    let mut later = process(1204, "demo", CONSISTENT, &demo_later());
    later.time += LATER;
    // It called execve: another address space.
    let mut another = process(
        1310,
        "other",
        CONSISTENT,
        &written("1000-3000 r-xp 00000000 00:00 0 \n"),
    );
    another.time = later.time;
    another.snapshot.evidence[0].mm_id = 4711;
    let mut before = process(1310, "other", CONSISTENT, &self::churn());
    before.snapshot.torn.clear();
    let mut thread = process(1600, "pool", CONSISTENT, &demo.snapshot.mappings[..2]);
    thread.tid = Some(1601);
    vec![
        (
            "names",
            vec![process(666, "\x1b[31m\u{202e}x y", CONSISTENT, &names())],
        ),
        (
            "build-ids",
            vec![process(
                56,
                "build-ids",
                CONSISTENT,
                &recorded("build-ids.stream"),
            )],
        ),
        ("gone", vec![gone, thread.clone()]),
        ("thread", vec![thread]),
        ("several", vec![kernel.clone(), demo.clone(), churn, old]),
        (
            "before",
            vec![demo.clone(), before, kernel, marks(1700, "marks", 0)],
        ),
        ("after", vec![later, another, marks_later()]),
        ("unknown", vec![marks(1700, "marks", 0)]),
        ("gap", vec![marks(1701, "gap", 1), demo.clone()]),
        ("demo", vec![demo]),
    ]
}

#[test]
fn the_captures_are_current() {
    for (name, processes) in captures() {
        let path = PathBuf::from(format!("tests/data/{name}.capture"));
        bytes_are_current(&path, &capture(&processes));
    }
}
