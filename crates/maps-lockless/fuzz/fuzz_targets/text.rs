// SPDX-License-Identifier: MIT OR Apache-2.0

//! The parser of the text of maps, on any bytes, compared with a slow one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use maps_lockless::{Device, MappingRef, NameRef, text};

/// The bytes of a name that come from the text.
fn bytes<'a>(mapping: &MappingRef<'a>) -> &'a [u8] {
    match mapping.name {
        NameRef::Path { path, .. } => path,
        NameRef::Anon(name) | NameRef::AnonShmem(name) | NameRef::Special(name) => name,
        _ => &[],
    }
}

/// What stands before the name: range, permissions, offset, device and inode.
type Numbers = (u64, u64, String, u64, u32, u32, u64);

/// Reads them slowly, by what std has. More digits than a number needs are taken as well.
fn numbers(line: &[u8]) -> Option<Numbers> {
    let number = |field: &str, radix| match field.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => u64::from_str_radix(field, radix).ok(),
        false => None,
    };
    let fields: Vec<_> = line.splitn(6, |&byte| byte == b' ').take(5).collect();
    let &[range, permissions, offset, device, inode] = &fields[..] else {
        return None;
    };
    let text = |field| str::from_utf8(field).ok();
    let (start, end) = text(range)?.split_once('-')?;
    let (major, minor) = text(device)?.split_once(':')?;
    let (start, end) = (number(start, 16)?, number(end, 16)?);
    let permissions = text(permissions)?;
    let known = permissions.len() == 4
        && permissions
            .chars()
            .zip(["r-", "w-", "x-", "ps"])
            .all(|(c, known)| known.contains(c));
    (known && start <= end).then_some(())?;
    Some((
        start,
        end,
        permissions.into(),
        number(text(offset)?, 16)?,
        number(major, 16)?.try_into().ok()?,
        number(minor, 16)?.try_into().ok()?,
        number(text(inode)?, 10)?,
    ))
}

/// That the parser reads the same. It may refuse a number with more digits than any has.
fn compare(mapping: Option<&MappingRef<'_>>, line: &[u8]) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let expected = numbers(line);
    let Some(mapping) = mapping else {
        let mut fields = line.split(|byte| b" -:".contains(byte));
        assert!(expected.is_none() || fields.any(|field| field.len() > 16));
        return;
    };
    let (start, end, permissions, offset, major, minor, inode) =
        expected.expect("what is no mapping is refused");
    let file = mapping.is_file() == Some(true);
    assert_eq!((mapping.start, mapping.end), (start, end));
    let shown = mapping.permissions().map(|p| p.to_string());
    assert_eq!(shown, Some(permissions));
    assert_eq!(file, (major, minor, inode) != (0, 0, 0));
    assert_eq!(mapping.offset, file.then_some(offset));
    assert_eq!(mapping.device, file.then_some(Device { major, minor }));
    assert_eq!(mapping.inode, file.then_some(inode));
}

fuzz_target!(|input: &[u8]| {
    let mut lines = text::lines(input);
    let mut count = 0;
    for line in input.split_inclusive(|&byte| byte == b'\n') {
        let mapping = lines.next().expect("a line gives an item");
        count += 1;
        compare(mapping.as_ref(), line);
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
