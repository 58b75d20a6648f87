/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A batch of /proc/PID/maps_lockless: its records, and what is wrong with it.
 */
#ifndef __MAPS_LOCKLESS_BATCH_H
#define __MAPS_LOCKLESS_BATCH_H

#include <linux/maps_lockless.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define MIN	MAPS_LOCKLESS_MIN_BUFFER
#define MAX	MAPS_LOCKLESS_MAX_BATCH

#define VMA_FIELDS \
	(MAPS_LOCKLESS_FIELD_RANGE | MAPS_LOCKLESS_FIELD_FLAGS | \
	 MAPS_LOCKLESS_FIELD_OFFSET | MAPS_LOCKLESS_FIELD_NAME | \
	 MAPS_LOCKLESS_FIELD_PAGE_SIZE | MAPS_LOCKLESS_FIELD_PKEY)
#define FILE_FIELDS \
	(MAPS_LOCKLESS_FIELD_DEV | MAPS_LOCKLESS_FIELD_INO | \
	 MAPS_LOCKLESS_FIELD_PATH | MAPS_LOCKLESS_FIELD_DELETED | \
	 MAPS_LOCKLESS_FIELD_BUILD_ID)

/* What read(2) returns. */
union batch {
	struct maps_lockless_batch header;
	char bytes[MAX];
};

/* What every record begins with. */
struct record {
	__u16 type;
	__u16 fixed_size;
	__u32 size;
};

static inline unsigned long page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static inline __u64 align8(__u64 len)
{
	return (len + 7) & ~7ULL;
}

static inline const void *at_offset(const union batch *batch, __u32 at)
{
	return batch->bytes + at;
}

static inline __u32 offset_of(const union batch *batch, const void *record)
{
	return (const char *)record - batch->bytes;
}

/* The record behind @record in a batch, or the first one. NULL after the last. */
static inline const struct record *next_record(const union batch *batch,
					       const struct record *record)
{
	__u32 at = batch->header.header_size;

	if (record)
		at = offset_of(batch, record) + record->size;
	return at < batch->header.size ? at_offset(batch, at) : NULL;
}

#define for_each_record(record, batch) \
	for (record = next_record(batch, NULL); record; \
	     record = next_record(batch, record))

/* The VMA behind @vma in a batch, or the first one. NULL after the last. */
static inline const struct maps_lockless_vma *
next_vma(const union batch *batch, const struct maps_lockless_vma *vma)
{
	const struct record *record = (const void *)vma;

	do {
		record = next_record(batch, record);
	} while (record && record->type != MAPS_LOCKLESS_TYPE_VMA);
	return (const void *)record;
}

#define for_each_vma(vma, batch) \
	for (vma = next_vma(batch, NULL); vma; vma = next_vma(batch, vma))

/* The record of the file that a VMA maps, or NULL. */
static inline const struct maps_lockless_file *
file_of(const union batch *batch, const struct maps_lockless_vma *vma)
{
	return vma->file ? at_offset(batch, vma->file) : NULL;
}

/*
 * What every decoder has to check before it may go by what a batch says. It
 * makes do with any bytes.
 */

/* What is wrong with the parts of a record that begins at @at, or NULL. */
static inline const char *record_fault(const union batch *batch, __u32 at)
{
	const struct record *record = at_offset(batch, at);
	__u32 left = batch->header.size - at, least = 0;
	__u64 parts;

	if (left < sizeof(*record))
		return "too few bytes are left for a record";
	if (record->size % 8 || record->size < sizeof(*record) ||
	    record->size > left)
		return "a record is not within the batch";
	parts = record->fixed_size;
	if (record->type == MAPS_LOCKLESS_TYPE_VMA)
		least = MAPS_LOCKLESS_VMA_SIZE_VER0;
	else if (record->type == MAPS_LOCKLESS_TYPE_FILE)
		least = MAPS_LOCKLESS_FILE_SIZE_VER0;
	else if (record->type == MAPS_LOCKLESS_TYPE_UNKNOWN)
		least = MAPS_LOCKLESS_UNKNOWN_SIZE_VER0;
	else if (record->type == MAPS_LOCKLESS_TYPE_UNCHANGED)
		least = MAPS_LOCKLESS_UNCHANGED_SIZE_VER0;
	if (parts < least || parts > record->size)
		return "fixed_size cannot be";

	if (record->type == MAPS_LOCKLESS_TYPE_VMA) {
		const struct maps_lockless_vma *vma = (const void *)record;

		parts += align8(vma->name_len);
	} else if (record->type == MAPS_LOCKLESS_TYPE_FILE) {
		const struct maps_lockless_file *file = (const void *)record;

		if (file->build_id_len > 20)
			return "the build ID is too long";
		parts += align8(file->path_len) + align8(file->build_id_len);
	}
	return parts > record->size ? "bytes reach beyond their record" : NULL;
}

