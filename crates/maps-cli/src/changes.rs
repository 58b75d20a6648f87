// SPDX-License-Identifier: MIT OR Apache-2.0

//! What changed from one listing of a process to another, as text.

use crate::{
    capture,
    columns::{Column, Row},
    filter::Filter,
    listing::Plan,
    options::Options,
    output::{Style, text},
    processes::{self, Target},
    report::Report,
    sanitize,
};
use anstyle::{AnsiColor, Style as Ansi};
use anyhow::{Context, Result, anyhow};
use maps_lockless::{BuildId, CapturedProcess, Change, Difference, Mapping, Snapshot, VmaFlags};
use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

/// What is shown of a mapping.
pub const LINE: [Column; 6] = [
    Column::Start,
    Column::End,
    Column::Perms,
    Column::Size,
    Column::Offset,
    Column::Name,
];

/// Writes what changed since a capture, up to now or up to another capture.
pub fn since(options: &Options, filter: &Filter, path: &Path) -> Result<Report> {
    let mut out = BufWriter::new(io::stdout().lock());
    let changes = Changes::new(options, filter);
    let mut report = Report::default();
    let now = match &options.from_file {
        None => None,
        Some(file) => Some(capture::read(options, file)?.collect::<Result<Vec<_>>>()?),
    };
    let plan = Plan::of_all_fields(options, filter);
    let mut captured = capture::read(options, path)?;
    while let Some(before) = captured.next() {
        let before = before?;
        let mut target = captured.target(&before);
        // Of each, its absence is told.
        target.named = true;
        match later(&plan, &target, now.as_deref()) {
            Ok(after) => {
                changes.write_since(&mut out, &target, &before, &after)?;
                report.listed();
            }
            Err(error) => report.failed(&target, error)?,
        }
    }
    for (target, error) in captured.missing() {
        report.failed(&target, error)?;
    }
    out.flush().context("standard output")?;
    report.finish();
    Ok(report)
}

/// A process's listing that is compared with an earlier one.
fn later(
    plan: &Plan<'_>,
    target: &Target,
    captured: Option<&[CapturedProcess]>,
) -> Result<CapturedProcess> {
    let mut after = match captured {
        Some(captured) => captured
            .iter()
            .find(|process| (process.pid, process.tid) == (target.pid, target.tid))
            .ok_or_else(|| anyhow!("is not in the other capture"))?
            .clone(),
        None => {
            let comm = processes::comm(target.pid);
            capture::live(
                plan,
                &Target {
                    comm,
                    ..target.clone()
                },
            )?
        }
    };
    after.snapshot.normalize();
    Ok(after)
}

/// Writes changes.
pub struct Changes<'a> {
    filter: &'a Filter,
    style: Style,
}

impl<'a> Changes<'a> {
    pub fn new(options: &Options, filter: &'a Filter) -> Self {
        Self {
            filter,
            style: Style::new(options),
        }
    }

    fn write_since(
        &self,
        out: &mut dyn Write,
        target: &Target,
        before: &CapturedProcess,
        after: &CapturedProcess,
    ) -> io::Result<()> {
        let mut old = before.snapshot.clone();
        old.normalize();
        let changes = self.wanted(&old, &after.snapshot);
        let seconds = after.time.saturating_sub(before.time).as_secs();
        let mut note = format!("{} in {seconds} s", count(changes.len()));
        let ids = (old.token, after.snapshot.token);
        if matches!(ids, (Some(old), Some(new)) if old.mm_id != new.mm_id) {
            note += ", in another address space: it called execve, or another process has its ID";
        }
        for (snapshot, when) in [(&old, "before"), (&after.snapshot, "now")] {
            match self.unknown(snapshot) {
                0 => {}
                count => note += &format!(", {} {when}", text::unknown(count)),
            }
        }
        if !after.label.is_empty() && after.label != before.label {
            note += ", and it has another name now";
        }
        self.title(out, target, &note)?;
        changes
            .iter()
            .try_for_each(|change| self.write(out, target, change))
    }

    /// What changed of what is wanted.
    pub fn wanted<'b>(&self, before: &'b Snapshot, after: &'b Snapshot) -> Vec<Change<'b>> {
        let wants = |mapping: &Mapping| self.filter.wants(&mapping.as_ref());
        let mut changes = before.diff(after);
        changes.retain(|change| match change {
            Change::Added(mapping) | Change::Removed(mapping) => wants(mapping),
            Change::Changed { before, after, .. } => wants(before) || wants(after),
        });
        changes
    }

