// SPDX-License-Identifier: MIT OR Apache-2.0

//! The reader of captures, on any bytes, and on the same with their checksums put right: hardly any
//! input that was changed would come further otherwise.
#![no_main]

use libfuzzer_sys::fuzz_target;
use maps_lockless::{CaptureReader, CaptureWriter, CapturedProcess, Error};

/// Far more than any input has.
const LIMIT: u32 = 1 << 20;

/// Puts the checksum of each frame right.
fn seal(file: &mut [u8]) {
    let mut rest = file.get_mut(16..).unwrap_or_default();
    while let Some((head, after)) = rest.split_at_mut_checked(16) {
        let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        let Some((payload, after)) = after.split_at_mut_checked(length as usize) else {
            return;
        };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&head[..12]);
        hasher.update(payload);
        head[12..].copy_from_slice(&hasher.finalize().to_le_bytes());
        rest = after;
    }
}

fn refused(error: &Error, file: &[u8]) {
    assert!(error.is_malformed(), "{error}");
    assert!(error.malformed_offset().expect("it has one") <= file.len());
}

/// All that a capture holds, if it is whole.
fn read(file: &[u8]) -> Option<Vec<CapturedProcess>> {
    CaptureReader::new(file)
        .ok()?
        .collect::<Result<_, _>>()
        .ok()
}

fn check(file: &[u8]) {
    let mut reader = match CaptureReader::new(file) {
        Ok(reader) => reader.limit(LIMIT),
        Err(error) => return refused(&error, file),
    };
    let mut writer = CaptureWriter::create(Vec::new()).expect("memory takes all");
    let mut bytes = 0;
    while let Some(process) = reader.next() {
        match process {
            Ok(process) => {
                let snapshot = &process.snapshot;
                let ranges = snapshot.torn.len() + snapshot.unknown.len();
                let values = snapshot.mappings.len() + snapshot.evidence.len() + ranges;
                assert!(values <= file.len() / 16);
                assert_eq!(snapshot.token.is_some(), snapshot.is_consistent());
                assert!(!snapshot.is_consistent() || !snapshot.evidence.is_empty());
                for mapping in &snapshot.mappings {
                    assert_eq!(mapping.size(), mapping.end - mapping.start);
                    bytes += mapping.name.as_ref().to_maps().len();
                    assert!(snapshot.find(mapping.start).is_none_or(|m| m.size() > 0));
                }
                writer.add(&process).expect("what is read can be written");
            }
            Err(error) => {
                refused(&error, file);
                assert!(reader.next().is_none(), "an error is the last");
                return;
            }
        }
    }
    assert!(reader.next().is_none());
    // A newline becomes four bytes, and ` (deleted)` or `[anon_shmem:]` may be added.
    assert!(bytes <= file.len() * 4);
    let again = writer.finish().expect("memory takes all");
    assert!(read(&again) == read(file), "what is written is read again");
    // What is of another version, or claims what is not proved, is written otherwise.
    assert!(file[8] == 1 || again.len() == file.len());
}

fuzz_target!(|input: &[u8]| {
    check(input);
    let mut sealed = input.to_vec();
    seal(&mut sealed);
    check(&sealed);
});
