// SPDX-License-Identifier: MIT OR Apache-2.0

//! tests/cmd: what is said to whom, in shell sessions. A line `$ command` is run by sh, what it wrote to
//! standard output and standard error follows, and `? N` if its exit status was not 0. All else is a
//! comment, up to the next line that begins so. Every byte counts, which is why this is not trycmd:
//! that takes a backslash for a slash.

use crate::LSMAPS;
use snapbox::{Data, assert_data_eq};
use std::{fs, path::Path, process::Command};

/// Runs a command line. Its output, and the line that tells how it ended.
fn run(line: &str) -> String {
    let bin = Path::new(LSMAPS).parent().unwrap().display();
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{line}")])
        .env_clear()
        .env("PATH", format!("{bin}:/usr/bin:/bin"))
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let mut text = String::from_utf8(output.stdout).expect("bytes go through cat -v");
    if !text.is_empty() && !text.ends_with('\n') {
        text += "\n(no newline)\n";
    }
    match output.status.code() {
        Some(0) => {}
        Some(status) => text += &format!("? {status}\n"),
        None => text += &format!("? {}\n", output.status),
    }
    text
}

/// A session as it goes now. Comments stay.
fn replay(session: &str) -> String {
    let mut now = String::new();
    let mut is_comment = true;
    for line in session.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            now += &format!("{line}\n{}\n", run(command));
            is_comment = false;
        } else if line.starts_with("## ") {
            is_comment = true;
        }
        if is_comment {
            now += &format!("{line}\n");
        }
    }
    now
}

/// The sessions: paths and texts.
pub fn sessions() -> Vec<(std::path::PathBuf, String)> {
    let paths = fs::read_dir("tests/cmd").unwrap();
    let mut paths: Vec<_> = paths.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: std::path::PathBuf| (path.clone(), fs::read_to_string(&path).unwrap());
    paths.into_iter().map(read).collect()
}

#[test]
fn sessions_go_as_they_went() {
    for (path, session) in sessions() {
        let expected = Data::read_from(&path, None).raw();
        assert_data_eq!(replay(&session), expected);
    }
}
