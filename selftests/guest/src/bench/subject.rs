// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process that rests while it is measured how its mappings are read.

use super::rows::Row;
use crate::child::Target;
use anyhow::{Context, Result, ensure};
use maps_lockless::{Mapping, Process, Request, Source};
use std::{env, fs};

/// The process of a row.
pub struct Subject {
    /// The row.
    pub row: Row,
    /// All its mappings, those that every process has among them, but for the page of system calls, which lies
    /// in the kernel's half.
    pub mappings: Vec<Mapping>,
    target: Target,
}

/// The kernel's addresses begin here.
const KERNEL: u64 = 1 << 63;

/// Lifts the kernel's limit, for all processes.
pub fn permit_many_vmas() -> Result<()> {
    for (setting, value) in [
        ("/proc/sys/vm/max_map_count", "2000000"),
        // They map more than the VM has, and touch none of it.
        ("/proc/sys/vm/overcommit_memory", "1"),
    ] {
        fs::write(setting, value).context(setting)?;
    }
    Ok(())
}

impl Subject {
    /// Starts the process of a row, and waits until it rests.
    pub fn start(row: Row) -> Result<Self> {
        let target = Target::start_program(env::current_exe()?, &row.process())?;
        let process = Process::new(target.pid());
        let mut reader = process.open_source(Source::Maps, &Request::default())?;
        let mut mappings = reader.snapshot()?.mappings;
        mappings.retain(|mapping| mapping.start < KERNEL);
        let others = mappings.len().saturating_sub(row.count);
        ensure!(
            mappings.len() >= row.count && others < 40,
            "{} VMAs for {}: some were merged, or none were made",
            mappings.len(),
            row.count
        );
        Ok(Self {
            row,
            mappings,
            target,
        })
    }

    /// Has it make its round of changes, or get ready for that where it is the first time.
    pub fn change(&mut self) -> Result<()> {
        let said = self.target.ask()?;
        ensure!(said == "done\n", "the process ended: {said:?}");
        Ok(())
    }

    /// The process's ID.
    pub fn pid(&self) -> u32 {
        self.target.pid()
    }
}
