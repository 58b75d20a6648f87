// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which processes are to be listed.

use crate::{
    filter::{glob_set, matches},
    options::{Options, Pid},
};
use anyhow::{Context, Result, bail};
use maps_lockless::Process;
use std::{collections::BTreeSet, error::Error, fmt, fs, process};

/// The kernel keeps so much of a process's name: `TASK_COMM_LEN` less the NUL.
const COMM_LEN: usize = 15;

/// A process that is to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub pid: u32,
    pub tid: Option<u32>,
    /// What it is called, as in /proc/PID/comm. Empty where it is not known.
    pub comm: Vec<u8>,
    /// Whether the user asked for this very process, and not for all that there are of a kind.
    pub named: bool,
}

impl Target {
    pub fn process(&self) -> Process {
        match self.tid {
            None => Process::new(self.pid),
            Some(tid) => Process::thread(self.pid, tid),
        }
    }
}

/// There is no process of the names that were asked for.
#[derive(Debug)]
pub struct NoneRunning(String);

impl fmt::Display for NoneRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no process is called {}", self.0)
    }
}

impl Error for NoneRunning {}

/// The processes that the options ask for, each once, in the order that they were named in.
pub fn select(options: &Options) -> Result<Vec<Target>> {
    let mut targets: Vec<Target> = Vec::new();
    for &pid in &options.pids {
        let pid = match pid {
            Pid::Own => process::id(),
            Pid::Id(pid) => pid,
        };
        if !targets.iter().any(|target| target.pid == pid) {
            targets.push(Target {
                pid,
                tid: options.tid,
                comm: comm(pid),
                named: true,
            });
        }
    }
    if options.tid.is_some() && targets.len() != 1 {
        bail!("--tid goes with one PID");
    }
    if options.all || !options.comm.is_empty() {
        targets.extend(running(options, &targets)?);
    }
    if targets.is_empty() {
        return Err(NoneRunning(options.comm.join(" or ")).into());
    }
    Ok(targets)
}

/// The running processes that are of the names that are asked for, but for those known already.
fn running(options: &Options, known: &[Target]) -> Result<Vec<Target>> {
    let names = glob_set(options.comm.iter().map(String::as_str))?;
    let of_name = |comm: &[u8]| {
        options.all
            || matches(&names, comm)
            // What the kernel has cut off cannot be compared.
            || comm.len() == COMM_LEN && options.comm.iter().any(|name| {
                name.as_bytes().starts_with(comm)
            })
    };
    let known: BTreeSet<u32> = known.iter().map(|target| target.pid).collect();
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc").context("/proc")? {
        let name = entry.context("/proc")?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) {
            pids.push(pid);
        }
    }
    pids.sort_unstable();
    let targets = pids.into_iter().filter(|pid| !known.contains(pid));
    Ok(targets
        .map(|pid| Target {
            pid,
            tid: None,
            comm: comm(pid),
            named: false,
        })
        .filter(|target| of_name(&target.comm))
        .collect())
}

/// A process's name. Empty where it has exited meanwhile: who reads its mappings notices.
pub fn comm(pid: u32) -> Vec<u8> {
    let mut comm = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    comm.truncate(comm.strip_suffix(b"\n").unwrap_or(&comm).len());
    comm
}
