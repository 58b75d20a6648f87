// SPDX-License-Identifier: GPL-2.0
/*
 * Positions of /proc/PID/maps_lockless: they are addresses, from any of which a
 * listing goes on, with buffers of any size and for any number of readers.
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

	at &= ~(page_size() - 1);
	for (i = 0; i < whole->count; i++)
		if (whole->maps[i].vma.end > at)
			break;
	return i;
}

/* Checks that a batch is what a read from @at must return. */
static void check_from(struct __test_metadata *_metadata,
		       const struct listing *whole, __u64 at)
{
	size_t i = first_at(whole, at);
	const struct maps_lockless_vma *vma;

	at &= ~(page_size() - 1);
	for_each_record(vma, &batch) {
		const struct maps_lockless_vma *full;
		__u64 pgoff;

		ASSERT_GT(whole->count, i);
		full = &whole->maps[i++].vma;
		ASSERT_EQ(full->start > at ? full->start : at, vma->start);
		ASSERT_EQ(full->end, vma->end);
		ASSERT_EQ(full->vma_start, vma->vma_start);
		ASSERT_EQ(full->vma_flags, vma->vma_flags);
		ASSERT_EQ(full->valid, vma->valid);
		ASSERT_EQ(full->ino, vma->ino);
		/* The offset is that of the clipped start. */
		pgoff = vma->valid & MAPS_LOCKLESS_FIELD_PGOFF ?
			full->pgoff + (vma->start - full->start) : 0;
		ASSERT_EQ(pgoff, vma->pgoff);
	}
	if (batch.header.end_reason == MAPS_LOCKLESS_END_COMPLETE)
		EXPECT_EQ(whole->count, i);
}

