// SPDX-License-Identifier: GPL-2.0
/*
 * The format of /proc/PID/maps_lockless: headers, records, sizes, buffers, ends
 * of batches.
 */
#include "common.h"

#include <stddef.h>
#include <sys/stat.h>

/* More than a batch holds. */
#define VMAS 1000

FIXTURE(abi)
{
	pid_t pid;
	int fd;
	/* VMAS of a page, of which every other one is writable. */
	char *vmas;
};

FIXTURE_SETUP(abi)
{
	self->vmas = map_alternating(VMAS);
	ASSERT_NE(NULL, self->vmas);
	self->pid = start_target(_metadata, NULL, NULL);
	self->fd = open_listing(self->pid);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(abi)
{
	close(self->fd);
	end_target(self->pid);
}

static union batch batch;

TEST(layout)
{
	EXPECT_EQ(104, MAPS_LOCKLESS_BATCH_SIZE_VER0);
	EXPECT_EQ(72, MAPS_LOCKLESS_VMA_SIZE_VER0);
	EXPECT_EQ(48, MAPS_LOCKLESS_FILE_SIZE_VER0);
	EXPECT_EQ(24, MAPS_LOCKLESS_UNKNOWN_SIZE_VER0);
	EXPECT_EQ(32, MAPS_LOCKLESS_UNCHANGED_SIZE_VER0);
	EXPECT_EQ(104, MAPS_LOCKLESS_REQUEST_SIZE_VER0);
	EXPECT_EQ(64, MAPS_LOCKLESS_STATE_SIZE_VER0);
	EXPECT_LE(MAPS_LOCKLESS_BATCH_SIZE_VER0, HEADER);
	EXPECT_LE(MAPS_LOCKLESS_VMA_SIZE_VER0, RECORD);
	EXPECT_LE(MAPS_LOCKLESS_FILE_SIZE_VER0, sizeof(struct maps_lockless_file));
	EXPECT_LE(MAPS_LOCKLESS_UNKNOWN_SIZE_VER0, sizeof(struct maps_lockless_unknown));
	EXPECT_LE(MAPS_LOCKLESS_UNCHANGED_SIZE_VER0, sizeof(struct maps_lockless_unchanged));
	EXPECT_LE(MAPS_LOCKLESS_REQUEST_SIZE_VER0, sizeof(struct maps_lockless_request));
	EXPECT_LE(MAPS_LOCKLESS_STATE_SIZE_VER0, sizeof(struct maps_lockless_state));
	EXPECT_EQ(24, offsetof(struct maps_lockless_batch, begin));
	EXPECT_EQ(100, offsetof(struct maps_lockless_batch, vma_count));
	EXPECT_EQ(24, offsetof(struct maps_lockless_vma, start));
	EXPECT_EQ(68, offsetof(struct maps_lockless_vma, name_len));
	EXPECT_EQ(24, offsetof(struct maps_lockless_file, ino));
	EXPECT_EQ(40, offsetof(struct maps_lockless_file, build_id_len));
	EXPECT_EQ(16, offsetof(struct maps_lockless_unknown, end));
	EXPECT_EQ(24, offsetof(struct maps_lockless_unchanged, vma_count));
	EXPECT_EQ(56, offsetof(struct maps_lockless_request, max_records));
	EXPECT_EQ(64, offsetof(struct maps_lockless_request, since_mm_id));
	EXPECT_EQ(96, offsetof(struct maps_lockless_request, vma_flags_supported));
	EXPECT_EQ(16, offsetof(struct maps_lockless_state, mm_id));
	EXPECT_EQ(56, offsetof(struct maps_lockless_state, vma_count));
	EXPECT_EQ(0x4c50414d, MAPS_LOCKLESS_MAGIC);
	EXPECT_EQ(1ULL << 62, MAPS_LOCKLESS_POS_END);
	EXPECT_EQ(UINT64_MAX, MAPS_LOCKLESS_NEXT_NONE);
	EXPECT_EQ(_IOWR(0x66, 18, struct maps_lockless_request), MAPS_LOCKLESS_SET_REQUEST);
	EXPECT_EQ(_IOWR(0x66, 28, struct maps_lockless_request), MAPS_LOCKLESS_GET_REQUEST);
	EXPECT_EQ(_IOWR(0x66, 29, struct maps_lockless_state), MAPS_LOCKLESS_GET_STATE);
}

TEST_F(abi, mode)
{
	static const char * const paths[] = {
		"/proc/self/maps_lockless", "/proc/thread-self/maps_lockless",
	};
	struct stat st;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(paths); i++) {
		ASSERT_EQ(0, stat(paths[i], &st));
		EXPECT_EQ(S_IFREG | 0444, st.st_mode);
	}
	EXPECT_EQ(EBADF, errno_of(write(self->fd, "", 1)));
}

