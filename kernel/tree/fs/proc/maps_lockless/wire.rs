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
/// A buffer of this many bytes has room for any mapping, as long as no field is asked for that this
/// file does not describe.
pub const MAPS_LOCKLESS_MIN_BUFFER: u32 = 8192;
/// The kernel returns no more than this many bytes a read, as long as no field is asked for that
/// this file does not describe.
pub const MAPS_LOCKLESS_MAX_BATCH: u32 = 65536;
/// The file position behind a final batch. A read from here returns 0.
pub const MAPS_LOCKLESS_POS_END: u64 = 0x4000_0000_0000_0000;
/// What a batch has in `next` where nothing follows it.
pub const MAPS_LOCKLESS_NEXT_NONE: u64 = 0xffff_ffff_ffff_ffff;

/// The number of the ioctl(2) `MAPS_LOCKLESS_SET_REQUEST`.
pub const MAPS_LOCKLESS_NR_SET_REQUEST: u32 = 18;
/// The number of the ioctl(2) `MAPS_LOCKLESS_GET_REQUEST`.
pub const MAPS_LOCKLESS_NR_GET_REQUEST: u32 = 28;
/// The number of the ioctl(2) `MAPS_LOCKLESS_GET_STATE`.
pub const MAPS_LOCKLESS_NR_GET_STATE: u32 = 29;

/// The bytes of `maps_lockless_batch` as first published, which are the fewest that it can have.
pub const MAPS_LOCKLESS_BATCH_SIZE_VER0: u32 = 104;
/// The bytes of `maps_lockless_vma` as first published, which are the fewest that it can have.
pub const MAPS_LOCKLESS_VMA_SIZE_VER0: u32 = 72;
/// The bytes of `maps_lockless_file` as first published, which are the fewest that it can have.
pub const MAPS_LOCKLESS_FILE_SIZE_VER0: u32 = 48;
/// The bytes of `maps_lockless_unknown` as first published, which are the fewest that it can have.
pub const MAPS_LOCKLESS_UNKNOWN_SIZE_VER0: u32 = 24;
/// The bytes of `maps_lockless_unchanged` as first published, which are the fewest that it can
/// have.
pub const MAPS_LOCKLESS_UNCHANGED_SIZE_VER0: u32 = 32;
/// The bytes of `maps_lockless_request` as first published, which are the fewest that it can have.
pub const MAPS_LOCKLESS_REQUEST_SIZE_VER0: u32 = 104;
/// The bytes of `maps_lockless_state` as first published, which are the fewest that it can have.
pub const MAPS_LOCKLESS_STATE_SIZE_VER0: u32 = 64;

/// Batch flag: the listing ends with this batch, for the reason that the batch gives.
pub const MAPS_LOCKLESS_BATCH_FINAL: u32 = 0x1;
/// Batch flag: not every VMA was asked for.
pub const MAPS_LOCKLESS_BATCH_SELECTED: u32 = 0x2;
/// Batch flag: the listing begins with this batch, at address zero or at the request's `start`.
pub const MAPS_LOCKLESS_BATCH_FIRST: u32 = 0x4;
/// Batch flag: VMAs that have not changed since the request's `since_seq` may be told as unchanged
/// ranges.
pub const MAPS_LOCKLESS_BATCH_SINCE: u32 = 0x8;

/// Why a batch ended: the next record found no room. Read on.
pub const MAPS_LOCKLESS_END_FULL: u32 = 1;
/// Why a batch ended: nothing that was asked for is mapped beyond it. Final.
pub const MAPS_LOCKLESS_END_COMPLETE: u32 = 2;
/// Why a batch ended: the address space is gone, because the process exited or called execve(2).
/// Final. What was listed before is not complete.
pub const MAPS_LOCKLESS_END_GONE: u32 = 3;
/// Why a batch ended: the process had no address space when the file was opened (a kernel thread, a
/// zombie). Final.
pub const MAPS_LOCKLESS_END_NO_MM: u32 = 4;
/// Why a batch ended: the work that one read may do is done. Read on.
pub const MAPS_LOCKLESS_END_BUDGET: u32 = 5;
/// Why a batch ended: a fatal signal is pending for the reader. Read on.
pub const MAPS_LOCKLESS_END_SIGNAL: u32 = 6;
/// Why a batch ended: it has as many records as `max_records` asks for. Read on.
pub const MAPS_LOCKLESS_END_LIMIT: u32 = 7;

/// Status: a process uses the address space.
pub const MAPS_LOCKLESS_STATUS_LIVE: u32 = 1;
/// Status: the address space is gone, because the process exited or called execve(2).
pub const MAPS_LOCKLESS_STATUS_GONE: u32 = 2;
/// Status: the process had no address space when the file was opened (a kernel thread, a zombie).
pub const MAPS_LOCKLESS_STATUS_NO_MM: u32 = 3;

