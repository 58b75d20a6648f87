// SPDX-License-Identifier: GPL-2.0
/*
 * What a listing of /proc/PID/maps_lockless proves by its bytes alone: each batch
 * says where it began, what follows, and what it was made by.
 */
#include "common.h"

/* Too many for a few of the smallest buffers. */
#define VMAS 600

static union batch batch;

FIXTURE(evidence)
{
	pid_t pid;
	int fd;
	char *vmas;
	/* In many batches. */
	struct listing whole;
	/* Room for as many headers, and one more. */
	struct maps_lockless_batch *headers;
};

FIXTURE_SETUP(evidence)
{
	struct listing *whole = &self->whole;

	self->vmas = map_alternating(VMAS);
	ASSERT_NE(NULL, self->vmas);
	self->pid = start_target(_metadata, NULL, NULL);
	self->fd = open_listing(self->pid);
	ASSERT_LE(0, self->fd);
	read_listing(_metadata, self->fd, MIN, whole);
	ASSERT_EQ(true, whole->proved);
	ASSERT_LT(VMAS, whole->count);
	ASSERT_LT(3, whole->batches);
	self->headers = calloc(whole->batches + 1, sizeof(*self->headers));
	ASSERT_NE(NULL, self->headers);
	memcpy(self->headers, whole->headers, whole->batches * sizeof(*self->headers));
}

FIXTURE_TEARDOWN(evidence)
{
	free(self->headers);
	free_listing(&self->whole);
	close(self->fd);
	end_target(self->pid);
}

TEST_F(evidence, batches_are_a_chain)
{
	const struct maps_lockless_batch *headers = self->headers;
	size_t last = self->whole.batches - 1, i;

	for (i = 0; i <= last; i++) {
		EXPECT_EQ(i ? headers[i - 1].next : 0, headers[i].begin);
		EXPECT_EQ(i == 0, !!(headers[i].flags & MAPS_LOCKLESS_BATCH_FIRST));
		EXPECT_EQ(i == last, !!(headers[i].flags & MAPS_LOCKLESS_BATCH_FINAL));
		EXPECT_EQ(headers[0].mm_id, headers[i].mm_id);
		EXPECT_EQ(headers[0].seq_begin, headers[i].seq_begin);
		EXPECT_EQ(headers[0].seq_begin, headers[i].seq_end);
		EXPECT_EQ(0, headers[i].request);
	}
}

TEST_F(evidence, batch_left_out)
{
	size_t count = self->whole.batches, size = sizeof(*self->headers), i;

	EXPECT_EQ(true, is_proved(self->headers, count, 0));
	EXPECT_EQ(false, is_proved(self->headers, 0, 0));
	for (i = 0; i < count; i++) {
		memcpy(self->headers, self->whole.headers, i * size);
		memcpy(self->headers + i, self->whole.headers + i + 1,
		       (count - i - 1) * size);
		EXPECT_EQ(false, is_proved(self->headers, count - 1, 0))
			TH_LOG("batch %zu", i);
	}
}

TEST_F(evidence, batch_put_twice)
{
	size_t count = self->whole.batches, size = sizeof(*self->headers), i;

	for (i = 0; i < count; i++) {
		memcpy(self->headers, self->whole.headers, (i + 1) * size);
		memcpy(self->headers + i + 1, self->whole.headers + i,
		       (count - i) * size);
		EXPECT_EQ(false, is_proved(self->headers, count + 1, 0))
			TH_LOG("batch %zu", i);
	}
}

TEST_F(evidence, batches_in_another_order)
{
	struct maps_lockless_batch *headers = self->headers, swapped;
	size_t count = self->whole.batches, i;

	for (i = 1; i < count; i++) {
		swapped = headers[i];
		headers[i] = headers[i - 1];
		headers[i - 1] = swapped;
		EXPECT_EQ(false, is_proved(headers, count, 0))
			TH_LOG("batch %zu", i);
		headers[i - 1] = headers[i];
		headers[i] = swapped;
	}
	EXPECT_EQ(true, is_proved(headers, count, 0));
}

TEST_F(evidence, range_of_which_nothing_is_known)
{
	EXPECT_EQ(false, is_proved(self->headers, self->whole.batches, 1));
}

/* Reads on from where it is, into a listing that has some batches already. */
static void read_on(struct __test_metadata *_metadata, int fd,
		    struct listing *listing)
{
	do {
		read_batch(_metadata, fd, &batch, MIN);
		add_batch(_metadata, listing, &batch);
	} while (!(batch.header.flags & MAPS_LOCKLESS_BATCH_FINAL));
}