TEST_F(abi, header)
{
	struct maps_lockless_batch header;
	int other;

	read_batch(_metadata, self->fd, &batch, MIN);
	header = batch.header;
	EXPECT_EQ(MAPS_LOCKLESS_VERSION, header.version);
	EXPECT_LE(HEADER, header.header_size);
	EXPECT_NE(0, header.mm_id);
	EXPECT_EQ(0, header.seq_begin % 2);
	EXPECT_EQ(header.seq_begin, header.seq_end);
	EXPECT_EQ(MAPS_LOCKLESS_FIELDS_MAPS,
		  header.fields_supported & MAPS_LOCKLESS_FIELDS_MAPS);
	EXPECT_EQ(MAPS_LOCKLESS_FIELDS_MAPS, header.fields_wanted);
	EXPECT_EQ(MAPS_LOCKLESS_BATCH_FIRST, header.flags);
	EXPECT_EQ(0, header.begin);
	EXPECT_EQ(0, header.request);
	EXPECT_LT(VMAS, header.vma_count);
	/* The next batch begins where this one ended. */
	read_batch(_metadata, self->fd, &batch, MIN);
	EXPECT_EQ(header.next, batch.header.begin);
	EXPECT_EQ(0, batch.header.flags);

	/* Another open file of the same process tells the same mm. */
	other = open_listing(self->pid);
	ASSERT_LE(0, other);
	read_batch(_metadata, other, &batch, MIN);
	EXPECT_EQ(header.mm_id, batch.header.mm_id);
	close(other);

	other = open_listing(getpid());
	ASSERT_LE(0, other);
	read_batch(_metadata, other, &batch, MIN);
	EXPECT_NE(header.mm_id, batch.header.mm_id);
	close(other);
}

/* That the checks in batch.h find what they look for, in a batch that is good. */
TEST_F(abi, decoder_refuses)
{
	static union batch good;
	struct maps_lockless_batch *header = &batch.header;
	struct maps_lockless_file *file;
	struct maps_lockless_vma *vma;
	const struct record *record;
	__u32 file_at = 0, vma_at = 0, len;

	read_batch(_metadata, self->fd, &good, MIN);
	len = good.header.size;
	for_each_record(record, &good) {
		__u32 at = offset_of(&good, record);

		if (!file_at && record->type == MAPS_LOCKLESS_TYPE_FILE)
			file_at = at;
		if (!vma_at && record->type == MAPS_LOCKLESS_TYPE_VMA &&
		    ((const struct maps_lockless_vma *)record)->file)
			vma_at = at;
	}
	ASSERT_NE(0, file_at);
	ASSERT_NE(0, vma_at);
	vma = (void *)(batch.bytes + vma_at);
	file = (void *)(batch.bytes + file_at);
	ASSERT_EQ(NULL, form_fault(&good, len));
	EXPECT_NE(NULL, form_fault(&good, len - 1));
	EXPECT_NE(NULL, form_fault(&good, MAPS_LOCKLESS_BATCH_SIZE_VER0 - 1));

#define REFUSED(member, value) do { \
		batch = good; \
		(member) = (value); \
		EXPECT_NE(NULL, form_fault(&batch, len)) \
			TH_LOG("%s = %s", #member, #value); \
	} while (0)

	REFUSED(header->magic, __builtin_bswap32(MAPS_LOCKLESS_MAGIC));
	REFUSED(header->version, MAPS_LOCKLESS_VERSION + 1);
	REFUSED(header->header_size, MAPS_LOCKLESS_BATCH_SIZE_VER0 - 8);
	REFUSED(header->header_size, UINT16_MAX - 7);
	REFUSED(header->size, len + 8);
	REFUSED(header->size, len - 8);
	REFUSED(header->size, header->header_size - 8);
	REFUSED(header->size, header->header_size + 4);
	REFUSED(header->count, header->count + 1);
	REFUSED(header->count, header->count - 1);
	REFUSED(vma->size, 0);
	REFUSED(vma->size, vma->size + 4);
	REFUSED(vma->size, UINT32_MAX - 7);
	REFUSED(vma->size, vma->size - 8);
	REFUSED(vma->fixed_size, MAPS_LOCKLESS_VMA_SIZE_VER0 - 8);
	REFUSED(vma->fixed_size, vma->size + 8);
	REFUSED(vma->name_len, vma->size);
	REFUSED(vma->name_len, UINT32_MAX);
	REFUSED(vma->file, vma_at);
	REFUSED(vma->file, vma->file + 4);
	REFUSED(vma->file, 8);
	REFUSED(vma->file, UINT32_MAX - 7);
	REFUSED(file->type, MAPS_LOCKLESS_TYPE_VMA);
	REFUSED(file->type, UINT16_MAX);
	REFUSED(file->fixed_size, MAPS_LOCKLESS_FILE_SIZE_VER0 - 8);
	REFUSED(file->path_len, file->size);
	REFUSED(file->path_len, UINT32_MAX);
	REFUSED(file->build_id_len, 21);
	REFUSED(file->build_id_len, UINT32_MAX);
#undef REFUSED

	/* A record of a later kernel is none of its business. */
	batch = good;
	for_each_record(record, &batch)
		((struct record *)record)->type = UINT16_MAX;
	EXPECT_EQ(NULL, form_fault(&batch, len));
}

