// SPDX-License-Identifier: MIT OR Apache-2.0

//! Follows processes, and writes what changed from one look to the next.

use crate::{
    changes::{Changes, LINE, count},
    filter::Filter,
    listing::Plan,
    options::{Options, SourceOption},
    output::text,
    processes::{self, NoneRunning, Target},
    report::Report,
};
use anyhow::{Context, Result, bail};
use maps_lockless::{Event, Monitor, MonitorOptions, Process, Snapshot};
use std::{
    collections::BTreeMap,
    io::{self, Write},
    thread,
    time::{Duration, Instant},
};

/// Without being asked, a process that changes all the time is read so often in one look.
const ATTEMPTS: u32 = 3;

/// Looks until each process that was named has exited. Those of a name, and all, are looked for each time.
pub fn watch(options: &Options, filter: &Filter, interval: Duration) -> Result<Report> {
    let plan = Plan::new(options, filter, &LINE);
    let lockless_only = match options.source {
        SourceOption::Auto => false,
        SourceOption::Lockless => true,
        _ => bail!("--watch reads from auto or from lockless"),
    };
    let mut watch = Watch {
        monitor: Monitor::new(MonitorOptions {
            request: plan.request,
            attempts: plan.attempts.unwrap_or(ATTEMPTS),
            interval: interval / 2,
            lockless_only,
            ..MonitorOptions::default()
        }),
        changes: Changes::new(options, filter),
        filter,
        targets: BTreeMap::new(),
        report: Report::default(),
    };
    let looks_for_more = options.all || !options.comm.is_empty();
    let mut first = true;
    loop {
        let begin = Instant::now();
        if first || looks_for_more {
            let targets = match processes::select(options) {
                // Those that come later are found.
                Err(error) if error.is::<NoneRunning>() => {
                    if first {
                        eprintln!("lsmaps: {error}: waiting for one");
                    }
                    Vec::new()
                }
                result => result?,
            };
            for target in targets {
                // A process that was named is not looked for again.
                if first || !target.named {
                    watch.follow(target)?;
                }
            }
        }
        watch.look(first).context("standard output")?;
        first = false;
        if watch.monitor.is_empty() && !looks_for_more {
            watch.report.finish();
            return Ok(watch.report);
        }
        thread::sleep(interval.saturating_sub(begin.elapsed()));
    }
}

struct Watch<'a> {
    monitor: Monitor<u32>,
    changes: Changes<'a>,
    filter: &'a Filter,
    /// Those that are followed.
    targets: BTreeMap<u32, Target>,
    report: Report,
}

impl Watch<'_> {
    fn follow(&mut self, target: Target) -> Result<()> {
        if self.targets.contains_key(&target.pid) {
            return Ok(());
        }
        let process = match target.tid {
            None => Process::pinned(target.pid),
            Some(_) => Ok(target.process()),
        };
        match process.and_then(|process| self.monitor.add(target.pid, process)) {
            Ok(()) => {
                self.targets.insert(target.pid, target);
                Ok(())
            }
            Err(error) => self.report.failed(&target, error.into()),
        }
    }

    fn look(&mut self, first: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for (pid, event) in self.monitor.poll() {
            let Some(target) = self.targets.get(&pid) else {
                continue;
            };
            match event {
                Event::New(snapshot) => {
                    self.report.listed();
                    let verb = if first { "is watched" } else { "is new" };
                    let note = format!("{verb}, {}", self.describe(&snapshot));
                    self.changes.title(&mut out, target, &note)?;
                }
                Event::Changed { before, after } => {
                    let changes = self.changes.wanted(&before, &after);
                    if changes.is_empty() && self.changes.unknown(&after) == 0 {
                        continue;
                    }
                    let changed = count(changes.len());
                    let note = format!("{changed}, {}", self.believed(&after));
                    self.changes.title(&mut out, target, &note)?;
                    for change in &changes {
                        self.changes.write(&mut out, target, change)?;
                    }
                }
                Event::Replaced { after, .. } => {
                    let comm = processes::comm(pid);
                    let target = Target {
                        comm,
                        ..target.clone()
                    };
                    let note = format!("called execve, {}", self.describe(&after));
                    self.changes.title(&mut out, &target, &note)?;
                    self.targets.insert(pid, target);
                }
                Event::Exited => {
                    self.changes.title(&mut out, target, "exited")?;
                    self.targets.remove(&pid);
                }
                Event::Failed(error) => {
                    let target = target.clone();
                    if error.is_unsupported() {
                        // It would be for ever.
                        self.monitor.remove(&pid);
                        self.targets.remove(&pid);
                    }
                    // Not the output's.
                    let _ = self.report.failed(&target, error.into());
                }
                _ => {}
            }
        }
        out.flush()
    }

    fn describe(&self, snapshot: &Snapshot) -> String {
        let mappings = snapshot.mappings.iter();
        let wanted = mappings.filter(|mapping| self.filter.wants(&mapping.as_ref()));
        format!(
            "{} mappings, from {}, {}",
            wanted.count(),
            snapshot.source,
            self.believed(snapshot)
        )
    }

    /// What may be believed of a snapshot.
    fn believed(&self, snapshot: &Snapshot) -> String {
        let judgement = snapshot.judgement;
        match self.changes.unknown(snapshot) {
            0 => judgement.to_string(),
            count => format!("{judgement}, {}", text::unknown(count)),
        }
    }
}
