// SPDX-License-Identifier: MIT OR Apache-2.0

//! The last line: how much, from where, and what is known of tearing.

use super::Style;
use crate::{
    listing::{Totals, Verdict},
    processes::Target,
};
use maps_lockless::{Judgement, Source};
use std::{
    fmt::Write as _,
    io::{self, Write},
};

/// So many processes are named.
const NAMED: usize = 8;

/// Collects what the last line says.
#[derive(Default)]
pub struct Footer {
    processes: u64,
    totals: Totals,
    sources: Vec<Source>,
    /// Those that were changing their mappings.
    torn: Vec<u32>,
    /// How many of which nothing is known.
    unknown: u64,
}

impl Footer {
    pub fn add(&mut self, target: &Target, verdict: &Verdict) {
        self.processes += 1;
        self.totals.add(&verdict.totals);
        if !self.sources.contains(&verdict.source) {
            self.sources.push(verdict.source);
        }
        match verdict.judgement {
            Judgement::Consistent => {}
            Judgement::PossiblyTorn => self.torn.push(target.pid),
            _ => self.unknown += 1,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.processes == 0
    }

    /// Writes it, unless no process was listed, or it is not wanted.
    pub fn write(&self, out: &mut impl Write, style: &Style) -> io::Result<()> {
        if self.is_empty() || !style.headings {
            return Ok(());
        }
        let size = style.size(self.totals.bytes);
        let mut line = String::from("# ");
        if self.processes > 1 {
            line += &format!("{} processes, ", self.processes);
        }
        let mappings = self.totals.mappings;
        let plural = if mappings == 1 { "" } else { "s" };
        line += &format!("{mappings} mapping{plural}, {size}, ");
        if self.totals.writable_executable > 0 {
            line += &format!(
                "{} writable and executable, ",
                self.totals.writable_executable
            );
        }
        let sources: Vec<String> = self.sources.iter().map(Source::to_string).collect();
        line += &format!("from {}, ", sources.join(" and "));
        line += &self.judgement();
        writeln!(out, "{line}")
    }

    fn judgement(&self) -> String {
        let marked = self.totals.marked;
        if !self.torn.is_empty() {
            let mut said = "changed while it was read".to_owned();
            if self.processes > 1 {
                said = match self.torn.len() {
                    1 => "1 changed while it was read (".to_owned(),
                    torn => format!("{torn} changed while they were read ("),
                };
                for (i, pid) in self.torn.iter().take(NAMED).enumerate() {
                    let comma = if i > 0 { ", " } else { "" };
                    // Writing to a String does not fail.
                    let _ = write!(said, "{comma}{pid}");
                }
                said += if self.torn.len() > NAMED {
                    ", ...)"
                } else {
                    ")"
                };
            }
            return format!("{said}: may be torn, {marked} marked");
        }
        if self.unknown > 0 {
            return match self.sources[..] {
                [Source::Lockless] if self.totals.mappings == 0 => "nothing is mapped".to_owned(),
                [Source::Lockless] => "looked up one by one".to_owned(),
                _ => "may be torn, the source does not tell".to_owned(),
            };
        }
        match self.processes {
            1 => "consistent".to_owned(),
            _ => "each consistent".to_owned(),
        }
    }
}
