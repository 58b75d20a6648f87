// SPDX-License-Identifier: MIT OR Apache-2.0

//! lsmaps on a terminal: a pseudo-terminal of a known width.

use crate::{lsmaps, names::without_colors};
use nix::pty::{Winsize, openpty};
use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    process::{Command, Stdio},
    thread,
};

const WIDTH: u16 = 60;

/// What a terminal was sent. `attach` says which of the command's streams it is.
fn on_terminal(mut command: Command, attach: fn(&mut Command, OwnedFd)) -> String {
    let size = Winsize {
        ws_row: 24,
        ws_col: WIDTH,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = openpty(Some(&size), None).unwrap();
    attach(&mut command, pty.slave);
    let reader = thread::spawn(move || {
        let mut sent = Vec::new();
        // Once nobody has the other end, reading fails.
        match File::from(pty.master).read_to_end(&mut sent) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {}
            result => drop(result.unwrap()),
        }
        sent
    });
    // Some of all processes are not ours.
    let status = command.status().unwrap().code();
    assert!(matches!(status, Some(0 | 42)), "{status:?}");
    // It holds the slave too.
    drop(command);
    String::from_utf8(reader.join().unwrap())
        .unwrap()
        .replace("\r\n", "\n")
}

fn shown(args: &[&str]) -> String {
    let mut command = lsmaps();
    command.args(args).env("TERM", "xterm");
    on_terminal(command, |command, terminal| {
        command.stdout(terminal);
    })
}

/// The lines of mappings: behind the heading, before the last one.
fn rows(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    lines[1..lines.len() - 1].to_vec()
}

#[test]
fn names_are_cut_to_the_terminal() {
    let args = [
        "--from-file=tests/data/names.capture",
        "666",
        "--color=never",
    ];
    let cut = shown(&args);
    let width = |line: &str| unicode_width::UnicodeWidthStr::width(line);
    for line in rows(&cut) {
        assert!(width(line) <= WIDTH.into(), "{line}");
    }
    // Of what is cut, the end is left.
    assert!(cut.contains(" …"), "{cut}");
    assert!(cut.contains("wxp 0 [stack]\n"), "{cut}");
    let whole = shown(&[&args[..], &["--notruncate"]].concat());
    assert!(!whole.contains('…'));
    assert!(rows(&whole).iter().any(|line| width(line) > WIDTH.into()));
}

#[test]
fn a_terminal_is_coloured() {
    let file = "--from-file=tests/data/demo.capture";
    let red = "\x1b[1m\x1b[7m\x1b[91m";
    let colored = shown(&[file]);
    assert!(colored.contains(red), "{colored:?}");
    let plain = shown(&[file, "--color=never"]);
    assert!(!plain.contains('\x1b'));
    assert_eq!(without_colors(&colored), plain);
    let mut command = lsmaps();
    command.arg(file).env("TERM", "xterm").env("NO_COLOR", "1");
    let plain = on_terminal(command, |command, terminal| {
        command.stdout(terminal);
    });
    assert!(!plain.contains('\x1b'));
}

/// What is handed on to others as it is would drive a terminal.
#[test]
fn maps_is_escaped_on_a_terminal() {
    let shown = shown(&["--from-file=tests/data/names.capture", "--format=maps"]);
    assert!(shown.contains("/tmp/\\x1b]0;owned\\x07\\x1b[2J"), "{shown}");
    assert!(
        shown.chars().all(|c| c == '\n' || !c.is_control()),
        "{shown:?}"
    );
}

#[test]
fn progress_is_told_on_a_terminal_that_does_not_show_the_listing() {
    let all = || {
        let mut command = lsmaps();
        // Few rows, of each process.
        command.args(["--all", "--source=maps", "--file=/nothing"]);
        command.env("TERM", "xterm");
        command
    };
    let told = on_terminal(all(), |command, terminal| {
        command.stdout(Stdio::null()).stderr(terminal);
    });
    // `lsmaps: 7 of 180 processes`.
    let has_progress = |text: &str| {
        let mut said = text.split("lsmaps: ");
        said.any(|said| said.split(' ').nth(1) == Some("of"))
    };
    assert!(has_progress(&told), "{told:?}");
    let both = on_terminal(all(), |command, terminal| {
        command
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal);
    });
    assert!(!has_progress(&both), "{both:?}");
}
