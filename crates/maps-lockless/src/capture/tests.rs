// SPDX-License-Identifier: MIT OR Apache-2.0

//! Captures, whole and broken.

use super::{v2::encode, *};
use crate::{
    BatchEvidence, BuildId, Completeness, Device, Judgement, Mapping, Marks, Name, Source, Token,
    VmaFlags,
    wire::{MAPS_LOCKLESS_END_COMPLETE, MAPS_LOCKLESS_END_FULL, MAPS_LOCKLESS_VMA_FILE},
};
use proptest::{collection::vec, option, prelude::*};
use std::{format, string::ToString, vec};

/// Never to be written anew: what was captured once must stay readable.
const SAMPLE_V1: &[u8] = include_bytes!("../../tests/data/capture-v1.bin");
const SAMPLE: &[u8] = include_bytes!("../../tests/data/capture-v2.bin");

fn mapping(start: u64, name: Name) -> Mapping {
    Mapping {
        start,
        end: start + 0x1000,
        vma_start: start,
        flags: VmaFlags { set: 5, known: 15 },
        offset: None,
        page_size: None,
        pkey: None,
        device: None,
        inode: None,
        deleted: None,
        name,
        build_id: BuildId::Unknown,
        marks: Marks::default(),
    }
}

fn process(snapshot: Snapshot) -> CapturedProcess {
    CapturedProcess {
        pid: 1,
        tid: None,
        label: String::new(),
        time: Duration::ZERO,
        snapshot,
    }
}

fn nothing(source: Source, completeness: Completeness, judgement: Judgement) -> Snapshot {
    Snapshot {
        mappings: vec![],
        source,
        completeness,
        judgement,
        torn: vec![],
        unknown: vec![],
        evidence: vec![],
        token: None,
    }
}

/// The evidence of a consistent listing of so many batches.
fn proof(batches: u64, token: Token) -> Vec<BatchEvidence> {
    let batch = |i| {
        let last = i + 1 == batches;
        BatchEvidence {
            first: i == 0,
            last,
            end_reason: match last {
                true => MAPS_LOCKLESS_END_COMPLETE,
                false => MAPS_LOCKLESS_END_FULL,
            },
            begin: i * 0x1000,
            next: if last { u64::MAX } else { (i + 1) * 0x1000 },
            request: 3,
            mm_id: token.mm_id,
            seq_begin: token.count,
            seq_end: token.count,
            unknown: false,
        }
    };
    (0..batches).map(batch).collect()
}

/// What the sample of version 1 holds, each variant and each field: all that version 2 keeps as well.
fn sample_v1() -> Vec<CapturedProcess> {
    let path = |path: &[u8], marked| Name::Path {
        path: path.to_vec(),
        marked,
    };
    let file = |start, name, deleted, build_id| Mapping {
        offset: Some(0x2000),
        device: Some(Device {
            major: 0xfe,
            minor: 1,
        }),
        inode: Some(u64::MAX),
        deleted,
        build_id,
        ..mapping(start, name)
    };
    let mut withheld = mapping(0x7000_0000, Name::Unknown);
    withheld.marks.withheld = true;
    let mut unstable = mapping(0x7000_1000, Name::None);
    unstable.marks.unstable = true;
    let mut clipped = mapping(0x7000_2000, Name::AnonShmem(b"shared".to_vec()));
    clipped.vma_start = 0x6000_0000;
    clipped.marks.clipped = true;
    let mappings = vec![
        file(
            0x1000,
            path(b"/bin/true", false),
            Some(false),
            BuildId::Absent,
        ),
        file(
            0x2000,
            path(b"/tmp/a \xff\n\\", true),
            Some(true),
            BuildId::NotResident,
        ),
        file(
            0x3000,
            path(b"/x", true),
            None,
            BuildId::Present(vec![0xab; 20]),
        ),
        file(0x4000, Name::PathTooLong, None, BuildId::Unknown),
        mapping(0x5000, Name::Anon(b"private".to_vec())),
        mapping(0x6000, Name::Heap),
        withheld,
        unstable,
        clipped,
        mapping(0x7000_3000, Name::Stack),
        mapping(0x7000_4000, Name::Special(b"[vdso]".to_vec())),
    ];
    vec![
        CapturedProcess {
            pid: 1234,
            tid: Some(1235),
            label: "b\u{e4}r".into(),
            time: Duration::new(1_790_000_000, 123_456_789),
            snapshot: Snapshot {
                mappings,
                source: Source::Lockless,
                completeness: Completeness::Complete,
                judgement: Judgement::Unknown,
                torn: vec![0x7000_0000..0x7000_2000, 0x8000_0000..u64::MAX],
                unknown: vec![],
                evidence: vec![],
                token: None,
            },
        },
        process(nothing(
            Source::Lockless,
            Completeness::Complete,
            Judgement::Unknown,
        )),
        process(nothing(
            Source::Query,
            Completeness::Gone,
            Judgement::Unknown,
        )),
        process(nothing(
            Source::Maps,
            Completeness::NoAddressSpace,
            Judgement::Unknown,
        )),
        process(nothing(
            Source::Maps,
            Completeness::Unknown,
            Judgement::Unknown,
        )),
    ]
}

