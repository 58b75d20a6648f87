// SPDX-License-Identifier: GPL-2.0
/*
 * Positions of /proc/PID/maps_lockless: they are numbers of pages, from any of
 * which a listing goes on, with buffers of any size and for any number of readers.
 */
#include "common.h"

#include <pthread.h>

#define VMAS 1200
#define THREADS 4
#define ROUNDS 10

static union batch batch;

FIXTURE(resume)
{
	pid_t pid;
	int fd;
	char *vmas;
	struct listing whole;
};

FIXTURE_SETUP(resume)
{
	self->vmas = map_alternating(VMAS);
	ASSERT_NE(NULL, self->vmas);
	self->pid = start_target(_metadata, NULL, NULL);
	self->fd = open_listing(self->pid);
	ASSERT_LE(0, self->fd);
	read_listing(_metadata, self->fd, MAX, &self->whole);
	ASSERT_EQ(true, self->whole.proved);
	ASSERT_LT(VMAS, self->whole.count);
	ASSERT_LT(1, self->whole.batches);
}

FIXTURE_TEARDOWN(resume)
{
	free_listing(&self->whole);
	close(self->fd);
	end_target(self->pid);
}

/* The first record that a read from @at must return, clipped. */
static size_t first_at(const struct listing *whole, __u64 at)
{
	size_t i;

	for (i = 0; i < whole->count; i++)
		if (whole->maps[i].vma.end > at)
			break;
	return i;
}

/* Checks that a batch is what a read from @at must return. */
static void check_from(struct __test_metadata *_metadata,
		       const struct listing *whole, __u64 at)
{
	size_t i = first_at(whole, at), least;
	const struct maps_lockless_vma *vma;

	EXPECT_EQ(at, batch.header.begin);
	for_each_vma(vma, &batch) {
		const struct maps_lockless_file *file = file_of(&batch, vma);
		const struct maps_lockless_vma *full;
		__u64 offset;

		ASSERT_GT(whole->count, i);
		ASSERT_EQ(whole->maps[i].file.type, file ? file->type : 0);
		ASSERT_EQ(whole->maps[i].file.ino, file ? file->ino : 0);
		full = &whole->maps[i++].vma;
		ASSERT_EQ(full->start > at ? full->start : at, vma->start);
		ASSERT_EQ(full->end, vma->end);
		ASSERT_EQ(full->vma_start, vma->vma_start);
		ASSERT_EQ(full->vma_flags, vma->vma_flags);
		ASSERT_EQ(full->valid, vma->valid);
		/* The offset is that of the clipped start. */
		offset = vma->valid & MAPS_LOCKLESS_FIELD_OFFSET ?
			 full->offset + (vma->start - full->start) : 0;
		ASSERT_EQ(offset, vma->offset);
	}
	/* All to the last one, or one at least. */
	least = batch.header.end_reason == MAPS_LOCKLESS_END_COMPLETE ?
		whole->count : first_at(whole, at) + 1;
	EXPECT_LE(least, i);
}

/* Bytes of a record, and of its file's. */
static size_t size_of(const struct mapping *map)
{
	size_t size = map->vma.size;

	return map->file.type ? size + map->file.size : size;
}

TEST_F(resume, buffers_of_any_size)
{
	size_t sizes[] = { 0, 1, 7, 8, 71, 72, 73, 1000, 5001, MIN, MAX - 1 };
	size_t least = 0, i;

	/* The least that has room for each record. */
	for (i = 0; i < self->whole.count; i++)
		if (size_of(&self->whole.maps[i]) > least)
			least = size_of(&self->whole.maps[i]);
	least += self->whole.headers[0].header_size;
	ASSERT_GT(MIN, least);

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t size = sizes[i] < MIN ? least + sizes[i] : sizes[i];
		struct listing listing;

		ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
		read_listing(_metadata, self->fd, size, &listing);
		EXPECT_EQ(true, listing.proved);
		EXPECT_EQ(true, same_listing(&self->whole, &listing))
			TH_LOG("a buffer of %zu bytes", size);
		if (size < MAX / 2)
			EXPECT_LT(self->whole.batches, listing.batches);
		free_listing(&listing);
	}
}