/* All that maps says, but for the names, which names_test is about. */
TEST_F(abi, same_as_maps)
{
	struct listing listing;
	char line[2 * PATH_MAX];
	char path[64];
	size_t i = 0;
	FILE *maps;

	read_listing(_metadata, self->fd, MAX, &listing);
	EXPECT_EQ(MAPS_LOCKLESS_END_COMPLETE, listing.end_reason);
	EXPECT_EQ(true, listing.proved);
	ASSERT_LT(VMAS, listing.count);

	snprintf(path, sizeof(path), "/proc/%d/maps", self->pid);
	maps = fopen(path, "r");
	ASSERT_NE(NULL, maps);
	while (fgets(line, sizeof(line), maps)) {
		const struct maps_lockless_vma *vma = &listing.maps[i].vma;
		const struct maps_lockless_file *file = &listing.maps[i].file;
		unsigned long start, end, offset, ino;
		unsigned int dev_major, dev_minor;
		__u64 flags = 0;
		char perms[5];
		int items;

		ASSERT_GT(listing.count, i++)
			TH_LOG("not listed: %s", line);
		items = sscanf(line, "%lx-%lx %4s %lx %x:%x %lu", &start, &end,
			       perms, &offset, &dev_major, &dev_minor, &ino);
		ASSERT_EQ(7, items);
		flags |= perms[0] == 'r' ? MAPS_LOCKLESS_VMA_READ : 0;
		flags |= perms[1] == 'w' ? MAPS_LOCKLESS_VMA_WRITE : 0;
		flags |= perms[2] == 'x' ? MAPS_LOCKLESS_VMA_EXEC : 0;
		flags |= perms[3] == 's' ? MAPS_LOCKLESS_VMA_SHARED : 0;
		EXPECT_EQ(start, vma->start)
			TH_LOG("%s", line);
		EXPECT_EQ(start, vma->vma_start);
		EXPECT_EQ(end, vma->end);
		EXPECT_EQ(flags, vma->vma_flags & (MAPS_LOCKLESS_VMA_READ |
						   MAPS_LOCKLESS_VMA_WRITE |
						   MAPS_LOCKLESS_VMA_EXEC |
						   MAPS_LOCKLESS_VMA_SHARED));
		EXPECT_EQ(offset, vma->offset);
		EXPECT_EQ(0, vma->flags);
		EXPECT_EQ(dev_major, file->dev_major);
		EXPECT_EQ(dev_minor, file->dev_minor);
		EXPECT_EQ(ino, file->ino);
		EXPECT_EQ(!!ino, !!(vma->valid & MAPS_LOCKLESS_FIELD_OFFSET));
		EXPECT_EQ(!!ino, !!(vma->vma_flags & MAPS_LOCKLESS_VMA_FILE));
		EXPECT_EQ(ino ? MAPS_LOCKLESS_TYPE_FILE : 0, file->type);
		EXPECT_EQ(ino ? MAPS_LOCKLESS_FIELDS_MAPS & FILE_FIELDS : 0, file->valid);
		EXPECT_EQ(0, file->flags & ~MAPS_LOCKLESS_FILE_DELETED);
	}
	EXPECT_EQ(listing.count, i);
	fclose(maps);
	free_listing(&listing);
}

