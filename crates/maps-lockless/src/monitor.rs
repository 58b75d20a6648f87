// SPDX-License-Identifier: MIT OR Apache-2.0

//! Follows many processes, and reads only those whose mappings changed.

use crate::{
    Completeness, Error, Judgement, Process, Reader, Request, Snapshot, Source,
    follower::{Reading, read_changes},
    listing::Tries,
    normalize::is_strict,
    stat::Stat,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
    vec::Vec,
};

/// Program after program may be run by one process. Then the next round tries again.
const TRIES: u32 = 4;

/// How a [`Monitor`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonitorOptions {
    /// What to read of each process.
    pub request: Request,
    /// How often a process is read, in one round, until a snapshot is consistent. At least once.
    pub attempts: u32,
    /// Where the source gives no evidence of change, the least time between two readings of one
    /// process.
    pub interval: Duration,
    /// From maps_lockless, the time after which a process that has changed is read as a whole. Before that, only
    /// what has changed is read of it.
    pub refresh: Duration,
    /// Never to use a source other than maps_lockless. Where the kernel does not have it, each
    /// process fails with [`Error::is_unsupported`].
    pub lockless_only: bool,
}

/// What maps shows, three attempts, a second, a minute, any source.
impl Default for MonitorOptions {
    fn default() -> Self {
        Self {
            request: Request::default(),
            attempts: 3,
            interval: Duration::from_secs(1),
            refresh: Duration::from_secs(60),
            lockless_only: false,
        }
    }
}

/// What became of a process that a [`Monitor`] follows.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// It was read for the first time.
    New(Arc<Snapshot>),
    /// [`Snapshot::diff`] is not empty, or one of the two has [`unknown`](Snapshot::unknown) ranges,
    /// which may hide what changed.
    Changed {
        /// What was read last.
        before: Arc<Snapshot>,
        /// What was read now.
        after: Arc<Snapshot>,
    },
    /// It has another address space: it called execve(2). It is still followed.
    ///
    /// Where the source does not tell whose address space it reads, this goes by where program and
    /// stack are, which address space layout randomisation makes others each time. Without that, an
    /// execve(2) of the same program can be told as `Changed` or not at all; and prctl(2) with
    /// `PR_SET_MM`, which moves them, is taken for one.
    Replaced {
        /// What was read last.
        before: Arc<Snapshot>,
        /// What was read now, of the new address space.
        after: Arc<Snapshot>,
    },
    /// It has exited (whether or not it was waited for), or became one that hidepid of /proc hides. It
    /// is no longer followed. May come without any other event, or after one without mappings.
    Exited,
    /// It could not be read. It is still followed, and tried again in the next round. Told once, until
    /// it could be read again or fails with another errno.
    Failed(Error),
}

/// Follows many processes. `K` is what the caller calls each of them by, its ID for example.
///
/// ```
/// use maps_lockless::{Event, Monitor, MonitorOptions, Process};
///
/// let mut monitor = Monitor::new(MonitorOptions::default());
/// let this = std::process::id();
/// monitor.add(this, Process::pinned(this)?)?;
/// for (pid, event) in monitor.poll() {
///     if let Event::New(snapshot) = event {
///         println!("{pid} has {} mappings", snapshot.mappings.len());
///     }
/// }
/// # Ok::<(), maps_lockless::Error>(())
/// ```
///
/// # Work
///
/// From maps_lockless, a process whose [`Token`](crate::Token) is as before is not read: it costs the
/// same few system calls however many mappings it has. Of one that has changed, only what has changed is read,
/// as by a [`Follower`](crate::Follower). What the token does not cover, the paths of files above all, is not noticed
/// where nothing else has changed at these addresses; docs/tearing.md lists it. A process that changes is read as a
/// whole when the last whole reading is older than [`refresh`](MonitorOptions::refresh).
///
/// From PROCMAP_QUERY and maps, which give no evidence, a process is read whole once each
/// [`interval`](MonitorOptions::interval), and in the rounds between only asked whether it still runs
/// the same program.
///
/// # Waiting
///
/// Reading maps_lockless never waits for the process. Opening any of these files does while the process
/// is in the last part of an execve(2), and may have to free the address space of one that exits at this
/// very moment. PROCMAP_QUERY and maps wait for the process's locks, for as long as it holds them, and
/// make it wait: one process that is stuck can hold the round up. To never use them, set
/// [`lockless_only`](MonitorOptions::lockless_only).
///
/// # Descriptors
///
/// One is held for each process, by which it is never mistaken for another one that got its ID. A round
/// needs two more in all. Where they are not to be had (`EMFILE`), [`Event::Failed`] says so of each
/// process, and the next round tries again. Where there is none for a new process,
/// [`add`](Self::add) fails.
#[derive(Debug)]
pub struct Monitor<K> {
    options: MonitorOptions,
    followed: BTreeMap<K, Followed>,
}