/// Record type: a VMA, as `maps_lockless_vma`.
pub const MAPS_LOCKLESS_TYPE_VMA: u16 = 1;
/// Record type: a file that VMAs behind it in the same batch map, as `maps_lockless_file`.
pub const MAPS_LOCKLESS_TYPE_FILE: u16 = 2;
/// Record type: a range of which nothing is known, as `maps_lockless_unknown`.
pub const MAPS_LOCKLESS_TYPE_UNKNOWN: u16 = 3;
/// Record type: a range in which nothing has changed, as `maps_lockless_unchanged`.
pub const MAPS_LOCKLESS_TYPE_UNCHANGED: u16 = 4;

/// Field of a VMA: `start`, `end` and `vma_start`. Always there, asked for or not.
pub const MAPS_LOCKLESS_FIELD_RANGE: u64 = 0x1;
/// Field of a VMA: `vma_flags`.
pub const MAPS_LOCKLESS_FIELD_FLAGS: u64 = 0x2;
/// Field of a VMA: `offset`. Only file-backed VMAs have it.
pub const MAPS_LOCKLESS_FIELD_OFFSET: u64 = 0x4;
/// Field of a VMA: `name_kind`, `name_len` and the name.
pub const MAPS_LOCKLESS_FIELD_NAME: u64 = 0x8;
/// Field of a VMA: `page_shift`.
pub const MAPS_LOCKLESS_FIELD_PAGE_SIZE: u64 = 0x10;
/// Field of a VMA: `pkey`.
pub const MAPS_LOCKLESS_FIELD_PKEY: u64 = 0x20;
/// Field of a file: `dev_major` and `dev_minor`.
pub const MAPS_LOCKLESS_FIELD_DEV: u64 = 0x100;
/// Field of a file: `ino`.
pub const MAPS_LOCKLESS_FIELD_INO: u64 = 0x200;
/// Field of a file: `path_len` and the path.
pub const MAPS_LOCKLESS_FIELD_PATH: u64 = 0x400;
/// Field of a file: `MAPS_LOCKLESS_FILE_DELETED` in `flags`.
pub const MAPS_LOCKLESS_FIELD_DELETED: u64 = 0x800;
/// Field of a file: `build_id_len` and the build ID.
pub const MAPS_LOCKLESS_FIELD_BUILD_ID: u64 = 0x1000;
/// The fields that say what maps shows. They are asked for where a request names none.
pub const MAPS_LOCKLESS_FIELDS_MAPS: u64 = 0xf0f;

/// Record flag: the VMA was being changed, so that range and fields may be of different moments.
pub const MAPS_LOCKLESS_REC_UNSTABLE: u32 = 0x1;
/// Record flag: the fields could not be proved to be of this VMA. The range stands, they are zero.
pub const MAPS_LOCKLESS_REC_WITHHELD: u32 = 0x2;
/// Record flag: the VMA begins before `start`, at `vma_start`.
pub const MAPS_LOCKLESS_REC_CLIPPED: u32 = 0x4;

/// File flag: the file was unlinked. Its path is the last that it had.
pub const MAPS_LOCKLESS_FILE_DELETED: u32 = 0x1;
/// File flag: the path is longer than `PATH_MAX` and was left out.
pub const MAPS_LOCKLESS_FILE_PATH_TOO_LONG: u32 = 0x2;
/// File flag: a build ID may stand in a part of the file that is not in the page cache now.
pub const MAPS_LOCKLESS_FILE_BUILD_ID_NOT_RESIDENT: u32 = 0x4;

