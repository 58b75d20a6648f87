// SPDX-License-Identifier: MIT OR Apache-2.0

//! The text of maps: read and written.

use maps_lockless::{Device, MappingRef, NameRef, text};
use proptest::prelude::*;

/// Lines as Linux 7.3 writes them.
const LINES: &[u8] = b"\
00400000-00401000 r--p 00000000 00:00 0 
555555554000-555555556000 r-xp 00002000 fe:01 12345                      /usr/bin/a program
555555575000-555555596000 rw-p 00000000 00:00 0                          [heap]
7ffff7d00000-7ffff7d01000 rw-s 00000000 00:01 1026                       /memfd:x (deleted)
7ffff7d01000-7ffff7d02000 ---s 00000000 00:01 4                          [anon_shmem:shared name]
7ffff7d02000-7ffff7d03000 rw-p 00000000 00:00 0                          [anon:private name]
7ffff7d03000-7ffff7d04000 r--s 12345678000 103:05 18446744073709551615   /tmp/odd/a  b   c 
7ffff7fc5000-7ffff7fc9000 r--p 00000000 00:00 0                          [vvar]
7ffff7fc9000-7ffff7fca000 r--s 00000000 00:21 7                          /tmp/odd/\xff\\012
7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";

fn parsed(text: &[u8]) -> Vec<MappingRef<'_>> {
    text::lines(text).map(Option::unwrap).collect()
}

#[cfg(feature = "std")]
fn written(mappings: &[MappingRef<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for mapping in mappings {
        text::write_line(&mut out, mapping).unwrap();
    }
    out
}

#[test]
#[cfg(feature = "std")]
fn what_is_read_is_written_byte_for_byte() {
    let mappings = parsed(LINES);
    assert_eq!(
        written(&mappings).escape_ascii().to_string(),
        LINES.escape_ascii().to_string()
    );
}

#[test]
fn names_are_told_apart() {
    let mappings = parsed(LINES);
    let name = |i: usize| mappings[i].name;
    let path = |path, marked| NameRef::Path { path, marked };
    assert_eq!(name(0), NameRef::None);
    assert_eq!(name(1), path(b"/usr/bin/a program", false));
    assert_eq!(name(2), NameRef::Heap);
    // It may be a live file that is called so.
    assert_eq!(name(3), path(b"/memfd:x", true));
    let deleted: Vec<_> = mappings.iter().map(|mapping| mapping.deleted).collect();
    assert_eq!(deleted[1..5], [Some(false), None, None, None]);
    assert_eq!(name(4), NameRef::AnonShmem(b"shared name"));
    assert_eq!(name(5), NameRef::Anon(b"private name"));
    assert_eq!(name(6), path(b"/tmp/odd/a  b   c ", false));
    assert_eq!(name(7), NameRef::Special(b"[vvar]"));
    assert_eq!(name(8), path(b"/tmp/odd/\xff\\012", false));
    assert_eq!(name(9), NameRef::Stack);
}

#[test]
fn only_files_have_offset_device_and_inode() {
    let mappings = parsed(LINES);
    assert_eq!((mappings[2].offset, mappings[2].inode), (None, None));
    assert_eq!(mappings[6].offset, Some(0x0123_4567_8000));
    assert_eq!(mappings[6].inode, Some(u64::MAX));
    let device = Device {
        major: 0x103,
        minor: 5,
    };
    assert_eq!(mappings[6].device, Some(device));
}

#[test]
fn a_bad_line_spoils_no_other() {
    for bad in [
        "",
        "junk",
        "1000-2000 rw-p 0 00:00",
        "2000-1000 rw-p 0 00:00 0 ",
        "1000-2000 rw-p 0 00:00 18446744073709551616 ",
        "1000-2000 rw-q 0 00:00 0 ",
        "1000-2000 rw-p 0 0000 0 ",
        "+1000-2000 rw-p 0 00:00 0 ",
        "1000-fffffffffffffffff rw-p 0 00:00 0 ",
    ] {
        let good = "1000-2000 rw-p 00000000 00:00 0 ";
        let text = format!("{good}\n{bad}\n{good}");
        let lines: Vec<bool> = text::lines(text.as_bytes())
            .map(|line| line.is_some())
            .collect();
        assert_eq!(lines, [true, false, true], "{bad:?}");
    }
}

#[test]
fn the_last_line_may_lack_its_newline() {
    for line in [
        "1000-2000 rw-p 00000000 00:00 0",
        "1000-2000 rw-p 00000000 00:00 0 ",
        "1000-2000 rw-p 00000000 00:00 0                          [heap]",
    ] {
        let with = format!("{line}\n");
        assert_eq!(parsed(line.as_bytes()), parsed(with.as_bytes()));
        // What is cut off within the numbers is no line.
        for len in 1.."1000-2000 rw-p 00000000 00:00 ".len() {
            assert_eq!(text::lines(&line.as_bytes()[..len]).next(), Some(None));
        }
    }
}

proptest! {
    #[test]
    fn each_number_is_read(
        range in any::<(u64, u64)>(),
        offset in any::<u64>(),
        device in any::<(u32, u32)>(),
        inode in 1_u64..,
        shift in 0_u32..64,
        name in "[^\n ][^\n]{0,100}",
        newline in any::<bool>(),
    ) {
        // Of all lengths.
        let (start, end) = (range.0.min(range.1) >> shift, range.0.max(range.1) >> shift);
        let (offset, inode) = (offset >> shift, (inode >> shift).max(1));
        let (major, minor) = (device.0 >> (shift / 2), device.1 >> (shift / 2));
        let newline = if newline { "\n" } else { "" };
        let line = format!(
            "{start:x}-{end:x} rw-s {offset:x} {major:x}:{minor:x} {inode} {name}{newline}"
        );
        let mapping = text::lines(line.as_bytes()).next().unwrap().unwrap();
        prop_assert_eq!((mapping.start, mapping.end), (start, end));
        prop_assert_eq!((mapping.offset, mapping.inode), (Some(offset), Some(inode)));
        prop_assert_eq!(mapping.device, Some(Device { major, minor }));
        if let NameRef::Path { path, marked: false } = mapping.name {
            prop_assert_eq!(path, name.as_bytes());
        }
    }

    #[test]
    fn any_text_is_survived(text in prop::collection::vec(any::<u8>(), 0..500)) {
        let lines = text::lines(&text).count();
        prop_assert!(lines <= text.len());
    }
}
