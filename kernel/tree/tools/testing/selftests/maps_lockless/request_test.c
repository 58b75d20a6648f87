// SPDX-License-Identifier: GPL-2.0
/*
 * The ioctl(2) calls MAPS_LOCKLESS_SET_REQUEST and MAPS_LOCKLESS_GET_REQUEST: which
 * fields of which VMAs are read from an open file.
 */
#include "common.h"

/* More than a batch holds. */
#define VMAS 1000

FIXTURE(request)
{
	pid_t pid;
	int fd;
	/* VMAS of a page, of which every other one is writable. */
	char *vmas;
};

FIXTURE_SETUP(request)
{
	self->vmas = map_alternating(VMAS);
	ASSERT_NE(NULL, self->vmas);
	self->pid = start_target(_metadata, NULL, NULL);
	self->fd = open_listing(self->pid);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(request)
{
	close(self->fd);
	end_target(self->pid);
}

static union batch batch;

#define WANT_MAPS want(MAPS_LOCKLESS_FIELDS_MAPS)

TEST_F(request, answers)
{
	struct maps_lockless_request request = WANT_MAPS;

	request.request = 77;
	request.fields_supported = ~0ULL;
	request.vma_flags_supported = 77;
	ASSERT_EQ(0, set_request(self->fd, &request));
	pread_batch(_metadata, self->fd, &batch, MIN, 0);
	EXPECT_EQ(batch.header.fields_supported, request.fields_supported);
	EXPECT_EQ(batch.header.vma_flags_supported, request.vma_flags_supported);
	EXPECT_EQ(batch.header.request, request.request);
	EXPECT_NE(0, request.request);
	EXPECT_EQ(sizeof(request), request.size);
	EXPECT_EQ(MAPS_LOCKLESS_FIELDS_MAPS, request.fields_wanted);

	request.fields_wanted = request.fields_supported;
	ASSERT_EQ(0, set_request(self->fd, &request));
	pread_batch(_metadata, self->fd, &batch, MIN, 0);
	EXPECT_EQ(request.fields_wanted, batch.header.fields_wanted);
}

/* What is read back is what was set, and what the next batch was made by. */
static void expect_set(struct __test_metadata *_metadata, int fd,
		       const struct maps_lockless_request *set)
{
	struct maps_lockless_request got;
	struct maps_lockless_state state;

	ASSERT_EQ(0, get_request(fd, &got));
	EXPECT_EQ(0, memcmp(set, &got, sizeof(got)))
		TH_LOG("request %llu is read back as another, or as %llu",
		       set->request, got.request);
	pread_batch(_metadata, fd, &batch, MIN, 0);
	EXPECT_EQ(set->request, batch.header.request);
	EXPECT_EQ(set->fields_wanted, batch.header.fields_wanted);
	ASSERT_EQ(0, get_state(fd, &state));
	EXPECT_EQ(set->request, state.request);
}

TEST_F(request, read_back)
{
	__u64 at = (unsigned long)self->vmas;
	const struct maps_lockless_request requests[] = {
		{ .fields_wanted = MAPS_LOCKLESS_FIELDS_MAPS },
		{ .fields_wanted = MAPS_LOCKLESS_FIELD_RANGE,
		  .vma_flags_all = MAPS_LOCKLESS_VMA_READ | MAPS_LOCKLESS_VMA_FILE },
		{ .fields_wanted = MAPS_LOCKLESS_FIELDS_MAPS,
		  .vma_flags_any = MAPS_LOCKLESS_VMA_EXEC | MAPS_LOCKLESS_VMA_SHARED,
		  .vma_flags_none = MAPS_LOCKLESS_VMA_WRITE | MAPS_LOCKLESS_VMA_FILE },
		{ .fields_wanted = MAPS_LOCKLESS_FIELDS_MAPS, .start = at + 1 },
		{ .fields_wanted = MAPS_LOCKLESS_FIELDS_MAPS, .end = at + 2 },
		{ .fields_wanted = MAPS_LOCKLESS_FIELDS_MAPS,
		  .start = at + 3, .end = at + 4, .max_records = 5 },
	};
	struct maps_lockless_request none;
	size_t i;

	/* Where none was set: what maps shows, of all. */
	ASSERT_EQ(0, get_request(self->fd, &none));
	EXPECT_EQ(sizeof(none), none.size);
	EXPECT_EQ(MAPS_LOCKLESS_FIELDS_MAPS, none.fields_wanted);
	EXPECT_EQ(0, none.vma_flags_all | none.vma_flags_any | none.vma_flags_none);
	EXPECT_EQ(0, none.start | none.end | none.max_records);
	EXPECT_EQ(0, none.request);
	expect_set(_metadata, self->fd, &none);
	EXPECT_EQ(batch.header.fields_supported, none.fields_supported);
	EXPECT_EQ(batch.header.vma_flags_supported, none.vma_flags_supported);

	for (i = 0; i < ARRAY_SIZE(requests); i++) {
		struct maps_lockless_request request = requests[i];

		request.size = sizeof(request);
		ASSERT_EQ(0, set_request(self->fd, &request));
		expect_set(_metadata, self->fd, &request);
	}
}

/* No two requests have a number in common, be they the same, or of two open files. */
TEST_F(request, numbers)
{
	int fds[] = { self->fd, open_listing(self->pid), open_listing(getpid()) };
	__u64 seen[30];
	size_t i, n;

	for (i = 0; i < ARRAY_SIZE(seen); i++) {
		struct maps_lockless_request request = WANT_MAPS;
		int fd = fds[i % ARRAY_SIZE(fds)];

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, set_request(fd, &request));
		expect_set(_metadata, fd, &request);
		EXPECT_NE(0, request.request);
		for (n = 0; n < i; n++)
			EXPECT_NE(seen[n], request.request);
		seen[i] = request.request;
	}
	close(fds[1]);
	close(fds[2]);
}

