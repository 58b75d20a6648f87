/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The format of /proc/PID/maps_lockless. Generated from
 * fs/proc/maps_lockless/wire.rs.
 *
 * Documentation/filesystems/proc_maps_lockless.rst tells how to use it.
 */
#ifndef _UAPI_LINUX_MAPS_LOCKLESS_H
#define _UAPI_LINUX_MAPS_LOCKLESS_H

#include <linux/fs.h>
#include <linux/types.h>

/* MAPL in a little-endian dump. */
#define MAPS_LOCKLESS_MAGIC	0x4c50414d

/* The ABI version that this file describes. */
#define MAPS_LOCKLESS_VERSION	1

/*
 * A buffer of this many bytes has room for any mapping, as long as no field is
 * asked for that this file does not describe.
 */
#define MAPS_LOCKLESS_MIN_BUFFER	8192

/*
 * The kernel returns no more than this many bytes a read, as long as no field
 * is asked for that this file does not describe.
 */
#define MAPS_LOCKLESS_MAX_BATCH	65536

/* The file position behind a final batch. A read from here returns 0. */
#define MAPS_LOCKLESS_POS_END	0x4000000000000000ULL

/* What a batch has in next where nothing follows it. */
#define MAPS_LOCKLESS_NEXT_NONE	0xffffffffffffffffULL

/* The number of the ioctl(2) MAPS_LOCKLESS_SET_REQUEST. */
#define MAPS_LOCKLESS_NR_SET_REQUEST	18

/* The number of the ioctl(2) MAPS_LOCKLESS_GET_REQUEST. */
#define MAPS_LOCKLESS_NR_GET_REQUEST	28

/* The number of the ioctl(2) MAPS_LOCKLESS_GET_STATE. */
#define MAPS_LOCKLESS_NR_GET_STATE	29

/*
 * The bytes of maps_lockless_batch as first published, which are the fewest
 * that it can have.
 */
#define MAPS_LOCKLESS_BATCH_SIZE_VER0	104

/*
 * The bytes of maps_lockless_vma as first published, which are the fewest that
 * it can have.
 */
#define MAPS_LOCKLESS_VMA_SIZE_VER0	72

/*
 * The bytes of maps_lockless_file as first published, which are the fewest that
 * it can have.
 */
#define MAPS_LOCKLESS_FILE_SIZE_VER0	48

/*
 * The bytes of maps_lockless_unknown as first published, which are the fewest
 * that it can have.
 */
#define MAPS_LOCKLESS_UNKNOWN_SIZE_VER0	24

/*
 * The bytes of maps_lockless_unchanged as first published, which are the fewest
 * that it can have.
 */
#define MAPS_LOCKLESS_UNCHANGED_SIZE_VER0	32

/*
 * The bytes of maps_lockless_request as first published, which are the fewest
 * that it can have.
 */
#define MAPS_LOCKLESS_REQUEST_SIZE_VER0	104

/*
 * The bytes of maps_lockless_state as first published, which are the fewest
 * that it can have.
 */
#define MAPS_LOCKLESS_STATE_SIZE_VER0	64

/*
 * Batch flag: the listing ends with this batch, for the reason that the batch
 * gives.
 */
#define MAPS_LOCKLESS_BATCH_FINAL	0x1

/* Batch flag: not every VMA was asked for. */
#define MAPS_LOCKLESS_BATCH_SELECTED	0x2

/*
 * Batch flag: the listing begins with this batch, at address zero or at the
 * request's start.
 */
#define MAPS_LOCKLESS_BATCH_FIRST	0x4

/*
 * Batch flag: VMAs that have not changed since the request's since_seq may be
 * told as unchanged ranges.
 */
#define MAPS_LOCKLESS_BATCH_SINCE	0x8

/* Why a batch ended: the next record found no room. Read on. */
#define MAPS_LOCKLESS_END_FULL	1

/* Why a batch ended: nothing that was asked for is mapped beyond it. Final. */
#define MAPS_LOCKLESS_END_COMPLETE	2

/*
 * Why a batch ended: the address space is gone, because the process exited or
 * called execve(2). Final. What was listed before is not complete.
 */
#define MAPS_LOCKLESS_END_GONE	3

/*
 * Why a batch ended: the process had no address space when the file was opened
 * (a kernel thread, a zombie). Final.
 */
#define MAPS_LOCKLESS_END_NO_MM	4

