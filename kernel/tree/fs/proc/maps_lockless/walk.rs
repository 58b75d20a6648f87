// SPDX-License-Identifier: GPL-2.0

//! The walk through an address space.
//!
//! Each VMA and each gap is looked up anew by the address behind the one before it, so that what
//! stays mapped throughout appears, and what is listed never goes back. Nothing is tried again
//! until it fits together: what may not fit is marked.

use super::{
    batch::{Batch, Full},
    buffers::{Buffers, Needs, PATH_MAX},
    files::{Files, SeenFile},
    flags::{self, Memo},
    request::{supported_fields, Request, FILE_FIELDS},
    wire::*,
};
use core::mem::{self, MaybeUninit};
use kernel::{
    fs::{BuildId, MappedFile, UserPath, UserPaths, BUILD_ID_MAX},
    mm::{
        lockless::{
            task_size_max, FileId, LabelBounds, Leaf, LocklessVmas, Lookup, ProvedVma, Wanted,
        },
        virt::vm_flags_t,
        Mm, MmWithUser,
    },
    page::{PAGE_MASK, PAGE_SHIFT, PAGE_SIZE},
    prelude::*,
    sync::{
        aref::ARef,
        barrier::{smp_mb, Read},
        rcu,
    },
    uaccess::UserSliceWriter,
};

/// An RCU section ends after this much work: a VMA or a gap that is looked up is 1,
const SECTION_WORK: usize = 64;
/// this many that have not changed,
const UNCHANGED_OF_ONE: usize = 2;
/// a path in the directory of the one before it,
const NAME_WORK: usize = 3;
/// another path,
const PATH_WORK: usize = 8;
/// and a build ID that is looked for.
const BUILD_ID_WORK: usize = 32;
/// It ends too once it has made this many bytes of records.
const SECTION_BYTES: usize = 16384;
/// The most that one mapping adds to a section that was not over yet.
const MAPPING_BYTES: usize =
    FILE + PATH_MAX + BUILD_ID_MAX.next_multiple_of(8) + VMA + ANON_NAME_MAX.next_multiple_of(8);
/// A read ends after this many RCU sections, whatever it has found.
const READ_SECTIONS: u32 = 1024;

/// `ANON_VMA_NAME_MAX_LEN`.
const ANON_NAME_MAX: usize = 80;
const HEADER: usize = size_of::<maps_lockless_batch>();
const VMA: usize = size_of::<maps_lockless_vma>();
const FILE: usize = size_of::<maps_lockless_file>();
/// The smallest buffer that a read takes. By the sizes that were published first, for ever.
const LEAST_BUFFER: usize =
    MAPS_LOCKLESS_BATCH_SIZE_VER0 as usize + MAPS_LOCKLESS_VMA_SIZE_VER0 as usize;

const _: () = assert!(HEADER + MAPPING_BYTES <= MAPS_LOCKLESS_MIN_BUFFER as usize);

/// What a read has done.
pub(crate) struct Done {
    /// Bytes written to user space.
    pub(crate) bytes: usize,
    /// The new file position.
    pub(crate) pos: u64,
}