    /// How many ranges of what is wanted there are of which nothing is known. What they hold is in no
    /// change.
    pub fn unknown(&self, snapshot: &Snapshot) -> usize {
        let wanted = snapshot.unknown.iter();
        wanted.filter(|range| self.filter.meets(range)).count()
    }

    /// `1234 bash: 3 changes`.
    pub fn title(&self, out: &mut dyn Write, target: &Target, note: &str) -> io::Result<()> {
        self.colored(out, Ansi::new().bold(), &text::title(target))?;
        writeln!(out, ": {note}")
    }

    /// A change, in a line.
    pub fn write(
        &self,
        out: &mut dyn Write,
        target: &Target,
        change: &Change<'_>,
    ) -> io::Result<()> {
        let (sign, color, mapping) = match change {
            Change::Added(mapping) => ('+', AnsiColor::Green, mapping),
            Change::Removed(mapping) => ('-', AnsiColor::Red, mapping),
            Change::Changed { after, .. } => ('~', AnsiColor::Yellow, after),
        };
        let mut line = format!("{sign} ").into_bytes();
        self.mapping(&mut line, target, mapping);
        if let Change::Changed {
            before,
            after,
            difference,
        } = change
        {
            line.extend(b"  # ");
            self.difference(&mut line, target, (before, after), difference);
        }
        self.colored(out, color.on_default(), &line)?;
        out.write_all(b"\n")
    }

    fn mapping(&self, line: &mut Vec<u8>, target: &Target, mapping: &Mapping) {
        for column in LINE {
            let before = line.len();
            self.cell(line, target, mapping, column);
            // An offset of nothing, say.
            if line.len() > before {
                line.push(if column == Column::Start { b'-' } else { b' ' });
            }
        }
        line.pop();
    }

    fn cell(&self, line: &mut Vec<u8>, target: &Target, mapping: &Mapping, column: Column) {
        let row = Row {
            target,
            mapping: &mapping.as_ref(),
            address: None,
        };
        let value = column.value(&row);
        text::write(line, &value, self.style.bytes, sanitize::for_terminal);
    }

    /// What was otherwise before.
    fn difference(
        &self,
        line: &mut Vec<u8>,
        target: &Target,
        (before, after): (&Mapping, &Mapping),
        difference: &Difference,
    ) {
        let mut was = |what: &str, columns: &[Column]| {
            if line.last() != Some(&b' ') {
                line.extend(b", ");
            }
            line.extend(what.as_bytes());
            for (i, column) in columns.iter().enumerate() {
                if i > 0 {
                    line.push(b'-');
                }
                self.cell(line, target, before, *column);
            }
        };
        if difference.is_resized() {
            was("was ", &[Column::Start, Column::End]);
        }
        if difference.is_reprotected() {
            was("was ", &[Column::Perms]);
        }
        let flags = |flags| VmaFlags {
            set: flags & difference.flags,
            known: u64::MAX,
        };
        // Permissions are told already.
        let told = ["rd", "wr", "ex", "ms"];
        for (sign, set) in [('+', after.flags.set), ('-', before.flags.set)] {
            for name in flags(set).smaps_names().filter(|name| !told.contains(name)) {
                was(&format!("{sign}{name}"), &[]);
            }
        }
        if difference.renamed {
            match before.name {
                // Only whether the file was unlinked differs.
                _ if before.name == after.name && before.deleted == Some(true) => {
                    was("was deleted", &[]);
                }
                _ if before.name == after.name => was("was not deleted", &[]),
                maps_lockless::Name::None => was("had no name", &[]),
                _ => was("was called ", &[Column::Name]),
            }
        }
        if difference.remapped {
            was("maps something else, or at another offset", &[]);
        }
        if difference.build_id {
            match before.build_id {
                BuildId::Present(_) => was("had build ID ", &[Column::BuildId]),
                _ => was("had no build ID", &[]),
            }
        }
        if difference.page_size {
            was("had pages of ", &[Column::PageSize]);
        }
        if difference.pkey {
            was("had protection key ", &[Column::Pkey]);
        }
    }

    fn colored(&self, out: &mut dyn Write, color: Ansi, text: &[u8]) -> io::Result<()> {
        if !self.style.color {
            return out.write_all(text);
        }
        write!(out, "{color}")?;
        out.write_all(text)?;
        write!(out, "{color:#}")
    }
}

/// `1 change`.
pub fn count(changes: usize) -> String {
    match changes {
        1 => "1 change".into(),
        _ => format!("{changes} changes"),
    }
}
