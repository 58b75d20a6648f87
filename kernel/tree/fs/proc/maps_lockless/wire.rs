// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! The wire format of `/proc/<pid>/maps_lockless`, ABI version 1.
//!
//! This file is the format's one source. The kernel and the `maps-lockless` library compile it as
//! it stands, and the uapi header is generated from it. It needs `core` and zerocopy's derives
//! alone; a tree without zerocopy drops the two derive lines and the import.
//!
//! Every field is a fixed-width integer in the byte order of the kernel that wrote it, at an offset
//! that is a multiple of its size, and every struct is a multiple of 8 bytes: so each has the same
//! layout for 32-bit programs, some of which align a `u64` to 4 bytes. `IntoBytes` proves at
//! compile time that no padding hides in them, `FromBytes` that any bytes may be read as one.

use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `MAPL` in a little-endian dump.
pub const MAPS_LOCKLESS_MAGIC: u32 = 0x4c50_414d;
/// The ABI version that this file describes.
pub const MAPS_LOCKLESS_VERSION: u16 = 1;
/// A buffer of this many bytes holds any record, so that no read fails for want of room.
pub const MAPS_LOCKLESS_MIN_BUFFER: u32 = 8192;
/// The kernel returns no more than this many bytes a read.
pub const MAPS_LOCKLESS_MAX_BATCH: u32 = 65536;
/// The file position behind a final batch. A read from here returns 0.
pub const MAPS_LOCKLESS_POS_END: u64 = 0x7fff_ffff_ffff_ffff;

/// The letter that the number of the ioctl(2) `MAPS_LOCKLESS_IOC_REQUEST` is made with.
pub const MAPS_LOCKLESS_IOC_TYPE: u32 = 0x66;
/// The number that the number of the ioctl(2) `MAPS_LOCKLESS_IOC_REQUEST` is made with.
pub const MAPS_LOCKLESS_IOC_NR: u32 = 18;
/// The bytes of `maps_lockless_request` as first published, which are the fewest that it can have.
pub const MAPS_LOCKLESS_REQUEST_SIZE_VER0: u32 = 80;
/// The bytes of `maps_lockless_batch` as first published, which are the fewest that it can have.
pub const MAPS_LOCKLESS_BATCH_SIZE_VER0: u32 = 88;
/// The bytes of `maps_lockless_vma` as first published, which are the fewest that it can have.
pub const MAPS_LOCKLESS_RECORD_SIZE_VER0: u32 = 96;

/// Batch flag: the listing ends with this batch, for the reason that the batch gives.
pub const MAPS_LOCKLESS_BATCH_FINAL: u32 = 0x1;
/// Batch flag: not every VMA was asked for.
pub const MAPS_LOCKLESS_BATCH_SELECTED: u32 = 0x2;

/// Why a batch ended: the next record found no room. Read on.
pub const MAPS_LOCKLESS_END_FULL: u32 = 1;
/// Why a batch ended: nothing that was asked for is mapped beyond it. Final.
pub const MAPS_LOCKLESS_END_COMPLETE: u32 = 2;
/// Why a batch ended: the address space is gone, the process having exited or called execve.
/// Final. What was listed before is not complete.
pub const MAPS_LOCKLESS_END_GONE: u32 = 3;
/// Why a batch ended: there never was an address space (a kernel thread, a zombie). Final.
pub const MAPS_LOCKLESS_END_NO_MM: u32 = 4;
/// Why a batch ended: the work that one read may do is done. Read on.
pub const MAPS_LOCKLESS_END_BUDGET: u32 = 5;
/// Why a batch ended: a fatal signal is pending for the reader. Read on.
pub const MAPS_LOCKLESS_END_SIGNAL: u32 = 6;
/// Why a batch ended: the buffer has room for the header alone. The position has not moved.
pub const MAPS_LOCKLESS_END_POLL: u32 = 7;
/// Why a batch ended: it has as many records as were asked for. Read on.
pub const MAPS_LOCKLESS_END_LIMIT: u32 = 8;

/// Record type: a VMA, as `maps_lockless_vma`.
pub const MAPS_LOCKLESS_TYPE_VMA: u16 = 1;

/// Valid field: `vma_flags`.
pub const MAPS_LOCKLESS_FIELD_FLAGS: u64 = 0x1;
/// Valid field: `pgoff`. Only file-backed VMAs have it.
pub const MAPS_LOCKLESS_FIELD_PGOFF: u64 = 0x2;
/// Valid fields: `dev_major` and `dev_minor`. Only file-backed VMAs have them.
pub const MAPS_LOCKLESS_FIELD_DEV: u64 = 0x4;
/// Valid field: `ino`. Only file-backed VMAs have it.
pub const MAPS_LOCKLESS_FIELD_INO: u64 = 0x8;
/// Valid fields: `name_kind`, `name_off` and `name_len`.
pub const MAPS_LOCKLESS_FIELD_NAME: u64 = 0x10;
/// Valid fields: `build_id_off` and `build_id_len`. Only executable, file-backed VMAs have them.
pub const MAPS_LOCKLESS_FIELD_BUILD_ID: u64 = 0x20;
/// The fields that say what maps shows. They are asked for until a request says otherwise.
pub const MAPS_LOCKLESS_FIELDS_MAPS: u64 = 0x1f;

