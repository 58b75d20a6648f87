/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The format of /proc/PID/maps_lockless. Generated from
 * fs/proc/maps_lockless/wire.rs.
 *
 * Documentation/filesystems/proc_maps_lockless.rst tells how to use it.
 */
#ifndef _UAPI_LINUX_MAPS_LOCKLESS_H
#define _UAPI_LINUX_MAPS_LOCKLESS_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* MAPL in a little-endian dump. */
#define MAPS_LOCKLESS_MAGIC	0x4c50414d

/* The ABI version that this file describes. */
#define MAPS_LOCKLESS_VERSION	1

/*
 * A buffer of this many bytes holds any record, so that no read fails for want
 * of room.
 */
#define MAPS_LOCKLESS_MIN_BUFFER	8192

/* The kernel returns no more than this many bytes a read. */
#define MAPS_LOCKLESS_MAX_BATCH	65536

/* The file position behind a final batch. A read from here returns 0. */
#define MAPS_LOCKLESS_POS_END	0x7fffffffffffffffULL

/*
 * The letter that the number of the ioctl(2) MAPS_LOCKLESS_IOC_REQUEST is made
 * with.
 */
#define MAPS_LOCKLESS_IOC_TYPE	0x66

/*
 * The number that the number of the ioctl(2) MAPS_LOCKLESS_IOC_REQUEST is made
 * with.
 */
#define MAPS_LOCKLESS_IOC_NR	18

/*
 * The bytes of maps_lockless_request as first published, which are the fewest
 * that it can have.
 */
#define MAPS_LOCKLESS_REQUEST_SIZE_VER0	80

/*
 * The bytes of maps_lockless_batch as first published, which are the fewest
 * that it can have.
 */
#define MAPS_LOCKLESS_BATCH_SIZE_VER0	88

/*
 * The bytes of maps_lockless_vma as first published, which are the fewest that
 * it can have.
 */
#define MAPS_LOCKLESS_RECORD_SIZE_VER0	96

/*
 * Batch flag: the listing ends with this batch, for the reason that the batch
 * gives.
 */
#define MAPS_LOCKLESS_BATCH_FINAL	0x1

/* Batch flag: not every VMA was asked for. */
#define MAPS_LOCKLESS_BATCH_SELECTED	0x2

/* Why a batch ended: the next record found no room. Read on. */
#define MAPS_LOCKLESS_END_FULL	1

/* Why a batch ended: nothing that was asked for is mapped beyond it. Final. */
#define MAPS_LOCKLESS_END_COMPLETE	2

/*
 * Why a batch ended: the address space is gone, the process having exited or
 * called execve. Final. What was listed before is not complete.
 */
#define MAPS_LOCKLESS_END_GONE	3

/*
 * Why a batch ended: there never was an address space (a kernel thread, a
 * zombie). Final.
 */
#define MAPS_LOCKLESS_END_NO_MM	4

/* Why a batch ended: the work that one read may do is done. Read on. */
#define MAPS_LOCKLESS_END_BUDGET	5

/* Why a batch ended: a fatal signal is pending for the reader. Read on. */
#define MAPS_LOCKLESS_END_SIGNAL	6

/*
 * Why a batch ended: the buffer has room for the header alone. The position has
 * not moved.
 */
#define MAPS_LOCKLESS_END_POLL	7

/* Why a batch ended: it has as many records as were asked for. Read on. */
#define MAPS_LOCKLESS_END_LIMIT	8

/* Record type: a VMA, as maps_lockless_vma. */
#define MAPS_LOCKLESS_TYPE_VMA	1

/* Valid field: vma_flags. */
#define MAPS_LOCKLESS_FIELD_FLAGS	0x1ULL

/* Valid field: pgoff. Only file-backed VMAs have it. */
#define MAPS_LOCKLESS_FIELD_PGOFF	0x2ULL

/* Valid fields: dev_major and dev_minor. Only file-backed VMAs have them. */
#define MAPS_LOCKLESS_FIELD_DEV	0x4ULL

/* Valid field: ino. Only file-backed VMAs have it. */
#define MAPS_LOCKLESS_FIELD_INO	0x8ULL

/* Valid fields: name_kind, name_off and name_len. */
#define MAPS_LOCKLESS_FIELD_NAME	0x10ULL

/*
 * Valid fields: build_id_off and build_id_len. Only executable, file-backed
 * VMAs have them.
 */
#define MAPS_LOCKLESS_FIELD_BUILD_ID	0x20ULL

/*
 * The fields that say what maps shows. They are asked for until a request says
 * otherwise.
 */
#define MAPS_LOCKLESS_FIELDS_MAPS	0x1fULL

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

/* Record flag: the file was unlinked. Its name is the last that it had. */
#define MAPS_LOCKLESS_REC_DELETED	0x8

/* Record flag: the name is longer than PATH_MAX and was left out. */
#define MAPS_LOCKLESS_REC_NAME_TOO_LONG	0x10

