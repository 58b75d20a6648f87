// SPDX-License-Identifier: MIT OR Apache-2.0

//! The parser of the text of maps, on any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use maps_lockless::{MappingRef, NameRef, text};

/// The bytes of a name that come from the text.
fn bytes<'a>(mapping: &MappingRef<'a>) -> &'a [u8] {
    match mapping.name {
        NameRef::Path { path, .. } => path,
        NameRef::Anon(name) | NameRef::AnonShmem(name) | NameRef::Special(name) => name,
        _ => &[],
    }
}

fuzz_target!(|input: &[u8]| {
    let mut lines = text::lines(input);
    let mut count = 0;
    for line in input.split_inclusive(|&byte| byte == b'\n') {
        let mapping = lines.next().expect("a line gives an item");
        count += 1;
        let Some(mapping) = mapping else {
            continue;
        };
        assert!(mapping.start <= mapping.end);
        assert!(mapping.permissions().is_some() && mapping.is_file().is_some());
        let (name, range) = (bytes(&mapping), line.as_ptr_range());
        let at = name.as_ptr_range();
        assert!(name.is_empty() || range.start <= at.start && at.end <= range.end);
        assert!(!name.contains(&b'\n'));
        assert_eq!(mapping.to_owned().as_ref(), mapping);

        // What is written says the same, and is written the same again.
        let mut written = Vec::new();
        text::write_line(&mut written, &mapping).expect("memory takes all");
        let mut again = text::lines(&written);
        assert_eq!(again.next(), Some(Some(mapping)));
        assert_eq!(again.next(), None);
    }
    assert!(lines.next().is_none() && lines.next().is_none());
    assert!(count <= input.len());
});
