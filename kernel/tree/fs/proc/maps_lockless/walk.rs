// SPDX-License-Identifier: GPL-2.0

//! The walk through an address space.
//!
//! Each VMA and each gap is looked up anew by the address behind the one before it, so that what
//! stays mapped throughout appears, and what is listed never goes back. Nothing is tried again
//! until it fits together: what may not fit is marked.

use super::{
    batch::{Batch, Blob, Full},
    files::{FileBuildId, Files},
    flags,
    request::{Request, SUPPORTED_FIELDS},
    wire::*,
};
use core::mem;
use kernel::{
    bindings,
    fs::{FileAddr, BUILD_ID_MAX},
    mm::{
        lockless::{
            FoundVma, LabelBounds, LocklessVmas, Lookup, ProvedVma, VmaFields, VmaFile, Wanted,
        },
        virt::{flags as vm_flags, vm_flags_t},
        Mm, MmWithUser,
    },
    page::{PAGE_MASK, PAGE_SHIFT, PAGE_SIZE},
    prelude::*,
    sync::{
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
/// The most that one record adds to a section that was not over yet.
const RECORD_BYTES: usize = FIXED + PATH_MAX + BUILD_ID_MAX.next_multiple_of(8);
/// A read ends after this many RCU sections, whatever it has found.
const READ_SECTIONS: u32 = 1024;

const PATH_MAX: usize = bindings::PATH_MAX as usize;
const HEADER: usize = size_of::<maps_lockless_batch>();
const FIXED: usize = size_of::<maps_lockless_vma>();
const BATCH_VER0: usize = MAPS_LOCKLESS_BATCH_SIZE_VER0 as usize;
const RECORD_VER0: usize = MAPS_LOCKLESS_RECORD_SIZE_VER0 as usize;

/// What a read has done.
pub(crate) struct Done {
    /// Bytes written to user space.
    pub(crate) bytes: usize,
    /// The new file position.
    pub(crate) pos: u64,
}

/// Reads one batch of the listing, from address `pos` on.
pub(crate) fn read(
    mm: Option<&Mm>,
    request: &Request,
    out: &mut UserSliceWriter,
    pos: u64,
) -> Result<Done> {
    if out.is_empty() {
        return Ok(Done { bytes: 0, pos });
    }
    if out.len() < BATCH_VER0 {
        return Err(EINVAL);
    }
    // By the sizes that were published first: a buffer that is no poll today never becomes one.
    let poll = out.len() < BATCH_VER0 + RECORD_VER0;
    if pos == MAPS_LOCKLESS_POS_END && !poll {
        return Ok(Done { bytes: 0, pos });
    }

    let mut batch = Batch::new(if poll { HEADER } else { out.len() })?;
    let mut header = new_header(mm, request);
    header.end_reason = match mm {
        None => MAPS_LOCKLESS_END_NO_MM,
        // The last user may have to free a huge address space: not here, but in a kernel thread.
        Some(mm) => match mm.mmget_not_zero().map(MmWithUser::into_mmput_async) {
            None => MAPS_LOCKLESS_END_GONE,
            Some(_) if poll => MAPS_LOCKLESS_END_POLL,
            Some(mm) => {
                let mut walk = Walk::new(&mm, request, &mut batch, pos)?;
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
    if matches!(
        header.end_reason,
        MAPS_LOCKLESS_END_COMPLETE | MAPS_LOCKLESS_END_GONE | MAPS_LOCKLESS_END_NO_MM
    ) {
        header.flags |= MAPS_LOCKLESS_BATCH_FINAL;
        header.next = MAPS_LOCKLESS_POS_END;
    }
    if poll {
        header.next = pos;
    }

    let pos = header.next;
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
        next: 0,
        mm_id: mm.map_or(0, Mm::maps_id),
        seq_begin: mm.map_or(0, Mm::maps_change_seq),
        seq_end: 0,
        fields: SUPPORTED_FIELDS,
        fields_asked: request.fields(),
        vma_flags: flags::SUPPORTED,
        page_size: PAGE_SIZE as u32,
        reserved: 0,
    }
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
        self.request.asks(
            MAPS_LOCKLESS_FIELD_DEV
                | MAPS_LOCKLESS_FIELD_INO
                | MAPS_LOCKLESS_FIELD_NAME
                | MAPS_LOCKLESS_FIELD_BUILD_ID,
        )
    }

    fn pinned(&self, file: FileAddr) -> Option<usize> {
        self.files.find(file)
    }
}

impl<'a> Walk<'a> {
    fn new(
        mm: &'a MmWithUser,
        request: &'a Request,
        batch: &'a mut Batch,
        pos: u64,
    ) -> Result<Self> {
        Ok(Self {
            mm,
            request,
            labels: mm.label_bounds(),
            batch,
            cursor: request.start.max(pos as usize) & PAGE_MASK,
            files: Files::new(),
            path_buf: if request.asks(MAPS_LOCKLESS_FIELD_NAME) {
                KVec::zeroed(PATH_MAX, GFP_KERNEL_ACCOUNT)?
            } else {
                KVec::new()
            },
        })
    }

    /// Fills the batch. Returns why it ended, or `EOVERFLOW` where it has no room for one record.
    fn run(&mut self) -> Result<u32> {
        for _ in 0..READ_SECTIONS {
            // Each unit of work adds one at most.
            self.files.reserve(SECTION_WORK)?;
            if let Some(reason) = self.section() {
                return if reason == MAPS_LOCKLESS_END_FULL && self.batch.count() == 0 {
                    Err(EOVERFLOW)
                } else {
                    Ok(reason)
                };
            }
            if current!().fatal_signal_pending() {
                return Ok(MAPS_LOCKLESS_END_SIGNAL);
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
            if self.batch.count() >= self.request.max_records {
                return Some(MAPS_LOCKLESS_END_LIMIT);
            }
            let want = Want {
                request: self.request,
                files: &self.files,
            };
            match vmas.lookup(self.cursor, &want) {
                Lookup::Gap(end) => self.cursor = end,
                Lookup::Vma(found) => {
                    let end = found.end;
                    match self.list(found) {
                        Ok(more) => work += more,
                        Err(Full) => return Some(MAPS_LOCKLESS_END_FULL),
                    }
                    self.cursor = end;
                }
                Lookup::End => {
                    return Some(match self.list_gate() {
                        Ok(()) => MAPS_LOCKLESS_END_COMPLETE,
                        Err(Full) => MAPS_LOCKLESS_END_FULL,
                    });
                }
            }
            work += 1;
        }
        debug_assert!(self.batch.len() - begin < SECTION_BYTES + RECORD_BYTES);
        None
    }

    /// Makes a record of a VMA, if it is wanted. Returns the work that this took.
    fn list(&mut self, found: FoundVma<'_>) -> Result<usize, Full> {
        let mut record = self.new_record(found.start, found.end);
        let mut vma = match found.vma {
            VmaFields::Proved(vma) => vma,
            VmaFields::Unwanted => return Ok(0),
            // It may be one that is wanted.
            VmaFields::Unproved => {
                record.flags |= MAPS_LOCKLESS_REC_WITHHELD;
                self.batch.push(record, Blob::None, Blob::None)?;
                return Ok(0);
            }
        };

        if !vma.stable {
            record.flags |= MAPS_LOCKLESS_REC_UNSTABLE;
        }
        let file = match mem::replace(&mut vma.file, VmaFile::None) {
            VmaFile::None => {
                self.fill_flags(&mut record, vma.flags, false);
                let name = self.name_without_file(&mut record, &vma);
                self.batch.push(record, name, Blob::None)?;
                return Ok(0);
            }
            VmaFile::Unwanted => None,
            VmaFile::Known(place) => Some(place),
            VmaFile::Pinned(file) => Some(self.files.add(file)?),
        };
        self.fill_flags(&mut record, vma.flags, true);
        if self.request.asks(MAPS_LOCKLESS_FIELD_PGOFF) {
            record.valid |= MAPS_LOCKLESS_FIELD_PGOFF;
            record.pgoff =
                ((vma.pgoff as u64) << PAGE_SHIFT).wrapping_add(record.start - record.vma_start);
        }
        match file {
            Some(place) => self.list_file(record, &vma, place),
            None => {
                self.batch.push(record, Blob::None, Blob::None)?;
                Ok(0)
            }
        }
    }

    fn fill_flags(&self, record: &mut maps_lockless_vma, flags: vm_flags_t, file: bool) {
        if self.request.asks(MAPS_LOCKLESS_FIELD_FLAGS) {
            record.valid |= MAPS_LOCKLESS_FIELD_FLAGS;
            record.vma_flags = flags::to_uapi(flags, file);
        }
    }

    fn new_record(&self, start: usize, end: usize) -> maps_lockless_vma {
        let clipped = start < self.cursor;
        maps_lockless_vma {
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

    /// Names a VMA without file, in the order of preference that maps has.
    fn name_without_file<'v>(
        &self,
        record: &mut maps_lockless_vma,
        vma: &ProvedVma<'v>,
    ) -> Blob<'v> {
        if !self.request.asks(MAPS_LOCKLESS_FIELD_NAME) {
            return Blob::None;
        }
        let (start, end) = (record.vma_start as usize, record.end as usize);
        let (kind, name) = if let Some(name) = vma.special_name {
            (MAPS_LOCKLESS_NAME_SPECIAL, Blob::New(name.to_bytes()))
        } else if self.labels.is_heap(start, end) {
            (MAPS_LOCKLESS_NAME_HEAP, Blob::None)
        } else if self.labels.is_stack(start, end) {
            (MAPS_LOCKLESS_NAME_STACK, Blob::None)
        } else if let Some(name) = vma.anon_name {
            (MAPS_LOCKLESS_NAME_ANON, Blob::New(name.to_bytes()))
        } else {
            (MAPS_LOCKLESS_NAME_NONE, Blob::None)
        };
        record.valid |= MAPS_LOCKLESS_FIELD_NAME;
        record.name_kind = kind;
        name
    }

    /// Makes a record of a VMA that maps a file. Returns the work that this took.
    fn list_file(
        &mut self,
        mut record: maps_lockless_vma,
        vma: &ProvedVma<'_>,
        place: usize,
    ) -> Result<usize, Full> {
        let mut work = 0;
        let mut build_id = FileBuildId::None;
        if self.request.asks(MAPS_LOCKLESS_FIELD_BUILD_ID) && vma.flags & vm_flags::EXEC != 0 {
            build_id = self.files.build_id(place)?;
            work += BUILD_ID_WORK;
            match build_id {
                FileBuildId::NotResident => record.flags |= MAPS_LOCKLESS_REC_BUILD_ID_NOT_RESIDENT,
                _ => record.valid |= MAPS_LOCKLESS_FIELD_BUILD_ID,
            }
        }
        let seen = self.files.get(place)?;
        if self.request.asks(MAPS_LOCKLESS_FIELD_DEV) {
            record.valid |= MAPS_LOCKLESS_FIELD_DEV;
            record.dev_major = seen.inode.major;
            record.dev_minor = seen.inode.minor;
        }
        if self.request.asks(MAPS_LOCKLESS_FIELD_INO) {
            record.valid |= MAPS_LOCKLESS_FIELD_INO;
            record.ino = seen.inode.ino;
        }

        // Whether a path that is new to the batch is that of an unlinked file.
        let mut new_path = None;
        let mut name = Blob::None;
        if self.request.asks(MAPS_LOCKLESS_FIELD_NAME) {
            record.valid |= MAPS_LOCKLESS_FIELD_NAME;
            record.name_kind = MAPS_LOCKLESS_NAME_PATH;
            if let Some(given) = vma.anon_name {
                record.name_kind = MAPS_LOCKLESS_NAME_ANON_SHMEM;
                name = Blob::New(given.to_bytes());
            } else if let Some((place, deleted)) = seen.path {
                mark_deleted(&mut record, deleted);
                name = Blob::Again(place);
            } else {
                work += PATH_WORK;
                match seen.file.user_path(&mut self.path_buf) {
                    Ok(path) => {
                        mark_deleted(&mut record, path.deleted);
                        new_path = Some(path.deleted);
                        name = Blob::New(path.bytes);
                    }
                    Err(_) => {
                        record.valid &= !MAPS_LOCKLESS_FIELD_NAME;
                        record.name_kind = MAPS_LOCKLESS_NAME_NONE;
                        record.flags |= MAPS_LOCKLESS_REC_NAME_TOO_LONG;
                    }
                }
            }
        }

        let (name_place, id_place) = self.batch.push(record, name, build_id.blob())?;
        if let Some(deleted) = new_path {
            seen.path = Some((name_place, deleted));
        }
        if let FileBuildId::New(..) = build_id {
            seen.build_id = Some(FileBuildId::At(id_place));
        }
        Ok(work)
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
        let mut name = Blob::None;
        if self.request.asks(MAPS_LOCKLESS_FIELD_NAME) {
            record.valid |= MAPS_LOCKLESS_FIELD_NAME;
            if let Some(given) = gate.name {
                record.name_kind = MAPS_LOCKLESS_NAME_SPECIAL;
                name = Blob::New(given.to_bytes());
            }
        }
        self.batch.push(record, name, Blob::None)?;
        Ok(())
    }
}

fn mark_deleted(record: &mut maps_lockless_vma, deleted: bool) {
    if deleted {
        record.flags |= MAPS_LOCKLESS_REC_DELETED;
    }
}