/* Without names and files, the smallest buffer there may be is enough. */
TEST_F(resume, smallest_buffer)
{
	struct maps_lockless_request request = want(MAPS_LOCKLESS_FIELD_RANGE);
	struct listing listing;
	size_t i;

	ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
	ASSERT_EQ(0, set_request(self->fd, &request));
	read_listing(_metadata, self->fd, HEADER + RECORD, &listing);
	EXPECT_EQ(true, listing.proved);
	EXPECT_LE(self->whole.count, listing.batches);
	ASSERT_EQ(self->whole.count, listing.count);
	for (i = 0; i < listing.count; i++) {
		EXPECT_EQ(self->whole.maps[i].vma.start, listing.maps[i].vma.start);
		EXPECT_EQ(self->whole.maps[i].vma.end, listing.maps[i].vma.end);
	}
	free_listing(&listing);
}

TEST_F(resume, one_record_a_read)
{
	struct maps_lockless_request request = {
		.size = sizeof(request),
		.max_records = 1,
	};
	struct listing listing;

	ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
	ASSERT_EQ(0, set_request(self->fd, &request));
	read_listing(_metadata, self->fd, MAX, &listing);
	EXPECT_EQ(true, listing.proved);
	EXPECT_EQ(true, same_listing(&self->whole, &listing));
	EXPECT_LE(self->whole.count, listing.batches);
	free_listing(&listing);
}

/* Looks an address up by pread(2), and reads on from it. */
static void look_at(struct __test_metadata *_metadata, int fd,
		    const struct listing *whole, __u64 at)
{
	__u64 next;

	ASSERT_EQ(1234, lseek(fd, 1234, SEEK_SET));
	pread_batch(_metadata, fd, &batch, MIN, at);
	check_from(_metadata, whole, at);
	EXPECT_EQ(1234, position(fd));

	seek(_metadata, fd, at);
	read_batch(_metadata, fd, &batch, MIN);
	check_from(_metadata, whole, at);
	next = batch.header.flags & MAPS_LOCKLESS_BATCH_FINAL ?
	       MAPS_LOCKLESS_POS_END : batch.header.next / page_size();
	EXPECT_EQ(next, position(fd));
}

TEST_F(resume, from_any_page)
{
	__u64 page = page_size();
	size_t i;

	for (i = 0; i < self->whole.count; i++) {
		const struct maps_lockless_vma *vma = &self->whole.maps[i].vma;
		__u64 pages = (vma->end - vma->start) / page;

		/* The first and the last ones, and some in between. */
		if (i > 20 && i < self->whole.count - 20 && i % 97)
			continue;
		look_at(_metadata, self->fd, &self->whole, vma->start);
		look_at(_metadata, self->fd, &self->whole,
			vma->start + pages / 2 * page);
		look_at(_metadata, self->fd, &self->whole, vma->end - page);
		look_at(_metadata, self->fd, &self->whole, vma->end);
	}
}

/* The last mapping, which may be [vsyscall], is looked up as any other. */
TEST_F(resume, last_mapping)
{
	const struct mapping *last = &self->whole.maps[self->whole.count - 1];
	const struct maps_lockless_vma *vma;

	pread_batch(_metadata, self->fd, &batch, MIN, last->vma.start);
	EXPECT_EQ(MAPS_LOCKLESS_END_COMPLETE, batch.header.end_reason);
	vma = next_vma(&batch, NULL);
	ASSERT_NE(NULL, vma);
	EXPECT_EQ(last->vma.start, vma->start);
	EXPECT_EQ(last->vma.end, vma->end);
	EXPECT_EQ(last->vma.vma_flags, vma->vma_flags);
	EXPECT_EQ(last->vma.name_kind, vma->name_kind);
	ASSERT_EQ(last->vma.name_len, vma->name_len);
	EXPECT_EQ(0, memcmp(last->name, (const char *)vma + vma->fixed_size,
			    vma->name_len));
	EXPECT_EQ(NULL, next_vma(&batch, vma));
}

/* Whether a read from a position fails as it must, be it that lseek(2) does. */
static bool is_refused(int fd, __u64 at)
{
	if (lseek(fd, at, SEEK_SET) < 0 && errno == EINVAL)
		return true;
	return errno_of(read(fd, &batch, MIN)) == EINVAL;
}

