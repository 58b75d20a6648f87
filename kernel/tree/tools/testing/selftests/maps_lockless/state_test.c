// SPDX-License-Identifier: GPL-2.0
/*
 * The ioctl(2) MAPS_LOCKLESS_GET_STATE: whether an address space is there, which
 * one, and whether it has changed. Of those that are gone, lifetime_test has more.
 */
#include "common.h"

#include <sys/syscall.h>

/* Of which each splits what was one VMA. */
#define SPLITS 50

static union batch batch;

FIXTURE(state)
{
	pid_t pid;
	/* A process that rests. */
	int fd;
	/* This process. */
	int own;
};

FIXTURE_SETUP(state)
{
	self->pid = start_target(_metadata, NULL, NULL);
	self->fd = open_listing(self->pid);
	ASSERT_LE(0, self->fd);
	self->own = open_listing(getpid());
	ASSERT_LE(0, self->own);
}

FIXTURE_TEARDOWN(state)
{
	close(self->own);
	close(self->fd);
	end_target(self->pid);
}

/* The state of an address space that is there, and is not being changed. */
static struct maps_lockless_state state_of(struct __test_metadata *_metadata, int fd)
{
	struct maps_lockless_state state;

	ASSERT_EQ(0, get_state(fd, &state));
	EXPECT_EQ(MAPS_LOCKLESS_STATUS_LIVE, state.status);
	EXPECT_NE(0, state.mm_id);
	EXPECT_EQ(0, state.seq % 2);
	EXPECT_EQ(0, state.reserved);
	return state;
}

/* It says what a batch says. */
TEST_F(state, of_a_process)
{
	struct maps_lockless_state state;
	struct listing listing;
	__u32 vmas = 0;
	size_t i;

	ASSERT_EQ(5, lseek(self->fd, 5, SEEK_SET));
	state = state_of(_metadata, self->fd);
	EXPECT_EQ(5, position(self->fd));
	EXPECT_EQ(sizeof(state), state.size);
	EXPECT_EQ(page_size(), state.page_size);
	EXPECT_EQ(0, state.request);

	ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
	read_listing(_metadata, self->fd, MAX, &listing);
	EXPECT_EQ(true, listing.proved);
	EXPECT_EQ(listing.mm_id, state.mm_id);
	EXPECT_EQ(listing.seq, state.seq);
	EXPECT_EQ(listing.headers[0].fields_supported, state.fields_supported);
	EXPECT_EQ(listing.headers[0].vma_flags_supported, state.vma_flags_supported);
	/* What is mapped in the kernel's half ([vsyscall]) is no process's own. */
	for (i = 0; i < listing.count; i++)
		vmas += listing.maps[i].vma.start <= INT64_MAX;
	EXPECT_EQ(vmas, state.vma_count);
	EXPECT_EQ(vmas, listing.headers[0].vma_count);
	free_listing(&listing);

	/* Nothing is left to read, and it answers all the same. */
	EXPECT_EQ(MAPS_LOCKLESS_POS_END, position(self->fd));
	EXPECT_EQ(state.seq, state_of(_metadata, self->fd).seq);
	EXPECT_EQ(MAPS_LOCKLESS_POS_END, position(self->fd));
}

/* Of a process that rests, no number moves. */
TEST_F(state, unmoved)
{
	struct maps_lockless_state first = state_of(_metadata, self->fd), state;
	int i;

	for (i = 0; i < 1000; i++) {
		pread_batch(_metadata, self->fd, &batch, MIN, 0);
		ASSERT_EQ(0, get_state(self->fd, &state));
		ASSERT_EQ(0, memcmp(&first, &state, sizeof(state)));
	}
	EXPECT_EQ(first.seq, batch.header.seq_begin);
	EXPECT_EQ(first.seq, batch.header.seq_end);
}

/* A number that did not move would say that nothing was changed. */
static void expect_moved(struct __test_metadata *_metadata, int fd,
			 struct maps_lockless_state *last, const char *call)
{
	struct maps_lockless_state state = state_of(_metadata, fd);

	EXPECT_LT(last->seq, state.seq)
		TH_LOG("%s did not move the change count", call);
	EXPECT_EQ(last->mm_id, state.mm_id);
	*last = state;
}

