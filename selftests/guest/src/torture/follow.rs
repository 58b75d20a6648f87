// SPDX-License-Identifier: MIT OR Apache-2.0

//! Readers that keep a listing up to date by what has changed, and compare it with the whole one.

use super::{herd::Life, reader::Reader};
use crate::{
    raw::{ALL, Lockless},
    since::{Listed, Proved, differ},
};
use anyhow::{Result, bail};
use maps_lockless::wire::*;

const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
/// How often one listing is followed.
const ROUNDS: usize = 6;

impl Reader<'_> {
    /// Follows a listing for some rounds.
    pub(super) fn follow(&mut self, life: &Life) -> Result<Option<&'static str>> {
        let Some(file) = self.open(life, ALL)? else {
            return Ok(None);
        };
        self.planter.following = true;
        let followed = self.rounds(&file, life);
        self.planter.following = false;
        followed
    }

    fn rounds(&mut self, file: &Lockless, life: &Life) -> Result<Option<&'static str>> {
        let mut known = None;
        for _ in 0..ROUNDS {
            if self.run.is_over() {
                return Ok(None);
            }
            known = match known {
                None => self.whole_listing(file, life, ALL)?,
                Some(earlier) => Some(match self.round(file, life, &earlier)? {
                    Some(new) => new,
                    None => earlier,
                }),
            };
        }
        Ok(Some("follow"))
    }

    /// A round. [`None`] where the new listing is not proved.
    fn round(&mut self, file: &Lockless, life: &Life, earlier: &Proved) -> Result<Option<Proved>> {
        let since_seq = self.planter.since(earlier.seq, file.state()?.seq);
        let request = maps_lockless_request {
            since_seq,
            ..earlier.since(ALL)
        };
        let Some(listed) = self.listed(file, life, request)? else {
            return Ok(None);
        };
        let again = |range: &std::ops::Range<u64>| {
            let request = maps_lockless_request {
                start: range.start,
                end: range.end,
                ..ALL
            };
            self.whole_listing(file, life, request)
        };
        let Some((new, round)) = earlier.follow(listed, again)? else {
            return Ok(None);
        };
        let counts = &self.run.counts;
        counts.add("rounds followed", (new.seq != earlier.seq).into());
        counts.add("ranges read again", round.again);
        let whole = self.whole_listing(file, life, ALL)?;
        if let Some(whole) = whole.filter(|whole| whole.seq == new.seq) {
            if let Some(differ) = differ(&new.mappings, &whole.mappings, |told| told.covered()) {
                bail!(
                    "broken: unchanged: since {} to {}, {round:?}: {differ}",
                    earlier.seq,
                    new.seq
                );
            }
            let moved = new.seq != earlier.seq;
            self.run.counts.add("followed, compared", moved.into());
        }
        Ok(Some(new))
    }

    /// A listing of which nothing may be told as unchanged. [`None`] where it is not proved.
    fn whole_listing(
        &mut self,
        file: &Lockless,
        life: &Life,
        request: maps_lockless_request,
    ) -> Result<Option<Proved>> {
        match self.listed(file, life, request)? {
            Some(listed) => listed.whole(),
            None => Ok(None),
        }
    }

    /// A listing by a descriptor of its own. [`None`] where the run is over.
    fn listed(
        &mut self,
        file: &Lockless,
        life: &Life,
        request: maps_lockless_request,
    ) -> Result<Option<Listed>> {
        file.request(request)?;
        std::io::Seek::rewind(&mut &file.0)?;
        let mut listed = Listed::new(request, 0);
        while !listed.is_over() {
            if self.run.is_over() {
                return Ok(None);
            }
            // Without memory the position has not moved.
            if let Some(len) = self.bytes(file, MAX, None, life)? {
                listed.add(&self.buf[..len])?;
                self.mappings(len, life, &mut |_| Ok(()))?;
            }
        }
        Ok(Some(listed))
    }
}