/// Name kind: the VMA has no name of its own. If it maps a file, maps shows the file's path.
pub const MAPS_LOCKLESS_NAME_NONE: u16 = 0;
/// Name kind: given to private anonymous memory by `prctl(PR_SET_VMA_ANON_NAME)`.
pub const MAPS_LOCKLESS_NAME_ANON: u16 = 1;
/// Name kind: given to shared anonymous memory by `prctl(PR_SET_VMA_ANON_NAME)`.
pub const MAPS_LOCKLESS_NAME_ANON_SHMEM: u16 = 2;
/// Name kind: the heap that brk(2) moves. No bytes.
pub const MAPS_LOCKLESS_NAME_HEAP: u16 = 3;
/// Name kind: the stack of the main thread. No bytes.
pub const MAPS_LOCKLESS_NAME_STACK: u16 = 4;
/// Name kind: mapped by the kernel, named by it: `[vdso]`, `[vvar]`, `[vsyscall]`, `[uprobes]`.
pub const MAPS_LOCKLESS_NAME_SPECIAL: u16 = 5;

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
/// VMA flag: indirect branches must land on marked instructions (arm64, `PROT_BTI`).
pub const MAPS_LOCKLESS_VMA_BTI: u64 = 0x1000_0000;
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
pub const MAPS_LOCKLESS_VMA_FILE: u64 = 0x40_0000_0000;

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
    /// Number of records, of any type.
    pub count: u32,
    /// `MAPS_LOCKLESS_BATCH_*`.
    pub flags: u32,
    /// `MAPS_LOCKLESS_END_*`: why the batch ended.
    pub end_reason: u32,
    /// The address at which the batch begins, a multiple of the page size.
    pub begin: u64,
    /// The address to go on from, at which the next batch begins, or `MAPS_LOCKLESS_NEXT_NONE`.
    pub next: u64,
    /// Identity of the address space, never used again until reboot. 0: no address space.
    pub mm_id: u64,
    /// The address space's change count before the first record was made. Odd: being changed.
    pub seq_begin: u64,
    /// The same after the last record was made.
    pub seq_end: u64,
    /// Number of the request that the batch was made by. 0: none was set on this open file. No
    /// other request has the number until reboot.
    pub request: u64,
    /// `MAPS_LOCKLESS_FIELD_*` that this kernel can fill.
    pub fields_supported: u64,
    /// `MAPS_LOCKLESS_FIELD_*` that were asked for.
    pub fields_wanted: u64,
    /// `MAPS_LOCKLESS_VMA_*` that this kernel reports: another bit at zero means nothing.
    pub vma_flags_supported: u64,
    /// Bytes of a page.
    pub page_size: u32,
    /// Number of VMAs that the address space has at about this time. No evidence of anything.
    pub vma_count: u32,
}

/// A VMA. `type`, `fixed_size` and `size` open every record, so that unknown types can be skipped.
///
/// The name's bytes follow the fixed part, padded with zero to a multiple of 8.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct maps_lockless_vma {
    /// `MAPS_LOCKLESS_TYPE_VMA`.
    pub r#type: u16,
    /// Bytes of the fixed part. Grows in later kernels.
    pub fixed_size: u16,
    /// Bytes of the whole record, a multiple of 8. The next record begins there.
    pub size: u32,
    /// `MAPS_LOCKLESS_FIELD_*`: which fields below hold something. The others are zero.
    pub valid: u64,
    /// `MAPS_LOCKLESS_REC_*`.
    pub flags: u32,
    /// `MAPS_LOCKLESS_NAME_*`.
    pub name_kind: u16,
    /// Binary logarithm of the bytes of a page of this mapping.
    pub page_shift: u8,
    /// Protection key, see pkeys(7).
    pub pkey: u8,
    /// First address. Never below the end of the record before, nor below the batch's `begin`.
    pub start: u64,
    /// First address behind.
    pub end: u64,
    /// First address of the VMA itself: below `start` where the record is clipped.
    pub vma_start: u64,
    /// `MAPS_LOCKLESS_VMA_*`.
    pub vma_flags: u64,
    /// Offset in the file of `start`, in bytes.
    pub offset: u64,
    /// Where the record of the mapped file begins, counted from the batch's first byte. It stands
    /// before this one. 0: no file is mapped, or no field of files was asked for.
    pub file: u32,
    /// Number of bytes of the name: raw, not terminated, not escaped.
    pub name_len: u32,
}

/// A file that VMAs map.
///
/// The path's bytes follow the fixed part, and the build ID's follow them, each padded with zero to
/// a multiple of 8.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct maps_lockless_file {
    /// `MAPS_LOCKLESS_TYPE_FILE`.
    pub r#type: u16,
    /// Bytes of the fixed part. Grows in later kernels.
    pub fixed_size: u16,
    /// Bytes of the whole record, a multiple of 8. The next record begins there.
    pub size: u32,
    /// `MAPS_LOCKLESS_FIELD_*`: which fields below hold something. The others are zero.
    pub valid: u64,
    /// `MAPS_LOCKLESS_FILE_*`.
    pub flags: u32,
    /// Number of bytes of the path: raw, not terminated, not escaped.
    pub path_len: u32,
    /// Inode number.
    pub ino: u64,
    /// Major device number of the file system, as in maps.
    pub dev_major: u32,
    /// Minor device number of the file system, as in maps.
    pub dev_minor: u32,
    /// Number of bytes of the build ID: 1 to 20, or 0 where the file has none.
    pub build_id_len: u32,
    /// Zero.
    pub reserved: u32,
}