#[derive(Debug)]
struct Followed {
    /// Kept by its folder.
    process: Process,
    last: Option<Last>,
    /// The errno of a failure that was told.
    failed: Option<Option<i32>>,
}

/// What was read of a process.
#[derive(Debug)]
struct Last {
    snapshot: Arc<Snapshot>,
    /// The last one that was proved, often the same. [`None`] where everything was read after it.
    proved: Option<Arc<Snapshot>>,
    space: Space,
    read: Instant,
    /// When everything was read.
    refreshed: Instant,
}

/// Whose mappings a snapshot has, by what its source can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    /// No address space.
    None,
    /// Its identity.
    Id(u64),
    /// Where program and stack are.
    Image([u64; 3]),
}

/// What a look at a process finds.
enum Look {
    Same,
    Read(Snapshot, Space, Extent),
    Exited,
}

/// What of a process was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Whole,
    Changes,
}

impl<K: Ord + Clone> Monitor<K> {
    /// Follows nothing yet.
    pub fn new(options: MonitorOptions) -> Self {
        Self {
            options,
            followed: BTreeMap::new(),
        }
    }

    /// Follows a process, from the next round on, instead of the one that had this key.
    ///
    /// [`Process::pinned`] and [`Process::from_pidfd`] tell whose ID it is. Another is pinned here, and
    /// is who has the ID now. Fails where it has exited, or no descriptor is left.
    pub fn add(&mut self, key: K, process: Process) -> Result<(), Error> {
        let followed = Followed {
            process: process.pin()?,
            last: None,
            failed: None,
        };
        self.followed.insert(key, followed);
        Ok(())
    }

    /// Follows a process no longer. Returns whether it was followed.
    pub fn remove(&mut self, key: &K) -> bool {
        self.followed.remove(key).is_some()
    }

    /// Whether a process is followed.
    pub fn contains(&self, key: &K) -> bool {
        self.followed.contains_key(key)
    }

    /// The number of processes that are followed.
    pub fn len(&self) -> usize {
        self.followed.len()
    }

    /// Whether no process is followed.
    pub fn is_empty(&self) -> bool {
        self.followed.is_empty()
    }

    /// What was read last of a process.
    pub fn snapshot(&self, key: &K) -> Option<&Arc<Snapshot>> {
        Some(&self.followed.get(key)?.last.as_ref()?.snapshot)
    }

    /// Looks once at each process, in the order of their keys, and returns what became of them. At most
    /// one event each.
    ///
    /// Snapshots are made strict maps by [`Snapshot::normalize`]. When the next round is due is the
    /// caller's to say.
    pub fn poll(&mut self) -> Vec<(K, Event)> {
        let mut events = Vec::new();
        let options = &self.options;
        self.followed.retain(|key, followed| {
            let event = followed.round(options);
            let goes_on = !matches!(event, Some(Event::Exited));
            events.extend(event.map(|event| (key.clone(), event)));
            goes_on
        });
        events
    }
}