/// What the sample of version 2 holds: each variant and each field.
fn sample() -> Vec<CapturedProcess> {
    let token = Token {
        mm_id: 0x0123_4567_89ab_cdef,
        count: 42,
    };
    let mut sample = sample_v1();
    let first = &mut sample[0].snapshot;
    first.judgement = Judgement::PossiblyTorn;
    first.unknown = vec![0x8000_0000..0x8000_1000, u64::MAX - 1..u64::MAX];
    first.evidence = proof(2, token);
    first.evidence[1].unknown = true;
    let keyed = &mut first.mappings[4];
    (keyed.page_size, keyed.pkey) = (Some(2 << 20), Some(15));
    let consistent = &mut sample[1].snapshot;
    consistent.judgement = Judgement::Consistent;
    consistent.evidence = proof(3, token);
    consistent.token = Some(token);
    sample[2].snapshot.judgement = Judgement::Gap;
    sample
}

fn write(processes: &[CapturedProcess]) -> Vec<u8> {
    let mut writer = CaptureWriter::create(Vec::new()).unwrap();
    for process in processes {
        writer.add(process).unwrap();
    }
    writer.finish().unwrap()
}

fn read(file: &[u8]) -> Result<Vec<CapturedProcess>, Error> {
    CaptureReader::new(file)?.collect()
}

/// Why a file is refused.
fn refused(file: &[u8]) -> (usize, String) {
    let error = read(file).unwrap_err();
    assert!(error.is_malformed());
    (error.malformed_offset().unwrap(), error.to_string())
}

