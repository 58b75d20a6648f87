// SPDX-License-Identifier: MIT OR Apache-2.0

//! Live processes are followed, on whatever kernel this is.
#![cfg(feature = "std")]

use maps_lockless::{
    Completeness, Event, Monitor, MonitorOptions, Process, Request, Selection, Source,
};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A shell that does what it is told, line by line.
struct Shell(Child);

impl Shell {
    fn start() -> Self {
        let mut command = Command::new("sh");
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = Self(pipes.spawn().unwrap());
        // By then its loader is done, and so is what it sets up by itself.
        shell.say("echo ready");
        let stdout = shell.0.stdout.as_mut().unwrap();
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        shell
    }

    fn say(&mut self, line: &str) {
        let stdin = self.0.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn process(&self) -> Process {
        Process::pinned(self.pid()).unwrap()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads in each round.
const EAGER: MonitorOptions = MonitorOptions {
    request: Request {
        fields: maps_lockless::Fields::ALL,
        selection: Selection {
            all: 0,
            any: 0,
            none: 0,
            start: 0,
            end: 0,
        },
    },
    attempts: 3,
    interval: Duration::ZERO,
    refresh: Duration::from_secs(100_000),
    lockless_only: false,
};

/// Does not read again where there is no evidence of change.
const LAZY: MonitorOptions = MonitorOptions {
    interval: Duration::from_secs(100_000),
    ..EAGER
};

fn has_lockless() -> bool {
    fs::exists("/proc/self/maps_lockless").unwrap()
}

/// Round after round until something happens.
fn next<K: Ord + Clone>(monitor: &mut Monitor<K>) -> Vec<(K, Event)> {
    let begin = Instant::now();
    loop {
        let events = monitor.poll();
        if !events.is_empty() {
            return events;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "nothing happens");
        thread::sleep(Duration::from_millis(5));
    }
}

fn follow(shell: &Shell, options: MonitorOptions) -> Monitor<u32> {
    let mut monitor = Monitor::new(options);
    monitor.add(shell.pid(), shell.process()).unwrap();
    let events = monitor.poll();
    let [(pid, Event::New(snapshot))] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(*pid, shell.pid());
    assert!(snapshot.mappings.len() > 3);
    assert_eq!(snapshot.source == Source::Lockless, has_lockless());
    // It does nothing.
    for _ in 0..3 {
        assert!(monitor.poll().is_empty());
    }
    monitor
}

#[test]
fn keys_come_and_go() {
    let shell = Shell::start();
    let mut monitor = Monitor::new(EAGER);
    assert!(monitor.is_empty() && monitor.poll().is_empty());
    monitor.add("b", shell.process()).unwrap();
    monitor.add("a", Process::new(shell.pid())).unwrap();
    monitor.add("c", Process::new(shell.pid())).unwrap();
    assert!(monitor.remove(&"c") && !monitor.remove(&"c"));
    assert!(monitor.len() == 2 && monitor.contains(&"b") && monitor.snapshot(&"b").is_none());
    let events = monitor.poll();
    let keys: Vec<_> = events.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, ["a", "b"]);
    assert!(monitor.snapshot(&"b").is_some() && monitor.snapshot(&"c").is_none());
}

#[test]
fn who_does_not_exist_is_not_followed() {
    let mut monitor = Monitor::new(EAGER);
    let error = monitor.add(0, Process::new(u32::MAX)).unwrap_err();
    assert!(error.is_not_found());
    assert!(monitor.is_empty());
}

#[test]
fn a_change_is_told_with_both_sides() {
    let mut shell = Shell::start();
    let mut monitor = follow(&shell, EAGER);
    // A value of 4 MiB takes memory.
    shell.say("x=0123456789abcdef");
    shell.say(&"x=$x$x$x$x; ".repeat(9));
    let before = monitor.snapshot(&shell.pid()).unwrap().clone();
    let mut events = next(&mut monitor);
    let Some((_, Event::Changed { before: old, after })) = events.pop() else {
        panic!("{events:?}");
    };
    assert_eq!(*old, *before);
    assert!(!old.diff(&after).is_empty());
}

#[test]
fn an_exec_is_told() {
    for options in [EAGER, LAZY] {
        let mut shell = Shell::start();
        let mut monitor = follow(&shell, options);
        // The same program, so that nothing but its address space is another.
        shell.say("exec sh");
        let begin = Instant::now();
        loop {
            let events = next(&mut monitor);
            match &events[..] {
                [(_, Event::Replaced { before, after })] => {
                    assert_ne!(before.mappings, after.mappings);
                    break;
                }
                // What the shell does before, or its end.
                [(_, Event::Changed { .. })] => {}
                other => panic!("{other:?}"),
            }
            assert!(begin.elapsed() < Duration::from_secs(60));
        }
        assert!(monitor.contains(&shell.pid()));
    }
}

#[test]
fn an_exit_is_told_once() {
    for options in [EAGER, LAZY] {
        for waited_for in [false, true] {
            let mut shell = Shell::start();
            let mut monitor = follow(&shell, options);
            shell.0.kill().unwrap();
            if waited_for {
                shell.0.wait().unwrap();
            }
            loop {
                match &next(&mut monitor)[..] {
                    [(pid, Event::Exited)] => break assert_eq!(*pid, shell.pid()),
                    // It may be seen without mappings first.
                    [(_, Event::Changed { after, .. })] => assert!(after.mappings.is_empty()),
                    other => panic!("{other:?}"),
                }
            }
            assert!(monitor.is_empty() && monitor.poll().is_empty());
        }
    }
}

#[test]
fn without_evidence_the_interval_is_kept() {
    if has_lockless() {
        return;
    }
    let mut shell = Shell::start();
    let options = MonitorOptions {
        interval: Duration::from_millis(500),
        ..EAGER
    };
    let begin = Instant::now();
    let mut monitor = follow(&shell, options);
    shell.say("x=0123456789abcdef");
    shell.say(&"x=$x$x$x$x; ".repeat(9));
    next(&mut monitor);
    assert!(begin.elapsed() >= options.interval);
}

#[test]
fn other_sources_can_be_done_without() {
    let shell = Shell::start();
    let options = MonitorOptions {
        lockless_only: true,
        ..EAGER
    };
    let mut monitor = Monitor::new(options);
    monitor.add((), shell.process()).unwrap();
    let events = monitor.poll();
    match &events[..] {
        [(_, Event::New(_))] => assert!(has_lockless()),
        [(_, Event::Failed(error))] => {
            assert!(error.is_unsupported() && !has_lockless());
            // Once.
            assert!(monitor.poll().is_empty() && monitor.len() == 1);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_asked_for_does_not_matter() {
    let shell = Shell::start();
    let mut options = EAGER;
    options.request.selection.start = 0x1000;
    options.request.selection.end = 0x2000;
    let mut monitor = Monitor::new(options);
    monitor.add((), shell.process()).unwrap();
    match &monitor.poll()[..] {
        [(_, Event::New(snapshot))] => assert!(snapshot.mappings.is_empty()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_kernel_thread_has_no_mappings() {
    // kthreadd, unless this is a PID namespace.
    if !fs::read("/proc/2/stat").is_ok_and(|stat| stat.starts_with(b"2 (kthreadd)")) {
        return;
    }
    let mut monitor = Monitor::new(EAGER);
    monitor.add(2, Process::new(2)).unwrap();
    match &monitor.poll()[..] {
        [(2, Event::New(snapshot))] => {
            assert!(snapshot.mappings.is_empty());
            assert_ne!(snapshot.completeness, Completeness::Complete);
        }
        // As who may not look.
        [(2, Event::Failed(error))] => assert!(error.is_permission(), "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(monitor.poll().is_empty() && monitor.len() == 1);
}

/// Runs in a process of its own, which has few descriptors.
#[test]
fn without_descriptors_it_fails_and_tries_again() {
    const STARVED: &str = "MAPS_LOCKLESS_TEST_STARVED";
    if std::env::var_os(STARVED).is_none() {
        let status = Command::new("sh")
            .args(["-c", r#"ulimit -n 32 && exec "$0" "$@""#])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "without_descriptors_it_fails_and_tries_again"])
            .env(STARVED, "1")
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        return;
    }
    const EMFILE: Option<i32> = Some(24);
    let shell = Shell::start();
    let mut monitor = Monitor::new(EAGER);
    monitor.add(1, shell.process()).unwrap();
    monitor.add(2, shell.process()).unwrap();
    let taken: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    assert!(taken.len() > 10);
    match &monitor.poll()[..] {
        [(1, Event::Failed(first)), (2, Event::Failed(second))] => {
            assert_eq!((first.errno(), second.errno()), (EMFILE, EMFILE));
            assert!(first.to_string().contains("EMFILE"), "{first}");
        }
        other => panic!("{other:?}"),
    }
    assert!(monitor.poll().is_empty());
    let error = monitor.add(3, Process::new(shell.pid())).unwrap_err();
    assert_eq!(error.errno(), EMFILE);
    drop(taken);
    let events = monitor.poll();
    assert!(matches!(
        &events[..],
        [(1, Event::New(_)), (2, Event::New(_))]
    ));
}

#[test]
fn one_descriptor_is_held_for_a_process() {
    let shell = Shell::start();
    let mut monitor = Monitor::new(EAGER);
    for key in 0..50 {
        monitor.add(key, Process::new(shell.pid())).unwrap();
    }
    monitor.poll();
    let here = format!("/proc/{}", shell.pid());
    let held = fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
        let target = fs::read_link(entry.as_ref().unwrap().path());
        target.is_ok_and(|target| target.starts_with(&here))
    });
    assert_eq!(held.count(), 50);
}