/* Why a batch ended: the work that one read may do is done. Read on. */
#define MAPS_LOCKLESS_END_BUDGET	5

/* Why a batch ended: a fatal signal is pending for the reader. Read on. */
#define MAPS_LOCKLESS_END_SIGNAL	6

/*
 * Why a batch ended: it has as many records as max_records asks for. Read on.
 */
#define MAPS_LOCKLESS_END_LIMIT	7

/* Status: a process uses the address space. */
#define MAPS_LOCKLESS_STATUS_LIVE	1

/*
 * Status: the address space is gone, because the process exited or called
 * execve(2).
 */
#define MAPS_LOCKLESS_STATUS_GONE	2

/*
 * Status: the process had no address space when the file was opened (a kernel
 * thread, a zombie).
 */
#define MAPS_LOCKLESS_STATUS_NO_MM	3

/* Record type: a VMA, as maps_lockless_vma. */
#define MAPS_LOCKLESS_TYPE_VMA	1

/*
 * Record type: a file that VMAs behind it in the same batch map, as
 * maps_lockless_file.
 */
#define MAPS_LOCKLESS_TYPE_FILE	2

/* Record type: a range of which nothing is known, as maps_lockless_unknown. */
#define MAPS_LOCKLESS_TYPE_UNKNOWN	3

/*
 * Record type: a range in which nothing has changed, as
 * maps_lockless_unchanged.
 */
#define MAPS_LOCKLESS_TYPE_UNCHANGED	4

/* Field of a VMA: start, end and vma_start. Always there, asked for or not. */
#define MAPS_LOCKLESS_FIELD_RANGE	0x1ULL

/* Field of a VMA: vma_flags. */
#define MAPS_LOCKLESS_FIELD_FLAGS	0x2ULL

/* Field of a VMA: offset. Only file-backed VMAs have it. */
#define MAPS_LOCKLESS_FIELD_OFFSET	0x4ULL

/* Field of a VMA: name_kind, name_len and the name. */
#define MAPS_LOCKLESS_FIELD_NAME	0x8ULL

/* Field of a VMA: page_shift. */
#define MAPS_LOCKLESS_FIELD_PAGE_SIZE	0x10ULL

/* Field of a VMA: pkey. */
#define MAPS_LOCKLESS_FIELD_PKEY	0x20ULL

/* Field of a file: dev_major and dev_minor. */
#define MAPS_LOCKLESS_FIELD_DEV	0x100ULL

/* Field of a file: ino. */
#define MAPS_LOCKLESS_FIELD_INO	0x200ULL

/* Field of a file: path_len and the path. */
#define MAPS_LOCKLESS_FIELD_PATH	0x400ULL

/* Field of a file: MAPS_LOCKLESS_FILE_DELETED in flags. */
#define MAPS_LOCKLESS_FIELD_DELETED	0x800ULL

/* Field of a file: build_id_len and the build ID. */
#define MAPS_LOCKLESS_FIELD_BUILD_ID	0x1000ULL

/*
 * The fields that say what maps shows. They are asked for where a request names
 * none.
 */
#define MAPS_LOCKLESS_FIELDS_MAPS	0xf0fULL

/*
 * Record flag: the VMA was being changed, so that range and fields may be of
 * different moments.
 */
#define MAPS_LOCKLESS_REC_UNSTABLE	0x1

/*
 * Record flag: the fields could not be proved to be of this VMA. The range
 * stands, they are zero.
 */
#define MAPS_LOCKLESS_REC_WITHHELD	0x2

/* Record flag: the VMA begins before start, at vma_start. */
#define MAPS_LOCKLESS_REC_CLIPPED	0x4

/* File flag: the file was unlinked. Its path is the last that it had. */
#define MAPS_LOCKLESS_FILE_DELETED	0x1

/* File flag: the path is longer than PATH_MAX and was left out. */
#define MAPS_LOCKLESS_FILE_PATH_TOO_LONG	0x2

/*
 * File flag: a build ID may stand in a part of the file that is not in the page
 * cache now.
 */
#define MAPS_LOCKLESS_FILE_BUILD_ID_NOT_RESIDENT	0x4

/*
 * Name kind: the VMA has no name of its own. If it maps a file, maps shows the
 * file's path.
 */
#define MAPS_LOCKLESS_NAME_NONE	0

/*
 * Name kind: given to private anonymous memory by prctl(PR_SET_VMA_ANON_NAME).
 */
