// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reading live processes on whatever kernel this is.

use maps_lockless::{Completeness, Name, Process, Source, read, read_from};
use std::process::Command;

#[test]
fn this_process_is_listed() {
    let listing = read(std::process::id().into()).unwrap();
    let here = this_process_is_listed as fn() as usize as u64;
    let code = listing
        .mappings
        .iter()
        .find(|mapping| (mapping.start..mapping.end).contains(&here))
        .unwrap();
    assert!(code.permissions.unwrap().execute);
    assert!(matches!(code.name, Name::Path { .. }));
    let ranges = listing.mappings.windows(2);
    assert!(ranges.into_iter().all(|pair| pair[0].end <= pair[1].start));
}

#[test]
fn maps_alone_cannot_tell_whether_it_is_complete() {
    let listing = read_from(std::process::id().into(), Source::Maps).unwrap();
    assert_eq!(listing.completeness, Completeness::Unknown);
    assert_eq!(listing.consistent, None);
}

#[test]
fn no_such_process() {
    let error = read(Process::new(u32::MAX)).unwrap_err();
    assert!(error.is_not_found() && !error.is_permission() && !error.is_malformed());
    assert_eq!(error.errno(), Some(2));
    let text = error.to_string();
    assert_eq!(
        text,
        "/proc/4294967295/maps_lockless: no such process (ENOENT)"
    );
}

#[test]
fn no_such_thread() {
    let error = read(Process::thread(std::process::id(), u32::MAX)).unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

#[test]
fn a_process_that_exited() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    assert!(read(pid.into()).unwrap_err().is_not_found());
}

#[test]
fn a_kernel_without_the_file_is_no_missing_process() {
    let process = Process::new(std::process::id());
    match read_from(process, Source::Lockless) {
        Ok(listing) => assert_eq!(listing.source, Source::Lockless),
        Err(error) => {
            assert!(error.is_unsupported() && !error.is_not_found());
            assert_eq!(read(process).unwrap().source, Source::Maps);
        }
    }
}