/// Record flag: the VMA was being changed, so that range and fields may be of different moments.
pub const MAPS_LOCKLESS_REC_UNSTABLE: u32 = 0x1;
/// Record flag: the fields could not be proved to be of this VMA. The range stands, they are zero.
pub const MAPS_LOCKLESS_REC_WITHHELD: u32 = 0x2;
/// Record flag: the VMA begins before `start`, at `vma_start`.
pub const MAPS_LOCKLESS_REC_CLIPPED: u32 = 0x4;
/// Record flag: the file was unlinked. Its name is the last that it had.
pub const MAPS_LOCKLESS_REC_DELETED: u32 = 0x8;
/// Record flag: the name is longer than `PATH_MAX` and was left out.
pub const MAPS_LOCKLESS_REC_NAME_TOO_LONG: u32 = 0x10;
/// Record flag: a build ID may stand in a part of the file that is not in the page cache now.
pub const MAPS_LOCKLESS_REC_BUILD_ID_NOT_RESIDENT: u32 = 0x20;

/// Name kind: the VMA has no name.
pub const MAPS_LOCKLESS_NAME_NONE: u32 = 0;
/// Name kind: the path of the mapped file, seen from the reader's root directory.
pub const MAPS_LOCKLESS_NAME_PATH: u32 = 1;
/// Name kind: given to private anonymous memory by `prctl(PR_SET_VMA_ANON_NAME)`.
pub const MAPS_LOCKLESS_NAME_ANON: u32 = 2;
/// Name kind: given to shared anonymous memory by `prctl(PR_SET_VMA_ANON_NAME)`.
pub const MAPS_LOCKLESS_NAME_ANON_SHMEM: u32 = 3;
/// Name kind: the heap that brk(2) moves. No bytes.
pub const MAPS_LOCKLESS_NAME_HEAP: u32 = 4;
/// Name kind: the stack of the main thread. No bytes.
pub const MAPS_LOCKLESS_NAME_STACK: u32 = 5;
/// Name kind: mapped by the kernel, named by it: `[vdso]`, `[vvar]`, `[vsyscall]`, `[uprobes]`.
pub const MAPS_LOCKLESS_NAME_SPECIAL: u32 = 6;