#define MAPS_LOCKLESS_NAME_ANON	1

/*
 * Name kind: given to shared anonymous memory by prctl(PR_SET_VMA_ANON_NAME).
 */
#define MAPS_LOCKLESS_NAME_ANON_SHMEM	2

/* Name kind: the heap that brk(2) moves. No bytes. */
#define MAPS_LOCKLESS_NAME_HEAP	3

/* Name kind: the stack of the main thread. No bytes. */
#define MAPS_LOCKLESS_NAME_STACK	4

/*
 * Name kind: mapped by the kernel, named by it: [vdso], [vvar], [vsyscall],
 * [uprobes].
 */
#define MAPS_LOCKLESS_NAME_SPECIAL	5

/* VMA flag: may be read. r in maps. */
#define MAPS_LOCKLESS_VMA_READ	0x1ULL

/* VMA flag: may be written. w in maps. */
#define MAPS_LOCKLESS_VMA_WRITE	0x2ULL

/* VMA flag: may be executed. x in maps. */
#define MAPS_LOCKLESS_VMA_EXEC	0x4ULL

/* VMA flag: mapped with MAP_SHARED. s in maps. */
#define MAPS_LOCKLESS_VMA_SHARED	0x8ULL

/* VMA flag: mprotect(2) may allow reading. */
#define MAPS_LOCKLESS_VMA_MAYREAD	0x10ULL

/* VMA flag: mprotect(2) may allow writing. */
#define MAPS_LOCKLESS_VMA_MAYWRITE	0x20ULL

/* VMA flag: mprotect(2) may allow executing. */
#define MAPS_LOCKLESS_VMA_MAYEXEC	0x40ULL

/* VMA flag: pages are bare page frames without struct page. */
#define MAPS_LOCKLESS_VMA_PFNMAP	0x80ULL

/* VMA flag: may hold both bare page frames and pages. */
#define MAPS_LOCKLESS_VMA_MIXEDMAP	0x100ULL

/* VMA flag: maps device memory. */
#define MAPS_LOCKLESS_VMA_IO	0x200ULL

/* VMA flag: fork(2) does not copy it (MADV_DONTFORK). */
#define MAPS_LOCKLESS_VMA_DONTCOPY	0x400ULL

/* VMA flag: mremap(2) cannot expand it. */
#define MAPS_LOCKLESS_VMA_DONTEXPAND	0x800ULL

/* VMA flag: pages are locked as they are faulted in (MLOCK_ONFAULT). */
#define MAPS_LOCKLESS_VMA_LOCKONFAULT	0x1000ULL

/* VMA flag: counts against the commit limit. */
#define MAPS_LOCKLESS_VMA_ACCOUNT	0x2000ULL

/* VMA flag: mapped with MAP_NORESERVE. */
#define MAPS_LOCKLESS_VMA_NORESERVE	0x4000ULL

/* VMA flag: made of huge pages of hugetlbfs. */
#define MAPS_LOCKLESS_VMA_HUGETLB	0x8000ULL

/* VMA flag: mapped with MAP_SYNC. */
#define MAPS_LOCKLESS_VMA_SYNC	0x10000ULL

/* VMA flag: zero in a child (MADV_WIPEONFORK). */
#define MAPS_LOCKLESS_VMA_WIPEONFORK	0x20000ULL

/* VMA flag: left out of core dumps (MADV_DONTDUMP). */
#define MAPS_LOCKLESS_VMA_DONTDUMP	0x40000ULL

/* VMA flag: huge pages are asked for (MADV_HUGEPAGE). */
#define MAPS_LOCKLESS_VMA_HUGEPAGE	0x80000ULL

/* VMA flag: huge pages are refused (MADV_NOHUGEPAGE). */
#define MAPS_LOCKLESS_VMA_NOHUGEPAGE	0x100000ULL

/* VMA flag: KSM may merge its pages (MADV_MERGEABLE). */
#define MAPS_LOCKLESS_VMA_MERGEABLE	0x200000ULL

/* VMA flag: shared, and of a file that was open for writing. */
#define MAPS_LOCKLESS_VMA_SHARED_WRITABLE	0x400000ULL

/* VMA flag: grows downwards as it is touched, as stacks do (MAP_GROWSDOWN). */
#define MAPS_LOCKLESS_VMA_GROWSDOWN	0x800000ULL

