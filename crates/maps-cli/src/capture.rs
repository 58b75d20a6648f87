// SPDX-License-Identifier: MIT OR Apache-2.0

//! Captures: files of listings, written on one machine and read on another.

use crate::{
    filter::Filter,
    listing::Plan,
    options::{Options, Pid},
    output::text,
    processes::{self, Target},
    report::Report,
};
use anyhow::{Context, Error, Result, anyhow, bail};
use maps_lockless::{CaptureReader, CaptureWriter, CapturedProcess, Completeness};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

/// Writes the processes that the options ask for to a file. One that is there is replaced once all is
/// written.
pub fn record(options: &Options, filter: &Filter, path: &Path) -> Result<Report> {
    let name = || path.display().to_string();
    let plan = Plan::of_all_fields(options, filter);
    let mut report = Report::default();
    let target_file = Destination::create(path).with_context(name)?;
    let file = BufWriter::new(target_file.file.try_clone().with_context(name)?);
    let mut writer = CaptureWriter::create(file).with_context(name)?;
    let (mut processes, mut mappings, mut unknown) = (0, 0, 0);
    for target in processes::select(options)? {
        let mut captured = match live(&plan, &target) {
            Ok(captured) => captured,
            Err(error) => {
                report.failed(&target, error)?;
                continue;
            }
        };
        let listed = &mut captured.snapshot.mappings;
        listed.retain(|mapping| filter.wants(&mapping.as_ref()));
        writer.add(&captured).with_context(name)?;
        report.listed();
        processes += 1;
        mappings += captured.snapshot.mappings.len();
        unknown += captured.snapshot.unknown.len();
    }
    report.finish();
    if processes == 0 {
        // What was there before stays.
        return Ok(report);
    }
    writer.finish().with_context(name)?;
    target_file.keep(path).with_context(name)?;
    let plural = if processes == 1 { "" } else { "es" };
    let mut told = format!("{processes} process{plural}, {mappings} mappings");
    if unknown > 0 {
        told += &format!(", {}", text::unknown(unknown));
    }
    eprintln!("lsmaps: {}: {told}", name());
    Ok(report)
}

/// A live process's listing, whole, with what it is called.
pub fn live(plan: &Plan<'_>, target: &Target) -> Result<CapturedProcess> {
    let snapshot = plan.snapshot(&target.process())?;
    if snapshot.completeness == Completeness::Gone {
        return Err(anyhow!("it exited or called execve meanwhile"));
    }
    let mut captured = CapturedProcess::new(target.pid, snapshot);
    captured.tid = target.tid;
    captured.label = String::from_utf8_lossy(&target.comm).into_owned();
    Ok(captured)
}

/// A file that appears under its name once it is whole.
struct Destination {
    file: File,
    /// Where it is until then. None: it has its name already, for it is a pipe or the like.
    temporary: Option<PathBuf>,
}

impl Destination {
    fn create(path: &Path) -> std::io::Result<Self> {
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            let file = File::options().write(true).open(path)?;
            return Ok(Self {
                file,
                temporary: None,
            });
        }
        let mut temporary = OsString::from(path);
        temporary.push(format!(".{}.tmp", std::process::id()));
        Ok(Self {
            file: File::create_new(&temporary)?,
            temporary: Some(temporary.into()),
        })
    }

    fn keep(mut self, path: &Path) -> std::io::Result<()> {
        match self.temporary.take() {
            Some(temporary) => fs::rename(temporary, path),
            None => self.file.flush(),
        }
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // It is of no use, and the error that led here is told already.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// The processes of a capture that the options name: all, if they name none.
pub struct Selected<'a> {
    path: &'a Path,
    reader: CaptureReader<File>,
    /// Empty: all.
    wanted: Vec<u32>,
    /// Those that were not met.
    missing: Vec<u32>,
}

pub fn read<'a>(options: &Options, path: &'a Path) -> Result<Selected<'a>> {
    let name = || path.display().to_string();
    let file = File::open(path).with_context(name)?;
    let mut wanted = Vec::new();
    for pid in &options.pids {
        match *pid {
            Pid::Id(pid) if wanted.contains(&pid) => {}
            Pid::Id(pid) => wanted.push(pid),
            Pid::Own => bail!("self is in no capture"),
        }
    }
    Ok(Selected {
        path,
        reader: CaptureReader::new(file).with_context(name)?,
        missing: wanted.clone(),
        wanted,
    })
}

impl Iterator for Selected<'_> {
    type Item = Result<CapturedProcess>;

    fn next(&mut self) -> Option<Self::Item> {
        let wanted = &self.wanted;
        let found = self.reader.find(|captured| match captured {
            Ok(captured) => wanted.is_empty() || wanted.contains(&captured.pid),
            Err(_) => true,
        })?;
        if let Ok(captured) = &found {
            self.missing.retain(|pid| *pid != captured.pid);
        }
        Some(found.with_context(|| self.path.display().to_string()))
    }
}

impl Selected<'_> {
    /// At the end: what was named and is not there, and the error that says so.
    pub fn missing(&self) -> impl Iterator<Item = (Target, Error)> {
        self.missing.iter().map(|&pid| {
            let target = Target {
                pid,
                tid: None,
                comm: Vec::new(),
                named: true,
            };
            (target, anyhow!("is not in {}", self.path.display()))
        })
    }

    /// Whose listing the capture holds.
    pub fn target(&self, captured: &CapturedProcess) -> Target {
        Target {
            pid: captured.pid,
            tid: captured.tid,
            comm: captured.label.clone().into_bytes(),
            named: !self.wanted.is_empty(),
        }
    }
}