/// A range of which nothing is known: it may hold mappings that the listing does not show.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct maps_lockless_unknown {
    /// `MAPS_LOCKLESS_TYPE_UNKNOWN`.
    pub r#type: u16,
    /// Bytes of the fixed part. Grows in later kernels.
    pub fixed_size: u16,
    /// Bytes of the whole record, a multiple of 8. The next record begins there.
    pub size: u32,
    /// First address. Never below the end of the record before, nor below the batch's `begin`.
    pub start: u64,
    /// First address behind.
    pub end: u64,
}

/// A range in which no VMA has changed since the request's `since_seq`, and none was added. Only a
/// request with `since_mm_id` gets such records.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct maps_lockless_unchanged {
    /// `MAPS_LOCKLESS_TYPE_UNCHANGED`.
    pub r#type: u16,
    /// Bytes of the fixed part. Grows in later kernels.
    pub fixed_size: u16,
    /// Bytes of the whole record, a multiple of 8. The next record begins there.
    pub size: u32,
    /// First address. Never below the end of the record before, nor below the batch's `begin`.
    pub start: u64,
    /// First address behind.
    pub end: u64,
    /// Number of VMAs in the range that were asked for. A reader who knows more of them has to read
    /// the range again: some are gone.
    pub vma_count: u32,
    /// Zero.
    pub reserved: u32,
}

/// What to read from an open file: the argument of ioctl(2) with `MAPS_LOCKLESS_SET_REQUEST` and
/// `MAPS_LOCKLESS_GET_REQUEST`.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct maps_lockless_request {
    /// Bytes of this struct, as the caller knows it. Grows in later kernels.
    pub size: u64,
    /// `MAPS_LOCKLESS_FIELD_*` that are wanted. 0: `MAPS_LOCKLESS_FIELDS_MAPS`.
    pub fields_wanted: u64,
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
    /// The most mappings, unknown and unchanged ranges that one read(2) returns. 0: as many as have
    /// room.
    pub max_records: u32,
    /// Zero.
    pub reserved: u32,
    /// Only what has changed since `since_seq`, if the address space is the one with this identity.
    /// 0: everything.
    pub since_mm_id: u64,
    /// The change count with which a complete listing by this request was proved consistent.
    pub since_seq: u64,
    /// Answer: the number of the request. No other request has it until reboot.
    pub request: u64,
    /// Answer: `MAPS_LOCKLESS_FIELD_*` that this kernel can fill.
    pub fields_supported: u64,
    /// Answer: `MAPS_LOCKLESS_VMA_*` that this kernel reports.
    pub vma_flags_supported: u64,
}

/// The state of the address space, without a look at its VMAs: the argument of ioctl(2) with
/// `MAPS_LOCKLESS_GET_STATE`.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct maps_lockless_state {
    /// Bytes of this struct, as the caller knows it. Grows in later kernels.
    pub size: u64,
    /// Answer: `MAPS_LOCKLESS_STATUS_*`.
    pub status: u32,
    /// Answer: bytes of a page.
    pub page_size: u32,
    /// Answer: identity of the address space, as in a batch. 0: no address space.
    pub mm_id: u64,
    /// Answer: the address space's change count. Odd: being changed.
    pub seq: u64,
    /// Answer: number of the request that is set on this open file. 0: none.
    pub request: u64,
    /// Answer: `MAPS_LOCKLESS_FIELD_*` that this kernel can fill.
    pub fields_supported: u64,
    /// Answer: `MAPS_LOCKLESS_VMA_*` that this kernel reports.
    pub vma_flags_supported: u64,
    /// Answer: number of VMAs. May be changing, and is no evidence of anything.
    pub vma_count: u32,
    /// Zero.
    pub reserved: u32,
}

// A change of a size is a change of the ABI.
const _: () = assert!(size_of::<maps_lockless_batch>() == MAPS_LOCKLESS_BATCH_SIZE_VER0 as usize);
const _: () = assert!(size_of::<maps_lockless_vma>() == MAPS_LOCKLESS_VMA_SIZE_VER0 as usize);
const _: () = assert!(size_of::<maps_lockless_file>() == MAPS_LOCKLESS_FILE_SIZE_VER0 as usize);
const _: () =
    assert!(size_of::<maps_lockless_unknown>() == MAPS_LOCKLESS_UNKNOWN_SIZE_VER0 as usize);
const _: () =
    assert!(size_of::<maps_lockless_unchanged>() == MAPS_LOCKLESS_UNCHANGED_SIZE_VER0 as usize);
const _: () =
    assert!(size_of::<maps_lockless_request>() == MAPS_LOCKLESS_REQUEST_SIZE_VER0 as usize);
const _: () = assert!(size_of::<maps_lockless_state>() == MAPS_LOCKLESS_STATE_SIZE_VER0 as usize);