TEST_F(resume, positions)
{
	__u64 last = -page_size() / page_size(), at;
	const __u64 bad[] = {
		MAPS_LOCKLESS_POS_END - 1, MAPS_LOCKLESS_POS_END + 1,
		INT64_MAX, -1, -page_size(), INT64_MIN,
	};
	size_t i;

	ASSERT_EQ(0x5000, lseek(self->fd, 0x5000, SEEK_SET));
	EXPECT_EQ(0x8000, lseek(self->fd, 0x3000, SEEK_CUR));
	EXPECT_EQ(0x4000, lseek(self->fd, -0x4000, SEEK_CUR));
	EXPECT_EQ(EINVAL, errno_of(lseek(self->fd, 0, SEEK_END)));
	EXPECT_EQ(0x4000, position(self->fd));

	/* Behind all that a process maps itself, up to what the kernel maps. */
	for (at = 1ULL << 62; at >= 1ULL << 62; at += 1ULL << 60)
		look_at(_metadata, self->fd, &self->whole, at);
	/* The last page there is. */
	look_at(_metadata, self->fd, &self->whole, last * page_size());
	EXPECT_EQ(0, batch.header.count);

	/* Pages that no address has. */
	for (at = last + 1; at < INT64_MAX; at = 2 * at + 1) {
		EXPECT_EQ(EINVAL, errno_of(pread(self->fd, &batch, MIN, at)))
			TH_LOG("0x%llx", at);
		EXPECT_EQ(true, is_refused(self->fd, at))
			TH_LOG("0x%llx", at);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(EINVAL, errno_of(pread(self->fd, &batch, MIN, bad[i])))
			TH_LOG("0x%llx", bad[i]);
		EXPECT_EQ(true, is_refused(self->fd, bad[i]))
			TH_LOG("0x%llx", bad[i]);
	}

	/* But one. */
	at = MAPS_LOCKLESS_POS_END;
	ASSERT_EQ(at, lseek(self->fd, at, SEEK_SET));
	EXPECT_EQ(0, read(self->fd, &batch, MAX));
	EXPECT_EQ(0, pread(self->fd, &batch, MAX, at));
	EXPECT_EQ(at, position(self->fd));
	ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
	read_batch(_metadata, self->fd, &batch, MIN);
	EXPECT_LT(0, batch.header.count);
}

/* What the next read would have shown is unmapped: it goes on behind. */
TEST_F(resume, next_mapping_goes)
{
	const struct maps_lockless_vma *vma;
	unsigned long page = page_size();
	int fd = open_listing(getpid());
	char *next;

	ASSERT_LE(0, fd);
	seek(_metadata, fd, (unsigned long)self->vmas);
	read_batch(_metadata, fd, &batch, MIN);
	ASSERT_EQ(0, batch.header.flags & MAPS_LOCKLESS_BATCH_FINAL);
	next = (char *)(unsigned long)batch.header.next;
	ASSERT_LT(self->vmas, next);
	ASSERT_GT(self->vmas + (VMAS - 3) * page, next);
	ASSERT_EQ(0, munmap(next, 2 * page));
	read_batch(_metadata, fd, &batch, MIN);
	vma = next_vma(&batch, NULL);
	ASSERT_NE(NULL, vma);
	EXPECT_EQ((unsigned long)next, batch.header.begin);
	EXPECT_EQ((unsigned long)(next + 2 * page), vma->start);
	/* And the one after that gets larger, downwards past the position. */
	next = (char *)(unsigned long)batch.header.next;
	ASSERT_EQ(next, mmap(next, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
			     MAP_FIXED, -1, 0));
	ASSERT_EQ(0, mprotect(next - page, 2 * page, PROT_EXEC));
	read_batch(_metadata, fd, &batch, MIN);
	vma = next_vma(&batch, NULL);
	ASSERT_NE(NULL, vma);
	EXPECT_EQ((unsigned long)next, vma->start);
	EXPECT_EQ((unsigned long)(next - page), vma->vma_start);
	close(fd);
}

/* A thread that shares a descriptor with others, and what it has seen. */
struct reader {
	pthread_t thread;
	int fd;
	unsigned int number;
	const struct listing *whole;
	double until;
	unsigned long reads;
	const char *fault;
	/* Of read_in_turns(): where its records began. */
	__u64 *starts;
	size_t count;
};