/// Reads one batch of the listing, from page `pos` on.
///
/// Leaves its memory in `spare` for the next read, unless this one was the last of the listing.
pub(crate) fn read(
    mm: Option<&Mm>,
    request: &Request,
    spare: &mut Option<KBox<Buffers>>,
    out: &mut UserSliceWriter,
    pos: u64,
) -> Result<Done> {
    if out.is_empty() {
        return Ok(Done { bytes: 0, pos });
    }
    if out.len() < LEAST_BUFFER {
        return Err(EINVAL);
    }
    if pos == MAPS_LOCKLESS_POS_END {
        return Ok(Done { bytes: 0, pos });
    }
    if pos > u64::MAX >> PAGE_SHIFT {
        return Err(EINVAL);
    }
    let first = request.start & PAGE_MASK;
    let cursor = first.max((pos << PAGE_SHIFT) as usize);

    let needs = needs(request, out.len());
    let capacity = needs.batch;
    let Buffers {
        batch,
        files,
        path,
        leaf,
        flags,
    } = Buffers::prepare(spare, needs)?;
    flags.prepare(request);
    let mut batch = Batch::new(&mut batch.as_mut_slice()[..capacity]);
    let mut header = new_header(mm, request);
    let since = request.since(header.mm_id, header.seq_begin);
    if since.is_some() {
        header.flags |= MAPS_LOCKLESS_BATCH_SINCE;
    }
    header.begin = cursor as u64;
    if cursor == first {
        header.flags |= MAPS_LOCKLESS_BATCH_FIRST;
    }
    header.end_reason = match mm {
        None => MAPS_LOCKLESS_END_NO_MM,
        // The last user may have to free a huge address space: not here, but in a kernel thread.
        Some(mm) => match mm.mmget_not_zero().map(MmWithUser::into_mmput_async) {
            None => MAPS_LOCKLESS_END_GONE,
            Some(mm) => {
                header.vma_count = mm.map_count();
                let mut walk = Walk {
                    mm: &mm,
                    request,
                    always: Always::new(request),
                    labels: mm.label_bounds(),
                    since,
                    batch: &mut batch,
                    cursor,
                    work: 0,
                    begin: 0,
                    is_disturbed: false,
                    is_at_change: false,
                    files,
                    flags,
                };
                let reason = walk.run(leaf, path.spare_capacity_mut())?;
                header.next = walk.cursor as u64;
                reason
            }
        },
    };
    if let Some(mm) = mm {
        // Orders what was read of the address space before the second count.
        smp_mb(Read);
        header.seq_end = mm.maps_change_seq();
    }
    let mut pos = header.next >> PAGE_SHIFT;
    if matches!(
        header.end_reason,
        MAPS_LOCKLESS_END_COMPLETE | MAPS_LOCKLESS_END_GONE | MAPS_LOCKLESS_END_NO_MM
    ) {
        header.flags |= MAPS_LOCKLESS_BATCH_FINAL;
        header.next = MAPS_LOCKLESS_NEXT_NONE;
        pos = MAPS_LOCKLESS_POS_END;
    }

    let last = header.flags & MAPS_LOCKLESS_BATCH_FINAL != 0;
    let batch = batch.finish(header);
    let bytes = batch.len();
    out.write_slice(batch)?;
    if last {
        *spare = None;
    }
    Ok(Done { bytes, pos })
}

/// How much memory a read into so many bytes needs.
fn needs(request: &Request, bytes: usize) -> Needs {
    let path = request.asks(MAPS_LOCKLESS_FIELD_PATH);
    let mapping = VMA
        + if path { PATH_MAX } else { 0 }
        + if request.asks(FILE_FIELDS) {
            FILE + BUILD_ID_MAX.next_multiple_of(8)
        } else {
            0
        }
        + if request.asks(MAPS_LOCKLESS_FIELD_NAME) {
            ANON_NAME_MAX.next_multiple_of(8)
        } else {
            0
        };
    let most = mapping.saturating_mul(request.max_records as usize);
    Needs {
        batch: bytes
            .min(MAPS_LOCKLESS_MAX_BATCH as usize)
            .min(most.saturating_add(HEADER)),
        files: new_files(request, request.max_records),
        path,
    }
}

/// How many files an RCU section may meet that lists so many mappings at most.
fn new_files(request: &Request, mappings: u32) -> usize {
    if request.asks_files() {
        // Each unit of work adds one at most.
        SECTION_WORK.min(mappings as usize)
    } else {
        0
    }
}

fn new_header(mm: Option<&Mm>, request: &Request) -> maps_lockless_batch {
    maps_lockless_batch {
        magic: MAPS_LOCKLESS_MAGIC,
        version: MAPS_LOCKLESS_VERSION,
        header_size: HEADER as u16,
        size: 0,
        count: 0,
        flags: if request.selects() {
            MAPS_LOCKLESS_BATCH_SELECTED
        } else {
            0
        },
        end_reason: 0,
        begin: 0,
        next: 0,
        mm_id: mm.map_or(0, Mm::maps_id),
        seq_begin: mm.map_or(0, Mm::maps_change_seq),
        seq_end: 0,
        request: request.number,
        fields_supported: supported_fields(),
        fields_wanted: request.fields(),
        vma_flags_supported: flags::SUPPORTED,
        page_size: PAGE_SIZE as u32,
        vma_count: 0,
    }
}