/* What is wrong with where the VMA at @at says that its file stands, or NULL. */
static inline const char *reference_fault(const union batch *batch, __u32 at)
{
	const struct maps_lockless_vma *vma = at_offset(batch, at);
	const struct record *file;

	if (!vma->file)
		return NULL;
	if (vma->file % 8 || vma->file < batch->header.header_size ||
	    vma->file >= at)
		return "file is not within the records before";
	file = at_offset(batch, vma->file);
	if (file->type != MAPS_LOCKLESS_TYPE_FILE)
		return "file is not a file's record";
	if (record_fault(batch, vma->file) || vma->file + file->size > at)
		return "file is not a whole record before";
	return NULL;
}

/* What is wrong with the form of the batch that @len bytes begin with, or NULL. */
static inline const char *form_fault(const union batch *batch, size_t len)
{
	const struct maps_lockless_batch *header = &batch->header;
	__u32 at, count = 0;

	if (len < MAPS_LOCKLESS_BATCH_SIZE_VER0)
		return "too short for a header";
	if (header->magic != MAPS_LOCKLESS_MAGIC)
		return "not a batch";
	if (header->version != MAPS_LOCKLESS_VERSION)
		return "of another version";
	if (header->size > len)
		return "size is more than there is";
	if (header->header_size < MAPS_LOCKLESS_BATCH_SIZE_VER0 ||
	    header->header_size > header->size || header->header_size % 8)
		return "header_size cannot be";

	for (at = header->header_size; at < header->size; count++) {
		const struct record *record = at_offset(batch, at);
		const char *fault = record_fault(batch, at);

		if (!fault && record->type == MAPS_LOCKLESS_TYPE_VMA)
			fault = reference_fault(batch, at);
		if (fault)
			return fault;
		at += record->size;
	}
	return count == header->count ? NULL : "count is not the number of records";
}

/*
 * What the kernel promises besides, for requests that name nothing that this
 * header does not.
 */

static inline bool all_zero(const char *bytes, size_t len)
{
	while (len--)
		if (bytes[len])
			return false;
	return true;
}

/* Whether the padding behind @len bytes is zero. */
static inline bool is_padded(const char *bytes, __u32 len)
{
	return all_zero(bytes + len, align8(len) - len);
}

static inline const char *range_fault(__u64 start, __u64 end, __u64 last_end)
{
	if (start % page_size() || end % page_size() || start >= end)
		return "not a range of pages";
	if (start < last_end)
		return "records are not in order, or overlap";
	return NULL;
}

/* What is wrong with a VMA's reference to a file, its offset and its name. */
static inline const char *
backing_fault(const struct maps_lockless_batch *header,
	      const struct maps_lockless_vma *vma)
{
	bool backed = vma->vma_flags & MAPS_LOCKLESS_VMA_FILE;
	bool told = header->fields_wanted & FILE_FIELDS;

	if (vma->file && !told)
		return "a file of which nothing was asked for";
	if (vma->file && vma->flags & MAPS_LOCKLESS_REC_WITHHELD)
		return "withheld, but with a file";
	if (vma->valid & MAPS_LOCKLESS_FIELD_FLAGS) {
		if (told && backed != !!vma->file)
			return "the flag of a file without one, or the reverse";
		if (vma->valid & MAPS_LOCKLESS_FIELD_OFFSET && !backed)
			return "an offset without a file";
		if (backed && vma->name_kind != MAPS_LOCKLESS_NAME_NONE &&
		    vma->name_kind != MAPS_LOCKLESS_NAME_ANON_SHMEM)
			return "a name that no mapping of a file has";
		if (!backed && vma->name_kind == MAPS_LOCKLESS_NAME_ANON_SHMEM)
			return "a name that only mappings of files have";
	}
	if (vma->name_len && (vma->name_kind == MAPS_LOCKLESS_NAME_NONE ||
			      vma->name_kind == MAPS_LOCKLESS_NAME_HEAP ||
			      vma->name_kind == MAPS_LOCKLESS_NAME_STACK))
		return "a name of a kind that has no bytes";
	return NULL;
}