TEST_F(resume, buffers_of_any_size)
{
	size_t sizes[] = { 0, 1, 7, 8, 95, 96, 97, 1000, 5001, MIN, MAX - 1 };
	size_t least = 0, i;

	/* The least that has room for each record. */
	for (i = 0; i < self->whole.count; i++) {
		size_t name = align8(self->whole.maps[i].vma.name_len);

		if (name > least)
			least = name;
	}
	read_batch(_metadata, self->fd, &batch, HEADER);
	least += batch.header.header_size + RECORD;

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

TEST_F(resume, one_record_a_read)
{
	struct maps_lockless_request request = {
		.size = sizeof(request),
		.fields = MAPS_LOCKLESS_FIELDS_MAPS,
		.max_records = 1,
	};
	struct listing listing;

	ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
	ASSERT_EQ(0, set_request(self->fd, &request));
	read_listing(_metadata, self->fd, MAX, &listing);
	EXPECT_EQ(true, same_listing(&self->whole, &listing));
	EXPECT_LE(self->whole.count, listing.batches);
	free_listing(&listing);
}

TEST_F(resume, from_any_address)
{
	size_t i, n;

	for (i = 0; i < self->whole.count; i++) {
		const struct maps_lockless_vma *vma = &self->whole.maps[i].vma;
		__u64 at[] = {
			vma->start, vma->start + 1, (vma->start + vma->end) / 2,
			vma->end - 1, vma->end,
		};

		/* The first and the last ones, and some in between. */
		if (i > 20 && i < self->whole.count - 20 && i % 97)
			continue;
		for (n = 0; n < ARRAY_SIZE(at); n++) {
			/* pread(2) takes no such offset. */
			if (at[n] > INT64_MAX)
				continue;
			ASSERT_EQ(1234, lseek(self->fd, 1234, SEEK_SET));
			pread_batch(_metadata, self->fd, &batch, MIN, at[n]);
			check_from(_metadata, &self->whole, at[n]);
			EXPECT_EQ(1234, position(self->fd));

			ASSERT_EQ(at[n], lseek(self->fd, at[n], SEEK_SET));
			read_batch(_metadata, self->fd, &batch, MIN);
			check_from(_metadata, &self->whole, at[n]);
			EXPECT_EQ(batch.header.next, position(self->fd));
		}
	}
}

TEST_F(resume, positions)
{
	__u64 top = -4096ULL, at;

	ASSERT_EQ(0x5000, lseek(self->fd, 0x5000, SEEK_SET));
	EXPECT_EQ(0x8000, lseek(self->fd, 0x3000, SEEK_CUR));
	EXPECT_EQ(0x4000, lseek(self->fd, -0x4000, SEEK_CUR));
	EXPECT_EQ(EINVAL, errno_of(lseek(self->fd, 0, SEEK_END)));
	EXPECT_EQ(0x4000, position(self->fd));

	EXPECT_EQ(EINVAL, errno_of(pread(self->fd, &batch, MIN, -1)));
	EXPECT_EQ(EINVAL, errno_of(pread(self->fd, &batch, MIN, INT64_MIN)));

	/* Behind all that a process maps itself, up to what the kernel maps. */
	for (at = 1ULL << 62; at >= 1ULL << 62; at += 1ULL << 60) {
		ASSERT_EQ(at, lseek(self->fd, at, SEEK_SET));
		read_batch(_metadata, self->fd, &batch, MAX);
		EXPECT_EQ(MAPS_LOCKLESS_END_COMPLETE, batch.header.end_reason);
		check_from(_metadata, &self->whole, at);
	}

	/* A buffer that would reach beyond the last address. */
	ASSERT_EQ(top, lseek(self->fd, top, SEEK_SET));
	EXPECT_EQ(EOVERFLOW, errno_of(read(self->fd, &batch, MAX)));

	ASSERT_EQ(MAPS_LOCKLESS_POS_END,
		  lseek(self->fd, MAPS_LOCKLESS_POS_END, SEEK_SET));
	EXPECT_EQ(0, read(self->fd, &batch, MAX));
	ASSERT_EQ(MAPS_LOCKLESS_POS_END - 1,
		  lseek(self->fd, MAPS_LOCKLESS_POS_END - 1, SEEK_SET));
	read_batch(_metadata, self->fd, &batch, MAX);
	EXPECT_EQ(MAPS_LOCKLESS_END_COMPLETE, batch.header.end_reason);
}

/* What the next read would have shown is unmapped: it goes on behind. */
TEST_F(resume, next_mapping_goes)
{
	unsigned long page = page_size();
	int fd = open_listing(getpid());
	char *next;

	ASSERT_LE(0, fd);
	ASSERT_LE(0, lseek(fd, (unsigned long)self->vmas, SEEK_SET));
	read_batch(_metadata, fd, &batch, MIN);
	ASSERT_EQ(MAPS_LOCKLESS_END_FULL, batch.header.end_reason);
	next = (char *)(unsigned long)batch.header.next;
	ASSERT_LT(self->vmas, next);
	ASSERT_GT(self->vmas + (VMAS - 3) * page, next);
	ASSERT_EQ(0, munmap(next, 2 * page));
	read_batch(_metadata, fd, &batch, MIN);
	EXPECT_EQ((unsigned long)(next + 2 * page), next_record(&batch, NULL)->start);
	/* And the one after that gets larger, downwards past the position. */
	next = (char *)(unsigned long)batch.header.next;
	ASSERT_EQ(next, mmap(next, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
			     MAP_FIXED, -1, 0));
	ASSERT_EQ(0, mprotect(next - page, 2 * page, PROT_EXEC));
	read_batch(_metadata, fd, &batch, MIN);
	EXPECT_EQ((unsigned long)next, next_record(&batch, NULL)->start);
	EXPECT_EQ((unsigned long)(next - page), next_record(&batch, NULL)->vma_start);
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
		const struct maps_lockless_vma *want =
			&reader->whole->maps[i % reader->whole->count].vma;
		ssize_t len;

		i += THREADS;
		if (want->start > INT64_MAX)
			continue;
		len = pread(reader->fd, own, MIN, want->start);
		reader->fault = len < 0 ? strerror(errno) :
				batch_fault(own, len, want->start);
		if (reader->fault)
			break;
		if (next_record(own, NULL)->start != want->start)
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
		reader->fault = batch_fault(own, len, 0);
		if (reader->fault)
			break;
		for_each_record(vma, own)
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
