// SPDX-License-Identifier: MIT OR Apache-2.0

//! Keeps a snapshot of one address space up to date, and reads only what has changed.

use crate::{
    Completeness, Error, Reader, Snapshot,
    listing::{Ask, Lister, Tries, whole},
    merge::{Changes, Plan, out_of},
    normalize::is_strict,
};
use nix::errno::Errno;
use std::{time::Duration, vec::Vec};

/// What an update of a [`Follower`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Update {
    /// Nothing was mapped, unmapped, moved or given other permissions since the last proved snapshot.
    /// No mapping was read.
    Same,
    /// The snapshot is new, and proved to be of one moment. It may be equal to the one before.
    Proved,
    /// The snapshot is new, and not proved: the process was changing its mappings at each attempt, has no
    /// address space, or the source gives no evidence. The last proved one is still kept.
    Unproved,
}

/// Keeps a [`Snapshot`] of one address space up to date.
///
/// ```
/// use maps_lockless::{Follower, Process, Request, Update};
/// use std::time::Duration;
///
/// let mut follower = Follower::new(Process::current().open(&Request::default())?);
/// for _ in 0..3 {
///     let update = follower.update(3, Duration::MAX)?;
///     if let Some(snapshot) = follower.snapshot() {
///         println!("{update:?}: {} mappings", snapshot.mappings.len());
///     }
/// }
/// # Ok::<(), maps_lockless::Error>(())
/// ```
///
/// # Work
///
/// From maps_lockless, an update is one ioctl(2) where nothing has changed. Else the kernel is asked for
/// what has changed since the last proved snapshot. It tells runs of mappings that have not, about 128 at a time,
/// with their number. Where a run has fewer than it had, it is read again. What did not change is moved from the old
/// snapshot to the new one, not copied. It is copied where the new one cannot be proved, for then the old one is
/// needed in the next update.
///
/// The other sources, and a kernel that cannot tell what has changed, are read as a whole.
///
/// # What an update does not see
///
/// [`Update::Same`], and the mappings that the kernel says have not changed, go by the change count. It does not
/// cover:
///
/// - the path of a file that is renamed or unlinked, and whether it is deleted;
/// - the labels of heap and stack, which prctl(2) with `PR_SET_MM` moves;
/// - `MAPS_LOCKLESS_VMA_MAYBE_GUARD`, which `MADV_GUARD_INSTALL` sets;
/// - a build ID that was not in the page cache, and is now, or the other way round.
///
/// docs/tearing.md lists it all. [`refresh`](Self::refresh) reads everything: to whom this matters calls it now and
/// then.
///
/// # Errors
///
/// An error names the file and the errno. After one, the follower may be asked again. It keeps to
/// the address space that its reader was opened with. [`Error::is_exited`] says that this is gone, because the process
/// exited or called execve(2): open anew. Where others use it too (`CLONE_VM`, vfork(2)), it goes on after that, and
/// [`Monitor`](crate::Monitor) notices.
#[derive(Debug)]
pub struct Follower {
    reader: Reader,
    kept: Kept,
}

impl Follower {
    /// Follows what a reader reads. Nothing is read yet.
    ///
    /// The reader's open file should be its own: who shares it changes what it reads.
    pub fn new(reader: Reader) -> Self {
        Self {
            reader,
            kept: Kept::default(),
        }
    }

    /// Brings the snapshot up to date.
    ///
    /// Makes up to so many attempts, at least one, until what was read is proved to be of one moment, but begins no
    /// attempt once the time is over. An attempt reads what has changed, then each range of which a mapping is gone. If
    /// these do not fit together at the last attempt, everything is read once. Source of what it says: the state of the
    /// address space, and the evidence of what was read.
    pub fn update(&mut self, attempts: u32, time: Duration) -> Result<Update, Error> {
        let mut tries = Tries::new(attempts, time);
        self.kept.update(&mut self.reader, &mut tries)
    }

    /// Reads everything, whether or not it has changed, as [`Follower::update`] does the first time. If it cannot be
    /// proved, the next update reads everything, too.
    pub fn refresh(&mut self, attempts: u32, time: Duration) -> Result<Update, Error> {
        let mut tries = Tries::new(attempts, time);
        self.kept.refresh(&mut self.reader, &mut tries)
    }

    /// What was read last, proved or not: its [`judgement`](Snapshot::judgement) tells. [`None`] before the first
    /// update.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.kept.unproved.as_ref().or(self.proved())
    }

    /// The last snapshot that is proved to be of one moment. Its [`token`](Snapshot::token) is that of the next
    /// update.
    pub fn proved(&self) -> Option<&Snapshot> {
        self.kept.proved.as_ref()
    }

    /// The reader, for its [`state`](Reader::state) among others.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The reader.
    pub fn into_reader(self) -> Reader {
        self.reader
    }
}