static inline const char *vma_fault(const struct maps_lockless_batch *header,
				    const struct maps_lockless_vma *vma,
				    __u64 last_end)
{
	const char *fault = range_fault(vma->start, vma->end, last_end);
	__u64 wanted = header->fields_wanted | MAPS_LOCKLESS_FIELD_RANGE;
	__u64 valid = vma->valid;

	if (fault)
		return fault;
	if (vma->vma_start > vma->start ||
	    (vma->vma_start < vma->start) != !!(vma->flags & MAPS_LOCKLESS_REC_CLIPPED))
		return "clipped and not marked, or marked and not clipped";
	if (!(valid & MAPS_LOCKLESS_FIELD_RANGE))
		return "no range";
	if (valid & ~(wanted & VMA_FIELDS))
		return "a field that was not asked for";
	if (vma->flags & MAPS_LOCKLESS_REC_WITHHELD &&
	    valid != MAPS_LOCKLESS_FIELD_RANGE)
		return "withheld, but with fields";
	if (!(valid & MAPS_LOCKLESS_FIELD_FLAGS) && vma->vma_flags)
		return "vma_flags is not valid and not zero";
	if (vma->vma_flags & ~header->vma_flags_supported)
		return "a VMA flag that is not supported";
	if (!(valid & MAPS_LOCKLESS_FIELD_OFFSET) && vma->offset)
		return "offset is not valid and not zero";
	if (!(valid & MAPS_LOCKLESS_FIELD_NAME) && (vma->name_kind || vma->name_len))
		return "the name is not valid and not zero";
	if (!(valid & MAPS_LOCKLESS_FIELD_PAGE_SIZE) && vma->page_shift)
		return "page_shift is not valid and not zero";
	if (!(valid & MAPS_LOCKLESS_FIELD_PKEY) && vma->pkey)
		return "pkey is not valid and not zero";
	if (vma->size != vma->fixed_size + align8(vma->name_len))
		return "size is not that of the record's parts";
	if (!is_padded((const char *)vma + vma->fixed_size, vma->name_len))
		return "padding is not zero";
	return backing_fault(header, vma);
}

static inline const char *file_fault(const struct maps_lockless_batch *header,
				     const struct maps_lockless_file *file)
{
	const char *path = (const char *)file + file->fixed_size;
	__u64 wanted = header->fields_wanted, valid = file->valid;
	bool too_long = file->flags & MAPS_LOCKLESS_FILE_PATH_TOO_LONG;
	bool not_resident = file->flags & MAPS_LOCKLESS_FILE_BUILD_ID_NOT_RESIDENT;

	if (valid & ~(wanted & FILE_FIELDS))
		return "a field of a file that was not asked for";
	if (!(valid & MAPS_LOCKLESS_FIELD_DEV) && (file->dev_major || file->dev_minor))
		return "the device is not valid and not zero";
	if (!(valid & MAPS_LOCKLESS_FIELD_INO) && file->ino)
		return "ino is not valid and not zero";
	if (!(valid & MAPS_LOCKLESS_FIELD_PATH) && file->path_len)
		return "the path is not valid and not zero";
	if (!(valid & MAPS_LOCKLESS_FIELD_DELETED) &&
	    file->flags & MAPS_LOCKLESS_FILE_DELETED)
		return "deleted is not valid and not zero";
	if (!(valid & MAPS_LOCKLESS_FIELD_BUILD_ID) && file->build_id_len)
		return "the build ID is not valid and not zero";
	if (wanted & MAPS_LOCKLESS_FIELD_PATH ?
	    too_long == !!(valid & MAPS_LOCKLESS_FIELD_PATH) : too_long)
		return "the path is there and too long, or neither";
	if (wanted & MAPS_LOCKLESS_FIELD_BUILD_ID ?
	    not_resident == !!(valid & MAPS_LOCKLESS_FIELD_BUILD_ID) : not_resident)
		return "the build ID is there and not resident, or neither";
	if (file->reserved)
		return "reserved is not zero";
	if (file->size != file->fixed_size + align8(file->path_len) +
			  align8(file->build_id_len))
		return "size is not that of the file's parts";
	if (!is_padded(path, file->path_len) ||
	    !is_padded(path + align8(file->path_len), file->build_id_len))
		return "padding is not zero";
	return NULL;
}

static inline const char *
unchanged_fault(const struct maps_lockless_batch *header,
		const struct maps_lockless_unchanged *unchanged, __u64 last_end)
{
	if (!(header->flags & MAPS_LOCKLESS_BATCH_SINCE))
		return "an unchanged range, which nobody asked for";
	if (unchanged->size != unchanged->fixed_size)
		return "an unchanged range has more";
	if (!unchanged->vma_count)
		return "nothing is mapped in an unchanged range";
	if (unchanged->reserved)
		return "reserved is not zero";
	return range_fault(unchanged->start, unchanged->end, last_end);
}