/// Tells the state of an address space, without a look at its VMAs and without a reference to its
/// users. `request` is the number of the caller's request.
pub(crate) fn state(mm: Option<&Mm>, request: u64) -> maps_lockless_state {
    let mut state = maps_lockless_state {
        size: size_of::<maps_lockless_state>() as u64,
        status: MAPS_LOCKLESS_STATUS_NO_MM,
        page_size: PAGE_SIZE as u32,
        request,
        fields_supported: supported_fields(),
        vma_flags_supported: flags::SUPPORTED,
        ..Default::default()
    };
    if let Some(mm) = mm {
        state.mm_id = mm.maps_id();
        state.seq = mm.maps_change_seq();
        state.vma_count = mm.map_count();
        // After the count: who is told that the address space lives is told one of its counts.
        smp_mb(Read);
        state.status = if mm.has_users() {
            MAPS_LOCKLESS_STATUS_LIVE
        } else {
            state.vma_count = 0;
            MAPS_LOCKLESS_STATUS_GONE
        };
    }
    state
}

/// A walk in progress.
struct Walk<'a, 'b> {
    mm: &'a MmWithUser,
    request: &'a Request,
    always: Always,
    labels: LabelBounds,
    /// The change count since which changes alone are asked for.
    since: Option<u64>,
    batch: &'a mut Batch<'b>,
    /// Everything below this address has been listed.
    cursor: usize,
    /// The work of this RCU section.
    work: usize,
    /// Where in the batch this RCU section began.
    begin: usize,
    /// Whether something has changed during this RCU section.
    is_disturbed: bool,
    /// Whether the VMA at the cursor is known to have changed.
    is_at_change: bool,
    files: &'a mut Files,
    flags: &'a mut Memo,
}

/// What lasts as long as an RCU section.
struct Section<'rcu> {
    vmas: LocklessVmas<'rcu>,
    paths: UserPaths<'rcu>,
}

/// What is the same in all records of mappings that a request asks for.
struct Always {
    /// The fields that each of them has.
    valid: u64,
    /// The fields that those of files have besides.
    valid_of_file: u64,
    /// Of a mapping without file.
    page_shift: u8,
    /// Whether they have names of their own.
    names: bool,
    /// Whether files are looked at for them.
    files: bool,
}

impl Always {
    fn new(request: &Request) -> Self {
        const OF_EACH: u64 = MAPS_LOCKLESS_FIELD_FLAGS
            | MAPS_LOCKLESS_FIELD_NAME
            | MAPS_LOCKLESS_FIELD_PKEY
            | MAPS_LOCKLESS_FIELD_PAGE_SIZE;

        Self {
            valid: MAPS_LOCKLESS_FIELD_RANGE | (request.fields() & OF_EACH),
            valid_of_file: request.fields() & MAPS_LOCKLESS_FIELD_OFFSET,
            page_shift: if request.asks(MAPS_LOCKLESS_FIELD_PAGE_SIZE) {
                PAGE_SHIFT as u8
            } else {
                0
            },
            names: request.asks(MAPS_LOCKLESS_FIELD_NAME),
            files: request.asks_files(),
        }
    }
}

/// Why nothing was listed.
enum Stop {
    /// The batch has no room.
    Full,
    /// What was found has changed.
    Changing,
}

impl From<Full> for Stop {
    fn from(Full: Full) -> Self {
        Self::Full
    }
}

/// What lookups should find.
struct Want<'a> {
    request: &'a Request,
    files: &'a Files,
}

impl Wanted for Want<'_> {
    #[inline]
    fn vma(&self, flags: vm_flags_t, file: bool) -> bool {
        self.request.wants(flags, file)
    }

    #[inline]
    fn selects(&self) -> bool {
        self.request.selects_by_flags()
    }

    #[inline]
    fn name(&self) -> bool {
        self.request.asks(MAPS_LOCKLESS_FIELD_NAME)
    }

    fn file(&self, file: FileId) -> bool {
        self.request.asks_files() && self.files.find(file).is_none()
    }
}

impl Walk<'_, '_> {
    /// Fills the batch. Returns why it ended, or `ENOSPC` where it has no room for one mapping.
    fn run(&mut self, leaf: &mut Leaf, path: &mut [MaybeUninit<u8>]) -> Result<u32> {
        for _ in 0..READ_SECTIONS {
            if let Some(reason) = self.section(leaf, path) {
                return if reason == MAPS_LOCKLESS_END_FULL && self.batch.mappings() == 0 {
                    Err(ENOSPC)
                } else {
                    Ok(reason)
                };
            }
            if current!().fatal_signal_pending() {
                return Ok(MAPS_LOCKLESS_END_SIGNAL);
            }
            // A file whose last reference was the walk's is closed on the way back to user space.
            // Others may be waiting for that.
            if current!().task_work_pending() {
                return Ok(MAPS_LOCKLESS_END_BUDGET);
            }
            kernel::task::cond_resched();
            self.files
                .reserve(new_files(self.request, self.mappings_left()))?;
        }
        Ok(MAPS_LOCKLESS_END_BUDGET)
    }

