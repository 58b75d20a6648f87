/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests of /proc/PID/maps_lockless share. */
#ifndef __MAPS_LOCKLESS_COMMON_H
#define __MAPS_LOCKLESS_COMMON_H

#include "kselftest_harness.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/maps_lockless.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>

#define HEADER	sizeof(struct maps_lockless_batch)
#define RECORD	sizeof(struct maps_lockless_vma)
#define MIN	MAPS_LOCKLESS_MIN_BUFFER
#define MAX	MAPS_LOCKLESS_MAX_BATCH

/* Who may do nothing. */
#define NOBODY	65534

/* A kernel with all its checks is slow, and an emulated one even more so. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	150

#define UNPROVED	(MAPS_LOCKLESS_REC_UNSTABLE | MAPS_LOCKLESS_REC_WITHHELD)

/* What read(2) returns. */
union batch {
	struct maps_lockless_batch header;
	char bytes[MAX];
};

/* A record, and a copy of its name's bytes. */
struct mapping {
	struct maps_lockless_vma vma;
	char *name;
};

/* All records up to a final batch. */
struct listing {
	struct mapping *maps;
	size_t count;
	unsigned int batches;
	/* Of the final batch. */
	__u32 end_reason;
	__u64 mm_id;
	/* The change count, where proved. */
	__u64 seq;
	/* It is what the address space was at one moment. */
	bool proved;
};

static inline unsigned long page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static inline unsigned long align8(unsigned long len)
{
	return (len + 7) & ~7UL;
}

/* The errno that a call failed with, or 0. */
static inline int errno_of(long ret)
{
	return ret < 0 ? errno : 0;
}

static inline __u64 position(int fd)
{
	return lseek(fd, 0, SEEK_CUR);
}

static inline double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static inline int open_file(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static inline int open_listing(pid_t pid)
{
	return open_file(pid, "maps_lockless");
}

static inline int set_request(int fd, struct maps_lockless_request *request)
{
	return ioctl(fd, MAPS_LOCKLESS_IOC_REQUEST, request);
}

/* Ends a child unless all is well. */
static inline void must(bool well, const char *what)
{
	if (!well) {
		perror(what);
		_exit(KSFT_FAIL);
	}
}

/* Forks a process that runs @setup and waits to be killed. */
static inline pid_t start_target(struct __test_metadata *_metadata,
				 void (*setup)(void *arg), void *arg)
{
	int ready[2];
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setup)
			setup(arg);
		must(write(ready[1], "", 1) == 1, "write");
		for (;;)
			pause();
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	close(ready[0]);
	return pid;
}

