// SPDX-License-Identifier: MIT OR Apache-2.0

//! lsmaps as its users run it, on recorded captures, so that this runs on any Linux.
//!
//! What is committed and made by these tests is rewritten with `SNAPSHOTS=overwrite cargo test -p maps-cli`.

mod captures;
mod generated;
mod golden;
mod help;
mod live;
mod names;
#[expect(
    dead_code,
    reason = "of the program's, the definition is what counts here"
)]
#[path = "../../src/options.rs"]
mod options;
mod screenshots;
mod terminal;

use std::{env, fs, path::Path, process::Command};

const LSMAPS: &str = env!("CARGO_BIN_EXE_lsmaps");

/// lsmaps, in an environment that says nothing of terminals.
fn lsmaps() -> Command {
    let mut command = Command::new(LSMAPS);
    command.env_clear();
    command
}

/// Whether files are to be rewritten. snapbox has the same variable.
fn overwrites() -> bool {
    env::var_os("SNAPSHOTS").is_some_and(|action| action == "overwrite")
}

/// Fails unless a file has these very bytes, or writes them there.
fn bytes_are_current(path: &Path, bytes: &[u8]) {
    if fs::read(path).is_ok_and(|found| found == bytes) {
        return;
    }
    assert!(
        overwrites(),
        "{} is out of date: see main.rs",
        path.display()
    );
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
