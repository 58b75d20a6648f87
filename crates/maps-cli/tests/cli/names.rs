// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever a process calls itself and its mappings, no output drives a terminal, and maps stays maps.

use crate::{
    captures::{capture, process},
    live::Scratch,
    lsmaps,
};
use maps_lockless::{Mapping, Name, text};
use proptest::{collection::vec, prelude::*};
use std::{io::Write, process::Stdio};

/// Bytes, such as attack terminals more often than not.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        vec(any::<u8>(), 0..6),
        any::<char>().prop_map(|c| c.to_string().into_bytes()),
        "[a-z /\\\\-]{0,8}".prop_map(String::into_bytes),
        prop::sample::select(vec![
            "\x1b[2J",
            "\x1b]0;x\x07",
            "\u{9b}31m",
            "\u{202e}",
            "\u{2066}",
            "\u{200f}",
            "\n",
            "\r",
            "\x08",
            "\x7f",
            " (deleted)",
            "[heap]",
            "\\x1b",
            "\u{2028}",
            "\u{85}",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    vec(part, 0..6).prop_map(|parts| parts.concat())
}

fn name() -> impl Strategy<Value = Name> {
    // The kernel's names have no NUL, and paths begin with a slash.
    let bytes = || hostile().prop_map(|bytes| bytes.into_iter().filter(|b| *b != 0).collect());
    let path = bytes().prop_map(|bytes: Vec<u8>| [b"/", &bytes[..]].concat());
    prop_oneof![
        (path, any::<bool>()).prop_map(|(path, marked)| Name::Path { path, marked }),
        bytes().prop_map(Name::Anon),
        bytes().prop_map(Name::AnonShmem),
        Just(Name::None),
        Just(Name::Stack),
    ]
}

/// Mappings of these names, one after the other.
fn mappings(names: &[Name]) -> Vec<Mapping> {
    let place = |(i, name): (usize, &Name)| {
        let start = 0x10_0000 * (i as u64 + 1);
        let end = start + 0x3000;
        let perms = ["r--p", "rw-s", "rwxp"][i % 3];
        let line = match name {
            Name::Path { .. } => format!("{start:x}-{end:x} {perms} 00002000 08:01 42 /x\n"),
            _ => format!("{start:x}-{end:x} {perms} 00000000 00:00 0 \n"),
        };
        let mut mapping = text::lines(line.as_bytes())
            .next()
            .flatten()
            .unwrap()
            .to_owned();
        mapping.name = name.clone();
        mapping
    };
    names.iter().enumerate().map(place).collect()
}

/// What lsmaps makes of a capture that comes by standard input.
fn output(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = lsmaps()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    output.stdout
}

/// What is left of a text without the escape sequences that colours are made of.
pub fn without_colors(text: &str) -> String {
    let mut rest = text;
    let mut left = String::new();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        left += before;
        let (code, after) = after.split_once('m').expect("a colour ends");
        assert!(code.bytes().all(|b| b.is_ascii_digit()), "{code:?}");
        rest = after;
    }
    left + rest
}

/// The bytes that a string of JSON stands for: a doubled backslash, or `\xHH`.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.bytes());
        rest = if let Some(after) = after.strip_prefix('\\') {
            bytes.push(b'\\');
            after
        } else {
            let digits = after.strip_prefix('x').unwrap();
            bytes.push(u8::from_str_radix(&digits[..2], 16).unwrap());
            &digits[2..]
        };
    }
    bytes.extend(rest.bytes());
    bytes
}

/// Characters that Unicode calls Bidi_Control, and those that end lines.
const MISLEADING: &str = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\
    \u{2066}\u{2067}\u{2068}\u{2069}\u{2028}\u{2029}";