TEST_F(state, moved)
{
	struct maps_lockless_state last = state_of(_metadata, self->own);
	unsigned long page = page_size();
	char *at, *to, *heap = sbrk(0);

	at = mmap(NULL, 4 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, at);
	expect_moved(_metadata, self->own, &last, "mmap");
	ASSERT_EQ(0, mprotect(at, page, PROT_READ));
	expect_moved(_metadata, self->own, &last, "mprotect");
	ASSERT_EQ(0, madvise(at + page, page, MADV_DONTFORK));
	expect_moved(_metadata, self->own, &last, "madvise");
	to = mremap(at + 3 * page, page, 3 * page, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, to);
	expect_moved(_metadata, self->own, &last, "mremap");
	ASSERT_EQ(0, munmap(to, 3 * page));
	expect_moved(_metadata, self->own, &last, "munmap");
	ASSERT_EQ(0, brk(heap + 2 * page));
	expect_moved(_metadata, self->own, &last, "brk");
	munmap(at, 4 * page);
}

/* Each page without access in the midst of a mapping makes three of one. */
TEST_F(state, vma_count)
{
	struct maps_lockless_state before = state_of(_metadata, self->own), last;
	unsigned long page = page_size(), size = (2 * SPLITS + 1) * page;
	char *at;
	int i;

	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		  -1, 0);
	ASSERT_NE(MAP_FAILED, at);
	last = state_of(_metadata, self->own);
	for (i = 0; i < SPLITS; i++) {
		struct maps_lockless_state state;
		char *none = at + (2 * i + 1) * page;

		ASSERT_EQ(none, mmap(none, page, PROT_NONE, MAP_PRIVATE |
				     MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		state = state_of(_metadata, self->own);
		EXPECT_EQ(last.vma_count + 2, state.vma_count);
		EXPECT_LT(last.seq, state.seq);
		last = state;
	}
	ASSERT_EQ(0, munmap(at, size));
	last = state_of(_metadata, self->own);
	EXPECT_EQ(before.vma_count, last.vma_count);
	/* It is not who it was, though it has as many. */
	EXPECT_LT(before.seq, last.seq);
}

/* A process's threads have one address space, its child another. */
TEST_F(state, identity)
{
	__u64 own = state_of(_metadata, self->own).mm_id;
	char path[64];
	int fd;

	EXPECT_NE(own, state_of(_metadata, self->fd).mm_id);
	snprintf(path, sizeof(path), "/proc/self/task/%ld/maps_lockless",
		 syscall(__NR_gettid));
	fd = open(path, O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ(own, state_of(_metadata, fd).mm_id);
	close(fd);
}

TEST_F(state, sizes)
{
	size_t page = page_size(), own = sizeof(struct maps_lockless_state);
	const struct { __u64 size; int error; } sizes[] = {
		{ 0, EINVAL },
		{ 8, EINVAL },
		{ MAPS_LOCKLESS_STATE_SIZE_VER0 - 1, EINVAL },
		{ MAPS_LOCKLESS_STATE_SIZE_VER0, 0 },
		{ own + 1, 0 },
		{ own + 8, 0 },
		{ page, 0 },
		{ page + 1, E2BIG },
		{ ~0ULL, E2BIG },
	};
	struct maps_lockless_state *state = calloc(2, page);
	size_t i;

	ASSERT_NE(NULL, state);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		int error;

		memset(state, 0, own);
		state->size = sizes[i].size;
		error = errno_of(ioctl(self->fd, MAPS_LOCKLESS_GET_STATE, state));
		EXPECT_EQ(sizes[i].error, error)
			TH_LOG("size %llu", sizes[i].size);
		EXPECT_EQ(!sizes[i].error, !!state->mm_id);
		/* What is too long is told how long it may be. */
		EXPECT_EQ(error == E2BIG ? own : sizes[i].size, state->size);
		EXPECT_EQ(true, all_zero((char *)(state + 1), page - own));
	}
	/* A later struct, of which something is used that this kernel lacks. */
	state->size = page;
	((char *)state)[page - 1] = 1;
	EXPECT_EQ(E2BIG, errno_of(ioctl(self->fd, MAPS_LOCKLESS_GET_STATE, state)));
	EXPECT_EQ(own, state->size);
	free(state);
}

TEST_F(state, cannot_be_written)
{
	static const struct maps_lockless_state unwritable = {
		.size = sizeof(unwritable),
	};

	EXPECT_EQ(EFAULT, errno_of(ioctl(self->fd, MAPS_LOCKLESS_GET_STATE, &unwritable)));
	EXPECT_EQ(EFAULT, errno_of(ioctl(self->fd, MAPS_LOCKLESS_GET_STATE, NULL)));
}

int main(int argc, char **argv)
{
	return run_tests(argc, argv);
}