impl Followed {
    fn round(&mut self, options: &MonitorOptions) -> Option<Event> {
        let look = self.look(options);
        let look = look.or_else(|error| self.without_address_space(error));
        match look {
            Ok(Look::Exited) => Some(Event::Exited),
            Ok(Look::Same) => {
                self.failed = None;
                None
            }
            Ok(Look::Read(snapshot, space, extent)) => {
                self.failed = None;
                self.event(snapshot, space, extent)
            }
            Err(error) => {
                let told = self.failed.replace(error.errno());
                (told != Some(error.errno())).then_some(Event::Failed(error))
            }
        }
    }

    /// Takes what was read.
    fn event(&mut self, mut snapshot: Snapshot, space: Space, extent: Extent) -> Option<Event> {
        snapshot.normalize();
        let after = Arc::new(snapshot);
        let now = Instant::now();
        let last = self.last.take();
        let proved = match after.token {
            Some(_) => Some(after.clone()),
            // Everything was read for what the change count does not cover. The snapshot before that does not
            // have it, and changes are not to be told on top of that again.
            None if extent == Extent::Whole => None,
            None => last.as_ref().and_then(|last| last.proved.clone()),
        };
        let refreshed = last.as_ref().map(|last| last.refreshed);
        self.last = Some(Last {
            snapshot: after.clone(),
            proved,
            space,
            read: now,
            refreshed: refreshed
                .filter(|_| extent == Extent::Changes)
                .unwrap_or(now),
        });
        let Some(Last {
            snapshot: before,
            space: space_before,
            ..
        }) = last
        else {
            return Some(Event::New(after));
        };
        let known = before.unknown.is_empty() && after.unknown.is_empty();
        if space_before.is_replaced_by(space) {
            Some(Event::Replaced { before, after })
        } else if known && before.diff(&after).is_empty() {
            None
        } else {
            Some(Event::Changed { before, after })
        }
    }

    fn look(&self, options: &MonitorOptions) -> Result<Look, Error> {
        // Where the last source gave no evidence, this is whether it is time to read again.
        let last = self.last.as_ref();
        let fresh = last.filter(|last| last.read.elapsed() < options.interval);
        if let Some(Space::Image(image)) = fresh.map(|last| last.space) {
            let stat = Stat::read(&self.process)?;
            if stat.exited {
                return Ok(Look::Exited);
            }
            if stat.image == image {
                return Ok(Look::Same);
            }
        }
        for _ in 0..TRIES {
            // Of maps_lockless, the identity of the address space tells more.
            let before = match last.map(|last| last.space) {
                Some(Space::Id(_)) => None,
                _ => Some(Stat::read(&self.process)?),
            };
            if before.is_some_and(|stat| stat.exited) {
                return Ok(Look::Exited);
            }
            let mut reader = if options.lockless_only {
                self.process
                    .open_source(Source::Lockless, &options.request)?
            } else {
                self.process.open(&options.request)?
            };
            let look = match reader.source() {
                Source::Lockless => self.look_by_token(&mut reader, options)?,
                _ => self.look_without_evidence(&mut reader, before)?,
            };
            if let Some(look) = look {
                return Ok(look);
            }
        }
        Ok(Look::Same)
    }