/// Puts the checksum of the first frame right.
fn seal(file: &mut [u8]) {
    let length = u32::from_le_bytes(file[24..28].try_into().unwrap()) as usize;
    let sum = checksum(&file[16..28], &file[32..32 + length]);
    file[28..32].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn each_version_stays_readable() {
    assert_eq!(read(SAMPLE_V1).unwrap(), sample_v1());
    assert_eq!(read(SAMPLE).unwrap(), sample());
    assert_eq!(write(&sample()), SAMPLE);
}

#[test]
fn flags_of_the_first_version_are_those_of_today() {
    // Of the first mapping: its flags stand behind three addresses.
    let needle = [0x1000_u64, 0x2000, 0x1000, 5, 15].map(u64::to_le_bytes);
    let needle = needle.concat();
    let mut file = SAMPLE_V1.to_vec();
    let at = file.windows(needle.len()).position(|found| found == needle);
    let at = at.unwrap() + 24;
    let (file_flag, arch_1) = (1_u64 << 63, 0x1000_0000);
    let (set, known) = (file_flag | arch_1 | 1, file_flag | arch_1 | 3);
    file[at..at + 8].copy_from_slice(&set.to_le_bytes());
    file[at + 8..at + 16].copy_from_slice(&known.to_le_bytes());
    seal(&mut file);
    let read = read(&file).unwrap();
    let flags = VmaFlags {
        set: MAPS_LOCKLESS_VMA_FILE | 1,
        known: MAPS_LOCKLESS_VMA_FILE | 3,
    };
    assert_eq!(read[0].snapshot.mappings[0].flags, flags);
}

/// What is read of a snapshot that claims to be consistent, after a change.
fn judged(change: impl FnOnce(&mut Snapshot)) -> Judgement {
    let mut captured = sample().remove(1);
    change(&mut captured.snapshot);
    let read = read(&write(&[captured])).unwrap().remove(0).snapshot;
    assert_eq!(read.token.is_some(), read.is_consistent());
    read.judgement
}

#[test]
fn a_snapshot_is_consistent_if_its_evidence_says_so() {
    let gap = Judgement::Gap;
    assert_eq!(judged(|_| {}), Judgement::Consistent);
    assert_eq!(judged(|one| _ = one.evidence.remove(0)), gap);
    assert_eq!(judged(|one| _ = one.evidence.remove(1)), gap);
    assert_eq!(
        judged(|one| _ = one.evidence.pop()),
        Judgement::Unknown,
        "it has no end"
    );
    assert_eq!(judged(|one| one.evidence.insert(1, one.evidence[1])), gap);
    assert_eq!(judged(|one| one.evidence.swap(0, 1)), gap);
    assert_eq!(judged(|one| one.evidence[1].request = 4), gap);
    assert_eq!(judged(|one| one.evidence.clear()), Judgement::Unknown);
    let torn = Judgement::PossiblyTorn;
    assert_eq!(judged(|one| one.evidence[2].seq_end = 44), torn);
    assert_eq!(judged(|one| one.evidence[1].unknown = true), torn);
    assert_eq!(judged(|one| one.unknown.push(1..2)), torn);
    assert_eq!(
        judged(|one| one.completeness = Completeness::Gone),
        torn,
        "it says so itself"
    );
    // Less than is proved may be claimed: what was mended stays so.
    assert_eq!(judged(|one| one.judgement = torn), torn);
}

#[test]
fn a_capture_may_be_empty() {
    let file = write(&[]);
    assert_eq!(file.len(), 32);
    assert_eq!(read(&file).unwrap(), []);
}

#[test]
fn every_truncation_is_noticed() {
    for sample in [SAMPLE, SAMPLE_V1] {
        for length in 0..sample.len() {
            let (offset, text) = refused(&sample[..length]);
            assert_eq!(offset, length, "{text}");
            assert!(text.contains("ends before"), "{text}");
        }
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let mut file = SAMPLE.to_vec();
    for at in 0..file.len() {
        for change in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            file[at] ^= change;
            refused(&file);
            file[at] ^= change;
        }
    }
}

#[test]
fn snapshots_before_the_damage_are_read() {
    let mut file = SAMPLE.to_vec();
    let last = file.len() - 20;
    file[last] ^= 1;
    let mut reader = CaptureReader::new(&file[..]).unwrap();
    assert_eq!(reader.by_ref().take_while(Result::is_ok).count(), 4);
    assert!(reader.next().is_none(), "an error is the last");
}

#[test]
fn other_files_are_told_apart() {
    let foreign = refused(b"\x7fELF\x02\x01\x01 and so on, and so on");
    assert_eq!(foreign.0, 0);
    assert!(foreign.1.contains("no capture"), "{}", foreign.1);
    // One that was transferred as text.
    let text = [&SAMPLE[..5], &SAMPLE[6..]].concat();
    assert_eq!(refused(&text).0, 0);

    let mut newer = SAMPLE.to_vec();
    newer[8] = 3;
    let (offset, text) = refused(&newer);
    assert_eq!(offset, 8);
    assert!(text.contains("version 3 ") && text.contains("newer release"));

    let joined = [SAMPLE, SAMPLE].concat();
    let (offset, text) = refused(&joined);
    assert_eq!(offset, SAMPLE.len());
    assert!(text.contains("joined"), "{text}");
}

#[test]
fn frames_keep_their_order() {
    let one = write(&sample()[3..4]);
    let two = [&one[..one.len() - 16], &one[16..]].concat();
    let (offset, text) = refused(&two);
    assert_eq!(offset, one.len() - 16);
    assert!(text.contains("frame 0 stands in the place of frame 1"));
}

#[test]
fn lengths_that_lie_cost_nothing() {
    let mut file = write(&[]);
    file[16..20].copy_from_slice(&SNAPSHOT);
    for length in [1, DEFAULT_LIMIT, DEFAULT_LIMIT + 1, u32::MAX] {
        file[24..28].copy_from_slice(&length.to_le_bytes());
        let mut reader = CaptureReader::new(&file[..]).unwrap();
        let error = reader.next().unwrap().unwrap_err();
        let over = error.to_string().contains("raise CaptureReader::limit");
        assert_eq!(over, length > DEFAULT_LIMIT);
        assert!(reader.buffer.capacity() < 4096);
    }
    let low = CaptureReader::new(SAMPLE).unwrap().limit(100);
    assert_eq!(
        low.last().unwrap().unwrap_err().malformed_offset(),
        Some(16)
    );
}

#[test]
fn values_that_lie_are_refused() {
    let mut one = process(nothing(
        Source::Maps,
        Completeness::Unknown,
        Judgement::Unknown,
    ));
    one.snapshot.mappings = vec![mapping(0x1000, Name::Anon(b"name".to_vec()))];
    let whole = write(&[one]);
    assert!(read(&whole).is_ok());
    // The payload begins at 32: pid, no tid, label's length, time, three enums, four counts. A mapping has
    // three addresses, two sets of flags, six marks of what is not known, and then its name.
    let lie = |at: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        seal(&mut file);
        let (offset, text) = refused(&file);
        assert!(text.contains("no part of a snapshot"), "{text}");
        offset
    };
    let huge = u64::MAX.to_le_bytes();
    assert_eq!(lie(36, &[2]), 32, "an Option's mark");
    assert_eq!(lie(37, &huge), 32, "the label's length");
    assert_eq!(lie(53, &huge[..4]), 32, "nanoseconds");
    assert_eq!(lie(57, &[3]), 32, "the source");
    // Where there are fewer than the count says, the bytes end.
    assert_eq!(lie(93, &huge), whole.len() - 16, "the count of mappings");
    assert_eq!(lie(93, &[0]), 101, "a mapping more than the count");
    assert_eq!(lie(85, &[1]), 101, "a mapping is no batch");
    assert_eq!(lie(101, &huge), 101, "a mapping that ends before it begins");
    assert_eq!(lie(147, &[99]), 101, "the name's kind");
    assert_eq!(lie(151, &huge), 101, "the name's length");
}

