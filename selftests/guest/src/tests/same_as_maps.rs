// SPDX-License-Identifier: MIT OR Apache-2.0

//! A quiescent process's listing, written as text, is what maps shows, byte for byte.

use super::{Test, shapes_at_rest, snapshot};
use crate::{child::Target, shapes::ODD_NAMES};
use anyhow::{Context, Result, bail, ensure};
use maps_lockless::{Completeness, Judgement, Mapping, Name, Process, Source, text};
use std::fs;

pub(super) fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = shapes_at_rest()
        .map(|shape| {
            Test::new(format!("same as maps: {shape}"), move || {
                let target = Target::start(shape)?;
                let mappings = same(target.pid(), thread_of(&target, shape)?)?;
                shows_what_it_is_for(shape, &mappings)
            })
        })
        .collect();
    tests.push(Test::new("same as maps: dynamic program", || {
        let target = Target::start_program("/bin/target-dynamic", "plain")?;
        let mappings = same(target.pid(), None)?;
        ensure!(has_path(&mappings, b"/lib/libc.so.6", false), "no libc");
        Ok(())
    }));
    tests.push(Test::new(
        "same as maps: this process, init and the shell's",
        || {
            same(1, None)?;
            same(std::process::id(), None)?;
            Ok(())
        },
    ));
    tests
}

/// The thread to ask where the main thread has exited.
pub(super) fn thread_of(target: &Target, shape: &str) -> Result<Option<u32>> {
    if shape != "exited-main-thread" {
        return Ok(None);
    }
    let pid = target.pid();
    // The thread starts, and the main one ends, after the target said that it is ready. Until it waits for
    // input, the thread still maps memory of its own.
    for _ in 0..200 {
        let tids: Vec<u32> = fs::read_dir(format!("/proc/{pid}/task"))?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        let is = |tid, state| {
            let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat"));
            stat.is_ok_and(|stat| stat.contains(state))
        };
        let other = tids.into_iter().find(|tid| *tid != pid);
        if is(pid, ") Z ") && other.is_some_and(|tid| is(tid, ") S ")) {
            return Ok(other);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    bail!("the main thread did not exit")
}

/// Fails where the two differ. Returns the mappings.
pub(super) fn same(pid: u32, tid: Option<u32>) -> Result<Vec<Mapping>> {
    let (process, path) = match tid {
        None => (Process::new(pid), format!("/proc/{pid}/maps")),
        Some(tid) => (
            Process::thread(pid, tid),
            format!("/proc/{pid}/task/{tid}/maps"),
        ),
    };
    // This process's own memory may grow while it looks at it.
    let mut last = None;
    for _ in 0..5 {
        let before = fs::read(&path)?;
        let listing = snapshot(&process, Source::Lockless)?;
        let after = fs::read(&path)?;
        if before != after {
            continue;
        }
        ensure!(!before.is_empty(), "{path} is empty");
        ensure!(
            listing.completeness == Completeness::Complete,
            "{:?}",
            listing.completeness
        );
        let mut rendered = Vec::new();
        for mapping in &listing.mappings {
            text::write_line(&mut rendered, &mapping.as_ref())?;
        }
        if rendered == before {
            ensure!(
                listing.judgement == Judgement::Consistent,
                "not proved consistent"
            );
            return Ok(listing.mappings);
        }
        last = Some((before, rendered));
    }
    let (maps, lockless) = last.context("the process never rests")?;
    let differing = maps
        .split(|&b| b == b'\n')
        .zip(lockless.split(|&b| b == b'\n'))
        .find(|(a, b)| a != b);
    match differing {
        Some((a, b)) => bail!(
            "maps:          {}\nmaps_lockless: {}",
            a.escape_ascii(),
            b.escape_ascii()
        ),
        None => bail!("{} bytes in maps, {} here", maps.len(), lockless.len()),
    }
}

/// The shape is there at all, so that equality says something about it.
fn shows_what_it_is_for(shape: &str, mappings: &[Mapping]) -> Result<()> {
    let special = |name: &[u8]| {
        mappings
            .iter()
            .any(|mapping| matches!(&mapping.name, Name::Special(special) if special == name))
    };
    for name in [&b"[vdso]"[..], b"[vvar]", b"[vsyscall]"] {
        ensure!(special(name), "no {}", name.escape_ascii());
    }
    let named = |name: Name| mappings.iter().any(|mapping| mapping.name == name);
    ensure!(named(Name::Stack), "no stack");
    let found = match shape {
        "vmas-10000" => mappings.len() >= 10_000,
        "file-vmas-1000" => mappings.len() >= 1_000,
        "deleted-file" => has_path(mappings, b"/tmp/deleted-file", true),
        "memfd" => has_path(mappings, b"/memfd:a memfd", true),
        "sysv-shm" => has_path(mappings, b"/SYSV00000000", true),
        "posix-shm" => has_path(mappings, b"/dev/shm/a-posix-shm", false),
        "hugetlb" => {
            has_path(mappings, b"/anon_hugepage", true)
                && has_path(mappings, b"/dev/hugepages/file", false)
        }
        "anon-name" => named(Name::Anon(b"private name".to_vec())),
        "anon-shmem-name" => named(Name::AnonShmem(b"shared name".to_vec())),
        "heap" => named(Name::Heap),
        "secretmem" => has_path(mappings, b"/secretmem", true),
        "overlay-file" => mappings.iter().any(|mapping| {
            matches!(&mapping.name, Name::Path { path, .. } if path.ends_with(b"/merged/file"))
        }),
        _ => match ODD_NAMES.iter().find(|(odd, _)| *odd == shape) {
            Some((_, name)) => has_path(mappings, &[b"/tmp/odd/", *name].concat(), false),
            None => true,
        },
    };
    ensure!(found, "the listing does not show it");
    Ok(())
}

fn has_path(mappings: &[Mapping], wanted: &[u8], gone: bool) -> bool {
    mappings.iter().any(|mapping| {
        let is_it = matches!(&mapping.name, Name::Path { path, .. } if path == wanted);
        is_it && mapping.deleted == Some(gone)
    })
}