TEST_F(request, of_zeroes_is_none)
{
	struct maps_lockless_request request = want(0);
	int other = open_listing(self->pid);
	static union batch unasked;
	__u64 at = 0;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, set_request(self->fd, &request));
	request.fields_wanted = MAPS_LOCKLESS_FIELDS_MAPS;
	expect_set(_metadata, self->fd, &request);
	do {
		pread_full_batch(_metadata, self->fd, &batch, MAX, at);
		pread_full_batch(_metadata, other, &unasked, MAX, at);
		EXPECT_EQ(request.request, batch.header.request);
		EXPECT_EQ(0, unasked.header.request);
		batch.header.request = 0;
		ASSERT_EQ(unasked.header.size, batch.header.size);
		ASSERT_EQ(0, memcmp(&unasked, &batch, batch.header.size));
		at = batch.header.next;
	} while (at != MAPS_LOCKLESS_NEXT_NONE);
	close(other);
}

/* Each field by itself. */
TEST_F(request, fields)
{
	struct maps_lockless_request request = WANT_MAPS;
	struct listing whole, listing;
	__u64 supported, field;
	size_t i;

	ASSERT_EQ(0, set_request(self->fd, &request));
	supported = request.fields_supported;
	request.fields_wanted = supported;
	ASSERT_EQ(0, set_request(self->fd, &request));
	read_listing(_metadata, self->fd, MAX, &whole);
	EXPECT_NE(0, supported & MAPS_LOCKLESS_FIELD_RANGE);
	for (field = 1; field; field <<= 1) {
		if (field & ~supported)
			continue;
		request.fields_wanted = field;
		ASSERT_EQ(0, set_request(self->fd, &request));
		ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
		/* What was not asked for is zero: batch_fault() sees to that. */
		read_listing(_metadata, self->fd, MAX, &listing);
		ASSERT_EQ(whole.count, listing.count);
		for (i = 0; i < whole.count; i++) {
			const struct mapping *of_all = &whole.maps[i];
			const struct mapping *map = &listing.maps[i];
			bool told = of_all->file.type && field & FILE_FIELDS;

			EXPECT_EQ(of_all->vma.start, map->vma.start);
			EXPECT_EQ(of_all->vma.end, map->vma.end);
			EXPECT_EQ((of_all->vma.valid & field) | MAPS_LOCKLESS_FIELD_RANGE,
				  map->vma.valid);
			EXPECT_EQ(told ? MAPS_LOCKLESS_TYPE_FILE : 0, map->file.type);
			EXPECT_EQ(of_all->file.valid & field, map->file.valid);
		}
		free_listing(&listing);
	}
	free_listing(&whole);
}