#[test]
fn what_could_not_be_read_is_not_written() {
    let mut writer = CaptureWriter::create(Vec::new()).unwrap();
    let mut bad = sample().remove(0);
    bad.snapshot.mappings[0].end = 0;
    assert!(writer.add(&bad).unwrap_err().to_string().contains("range"));
    let mut long = sample().remove(0);
    long.snapshot.mappings[0].name = Name::Anon(vec![b'x'; MAX_VALUE]);
    assert!(!writer.add(&long).unwrap_err().is_malformed());
    // Nothing of them is left.
    for process in &sample() {
        writer.add(process).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), SAMPLE);
}

#[test]
fn what_cannot_be_written_says_why() {
    let file = std::fs::File::create("/dev/full").unwrap();
    let error = CaptureWriter::create(file).unwrap_err();
    assert!(error.errno().is_some() && !error.is_malformed());
    assert!(error.to_string().starts_with("capture: "), "{error}");
    // Some bytes at a time are as good.
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let most = buffer.len().min(3);
            self.0.read(&mut buffer[..most])
        }
    }
    let read: Result<Vec<_>, _> = CaptureReader::new(Slow(SAMPLE)).unwrap().collect();
    assert_eq!(read.unwrap(), sample());
}

fn any_name() -> impl Strategy<Value = Name> {
    let bytes = || vec(any::<u8>(), 0..40);
    prop_oneof![
        Just(Name::Unknown),
        Just(Name::None),
        (bytes(), any::<bool>()).prop_map(|(path, marked)| Name::Path { path, marked }),
        Just(Name::PathTooLong),
        bytes().prop_map(Name::Anon),
        bytes().prop_map(Name::AnonShmem),
        Just(Name::Heap),
        Just(Name::Stack),
        bytes().prop_map(Name::Special),
    ]
}

fn any_build_id() -> impl Strategy<Value = BuildId<Vec<u8>>> {
    prop_oneof![
        Just(BuildId::Unknown),
        Just(BuildId::Absent),
        Just(BuildId::NotResident),
        vec(any::<u8>(), 0..30).prop_map(BuildId::Present),
    ]
}

prop_compose! {
    fn any_mapping()(
        mut addresses in any::<[u64; 3]>(),
        (set, known) in any::<(u64, u64)>(),
        (offset, inode) in any::<(Option<u64>, Option<u64>)>(),
        (page_size, pkey, deleted) in any::<(Option<u64>, Option<u8>, Option<bool>)>(),
        device in any::<Option<(u32, u32)>>(),
        name in any_name(),
        build_id in any_build_id(),
        (unstable, withheld, clipped) in any::<(bool, bool, bool)>(),
    ) -> Mapping {
        addresses.sort_unstable();
        let [vma_start, start, end] = addresses;
        Mapping {
            start,
            end,
            vma_start,
            flags: VmaFlags { set, known },
            offset,
            page_size,
            pkey,
            deleted,
            device: device.map(|(major, minor)| Device { major, minor }),
            inode,
            name,
            build_id,
            marks: Marks { unstable, withheld, clipped },
        }
    }
}

