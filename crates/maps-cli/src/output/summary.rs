// SPDX-License-Identifier: MIT OR Apache-2.0

//! Totals: of each process by kind with a picture of its address space, or just how many mappings.

use super::{Output, Style, footer::Footer, layout::Layout, tell_unknown, text};
use crate::{
    columns::{Column, Row, kind},
    listing::{Verdict, is_writable_executable},
    processes::Target,
};
use std::io::{self, Write};

/// Kinds, in the order in which they are shown. Code is told from other files.
const KINDS: [(&str, &str); 8] = [
    ("code", "executable files"),
    ("file", "other files"),
    ("heap", "heap of brk(2)"),
    ("stack", "stack of the main thread"),
    ("anon", "anonymous memory"),
    ("shmem", "named shared memory"),
    ("special", "of the kernel"),
    ("unknown", "withheld, or not told by the source"),
];

/// The columns that totals are made of.
pub const COLUMNS: [Column; 2] = [Column::Kind, Column::Perms];

/// Writes totals.
pub struct Summary<W> {
    style: Style,
    /// Nothing but the number.
    count: bool,
    out: W,
    /// Mappings and bytes by kind.
    kinds: [(u64, u64); KINDS.len()],
    writable_executable: (u64, u64),
    layout: Layout,
    footer: Footer,
    /// What is held back until it is known whether another process follows.
    counted: Option<(Target, u64)>,
    several: bool,
}

impl<W: Write> Summary<W> {
    pub fn new(style: Style, count: bool, out: W) -> Self {
        Self {
            style,
            count,
            out,
            kinds: Default::default(),
            writable_executable: (0, 0),
            layout: Layout::default(),
            footer: Footer::default(),
            counted: None,
            several: false,
        }
    }

    fn write_count(&mut self) -> io::Result<()> {
        if let Some((target, mappings)) = self.counted.take() {
            if self.several {
                self.out.write_all(&text::title(&target))?;
                self.out.write_all(b": ")?;
            }
            writeln!(self.out, "{mappings}")?;
        }
        Ok(())
    }

    fn write_kinds(&mut self) -> io::Result<()> {
        let wide = if self.style.bytes { 15 } else { 5 };
        if self.style.headings {
            writeln!(
                self.out,
                "{:<8} {:>8} {:>wide$}",
                "KIND", "MAPPINGS", "SIZE"
            )?;
        }
        for ((kind, meaning), (count, bytes)) in KINDS.iter().zip(self.kinds) {
            if count > 0 {
                let size = self.style.size(bytes);
                writeln!(self.out, "{kind:<8} {count:>8} {size:>wide$}  {meaning}")?;
            }
        }
        let (count, bytes) = self.writable_executable;
        if count > 0 {
            let size = self.style.size(bytes);
            let line = format!(
                "{:<8} {count:>8} {size:>wide$}  writable and executable, of these",
                "w+x"
            );
            match self.style.color {
                true => {
                    let alarm = anstyle::AnsiColor::BrightRed.on_default().bold();
                    writeln!(self.out, "{alarm}{line}{alarm:#}")?;
                }
                false => writeln!(self.out, "{line}")?,
            }
        }
        Ok(())
    }
}

impl<W: Write> Output for Summary<W> {
    fn begin(&mut self, _: &Target) -> io::Result<()> {
        if self.counted.is_some() {
            self.several = true;
            self.write_count()?;
        }
        Ok(())
    }

    fn mapping(&mut self, row: &Row<'_>) -> io::Result<()> {
        if self.count {
            return Ok(());
        }
        let mapping = row.mapping;
        let kind = match kind(mapping) {
            Some("file") if mapping.permissions().is_some_and(|p| p.execute) => "code",
            kind => kind.unwrap_or("unknown"),
        };
        let bytes = mapping.end.saturating_sub(mapping.start);
        let add = |(count, sum): &mut (u64, u64)| (*count, *sum) = (*count + 1, *sum + bytes);
        for ((known, _), total) in KINDS.iter().zip(&mut self.kinds) {
            if *known == kind {
                add(total);
            }
        }
        if is_writable_executable(mapping) {
            add(&mut self.writable_executable);
        }
        self.layout.add(mapping);
        Ok(())
    }

    fn end(&mut self, target: &Target, result: Result<&Verdict, &str>) -> io::Result<()> {
        let Ok(verdict) = result else { return Ok(()) };
        if self.count {
            tell_unknown(target, verdict);
            self.counted = Some((target.clone(), verdict.totals.mappings));
            return Ok(());
        }
        if !self.footer.is_empty() {
            writeln!(self.out)?;
        }
        self.footer.add(target, verdict);
        self.out.write_all(&text::title(target))?;
        writeln!(self.out)?;
        if verdict.totals.mappings > 0 {
            self.write_kinds()?;
            self.layout.write(&mut self.out, self.style.color)?;
        }
        if !verdict.unknown.is_empty() {
            let sizes = verdict.unknown.iter();
            let sizes = sizes.map(|range| range.end.saturating_sub(range.start));
            let size = self.style.size(sizes.fold(0, u64::saturating_add));
            let ranges = text::unknown(verdict.unknown.len());
            writeln!(self.out, "{ranges}, {size}, may hold more mappings")?;
        }
        self.kinds = Default::default();
        self.writable_executable = (0, 0);
        self.layout = Layout::default();
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.write_count()?;
        self.footer.write(&mut self.out, &self.style)?;
        self.out.flush()
    }
}