static bool wanted(const struct maps_lockless_vma *vma,
		   const struct maps_lockless_request *request)
{
	__u64 flags = vma->vma_flags;

	return (flags & request->vma_flags_all) == request->vma_flags_all &&
	       !(flags & request->vma_flags_none) &&
	       (!request->vma_flags_any || flags & request->vma_flags_any) &&
	       vma->end > request->start &&
	       (!request->end || vma->start < request->end);
}

TEST_F(request, selects)
{
	__u64 at = (unsigned long)self->vmas, page = page_size();
	const struct maps_lockless_request requests[] = {
		{ .vma_flags_all = MAPS_LOCKLESS_VMA_WRITE },
		{ .vma_flags_all = MAPS_LOCKLESS_VMA_READ | MAPS_LOCKLESS_VMA_EXEC },
		{ .vma_flags_any = MAPS_LOCKLESS_VMA_WRITE | MAPS_LOCKLESS_VMA_EXEC },
		{ .vma_flags_none = MAPS_LOCKLESS_VMA_READ },
		{ .vma_flags_all = MAPS_LOCKLESS_VMA_FILE,
		  .vma_flags_none = MAPS_LOCKLESS_VMA_WRITE },
		{ .vma_flags_none = MAPS_LOCKLESS_VMA_FILE },
		{ .start = at },
		{ .end = at },
		{ .start = at + page, .end = at + 9 * page },
		{ .start = at + 1, .end = at + 2 },
		{ .start = at, .end = at + 100 * page,
		  .vma_flags_all = MAPS_LOCKLESS_VMA_WRITE },
	};
	struct listing whole, listing;
	size_t i, n, selected;

	read_listing(_metadata, self->fd, MAX, &whole);
	for (i = 0; i < ARRAY_SIZE(requests); i++) {
		struct maps_lockless_request request = requests[i];

		request.size = sizeof(request);
		ASSERT_EQ(0, set_request(self->fd, &request));
		ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
		read_listing(_metadata, self->fd, MAX, &listing);
		EXPECT_EQ(true, listing.proved);
		for (n = 0; n < listing.batches; n++)
			EXPECT_NE(0, listing.headers[n].flags & MAPS_LOCKLESS_BATCH_SELECTED);
		selected = 0;
		for (n = 0; n < whole.count; n++) {
			if (!wanted(&whole.maps[n].vma, &request))
				continue;
			ASSERT_GT(listing.count, selected)
				TH_LOG("request %zu: too few", i);
			EXPECT_EQ(whole.maps[n].vma.vma_start,
				  listing.maps[selected].vma.vma_start)
				TH_LOG("request %zu", i);
			EXPECT_EQ(whole.maps[n].vma.end, listing.maps[selected].vma.end);
			selected++;
		}
		EXPECT_LT(0, selected);
		EXPECT_EQ(selected, listing.count)
			TH_LOG("request %zu: too many", i);
		free_listing(&listing);
	}
	free_listing(&whole);
}

/* Makes a request, which is refused or not. It is answered in either case. */
static void expect_answer(struct __test_metadata *_metadata, int fd,
			  struct maps_lockless_request *request, int error,
			  const struct maps_lockless_request *good)
{
	EXPECT_EQ(error, errno_of(set_request(fd, request)))
		TH_LOG("fields 0x%llx, flags 0x%llx 0x%llx 0x%llx, reserved 0x%x",
		       request->fields_wanted, request->vma_flags_all,
		       request->vma_flags_any, request->vma_flags_none,
		       request->reserved);
	EXPECT_EQ(good->fields_supported, request->fields_supported);
	EXPECT_EQ(good->vma_flags_supported, request->vma_flags_supported);
}