prop_compose! {
    fn any_batch()(
        (first, last, unknown) in any::<(bool, bool, bool)>(),
        (end_reason, request) in any::<(u32, u64)>(),
        (begin, next) in any::<(u64, u64)>(),
        (mm_id, seq_begin, seq_end) in any::<(u64, u64, u64)>(),
    ) -> BatchEvidence {
        BatchEvidence {
            first,
            last,
            end_reason,
            begin,
            next,
            request,
            mm_id,
            seq_begin,
            seq_end,
            unknown,
        }
    }
}

prop_compose! {
    /// With a snapshot that claims no more than its evidence proves.
    fn any_process()(
        (pid, tid, label) in any::<(u32, Option<u32>, String)>(),
        (seconds, nanoseconds) in (any::<u64>(), 0_u32..1_000_000_000),
        mappings in vec(any_mapping(), 0..20),
        source in prop::sample::select(vec![Source::Lockless, Source::Query, Source::Maps]),
        completeness in prop::sample::select(vec![
            Completeness::Complete,
            Completeness::Gone,
            Completeness::NoAddressSpace,
            Completeness::Unknown,
        ]),
        judgement in prop::sample::select(vec![
            Judgement::PossiblyTorn,
            Judgement::Gap,
            Judgement::Unknown,
        ]),
        torn in vec(any::<(u64, u64)>(), 0..5),
        unknown in vec(any::<(u64, u64)>(), 0..5),
        evidence in vec(any_batch(), 0..5),
        proved in option::of((1_u64..5, 1_u64.., any::<u64>())),
    ) -> CapturedProcess {
        let ranges = |ranges: Vec<(u64, u64)>| {
            let ranges = ranges.into_iter();
            ranges.map(|(a, b)| a.min(b)..a.max(b)).collect()
        };
        let mut snapshot = Snapshot {
            mappings,
            source,
            completeness,
            judgement,
            torn: ranges(torn),
            unknown: ranges(unknown),
            evidence,
            token: None,
        };
        if let Some((batches, mm_id, count)) = proved {
            let token = Token { mm_id, count: count & !1 };
            snapshot.completeness = Completeness::Complete;
            snapshot.judgement = Judgement::Consistent;
            snapshot.unknown.clear();
            snapshot.evidence = proof(batches, token);
            snapshot.token = Some(token);
        }
        CapturedProcess {
            pid,
            tid,
            label,
            time: Duration::new(seconds, nanoseconds),
            snapshot,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read(processes in vec(any_process(), 0..4)) {
        let file = write(&processes);
        prop_assert_eq!(read(&file).unwrap(), processes);
    }

    #[test]
    fn json_keeps_all(process in any_process()) {
        let json = serde_json::to_string(&process).unwrap();
        prop_assert_eq!(serde_json::from_str::<CapturedProcess>(&json).unwrap(), process);
    }

    /// Behind right checksums as well.
    #[test]
    fn any_payload_is_read_or_refused(payload in vec(any::<u8>(), 0..300), keep in 0..400_usize) {
        let mut start = Vec::new();
        encode(&sample()[0], &mut start).unwrap();
        start.truncate(keep);
        start.extend(payload);
        if let Ok(process) = v2::decode(&start) {
            let mut again = Vec::new();
            encode(&process, &mut again).unwrap();
            // But for a claim that was not proved.
            prop_assert_eq!(v2::decode(&again), Ok(process));
            prop_assert_eq!(again.len(), start.len());
        }
        if let Ok(process) = v1::decode(&start) {
            prop_assert_eq!(process.snapshot.judgement, Judgement::Unknown);
        }
    }
}

#[test]
fn json_of_a_captured_process() {
    let json = concat!(
        r#"{"pid":1,"tid":null,"label":"","time":{"secs":0,"nanos":0},"#,
        r#""snapshot":{"mappings":[],"source":"query","completeness":"gone","#,
        r#""judgement":"gap","torn":[],"unknown":[],"evidence":[],"token":null}}"#,
    );
    assert_eq!(serde_json::to_string(&sample()[2]).unwrap(), json);
    let error = serde_json::from_str::<CapturedProcess>(&format!("{json} {json}"));
    assert!(error.is_err());
}
