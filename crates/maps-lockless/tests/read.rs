// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reading live processes on whatever kernel this is.
#![cfg(feature = "std")]

use maps_lockless::{
    Completeness, Error, Fields, Judgement, Name, Process, Reader, Request, Selection, Snapshot,
    Source, Status,
    wire::{MAPS_LOCKLESS_VMA_EXEC, MAPS_LOCKLESS_VMA_LOCKED},
};
use std::{
    io::Read,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A process that does nothing, once it says so. Killed when dropped.
struct Resting(Child);

impl Resting {
    fn start() -> Self {
        let script = "echo ready; exec sleep 1000";
        let mut command = Command::new("sh");
        let mut child = command
            .args(["-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The pipe is closed by nobody: sleep has it, too.
        let mut ready = [0; 6];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        let resting = Self(child);
        while !std::fs::read(format!("/proc/{}/cmdline", resting.pid()))
            .unwrap()
            .starts_with(b"sleep")
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Its loader has still to map what it needs.
        let process = Process::new(resting.pid());
        while process.snapshot().unwrap().mappings != {
            std::thread::sleep(Duration::from_millis(50));
            process.snapshot().unwrap().mappings
        } {}
        resting
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_buffer_may_be_replaced_at_any_time() {
    let resting = Resting::start();
    let process = Process::new(resting.pid());
    for source in sources() {
        let request = Request::default();
        let mut reader = process.open_source(source, &request).unwrap();
        let expected = reader.snapshot().unwrap().mappings;
        reader.rewind().unwrap();
        let mut found = Vec::new();
        loop {
            reader = reader.with_buffer(vec![b'\n'; found.len() * 1000]);
            let Some(batch) = reader.next_batch().unwrap() else {
                break;
            };
            found.extend(batch.mappings().map(|mapping| mapping.unwrap().to_owned()));
        }
        assert_eq!(found, expected, "{source}");
    }
}

#[test]
fn what_is_left_of_a_read_comes_along_to_another_buffer() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/file-vmas-1000.maps"
    );
    // A file, unlike maps, is cut in the middle of a line.
    let file = std::fs::File::open(path).unwrap();
    let mut reader = Reader::from_file(file, Source::Maps, &Request::default()).unwrap();
    let (mut found, mut batches) = (0, 0);
    while let Some(batch) = reader.next_batch().unwrap() {
        found += batch.mappings().map(Result::unwrap).count();
        batches += 1;
        reader = reader.with_buffer(Vec::new());
    }
    assert!(batches > 1);
    assert_eq!(
        found,
        std::fs::read_to_string(path).unwrap().lines().count()
    );
}

/// The sources that this kernel has.
fn sources() -> Vec<Source> {
    [Source::Lockless, Source::Query, Source::Maps]
        .into_iter()
        .filter(
            |&source| match Process::current().open_source(source, &Request::default()) {
                Ok(_) => true,
                Err(error) => {
                    assert!(error.is_unsupported() && !error.is_not_found(), "{error}");
                    assert_ne!(source, Source::Maps, "each kernel has it");
                    false
                }
            },
        )
        .collect()
}

fn read(process: &Process, source: Source, request: &Request) -> Result<Snapshot, Error> {
    process.open_source(source, request)?.snapshot()
}

#[test]
fn this_process_is_listed() {
    let snapshot = Process::current().snapshot().unwrap();
    let here = this_process_is_listed as fn() as usize as u64;
    let code = snapshot.find(here).unwrap();
    assert!(code.permissions().unwrap().execute);
    assert!(matches!(code.name, Name::Path { .. }) && code.name.path().is_some());
    let mut pairs = snapshot.mappings.windows(2);
    assert!(pairs.all(|pair| pair[0].end <= pair[1].start));
    assert!(snapshot.find(0).is_none() && snapshot.find(u64::MAX).is_none());
    for mapping in &snapshot.mappings {
        for address in [mapping.start, mapping.end - 1] {
            assert_eq!(snapshot.find(address), Some(mapping));
        }
    }
}

#[test]
fn all_sources_say_the_same() {
    let resting = Resting::start();
    let process = Process::new(resting.pid());
    let text = read(&process, Source::Maps, &Request::default()).unwrap();
    assert!(text.mappings.len() > 10);
    for source in sources() {
        let mut other = read(&process, source, &Request::default()).unwrap();
        assert_eq!(other.source, source);
        // PROCMAP_QUERY does not know of vsyscall, which is no VMA.
        other.mappings.retain(|mapping| mapping.start < 1 << 63);
        let here = text
            .mappings
            .iter()
            .filter(|mapping| mapping.start < 1 << 63);
        for (theirs, ours) in other.mappings.iter().zip(here) {
            assert_eq!((theirs.start, theirs.end), (ours.start, ours.end));
            assert_eq!(theirs.permissions(), ours.permissions());
            assert_eq!((theirs.offset, theirs.device), (ours.offset, ours.device));
            assert_eq!((theirs.inode, &theirs.name), (ours.inode, &ours.name));
            assert!(theirs.deleted == ours.deleted || ours.deleted.is_none());
        }
    }
}

#[test]
fn each_source_selects() {
    let resting = Resting::start();
    let process = Process::new(resting.pid());
    let whole = read(&process, Source::Maps, &Request::default()).unwrap();
    let middle = &whole.mappings[whole.mappings.len() / 2];
    for source in sources() {
        let request = Request {
            fields: Fields::default(),
            selection: Selection::CODE,
        };
        let code = read(&process, source, &request).unwrap();
        assert!(!code.mappings.is_empty() && code.mappings.len() < whole.mappings.len());
        for mapping in &code.mappings {
            assert!(mapping.permissions().unwrap().execute && mapping.inode.is_some());
        }
        let request = Request {
            selection: Selection {
                start: middle.start,
                end: middle.end,
                ..Selection::default()
            },
            ..Request::default()
        };
        let one = read(&process, source, &request).unwrap();
        let ranges: Vec<_> = one.mappings.iter().map(|m| (m.start, m.end)).collect();
        assert_eq!(ranges, [(middle.start, middle.end)], "{source}");
    }
}

#[test]
fn a_source_that_cannot_select_says_so() {
    let request = Request {
        selection: Selection {
            all: MAPS_LOCKLESS_VMA_EXEC | MAPS_LOCKLESS_VMA_LOCKED,
            ..Selection::default()
        },
        ..Request::default()
    };
    for source in [Source::Query, Source::Maps] {
        let error = Process::current()
            .open_source(source, &request)
            .unwrap_err();
        assert!(error.is_unsupported(), "{error}");
    }
}

#[test]
fn addresses_are_looked_up() {
    let resting = Resting::start();
    let process = Process::new(resting.pid());
    let whole = process.snapshot().unwrap();
    let lookup = process.lookup(&Request::default()).unwrap();
    let mut before = 0;
    for mapping in &whole.mappings {
        // PROCMAP_QUERY does not know of vsyscall, which is no VMA.
        if mapping.start >= 1 << 63 && lookup.source() == Source::Query {
            continue;
        }
        for address in [mapping.start, mapping.end - 1] {
            let found = lookup.find(address).unwrap().unwrap();
            assert_eq!((found.vma_start, found.end), (mapping.start, mapping.end));
        }
        if mapping.start > before {
            assert_eq!(lookup.find(before).unwrap(), None);
            let next = lookup.find_from(before).unwrap().unwrap();
            assert_eq!(next.start, mapping.start);
        }
        before = mapping.end;
    }
}

#[test]
fn the_text_gives_no_evidence() {
    let process = Process::current();
    let mut reader = process
        .open_source(Source::Maps, &Request::default())
        .unwrap();
    let snapshot = reader.consistent(100, Duration::from_secs(100)).unwrap();
    assert_eq!(snapshot.completeness, Completeness::Unknown);
    assert_eq!(snapshot.judgement, Judgement::Unknown);
    assert!(!snapshot.is_consistent() && snapshot.token.is_none());
    assert!(reader.token().unwrap().is_none() && reader.state().unwrap().is_none());
}

#[test]
fn a_state_is_that_of_the_listing() {
    if !sources().contains(&Source::Lockless) {
        return;
    }
    let resting = Resting::start();
    let process = Process::new(resting.pid());
    let request = Request::default();
    let mut reader = process.open_source(Source::Lockless, &request).unwrap();
    let state = reader.state().unwrap().unwrap();
    let snapshot = reader.consistent(100, Duration::from_secs(10)).unwrap();
    assert_eq!(state.status, Status::Live);
    assert_eq!((state.token(), state.request), (snapshot.token, 0));
    assert!(state.page_size.is_power_of_two() && state.vma_count > 0);
}

#[test]
fn no_such_process() {
    let error = Process::new(u32::MAX).snapshot().unwrap_err();
    assert!(error.is_not_found() && !error.is_permission() && !error.is_malformed());
    assert_eq!(error.errno(), Some(2));
    let text = error.to_string();
    assert_eq!(
        text,
        "/proc/4294967295/maps_lockless: no such process (ENOENT)"
    );
    assert!(Process::pinned(u32::MAX).unwrap_err().is_not_found());
}

#[test]
fn no_such_thread() {
    let error = Process::thread(std::process::id(), u32::MAX).snapshot();
    assert!(error.unwrap_err().is_not_found());
}

#[test]
fn a_process_that_exited() {
    let mut child = Command::new("true").spawn().unwrap();
    let process = Process::pinned(child.id()).unwrap();
    child.wait().unwrap();
    assert!(
        Process::new(child.id())
            .snapshot()
            .unwrap_err()
            .is_not_found()
    );
    // Whoever has the ID now, this is not the process.
    let error = process.snapshot().unwrap_err();
    assert!(error.is_exited() || error.is_not_found(), "{error}");
}

#[test]
fn a_mapped_file_is_opened() {
    use std::os::unix::fs::MetadataExt;

    let process = Process::current();
    let snapshot = process.snapshot().unwrap();
    let here = snapshot
        .find(a_mapped_file_is_opened as fn() as usize as u64)
        .unwrap();
    let file = process.open_mapped(here).unwrap();
    let program = std::fs::metadata("/proc/self/exe").unwrap();
    assert_eq!(file.metadata().unwrap().ino(), program.ino());
    let memory = snapshot
        .mappings
        .iter()
        .find(|mapping| mapping.inode.is_none());
    assert!(process.open_mapped(memory.unwrap()).is_err());
}

#[test]
fn an_open_file_is_read() {
    let resting = Resting::start();
    let process = Process::new(resting.pid());
    for source in sources() {
        let name = match source {
            Source::Lockless => "maps_lockless",
            _ => "maps",
        };
        let path = format!("/proc/{}/{name}", resting.pid());
        let file = std::fs::File::open(&path).unwrap();
        let mut reader = Reader::from_file(file, source, &Request::default()).unwrap();
        let expected = read(&process, source, &Request::default()).unwrap();
        assert_eq!(reader.snapshot().unwrap().mappings, expected.mappings);
    }
    // A file that is nothing of the kind, by its name.
    let file = std::fs::File::open("/proc/self/cmdline").unwrap();
    let error = Reader::from_file(file, Source::Lockless, &Request::default()).unwrap_err();
    assert!(error.is_malformed(), "{error}");
    assert!(
        error.to_string().contains("is this the file of that name"),
        "{error}"
    );
    assert!(error.to_string().contains("/cmdline: "), "{error}");
}

#[test]
fn no_descriptor_is_left_open() {
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let process = Process::current();
    let before = open();
    for source in sources() {
        for _ in 0..100 {
            read(&process, source, &Request::default()).unwrap();
            let _ = Process::pinned(std::process::id()).unwrap().snapshot();
            let _ = process.lookup(&Request::default()).unwrap().find(0);
        }
    }
    // Other tests run meanwhile.
    assert!(open() < before + 50);
}