TEST_F(abi, buffer_below_least)
{
	__u64 places[] = { 0, (unsigned long)self->vmas };
	size_t size, i;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		__u64 at = places[i] / page_size();

		seek(_metadata, self->fd, places[i]);
		EXPECT_EQ(0, read(self->fd, &batch, 0));
		for (size = 1; size < LEAST; size++)
			EXPECT_EQ(EINVAL, errno_of(read(self->fd, &batch, size)));
		EXPECT_EQ(at, position(self->fd));
	}
}

/* Room for a mapping, but not for its file, or for both but not for the path. */
TEST_F(abi, buffer_below_record)
{
	const struct record *file, *vma;
	struct listing listing;
	size_t size, i;
	__u64 at = 0;

	read_listing(_metadata, self->fd, MAX, &listing);
	for (i = 0; i < listing.count && !at; i++)
		if (listing.maps[i].file.path_len)
			at = listing.maps[i].vma.start;
	ASSERT_NE(0, at);
	free_listing(&listing);

	pread_batch(_metadata, self->fd, &batch, MIN, at);
	file = next_record(&batch, NULL);
	ASSERT_NE(NULL, file);
	ASSERT_EQ(MAPS_LOCKLESS_TYPE_FILE, file->type);
	vma = next_record(&batch, file);
	ASSERT_NE(NULL, vma);
	ASSERT_EQ(MAPS_LOCKLESS_TYPE_VMA, vma->type);
	size = batch.header.header_size + file->size + vma->size;
	ASSERT_LT(LEAST, size);
	seek(_metadata, self->fd, at);
	for (i = LEAST; i < size; i++) {
		EXPECT_EQ(ENOSPC, errno_of(read(self->fd, &batch, i)));
		EXPECT_EQ(at / page_size(), position(self->fd));
	}
	read_batch(_metadata, self->fd, &batch, size);
	EXPECT_EQ(2, batch.header.count);
	EXPECT_EQ(MAPS_LOCKLESS_END_FULL, batch.header.end_reason);
}

TEST_F(abi, buffer_above_max)
{
	static char big[4 * MAX];
	const union batch *first = (void *)big;
	ssize_t len;

	/* A batch may end early where the reader has something else to do first. */
	do {
		memset(big, 0xaa, sizeof(big));
		len = pread(self->fd, big, sizeof(big), 0);
		ASSERT_LT(0, len);
		EXPECT_GE(MAX, len);
		check_batch(_metadata, first, len, 0);
	} while (first->header.end_reason == MAPS_LOCKLESS_END_BUDGET);
	/* It is used as far as it goes, and nothing behind the batch is written. */
	EXPECT_EQ(MAPS_LOCKLESS_END_FULL, first->header.end_reason);
	EXPECT_LT(MAX - MIN, len);
	for (; len < (ssize_t)sizeof(big); len++)
		ASSERT_EQ((char)0xaa, big[len]);
}

TEST_F(abi, buffer_cannot_be_written)
{
	unsigned long page = page_size();
	char *pages = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t at[] = { 2 * page - MIN, 2 * page - HEADER, 2 * page - 1, 2 * page };
	/* A mapping of no file, for which the smallest buffer is enough. */
	off_t vmas = (unsigned long)self->vmas / page;
	ssize_t len;
	size_t i;

	ASSERT_NE(MAP_FAILED, pages);
	ASSERT_EQ(0, mprotect(pages + 2 * page, page, PROT_READ));
	EXPECT_EQ(EFAULT, errno_of(pread(self->fd, pages + 2 * page, LEAST, vmas)));
	for (i = 0; i < ARRAY_SIZE(at); i++)
		EXPECT_EQ(EFAULT, errno_of(read(self->fd, pages + at[i], MAX)));
	EXPECT_EQ(0, position(self->fd));
	/* Nor does what is not reached matter: nothing is mapped at the last page. */
	pread_batch(_metadata, self->fd, &batch, MIN, -page);
	ASSERT_EQ(batch.header.header_size, batch.header.size);
	len = pread(self->fd, pages + 2 * page - batch.header.size, MIN, -page / page);
	EXPECT_EQ(batch.header.size, len);
	/* Now nothing is there at all. */
	munmap(pages, 3 * page);
	EXPECT_EQ(EFAULT, errno_of(read(self->fd, pages, MAX)));
	EXPECT_EQ(EFAULT, errno_of(pread(self->fd, pages, LEAST, vmas)));
	EXPECT_EQ(0, position(self->fd));
}