TEST_F(request, refuses_unknown_bits)
{
	struct maps_lockless_request good = WANT_MAPS, request;
	__u64 bit;

	ASSERT_EQ(0, set_request(self->fd, &good));
	for (bit = 1; bit; bit <<= 1) {
		int flag_error = bit & good.vma_flags_supported ? 0 : EINVAL;
		int field_error = bit & good.fields_supported ? 0 : EINVAL;

		request = want(bit);
		expect_answer(_metadata, self->fd, &request, field_error, &good);
		request = WANT_MAPS;
		request.vma_flags_all = bit;
		expect_answer(_metadata, self->fd, &request, flag_error, &good);
		request = WANT_MAPS;
		request.vma_flags_any = bit;
		expect_answer(_metadata, self->fd, &request, flag_error, &good);
		request = WANT_MAPS;
		request.vma_flags_none = bit;
		expect_answer(_metadata, self->fd, &request, flag_error, &good);
		request = WANT_MAPS;
		request.reserved = bit;
		if (request.reserved)
			expect_answer(_metadata, self->fd, &request, EINVAL, &good);
	}
	request = WANT_MAPS;
	request.start = 0x2000;
	request.end = 0x2000;
	expect_answer(_metadata, self->fd, &request, EINVAL, &good);
	request.end = 0x1000;
	expect_answer(_metadata, self->fd, &request, EINVAL, &good);
}

/* What was asked for before stays after an error, and so does its number. */
TEST_F(request, refused_changes_nothing)
{
	static const struct maps_lockless_request unwritable = {
		.size = sizeof(unwritable),
		.fields_wanted = MAPS_LOCKLESS_FIELD_NAME,
	};
	struct maps_lockless_request set = want(MAPS_LOCKLESS_FIELD_RANGE), request;
	struct maps_lockless_request longer[2] = { WANT_MAPS, {} };

	ASSERT_EQ(0, set_request(self->fd, &set));
	EXPECT_NE(0, set.request);
	request = WANT_MAPS;
	request.reserved = 1;
	EXPECT_EQ(EINVAL, errno_of(set_request(self->fd, &request)));
	request = WANT_MAPS;
	request.size = 8;
	EXPECT_EQ(EINVAL, errno_of(set_request(self->fd, &request)));
	longer[0].size = sizeof(longer);
	longer[1].size = 1;
	EXPECT_EQ(E2BIG, errno_of(set_request(self->fd, longer)));
	EXPECT_EQ(EFAULT, errno_of(set_request(self->fd, (void *)&unwritable)));
	EXPECT_EQ(EFAULT, errno_of(set_request(self->fd, NULL)));
	expect_set(_metadata, self->fd, &set);

	/* The next one that is set has a number of its own. */
	request = WANT_MAPS;
	ASSERT_EQ(0, set_request(self->fd, &request));
	EXPECT_NE(set.request, request.request);
	expect_set(_metadata, self->fd, &request);
}

TEST_F(request, sizes)
{
	size_t page = page_size(), own = sizeof(struct maps_lockless_request);
	const struct { __u64 size; int error; } sizes[] = {
		{ 0, EINVAL },
		{ 8, EINVAL },
		{ MAPS_LOCKLESS_REQUEST_SIZE_VER0 - 1, EINVAL },
		{ MAPS_LOCKLESS_REQUEST_SIZE_VER0, 0 },
		{ own + 1, 0 },
		{ own + 8, 0 },
		{ page, 0 },
		{ page + 1, E2BIG },
		{ ~0ULL, E2BIG },
	};
	struct maps_lockless_request *request = calloc(2, page);
	size_t i;

	ASSERT_NE(NULL, request);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		*request = want(MAPS_LOCKLESS_FIELD_INO);
		request->size = sizes[i].size;
		EXPECT_EQ(sizes[i].error, errno_of(set_request(self->fd, request)))
			TH_LOG("size %llu", sizes[i].size);
		/* What is too long is told how long it may be. */
		EXPECT_EQ(sizes[i].error == E2BIG ? own : sizes[i].size, request->size);
		EXPECT_EQ(!sizes[i].error, !!request->fields_supported);
		EXPECT_EQ(true, all_zero((char *)(request + 1), page - own));
	}
	/* A later struct, of which something is used that this kernel lacks. */
	*request = WANT_MAPS;
	request->size = page;
	((char *)request)[page - 1] = 1;
	EXPECT_EQ(E2BIG, errno_of(set_request(self->fd, request)));
	/* As long as the kernel says, it can be met. */
	EXPECT_EQ(own, request->size);
	EXPECT_EQ(0, set_request(self->fd, request));
	free(request);
}

