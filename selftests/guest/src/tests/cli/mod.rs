// SPDX-License-Identifier: MIT OR Apache-2.0

//! lsmaps, as a user runs it, on live processes.

mod errors;
mod formats;
mod many;
mod select;
mod terminal;
mod time;

use super::Test;
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    process::{Command, Output, Stdio},
};

pub(super) fn tests() -> Vec<Test> {
    [
        select::tests(),
        formats::tests(),
        time::tests(),
        errors::tests(),
        terminal::tests(),
        many::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// lsmaps, to be run.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new("/bin/lsmaps");
    command.args(args).stdin(Stdio::null());
    command
}

/// What lsmaps did.
pub(super) struct Ran {
    pub(super) status: Option<i32>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

impl TryFrom<Output> for Ran {
    type Error = anyhow::Error;

    fn try_from(output: Output) -> Result<Self> {
        Ok(Self {
            status: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr)?,
        })
    }
}

impl Ran {
    /// Fails unless it ended with this status, and said this on standard error.
    fn expect(self, status: i32, stderr: &str) -> Result<Self> {
        ensure!(
            self.status == Some(status),
            "{:?}: {}",
            self.status,
            self.stderr
        );
        ensure!(self.stderr.contains(stderr), "{}", self.stderr);
        Ok(self)
    }

    fn text(&self) -> Result<&str> {
        Ok(std::str::from_utf8(&self.stdout)?)
    }
}

/// Runs lsmaps, however it ends.
pub(super) fn lsmaps(args: &[&str]) -> Result<Ran> {
    command(args).output()?.try_into()
}

/// Runs lsmaps, which must have nothing to complain of. Returns what it wrote.
fn good(args: &[&str]) -> Result<Vec<u8>> {
    let ran = lsmaps(args)?
        .expect(0, "")
        .with_context(|| args.join(" "))?;
    ensure!(ran.stderr.is_empty(), "{args:?}: {}", ran.stderr);
    Ok(ran.stdout)
}

fn good_text(args: &[&str]) -> Result<String> {
    Ok(String::from_utf8(good(args)?)?)
}

/// A line of maps.
struct MapsLine {
    line: String,
    start: u64,
    end: u64,
    perms: String,
    offset: u64,
    device: String,
    inode: u64,
    name: String,
}

/// Reads maps, of a process whose names are text.
fn maps(pid: u32) -> Result<Vec<MapsLine>> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    text.lines()
        .map(|line| MapsLine::new(line).with_context(|| line.to_owned()))
        .collect()
}

impl MapsLine {
    fn new(line: &str) -> Option<Self> {
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some(Self {
            line: line.to_owned(),
            start: number(start)?,
            end: number(end)?,
            perms: fields.next()?.to_owned(),
            offset: number(fields.next()?)?,
            device: fields.next()?.to_owned(),
            inode: fields.next()?.parse().ok()?,
            name: fields.next().unwrap_or_default().trim_start().to_owned(),
        })
    }

    fn is_file(&self) -> bool {
        self.inode != 0 || self.device != "00:00"
    }
}