/* What is wrong with the records, the last of which ends at *@last_end. */
static inline const char *records_fault(const union batch *batch, __u64 *last_end)
{
	const struct maps_lockless_batch *header = &batch->header;
	/* Where records of files begin. */
	bool begins[MAX / 8] = {};
	const struct record *record;
	__u16 last_type = 0;

	for_each_record(record, batch) {
		const struct maps_lockless_unchanged *unchanged = (const void *)record;
		const struct maps_lockless_unknown *unknown = (const void *)record;
		const struct maps_lockless_vma *vma = (const void *)record;
		const char *fault;

		last_type = record->type;
		switch (record->type) {
		case MAPS_LOCKLESS_TYPE_VMA:
			fault = vma_fault(header, vma, *last_end);
			if (!fault && vma->file && !begins[vma->file / 8])
				fault = "no record begins where file says";
			*last_end = vma->end;
			break;
		case MAPS_LOCKLESS_TYPE_FILE:
			fault = file_fault(header, (const void *)record);
			begins[offset_of(batch, record) / 8] = true;
			break;
		case MAPS_LOCKLESS_TYPE_UNKNOWN:
			fault = range_fault(unknown->start, unknown->end, *last_end);
			if (!fault && unknown->size != unknown->fixed_size)
				fault = "a range of which nothing is known has more";
			*last_end = unknown->end;
			break;
		case MAPS_LOCKLESS_TYPE_UNCHANGED:
			fault = unchanged_fault(header, unchanged, *last_end);
			*last_end = unchanged->end;
			break;
		default:
			fault = "a record of another type, which nobody asked for";
		}
		if (fault)
			return fault;
	}
	return last_type == MAPS_LOCKLESS_TYPE_FILE ?
	       "the last record is of a file, which nothing maps" : NULL;
}

/* What is wrong with a header of a batch that was read from position @from. */
static inline const char *header_fault(const struct maps_lockless_batch *header,
				       __u64 from)
{
	bool listed = header->end_reason != MAPS_LOCKLESS_END_GONE &&
		      header->end_reason != MAPS_LOCKLESS_END_NO_MM;
	bool final = header->end_reason == MAPS_LOCKLESS_END_COMPLETE || !listed;

	if (header->page_size != page_size())
		return "page_size";
	if (header->seq_begin > header->seq_end)
		return "the change count went back";
	if (header->fields_wanted & ~header->fields_supported)
		return "asked for what is not supported";
	if (!header->fields_wanted)
		return "asked for nothing";
	if ((header->mm_id == 0) != (header->end_reason == MAPS_LOCKLESS_END_NO_MM))
		return "no address space, or its identity, but not both";
	if (!header->end_reason || header->end_reason > MAPS_LOCKLESS_END_LIMIT)
		return "it ended for no reason";
	if (!listed && header->count)
		return "records of no address space";
	if (final != !!(header->flags & MAPS_LOCKLESS_BATCH_FINAL))
		return "it is final, or says so, but not both";
	if (final != (header->next == MAPS_LOCKLESS_NEXT_NONE))
		return "it is final, or nothing follows, but not both";
	if (header->begin % page_size() || header->begin < from * page_size())
		return "it begins within a page, or before the position";
	if (!final && (header->next % page_size() || header->next < header->begin))
		return "next is within a page, or before the beginning";
	/* A request may begin further on. */
	if (!(header->flags & MAPS_LOCKLESS_BATCH_SELECTED) && listed &&
	    (header->begin != from * page_size() ||
	     (header->begin == 0) != !!(header->flags & MAPS_LOCKLESS_BATCH_FIRST)))
		return "it does not begin at the position, or says so";
	return NULL;
}

/*
 * What is wrong with the batch of @len bytes that a read from position @from
 * returned. NULL if nothing is.
 */
static inline const char *batch_fault(const union batch *batch, ssize_t len,
				      __u64 from)
{
	const struct maps_lockless_batch *header = &batch->header;
	__u64 last_end = header->begin;
	const char *fault;

	if (len < 0 || len > (ssize_t)MAX)
		return "its length cannot be";
	fault = form_fault(batch, len);
	if (!fault)
		fault = header_fault(header, from);
	if (!fault)
		fault = records_fault(batch, &last_end);
	if (!fault && header->size != len)
		fault = "size is not what was read";
	if (!fault && header->next < last_end)
		fault = "next is within what was listed";
	return fault;
}

#endif /* __MAPS_LOCKLESS_BATCH_H */