/*
 * Record flag: a build ID may stand in a part of the file that is not in the
 * page cache now.
 */
#define MAPS_LOCKLESS_REC_BUILD_ID_NOT_RESIDENT	0x20

/* Name kind: the VMA has no name. */
#define MAPS_LOCKLESS_NAME_NONE	0

/*
 * Name kind: the path of the mapped file, seen from the reader's root
 * directory.
 */
#define MAPS_LOCKLESS_NAME_PATH	1

/*
 * Name kind: given to private anonymous memory by prctl(PR_SET_VMA_ANON_NAME).
 */
#define MAPS_LOCKLESS_NAME_ANON	2

/*
 * Name kind: given to shared anonymous memory by prctl(PR_SET_VMA_ANON_NAME).
 */
#define MAPS_LOCKLESS_NAME_ANON_SHMEM	3

/* Name kind: the heap that brk(2) moves. No bytes. */
#define MAPS_LOCKLESS_NAME_HEAP	4

/* Name kind: the stack of the main thread. No bytes. */
#define MAPS_LOCKLESS_NAME_STACK	5

/*
 * Name kind: mapped by the kernel, named by it: [vdso], [vvar], [vsyscall],
 * [uprobes].
 */
#define MAPS_LOCKLESS_NAME_SPECIAL	6

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

/* VMA flag: the architecture's own. On arm64, guarded by BTI. */
#define MAPS_LOCKLESS_VMA_ARCH_1	0x10000000ULL

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
#define MAPS_LOCKLESS_VMA_FILE	0x8000000000000000ULL

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
	/* Number of records. */
	__u32 count;
	/* MAPS_LOCKLESS_BATCH_*. */
	__u32 flags;
	/* MAPS_LOCKLESS_END_*: why the batch ended. */
	__u32 end_reason;
	/*
	 * The file position behind the batch: the address to go on from, or
	 * MAPS_LOCKLESS_POS_END.
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
	/* MAPS_LOCKLESS_FIELD_* that this kernel can fill. */
	__u64 fields;
	/* MAPS_LOCKLESS_FIELD_* that were asked for. */
	__u64 fields_asked;
	/*
	 * MAPS_LOCKLESS_VMA_* that this kernel reports: another bit at zero
	 * means nothing.
	 */
	__u64 vma_flags;
	/* Bytes of a page. */
	__u32 page_size;
	/* Zero. */
	__u32 reserved;
};

/*
 * A record. type and size open every record, so that unknown types can be
 * skipped.
 */
struct maps_lockless_vma {
	/* MAPS_LOCKLESS_TYPE_VMA. */
	__u16 type;
	/*
	 * Bytes of the fixed part. Grows in later kernels. Name bytes may
	 * follow.
	 */
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
	/* MAPS_LOCKLESS_REC_* flags. */
	__u32 flags;
	/* MAPS_LOCKLESS_NAME_*. */
	__u32 name_kind;
	/*
	 * First address. Never below the end of the record before, nor the page
	 * a read began at.
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
	__u64 pgoff;
	/* Inode number. */
	__u64 ino;
	/* Major device number of the file system, as in maps. */
	__u32 dev_major;
	/* Minor device number of the file system, as in maps. */
	__u32 dev_minor;
	/*
	 * Where the name's bytes begin, counted from the batch's first byte.
	 * They stand in this record, or in one before it in the same batch.
	 */
	__u32 name_off;
	/* Number of bytes of the name: raw, not terminated, not escaped. */
	__u32 name_len;
	/* Where the build ID's bytes begin, as name_off. */
	__u32 build_id_off;
	/*
	 * Number of bytes of the build ID: 1 to 20, or 0 where the file has
	 * none.
	 */
	__u32 build_id_len;
};

/*
 * What to read from an open file: the argument of ioctl(2) with
 * MAPS_LOCKLESS_IOC_REQUEST.
 */
struct maps_lockless_request {
	/*
	 * Bytes of this struct, as the caller knows it. Grows in later kernels.
	 */
	__u64 size;
	/* MAPS_LOCKLESS_FIELD_* that are wanted. 0: the ranges alone. */
	__u64 fields;
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
	 * The most records that one read(2) returns. 0: as many as have room.
	 */
	__u32 max_records;
	/* Zero. */
	__u32 reserved;
	/* Answer: MAPS_LOCKLESS_FIELD_* that this kernel can fill. */
	__u64 supported_fields;
	/* Answer: MAPS_LOCKLESS_VMA_* that this kernel reports. */
	__u64 supported_vma_flags;
};

/*
 * Sets what later reads of the open file return. Its number is made with the
 * type of the argument's first field, so that it stays while the struct grows.
 */
#define MAPS_LOCKLESS_IOC_REQUEST	_IOWR(MAPS_LOCKLESS_IOC_TYPE, MAPS_LOCKLESS_IOC_NR, __u64)

#endif /* _UAPI_LINUX_MAPS_LOCKLESS_H */