/// VMA flag: may be read. `r` in maps.
pub const MAPS_LOCKLESS_VMA_READ: u64 = 0x1;
/// VMA flag: may be written. `w` in maps.
pub const MAPS_LOCKLESS_VMA_WRITE: u64 = 0x2;
/// VMA flag: may be executed. `x` in maps.
pub const MAPS_LOCKLESS_VMA_EXEC: u64 = 0x4;
/// VMA flag: mapped with `MAP_SHARED`. `s` in maps.
pub const MAPS_LOCKLESS_VMA_SHARED: u64 = 0x8;
/// VMA flag: mprotect(2) may allow reading.
pub const MAPS_LOCKLESS_VMA_MAYREAD: u64 = 0x10;
/// VMA flag: mprotect(2) may allow writing.
pub const MAPS_LOCKLESS_VMA_MAYWRITE: u64 = 0x20;
/// VMA flag: mprotect(2) may allow executing.
pub const MAPS_LOCKLESS_VMA_MAYEXEC: u64 = 0x40;
/// VMA flag: pages are bare page frames without `struct page`.
pub const MAPS_LOCKLESS_VMA_PFNMAP: u64 = 0x80;
/// VMA flag: may hold both bare page frames and pages.
pub const MAPS_LOCKLESS_VMA_MIXEDMAP: u64 = 0x100;
/// VMA flag: maps device memory.
pub const MAPS_LOCKLESS_VMA_IO: u64 = 0x200;
/// VMA flag: fork(2) does not copy it (`MADV_DONTFORK`).
pub const MAPS_LOCKLESS_VMA_DONTCOPY: u64 = 0x400;
/// VMA flag: mremap(2) cannot expand it.
pub const MAPS_LOCKLESS_VMA_DONTEXPAND: u64 = 0x800;
/// VMA flag: pages are locked as they are faulted in (`MLOCK_ONFAULT`).
pub const MAPS_LOCKLESS_VMA_LOCKONFAULT: u64 = 0x1000;
/// VMA flag: counts against the commit limit.
pub const MAPS_LOCKLESS_VMA_ACCOUNT: u64 = 0x2000;
/// VMA flag: mapped with `MAP_NORESERVE`.
pub const MAPS_LOCKLESS_VMA_NORESERVE: u64 = 0x4000;
/// VMA flag: made of huge pages of hugetlbfs.
pub const MAPS_LOCKLESS_VMA_HUGETLB: u64 = 0x8000;
/// VMA flag: mapped with `MAP_SYNC`.
pub const MAPS_LOCKLESS_VMA_SYNC: u64 = 0x1_0000;
/// VMA flag: zero in a child (`MADV_WIPEONFORK`).
pub const MAPS_LOCKLESS_VMA_WIPEONFORK: u64 = 0x2_0000;
/// VMA flag: left out of core dumps (`MADV_DONTDUMP`).
pub const MAPS_LOCKLESS_VMA_DONTDUMP: u64 = 0x4_0000;
/// VMA flag: huge pages are asked for (`MADV_HUGEPAGE`).
pub const MAPS_LOCKLESS_VMA_HUGEPAGE: u64 = 0x8_0000;
/// VMA flag: huge pages are refused (`MADV_NOHUGEPAGE`).
pub const MAPS_LOCKLESS_VMA_NOHUGEPAGE: u64 = 0x10_0000;
/// VMA flag: KSM may merge its pages (`MADV_MERGEABLE`).
pub const MAPS_LOCKLESS_VMA_MERGEABLE: u64 = 0x20_0000;
/// VMA flag: shared, and of a file that was open for writing.
pub const MAPS_LOCKLESS_VMA_SHARED_WRITABLE: u64 = 0x40_0000;
/// VMA flag: grows downwards as it is touched, as stacks do (`MAP_GROWSDOWN`).
pub const MAPS_LOCKLESS_VMA_GROWSDOWN: u64 = 0x80_0000;
/// VMA flag: may hold guard regions (`MADV_GUARD_INSTALL`).
pub const MAPS_LOCKLESS_VMA_MAYBE_GUARD: u64 = 0x100_0000;
/// VMA flag: pages are locked in memory (mlock(2)).
pub const MAPS_LOCKLESS_VMA_LOCKED: u64 = 0x200_0000;
/// VMA flag: will be read in order (`MADV_SEQUENTIAL`).
pub const MAPS_LOCKLESS_VMA_SEQ_READ: u64 = 0x400_0000;
/// VMA flag: will be read in random order (`MADV_RANDOM`).
pub const MAPS_LOCKLESS_VMA_RAND_READ: u64 = 0x800_0000;
/// VMA flag: the architecture's own. On arm64, guarded by BTI.
pub const MAPS_LOCKLESS_VMA_ARCH_1: u64 = 0x1000_0000;
/// VMA flag: soft-dirty as a whole, see clear_refs.
pub const MAPS_LOCKLESS_VMA_SOFTDIRTY: u64 = 0x2000_0000;
/// VMA flag: userfaultfd(2) handles missing pages.
pub const MAPS_LOCKLESS_VMA_UFFD_MISSING: u64 = 0x4000_0000;
/// VMA flag: userfaultfd(2) handles writes.
pub const MAPS_LOCKLESS_VMA_UFFD_WP: u64 = 0x8000_0000;
/// VMA flag: userfaultfd(2) handles minor faults.
pub const MAPS_LOCKLESS_VMA_UFFD_MINOR: u64 = 0x1_0000_0000;
/// VMA flag: userfaultfd(2) handles reads and writes.
pub const MAPS_LOCKLESS_VMA_UFFD_RWP: u64 = 0x2_0000_0000;
/// VMA flag: a shadow stack.
pub const MAPS_LOCKLESS_VMA_SHADOW_STACK: u64 = 0x4_0000_0000;
/// VMA flag: contents may be dropped under memory pressure (`MAP_DROPPABLE`).
pub const MAPS_LOCKLESS_VMA_DROPPABLE: u64 = 0x8_0000_0000;
/// VMA flag: sealed (mseal(2)).
pub const MAPS_LOCKLESS_VMA_SEALED: u64 = 0x10_0000_0000;
/// VMA flag: memory tags are on (arm64, `PROT_MTE`).
pub const MAPS_LOCKLESS_VMA_MTE: u64 = 0x20_0000_0000;
/// VMA flag: a file is mapped. Shared anonymous memory has one too.
pub const MAPS_LOCKLESS_VMA_FILE: u64 = 0x8000_0000_0000_0000;

