// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lsmaps`: lists the memory mappings of a Linux process.

mod sanitize;

use anyhow::{Context, Result};
use clap::Parser;
use maps_lockless::{
    Completeness, Judgement, Mapping, Marks, Process, Request, Snapshot, Source, text,
};
use std::{
    io::{self, BufWriter, IsTerminal, Write},
    process::ExitCode,
};

/// List the memory mappings of a Linux process.
///
/// They are read from /proc/PID/maps_lockless, which takes no lock of the process, where the kernel
/// has that file, and from /proc/PID/maps elsewhere.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit status: 0 listed, 1 failed or not complete, 2 bad usage."
)]
struct Options {
    /// The process's ID.
    pid: u32,
    /// List what this thread of the process sees: for processes whose main thread has exited.
    #[arg(long, value_name = "TID")]
    tid: Option<u32>,
    /// Read from this file of /proc/PID alone.
    #[arg(long, value_enum, default_value_t = SourceOption::Auto)]
    source: SourceOption,
    /// Write just the mappings, exactly as /proc/PID/maps does.
    #[arg(long)]
    raw: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum SourceOption {
    Auto,
    Lockless,
    Query,
    Maps,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => code,
        // Nobody reads on: silent, as `cat` is, though that dies of SIGPIPE.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lsmaps: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<ExitCode> {
    let process = match options.tid {
        None => Process::new(options.pid),
        Some(tid) => Process::thread(options.pid, tid),
    };
    let request = Request::default();
    let mut reader = match options.source {
        SourceOption::Auto => process.open(&request),
        SourceOption::Lockless => process.open_source(Source::Lockless, &request),
        SourceOption::Query => process.open_source(Source::Query, &request),
        SourceOption::Maps => process.open_source(Source::Maps, &request),
    }?;
    let listing = reader.snapshot()?;
    if listing.source != Source::Lockless && matches!(options.source, SourceOption::Auto) {
        eprintln!(
            "lsmaps: this kernel has no maps_lockless: read /proc/{}/maps, which takes locks of \
             the process",
            options.pid
        );
    }
    write_listing(&listing, options.raw).context("standard output")?;
    Ok(report_end(options.pid, &listing))
}

fn write_listing(listing: &Snapshot, raw: bool) -> io::Result<()> {
    let stdout = io::stdout().lock();
    let escape = !raw && stdout.is_terminal();
    let mut out = BufWriter::new(stdout);
    let mut line = Vec::new();
    for mapping in &listing.mappings {
        line.clear();
        text::write_line(&mut line, &mapping.as_ref())?;
        if !raw {
            mark(&mut line, mapping);
        }
        if escape {
            out.write_all(sanitize::for_terminal(&line).as_bytes())?;
        } else {
            out.write_all(&line)?;
        }
    }
    if !raw {
        writeln!(out, "{}", summary(listing))?;
    }
    out.flush()
}

/// Adds to a line what the kernel had to say against it.
fn mark(line: &mut Vec<u8>, mapping: &Mapping) {
    let mark = match mapping.marks {
        Marks { withheld: true, .. } => "withheld: the range alone is known",
        Marks { unstable: true, .. } => "unstable",
        _ => return,
    };
    line.pop();
    line.extend(format!("  # {mark}\n").as_bytes());
}

/// One line: how many, from where, and what is known of tearing.
fn summary(listing: &Snapshot) -> String {
    let marked = listing
        .mappings
        .iter()
        .filter(|mapping| mapping.marks.is_torn())
        .count();
    let judgement = match listing.judgement {
        Judgement::Consistent => "consistent".to_owned(),
        Judgement::PossiblyTorn => format!("changed while it was read, {marked} marked"),
        _ if listing.mappings.is_empty() => "nothing is mapped".to_owned(),
        _ => "may be torn, the source does not tell".to_owned(),
    };
    format!(
        "# {} mappings from {}, {judgement}",
        listing.mappings.len(),
        listing.source
    )
}

fn report_end(pid: u32, listing: &Snapshot) -> ExitCode {
    match listing.completeness {
        Completeness::Gone => {
            eprintln!(
                "lsmaps: process {pid} exited or called execve meanwhile: the listing is not \
                 complete"
            );
            ExitCode::FAILURE
        }
        Completeness::NoAddressSpace => {
            eprintln!("lsmaps: process {pid} has no memory of its own (kernel thread or zombie)");
            ExitCode::SUCCESS
        }
        _ => ExitCode::SUCCESS,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
