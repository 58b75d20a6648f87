// SPDX-License-Identifier: MIT OR Apache-2.0

//! The decoder of what the kernel returns, on any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use maps_lockless::{
    BuildId,
    decode::{Batch, Record, batches},
};

/// Whether `part` lies in `whole`, or is empty.
fn within(part: &[u8], whole: &[u8]) -> bool {
    let (part_at, whole_at) = (part.as_ptr_range(), whole.as_ptr_range());
    part.is_empty() || whole_at.start <= part_at.start && part_at.end <= whole_at.end
}

fn check(batch: &Batch<'_>, input: &[u8]) {
    assert!(batch.size() <= input.len() && batch.size().is_multiple_of(8));
    let mut records = batch.records();
    let mut count = 0;
    let mut mappings = Vec::new();
    while let Some(record) = records.next() {
        match record {
            Ok(Record::Vma(vma)) => {
                let fields = &vma.fields;
                assert!(fields.vma_start <= fields.start && fields.start <= fields.end);
                assert!(within(vma.name, input));
                if let BuildId::Present(id) = vma.build_id() {
                    assert!(!id.is_empty() && within(id, input));
                }
                mappings.push(vma.fields.start..vma.fields.end);
            }
            Ok(Record::Unknown { bytes, .. }) => assert!(within(bytes, input)),
            Ok(_) => {}
            Err(error) => {
                assert!(error.offset <= batch.size());
                assert!(records.next().is_none(), "an error is the last");
                break;
            }
        }
        count += 1;
    }
    assert!(records.next().is_none());
    assert!(count <= batch.header().count);
    assert!(count as usize * 8 <= batch.size());

    let shown: Vec<_> = batch.mappings().filter_map(Result::ok).collect();
    assert!(shown.iter().map(|m| m.start..m.end).eq(mappings));
    for mapping in shown {
        let owned = mapping.to_owned();
        assert_eq!(owned.as_ref(), mapping);
        assert!(mapping.name.to_maps().len() <= input.len() * 4 + 16);
    }
}

fuzz_target!(|input: &[u8]| {
    let mut all = batches(input);
    let mut bytes = 0;
    while let Some(batch) = all.next() {
        match batch {
            Ok(batch) => {
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