/* The same fields of the same VMAs, but by two requests. */
TEST_F(evidence, request_in_between)
{
	struct maps_lockless_request request = want(MAPS_LOCKLESS_FIELDS_MAPS);
	struct listing listing = {};

	ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
	read_batch(_metadata, self->fd, &batch, MIN);
	add_batch(_metadata, &listing, &batch);
	ASSERT_EQ(0, set_request(self->fd, &request));
	read_on(_metadata, self->fd, &listing);
	EXPECT_EQ(true, same_listing(&self->whole, &listing));
	EXPECT_EQ(false, is_proved(listing.headers, listing.batches, 0));
	free_listing(&listing);
}

TEST_F(evidence, begins_in_the_middle)
{
	struct listing listing = {};

	seek(_metadata, self->fd, (unsigned long)self->vmas);
	read_on(_metadata, self->fd, &listing);
	EXPECT_EQ(0, listing.headers[0].flags & MAPS_LOCKLESS_BATCH_FIRST);
	EXPECT_EQ((unsigned long)self->vmas, listing.headers[0].begin);
	EXPECT_EQ(false, is_proved(listing.headers, listing.batches, 0));
	free_listing(&listing);
}

/* A listing of a range begins where the range does. */
TEST_F(evidence, begins_where_the_range_does)
{
	__u64 page = page_size(), at = (unsigned long)self->vmas + 3 * page;
	struct maps_lockless_request request = want(0);
	struct listing listing;

	request.start = at + 1;
	request.end = at + 400 * page;
	ASSERT_EQ(0, set_request(self->fd, &request));
	ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
	read_listing(_metadata, self->fd, MIN, &listing);
	EXPECT_EQ(400, listing.count);
	EXPECT_LT(1, listing.batches);
	EXPECT_EQ(true, listing.proved);
	EXPECT_EQ(at, listing.headers[0].begin);
	EXPECT_EQ(MAPS_LOCKLESS_BATCH_FIRST | MAPS_LOCKLESS_BATCH_SELECTED,
		  listing.headers[0].flags);
	EXPECT_EQ(MAPS_LOCKLESS_BATCH_SELECTED, listing.headers[1].flags);
	free_listing(&listing);

	pread_batch(_metadata, self->fd, &batch, MIN, at + 9 * page);
	EXPECT_EQ(at + 9 * page, batch.header.begin);
	EXPECT_EQ(MAPS_LOCKLESS_BATCH_SELECTED, batch.header.flags);
}

/* A process of the same mappings has another identity. */
TEST_F(evidence, batches_of_two_processes)
{
	pid_t pid = start_target(_metadata, NULL, NULL);
	struct listing listing = {};
	int fd = open_listing(pid);

	ASSERT_LE(0, fd);
	pread_batch(_metadata, self->fd, &batch, MIN, 0);
	add_batch(_metadata, &listing, &batch);
	seek(_metadata, fd, batch.header.next);
	read_on(_metadata, fd, &listing);
	EXPECT_EQ(false, is_proved(listing.headers, listing.batches, 0));
	EXPECT_NE(listing.headers[0].mm_id, listing.headers[1].mm_id);
	free_listing(&listing);
	close(fd);
	end_target(pid);
}

/* Mappings that change between two batches, all of which are even. */
TEST_F(evidence, change_in_between)
{
	struct listing listing = {};
	int fd = open_listing(getpid());

	ASSERT_LE(0, fd);
	pread_full_batch(_metadata, fd, &batch, MAX, 0);
	EXPECT_EQ(true, is_proved(&batch.header, 1, 0));
	read_batch(_metadata, fd, &batch, MIN);
	add_batch(_metadata, &listing, &batch);
	ASSERT_EQ(0, mprotect(self->vmas, page_size(), PROT_NONE));
	read_on(_metadata, fd, &listing);
	EXPECT_LT(1, listing.batches);
	EXPECT_EQ(0, listing.headers[0].seq_end % 2);
	EXPECT_EQ(0, listing.headers[1].seq_begin % 2);
	EXPECT_EQ(false, is_proved(listing.headers, listing.batches, 0));
	free_listing(&listing);
	close(fd);
}

int main(int argc, char **argv)
{
	return run_tests(argc, argv);
}
