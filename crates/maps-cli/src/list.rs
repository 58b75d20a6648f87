// SPDX-License-Identifier: MIT OR Apache-2.0

//! Lists processes, live ones or those of a capture.

use crate::{
    capture,
    filter::Filter,
    listing::{Each, Item, Plan, Verdict},
    options::Options,
    output::{self, Output},
    processes::{self, Target},
    report::Report,
};
use anyhow::{Context, Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use maps_lockless::Completeness;
use std::io::{self, BufWriter, IsTerminal};

/// As much as a pipe takes at once.
const BUFFER: usize = 64 << 10;

/// Lists what the options ask for.
pub fn list(options: &Options, filter: &Filter) -> Result<Report> {
    let several = options.pids.len() > 1 || options.all || !options.comm.is_empty();
    let several = several || options.from_file.is_some() && options.pids.len() != 1;
    let columns = output::columns(options, several)?;
    let plan = Plan::new(options, filter, &columns);
    let out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
    let out = output::new(options, &columns, out);
    let mut lister = Lister {
        out,
        report: Report::default(),
        nowhere: None,
    };
    match &options.from_file {
        Some(file) => {
            let mut selected = capture::read(options, file)?;
            while let Some(captured) = selected.next() {
                let captured = captured?;
                let target = selected.target(&captured);
                lister.one(&target, |each| plan.replay(&target, &captured, each))?;
            }
            for (target, error) in selected.missing() {
                lister.one(&target, |_| Err(error))?;
            }
        }
        None => {
            let targets = processes::select(options)?;
            let progress = progress(targets.len());
            for target in &targets {
                lister.one(target, |each| plan.read(target, each))?;
                progress.inc(1);
            }
            progress.finish_and_clear();
        }
    }
    lister.out.finish().context("standard output")?;
    for address in lister.nowhere.unwrap_or_default() {
        lister.report.missing(address);
    }
    lister.report.finish();
    Ok(lister.report)
}

struct Lister<'a> {
    out: Box<dyn Output + 'a>,
    report: Report,
    /// Addresses that none of the processes has that were not named one by one.
    nowhere: Option<Vec<u64>>,
}

impl Lister<'_> {
    fn one(
        &mut self,
        target: &Target,
        read: impl FnOnce(&mut Each<'_>) -> Result<Verdict>,
    ) -> Result<()> {
        self.out.begin(target)?;
        let result = read(&mut |item| match item {
            Item::Mapping(row) => self.out.mapping(row),
            Item::Unknown(range) => self.out.unknown(target, range),
        });
        match result {
            Ok(verdict) => {
                self.out.end(target, Ok(&verdict))?;
                self.judge(target, verdict)
            }
            Err(error) => {
                if !error.is::<io::Error>() {
                    self.out.end(target, Err(&format!("{error:#}")))?;
                }
                self.report.failed(target, error)
            }
        }
    }

    /// Tells a listing that is whole from one that is not.
    fn judge(&mut self, target: &Target, verdict: Verdict) -> Result<()> {
        match verdict.completeness {
            Completeness::Gone if target.named => {
                let text = "it exited or called execve meanwhile: the listing is not complete";
                return self.report.failed(target, anyhow!(text));
            }
            Completeness::NoAddressSpace => {
                let text = "it has no memory of its own: a kernel thread, or a zombie";
                self.report.note(target, text);
            }
            _ => {}
        }
        let all_found = verdict.missing.is_empty() && verdict.unproved.is_empty();
        if all_found || verdict.totals.mappings > 0 {
            self.report.listed();
        }
        for error in verdict.unproved {
            self.report.failed(target, error)?;
        }
        if !target.named {
            // Of many processes, few have an address.
            let nowhere = self.nowhere.get_or_insert(verdict.missing.clone());
            nowhere.retain(|address| verdict.missing.contains(address));
            return Ok(());
        }
        for address in &verdict.missing {
            let error = anyhow!("nothing is mapped at {address:x}");
            self.report.failed(target, error)?;
        }
        Ok(())
    }
}

/// On standard error, where it is a terminal that does not show the listing already.
fn progress(processes: usize) -> ProgressBar {
    if processes < 2 || !io::stderr().is_terminal() || io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("lsmaps: {pos} of {len} processes");
    ProgressBar::new(processes as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