/// What each read(2) returns first: how to go on, and the evidence to judge the records by.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct maps_lockless_batch {
    /// `MAPS_LOCKLESS_MAGIC`. Bytes in the other order come from a machine of the other order.
    pub magic: u32,
    /// `MAPS_LOCKLESS_VERSION`.
    pub version: u16,
    /// Bytes of this header. The first record begins here. Grows in later kernels.
    pub header_size: u16,
    /// Bytes of the whole batch, header included: what read(2) returned.
    pub size: u32,
    /// Number of records.
    pub count: u32,
    /// `MAPS_LOCKLESS_BATCH_*`.
    pub flags: u32,
    /// `MAPS_LOCKLESS_END_*`: why the batch ended.
    pub end_reason: u32,
    /// The file position behind the batch: the address to go on from, or `MAPS_LOCKLESS_POS_END`.
    pub next: u64,
    /// Identity of the address space, never used again until reboot. 0: no address space.
    pub mm_id: u64,
    /// The address space's change count before the first record was made. Odd: being changed.
    pub seq_begin: u64,
    /// The same after the last record was made.
    pub seq_end: u64,
    /// `MAPS_LOCKLESS_FIELD_*` that this kernel can fill.
    pub fields: u64,
    /// `MAPS_LOCKLESS_FIELD_*` that were asked for.
    pub fields_asked: u64,
    /// `MAPS_LOCKLESS_VMA_*` that this kernel reports: another bit at zero means nothing.
    pub vma_flags: u64,
    /// Bytes of a page.
    pub page_size: u32,
    /// Zero.
    pub reserved: u32,
}

/// A record. `type` and `size` open every record, so that unknown types can be skipped.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct maps_lockless_vma {
    /// `MAPS_LOCKLESS_TYPE_VMA`.
    pub r#type: u16,
    /// Bytes of the fixed part. Grows in later kernels. Name bytes may follow.
    pub fixed_size: u16,
    /// Bytes of the whole record, a multiple of 8. The next record begins there.
    pub size: u32,
    /// `MAPS_LOCKLESS_FIELD_*`: which fields below hold something. The others are zero.
    pub valid: u64,
    /// `MAPS_LOCKLESS_REC_*` flags.
    pub flags: u32,
    /// `MAPS_LOCKLESS_NAME_*`.
    pub name_kind: u32,
    /// First address. Never below the end of the record before, nor the page a read began at.
    pub start: u64,
    /// First address behind.
    pub end: u64,
    /// First address of the VMA itself: below `start` where the record is clipped.
    pub vma_start: u64,
    /// `MAPS_LOCKLESS_VMA_*`.
    pub vma_flags: u64,
    /// Offset in the file of `start`, in bytes.
    pub pgoff: u64,
    /// Inode number.
    pub ino: u64,
    /// Major device number of the file system, as in maps.
    pub dev_major: u32,
    /// Minor device number of the file system, as in maps.
    pub dev_minor: u32,
    /// Where the name's bytes begin, counted from the batch's first byte. They stand in this
    /// record, or in one before it in the same batch.
    pub name_off: u32,
    /// Number of bytes of the name: raw, not terminated, not escaped.
    pub name_len: u32,
    /// Where the build ID's bytes begin, as `name_off`.
    pub build_id_off: u32,
    /// Number of bytes of the build ID: 1 to 20, or 0 where the file has none.
    pub build_id_len: u32,
}

/// What to read from an open file: the argument of ioctl(2) with `MAPS_LOCKLESS_IOC_REQUEST`.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct maps_lockless_request {
    /// Bytes of this struct, as the caller knows it. Grows in later kernels.
    pub size: u64,
    /// `MAPS_LOCKLESS_FIELD_*` that are wanted. 0: the ranges alone.
    pub fields: u64,
    /// `MAPS_LOCKLESS_VMA_*`: only VMAs that have all of these.
    pub vma_flags_all: u64,
    /// `MAPS_LOCKLESS_VMA_*`: only VMAs that have one of these at least. 0: all VMAs.
    pub vma_flags_any: u64,
    /// `MAPS_LOCKLESS_VMA_*`: only VMAs that have none of these.
    pub vma_flags_none: u64,
    /// Only VMAs that end above this address.
    pub start: u64,
    /// Only VMAs that start below this address. 0: all VMAs.
    pub end: u64,
    /// The most records that one read(2) returns. 0: as many as have room.
    pub max_records: u32,
    /// Zero.
    pub reserved: u32,
    /// Answer: `MAPS_LOCKLESS_FIELD_*` that this kernel can fill.
    pub supported_fields: u64,
    /// Answer: `MAPS_LOCKLESS_VMA_*` that this kernel reports.
    pub supported_vma_flags: u64,
}

// A change of a size is a change of the ABI.
const _: () = assert!(size_of::<maps_lockless_batch>() == MAPS_LOCKLESS_BATCH_SIZE_VER0 as usize);
const _: () = assert!(size_of::<maps_lockless_vma>() == MAPS_LOCKLESS_RECORD_SIZE_VER0 as usize);
const _: () =
    assert!(size_of::<maps_lockless_request>() == MAPS_LOCKLESS_REQUEST_SIZE_VER0 as usize);
