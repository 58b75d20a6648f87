// SPDX-License-Identifier: GPL-2.0

//! The walk through an address space.
//!
//! Each VMA and each gap is looked up anew by the address behind the one before it, so that what
//! stays mapped throughout appears, and what is listed never goes back. Nothing is tried again
//! until it fits together: what may not fit is marked.

use super::{
    batch::{Batch, Full},
    files::{Files, SeenFile},
    flags,
    request::{supported_fields, Request, FILE_FIELDS},
    wire::*,
};
use core::mem;
use kernel::{
    bindings,
    fs::{BuildId, MappedFile, BUILD_ID_MAX},
    mm::{
        lockless::{
            task_size_max, FileId, FoundVma, LabelBounds, LocklessVmas, Lookup, ProvedVma,
            VmaFields, VmaFile, Wanted,
        },
        virt::{flags as vm_flags, vm_flags_t},
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
/// a path that is resolved,
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

const PATH_MAX: usize = bindings::PATH_MAX as usize;
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
pub(crate) fn read(
    mm: Option<&Mm>,
    request: &Request,
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

    let mut batch = Batch::new(out.len())?;
    let mut header = new_header(mm, request);
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
                let mut walk = Walk::new(&mm, request, &mut batch, cursor)?;
                let reason = walk.run()?;
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

    let bytes = batch.finish(header);
    out.write_slice(bytes)?;
    Ok(Done {
        bytes: bytes.len(),
        pos,
    })
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
/// users.
pub(crate) fn state(mm: Option<&Mm>, request: &Request) -> maps_lockless_state {
    let mut state = maps_lockless_state {
        status: MAPS_LOCKLESS_STATUS_NO_MM,
        page_size: PAGE_SIZE as u32,
        request: request.number,
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
struct Walk<'a> {
    mm: &'a MmWithUser,
    request: &'a Request,
    labels: LabelBounds,
    batch: &'a mut Batch,
    /// Everything below this address has been listed.
    cursor: usize,
    files: Files,
    path_buf: KVec<u8>,
}

/// What lookups should find.
struct Want<'a> {
    request: &'a Request,
    files: &'a Files,
}

impl Wanted for Want<'_> {
    fn vma(&self, flags: vm_flags_t, file: bool) -> bool {
        self.request.wants(flags, file)
    }

    fn file(&self) -> bool {
        self.request
            .asks(FILE_FIELDS | MAPS_LOCKLESS_FIELD_PAGE_SIZE)
    }

    fn known(&self, file: FileId) -> Option<usize> {
        self.files.find(file)
    }
}

impl<'a> Walk<'a> {
    fn new(
        mm: &'a MmWithUser,
        request: &'a Request,
        batch: &'a mut Batch,
        cursor: usize,
    ) -> Result<Self> {
        Ok(Self {
            mm,
            request,
            labels: mm.label_bounds(),
            batch,
            cursor,
            files: Files::new(),
            path_buf: if request.asks(MAPS_LOCKLESS_FIELD_PATH) {
                KVec::zeroed(PATH_MAX, GFP_KERNEL_ACCOUNT)?
            } else {
                KVec::new()
            },
        })
    }

    /// Fills the batch. Returns why it ended, or `ENOSPC` where it has no room for one mapping.
    fn run(&mut self) -> Result<u32> {
        for _ in 0..READ_SECTIONS {
            // Each unit of work adds one at most.
            self.files.reserve(SECTION_WORK)?;
            if let Some(reason) = self.section() {
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
        }
        Ok(MAPS_LOCKLESS_END_BUDGET)
    }

    /// Lists some VMAs within one RCU section. Returns why the batch has ended, if it has.
    fn section(&mut self) -> Option<u32> {
        let begin = self.batch.len();
        let rcu = rcu::read_lock();
        let vmas = LocklessVmas::new(self.mm, &rcu);

        let mut work = 0;
        while work < SECTION_WORK && self.batch.len() - begin < SECTION_BYTES {
            if self.cursor >= self.request.end {
                return Some(MAPS_LOCKLESS_END_COMPLETE);
            }
            if self.batch.mappings() >= self.request.max_records {
                return Some(MAPS_LOCKLESS_END_LIMIT);
            }
            let want = Want {
                request: self.request,
                files: &self.files,
            };
            let listed = match vmas.lookup(self.cursor, &want) {
                Lookup::Gap(end) => Ok((0, end)),
                Lookup::Unknown(end) => self.list_unknown(end),
                Lookup::Vma(found) => {
                    let end = found.end;
                    self.list(found).map(|more| (more, Some(end)))
                }
            };
            match listed {
                Ok((more, Some(end))) => {
                    work += 1 + more;
                    self.cursor = end;
                }
                Ok((_, None)) => {
                    return Some(match self.list_gate() {
                        Ok(()) => MAPS_LOCKLESS_END_COMPLETE,
                        Err(Full) => MAPS_LOCKLESS_END_FULL,
                    });
                }
                Err(Full) => return Some(MAPS_LOCKLESS_END_FULL),
            }
        }
        debug_assert!(self.batch.len() - begin < SECTION_BYTES + MAPPING_BYTES);
        None
    }

    /// Makes a record of a range of which nothing could be proved, up to `end` if there is one.
    /// Returns the work that this took, and where to go on, if there may be more.
    fn list_unknown(&mut self, end: Option<usize>) -> Result<(usize, Option<usize>), Full> {
        // Behind what a process can map there is nothing to be known.
        let end = end.unwrap_or(usize::MAX).min(task_size_max());
        if end <= self.cursor {
            return Ok((0, None));
        }
        self.batch.push_unknown(self.cursor as u64, end as u64)?;
        Ok((0, Some(end)))
    }

    /// Makes a record of a VMA, if it is wanted, and one of its file, if the batch has none.
    /// Returns the work that this took.
    fn list(&mut self, found: FoundVma<'_>) -> Result<usize, Full> {
        let mark = self.batch.mark();
        self.list_vma(found)
            .inspect_err(|Full| self.batch.rewind(mark))
    }

    fn list_vma(&mut self, found: FoundVma<'_>) -> Result<usize, Full> {
        let mut record = self.new_record(found.start, found.end);
        let mut vma = match found.vma {
            VmaFields::Proved(vma) => vma,
            VmaFields::Unwanted => return Ok(0),
            // It may be one that is wanted.
            VmaFields::Unproved => {
                record.flags |= MAPS_LOCKLESS_REC_WITHHELD;
                self.batch.push_vma(record, &[])?;
                return Ok(0);
            }
        };

        if !vma.stable {
            record.flags |= MAPS_LOCKLESS_REC_UNSTABLE;
        }
        let mut work = 0;
        let (is_file, seen) = match mem::replace(&mut vma.file, VmaFile::None) {
            VmaFile::None => (false, None),
            VmaFile::Unwanted => (true, None),
            VmaFile::Known(place) => (true, self.files.get(place)),
            VmaFile::Pinned(id, file) => (true, Some(self.meet(id, file, &mut work)?)),
        };
        record.file = seen.map_or(0, |seen| seen.place);
        self.fill_flags(&mut record, vma.flags, is_file);
        if is_file && self.request.asks(MAPS_LOCKLESS_FIELD_OFFSET) {
            record.valid |= MAPS_LOCKLESS_FIELD_OFFSET;
            record.offset =
                ((vma.pgoff as u64) << PAGE_SHIFT).wrapping_add(record.start - record.vma_start);
        }
        let page_shift = seen.map_or(Some(PAGE_SHIFT as u8), |seen| seen.page_shift);
        self.fill_page_shift(&mut record, page_shift);
        let name = self.name(&mut record, &vma, is_file);
        self.batch.push_vma(record, name)?;
        Ok(work)
    }

    fn fill_flags(&self, record: &mut maps_lockless_vma, flags: vm_flags_t, file: bool) {
        if self.request.asks(MAPS_LOCKLESS_FIELD_FLAGS) {
            record.valid |= MAPS_LOCKLESS_FIELD_FLAGS;
            record.vma_flags = flags::to_uapi(flags, file);
        }
        if self.request.asks(MAPS_LOCKLESS_FIELD_PKEY) {
            record.valid |= MAPS_LOCKLESS_FIELD_PKEY;
            record.pkey = vm_flags::pkey(flags);
        }
    }

    fn fill_page_shift(&self, record: &mut maps_lockless_vma, page_shift: Option<u8>) {
        if !self.request.asks(MAPS_LOCKLESS_FIELD_PAGE_SIZE) {
            return;
        }
        if let Some(page_shift) = page_shift {
            record.valid |= MAPS_LOCKLESS_FIELD_PAGE_SIZE;
            record.page_shift = page_shift;
        }
    }

    fn new_record(&self, start: usize, end: usize) -> maps_lockless_vma {
        let clipped = start < self.cursor;
        maps_lockless_vma {
            valid: MAPS_LOCKLESS_FIELD_RANGE,
            start: start.max(self.cursor) as u64,
            end: end as u64,
            vma_start: start as u64,
            flags: if clipped {
                MAPS_LOCKLESS_REC_CLIPPED
            } else {
                0
            },
            ..Default::default()
        }
    }

    /// Fills in what kind of name a VMA has of its own, in the order of preference that maps has.
    /// Returns the name.
    fn name<'v>(
        &self,
        record: &mut maps_lockless_vma,
        vma: &ProvedVma<'v>,
        is_file: bool,
    ) -> &'v [u8] {
        if !self.request.asks(MAPS_LOCKLESS_FIELD_NAME) {
            return &[];
        }
        let (start, end) = (record.vma_start as usize, record.end as usize);
        let (kind, name) = match (vma.special_name, vma.anon_name) {
            (_, Some(name)) if is_file => (MAPS_LOCKLESS_NAME_ANON_SHMEM, name.to_bytes()),
            _ if is_file => (MAPS_LOCKLESS_NAME_NONE, &[][..]),
            (Some(name), _) => (MAPS_LOCKLESS_NAME_SPECIAL, name.to_bytes()),
            _ if self.labels.is_heap(start, end) => (MAPS_LOCKLESS_NAME_HEAP, &[][..]),
            _ if self.labels.is_stack(start, end) => (MAPS_LOCKLESS_NAME_STACK, &[][..]),
            (_, Some(name)) => (MAPS_LOCKLESS_NAME_ANON, name.to_bytes()),
            _ => (MAPS_LOCKLESS_NAME_NONE, &[][..]),
        };
        record.valid |= MAPS_LOCKLESS_FIELD_NAME;
        record.name_kind = kind;
        name
    }

    /// Makes a record of a file that the batch has not met, if any of its fields is asked for, and
    /// gives up the reference to it. Adds the work that this took.
    fn meet(
        &mut self,
        id: FileId,
        file: ARef<MappedFile>,
        work: &mut usize,
    ) -> Result<SeenFile, Full> {
        let seen = SeenFile {
            id,
            place: if self.request.asks(FILE_FIELDS) {
                self.list_file(&file, work)?
            } else {
                0
            },
            page_shift: file.page_shift(),
        };
        self.files.add(seen)?;
        Ok(seen)
    }

    fn list_file(&mut self, file: &MappedFile, work: &mut usize) -> Result<u32, Full> {
        let mut record = maps_lockless_file::default();
        let asked = |field| self.request.asks(field);
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
            *work += BUILD_ID_WORK;
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
            *work += PATH_WORK;
            match file.user_path(&mut self.path_buf) {
                Ok(bytes) => {
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
        let mut record = self.new_record(gate.start, gate.end);
        self.fill_flags(&mut record, gate.flags, false);
        self.fill_page_shift(&mut record, Some(PAGE_SHIFT as u8));
        let mut name = &[][..];
        if self.request.asks(MAPS_LOCKLESS_FIELD_NAME) {
            record.valid |= MAPS_LOCKLESS_FIELD_NAME;
            if let Some(given) = gate.name {
                record.name_kind = MAPS_LOCKLESS_NAME_SPECIAL;
                name = given.to_bytes();
            }
        }
        self.batch.push_vma(record, name)
    }
}
