// SPDX-License-Identifier: MIT OR Apache-2.0

//! Judges batches as they are read, without a walk through each of them for that alone.
//!
//! Whether a batch has an unknown range, its header does not tell. Whoever reads the mappings passes all records
//! by, and tells. The batch is walked through once more only where nobody did.

use crate::{BatchEvidence, Completeness, Judge, decode::Batch};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The batches of a listing.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Was told all of them, but not of the unknown ranges of the last one as long as that is open.
    judge: Judge,
    /// Bytes of the last batch, as long as it is open.
    open: Option<usize>,
    all_known: AllKnown,
}

/// Whether somebody has decoded each record of the last batch and found no unknown range.
// An atomic, so that threads can share a reader.
#[derive(Debug, Default)]
pub(crate) struct AllKnown(AtomicBool);

impl AllKnown {
    /// Tells that it is so.
    pub(crate) fn set(&self) {
        self.0.store(true, Relaxed);
    }
}

impl Judged {
    /// Takes the next batch, which the buffer begins with until [`Judged::settle`].
    pub(super) fn add(&mut self, batch: &Batch<'_>) {
        self.judge.add(&BatchEvidence::of_header(batch));
        self.open = Some(batch.size());
        self.all_known = AllKnown::default();
    }

    /// Done with the last batch, whose bytes are about to be lost.
    pub(super) fn settle(&mut self, buf: &[u8]) {
        if self.has_unknown(buf) {
            self.judge.add_unknown();
        }
        self.open = None;
    }

    /// What judges them.
    pub(super) fn judge(&self, buf: &[u8]) -> Judge {
        let mut judge = self.judge.clone();
        if self.has_unknown(buf) {
            judge.add_unknown();
        }
        judge
    }

    pub(super) fn completeness(&self) -> Completeness {
        self.judge.completeness()
    }

    /// Where whoever decodes the last batch tells what it found.
    pub(super) fn all_known(&self) -> &AllKnown {
        &self.all_known
    }

    /// Whether the last batch is open and has an unknown range. What cannot be decoded counts as one.
    fn has_unknown(&self, buf: &[u8]) -> bool {
        let Some(len) = self.open.filter(|_| !self.all_known.0.load(Relaxed)) else {
            return false;
        };
        let batch = buf.get(..len).unwrap_or_default();
        Batch::parse(batch).map_or(true, |batch| BatchEvidence::new(&batch).unknown)
    }
}