/* A caller who knows less, or more, reads back what there is. */
TEST_F(request, read_back_sizes)
{
	size_t page = page_size(), own = sizeof(struct maps_lockless_request);
	struct maps_lockless_request *request = calloc(2, page);

	ASSERT_NE(NULL, request);
	request->size = MAPS_LOCKLESS_REQUEST_SIZE_VER0 - 1;
	EXPECT_EQ(EINVAL, errno_of(ioctl(self->fd, MAPS_LOCKLESS_GET_REQUEST, request)));
	EXPECT_EQ(0, request->fields_wanted);
	request->size = page + 1;
	EXPECT_EQ(E2BIG, errno_of(ioctl(self->fd, MAPS_LOCKLESS_GET_REQUEST, request)));
	EXPECT_EQ(own, request->size);
	EXPECT_EQ(0, request->fields_wanted);
	request->size = own + 8;
	request[1].size = 1;
	EXPECT_EQ(E2BIG, errno_of(ioctl(self->fd, MAPS_LOCKLESS_GET_REQUEST, request)));
	EXPECT_EQ(own, request->size);
	EXPECT_EQ(0, request->fields_wanted);
	request[1].size = 0;
	request->size = page;
	EXPECT_EQ(0, ioctl(self->fd, MAPS_LOCKLESS_GET_REQUEST, request));
	EXPECT_EQ(MAPS_LOCKLESS_FIELDS_MAPS, request->fields_wanted);
	EXPECT_EQ(true, all_zero((char *)(request + 1), page - own));
	EXPECT_EQ(EFAULT, errno_of(ioctl(self->fd, MAPS_LOCKLESS_GET_REQUEST, NULL)));
	free(request);
}

TEST_F(request, other_ioctls)
{
	struct maps_lockless_request request = WANT_MAPS;
	unsigned long others[] = {
		0, 0x5401, ~0U,
		_IOWR(0x66, 16, struct maps_lockless_request),
		_IOWR(0x66, 17, struct maps_lockless_request),
		_IOWR(0x66, 19, struct maps_lockless_request),
		_IOWR(0x66, 27, struct maps_lockless_request),
		_IOWR(0x66, 30, struct maps_lockless_request),
		_IOWR(0x67, 18, struct maps_lockless_request),
		_IOWR(0x66, 18 + 128, struct maps_lockless_request),
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(others); i++) {
		EXPECT_EQ(ENOTTY, errno_of(ioctl(self->fd, others[i], &request)))
			TH_LOG("0x%lx", others[i]);
	}
	ASSERT_EQ(0, get_request(self->fd, &request));
	EXPECT_EQ(0, request.request);
}

/* The kernel goes by type and number: the struct grows, and they stay. */
TEST_F(request, number_of_another_size)
{
	struct maps_lockless_request request = WANT_MAPS;
	unsigned long same[] = {
		_IOWR(0x66, 18, __u64), _IOW(0x66, 18, char[120]), _IO(0x66, 18),
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(same); i++) {
		EXPECT_EQ(0, ioctl(self->fd, same[i], &request))
			TH_LOG("0x%lx", same[i]);
		expect_set(_metadata, self->fd, &request);
	}
}

/* A request is of the open file, and so of all its descriptors. */
TEST_F(request, is_of_open_file)
{
	struct maps_lockless_request request = want(MAPS_LOCKLESS_FIELD_RANGE);
	int same = dup(self->fd), other = open_listing(self->pid);

	ASSERT_LE(0, same);
	ASSERT_LE(0, other);
	ASSERT_EQ(0, set_request(self->fd, &request));
	pread_batch(_metadata, same, &batch, MIN, 0);
	EXPECT_EQ(MAPS_LOCKLESS_FIELD_RANGE, batch.header.fields_wanted);
	EXPECT_EQ(request.request, batch.header.request);
	pread_batch(_metadata, other, &batch, MIN, 0);
	EXPECT_EQ(MAPS_LOCKLESS_FIELDS_MAPS, batch.header.fields_wanted);
	EXPECT_EQ(0, batch.header.request);
	close(same);
	close(other);
}

int main(int argc, char **argv)
{
	return run_tests(argc, argv);
}
