// SPDX-License-Identifier: GPL-2.0
/*
 * The format of /proc/PID/maps_lockless: headers, sizes, buffers, ends of
 * batches, requests.
 */
#include "common.h"

#include <stddef.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

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

static struct maps_lockless_request want(__u64 fields)
{
	return (struct maps_lockless_request) {
		.size = sizeof(struct maps_lockless_request),
		.fields = fields,
	};
}

#define WANT_MAPS want(MAPS_LOCKLESS_FIELDS_MAPS)

TEST(layout)
{
	EXPECT_EQ(88, MAPS_LOCKLESS_BATCH_SIZE_VER0);
	EXPECT_EQ(96, MAPS_LOCKLESS_RECORD_SIZE_VER0);
	EXPECT_EQ(80, MAPS_LOCKLESS_REQUEST_SIZE_VER0);
	EXPECT_LE(MAPS_LOCKLESS_BATCH_SIZE_VER0, HEADER);
	EXPECT_LE(MAPS_LOCKLESS_RECORD_SIZE_VER0, RECORD);
	EXPECT_LE(MAPS_LOCKLESS_REQUEST_SIZE_VER0, sizeof(struct maps_lockless_request));
	EXPECT_EQ(24, offsetof(struct maps_lockless_batch, next));
	EXPECT_EQ(84, offsetof(struct maps_lockless_batch, reserved));
	EXPECT_EQ(24, offsetof(struct maps_lockless_vma, start));
	EXPECT_EQ(92, offsetof(struct maps_lockless_vma, build_id_len));
	EXPECT_EQ(56, offsetof(struct maps_lockless_request, max_records));
	EXPECT_EQ(72, offsetof(struct maps_lockless_request, supported_vma_flags));
	EXPECT_EQ(_IOWR(0x66, 18, __u64), MAPS_LOCKLESS_IOC_REQUEST);
	EXPECT_EQ(0x4c50414d, MAPS_LOCKLESS_MAGIC);
	EXPECT_EQ(INT64_MAX, MAPS_LOCKLESS_POS_END);
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
	EXPECT_EQ(MAPS_LOCKLESS_FIELDS_MAPS, header.fields & MAPS_LOCKLESS_FIELDS_MAPS);
	EXPECT_EQ(MAPS_LOCKLESS_FIELDS_MAPS, header.fields_asked);
	EXPECT_EQ(0, header.flags);

	/* Another open file of the same process tells the same mm. */
	other = open_listing(self->pid);
	ASSERT_LE(0, other);
	read_batch(_metadata, other, &batch, HEADER);
	EXPECT_EQ(header.mm_id, batch.header.mm_id);
	close(other);

	other = open_listing(getpid());
	ASSERT_LE(0, other);
	read_batch(_metadata, other, &batch, HEADER);
	EXPECT_NE(header.mm_id, batch.header.mm_id);
	close(other);
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
		unsigned long start, end, pgoff, ino;
		unsigned int dev_major, dev_minor;
		__u64 flags = 0;
		char perms[5];
		int items;

		ASSERT_GT(listing.count, i++)
			TH_LOG("not listed: %s", line);
		items = sscanf(line, "%lx-%lx %4s %lx %x:%x %lu", &start, &end,
			       perms, &pgoff, &dev_major, &dev_minor, &ino);
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
		EXPECT_EQ(pgoff, vma->pgoff);
		EXPECT_EQ(dev_major, vma->dev_major);
		EXPECT_EQ(dev_minor, vma->dev_minor);
		EXPECT_EQ(ino, vma->ino);
		EXPECT_EQ(!!ino, !!(vma->valid & MAPS_LOCKLESS_FIELD_INO));
		EXPECT_EQ(!!ino, !!(vma->vma_flags & MAPS_LOCKLESS_VMA_FILE));
		EXPECT_EQ(0, vma->flags & ~MAPS_LOCKLESS_REC_DELETED);
	}
	EXPECT_EQ(listing.count, i);
	fclose(maps);
	free_listing(&listing);
}

TEST_F(abi, buffer_below_header)
{
	size_t size;

	EXPECT_EQ(0, read(self->fd, &batch, 0));
	for (size = 1; size < MAPS_LOCKLESS_BATCH_SIZE_VER0; size++)
		EXPECT_EQ(EINVAL, errno_of(read(self->fd, &batch, size)));
	EXPECT_EQ(0, position(self->fd));
}

