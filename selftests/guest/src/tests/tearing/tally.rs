// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which of the permitted outcomes were seen how often. Any other is an error.

use super::effect::{Effect, Kind, Outcome};
use crate::{invariants::Listing, shapes::PAGE};
use anyhow::{Context, Result, ensure};
use maps_lockless::{decode::Vma, wire::*};

/// How the change and the reads came together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// It happened between two batches.
    Between,
    /// It may have happened during one.
    Within,
}

/// What is kept of a record.
#[derive(Clone, Debug)]
pub struct Piece {
    pub start: u64,
    pub end: u64,
    vma_start: u64,
    flags: u32,
    /// What is shown of the fields. [`None`] where they are withheld.
    shown: Option<String>,
    offset: Option<u64>,
}

impl Piece {
    pub fn new(effect: &Effect, vma: &Vma<'_>) -> Self {
        let fields = &vma.fields;
        let withheld = fields.flags & MAPS_LOCKLESS_REC_WITHHELD != 0;
        let offset = effect.offsets && fields.valid & MAPS_LOCKLESS_FIELD_OFFSET != 0;
        Self {
            start: fields.start,
            end: fields.end,
            vma_start: fields.vma_start,
            flags: fields.flags,
            shown: (!withheld).then(|| (effect.show)(vma)),
            offset: offset.then_some(fields.offset),
        }
    }

    fn has(&self, mark: u32) -> bool {
        self.flags & mark != 0
    }

    /// Whether a word of a pattern says this, of a place that begins at `base`.
    fn is(&self, word: &str, base: u64, pages: usize) -> bool {
        let (word, unstable) = match word.strip_suffix('!') {
            Some(word) => (word, true),
            None => (word, false),
        };
        let (range, shown) = word.split_once(':').unwrap_or((word, ""));
        let (shown, clipped) = match shown.split_once('<') {
            Some((shown, page)) => (shown, Some(page)),
            None => (shown, None),
        };
        let vma_start = self
            .has(MAPS_LOCKLESS_REC_CLIPPED)
            .then_some(self.vma_start);
        range == self.range(base, pages)
            && clipped
                == vma_start
                    .map(|start| page(start, base).to_string())
                    .as_deref()
            && self.shown.as_deref().is_none_or(|this| this == shown)
            && (!unstable || self.has(MAPS_LOCKLESS_REC_UNSTABLE))
    }

    /// The range in pages, as far as it is in the place.
    fn range(&self, base: u64, pages: usize) -> String {
        let end = page(self.end, base).min(pages as i64);
        format!("{}-{end}", page(self.start, base))
    }
}

fn page(address: u64, base: u64) -> i64 {
    (address.wrapping_sub(base) as i64).div_euclid(PAGE as i64)
}

/// The outcomes of an effect, with counts.
pub struct Tally {
    effect: &'static Effect,
    counts: Vec<[u64; 2]>,
    pub listings: u64,
    /// Places that were made anew while they were listed,
    pub left_out: u64,
    /// and those of which something is unknown.
    pub unknown: u64,
    /// Samples of listings that are proved consistent,
    proved: u64,
    /// and those of batches that met a change, or may have.
    moved: u64,
    /// Listings that have the same token as the reader's one before, and show the same.
    pub agreed: u64,
    /// Records that were marked so.
    pub unstable: u64,
    withheld: u64,
}

impl Tally {
    pub fn new(effect: &'static Effect) -> Self {
        Self {
            effect,
            counts: vec![[0; 2]; effect.outcomes.len()],
            listings: 0,
            left_out: 0,
            unknown: 0,
            proved: 0,
            moved: 0,
            agreed: 0,
            unstable: 0,
            withheld: 0,
        }
    }

    /// Adds what a listing has of the place that begins at `base`.
    pub fn add(
        &mut self,
        listing: &Listing,
        pieces: &[&Piece],
        base: u64,
        mode: Mode,
    ) -> Result<()> {
        let proved = listing.proved()?.is_some();
        let outcome = self.outcome(pieces, base).with_context(|| {
            format!("not a permitted outcome ({mode:?}, proved: {proved}): {pieces:x?} of {base:x}")
        })?;
        let Outcome { name, kind, .. } = self.effect.outcomes[outcome];
        ensure!(
            kind == Kind::Rest || !proved || !self.effect.counted,
            "{name} in a listing that is proved consistent: {pieces:x?}"
        );
        self.counts[outcome][mode as usize] += 1;
        self.proved += u64::from(proved);
        self.moved += u64::from(!proved && mode == Mode::Within);
        for piece in pieces {
            self.offset(piece, base, mode)?;
            self.unstable += u64::from(piece.has(MAPS_LOCKLESS_REC_UNSTABLE));
            self.withheld += u64::from(piece.has(MAPS_LOCKLESS_REC_WITHHELD));
        }
        Ok(())
    }

