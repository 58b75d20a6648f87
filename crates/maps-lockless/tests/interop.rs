// SPDX-License-Identifier: MIT OR Apache-2.0

//! Conversions into the types of the crate procfs, compared with what it reads itself.
#![cfg(feature = "procfs")]

use maps_lockless::{Mapping, MappingRef, Name, VmaFlags, text};
use procfs::{
    FromRead,
    process::{MMPermissions, MMapPath, MemoryMap, MemoryMaps},
};
use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::PathBuf};

fn mappings(text: &[u8]) -> Vec<MappingRef<'_>> {
    text::lines(text).map(Option::unwrap).collect()
}

fn converted(text: &[u8]) -> Vec<MemoryMap> {
    mappings(text).iter().map(MemoryMap::from).collect()
}

fn one(line: &[u8]) -> MemoryMap {
    converted(line).remove(0)
}

#[test]
fn recorded_texts_are_read_as_procfs_reads_them() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut compared = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() != Some("maps".as_ref()) {
            continue;
        }
        let text = fs::read(&path).unwrap();
        if std::str::from_utf8(&text).is_err() {
            // procfs fails.
            assert_eq!(converted(&text).len(), mappings(&text).len());
            continue;
        }
        let theirs = MemoryMaps::from_read(&text[..]).unwrap().0;
        // procfs strips a name's last spaces, which are kept here.
        for (our, their) in converted(&text).into_iter().zip(theirs) {
            match (&our.pathname, &their.pathname) {
                (MMapPath::Path(our), MMapPath::Path(their)) => {
                    let our = our.as_os_str().as_bytes();
                    assert_eq!(our.trim_ascii_end(), their.as_os_str().as_bytes());
                }
                (our, their) => assert_eq!(our, their),
            }
            let pathname = their.pathname.clone();
            assert_eq!(MemoryMap { pathname, ..our }, their, "{path:?}");
            compared += 1;
        }
    }
    assert!(compared > 1000, "{compared}");
}

#[test]
fn odd_lines_are_read_as_procfs_reads_them() {
    let text = b"\
7f00-7f01 rw-s 00000000 00:01 32769                      /SYSV0123abcd (deleted)
7f01-7f02 rw-s 00000000 00:01 32770                      /SYSVffffffff (deleted)
7f02-7f03 ---p 00000000 00:00 0                          [vvar_vclock]
7f03-7f04 r-xp 00000000 00:00 0                          [vdso]
7f04-7f05 rw-p 00000000 00:00 0                          [anon: a  b ]
7f05-7f06 rw-s 00000000 00:01 7                          [anon_shmem:x]
7f06-7f07 --xp 00000000 00:00 0                          [vsyscall]
7f07-7f08 r--p 00000000 00:00 0                          [vvar]
7f08-7f09 rw-s 00001000 103:0a 7                         /tmp/a\\012b (deleted)
7f09-7f0a rw-s 00000000 00:0f 8                          anon_inode:[perf_event]
7f0a-7f0b rw-p 00000000 00:00 0 
";
    let theirs = MemoryMaps::from_read(&text[..]).unwrap().0;
    assert_eq!(converted(text), theirs);
    assert_eq!(theirs[1].pathname, MMapPath::Vsys(-1));
}

#[test]
fn names_that_procfs_cannot_read_come_all_the_same() {
    let path = |map: MemoryMap| match map.pathname {
        MMapPath::Path(path) => path,
        other => panic!("{other:?}"),
    };
    let bytes = path(one(b"1000-2000 r--s 00000000 fe:01 7 /tmp/\xff \n"));
    assert_eq!(bytes.as_os_str(), OsStr::from_bytes(b"/tmp/\xff "));
    // procfs panics.
    let short = path(one(b"1000-2000 r--s 00000000 fe:01 7 /SYSVab\n"));
    assert_eq!(short.as_os_str(), "/SYSVab");
    let signed = path(one(
        b"1000-2000 r--s 00000000 00:01 7 /SYSV+1234567 (deleted)\n",
    ));
    assert_eq!(signed.as_os_str(), "/SYSV+1234567 (deleted)");
    let anon = one(b"1000-2000 rw-p 00000000 00:00 0 [anon:\xff]\n").pathname;
    assert_eq!(anon, MMapPath::Other("anon:\u{fffd}".into()));
}

#[test]
fn what_is_not_known_is_empty() {
    let line = b"1000-2000 r-xp 00002000 fe:01 7 /bin/true\n";
    let mut mapping: Mapping = mappings(line)[0].to_owned();
    mapping.flags = VmaFlags::default();
    (mapping.offset, mapping.device, mapping.inode) = (None, None, None);
    mapping.name = Name::Unknown;
    let map = MemoryMap::from(&mapping);
    assert_eq!(map.address, (0x1000, 0x2000));
    assert_eq!(map.perms, MMPermissions::NONE);
    assert_eq!((map.offset, map.dev, map.inode), (0, (0, 0), 0));
    assert_eq!(map.pathname, MMapPath::Anonymous);
    assert!(map.extension.is_empty());
}