/* Kills a process and waits until it is gone, unless that was done already. */
static inline void end_target(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Waits for a child that says by its exit status whether all was well. */
static inline int exit_status(pid_t pid)
{
	int status = 0;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* Root becomes a user who may do nothing. Others stay who they are. */
static inline void become_nobody(void)
{
	if (geteuid())
		return;
	must(!setresgid(NOBODY, NOBODY, NOBODY), "setresgid");
	must(!setresuid(NOBODY, NOBODY, NOBODY), "setresuid");
}

/*
 * Maps @count VMAs of one page each, the second, fourth... of which are writable,
 * between two pages without access. Returns where the first one is.
 */
static inline char *map_alternating(size_t count)
{
	unsigned long page = page_size();
	char *at;
	size_t i;

	at = mmap(NULL, (count + 2) * page, PROT_NONE,
		  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	at += page;
	for (i = 0; i < count; i++) {
		int prot = i % 2 ? PROT_READ | PROT_WRITE : PROT_READ;

		if (mprotect(at + i * page, page, prot))
			return NULL;
	}
	return at;
}

/* The record behind @vma in a batch, or the first one. NULL after the last. */
static inline const struct maps_lockless_vma *
next_record(const union batch *batch, const struct maps_lockless_vma *vma)
{
	const char *at;

	if (vma)
		at = (const char *)vma + vma->size;
	else
		at = batch->bytes + batch->header.header_size;
	if (at >= batch->bytes + batch->header.size)
		return NULL;
	return (const void *)at;
}

#define for_each_record(vma, batch) \
	for (vma = next_record(batch, NULL); vma; vma = next_record(batch, vma))

static inline bool all_zero(const char *bytes, size_t len)
{
	while (len--)
		if (bytes[len])
			return false;
	return true;
}

/*
 * What is wrong with a name or a build ID of @len bytes at @off, in the record
 * that begins at @at and of which *@used bytes are known. NULL if nothing is.
 */
static inline const char *blob_fault(const union batch *batch, __u32 at,
				     __u32 *used, __u32 off, __u32 len)
{
	if (!len)
		return NULL;
	if (off >= at) {
		if (off != at + *used)
			return "a blob does not follow what is before it";
		*used += align8(len);
		if (at + *used > batch->header.size)
			return "a blob reaches beyond the batch";
		if (!all_zero(batch->bytes + off + len, align8(len) - len))
			return "padding is not zero";
	} else if (off < batch->header.header_size || off + len > at) {
		return "a blob is not within the records before";
	}
	return NULL;
}

/* What is wrong with a record. NULL if nothing is. */
static inline const char *record_fault(const union batch *batch,
				       const struct maps_lockless_vma *vma)
{
	__u32 at = (const char *)vma - batch->bytes, used = vma->fixed_size;
	__u64 page = batch->header.page_size;
	const char *fault;

	if (vma->type != MAPS_LOCKLESS_TYPE_VMA)
		return "a record of another type, which nobody asked for";
	if (vma->fixed_size < MAPS_LOCKLESS_RECORD_SIZE_VER0)
		return "fixed_size is too small";
	if (vma->start % page || vma->end % page || vma->start >= vma->end)
		return "not a range of pages";
	if (vma->vma_start > vma->start ||
	    (vma->vma_start < vma->start) != !!(vma->flags & MAPS_LOCKLESS_REC_CLIPPED))
		return "clipped and not marked, or marked and not clipped";
	if (vma->valid & ~batch->header.fields_asked)
		return "a field that was not asked for";
	if (vma->flags & MAPS_LOCKLESS_REC_WITHHELD && vma->valid)
		return "withheld, but with fields";
	if (!(vma->valid & MAPS_LOCKLESS_FIELD_FLAGS) && vma->vma_flags)
		return "vma_flags is not valid and not zero";
	if (vma->vma_flags & ~batch->header.vma_flags)
		return "a VMA flag that the header does not tell";
	if (!(vma->valid & MAPS_LOCKLESS_FIELD_PGOFF) && vma->pgoff)
		return "pgoff is not valid and not zero";
	if (!(vma->valid & MAPS_LOCKLESS_FIELD_DEV) &&
	    (vma->dev_major || vma->dev_minor))
		return "the device is not valid and not zero";
	if (!(vma->valid & MAPS_LOCKLESS_FIELD_INO) && vma->ino)
		return "ino is not valid and not zero";
	if (!(vma->valid & MAPS_LOCKLESS_FIELD_NAME) &&
	    (vma->name_kind || vma->name_off || vma->name_len))
		return "the name is not valid and not zero";
	if (!(vma->valid & MAPS_LOCKLESS_FIELD_BUILD_ID) &&
	    (vma->build_id_off || vma->build_id_len))
		return "the build ID is not valid and not zero";
	if (vma->build_id_len > 20)
		return "the build ID is too long";
	fault = blob_fault(batch, at, &used, vma->name_off, vma->name_len);
	if (!fault)
		fault = blob_fault(batch, at, &used, vma->build_id_off,
				   vma->build_id_len);
	if (!fault && used != vma->size)
		fault = "size is not that of the record's parts";
	return fault;
}

/*
 * What is wrong with the batch of @len bytes that a read from @from returned.
 * NULL if nothing is.
 */
static inline const char *batch_fault(const union batch *batch, ssize_t len,
				      __u64 from)
{
	const struct maps_lockless_batch *header = &batch->header;
	__u32 at = header->header_size, count = 0;
	__u64 last_end = from & ~(page_size() - 1);
	bool final;

	if (len < MAPS_LOCKLESS_BATCH_SIZE_VER0 || header->size != len)
		return "size is not what was read";
	if (header->magic != MAPS_LOCKLESS_MAGIC ||
	    header->version != MAPS_LOCKLESS_VERSION)
		return "not a batch";
	if (at < MAPS_LOCKLESS_BATCH_SIZE_VER0 || at % 8 || at > len)
		return "header_size cannot be";
	if (header->page_size != page_size() || header->reserved)
		return "page_size or reserved";
	if (header->seq_begin > header->seq_end)
		return "the change count went back";
	final = header->end_reason == MAPS_LOCKLESS_END_COMPLETE ||
		header->end_reason == MAPS_LOCKLESS_END_GONE ||
		header->end_reason == MAPS_LOCKLESS_END_NO_MM;
	if (final != !!(header->flags & MAPS_LOCKLESS_BATCH_FINAL))
		return "it is final, or says so, but not both";

	while (at < len) {
		const struct maps_lockless_vma *vma =
			(const void *)(batch->bytes + at);
		const char *fault;

		if (at + MAPS_LOCKLESS_RECORD_SIZE_VER0 > len || vma->size % 8 ||
		    vma->size < vma->fixed_size || at + vma->size > len)
			return "a record is not within the batch";
		fault = record_fault(batch, vma);
		if (fault)
			return fault;
		if (vma->start < last_end)
			return "records are not in order, or overlap";
		last_end = vma->end;
		at += vma->size;
		count++;
	}
	if (count != header->count)
		return "count is not the number of records";
	if (header->end_reason != MAPS_LOCKLESS_END_POLL && !final &&
	    header->next < last_end)
		return "next is within what was listed";
	return NULL;
}

/* Checks the form of what a read from @from returned. */
static inline void check_batch(struct __test_metadata *_metadata,
			       const union batch *batch, ssize_t len, __u64 from)
{
	const char *fault = batch_fault(batch, len, from);

	ASSERT_EQ(NULL, fault)
		TH_LOG("%s", fault);
}

/* Reads a batch with a buffer of @size bytes and checks its form. */
static inline void read_batch(struct __test_metadata *_metadata, int fd,
			      union batch *batch, size_t size)
{
	__u64 from = position(fd);
	ssize_t len;

	memset(batch, 0xaa, sizeof(*batch));
	len = read(fd, batch, size);
	ASSERT_LT(0, len)
		TH_LOG("a buffer of %zu bytes at 0x%llx: %m", size, from);
	check_batch(_metadata, batch, len, from);
}

/* As read_batch(), by pread(2) at an address. */
static inline void pread_batch(struct __test_metadata *_metadata, int fd,
			       union batch *batch, size_t size, __u64 from)
{
	ssize_t len;

	memset(batch, 0xaa, sizeof(*batch));
	len = pread(fd, batch, size, from);
	ASSERT_LT(0, len)
		TH_LOG("a buffer of %zu bytes at 0x%llx: %m", size, from);
	check_batch(_metadata, batch, len, from);
}

/* Adds the records of a batch to a listing. */
static inline void add_batch(struct __test_metadata *_metadata,
			     struct listing *listing, const union batch *batch)
{
	const struct maps_lockless_batch *header = &batch->header;
	const struct maps_lockless_vma *vma;
	struct mapping *map;

	if (!listing->batches++) {
		listing->mm_id = header->mm_id;
		listing->seq = header->seq_begin;
		listing->proved = !(header->seq_begin % 2);
	}
	if (header->mm_id != listing->mm_id || header->seq_begin != listing->seq ||
	    header->seq_end != listing->seq)
		listing->proved = false;
	listing->end_reason = header->end_reason;

	listing->maps = realloc(listing->maps, (listing->count + header->count + 1) *
				sizeof(*map));
	ASSERT_NE(NULL, listing->maps);
	for_each_record(vma, batch) {
		map = &listing->maps[listing->count++];
		map->vma = *vma;
		map->name = malloc(vma->name_len + 1);
		ASSERT_NE(NULL, map->name);
		memcpy(map->name, batch->bytes + vma->name_off, vma->name_len);
		map->name[vma->name_len] = 0;
		/* What depends on where the batch began. */
		map->vma.size = 0;
		map->vma.name_off = 0;
		map->vma.build_id_off = 0;
	}
}

static inline void free_listing(struct listing *listing)
{
	size_t i;

	for (i = 0; i < listing->count; i++)
		free(listing->maps[i].name);
	free(listing->maps);
	memset(listing, 0, sizeof(*listing));
}

/* Reads on to the final batch with buffers of @size bytes. */
static inline void read_listing(struct __test_metadata *_metadata, int fd,
				size_t size, struct listing *listing)
{
	union batch *batch = malloc(sizeof(*batch));

	ASSERT_NE(NULL, batch);
	memset(listing, 0, sizeof(*listing));
	do {
		read_batch(_metadata, fd, batch, size);
		add_batch(_metadata, listing, batch);
	} while (!(batch->header.flags & MAPS_LOCKLESS_BATCH_FINAL));
	if (listing->end_reason != MAPS_LOCKLESS_END_COMPLETE)
		listing->proved = false;
	free(batch);
}

static inline bool same_mapping(const struct mapping *a, const struct mapping *b)
{
	return !memcmp(&a->vma, &b->vma, sizeof(a->vma)) &&
	       !memcmp(a->name, b->name, a->vma.name_len);
}

static inline bool same_listing(const struct listing *a, const struct listing *b)
{
	size_t i;

	if (a->count != b->count)
		return false;
	for (i = 0; i < a->count; i++)
		if (!same_mapping(&a->maps[i], &b->maps[i]))
			return false;
	return true;
}

/* The record that covers an address, or NULL. */
static inline const struct mapping *find_mapping(const struct listing *listing,
						 const void *address)
{
	__u64 at = (unsigned long)address;
	size_t i;

	for (i = 0; i < listing->count; i++)
		if (listing->maps[i].vma.start <= at && at < listing->maps[i].vma.end)
			return &listing->maps[i];
	return NULL;
}

/* What main() does: runs the tests, unless the kernel has no such file. */
static inline int run_tests(int argc, char **argv)
{
	if (access("/proc/self/maps_lockless", F_OK))
		ksft_exit_skip("there is no /proc/self/maps_lockless\n");
	return test_harness_run(argc, argv);
}

#endif /* __MAPS_LOCKLESS_COMMON_H */