/// What a follower keeps.
#[derive(Debug, Default)]
struct Kept {
    /// Has a token.
    proved: Option<Snapshot>,
    /// What was read after it.
    unproved: Option<Snapshot>,
    /// Whether everything was to be read after it, and could not be proved. Changes on top of it would not have what
    /// the change count does not cover.
    stale: bool,
}

impl Kept {
    fn update(&mut self, lister: &mut impl Lister, tries: &mut Tries) -> Result<Update, Error> {
        let Some(earlier) = self.proved.as_mut().filter(|_| !self.stale) else {
            return self.refresh(lister, tries);
        };
        if let Some(token) = &earlier.token {
            if !lister.changed_since(token)? {
                self.unproved = None;
                return Ok(Update::Same);
            }
        }
        let snapshot = match read_changes(lister, earlier, tries)? {
            Reading::Whole(snapshot) => snapshot,
            Reading::Changes(changes) if changes.is_proved() => {
                let merged = changes.merge(out_of(&mut earlier.mappings));
                self.proved = None;
                if !is_strict(&merged.mappings) {
                    return self.refresh(lister, tries);
                }
                merged
            }
            Reading::Changes(changes) => unproved(changes, earlier),
        };
        self.take(snapshot, lister)
    }

    fn refresh(&mut self, lister: &mut impl Lister, tries: &mut Tries) -> Result<Update, Error> {
        self.stale = true;
        let snapshot = whole(lister, tries)?;
        self.take(snapshot, lister)
    }

    fn take(&mut self, snapshot: Snapshot, lister: &impl Lister) -> Result<Update, Error> {
        if snapshot.completeness == Completeness::Gone {
            return Err(Error::os(lister.path(), Errno::ESRCH));
        }
        if snapshot.token.is_some() {
            self.proved = Some(snapshot);
            self.unproved = None;
            self.stale = false;
            return Ok(Update::Proved);
        }
        self.unproved = Some(snapshot);
        Ok(Update::Unproved)
    }
}

/// What was read to bring a snapshot up to date.
pub(crate) enum Reading {
    /// Everything, or an address space that is gone.
    Whole(Snapshot),
    /// What has changed. It is proved, or it was the last attempt.
    Changes(Changes),
}

/// Reads what has changed since an earlier snapshot, which has a token, by the same request. Everything, where it
/// has none, or where the two contradict each other.
pub(crate) fn read_changes(
    lister: &mut impl Lister,
    earlier: &Snapshot,
    tries: &mut Tries,
) -> Result<Reading, Error> {
    let ask = Ask {
        since: earlier.token,
        range: None,
    };
    loop {
        let listing = match lister.list(&ask) {
            // The kernel does not know what has changed.
            Err(error) if error.is_unsupported() => break,
            listing => listing?,
        };
        if is_over(&listing.snapshot) {
            return Ok(Reading::Whole(listing.snapshot));
        }
        let is_last = !tries.again();
        if listing.snapshot.token.is_none() && !is_last {
            continue;
        }
        let Some(plan) = Plan::new(&earlier.mappings, &listing.unchanged) else {
            break;
        };
        let mut again = Vec::new();
        for range in plan.again() {
            let ask = Ask {
                since: None,
                range: Some(range.clone()),
            };
            let read = lister.list(&ask)?.snapshot;
            if is_over(&read) {
                return Ok(Reading::Whole(read));
            }
            again.push(read);
        }
        let changes = Changes {
            listing,
            plan,
            again,
        };
        if changes.is_proved() || changes.listing.snapshot.token.is_none() {
            return Ok(Reading::Changes(changes));
        }
        // The evidence of the listing alone would prove what is not.
        if is_last {
            break;
        }
    }
    whole(lister, tries).map(Reading::Whole)
}

/// Whether there is no address space any more.
fn is_over(snapshot: &Snapshot) -> bool {
    matches!(
        snapshot.completeness,
        Completeness::Gone | Completeness::NoAddressSpace
    )
}

/// The snapshot that changes make of an earlier one, which is still needed. They are not proved.
fn unproved(changes: Changes, earlier: &Snapshot) -> Snapshot {
    let mut merged = changes.merge(|at| earlier.mappings[at].clone());
    // Its parts may be of different moments.
    merged.normalize();
    merged
}

#[cfg(test)]
mod tests;