    /// [`None`] where the address space went away meanwhile.
    fn look_by_token(
        &self,
        reader: &mut Reader,
        options: &MonitorOptions,
    ) -> Result<Option<Look>, Error> {
        if let Some(token) = self.last.as_ref().and_then(|last| last.snapshot.token) {
            match reader.changed_since(&token) {
                Ok(false) => return Ok(Some(Look::Same)),
                Ok(true) => {}
                Err(error) if error.is_exited() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let (snapshot, extent) = self.read_by_token(reader, options)?;
        match snapshot.completeness {
            Completeness::Gone => Ok(None),
            Completeness::NoAddressSpace if Stat::read(&self.process)?.exited => {
                Ok(Some(Look::Exited))
            }
            _ => {
                let id = reader.judge().mm_id();
                let space = id.map_or(Space::None, Space::Id);
                Ok(Some(Look::Read(snapshot, space, extent)))
            }
        }
    }

    /// Reads what has changed, or everything.
    fn read_by_token(
        &self,
        reader: &mut Reader,
        options: &MonitorOptions,
    ) -> Result<(Snapshot, Extent), Error> {
        let last = self.last.as_ref();
        let recent = last.filter(|last| last.refreshed.elapsed() < options.refresh);
        if let Some(earlier) = recent.and_then(|last| last.proved.as_ref()) {
            let mut tries = Tries::new(options.attempts, Duration::MAX);
            let changes = match read_changes(reader, earlier, &mut tries)? {
                Reading::Whole(snapshot) => return Ok((snapshot, Extent::Whole)),
                Reading::Changes(changes) => changes,
            };
            let extent = if changes.is_whole() {
                Extent::Whole
            } else {
                Extent::Changes
            };
            let is_proved = changes.is_proved();
            // Both snapshots are told in events, so that what did not change is copied.
            let merged = changes.merge(|at| earlier.mappings[at].clone());
            // What is not proved may overlap, and is normalized as everything else is.
            if !is_proved || is_strict(&merged.mappings) {
                return Ok((merged, extent));
            }
        }
        let snapshot = reader.consistent(options.attempts, Duration::MAX)?;
        Ok((snapshot, Extent::Whole))
    }

    /// [`None`] where the process called execve(2) since `before`, or has not done with it.
    fn look_without_evidence(
        &self,
        reader: &mut Reader,
        before: Option<Stat>,
    ) -> Result<Option<Look>, Error> {
        let snapshot = reader.snapshot();
        let after = Stat::read(&self.process)?;
        if after.exited {
            return Ok(Some(Look::Exited));
        }
        if after.mapped && (before != Some(after) || after.image[..2] == [0, 0]) {
            return Ok(None);
        }
        let space = match after.mapped {
            true => Space::Image(after.image),
            false => Space::None,
        };
        Ok(Some(Look::Read(snapshot?, space, Extent::Whole)))
    }

    /// There is no such process any more, or it has no address space: a kernel thread has none, nor has
    /// a process whose main thread has exited while others go on.
    fn without_address_space(&self, error: Error) -> Result<Look, Error> {
        if !error.is_not_found() && !error.is_exited() {
            return Err(error);
        }
        match Stat::read(&self.process) {
            Ok(stat) if stat.exited => Ok(Look::Exited),
            Ok(stat) if stat.mapped && error.is_exited() => Ok(Look::Same),
            Ok(_) if error.is_exited() => Ok(Look::Read(nothing(), Space::None, Extent::Whole)),
            Ok(_) => Err(error),
            Err(gone) if gone.is_not_found() || gone.is_exited() => Ok(Look::Exited),
            Err(error) => Err(error),
        }
    }
}

/// What there is of a process that has no address space.
fn nothing() -> Snapshot {
    Snapshot {
        mappings: Vec::new(),
        source: Source::Maps,
        completeness: Completeness::NoAddressSpace,
        judgement: Judgement::Unknown,
        torn: Vec::new(),
        unknown: Vec::new(),
        evidence: Vec::new(),
        token: None,
    }
}

impl Space {
    fn is_replaced_by(self, after: Self) -> bool {
        match (self, after) {
            (Self::Id(before), Self::Id(after)) => before != after,
            (Self::Image(before), Self::Image(after)) => before != after,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_may_have_changed() {
        let mut followed = Followed {
            process: Process::current(),
            last: None,
            failed: None,
        };
        let mut event = |unknown: Option<core::ops::Range<u64>>| {
            let snapshot = Snapshot {
                unknown: unknown.into_iter().collect(),
                ..nothing()
            };
            followed.event(snapshot, Space::Id(1), Extent::Whole)
        };
        assert!(matches!(event(None), Some(Event::New(_))));
        assert!(event(None).is_none());
        assert!(matches!(event(Some(1..2)), Some(Event::Changed { .. })));
        assert!(matches!(event(None), Some(Event::Changed { .. })));
        assert!(event(None).is_none());
    }
}