TEST_F(abi, ends_full_and_complete)
{
	struct maps_lockless_batch header;
	unsigned int full = 0, early = 0;

	for (;;) {
		read_batch(_metadata, self->fd, &batch, MIN);
		header = batch.header;
		if (header.flags & MAPS_LOCKLESS_BATCH_FINAL)
			break;
		EXPECT_EQ(header.next / page_size(), position(self->fd));
		EXPECT_LT(0, header.count);
		/* The reader may have had something else to do first. */
		if (header.end_reason == MAPS_LOCKLESS_END_BUDGET) {
			early++;
			continue;
		}
		EXPECT_EQ(MAPS_LOCKLESS_END_FULL, header.end_reason);
		full++;
	}
	EXPECT_LT(0, full);
	EXPECT_LE(VMAS * RECORD / MIN, full + early);
	EXPECT_EQ(MAPS_LOCKLESS_END_COMPLETE, header.end_reason);
	EXPECT_EQ(MAPS_LOCKLESS_NEXT_NONE, header.next);
	EXPECT_EQ(MAPS_LOCKLESS_POS_END, position(self->fd));
	EXPECT_EQ(0, read(self->fd, &batch, MIN));
	EXPECT_EQ(0, read(self->fd, &batch, MAX));
	EXPECT_EQ(MAPS_LOCKLESS_POS_END, position(self->fd));
	/* And again from the start. */
	ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
	read_batch(_metadata, self->fd, &batch, MIN);
	EXPECT_LT(0, batch.header.count);
}

TEST_F(abi, ends_at_limit)
{
	struct maps_lockless_request request = want(MAPS_LOCKLESS_FIELDS_MAPS);
	__u32 most[] = { 1, 2, 7, 100 };
	const struct maps_lockless_vma *vma;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(most); i++) {
		__u32 found = 0;

		request.max_records = most[i];
		ASSERT_EQ(0, set_request(self->fd, &request));
		pread_full_batch(_metadata, self->fd, &batch, MAX, 0);
		/* Of mappings. Their files do not count. */
		for_each_vma(vma, &batch)
			found++;
		EXPECT_EQ(most[i], found);
		EXPECT_LT(most[i], batch.header.count);
		EXPECT_EQ(MAPS_LOCKLESS_END_LIMIT, batch.header.end_reason);
		/* It is no choice of VMAs. */
		EXPECT_EQ(MAPS_LOCKLESS_BATCH_FIRST, batch.header.flags);
	}
}

/* VMAs with a gap behind each, together more than one read looks at. */
#define SPARSE 33000

static void map_sparse(void *arg)
{
	unsigned long page = page_size();
	char *at = mmap(NULL, 2 * SPARSE * page, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i;

	must(at != MAP_FAILED && !munmap(at, 2 * SPARSE * page), "mmap");
	for (i = 0; i < SPARSE; i++, at += 2 * page)
		must(mmap(at, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
			  MAP_FIXED_NOREPLACE, -1, 0) == at, "mmap");
}

/* A read that finds nothing of what was asked for comes to an end all the same. */
TEST_F_TIMEOUT(abi, ends_at_budget, 300)
{
	struct maps_lockless_request request = want(MAPS_LOCKLESS_FIELD_RANGE);
	pid_t pid = start_target(_metadata, map_sparse, NULL);
	unsigned int reads = 0;
	__u64 next = 0;
	int fd;

	fd = open_listing(pid);
	ASSERT_LE(0, fd);
	request.vma_flags_all = MAPS_LOCKLESS_VMA_READ;
	request.vma_flags_none = MAPS_LOCKLESS_VMA_READ;
	ASSERT_EQ(0, set_request(fd, &request));
	for (;;) {
		read_batch(_metadata, fd, &batch, MAX);
		ASSERT_EQ(0, batch.header.count);
		EXPECT_NE(0, batch.header.flags & MAPS_LOCKLESS_BATCH_SELECTED);
		EXPECT_EQ(next, batch.header.begin);
		if (batch.header.flags & MAPS_LOCKLESS_BATCH_FINAL)
			break;
		ASSERT_EQ(MAPS_LOCKLESS_END_BUDGET, batch.header.end_reason);
		EXPECT_LT(next, batch.header.next);
		next = batch.header.next;
		reads++;
	}
	EXPECT_EQ(MAPS_LOCKLESS_END_COMPLETE, batch.header.end_reason);
	EXPECT_LE(1, reads);
	close(fd);
	end_target(pid);
}

int main(int argc, char **argv)
{
	return run_tests(argc, argv);
}
