// SPDX-License-Identifier: MIT OR Apache-2.0

//! Readers of maps_lockless, by all that can be asked for.

use super::{Run, fault::Injector, herd::Life, plant::Planter};
use crate::{
    invariants::{Broken, Invariant, Listing},
    raw::{ALL, FILE_FIELDS, HEADER, Lockless, MAPS, SMALLEST, position_of},
    rng::Rng,
};
use anyhow::{Context, Result, ensure};
use maps_lockless::{
    BatchEvidence, BuildId, Judge, Judgement, MappingRef, NameRef,
    decode::{Batch, Record},
    wire::*,
};
use nix::errno::Errno;
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    sync::Arc,
};

const MIN: usize = MAPS_LOCKLESS_MIN_BUFFER as usize;
const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;
/// Where to read: at the file position, or at an address.
type At = Option<u64>;

/// A reader, in a thread of its own.
pub struct Reader<'a> {
    pub(super) run: &'a Run,
    pub(super) rng: Rng,
    pub(super) injector: Injector,
    pub(super) planter: Planter<'a>,
    pub(super) buf: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// The reader of this number.
    pub fn new(run: &'a Run, number: u64) -> Result<Self> {
        Ok(Self {
            run,
            rng: Rng::new(100 + number),
            injector: Injector::new()?,
            planter: Planter::new(run),
            buf: vec![0; MAX],
        })
    }

    /// Reads until the run is over.
    pub fn read_on(&mut self) -> Result<()> {
        while !self.run.is_over() {
            let Some(life) = self.run.herd.living(&mut self.rng) else {
                std::thread::yield_now();
                continue;
            };
            let name = match self.rng.below(19) {
                0..4 => self.whole(&life).context("whole")?,
                4 => self.fields(&life).context("fields")?,
                5 | 6 => self.masks(&life).context("masks")?,
                7 => self.range(&life).context("range")?,
                8 => self.limit(&life).context("max_records")?,
                9 => self.build_ids(&life).context("build IDs")?,
                10 | 11 => self.lookup(&life).context("lookup")?,
                12 => self.tiny(&life).context("tiny buffer")?,
                13 => self.state(&life).context("state")?,
                14 => self.read_back(&life).context("read back")?,
                15 => self.shared(&life).context("shared descriptor")?,
                16 | 17 => self.follow(&life).context("follow")?,
                _ => self.dead().context("dead process")?,
            };
            if let Some(name) = name.filter(|name| !self.planter.is_idle(name)) {
                self.run.counts.add(name, 1);
            }
        }
        Ok(())
    }

    /// One read(2), or pread(2). [`None`] where it failed as it may.
    pub(super) fn bytes(
        &mut self,
        file: &Lockless,
        size: usize,
        at: At,
        life: &Life,
    ) -> Result<Option<usize>> {
        // What the kernel does not write would look like kernel addresses.
        self.buf[..size].fill(0xff);
        let buf = &mut self.buf[..size];
        let failing = self.run.failslab && self.rng.below(4) == 0;
        let read = self.injector.with(failing, || match at {
            Some(address) => file.0.read_at(buf, position_of(address)),
            None => (&file.0).read(buf),
        })?;
        self.run.counts.add("read(2) calls", 1);
        self.run
            .counts
            .add("reads with allocations failing", failing.into());
        match read {
            Ok(len) => {
                ensure!(
                    len <= size && (len == 0 || len >= HEADER),
                    "{len} of {size}"
                );
                self.planter.plant(&mut self.buf[..len], &life.facts);
                Ok(Some(len))
            }
            Err(error) => {
                let errno = self.errno(&error)?;
                let may_fail = match errno {
                    Errno::ENOMEM => failing,
                    Errno::ENOSPC => size < MIN,
                    _ => false,
                };
                ensure!(may_fail, "{errno}, buffer of {size}, at {at:x?}, {failing}");
                Ok(None)
            }
        }
    }

    fn errno(&self, error: &io::Error) -> Result<Errno> {
        let number = error.raw_os_error().context("no errno")?;
        self.run.counts.error(number);
        Ok(Errno::from_raw(number))
    }

    /// Opens the file anew, and makes a request. [`None`] where that failed as it may.
    pub(super) fn open(
        &mut self,
        life: &Life,
        request: maps_lockless_request,
    ) -> Result<Option<Lockless>> {
        let failing = self.run.failslab && self.rng.below(4) == 0;
        let path = life.path("maps_lockless");
        let opened = self.injector.with(failing, || {
            let file = Lockless(File::open(&path)?);
            file.request(request)?;
            Ok::<_, io::Error>(file)
        })?;
        match opened {
            Ok(file) => Ok(Some(file)),
            Err(error) => {
                let errno = self.errno(&error)?;
                let gone = matches!(errno, Errno::ESRCH | Errno::ENOENT | Errno::EACCES);
                let fails = failing && matches!(errno, Errno::ENOMEM | Errno::ENFILE);
                ensure!(gone || fails, "open: {errno}, {failing}");
                Ok(None)
            }
        }
    }

    /// Reads a listing by a descriptor of its own, from an address on, with buffers of `size` bytes.
    /// `listing` knows where it begins. `each` looks at every mapping. [`None`] where it ended early as it may.
    fn listing(
        &mut self,
        file: &Lockless,
        life: &Life,
        (from, mut listing): (u64, Listing),
        size: usize,
        mut each: impl FnMut(&MappingRef<'_>) -> Result<()>,
    ) -> Result<Option<Listing>> {
        (&file.0).seek(SeekFrom::Start(position_of(from)))?;
        let mut judge = Judge::default();
        while !listing.is_over() {
            // So that a run ends where a reader never comes to an end.
            if self.run.is_over() {
                return Ok(None);
            }
            match self.bytes(file, size, None, life)? {
                None if size < MIN => return Ok(None),
                // No memory. The position has not moved.
                None => continue,
                Some(len) if self.planter.takes_out(&self.buf[..len]) => {}
                Some(len) => {
                    listing.add(&self.buf[..len])?;
                    judge.add(&BatchEvidence::new(&Batch::parse(&self.buf[..len])?));
                    self.mappings(len, life, &mut each)?;
                }
            }
        }
        let counts = &self.run.counts;
        if listing.is_complete() {
            counts.add("complete listings", 1);
        } else {
            counts.add("gone meanwhile", 1);
        }
        let proved = listing.proved()?.is_some();
        counts.add("proved consistent", proved.into());
        // The library, which has the evidence alone, judges the same.
        if proved != (judge.judgement() == Judgement::Consistent) {
            let detail = format!("proved: {proved}, but {judge:?}");
            let invariant = Invariant::Token;
            return Err(Broken { invariant, detail }.into());
        }
        if from == 0 && listing.mm_id() == Some(life.mm_id) {
            for sentinel in life.facts.key.sentinels() {
                listing.has(sentinel)?;
            }
        }
        Ok(Some(listing))
    }

    /// Looks at the mappings of the batch in the buffer.
    pub(super) fn mappings(
        &mut self,
        len: usize,
        life: &Life,
        each: &mut impl FnMut(&MappingRef<'_>) -> Result<()>,
    ) -> Result<()> {
        let batch = Batch::parse(&self.buf[..len])?;
        let (mut files, mut unknown) = (0, 0);
        for record in batch.records() {
            match record? {
                Record::File(_) => files += 1,
                Record::Unknown(_) => unknown += 1,
                _ => {}
            }
        }
        let (mut records, mut in_arena) = (0, 0);
        let (mut unstable, mut withheld, mut clipped) = (0, 0, 0);
        for mapping in batch.mappings() {
            let mapping = mapping?;
            in_arena += u64::from(life.facts.check(&mapping)?);
            each(&mapping)?;
            records += 1;
            unstable += u64::from(mapping.marks.unstable);
            withheld += u64::from(mapping.marks.withheld);
            clipped += u64::from(mapping.marks.clipped);
        }
        for (name, count) in [
            ("records", records),
            ("records in arenas", in_arena),
            ("records of files", files),
            ("unknown", unknown),
            ("unstable", unstable),
            ("withheld", withheld),
            ("clipped", clipped),
        ] {
            self.run.counts.add(name, count);
        }
        Ok(())
    }

    /// A listing of everything, twice where the first is proved consistent.
    fn whole(&mut self, life: &Life) -> Result<Option<&'static str>> {
        let Some(file) = self.open(life, ALL)? else {
            return Ok(None);
        };
        let size = MIN + self.rng.below((MAX - MIN) as u64 + 1) as usize;
        let all = || (0, Listing::of(0));
        let Some(first) = self.listing(&file, life, all(), size, |_| Ok(()))? else {
            return Ok(None);
        };
        if first.proved()?.is_some() {
            self.planter.second = true;
            let again = self.listing(&file, life, all(), MAX, |_| Ok(()));
            self.planter.second = false;
            if let Some(again) = again? {
                let same = first.agrees(&again)?;
                self.run.counts.add("same token, read twice", same.into());
            }
        }
        Ok(Some("whole"))
    }

    fn some_listing(
        &mut self,
        life: &Life,
        request: maps_lockless_request,
        each: impl FnMut(&MappingRef<'_>) -> Result<()>,
    ) -> Result<bool> {
        let Some(file) = self.open(life, request)? else {
            return Ok(false);
        };
        let listing = (0, Listing::of(request.start));
        Ok(self.listing(&file, life, listing, MAX, each)?.is_some())
    }

    /// Any set of fields. None means those of maps.
    fn some_fields(&mut self) -> u64 {
        self.rng.below(1 << 13) & ALL.fields_wanted
    }

    fn fields(&mut self, life: &Life) -> Result<Option<&'static str>> {
        let fields_wanted = self.some_fields();
        let request = maps_lockless_request {
            fields_wanted,
            ..MAPS
        };
        let fields = match fields_wanted {
            0 => MAPS_LOCKLESS_FIELDS_MAPS,
            fields => fields,
        };
        let read = self.some_listing(life, request, |mapping| {
            let asked = |field| fields & field != 0;
            ensure!(mapping.offset.is_none() || asked(MAPS_LOCKLESS_FIELD_OFFSET));
            ensure!(mapping.page_size.is_none() || asked(MAPS_LOCKLESS_FIELD_PAGE_SIZE));
            ensure!(mapping.pkey.is_none());
            ensure!(mapping.deleted.is_none() || asked(MAPS_LOCKLESS_FIELD_DELETED));
            ensure!(mapping.inode.is_none() || asked(MAPS_LOCKLESS_FIELD_INO));
            ensure!(mapping.device.is_none() || asked(MAPS_LOCKLESS_FIELD_DEV));
            ensure!(mapping.flags.known == 0 || asked(MAPS_LOCKLESS_FIELD_FLAGS));
            let name = match mapping.name {
                NameRef::Unknown => true,
                // Of what maps no file, it is known that it has none.
                NameRef::None => asked(MAPS_LOCKLESS_FIELD_NAME | FILE_FIELDS),
                NameRef::Path { .. } | NameRef::PathTooLong => asked(MAPS_LOCKLESS_FIELD_PATH),
                _ => asked(MAPS_LOCKLESS_FIELD_NAME),
            };
            ensure!(name, "{fields:#x}: {mapping:?}");
            ensure!(mapping.build_id == BuildId::Unknown || asked(MAPS_LOCKLESS_FIELD_BUILD_ID));
            Ok(())
        })?;
        Ok(read.then_some("fields"))
    }

    fn masks(&mut self, life: &Life) -> Result<Option<&'static str>> {
        const FLAGS: [u64; 8] = [
            0,
            MAPS_LOCKLESS_VMA_READ,
            MAPS_LOCKLESS_VMA_WRITE,
            MAPS_LOCKLESS_VMA_EXEC,
            MAPS_LOCKLESS_VMA_FILE,
            MAPS_LOCKLESS_VMA_DONTDUMP,
            MAPS_LOCKLESS_VMA_READ | MAPS_LOCKLESS_VMA_WRITE,
            MAPS_LOCKLESS_VMA_SHARED | MAPS_LOCKLESS_VMA_LOCKED,
        ];
        let mut mask = || FLAGS[self.rng.below(FLAGS.len() as u64) as usize];
        let (all, any, none) = (mask(), mask(), mask());
        let request = maps_lockless_request {
            vma_flags_all: all,
            vma_flags_any: any,
            vma_flags_none: none,
            ..ALL
        };
        let read = self.some_listing(life, request, |mapping| {
            let flags = mapping.flags.set;
            let wanted = flags & all == all && (any == 0 || flags & any != 0) && flags & none == 0;
            ensure!(
                wanted || mapping.marks.is_torn(),
                "not asked for, and not marked: {mapping:?}"
            );
            Ok(())
        })?;
        Ok(read.then_some("masks"))
    }

    fn range(&mut self, life: &Life) -> Result<Option<&'static str>> {
        let start = life.facts.key.random_page(&mut self.rng);
        let end = start + 1 + self.rng.below(1 << 20);
        let request = maps_lockless_request { start, end, ..ALL };
        let read = self.some_listing(life, request, |mapping| {
            ensure!(mapping.end > start && mapping.start < end, "{mapping:?}");
            Ok(())
        })?;
        Ok(read.then_some("range"))
    }

    fn limit(&mut self, life: &Life) -> Result<Option<&'static str>> {
        let max_records = 1 + self.rng.below(5) as u32;
        let request = maps_lockless_request { max_records, ..ALL };
        let Some(file) = self.open(life, request)? else {
            return Ok(None);
        };
        let Some(len) = self.bytes(&file, MAX, None, life)? else {
            return Ok(None);
        };
        let batch = Batch::parse(&self.buf[..len])?;
        let count = batch.mappings().count() + batch.unknown().count();
        ensure!(count <= max_records as usize, "{count} of {max_records}");
        Ok(self
            .listing(&file, life, (0, Listing::of(0)), MIN, |_| Ok(()))?
            .map(|_| "max_records"))
    }

    fn build_ids(&mut self, life: &Life) -> Result<Option<&'static str>> {
        let request = maps_lockless_request {
            vma_flags_all: MAPS_LOCKLESS_VMA_EXEC,
            ..ALL
        };
        let read = self.some_listing(life, request, |_| Ok(()))?;
        Ok(read.then_some("build IDs"))
    }

    /// Lookups by a descriptor that all threads use.
    fn lookup(&mut self, life: &Life) -> Result<Option<&'static str>> {
        for _ in 0..8 {
            let address = life.facts.key.random_page(&mut self.rng);
            self.lone_batch(life, &life.shared, MIN, Some(address))?;
        }
        Ok(Some("lookup"))
    }

    /// A batch by itself, for others may move the position.
    fn lone_batch(&mut self, life: &Life, file: &Lockless, size: usize, at: At) -> Result<()> {
        let Some(len) = self.bytes(file, size, at, life)? else {
            return Ok(());
        };
        if len > 0 {
            let mut listing = match at {
                None => Listing::anywhere(),
                Some(0) => Listing::of(0),
                Some(address) => Listing::from(address),
            };
            listing.add(&self.buf[..len])?;
            self.mappings(len, life, &mut |_| Ok(()))?;
        }
        Ok(())
    }

    fn tiny(&mut self, life: &Life) -> Result<Option<&'static str>> {
        let Some(file) = self.open(life, ALL)? else {
            return Ok(None);
        };
        let size = SMALLEST + self.rng.below(256) as usize;
        let start = life.facts.key.arena().start;
        let listing = (start, Listing::from(start));
        self.listing(&file, life, listing, size, |_| Ok(()))?;
        Ok(Some("tiny buffer"))
    }

    /// The state, by a descriptor that all threads use. Counts do not go back.
    fn state(&mut self, life: &Life) -> Result<Option<&'static str>> {
        let mut before = 0;
        for _ in 0..8 {
            let state = life.shared.state()?;
            ensure!(state.mm_id == life.mm_id, "broken: token: {state:?}");
            ensure!(
                state.seq >= before,
                "broken: token: {before}, then {state:?}"
            );
            before = state.seq;
            if state.status == MAPS_LOCKLESS_STATUS_GONE {
                ensure!(state.vma_count == 0, "{state:?}");
            } else {
                ensure!(state.status == MAPS_LOCKLESS_STATUS_LIVE, "{state:?}");
            }
        }
        Ok(Some("state"))
    }

    /// A request of a descriptor of one's own is read back as it was set.
    fn read_back(&mut self, life: &Life) -> Result<Option<&'static str>> {
        let request = maps_lockless_request {
            fields_wanted: self.some_fields() | MAPS_LOCKLESS_FIELD_RANGE,
            vma_flags_any: self.rng.below(16),
            start: life.facts.key.random_page(&mut self.rng),
            max_records: self.rng.below(3) as u32,
            since_mm_id: 1 + self.rng.below(3),
            since_seq: self.rng.below(1000) * 2,
            ..MAPS
        };
        let Some(file) = self.open(life, request)? else {
            return Ok(None);
        };
        let got = file.requested()?;
        ensure!(got.request != 0, "{got:?}");
        let set = maps_lockless_request {
            request: got.request,
            fields_supported: got.fields_supported,
            vma_flags_supported: got.vma_flags_supported,
            ..request
        };
        ensure!(
            format!("{got:?}") == format!("{set:?}"),
            "{got:?}, not {set:?}"
        );
        Ok(Some("read back"))
    }

    /// Reads, seeks and asks by a descriptor that all threads use.
    fn shared(&mut self, life: &Life) -> Result<Option<&'static str>> {
        let address = life.facts.key.random_page(&mut self.rng);
        (&life.shared.0).seek(SeekFrom::Start(position_of(address)))?;
        let request = maps_lockless_request {
            fields_wanted: self.some_fields(),
            max_records: self.rng.below(3) as u32 * 100,
            ..MAPS
        };
        life.shared.request(request)?;
        for _ in 0..3 {
            self.lone_batch(life, &life.shared, MAX, None)?;
        }
        Ok(Some("shared descriptor"))
    }

    /// Reads by a descriptor whose process is dead. A child that it had may use the address space for
    /// a moment.
    fn dead(&mut self) -> Result<Option<&'static str>> {
        let dead: Option<Arc<Life>> = self.run.herd.dead(&mut self.rng);
        let Some(life) = dead else {
            return Ok(None);
        };
        self.lone_batch(&life, &life.shared, MAX, Some(0))?;
        self.open(&life, ALL)?;
        Ok(Some("dead process"))
    }
}
