// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lsmaps`: lists the memory mappings of Linux processes.

mod capture;
mod changes;
mod columns;
mod filter;
mod list;
mod listing;
mod options;
mod output;
mod processes;
mod report;
mod sanitize;
mod size;
mod watch;

use anyhow::{Context, Error, Result};
use clap::Parser;
use columns::Column;
use filter::Filter;
use options::{Options, SHORT_HELP};
use processes::NoneRunning;
use report::{NONE, Report, USAGE};
use std::{
    io::{self, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(message) => {
            // Help and version are no errors. Where nobody reads them, nothing is lost.
            let _ = message.print();
            return match message.use_stderr() {
                true => ExitCode::from(USAGE),
                false => ExitCode::SUCCESS,
            };
        }
    };
    match run(&options) {
        Ok(report) => report.exit_code(),
        // Nobody reads on: silent, as others are, though those die of SIGPIPE.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lsmaps: {error:#}");
            ExitCode::from(match error.is::<NoneRunning>() {
                true => NONE,
                false => USAGE,
            })
        }
    }
}

fn run(options: &Options) -> Result<Report> {
    if options.short_help {
        let written = io::stdout().write_all(SHORT_HELP.as_bytes());
        written.context("standard output")?;
        return Ok(Report::default());
    }
    if options.list_columns {
        list_columns().context("standard output")?;
        return Ok(Report::default());
    }
    let filter = Filter::new(options)?;
    if let Some(interval) = options.watch {
        watch::watch(options, &filter, interval)
    } else if let Some(file) = &options.record {
        capture::record(options, &filter, file)
    } else if let Some(file) = &options.diff {
        changes::since(options, &filter, file)
    } else {
        list::list(options, &filter)
    }
}

fn list_columns() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for column in Column::all() {
        writeln!(out, "{:>12}  {}", column.name(), column.help())?;
    }
    Ok(())
}

fn is_broken_pipe(error: &Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