/* VMA flag: may hold guard regions (MADV_GUARD_INSTALL). */
#define MAPS_LOCKLESS_VMA_MAYBE_GUARD	0x1000000ULL

/* VMA flag: pages are locked in memory (mlock(2)). */
#define MAPS_LOCKLESS_VMA_LOCKED	0x2000000ULL

/* VMA flag: will be read in order (MADV_SEQUENTIAL). */
#define MAPS_LOCKLESS_VMA_SEQ_READ	0x4000000ULL

/* VMA flag: will be read in random order (MADV_RANDOM). */
#define MAPS_LOCKLESS_VMA_RAND_READ	0x8000000ULL

/*
 * VMA flag: indirect branches must land on marked instructions (arm64,
 * PROT_BTI).
 */
#define MAPS_LOCKLESS_VMA_BTI	0x10000000ULL

/* VMA flag: soft-dirty as a whole, see clear_refs. */
#define MAPS_LOCKLESS_VMA_SOFTDIRTY	0x20000000ULL

/* VMA flag: userfaultfd(2) handles missing pages. */
#define MAPS_LOCKLESS_VMA_UFFD_MISSING	0x40000000ULL

/* VMA flag: userfaultfd(2) handles writes. */
#define MAPS_LOCKLESS_VMA_UFFD_WP	0x80000000ULL

/* VMA flag: userfaultfd(2) handles minor faults. */
#define MAPS_LOCKLESS_VMA_UFFD_MINOR	0x100000000ULL

/* VMA flag: userfaultfd(2) handles reads and writes. */
#define MAPS_LOCKLESS_VMA_UFFD_RWP	0x200000000ULL

/* VMA flag: a shadow stack. */
#define MAPS_LOCKLESS_VMA_SHADOW_STACK	0x400000000ULL

/* VMA flag: contents may be dropped under memory pressure (MAP_DROPPABLE). */
#define MAPS_LOCKLESS_VMA_DROPPABLE	0x800000000ULL

/* VMA flag: sealed (mseal(2)). */
#define MAPS_LOCKLESS_VMA_SEALED	0x1000000000ULL

/* VMA flag: memory tags are on (arm64, PROT_MTE). */
#define MAPS_LOCKLESS_VMA_MTE	0x2000000000ULL

/* VMA flag: a file is mapped. Shared anonymous memory has one too. */
#define MAPS_LOCKLESS_VMA_FILE	0x4000000000ULL

/*
 * What each read(2) returns first: how to go on, and the evidence to judge the
 * records by.
 */
struct maps_lockless_batch {
	/*
	 * MAPS_LOCKLESS_MAGIC. Bytes in the other order come from a machine of
	 * the other order.
	 */
	__u32 magic;
	/* MAPS_LOCKLESS_VERSION. */
	__u16 version;
	/*
	 * Bytes of this header. The first record begins here. Grows in later
	 * kernels.
	 */
	__u16 header_size;
	/* Bytes of the whole batch, header included: what read(2) returned. */
	__u32 size;
	/* Number of records, of any type. */
	__u32 count;
	/* MAPS_LOCKLESS_BATCH_*. */
	__u32 flags;
	/* MAPS_LOCKLESS_END_*: why the batch ended. */
	__u32 end_reason;
	/*
	 * The address at which the batch begins, a multiple of the page size.
	 */
	__u64 begin;
	/*
	 * The address to go on from, at which the next batch begins, or
	 * MAPS_LOCKLESS_NEXT_NONE.
	 */
	__u64 next;
	/*
	 * Identity of the address space, never used again until reboot. 0: no
	 * address space.
	 */
	__u64 mm_id;
	/*
	 * The address space's change count before the first record was made.
	 * Odd: being changed.
	 */
	__u64 seq_begin;
	/* The same after the last record was made. */
	__u64 seq_end;
	/*
	 * Number of the request that the batch was made by. 0: none was set on
	 * this open file. No other request has the number until reboot.
	 */
	__u64 request;
	/* MAPS_LOCKLESS_FIELD_* that this kernel can fill. */
	__u64 fields_supported;
	/* MAPS_LOCKLESS_FIELD_* that were asked for. */
	__u64 fields_wanted;
	/*
	 * MAPS_LOCKLESS_VMA_* that this kernel reports: another bit at zero
	 * means nothing.
	 */
	__u64 vma_flags_supported;
	/* Bytes of a page. */
	__u32 page_size;
	/*
	 * Number of VMAs that the address space has at about this time. No
	 * evidence of anything.
	 */
	__u32 vma_count;
};