    fn mappings_left(&self) -> u32 {
        self.request.max_records - self.batch.mappings()
    }

    /// Lists some VMAs within one RCU section. Returns why the batch has ended, if it has.
    fn section(&mut self, leaf: &mut Leaf, path: &mut [MaybeUninit<u8>]) -> Option<u32> {
        self.work = 0;
        self.begin = self.batch.len();
        self.is_disturbed = false;
        let rcu = rcu::read_lock();
        let mut section = Section {
            vmas: LocklessVmas::new(self.mm, &rcu),
            paths: UserPaths::new(path, &rcu),
        };

        while !self.section_is_over() {
            if self.cursor >= self.request.end {
                return Some(MAPS_LOCKLESS_END_COMPLETE);
            }
            if self.mappings_left() == 0 {
                return Some(MAPS_LOCKLESS_END_LIMIT);
            }
            match self.list_unchanged(&section, leaf) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(Full) => return Some(MAPS_LOCKLESS_END_FULL),
            }
            let listed = match self.list_settled(&mut section, leaf) {
                Err(Stop::Changing) => self.list_changing(&mut section, leaf),
                listed => listed,
            };
            match listed {
                Ok(Some(end)) => self.cursor = end,
                Ok(None) => {
                    if self.mappings_left() == 0 {
                        return Some(MAPS_LOCKLESS_END_LIMIT);
                    }
                    return Some(match self.list_gate() {
                        Ok(()) => MAPS_LOCKLESS_END_COMPLETE,
                        Err(Full) => MAPS_LOCKLESS_END_FULL,
                    });
                }
                Err(Stop::Changing) => {}
                Err(Stop::Full) => return Some(MAPS_LOCKLESS_END_FULL),
            }
        }
        debug_assert!(self.batch.len() - self.begin <= SECTION_BYTES + MAPPING_BYTES);
        None
    }

    #[inline]
    fn section_is_over(&self) -> bool {
        self.work >= SECTION_WORK || self.batch.len() - self.begin >= SECTION_BYTES
    }

    /// Passes over what is at the cursor and has not changed, if that is asked for, and makes a
    /// record of the VMAs. Returns whether there was something.
    #[inline]
    fn list_unchanged(&mut self, section: &Section<'_>, leaf: &mut Leaf) -> Result<bool, Full> {
        let Some(since) = self.since else {
            return Ok(false);
        };
        // What comes next is known to have changed, or is not to be looked at in vain again.
        if mem::take(&mut self.is_at_change) || self.is_disturbed {
            return Ok(false);
        }
        let (limit, most) = (
            self.request.end,
            UNCHANGED_OF_ONE * (SECTION_WORK - self.work),
        );
        let vmas = &section.vmas;
        match vmas.unchanged(self.cursor, limit, most, since, &self.want(), leaf) {
            Err(looked_at) => {
                self.is_disturbed = true;
                // One lookup is left to this section, so that the walk gets on.
                let work = self.work + looked_at.div_ceil(UNCHANGED_OF_ONE);
                self.work = work.min(SECTION_WORK - 1);
                Ok(false)
            }
            Ok(unchanged) if unchanged.looked_at == 0 => Ok(false),
            Ok(unchanged) => {
                if unchanged.vmas > 0 {
                    self.batch.push_unchanged(
                        self.cursor as u64,
                        unchanged.end as u64,
                        unchanged.vmas,
                    )?;
                }
                self.work += unchanged.looked_at.div_ceil(UNCHANGED_OF_ONE);
                self.cursor = unchanged.end;
                self.is_at_change = unchanged.is_at_change;
                Ok(true)
            }
        }
    }

    /// Lists the VMAs of a leaf, while nothing changes. Returns where to go on, if there may be
    /// more.
    #[inline]
    fn list_settled(
        &mut self,
        section: &mut Section<'_>,
        leaf: &mut Leaf,
    ) -> Result<Option<usize>, Stop> {
        let most_wanted = self.mappings_left() as usize;
        let most = self.most();
        let vmas = &section.vmas;
        let Some(settled) = vmas.settled(self.cursor, most, most_wanted, &self.want(), leaf) else {
            self.is_disturbed = true;
            return Err(Stop::Changing);
        };
        let up_to = settled.end.unwrap_or(usize::MAX);
        let is_within = up_to <= self.request.end;
        let mut looked_at = 0;
        // Of VMAs that are plain, no more are looked at than have room in the section.
        let mut is_simple = self.label(settled.start, up_to) == MAPS_LOCKLESS_NAME_NONE;
        for vma in settled.vmas() {
            // Nothing that is wanted is below.
            let from = self.cursor.max(vma.start());
            if !is_within && from >= self.request.end {
                self.cursor = from;
                return Ok(Some(from));
            }
            is_simple &= vma.is_plain();
            if is_simple {
                self.list_plain(vma, from, MAPS_LOCKLESS_NAME_NONE, 0)?;
            } else {
                if self.section_is_over() {
                    return Ok(Some(self.cursor));
                }
                self.list(section, vma, from, 0)
                    .inspect_err(|_| self.work += settled.looked_at - looked_at)?;
                if let Some(up_to) = vma.looked_at() {
                    self.work += up_to - looked_at;
                    looked_at = up_to;
                }
            }
            self.cursor = vma.end();
        }
        self.work += settled.looked_at - looked_at;
        Ok(settled.end)
    }

    /// Lists what is at the cursor, while something changes. Returns where to go on, if there may
    /// be more.
    #[cold]
    fn list_changing(
        &mut self,
        section: &mut Section<'_>,
        leaf: &mut Leaf,
    ) -> Result<Option<usize>, Stop> {
        self.work += 1;
        match section.vmas.changing(self.cursor, &self.want(), leaf) {
            Lookup::Nothing(end) => Ok(end),
            Lookup::Unknown(end) => Ok(self.list_unknown(end)?),
            Lookup::Vma { vma, file, stable } => {
                let flags = if stable {
                    0
                } else {
                    MAPS_LOCKLESS_REC_UNSTABLE
                };
                let mark = self.batch.mark();
                if let (Some(file), Some((id, _))) = (file, vma.file()) {
                    self.meet(section, id, file)?;
                }
                let from = self.cursor.max(vma.start());
                self.list(section, vma, from, flags)
                    .inspect_err(|_| self.batch.rewind(mark))?;
                Ok(Some(vma.end()))
            }
            Lookup::Withheld(start, end) => {
                // It may be one that is wanted.
                let withheld = maps_lockless_vma {
                    valid: MAPS_LOCKLESS_FIELD_RANGE,
                    flags: MAPS_LOCKLESS_REC_WITHHELD,
                    ..Default::default()
                };
                self.push(start, self.cursor.max(start), end, withheld, &[])?;
                Ok(Some(end))
            }
        }
    }

    #[inline]
    fn want(&self) -> Want<'_> {
        Want {
            request: self.request,
            files: self.files,
        }
    }

    /// How many VMAs and gaps to look at next.
    #[inline]
    fn most(&self) -> usize {
        let bytes_left = SECTION_BYTES.saturating_sub(self.batch.len() - self.begin);
        let left = (SECTION_WORK - self.work).min(bytes_left / VMA + 1);
        if self.is_disturbed {
            // A leaf that is copied in vain is work that nobody counts: one in a section will do.
            1
        } else if self.request.selects_by_flags() {
            left
        } else {
            // Whoever wants one VMA need not have a leaf copied.
            left.min(self.mappings_left() as usize)
        }
    }

    /// Makes a record of a range of which nothing could be proved, up to `end` if there is one.
    /// Returns where to go on, if there may be more.
    fn list_unknown(&mut self, end: Option<usize>) -> Result<Option<usize>, Full> {
        // Behind what a process can map there is nothing to be known.
        let end = end.unwrap_or(usize::MAX).min(task_size_max());
        if end <= self.cursor {
            return Ok(None);
        }
        self.batch.push_unknown(self.cursor as u64, end as u64)?;
        Ok(Some(end))
    }

    /// A record with what all mappings have. The caller adds the range.
    #[inline(always)]
    fn record(&mut self, vm_flags: vm_flags_t, flags: u32) -> maps_lockless_vma {
        let told = self.flags.told(vm_flags, self.request);
        maps_lockless_vma {
            valid: self.always.valid,
            flags,
            page_shift: self.always.page_shift,
            pkey: told.pkey,
            vma_flags: told.vma_flags,
            ..Default::default()
        }
    }

    /// Makes a record of a VMA that maps no file and has no name but `kind`. What is below `from`
    /// is listed already.
    #[inline(always)]
    fn list_plain(
        &mut self,
        vma: ProvedVma<'_, '_>,
        from: usize,
        kind: u16,
        flags: u32,
    ) -> Result<(), Full> {
        let record = maps_lockless_vma {
            name_kind: kind,
            ..self.record(vma.flags(), flags)
        };
        self.push(vma.start(), from, vma.end(), record, &[])
    }

    /// Makes a record of a VMA, and one of its file, if the batch has none. What is below `from` is
    /// listed already.
    #[inline(never)]
    fn list(
        &mut self,
        section: &mut Section<'_>,
        vma: ProvedVma<'_, '_>,
        from: usize,
        flags: u32,
    ) -> Result<(), Stop> {
        let (start, end) = (vma.start(), vma.end());
        if vma.is_plain() {
            return Ok(self.list_plain(vma, from, self.label(start, end), flags)?);
        }
        let mut record = self.record(vma.flags(), flags);
        let mark = self.batch.mark();
        if let Some((id, pgoff)) = vma.file() {
            record.valid |= self.always.valid_of_file;
            if record.valid & MAPS_LOCKLESS_FIELD_FLAGS != 0 {
                record.vma_flags |= MAPS_LOCKLESS_VMA_FILE;
            }
            if record.valid & MAPS_LOCKLESS_FIELD_OFFSET != 0 {
                record.offset = ((pgoff as u64) << PAGE_SHIFT).wrapping_add((from - start) as u64);
            }
            if self.always.files {
                let seen = match self.files.find(id) {
                    Some(seen) => seen,
                    None => {
                        let file = section.vmas.pin_file(&vma).ok_or(Stop::Changing)?;
                        self.meet(section, id, file)?
                    }
                };
                record.file = seen.place;
                if record.valid & MAPS_LOCKLESS_FIELD_PAGE_SIZE != 0 {
                    match seen.page_shift {
                        Some(page_shift) => record.page_shift = page_shift,
                        None => {
                            record.page_shift = 0;
                            record.valid &= !MAPS_LOCKLESS_FIELD_PAGE_SIZE;
                        }
                    }
                }
            }
        }
        let pushed = if vma.may_have_name() {
            self.push_named(vma, from, record)
        } else {
            self.push(start, from, end, record, &[])
        };
        Ok(pushed.inspect_err(|Full| self.batch.rewind(mark))?)
    }

    /// Adds the record of a mapping with this range. What is below `from` is listed already.
    #[inline]
    fn push(
        &mut self,
        start: usize,
        from: usize,
        end: usize,
        mut record: maps_lockless_vma,
        name: &[u8],
    ) -> Result<(), Full> {
        record.start = from as u64;
        record.end = end as u64;
        record.vma_start = start as u64;
        if start < from {
            record.flags |= MAPS_LOCKLESS_REC_CLIPPED;
        }
        self.batch.push_vma(record, name)
    }

    /// Adds the record of a mapping that may have a name of its own. Which it shows, is as in maps.
    #[inline(never)]
    fn push_named(
        &mut self,
        vma: ProvedVma<'_, '_>,
        from: usize,
        mut record: maps_lockless_vma,
    ) -> Result<(), Full> {
        let (start, end) = (vma.start(), vma.end());
        let anon_name = vma.anon_name().map(CStr::to_bytes);
        let mut name = &[][..];
        if vma.file().is_some() {
            if let Some(anon_name) = anon_name {
                (record.name_kind, name) = (MAPS_LOCKLESS_NAME_ANON_SHMEM, anon_name);
            }
        } else if let Some(special) = vma.special_name() {
            (record.name_kind, name) = (MAPS_LOCKLESS_NAME_SPECIAL, special.to_bytes());
        } else {
            record.name_kind = self.label(start, end);
            if let (MAPS_LOCKLESS_NAME_NONE, Some(anon_name)) = (record.name_kind, anon_name) {
                (record.name_kind, name) = (MAPS_LOCKLESS_NAME_ANON, anon_name);
            }
        }
        self.push(start, from, end, record, name)
    }

    /// What a mapping without file has for a name because of its place.
    fn label(&self, start: usize, end: usize) -> u16 {
        if !self.always.names {
            MAPS_LOCKLESS_NAME_NONE
        } else if self.labels.is_heap(start, end) {
            MAPS_LOCKLESS_NAME_HEAP
        } else if self.labels.is_stack(start, end) {
            MAPS_LOCKLESS_NAME_STACK
        } else {
            MAPS_LOCKLESS_NAME_NONE
        }
    }

    /// Makes a record of a file that the batch has not met, if any of its fields is asked for, and
    /// gives up the reference to it.
    fn meet(
        &mut self,
        section: &mut Section<'_>,
        id: FileId,
        file: ARef<MappedFile>,
    ) -> Result<SeenFile, Full> {
        let mark = self.batch.mark();
        let seen = SeenFile {
            id,
            place: if self.request.asks(FILE_FIELDS) {
                self.list_file(section, &file)?
            } else {
                0
            },
            page_shift: file.page_shift(),
        };
        self.files
            .add(seen)
            .inspect_err(|Full| self.batch.rewind(mark))?;
        Ok(seen)
    }

    fn list_file(&mut self, section: &mut Section<'_>, file: &MappedFile) -> Result<u32, Full> {
        let mut record = maps_lockless_file::default();
        let request = self.request;
        let asked = |field| request.asks(field);
        if asked(MAPS_LOCKLESS_FIELD_DEV | MAPS_LOCKLESS_FIELD_INO) {
            let inode = file.user_inode();
            if asked(MAPS_LOCKLESS_FIELD_DEV) {
                record.valid |= MAPS_LOCKLESS_FIELD_DEV;
                record.dev_major = inode.major;
                record.dev_minor = inode.minor;
            }
            if asked(MAPS_LOCKLESS_FIELD_INO) {
                record.valid |= MAPS_LOCKLESS_FIELD_INO;
                record.ino = inode.ino;
            }
        }
        if asked(MAPS_LOCKLESS_FIELD_DELETED) {
            record.valid |= MAPS_LOCKLESS_FIELD_DELETED;
            if file.user_path_deleted() {
                record.flags |= MAPS_LOCKLESS_FILE_DELETED;
            }
        }
        let mut id_buf = [0; BUILD_ID_MAX];
        let mut id_len = 0;
        if asked(MAPS_LOCKLESS_FIELD_BUILD_ID) {
            self.work += BUILD_ID_WORK;
            record.valid |= MAPS_LOCKLESS_FIELD_BUILD_ID;
            match file.build_id() {
                BuildId::Found(bytes, len) => (id_buf, id_len) = (bytes, len),
                BuildId::None => {}
                BuildId::NotResident => {
                    record.valid &= !MAPS_LOCKLESS_FIELD_BUILD_ID;
                    record.flags |= MAPS_LOCKLESS_FILE_BUILD_ID_NOT_RESIDENT;
                }
            }
        }
        let mut path = &[][..];
        if asked(MAPS_LOCKLESS_FIELD_PATH) {
            let found = section.paths.path(file);
            self.work += match found {
                Ok(UserPath { walked: false, .. }) => NAME_WORK,
                _ => PATH_WORK,
            };
            match found {
                Ok(UserPath { bytes, .. }) => {
                    record.valid |= MAPS_LOCKLESS_FIELD_PATH;
                    path = bytes;
                }
                Err(_) => record.flags |= MAPS_LOCKLESS_FILE_PATH_TOO_LONG,
            }
        }
        let build_id = id_buf.get(..id_len).unwrap_or(&id_buf);
        self.batch.push_file(record, path, build_id)
    }

    /// Lists the mapping that every address space has behind all others, where there is one.
    fn list_gate(&mut self) -> Result<(), Full> {
        let Some(gate) = self.mm.gate_vma().filter(|gate| {
            gate.end > self.cursor
                && gate.start < self.request.end
                && self.request.wants(gate.flags, false)
        }) else {
            return Ok(());
        };
        let mut record = self.record(gate.flags, 0);
        let mut name = &[][..];
        if let Some(given) = gate.name.filter(|_| self.always.names) {
            record.name_kind = MAPS_LOCKLESS_NAME_SPECIAL;
            name = given.to_bytes();
        }
        let from = self.cursor.max(gate.start);
        self.push(gate.start, from, gate.end, record, name)
    }
}
