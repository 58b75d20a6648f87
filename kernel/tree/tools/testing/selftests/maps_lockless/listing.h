/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A listing of /proc/PID/maps_lockless: the batches up to a final one, their
 * records, and what they prove.
 */
#ifndef __MAPS_LOCKLESS_LISTING_H
#define __MAPS_LOCKLESS_LISTING_H

#include "kselftest_harness.h"

#include "batch.h"

/* A record of a VMA, that of the file it maps, and copies of their bytes. */
struct mapping {
	struct maps_lockless_vma vma;
	/* Its type is 0 where there is none. */
	struct maps_lockless_file file;
	char *name;
	char *path;
	char build_id[20];
};

/* All batches up to a final one. */
struct listing {
	struct mapping *maps;
	size_t count;
	/* Ranges of which nothing is known. They are no mappings. */
	struct maps_lockless_unknown *unknown;
	size_t unknowns;
	/* Ranges in which nothing has changed. */
	struct maps_lockless_unchanged *unchanged;
	size_t unchangeds;
	struct maps_lockless_batch *headers;
	size_t batches;
	/* Of the final batch. */
	__u32 end_reason;
	/* Of the first batch: with proved, of all. */
	__u64 mm_id;
	__u64 seq;
	/* It is what the address space was at one moment. */
	bool proved;
};

/*
 * Whether batches are one whole listing, and the address space was not changed
 * while it was made. They say so themselves: @headers are all that they began
 * with, and @unknowns says how many ranges of which nothing is known they had.
 */
static inline bool is_proved(const struct maps_lockless_batch *headers,
			     size_t batches, size_t unknowns)
{
	const struct maps_lockless_batch *first = headers;
	size_t i;

	if (!batches || unknowns || !first->mm_id || first->seq_begin % 2)
		return false;
	if (!(first->flags & MAPS_LOCKLESS_BATCH_FIRST))
		return false;
	for (i = 0; i < batches; i++) {
		const struct maps_lockless_batch *header = &headers[i];

		if (header->mm_id != first->mm_id ||
		    header->request != first->request ||
		    header->seq_begin != first->seq_begin ||
		    header->seq_end != first->seq_begin)
			return false;
		if (i && header->begin != headers[i - 1].next)
			return false;
	}
	return headers[batches - 1].end_reason == MAPS_LOCKLESS_END_COMPLETE;
}

/* Checks the form of what a read from position @from returned. */
static inline void check_batch(struct __test_metadata *_metadata,
			       const union batch *batch, ssize_t len, __u64 from)
{
	const char *fault = batch_fault(batch, len, from);

	ASSERT_EQ(NULL, fault)
		TH_LOG("%s", fault);
}

static inline __u64 position(int fd)
{
	return lseek(fd, 0, SEEK_CUR);
}

/* Goes to an address. */
static inline void seek(struct __test_metadata *_metadata, int fd, __u64 address)
{
	__u64 page = address / page_size();

	ASSERT_EQ(page, lseek(fd, page, SEEK_SET));
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
		TH_LOG("a buffer of %zu bytes at position 0x%llx: %m", size, from);
	check_batch(_metadata, batch, len, from);
}

/* As read_batch(), by pread(2) at an address. */
static inline void pread_batch(struct __test_metadata *_metadata, int fd,
			       union batch *batch, size_t size, __u64 address)
{
	__u64 from = address / page_size();
	ssize_t len;

	memset(batch, 0xaa, sizeof(*batch));
	len = pread(fd, batch, size, from);
	ASSERT_LT(0, len)
		TH_LOG("a buffer of %zu bytes at position 0x%llx: %m", size, from);
	check_batch(_metadata, batch, len, from);
}

/*
 * As pread_batch(), until no batch ends early: the kernel may end one whenever the
 * reader has something else to do first.
 */
static inline void pread_full_batch(struct __test_metadata *_metadata, int fd,
				    union batch *batch, size_t size, __u64 address)
{
	do {
		pread_batch(_metadata, fd, batch, size, address);
	} while (batch->header.end_reason == MAPS_LOCKLESS_END_BUDGET);
}