TEST_F(abi, buffer_below_record_polls)
{
	__u64 places[] = {
		0, (unsigned long)self->vmas, MAPS_LOCKLESS_POS_END,
	};
	size_t size, i;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		ASSERT_EQ(places[i], lseek(self->fd, places[i], SEEK_SET));
		for (size = MAPS_LOCKLESS_BATCH_SIZE_VER0;
		     size < MAPS_LOCKLESS_BATCH_SIZE_VER0 + MAPS_LOCKLESS_RECORD_SIZE_VER0;
		     size++) {
			read_batch(_metadata, self->fd, &batch, size);
			EXPECT_EQ(MAPS_LOCKLESS_END_POLL, batch.header.end_reason);
			EXPECT_EQ(batch.header.header_size, batch.header.size);
			EXPECT_EQ(0, batch.header.count);
			EXPECT_EQ(places[i], batch.header.next);
			EXPECT_EQ(places[i], position(self->fd));
		}
	}
}

/* Room for a record, but not for its name. */
TEST_F(abi, buffer_below_name)
{
	const struct maps_lockless_vma *vma;
	struct listing listing;
	__u64 at = 0;
	size_t size, i;

	read_listing(_metadata, self->fd, MAX, &listing);
	for (i = 0; i < listing.count && !at; i++)
		if (listing.maps[i].vma.name_kind == MAPS_LOCKLESS_NAME_PATH)
			at = listing.maps[i].vma.start;
	ASSERT_NE(0, at);
	free_listing(&listing);

	pread_batch(_metadata, self->fd, &batch, MIN, at);
	vma = next_record(&batch, NULL);
	size = batch.header.header_size + vma->size;
	i = batch.header.header_size + vma->fixed_size;
	ASSERT_LT(i, size);
	ASSERT_EQ(at, lseek(self->fd, at, SEEK_SET));
	for (; i < size; i++) {
		EXPECT_EQ(EOVERFLOW, errno_of(read(self->fd, &batch, i)));
		EXPECT_EQ(at, position(self->fd));
	}
	read_batch(_metadata, self->fd, &batch, size);
	EXPECT_EQ(1, batch.header.count);
	EXPECT_EQ(MAPS_LOCKLESS_END_FULL, batch.header.end_reason);
}

TEST_F(abi, buffer_above_max)
{
	static char big[4 * MAX];
	const union batch *first = (void *)big;
	ssize_t len;

	memset(big, 0xaa, sizeof(big));
	len = read(self->fd, big, sizeof(big));
	ASSERT_LT(0, len);
	EXPECT_GE(MAX, len);
	check_batch(_metadata, first, len, 0);
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
	size_t at[] = { 0, page, 2 * page - 1, 2 * page };
	size_t i;

	ASSERT_NE(MAP_FAILED, pages);
	ASSERT_EQ(0, mprotect(pages + 2 * page, page, PROT_READ));
	EXPECT_EQ(EFAULT, errno_of(read(self->fd, pages + 2 * page, HEADER)));
	for (i = 0; i < ARRAY_SIZE(at); i++)
		EXPECT_EQ(EFAULT, errno_of(read(self->fd, pages + at[i], MAX)));
	EXPECT_EQ(0, position(self->fd));
	/* Nor does what is not reached matter. */
	EXPECT_LT(0, read(self->fd, pages + 2 * page - HEADER, HEADER));
	/* Now nothing is there at all. */
	munmap(pages, 3 * page);
	EXPECT_EQ(EFAULT, errno_of(read(self->fd, pages, MAX)));
	EXPECT_EQ(EFAULT, errno_of(read(self->fd, pages, HEADER)));
	EXPECT_EQ(0, position(self->fd));
}