/*
 * A VMA. type, fixed_size and size open every record, so that unknown types can
 * be skipped.  The name's bytes follow the fixed part, padded with zero to a
 * multiple of 8.
 */
struct maps_lockless_vma {
	/* MAPS_LOCKLESS_TYPE_VMA. */
	__u16 type;
	/* Bytes of the fixed part. Grows in later kernels. */
	__u16 fixed_size;
	/*
	 * Bytes of the whole record, a multiple of 8. The next record begins
	 * there.
	 */
	__u32 size;
	/*
	 * MAPS_LOCKLESS_FIELD_*: which fields below hold something. The others
	 * are zero.
	 */
	__u64 valid;
	/* MAPS_LOCKLESS_REC_*. */
	__u32 flags;
	/* MAPS_LOCKLESS_NAME_*. */
	__u16 name_kind;
	/* Binary logarithm of the bytes of a page of this mapping. */
	__u8 page_shift;
	/* Protection key, see pkeys(7). */
	__u8 pkey;
	/*
	 * First address. Never below the end of the record before, nor below
	 * the batch's begin.
	 */
	__u64 start;
	/* First address behind. */
	__u64 end;
	/*
	 * First address of the VMA itself: below start where the record is
	 * clipped.
	 */
	__u64 vma_start;
	/* MAPS_LOCKLESS_VMA_*. */
	__u64 vma_flags;
	/* Offset in the file of start, in bytes. */
	__u64 offset;
	/*
	 * Where the record of the mapped file begins, counted from the batch's
	 * first byte. It stands before this one. 0: no file is mapped, or no
	 * field of files was asked for.
	 */
	__u32 file;
	/* Number of bytes of the name: raw, not terminated, not escaped. */
	__u32 name_len;
};

/*
 * A file that VMAs map.  The path's bytes follow the fixed part, and the build
 * ID's follow them, each padded with zero to a multiple of 8.
 */
struct maps_lockless_file {
	/* MAPS_LOCKLESS_TYPE_FILE. */
	__u16 type;
	/* Bytes of the fixed part. Grows in later kernels. */
	__u16 fixed_size;
	/*
	 * Bytes of the whole record, a multiple of 8. The next record begins
	 * there.
	 */
	__u32 size;
	/*
	 * MAPS_LOCKLESS_FIELD_*: which fields below hold something. The others
	 * are zero.
	 */
	__u64 valid;
	/* MAPS_LOCKLESS_FILE_*. */
	__u32 flags;
	/* Number of bytes of the path: raw, not terminated, not escaped. */
	__u32 path_len;
	/* Inode number. */
	__u64 ino;
	/* Major device number of the file system, as in maps. */
	__u32 dev_major;
	/* Minor device number of the file system, as in maps. */
	__u32 dev_minor;
	/*
	 * Number of bytes of the build ID: 1 to 20, or 0 where the file has
	 * none.
	 */
	__u32 build_id_len;
	/* Zero. */
	__u32 reserved;
};

/*
 * A range of which nothing is known: it may hold mappings that the listing does
 * not show.
 */
struct maps_lockless_unknown {
	/* MAPS_LOCKLESS_TYPE_UNKNOWN. */
	__u16 type;
	/* Bytes of the fixed part. Grows in later kernels. */
	__u16 fixed_size;
	/*
	 * Bytes of the whole record, a multiple of 8. The next record begins
	 * there.
	 */
	__u32 size;
	/*
	 * First address. Never below the end of the record before, nor below
	 * the batch's begin.
	 */
	__u64 start;
	/* First address behind. */
	__u64 end;
};

/*
 * A range in which no VMA has changed since the request's since_seq, and none
 * was added. Only a request with since_mm_id gets such records.
 */
struct maps_lockless_unchanged {
	/* MAPS_LOCKLESS_TYPE_UNCHANGED. */
	__u16 type;
	/* Bytes of the fixed part. Grows in later kernels. */
	__u16 fixed_size;
	/*
	 * Bytes of the whole record, a multiple of 8. The next record begins
	 * there.
	 */
	__u32 size;
	/*
	 * First address. Never below the end of the record before, nor below
	 * the batch's begin.
	 */
	__u64 start;
	/* First address behind. */
	__u64 end;
	/*
	 * Number of VMAs in the range that were asked for. A reader who knows
	 * more of them has to read the range again: some are gone.
	 */
	__u32 vma_count;
	/* Zero. */
	__u32 reserved;
};