static inline char *copy_bytes(struct __test_metadata *_metadata,
			       const char *bytes, size_t len)
{
	char *copy = malloc(len + 1);

	ASSERT_NE(NULL, copy);
	memcpy(copy, bytes, len);
	copy[len] = 0;
	return copy;
}

/* Copies a record, but for what depends on where the batch began. */
static inline void copy_mapping(struct __test_metadata *_metadata,
				struct mapping *map, const union batch *batch,
				const struct maps_lockless_vma *vma)
{
	const struct maps_lockless_file *file = file_of(batch, vma);
	const char *path;

	memset(map, 0, sizeof(*map));
	map->vma = *vma;
	map->vma.file = 0;
	map->name = copy_bytes(_metadata, (const char *)vma + vma->fixed_size,
			       vma->name_len);
	if (!file)
		return;
	path = (const char *)file + file->fixed_size;
	map->file = *file;
	map->path = copy_bytes(_metadata, path, file->path_len);
	memcpy(map->build_id, path + align8(file->path_len), file->build_id_len);
}

/* Adds a batch and its records to a listing. */
static inline void add_batch(struct __test_metadata *_metadata,
			     struct listing *listing, const union batch *batch)
{
	__u32 count = batch->header.count;
	const struct record *record;

	listing->headers = realloc(listing->headers, (listing->batches + 1) *
				   sizeof(*listing->headers));
	listing->maps = realloc(listing->maps, (listing->count + count + 1) *
				sizeof(*listing->maps));
	listing->unknown = realloc(listing->unknown, (listing->unknowns + count + 1) *
				   sizeof(*listing->unknown));
	listing->unchanged = realloc(listing->unchanged,
				     (listing->unchangeds + count + 1) *
				     sizeof(*listing->unchanged));
	ASSERT_NE(NULL, listing->headers);
	ASSERT_NE(NULL, listing->maps);
	ASSERT_NE(NULL, listing->unknown);
	ASSERT_NE(NULL, listing->unchanged);
	listing->headers[listing->batches++] = batch->header;
	for_each_record(record, batch) {
		if (record->type == MAPS_LOCKLESS_TYPE_VMA)
			copy_mapping(_metadata, &listing->maps[listing->count++],
				     batch, (const void *)record);
		else if (record->type == MAPS_LOCKLESS_TYPE_UNKNOWN)
			memcpy(&listing->unknown[listing->unknowns++], record,
			       sizeof(*listing->unknown));
		else if (record->type == MAPS_LOCKLESS_TYPE_UNCHANGED)
			memcpy(&listing->unchanged[listing->unchangeds++], record,
			       sizeof(*listing->unchanged));
	}
}

static inline void free_listing(struct listing *listing)
{
	size_t i;

	for (i = 0; i < listing->count; i++) {
		free(listing->maps[i].name);
		free(listing->maps[i].path);
	}
	free(listing->maps);
	free(listing->unknown);
	free(listing->unchanged);
	free(listing->headers);
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
	listing->end_reason = batch->header.end_reason;
	listing->mm_id = listing->headers[0].mm_id;
	listing->seq = listing->headers[0].seq_begin;
	listing->proved = is_proved(listing->headers, listing->batches,
				    listing->unknowns);
	free(batch);
}

static inline bool same_mapping(const struct mapping *a, const struct mapping *b)
{
	return !memcmp(&a->vma, &b->vma, sizeof(a->vma)) &&
	       !memcmp(&a->file, &b->file, sizeof(a->file)) &&
	       !memcmp(a->name, b->name, a->vma.name_len) &&
	       (!a->path || !memcmp(a->path, b->path, a->file.path_len)) &&
	       !memcmp(a->build_id, b->build_id, sizeof(a->build_id));
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

/* Whether a listing says that it knows nothing of an address. */
static inline bool is_unknown(const struct listing *listing, const void *address)
{
	__u64 at = (unsigned long)address;
	size_t i;

	for (i = 0; i < listing->unknowns; i++)
		if (listing->unknown[i].start <= at && at < listing->unknown[i].end)
			return true;
	return false;
}

#endif /* __MAPS_LOCKLESS_LISTING_H */