/* Looks mappings up, each thread others. */
static void *look_up(void *arg)
{
	union batch *own = malloc(sizeof(*own));
	struct reader *reader = arg;
	size_t i = reader->number;

	/* Once at least, however late this thread gets a CPU. */
	while (!reader->fault && (!reader->reads || seconds() < reader->until)) {
		const struct maps_lockless_vma *full, *vma;
		ssize_t len;
		__u64 page;

		full = &reader->whole->maps[i % reader->whole->count].vma;
		page = full->start / page_size();
		i += THREADS;
		len = pread(reader->fd, own, MIN, page);
		reader->fault = len < 0 ? strerror(errno) :
				batch_fault(own, len, page);
		if (reader->fault)
			break;
		vma = next_vma(own, NULL);
		if (!vma || vma->start != full->start)
			reader->fault = "the answer is another thread's";
		reader->reads++;
	}
	free(own);
	return NULL;
}

/* Reads batches as they come, until there are no more. */
static void *read_in_turns(void *arg)
{
	union batch *own = malloc(sizeof(*own));
	const struct maps_lockless_vma *vma;
	struct reader *reader = arg;
	ssize_t len;

	while ((len = read(reader->fd, own, MIN)) > 0) {
		/* Where this read began, only the batch tells. */
		reader->fault = len < (ssize_t)HEADER ? "no header" :
				batch_fault(own, len, own->header.begin / page_size());
		if (reader->fault)
			break;
		for_each_vma(vma, own)
			reader->starts[reader->count++] = vma->start;
		reader->reads++;
	}
	if (len < 0)
		reader->fault = strerror(errno);
	free(own);
	return NULL;
}

static void run_readers(struct __test_metadata *_metadata, struct reader *readers,
			void *(*run)(void *), int fd, const struct listing *whole)
{
	double until = seconds() + 2;
	unsigned int i;

	for (i = 0; i < THREADS; i++) {
		readers[i].fd = fd;
		readers[i].number = i;
		readers[i].whole = whole;
		readers[i].until = until;
		ASSERT_EQ(0, pthread_create(&readers[i].thread, NULL, run, &readers[i]));
	}
	for (i = 0; i < THREADS; i++) {
		ASSERT_EQ(0, pthread_join(readers[i].thread, NULL));
		EXPECT_EQ(NULL, readers[i].fault)
			TH_LOG("%s", readers[i].fault);
	}
}

TEST_F(resume, one_descriptor_looked_up_by_many)
{
	struct reader readers[THREADS] = {};
	unsigned int i;

	ASSERT_EQ(0x1000, lseek(self->fd, 0x1000, SEEK_SET));
	run_readers(_metadata, readers, look_up, self->fd, &self->whole);
	for (i = 0; i < THREADS; i++)
		EXPECT_LT(0, readers[i].reads);
	EXPECT_EQ(0x1000, position(self->fd));
}

/* Together they get each record once. */
TEST_F(resume, one_descriptor_read_by_many)
{
	unsigned long reads = 0;
	int round;

	for (round = 0; round < ROUNDS; round++) {
		struct reader readers[THREADS] = {};
		size_t next[THREADS] = {}, i, n;

		ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
		for (i = 0; i < THREADS; i++) {
			readers[i].starts = calloc(2 * self->whole.count, sizeof(__u64));
			ASSERT_NE(NULL, readers[i].starts);
		}
		run_readers(_metadata, readers, read_in_turns, self->fd, &self->whole);
		for (i = 0; i < self->whole.count; i++) {
			unsigned int found = 0;

			for (n = 0; n < THREADS; n++) {
				if (next[n] < readers[n].count &&
				    readers[n].starts[next[n]] ==
				    self->whole.maps[i].vma.start) {
					next[n]++;
					found++;
				}
			}
			ASSERT_EQ(1, found)
				TH_LOG("record %zu was read %u times", i, found);
		}
		for (n = 0; n < THREADS; n++) {
			/* Each thread's own are in order, and there are no others. */
			EXPECT_EQ(readers[n].count, next[n]);
			reads += readers[n].reads;
			free(readers[n].starts);
		}
	}
	EXPECT_LT(ROUNDS * VMAS * RECORD / MIN, reads);
}

int main(int argc, char **argv)
{
	return run_tests(argc, argv);
}