/*
 * What to read from an open file: the argument of ioctl(2) with
 * MAPS_LOCKLESS_SET_REQUEST and MAPS_LOCKLESS_GET_REQUEST.
 */
struct maps_lockless_request {
	/*
	 * Bytes of this struct, as the caller knows it. Grows in later kernels.
	 */
	__u64 size;
	/*
	 * MAPS_LOCKLESS_FIELD_* that are wanted. 0: MAPS_LOCKLESS_FIELDS_MAPS.
	 */
	__u64 fields_wanted;
	/* MAPS_LOCKLESS_VMA_*: only VMAs that have all of these. */
	__u64 vma_flags_all;
	/*
	 * MAPS_LOCKLESS_VMA_*: only VMAs that have one of these at least. 0:
	 * all VMAs.
	 */
	__u64 vma_flags_any;
	/* MAPS_LOCKLESS_VMA_*: only VMAs that have none of these. */
	__u64 vma_flags_none;
	/* Only VMAs that end above this address. */
	__u64 start;
	/* Only VMAs that start below this address. 0: all VMAs. */
	__u64 end;
	/*
	 * The most mappings, unknown and unchanged ranges that one read(2)
	 * returns. 0: as many as have room.
	 */
	__u32 max_records;
	/* Zero. */
	__u32 reserved;
	/*
	 * Only what has changed since since_seq, if the address space is the
	 * one with this identity. 0: everything.
	 */
	__u64 since_mm_id;
	/*
	 * The change count with which a complete listing by this request was
	 * proved consistent.
	 */
	__u64 since_seq;
	/*
	 * Answer: the number of the request. No other request has it until
	 * reboot.
	 */
	__u64 request;
	/* Answer: MAPS_LOCKLESS_FIELD_* that this kernel can fill. */
	__u64 fields_supported;
	/* Answer: MAPS_LOCKLESS_VMA_* that this kernel reports. */
	__u64 vma_flags_supported;
};

/*
 * The state of the address space, without a look at its VMAs: the argument of
 * ioctl(2) with MAPS_LOCKLESS_GET_STATE.
 */
struct maps_lockless_state {
	/*
	 * Bytes of this struct, as the caller knows it. Grows in later kernels.
	 */
	__u64 size;
	/* Answer: MAPS_LOCKLESS_STATUS_*. */
	__u32 status;
	/* Answer: bytes of a page. */
	__u32 page_size;
	/*
	 * Answer: identity of the address space, as in a batch. 0: no address
	 * space.
	 */
	__u64 mm_id;
	/* Answer: the address space's change count. Odd: being changed. */
	__u64 seq;
	/*
	 * Answer: number of the request that is set on this open file. 0: none.
	 */
	__u64 request;
	/* Answer: MAPS_LOCKLESS_FIELD_* that this kernel can fill. */
	__u64 fields_supported;
	/* Answer: MAPS_LOCKLESS_VMA_* that this kernel reports. */
	__u64 vma_flags_supported;
	/*
	 * Answer: number of VMAs. May be changing, and is no evidence of
	 * anything.
	 */
	__u32 vma_count;
	/* Zero. */
	__u32 reserved;
};

/*
 * What to do with an open file. The kernel goes by type and number, and by the
 * size that the argument holds, so that each may grow.
 */

/* Sets what later reads return. Answers what this kernel supports. */
#define MAPS_LOCKLESS_SET_REQUEST \
	_IOWR(PROCFS_IOCTL_MAGIC, MAPS_LOCKLESS_NR_SET_REQUEST, struct maps_lockless_request)

/* Tells what later reads return. */
#define MAPS_LOCKLESS_GET_REQUEST \
	_IOWR(PROCFS_IOCTL_MAGIC, MAPS_LOCKLESS_NR_GET_REQUEST, struct maps_lockless_request)

/* Tells the state of the address space. */
#define MAPS_LOCKLESS_GET_STATE \
	_IOWR(PROCFS_IOCTL_MAGIC, MAPS_LOCKLESS_NR_GET_STATE, struct maps_lockless_state)

#endif /* _UAPI_LINUX_MAPS_LOCKLESS_H */
