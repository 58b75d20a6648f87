// SPDX-License-Identifier: GPL-2.0
/*
 * Requests for what has changed since an earlier listing: the new listing that is
 * made of both is the one that a request for everything gets.
 */
#include "common.h"

/* Pages that are VMAs of their own, and as many behind them that are one. */
#define PAGES	400

static union batch batch;

/* A process that makes changes, one when it is told to. */
FIXTURE(since)
{
	pid_t pid;
	int fd;
	/* By which it is told, and tells that it is done. */
	int go, done;
};

/* Where it has the pages. */
static char *pages;

static int map(char *at, size_t len, int prot)
{
	return mmap(at, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at;
}

static int fork_once(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return pid < 0 || waitpid(pid, NULL, 0) != pid;
}

/* Changes, of which each but the first does what the one before did not. */
static const char *const changes[] = {
	"nothing", "mprotect", "mprotect of several", "munmap of one",
	"munmap of several", "mmap into a gap", "mmap over several",
	"munmap of a part", "mremap", "madvise", "mlock", "munlock", "brk", "fork",
	"a change and a fork",
};

static int change(size_t number)
{
	unsigned long page = page_size();
	char *part = pages + (PAGES + 50) * page;

	switch (number) {
	case 0:
		return 0;
	case 1:
		return mprotect(pages + 10 * page, page, PROT_READ | PROT_EXEC);
	case 2:
		return mprotect(pages + 20 * page, 7 * page, PROT_READ);
	case 3:
		return munmap(pages + 30 * page, page);
	case 4:
		return munmap(pages + 40 * page, 9 * page);
	case 5:
		return map(pages + 43 * page, page, PROT_READ);
	case 6:
		return map(pages + 60 * page, 5 * page, PROT_EXEC);
	case 7:
		return munmap(part, page);
	case 8:
		return mremap(part + 10 * page, page, page, MREMAP_MAYMOVE | MREMAP_FIXED,
			      pages + 70 * page) == MAP_FAILED;
	case 9:
		return madvise(pages + 80 * page, page, MADV_DONTFORK);
	case 10:
		return mlock(part + 20 * page, page);
	case 11:
		return munlock(part + 20 * page, page);
	case 12:
		return brk((char *)sbrk(0) + page);
	case 13:
		return fork_once();
	default:
		return mprotect(part + 30 * page, page, PROT_READ) || fork_once();
	}
}

static void make_changes(int go, int done)
{
	unsigned char number;

	pages = map_alternating(2 * PAGES);
	must(pages, "map_alternating");
	must(!mprotect(pages + PAGES * page_size(), PAGES * page_size(),
		       PROT_READ | PROT_WRITE), "mprotect");
	must(write(done, "", 1) == 1, "write");
	while (read(go, &number, 1) == 1) {
		must(!change(number), changes[number]);
		must(write(done, "", 1) == 1, "write");
	}
	_exit(0);
}

FIXTURE_SETUP(since)
{
	int go[2], done[2];
	char byte;

	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, pipe(done));
	self->pid = fork();
	ASSERT_LE(0, self->pid);
	if (!self->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(go[1]);
		close(done[0]);
		make_changes(go[0], done[1]);
	}
	close(go[0]);
	close(done[1]);
	self->go = go[1];
	self->done = done[0];
	ASSERT_EQ(1, read(self->done, &byte, 1));
	self->fd = open_listing(self->pid);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(since)
{
	close(self->fd);
	end_target(self->pid);
	close(self->go);
	close(self->done);
}

/* Lists what a request asks for. The process rests. */
static void list(struct __test_metadata *_metadata, int fd,
		 struct maps_lockless_request request, struct listing *listing)
{
	ASSERT_EQ(0, set_request(fd, &request));
	ASSERT_EQ(0, lseek(fd, 0, SEEK_SET));
	read_listing(_metadata, fd, MAX, listing);
	EXPECT_EQ(true, listing->proved);
}

static struct maps_lockless_request ask_since(struct maps_lockless_request request,
					      const struct listing *earlier)
{
	request.since_mm_id = earlier->mm_id;
	request.since_seq = earlier->seq;
	return request;
}

/* How many mappings of a listing overlap a range, the first of which is *@first. */
static size_t overlapping(const struct listing *listing, __u64 start, __u64 end,
			  size_t *first)
{
	size_t i = 0, count = 0;

	while (i < listing->count && listing->maps[i].vma.end <= start)
		i++;
	*first = i;
	for (; i < listing->count && listing->maps[i].vma.start < end; i++)
		count++;
	return count;
}

/* That these mappings are the next ones of a listing. */
static void expect_next(struct __test_metadata *_metadata, const struct mapping *maps,
			size_t count, const struct listing *whole, size_t *at)
{
	size_t i;

	ASSERT_LE(*at + count, whole->count);
	for (i = 0; i < count; i++)
		EXPECT_EQ(true, same_mapping(&maps[i], &whole->maps[*at + i]))
			TH_LOG("at 0x%llx", whole->maps[*at + i].vma.start);
	*at += count;
}

/*
 * Takes an earlier listing on to where the process is now, and checks that it comes
 * to what a request for everything lists. Returns how many records that took.
 */
static size_t expect_followed(struct __test_metadata *_metadata, int fd,
			      struct maps_lockless_request request,
			      const struct listing *earlier, struct listing *whole)
{
	size_t map = 0, range = 0, at = 0, records;
	struct listing listing;

	list(_metadata, fd, request, whole);
	EXPECT_EQ(0, whole->unchangeds);
	list(_metadata, fd, ask_since(request, earlier), &listing);
	EXPECT_EQ(whole->seq, listing.seq);
	records = listing.count + listing.unchangeds;
	while (map < listing.count || range < listing.unchangeds) {
		const struct maps_lockless_unchanged *unchanged = &listing.unchanged[range];
		struct listing again;
		size_t first, had;

		if (range == listing.unchangeds ||
		    (map < listing.count &&
		     listing.maps[map].vma.start < unchanged->start)) {
			expect_next(_metadata, &listing.maps[map++], 1, whole, &at);
			continue;
		}
		range++;
		had = overlapping(earlier, unchanged->start, unchanged->end, &first);
		ASSERT_LE(unchanged->vma_count, had);
		if (unchanged->vma_count == had) {
			expect_next(_metadata, &earlier->maps[first], had, whole, &at);
			continue;
		}
		/* Some are gone. */
		request.start = unchanged->start;
		request.end = unchanged->end;
		list(_metadata, fd, request, &again);
		EXPECT_EQ(unchanged->vma_count, again.count);
		EXPECT_EQ(whole->seq, again.seq);
		expect_next(_metadata, again.maps, again.count, whole, &at);
		free_listing(&again);
	}
	EXPECT_EQ(whole->count, at);
	free_listing(&listing);
	return records;
}

/* After each change, since the one before and since the beginning. */
static void follow(struct __test_metadata *_metadata, int fd, int go, int done,
		   struct maps_lockless_request request)
{
	struct listing first, last, now;
	unsigned char i;
	char byte;

	list(_metadata, fd, request, &first);
	list(_metadata, fd, request, &last);
	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		size_t records;

		ASSERT_EQ(1, write(go, &i, 1));
		ASSERT_EQ(1, read(done, &byte, 1))
			TH_LOG("%s failed", changes[i]);
		expect_followed(_metadata, fd, request, &first, &now);
		free_listing(&now);
		records = expect_followed(_metadata, fd, request, &last, &now);
		if (!request.max_records && i < 13)
			EXPECT_GT(50, records)
				TH_LOG("%s: %zu records", changes[i], records);
		free_listing(&last);
		last = now;
	}
	free_listing(&last);
	free_listing(&first);
}