    /// Adds an outcome that the test has found out by itself.
    pub fn see(&mut self, name: &str, mode: Mode) -> Result<()> {
        let mut outcomes = self.effect.outcomes.iter();
        let outcome = outcomes.position(|outcome| outcome.name == name);
        let outcome = outcome.with_context(|| format!("not a permitted outcome: {name}"))?;
        self.counts[outcome][mode as usize] += 1;
        Ok(())
    }

    fn outcome(&self, pieces: &[&Piece], base: u64) -> Option<usize> {
        self.effect.outcomes.iter().position(|outcome| {
            let mut words = outcome.pattern.split_whitespace();
            let mut pieces = pieces.iter();
            outcome.kind != Kind::Offset
                && pieces.all(|piece| {
                    let word = words.next();
                    word.is_some_and(|word| piece.is(word, base, self.effect.pages))
                })
                && words.next().is_none()
        })
    }

    /// A record's offset is that of its start, or it is an outcome.
    fn offset(&mut self, piece: &Piece, base: u64, mode: Mode) -> Result<()> {
        let Some(offset) = piece.offset else {
            return Ok(());
        };
        if offset == piece.start - base {
            return Ok(());
        }
        let word = format!(
            "{}@{}",
            piece.range(base, self.effect.pages),
            offset as i64 / PAGE as i64
        );
        let known = self
            .effect
            .outcomes
            .iter()
            .position(|outcome| outcome.kind == Kind::Offset && outcome.pattern == word)
            .with_context(|| format!("not a permitted offset: {word}, {piece:x?} of {base:x}"))?;
        let marked = piece.has(MAPS_LOCKLESS_REC_UNSTABLE);
        ensure!(marked, "{word} is not marked unstable: {piece:x?}");
        self.counts[known][mode as usize] += 1;
        Ok(())
    }

    /// The outcomes that were never seen, and for which there is no reason why.
    pub fn unseen(&self) -> Vec<&'static str> {
        let outcomes = self.effect.outcomes.iter().zip(&self.counts);
        outcomes
            .filter(|(outcome, count)| outcome.unseen.is_none() && **count == [0; 2])
            .map(|(outcome, _)| outcome.name)
            .collect()
    }

    /// Places that were looked at. An odd offset comes with another outcome.
    fn samples(&self) -> u64 {
        let outcomes = self.effect.outcomes.iter().zip(&self.counts);
        outcomes
            .filter(|(outcome, _)| outcome.kind != Kind::Offset)
            .map(|(_, [between, within])| between + within)
            .sum()
    }

    pub fn print(&self) {
        println!(
            "# {}: {} listings, {} samples left out, {} unknown in part",
            self.effect.name, self.listings, self.left_out, self.unknown
        );
        println!(
            "#   {:32} {:>16} {:>16}",
            "outcome", "between batches", "within a batch"
        );
        for (outcome, [between, within]) in self.effect.outcomes.iter().zip(&self.counts) {
            println!("#   {:32} {between:>16} {within:>16}", outcome.name);
            if let (Some(why), [0, 0]) = (outcome.unseen, [*between, *within]) {
                println!("#     not seen: {why}");
            }
        }
        let seen = self.counts.iter().filter(|count| **count != [0; 2]);
        println!(
            "#   outcomes seen: {} of {}, in samples: {}",
            seen.count(),
            self.counts.len(),
            self.samples()
        );
        println!(
            "#   samples of listings proved consistent: {}, of batches that met a change: {}",
            self.proved, self.moved
        );
        println!(
            "#   listings with the same token as before: {}",
            self.agreed
        );
        println!(
            "#   records marked unstable: {}, withheld: {}",
            self.unstable, self.withheld
        );
    }

    /// Fails where an outcome was never seen, or too much is unknown.
    pub fn finish(&self) -> Result<()> {
        ensure!(
            self.unknown * 100 <= self.samples(),
            "{}: of {} places something is unknown, of {} samples",
            self.effect.name,
            self.unknown,
            self.samples()
        );
        let unseen = self.unseen();
        ensure!(
            unseen.is_empty(),
            "{}: never seen: {unseen:?}",
            self.effect.name
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests;
