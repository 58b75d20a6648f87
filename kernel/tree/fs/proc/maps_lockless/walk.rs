// SPDX-License-Identifier: GPL-2.0

//! The walk through an address space.
//!
//! Each VMA and each gap is looked up anew by the address behind the one before it, so that what
//! stays mapped throughout appears, and what is listed never goes back. Nothing is tried again
//! until it fits together: what may not fit is marked.

use super::{
    batch::{Batch, Full, Name, NamePlace},
    flags,
    wire::*,
};
use core::mem;
use kernel::{
    bindings,
    fs::MappedFile,
    mm::{
        lockless::{FoundVma, LabelBounds, LocklessVmas, Lookup, ProvedVma, VmaFile},
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

/// An RCU section ends after this many VMAs and gaps,
const SECTION_LOOKUPS: u32 = 64;
/// or once it has made this many bytes of records.
const SECTION_BYTES: usize = 16384;
/// The most that one record adds to a section that was not over yet.
const RECORD_BYTES: usize = size_of::<maps_lockless_vma>() + PATH_MAX;
/// A read ends after this many RCU sections, whatever it has found.
const READ_SECTIONS: u32 = 1024;

const PATH_MAX: usize = bindings::PATH_MAX as usize;
const HEADER: usize = size_of::<maps_lockless_batch>();

/// What a read has done.
pub(crate) struct Done {
    /// Bytes written to user space.
    pub(crate) bytes: usize,
    /// The new file position.
    pub(crate) pos: u64,
}

/// Reads one batch of the listing, from address `pos` on.
pub(crate) fn read(mm: Option<&Mm>, out: &mut UserSliceWriter, pos: u64) -> Result<Done> {
    if out.is_empty() {
        return Ok(Done { bytes: 0, pos });
    }
    if out.len() < HEADER {
        return Err(EINVAL);
    }
    let poll = out.len() == HEADER;
    if pos == MAPS_LOCKLESS_POS_END && !poll {
        return Ok(Done { bytes: 0, pos });
    }

    let mut batch = Batch::new(out.len())?;
    let mut header = new_header(mm);
    header.end_reason = match mm {
        None => MAPS_LOCKLESS_END_NO_MM,
        // The last user may have to free a huge address space: not here, but in a kernel thread.
        Some(mm) => match mm.mmget_not_zero().map(MmWithUser::into_mmput_async) {
            None => MAPS_LOCKLESS_END_GONE,
            Some(_) if poll => MAPS_LOCKLESS_END_POLL,
            Some(mm) => {
                let mut walk = Walk::new(&mm, &mut batch, pos)?;
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

fn new_header(mm: Option<&Mm>) -> maps_lockless_batch {
    maps_lockless_batch {
        magic: MAPS_LOCKLESS_MAGIC,
        version: MAPS_LOCKLESS_VERSION,
        header_size: HEADER as u16,
        size: 0,
        count: 0,
        flags: 0,
        end_reason: 0,
        next: 0,
        mm_id: mm.map_or(0, Mm::maps_id),
        seq_begin: mm.map_or(0, Mm::maps_change_seq),
        seq_end: 0,
        fields: MAPS_LOCKLESS_FIELD_FLAGS
            | MAPS_LOCKLESS_FIELD_PGOFF
            | MAPS_LOCKLESS_FIELD_DEV
            | MAPS_LOCKLESS_FIELD_INO
            | MAPS_LOCKLESS_FIELD_NAME,
        vma_flags: flags::SUPPORTED,
        page_size: PAGE_SIZE as u32,
        reserved: 0,
    }
}

/// The file that was met last, and what was found out about it.
///
/// Neighbouring VMAs often map one file: its path is resolved once, and its bytes stand in the
/// batch once. The reference that this holds makes the file's address its identity. It is held
/// until another file is met or the batch ends.
struct LastFile {
    file: ARef<MappedFile>,
    /// Its path, or [`None`] where that was not needed yet or is longer than `PATH_MAX`.
    path: Option<(NamePlace, bool)>,
}

/// A walk in progress.
struct Walk<'a> {
    mm: &'a MmWithUser,
    labels: LabelBounds,
    batch: &'a mut Batch,
    /// Everything below this address has been listed.
    cursor: usize,
    last_file: Option<LastFile>,
    path_buf: KVec<u8>,
}

impl<'a> Walk<'a> {
    fn new(mm: &'a MmWithUser, batch: &'a mut Batch, pos: u64) -> Result<Self> {
        Ok(Self {
            mm,
            labels: mm.label_bounds(),
            batch,
            cursor: pos as usize & PAGE_MASK,
            last_file: None,
            path_buf: KVec::zeroed(PATH_MAX, GFP_KERNEL_ACCOUNT)?,
        })
    }

    /// Fills the batch. Returns why it ended, or `EOVERFLOW` where it has no room for one record.
    fn run(&mut self) -> Result<u32> {
        for _ in 0..READ_SECTIONS {
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

        for _ in 0..SECTION_LOOKUPS {
            let known = self.last_file.as_ref().map(|last| &*last.file);
            match vmas.lookup(self.cursor, known) {
                Lookup::Gap(end) => self.cursor = end,
                Lookup::Vma(found) => {
                    let end = found.end;
                    if self.list(found).is_err() {
                        return Some(MAPS_LOCKLESS_END_FULL);
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
            if self.batch.len() - begin >= SECTION_BYTES {
                break;
            }
        }
        debug_assert!(self.batch.len() - begin < SECTION_BYTES + RECORD_BYTES);
        None
    }

    /// Makes a record of a VMA.
    fn list(&mut self, found: FoundVma<'_>) -> Result<(), Full> {
        let mut record = self.new_record(found.start, found.end);
        let Some(mut vma) = found.vma else {
            record.flags |= MAPS_LOCKLESS_REC_WITHHELD;
            self.batch.push(record, Name::None)?;
            return Ok(());
        };

        if !vma.stable {
            record.flags |= MAPS_LOCKLESS_REC_UNSTABLE;
        }
        record.valid |= MAPS_LOCKLESS_FIELD_FLAGS | MAPS_LOCKLESS_FIELD_NAME;
        record.vma_flags = flags::to_uapi(vma.flags);
        match mem::replace(&mut vma.file, VmaFile::None) {
            VmaFile::None => {
                let name = self.name_without_file(&mut record, &vma);
                self.batch.push(record, name)?;
                return Ok(());
            }
            VmaFile::Known => {}
            VmaFile::Pinned(file) => self.last_file = Some(LastFile { file, path: None }),
        }
        self.list_file(record, &vma)
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
    ) -> Name<'v> {
        let (start, end) = (record.vma_start as usize, record.end as usize);
        let (kind, name) = if let Some(name) = vma.special_name {
            (MAPS_LOCKLESS_NAME_SPECIAL, Name::Bytes(name.to_bytes()))
        } else if self.labels.is_heap(start, end) {
            (MAPS_LOCKLESS_NAME_HEAP, Name::None)
        } else if self.labels.is_stack(start, end) {
            (MAPS_LOCKLESS_NAME_STACK, Name::None)
        } else if let Some(name) = vma.anon_name {
            (MAPS_LOCKLESS_NAME_ANON, Name::Bytes(name.to_bytes()))
        } else {
            (MAPS_LOCKLESS_NAME_NONE, Name::None)
        };
        record.name_kind = kind;
        name
    }

    /// Makes a record of a VMA that maps the file in `last_file`.
    fn list_file(
        &mut self,
        mut record: maps_lockless_vma,
        vma: &ProvedVma<'_>,
    ) -> Result<(), Full> {
        let Some(last) = &mut self.last_file else {
            return Ok(());
        };
        let inode = last.file.user_inode();
        record.valid |=
            MAPS_LOCKLESS_FIELD_PGOFF | MAPS_LOCKLESS_FIELD_DEV | MAPS_LOCKLESS_FIELD_INO;
        record.pgoff =
            ((vma.pgoff as u64) << PAGE_SHIFT).wrapping_add(record.start - record.vma_start);
        record.dev_major = inode.major;
        record.dev_minor = inode.minor;
        record.ino = inode.ino;

        if let Some(name) = vma.anon_name {
            record.name_kind = MAPS_LOCKLESS_NAME_ANON_SHMEM;
            self.batch.push(record, Name::Bytes(name.to_bytes()))?;
            return Ok(());
        }

        record.name_kind = MAPS_LOCKLESS_NAME_PATH;
        if let Some((place, deleted)) = last.path {
            mark_deleted(&mut record, deleted);
            self.batch.push(record, Name::Again(place))?;
            return Ok(());
        }
        match last.file.user_path(&mut self.path_buf) {
            Ok(path) => {
                mark_deleted(&mut record, path.deleted);
                let place = self.batch.push(record, Name::Bytes(path.bytes))?;
                last.path = Some((place, path.deleted));
            }
            Err(_) => {
                record.valid &= !MAPS_LOCKLESS_FIELD_NAME;
                record.name_kind = MAPS_LOCKLESS_NAME_NONE;
                record.flags |= MAPS_LOCKLESS_REC_NAME_TOO_LONG;
                self.batch.push(record, Name::None)?;
            }
        }
        Ok(())
    }

    /// Lists the mapping that every address space has behind all others, where there is one.
    fn list_gate(&mut self) -> Result<(), Full> {
        let Some(gate) = self.mm.gate_vma().filter(|gate| gate.end > self.cursor) else {
            return Ok(());
        };
        let mut record = self.new_record(gate.start, gate.end);
        record.valid = MAPS_LOCKLESS_FIELD_FLAGS | MAPS_LOCKLESS_FIELD_NAME;
        record.vma_flags = flags::to_uapi(gate.flags);
        let name = match gate.name {
            Some(name) => {
                record.name_kind = MAPS_LOCKLESS_NAME_SPECIAL;
                Name::Bytes(name.to_bytes())
            }
            None => Name::None,
        };
        self.batch.push(record, name)?;
        Ok(())
    }
}

fn mark_deleted(record: &mut maps_lockless_vma, deleted: bool) {
    if deleted {
        record.flags |= MAPS_LOCKLESS_REC_DELETED;
    }
}