TEST_F(since, everything)
{
	follow(_metadata, self->fd, self->go, self->done, want(0));
}

TEST_F(since, all_fields)
{
	struct maps_lockless_request got;

	ASSERT_EQ(0, get_request(self->fd, &got));
	follow(_metadata, self->fd, self->go, self->done, want(got.fields_supported));
}

TEST_F(since, selected)
{
	struct maps_lockless_request request = want(0);

	request.vma_flags_all = MAPS_LOCKLESS_VMA_WRITE;
	follow(_metadata, self->fd, self->go, self->done, request);
}

TEST_F(since, a_few_at_a_time)
{
	struct maps_lockless_request request = want(MAPS_LOCKLESS_FIELD_RANGE);

	request.max_records = 2;
	follow(_metadata, self->fd, self->go, self->done, request);
}

/* What cannot be compared is listed in full, and no batch says otherwise. */
TEST_F(since, not_comparable)
{
	struct listing whole, listing, own;
	size_t i, j;
	int fd;

	fd = open_listing(getpid());
	ASSERT_LE(0, fd);
	list(_metadata, fd, want(0), &own);
	close(fd);
	list(_metadata, self->fd, want(0), &whole);
	const struct { __u64 mm_id, seq; } others[] = {
		{ own.mm_id, own.seq },
		{ own.mm_id, whole.seq },
		{ ~0ULL, whole.seq },
		{ whole.mm_id, whole.seq + 2 },
		{ whole.mm_id, whole.seq + (1ULL << 32) },
		{ whole.mm_id, whole.seq - (1ULL << 32) },
	};

	for (i = 0; i < ARRAY_SIZE(others); i++) {
		struct maps_lockless_request request = want(0);

		request.since_mm_id = others[i].mm_id;
		request.since_seq = others[i].seq;
		list(_metadata, self->fd, request, &listing);
		EXPECT_EQ(0, listing.unchangeds)
			TH_LOG("case %zu", i);
		for (j = 0; j < listing.batches; j++)
			EXPECT_EQ(0, listing.headers[j].flags & MAPS_LOCKLESS_BATCH_SINCE);
		EXPECT_EQ(true, same_listing(&whole, &listing));
		free_listing(&listing);
	}
	free_listing(&whole);
	free_listing(&own);
}

TEST_F(since, refused)
{
	const struct { __u64 mm_id, seq; } wrong[] = {
		{ 1, 1 }, { 1, ~0ULL }, { 0, 1 }, { 0, 2 },
	};
	struct maps_lockless_request request, got;
	size_t i;

	request = want(0);
	request.since_mm_id = ~0ULL;
	request.since_seq = 8;
	ASSERT_EQ(0, set_request(self->fd, &request));
	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct maps_lockless_request refused = want(0);

		refused.since_mm_id = wrong[i].mm_id;
		refused.since_seq = wrong[i].seq;
		EXPECT_EQ(EINVAL, errno_of(set_request(self->fd, &refused)));
		EXPECT_EQ(request.fields_supported, refused.fields_supported);
	}
	ASSERT_EQ(0, get_request(self->fd, &got));
	EXPECT_EQ(request.request, got.request);
	EXPECT_EQ(~0ULL, got.since_mm_id);
	EXPECT_EQ(8, got.since_seq);
	read_batch(_metadata, self->fd, &batch, MAX);
	EXPECT_EQ(0, batch.header.flags & MAPS_LOCKLESS_BATCH_SINCE);
}

int main(int argc, char **argv)
{
	return run_tests(argc, argv);
}
