// SPDX-License-Identifier: MIT OR Apache-2.0

//! A live process that rests: cat(1), once it has given back what it was given.

use crate::lsmaps;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// It ends with the test.
struct Cat(Child);

impl Cat {
    fn start() -> Self {
        let mut command = Command::new("cat");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut String::new()).unwrap();
        Self(child)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Cat {
    fn drop(&mut self) {
        // It may be gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(args: &[&str]) -> Output {
    lsmaps().args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A file of this test, removed with it.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn what_was_recorded_is_what_maps_showed_and_nothing_changed_since() {
    let (cat, file) = (Cat::start(), Scratch::new("cat.capture"));
    let recorded = run(&["--record", file.path(), &cat.pid()]);
    assert!(recorded.status.success() && recorded.stdout.is_empty());
    let told = text(&recorded.stderr);
    assert!(told.contains("cat.capture: 1 process, "), "{told}");
    let maps = fs::read_to_string(format!("/proc/{}/maps", cat.pid())).unwrap();
    let live = run(&["--format=maps", &cat.pid()]);
    assert_eq!(text(&live.stdout), maps);
    // Build IDs are recorded, which PROCMAP_QUERY has, and it does not know of vsyscall.
    let shown = run(&["--format=maps", "--from-file", file.path()]);
    let without = |maps: &str| -> Vec<String> {
        let lines = maps.lines().filter(|line| !line.ends_with("[vsyscall]"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(without(text(&shown.stdout)), without(&maps));
    let changes = run(&["--diff", file.path()]);
    let expected = format!("{} cat: 0 changes in ", cat.pid());
    assert!(text(&changes.stdout).starts_with(&expected), "{changes:?}");
    // Only that file is left of what was recorded.
    let left = fs::read_dir(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let names = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        names.filter(|name| name.starts_with("cat.capture")).count(),
        1
    );
}

#[test]
fn a_recording_of_nothing_leaves_what_was_there() {
    let file = Scratch::new("kept.capture");
    fs::write(file.path(), "precious").unwrap();
    let output = run(&["--record", file.path(), "4194305"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read_to_string(file.path()).unwrap(), "precious");
}

#[test]
fn a_watch_tells_of_the_exit_and_ends() {
    let cat = Cat::start();
    let mut watch = lsmaps()
        .args(["--watch=0.05", &cat.pid()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let begin = lines.next().unwrap().unwrap();
    let expected = format!("{} cat: is watched, ", cat.pid());
    assert!(begin.starts_with(&expected), "{begin}");
    let exited = format!("{} cat: exited", cat.pid());
    drop(cat);
    assert_eq!(lines.next().unwrap().unwrap(), exited);
    assert!(lines.next().is_none());
    assert!(watch.wait().unwrap().success());
}

/// A name that nobody has yet is waited for.
#[test]
fn a_watch_of_a_name_waits_for_it() {
    // A name that no other process of this machine has: the kernel keeps 15 bytes of it.
    let name = format!("w{}", std::process::id());
    let program = Scratch::new(&name);
    std::os::unix::fs::symlink("/bin/cat", program.path()).unwrap();
    let mut watch = lsmaps()
        .args(["--watch=0.05", "--comm", &name])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    let mut stderr = BufReader::new(watch.stderr.take().unwrap());
    stderr.read_line(&mut told).unwrap();
    let expected = format!("lsmaps: no process is called {name}: waiting for one\n");
    assert_eq!(told, expected);
    let mut child = Command::new(program.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(watch.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let expected = format!("{} {name}: is new, ", child.id());
    assert!(line.starts_with(&expected), "{line}");
    watch.kill().unwrap();
    watch.wait().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What cannot be read by the one source that is asked for is not waited for.
#[test]
fn a_watch_ends_where_the_kernel_has_no_such_file() {
    if fs::exists("/proc/self/maps_lockless").unwrap() {
        return;
    }
    let cat = Cat::start();
    let watch = run(&["--watch=0.05", "--source=lockless", &cat.pid()]);
    assert_eq!(watch.status.code(), Some(2), "{watch:?}");
    let told = text(&watch.stderr);
    assert!(
        told.starts_with(&format!("lsmaps: {}: ", cat.pid())),
        "{told}"
    );
}
