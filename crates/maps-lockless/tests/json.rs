// SPDX-License-Identifier: MIT OR Apache-2.0

//! The JSON of what is owned, version 1: what stands here may grow, and never change.
#![cfg(feature = "serde")]

use maps_lockless::{BuildId, Device, Mapping, Marks, Name, Permissions, VmaFlags, text};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// That a value is written so, and read again.
#[track_caller]
fn pin<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, json: &str) {
    assert_eq!(serde_json::to_string(&value).unwrap(), json);
    assert_eq!(serde_json::from_str::<T>(json).unwrap(), value);
}

#[track_caller]
fn refuse<T: DeserializeOwned + Debug>(json: &str) {
    let error = serde_json::from_str::<T>(json).unwrap_err();
    assert!(error.is_data(), "{error}");
}

#[test]
fn names() {
    let path = |path: &[u8], marked| Name::Path {
        path: path.to_vec(),
        marked,
    };
    pin(
        Name::Unknown,
        r#"{"kind":"unknown","text":null,"marked":null}"#,
    );
    pin(Name::None, r#"{"kind":"none","text":null,"marked":null}"#);
    pin(
        path(b"/bin/true", false),
        r#"{"kind":"path","text":"/bin/true","marked":false}"#,
    );
    pin(
        path(b"/bin/true", true),
        r#"{"kind":"path","text":"/bin/true","marked":true}"#,
    );
    pin(
        Name::PathTooLong,
        r#"{"kind":"path_too_long","text":null,"marked":null}"#,
    );
    pin(
        Name::Anon(b"".to_vec()),
        r#"{"kind":"anon","text":"","marked":null}"#,
    );
    pin(
        Name::AnonShmem(b"a  b ".to_vec()),
        r#"{"kind":"anon_shmem","text":"a  b ","marked":null}"#,
    );
    pin(Name::Heap, r#"{"kind":"heap","text":null,"marked":null}"#);
    pin(Name::Stack, r#"{"kind":"stack","text":null,"marked":null}"#);
    pin(
        Name::Special(b"[vdso]".to_vec()),
        r#"{"kind":"special","text":"[vdso]","marked":null}"#,
    );
}

#[test]
fn names_keep_their_bytes() {
    // JSON doubles each backslash.
    let pin = |name: &[u8], text: &str| {
        pin(
            Name::Anon(name.to_vec()),
            &format!(r#"{{"kind":"anon","text":"{text}","marked":null}}"#),
        );
    };
    pin(b"a\xffb\xc3", r"a\\xffb\\xc3");
    pin(r"C:\x41\012".as_bytes(), r"C:\\\\x41\\\\012");
    pin("b\u{e4}r \u{1f600}".as_bytes(), "b\u{e4}r \u{1f600}");
    pin(b"line\n\"quote\"\x1b[", r#"line\n\"quote\"\u001b["#);
    // Half of a character, twice; and a surrogate, which UTF-8 does not have.
    pin(b"\xf0\x9f", r"\\xf0\\x9f");
    pin(b"\xed\xa0\x80", r"\\xed\\xa0\\x80");
}

#[test]
fn names_that_are_none_are_refused() {
    refuse::<Name>(r#"{"kind":"heap","text":"[heap]","marked":null}"#);
    refuse::<Name>(r#"{"kind":"anon","text":null}"#);
    refuse::<Name>(r#"{"kind":"anon","text":"x","marked":true}"#);
    refuse::<Name>(r#"{"kind":"path","text":"/x"}"#);
    refuse::<Name>(r#"{"kind":"vdso"}"#);
    for text in [r"\\", r"a\\", r"\\x", r"\\xf", r"\\xfg", r"\\012", r"\\x+1"] {
        refuse::<Name>(&format!(r#"{{"kind":"anon","text":"{text}"}}"#));
    }
    // What is null may be left out.
    let heap = serde_json::from_str::<Name>(r#"{"kind":"heap"}"#).unwrap();
    assert_eq!(heap, Name::Heap);
}

#[test]
fn build_ids() {
    pin(
        BuildId::<Vec<u8>>::Unknown,
        r#"{"state":"unknown","id":null}"#,
    );
    pin(
        BuildId::<Vec<u8>>::Absent,
        r#"{"state":"absent","id":null}"#,
    );
    pin(
        BuildId::<Vec<u8>>::NotResident,
        r#"{"state":"not_resident","id":null}"#,
    );
    pin(
        BuildId::Present(vec![0x01, 0x23, 0xab]),
        r#"{"state":"present","id":"0123ab"}"#,
    );
    refuse::<BuildId<Vec<u8>>>(r#"{"state":"present","id":"0123a"}"#);
    refuse::<BuildId<Vec<u8>>>(r#"{"state":"present","id":"012g"}"#);
    refuse::<BuildId<Vec<u8>>>(r#"{"state":"present"}"#);
    refuse::<BuildId<Vec<u8>>>(r#"{"state":"absent","id":"01"}"#);
}

#[test]
fn small_ones() {
    pin(
        Device {
            major: 254,
            minor: 1,
        },
        r#"{"major":254,"minor":1}"#,
    );
    pin(
        VmaFlags {
            set: 1,
            known: u64::MAX,
        },
        r#"{"set":"0x1","known":"0xffffffffffffffff"}"#,
    );
    for flags in ["5", "0x", "0x+5", "0x10000000000000000"] {
        refuse::<VmaFlags>(&format!(r#"{{"set":"{flags}","known":"0x0"}}"#));
    }
    let marks = Marks {
        unstable: true,
        ..Marks::default()
    };
    pin(
        marks,
        r#"{"unstable":true,"withheld":false,"clipped":false}"#,
    );
    let permissions = Permissions {
        read: true,
        ..Permissions::default()
    };
    pin(
        permissions,
        r#"{"read":true,"write":false,"execute":false,"shared":false}"#,
    );
}

const MAPPING: &str = concat!(
    r#"{"start":4096,"end":8192,"vma_start":4096,"flags":{"set":"0x4000000005","known":"0x400000000f"},"#,
    r#""offset":8192,"page_size":null,"pkey":null,"device":{"major":254,"minor":1},"inode":7,"deleted":false,"#,
    r#""name":{"kind":"path","text":"/bin/a program","marked":false},"#,
    r#""build_id":{"state":"unknown","id":null},"#,
    r#""marks":{"unstable":false,"withheld":false,"clipped":false}}"#
);

fn mapping() -> Mapping {
    let line = b"1000-2000 r-xp 00002000 fe:01 7 /bin/a program\n";
    text::lines(line).next().flatten().unwrap().to_owned()
}

#[test]
fn mappings() {
    pin(mapping(), MAPPING);
    let mut anonymous = mapping();
    (anonymous.offset, anonymous.device, anonymous.inode) = (None, None, None);
    let json = MAPPING
        .replace(r#""offset":8192"#, r#""offset":null"#)
        .replace(r#"{"major":254,"minor":1}"#, "null")
        .replace(r#""inode":7"#, r#""inode":null"#);
    pin(anonymous, &json);
    let mut keyed = mapping();
    (keyed.page_size, keyed.pkey, keyed.deleted) = (Some(2 << 20), Some(3), None);
    let json = MAPPING
        .replace(
            r#""page_size":null,"pkey":null"#,
            r#""page_size":2097152,"pkey":3"#,
        )
        .replace(r#""deleted":false"#, r#""deleted":null"#);
    pin(keyed, &json);
    // Of a version to come, which has fields more.
    let more = MAPPING.replacen('{', r#"{"rss":1,"#, 1);
    assert_eq!(serde_json::from_str::<Mapping>(&more).unwrap(), mapping());
    // Nothing panics that this library would not have written.
    let odd = MAPPING.replace(r#""end":8192"#, r#""end":0"#);
    assert_eq!(serde_json::from_str::<Mapping>(&odd).unwrap().size(), 0);
}

#[cfg(feature = "std")]
#[test]
fn snapshots() {
    use maps_lockless::{Completeness, Judgement, Snapshot, Source, Token};

    for (source, json) in [
        (Source::Lockless, r#""lockless""#),
        (Source::Query, r#""query""#),
        (Source::Maps, r#""maps""#),
    ] {
        pin(source, json);
    }
    for (completeness, json) in [
        (Completeness::Complete, r#""complete""#),
        (Completeness::Gone, r#""gone""#),
        (Completeness::NoAddressSpace, r#""no_address_space""#),
        (Completeness::Unknown, r#""unknown""#),
    ] {
        pin(completeness, json);
    }
    for (judgement, json) in [
        (Judgement::Consistent, r#""consistent""#),
        (Judgement::PossiblyTorn, r#""possibly_torn""#),
        (Judgement::Gap, r#""gap""#),
        (Judgement::Unknown, r#""unknown""#),
    ] {
        pin(judgement, json);
    }
    let token = Token { mm_id: 1, count: 2 };
    pin(token, r#"{"mm_id":1,"count":2}"#);

    let json = [
        r#"{"mappings":["#,
        MAPPING,
        r#"],"source":"lockless","completeness":"complete","judgement":"possibly_torn","#,
        r#""torn":[{"start":4096,"end":8192}],"unknown":[{"start":8192,"end":12288}],"evidence":["#,
        r#"{"first":true,"last":false,"end_reason":1,"begin":0,"next":8192,"request":3,"mm_id":1,"#,
        r#""seq_begin":2,"seq_end":4,"unknown":true}],"token":{"mm_id":1,"count":2}}"#,
    ]
    .concat();
    let snapshot: Snapshot = serde_json::from_str(&json).unwrap();
    assert_eq!(snapshot.mappings, [mapping()]);
    assert_eq!(snapshot.token, Some(token));
    assert!(snapshot.is_torn_at(4096));
    assert_eq!(snapshot.evidence.len(), 1);
    pin(snapshot, &json);
    // One that has neither.
    let without = r#"{"mappings":[],"source":"maps","completeness":"unknown","judgement":"unknown",
        "torn":[],"token":null}"#;
    let snapshot: Snapshot = serde_json::from_str(without).unwrap();
    assert!(snapshot.unknown.is_empty() && snapshot.evidence.is_empty());
}