TEST_F(abi, ends_full_and_complete)
{
	struct maps_lockless_batch header;
	unsigned int full = 0;

	for (;;) {
		read_batch(_metadata, self->fd, &batch, MIN);
		header = batch.header;
		EXPECT_EQ(header.next, position(self->fd));
		if (header.flags & MAPS_LOCKLESS_BATCH_FINAL)
			break;
		EXPECT_EQ(MAPS_LOCKLESS_END_FULL, header.end_reason);
		EXPECT_LT(0, header.count);
		full++;
	}
	EXPECT_LT(VMAS * RECORD / MIN, full);
	EXPECT_EQ(MAPS_LOCKLESS_END_COMPLETE, header.end_reason);
	EXPECT_EQ(MAPS_LOCKLESS_POS_END, header.next);
	EXPECT_EQ(0, read(self->fd, &batch, MIN));
	EXPECT_EQ(0, read(self->fd, &batch, MAX));
	/* And again from the start. */
	ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
	read_batch(_metadata, self->fd, &batch, MIN);
	EXPECT_LT(0, batch.header.count);
}

TEST_F(abi, ends_at_limit)
{
	struct maps_lockless_request request = WANT_MAPS;
	__u32 most[] = { 1, 2, 7, 100 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(most); i++) {
		request.max_records = most[i];
		ASSERT_EQ(0, set_request(self->fd, &request));
		pread_batch(_metadata, self->fd, &batch, MAX, 0);
		EXPECT_EQ(most[i], batch.header.count);
		EXPECT_EQ(MAPS_LOCKLESS_END_LIMIT, batch.header.end_reason);
		/* It is no choice of VMAs. */
		EXPECT_EQ(0, batch.header.flags);
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
	struct maps_lockless_request request = want(0);
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

TEST_F(abi, request_answers)
{
	struct maps_lockless_request request = WANT_MAPS;

	request.supported_fields = ~0ULL;
	request.supported_vma_flags = 77;
	ASSERT_EQ(0, set_request(self->fd, &request));
	pread_batch(_metadata, self->fd, &batch, HEADER, 0);
	EXPECT_EQ(batch.header.fields, request.supported_fields);
	EXPECT_EQ(batch.header.vma_flags, request.supported_vma_flags);
	EXPECT_EQ(sizeof(request), request.size);
	EXPECT_EQ(MAPS_LOCKLESS_FIELDS_MAPS, request.fields);

	request.fields = request.supported_fields;
	ASSERT_EQ(0, set_request(self->fd, &request));
	pread_batch(_metadata, self->fd, &batch, HEADER, 0);
	EXPECT_EQ(request.fields, batch.header.fields_asked);
}

/* Each field by itself, and none. */
TEST_F(abi, request_fields)
{
	struct maps_lockless_request request = WANT_MAPS;
	struct listing whole, listing;
	__u64 supported;
	int bit;
	size_t i;

	ASSERT_EQ(0, set_request(self->fd, &request));
	supported = request.supported_fields;
	request.fields = supported;
	ASSERT_EQ(0, set_request(self->fd, &request));
	read_listing(_metadata, self->fd, MAX, &whole);
	for (bit = -1; bit < 64; bit++) {
		__u64 field = bit < 0 ? 0 : 1ULL << bit;

		if (field & ~supported)
			continue;
		request.fields = field;
		ASSERT_EQ(0, set_request(self->fd, &request));
		ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
		/* What was not asked for is zero: batch_fault() sees to that. */
		read_listing(_metadata, self->fd, MAX, &listing);
		ASSERT_EQ(whole.count, listing.count);
		for (i = 0; i < whole.count; i++) {
			EXPECT_EQ(whole.maps[i].vma.start, listing.maps[i].vma.start);
			EXPECT_EQ(whole.maps[i].vma.end, listing.maps[i].vma.end);
			EXPECT_EQ(whole.maps[i].vma.valid & field,
				  listing.maps[i].vma.valid);
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

TEST_F(abi, request_selects)
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
		request.fields = MAPS_LOCKLESS_FIELDS_MAPS;
		ASSERT_EQ(0, set_request(self->fd, &request));
		pread_batch(_metadata, self->fd, &batch, HEADER, 0);
		EXPECT_NE(0, batch.header.flags & MAPS_LOCKLESS_BATCH_SELECTED);
		ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
		read_listing(_metadata, self->fd, MAX, &listing);
		EXPECT_EQ(true, listing.proved);
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

TEST_F(abi, request_refuses_unknown_bits)
{
	struct maps_lockless_request good = WANT_MAPS, request;
	int bit;

	ASSERT_EQ(0, set_request(self->fd, &good));
	for (bit = 0; bit < 64; bit++) {
		__u64 mask = 1ULL << bit;
		int flag_error = mask & good.supported_vma_flags ? 0 : EINVAL;

		request = WANT_MAPS;
		request.fields = mask;
		EXPECT_EQ(mask & good.supported_fields ? 0 : EINVAL,
			  errno_of(set_request(self->fd, &request)))
			TH_LOG("field %d", bit);
		request = WANT_MAPS;
		request.vma_flags_all = mask;
		EXPECT_EQ(flag_error, errno_of(set_request(self->fd, &request)))
			TH_LOG("VMA flag %d", bit);
		request = WANT_MAPS;
		request.vma_flags_any = mask;
		EXPECT_EQ(flag_error, errno_of(set_request(self->fd, &request)));
		request = WANT_MAPS;
		request.vma_flags_none = mask;
		EXPECT_EQ(flag_error, errno_of(set_request(self->fd, &request)));
	}
	for (bit = 0; bit < 32; bit++) {
		request = WANT_MAPS;
		request.reserved = 1U << bit;
		EXPECT_EQ(EINVAL, errno_of(set_request(self->fd, &request)));
	}
	request = WANT_MAPS;
	request.start = 0x2000;
	request.end = 0x2000;
	EXPECT_EQ(EINVAL, errno_of(set_request(self->fd, &request)));
	request.end = 0x1000;
	EXPECT_EQ(EINVAL, errno_of(set_request(self->fd, &request)));
}

/* What was asked for before stays after an error. */
TEST_F(abi, request_refused_changes_nothing)
{
	static const struct maps_lockless_request unwritable = {
		.size = sizeof(unwritable), .fields = MAPS_LOCKLESS_FIELD_NAME,
	};
	struct maps_lockless_request request = want(MAPS_LOCKLESS_FIELD_FLAGS);

	ASSERT_EQ(0, set_request(self->fd, &request));
	request = WANT_MAPS;
	request.reserved = 1;
	EXPECT_EQ(EINVAL, errno_of(set_request(self->fd, &request)));
	EXPECT_EQ(EFAULT, errno_of(set_request(self->fd, (void *)&unwritable)));
	EXPECT_EQ(EFAULT, errno_of(set_request(self->fd, NULL)));
	pread_batch(_metadata, self->fd, &batch, HEADER, 0);
	EXPECT_EQ(MAPS_LOCKLESS_FIELD_FLAGS, batch.header.fields_asked);
}

TEST_F(abi, request_sizes)
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
		EXPECT_EQ(sizes[i].size, request->size);
		EXPECT_EQ(!sizes[i].error, !!request->supported_fields);
		EXPECT_EQ(true, all_zero((char *)(request + 1), page - own));
	}
	/* A later struct, of which something is used that this kernel lacks. */
	*request = WANT_MAPS;
	request->size = page;
	((char *)request)[page - 1] = 1;
	EXPECT_EQ(E2BIG, errno_of(set_request(self->fd, request)));
	free(request);
}

TEST_F(abi, other_ioctls)
{
	struct maps_lockless_request request = WANT_MAPS;
	unsigned long others[] = {
		0, 0x5401, ~0U,
		_IOWR(0x66, 17, __u64), _IOWR(0x66, 19, __u64),
		_IOWR(0x66, 18, struct maps_lockless_request),
		_IOR(0x66, 18, __u64), _IOW(0x66, 18, __u64), _IO(0x66, 18),
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(others); i++) {
		EXPECT_EQ(ENOTTY, errno_of(ioctl(self->fd, others[i], &request)))
			TH_LOG("0x%lx", others[i]);
	}
}

/* A request is of the open file, and so of all its descriptors. */
TEST_F(abi, request_is_of_open_file)
{
	struct maps_lockless_request request = want(0);
	int same = dup(self->fd), other = open_listing(self->pid);

	ASSERT_LE(0, same);
	ASSERT_LE(0, other);
	ASSERT_EQ(0, set_request(self->fd, &request));
	pread_batch(_metadata, same, &batch, HEADER, 0);
	EXPECT_EQ(0, batch.header.fields_asked);
	pread_batch(_metadata, other, &batch, HEADER, 0);
	EXPECT_EQ(MAPS_LOCKLESS_FIELDS_MAPS, batch.header.fields_asked);
	close(same);
	close(other);
}

int main(int argc, char **argv)
{
	return run_tests(argc, argv);
}
