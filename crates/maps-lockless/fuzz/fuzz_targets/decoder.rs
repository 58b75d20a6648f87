// SPDX-License-Identifier: MIT OR Apache-2.0

//! The decoder of what the kernel returns, on any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use maps_lockless::{
    BatchEvidence, BuildId, Judge, Judgement, MappingRef,
    decode::{Batch, File, Record, batches},
};

/// Whether `part` lies in `whole`, or is empty.
fn within(part: &[u8], whole: &[u8]) -> bool {
    let (part_at, whole_at) = (part.as_ptr_range(), whole.as_ptr_range());
    part.is_empty() || whole_at.start <= part_at.start && part_at.end <= whole_at.end
}

fn check_file(file: &File<'_>, input: &[u8]) {
    assert!(within(file.path, input));
    if let BuildId::Present(id) = file.build_id() {
        assert!((1..=20).contains(&id.len()) && within(id, input));
    }
}

fn check(batch: &Batch<'_>, input: &[u8]) {
    assert!(batch.size() <= input.len());
    let mut records = batch.records();
    let mut count = 0;
    let mut mappings = Vec::new();
    let mut unknown = Vec::new();
    let mut unchanged = Vec::new();
    let mut whole = true;
    while let Some(record) = records.next() {
        match record {
            Ok(Record::Vma(vma)) => {
                let fields = &vma.fields;
                assert!(fields.vma_start <= fields.start && fields.start <= fields.end);
                assert!(within(vma.name, input));
                assert_eq!(vma.file.is_some(), fields.file != 0);
                if let Some(file) = vma.file {
                    check_file(&file, input);
                }
                mappings.push(MappingRef::new(&vma, batch.header()));
            }
            Ok(Record::File(file)) => check_file(&file, input),
            Ok(Record::Unknown(range)) => {
                assert!(range.start <= range.end);
                unknown.push(range);
            }
            Ok(Record::Unchanged(range)) => {
                assert!(range.range.start <= range.range.end);
                unchanged.push(range);
            }
            Ok(Record::Other { bytes, .. }) => assert!(within(bytes, input)),
            Ok(_) => {}
            Err(error) => {
                assert!(error.offset <= batch.size());
                assert!(records.next().is_none(), "an error is the last");
                whole = false;
                break;
            }
        }
        count += 1;
    }
    assert!(records.next().is_none());
    assert!(count <= batch.header().count);
    assert!(count as usize * 8 <= batch.size());

    let shown: Vec<_> = batch.mappings().filter_map(Result::ok).collect();
    assert_eq!(shown, mappings);
    assert_eq!(batch.mappings().all(|mapping| mapping.is_ok()), whole);
    // Whoever asks for these alone does not look into the other records, and may come further.
    let ranges: Vec<_> = batch.unknown().filter_map(Result::ok).collect();
    assert!(ranges.starts_with(&unknown) && (!whole || ranges.len() == unknown.len()));
    let ranges: Vec<_> = batch.unchanged().filter_map(Result::ok).collect();
    assert!(ranges.starts_with(&unchanged) && (!whole || ranges.len() == unchanged.len()));
    assert_eq!(
        BatchEvidence::new(batch).unknown,
        batch.unknown().next().is_some()
    );
    for mapping in shown {
        let owned = mapping.to_owned();
        assert_eq!(owned.as_ref(), mapping);
        assert!(mapping.name.to_maps().len() <= input.len() * 4 + 16);
    }
}

fuzz_target!(|input: &[u8]| {
    let mut all = batches(input);
    let mut bytes = 0;
    let mut judge = Judge::default();
    while let Some(batch) = all.next() {
        match batch {
            Ok(batch) => {
                judge.add(&BatchEvidence::new(&batch));
                assert_eq!(
                    judge.token().is_some(),
                    judge.judgement() == Judgement::Consistent
                );
                assert!(judge.torn().iter().all(|range| range.start <= range.end));
                check(&batch, &input[bytes..]);
                bytes += batch.size();
            }
            Err(error) => {
                assert!(bytes <= error.offset && error.offset <= input.len());
                assert!(all.next().is_none(), "an error is the last");
                return;
            }
        }
    }
    assert!(all.next().is_none());
    assert_eq!(bytes, input.len());
});