fn is_harmless(text: &str) -> bool {
    text.chars()
        .all(|c| c == '\n' || !c.is_control() && !MISLEADING.contains(c))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_output_drives_a_terminal(comm in hostile(), names in vec(name(), 1..12)) {
        let label = String::from_utf8_lossy(&comm);
        let consistent = ["lockless", "complete", "consistent"];
        let mappings = mappings(&names);
        let file = capture(&[process(7, &label, consistent, &mappings)]);
        let lines = mappings.len();
        let stdin = "--from-file=/dev/stdin";
        for (args, expected) in [
            (&["--color=never"][..], Some(lines + 2)),
            (&["--color=always"], Some(lines + 2)),
            (&["--output-all", "--color=always"], Some(lines + 2)),
            (&["--raw"], Some(lines + 1)),
            (&["--raw", "--output-all"], Some(lines + 1)),
            (&["--format=jsonl", "--output-all"], Some(lines + 2)),
            (&["--json", "--output-all"], None),
            (&["--tree", "--color=always"], None),
            (&["--summary", "--color=always"], None),
            (&["--count"], Some(1)),
        ] {
            let shown = String::from_utf8(output(&[args, &[stdin]].concat(), &file)).unwrap();
            let shown = match args.contains(&"--color=always") {
                true => without_colors(&shown),
                false => shown,
            };
            prop_assert!(is_harmless(&shown), "{:?}: {:?}", args, shown);
            if let Some(expected) = expected {
                prop_assert_eq!(shown.lines().count(), expected, "{:?}: {:?}", args, shown);
            }
            if args == ["--raw"] {
                prop_assert!(shown.lines().all(|line| line.split(' ').count() == 8), "{:?}", shown);
            }
            if args.contains(&"--json") {
                let document: serde_json::Value = serde_json::from_str(&shown).unwrap();
                prop_assert_eq!(document["processes"][0]["command"].as_str().map(unescaped),
                    Some(label.as_bytes().to_vec()));
            }
        }
    }

    #[test]
    fn no_change_drives_a_terminal(names in vec(name(), 2..12)) {
        let consistent = ["lockless", "complete", "consistent"];
        let (before, after) = (mappings(&names), mappings(&names[1..]));
        let file = Scratch::new("names.capture");
        std::fs::write(file.path(), capture(&[process(7, "\x1b[2J", consistent, &before)])).unwrap();
        let after = capture(&[process(7, "\u{202e}", consistent, &after)]);
        let args = ["--color=always", "--from-file=/dev/stdin", "--diff", file.path()];
        let shown = without_colors(&String::from_utf8(output(&args, &after)).unwrap());
        prop_assert!(is_harmless(&shown), "{:?}", shown);
        // A title, and at least that one mapping is gone.
        prop_assert!(shown.lines().count() >= 2, "{:?}", shown);
    }

    #[test]
    fn maps_is_parsed_to_what_was_captured(names in vec(name(), 1..12)) {
        let expected = mappings(&names);
        let consistent = ["lockless", "complete", "consistent"];
        let file = capture(&[process(7, "x", consistent, &expected)]);
        let maps = output(&["--format=maps", "--from-file=/dev/stdin"], &file);
        let mut wanted = Vec::new();
        for mapping in &expected {
            text::write_line(&mut wanted, &mapping.as_ref()).unwrap();
        }
        prop_assert_eq!(maps.escape_ascii().to_string(), wanted.escape_ascii().to_string());
        // A newline in the name of anonymous memory would be one in maps: the kernel has no such names.
        let has_newline = |name: &Name| matches!(name, Name::Anon(n) | Name::AnonShmem(n) if n.contains(&b'\n'));
        if names.iter().any(has_newline) {
            return Ok(());
        }
        let parsed: Vec<_> = text::lines(&maps).map(Option::unwrap).collect();
        prop_assert_eq!(parsed.len(), expected.len());
        for (parsed, expected) in parsed.iter().zip(&expected) {
            let expected = expected.as_ref();
            prop_assert_eq!((parsed.start, parsed.end), (expected.start, expected.end));
            prop_assert_eq!(parsed.flags.permissions(), expected.flags.permissions());
            prop_assert_eq!(parsed.offset.unwrap_or(0), expected.offset.unwrap_or(0));
            prop_assert_eq!(parsed.inode.unwrap_or(0), expected.inode.unwrap_or(0));
            // Which of two kinds a name is of is not always told, its letters are.
            prop_assert_eq!(parsed.name.to_maps(), expected.name.to_maps());
        }
    }
}
