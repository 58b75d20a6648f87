// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who may open the file: exactly who may open maps.

use super::Test;
use crate::child::Target;
use anyhow::{Result, ensure};
use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

/// A user who may do nothing.
pub(super) const NOBODY: u32 = 65_534;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("access: another user's process is refused", refused),
        Test::new("access: one's own process is not", allowed),
    ]
}

/// Whether a user who is not root can read a file.
fn can_read(path: &str) -> Result<bool> {
    let status = Command::new("/bin/cat")
        .arg(path)
        .uid(NOBODY)
        .gid(NOBODY)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    Ok(status.success())
}

fn refused() -> Result<()> {
    let target = Target::start("plain")?;
    for file in ["maps", "maps_lockless"] {
        let path = format!("/proc/{}/{file}", target.pid());
        ensure!(!can_read(&path)?, "{path}");
    }
    Ok(())
}

fn allowed() -> Result<()> {
    for file in ["maps", "maps_lockless"] {
        ensure!(can_read(&format!("/proc/self/{file}"))?, "{file}");
    }
    Ok(())
}
