// SPDX-License-Identifier: MIT OR Apache-2.0

//! The last line: how much, from where, and what is known of tearing.

use super::{Style, text};
use crate::{
    listing::{Totals, Verdict},
    processes::Target,
};
use maps_lockless::{Completeness, Judgement, Source};
use std::io::{self, Write};

/// So many processes are named.
const NAMED: usize = 8;

/// Collects what the last line says.
#[derive(Default)]
pub struct Footer {
    processes: u64,
    totals: Totals,
    sources: Vec<Source>,
    /// How many ranges there are of which nothing is known.
    unknown: usize,
    /// Those whose listing is not in one piece.
    gaps: Vec<u32>,
    /// Those that were changing their mappings.
    torn: Vec<u32>,
    /// How many have no mappings to be judged.
    without_memory: u64,
    /// What is to be said of all, as nothing is known of one. Where there are several of which this is
    /// so, that which is worst.
    doubt: Option<Doubt>,
}

/// Why nothing is known of tearing. What is worse is greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Doubt {
    LookedUp,
    NoEvidence,
    NotTold,
}

impl Footer {
    pub fn add(&mut self, target: &Target, verdict: &Verdict) {
        self.processes += 1;
        self.totals.add(&verdict.totals);
        if !self.sources.contains(&verdict.source) {
            self.sources.push(verdict.source);
        }
        self.unknown += verdict.unknown.len();
        let doubt = match (verdict.judgement, verdict.completeness) {
            (Judgement::Consistent, _) => return,
            (Judgement::PossiblyTorn, _) => return self.torn.push(target.pid),
            (Judgement::Gap, _) => return self.gaps.push(target.pid),
            (_, Completeness::NoAddressSpace) => {
                self.without_memory += 1;
                return;
            }
            _ if verdict.source != Source::Lockless => Doubt::NotTold,
            (_, Completeness::Unknown) => Doubt::LookedUp,
            _ => Doubt::NoEvidence,
        };
        self.doubt = self.doubt.max(Some(doubt));
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
        if self.unknown > 0 {
            line += &format!("{}, ", text::unknown(self.unknown));
        }
        let sources: Vec<String> = self.sources.iter().map(Source::to_string).collect();
        line += &format!("from {}, ", sources.join(" and "));
        line += &self.judgement();
        writeln!(out, "{line}")
    }

    fn judgement(&self) -> String {
        let mut said = Vec::new();
        for (pids, alone, one, several) in [
            (
                &self.gaps,
                "gap in the listing",
                "has a gap in its listing",
                "have gaps in their listings",
            ),
            (
                &self.torn,
                "changed while it was read",
                "changed while it was read",
                "changed while they were read",
            ),
        ] {
            match pids.len() {
                0 => {}
                _ if self.processes == 1 => said.push(alone.to_owned()),
                1 => said.push(format!("1 {one} ({})", named(pids))),
                count => said.push(format!("{count} {several} ({})", named(pids))),
            }
        }
        if !said.is_empty() {
            let marked = self.totals.marked;
            return format!("{}: may be torn, {marked} marked", said.join(", "));
        }
        match self.doubt {
            Some(Doubt::NotTold) => "may be torn, the source does not tell",
            Some(Doubt::NoEvidence) => "may be torn, there is no evidence",
            Some(Doubt::LookedUp) => "looked up one by one",
            None if self.without_memory == self.processes => "nothing is mapped",
            None if self.processes == 1 => "consistent",
            None => "each consistent",
        }
        .to_owned()
    }
}

/// Some of these, and whether there are more.
fn named(pids: &[u32]) -> String {
    let mut names: Vec<String> = pids.iter().take(NAMED).map(u32::to_string).collect();
    if pids.len() > NAMED {
        names.push("...".to_owned());
    }
    names.join(", ")
}
