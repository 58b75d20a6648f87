// SPDX-License-Identifier: GPL-2.0
/*
 * A process that changes its mappings all the time while they are listed: what
 * /proc/PID/maps_lockless guarantees holds at every moment.
 *
 * The environment variable DURATION says for how many seconds each test reads, up
 * to 60.
 */
#include "common.h"

#include <pthread.h>
#include <sys/stat.h>

/* What is changed, between two pages that are not. */
#define PAGES 128
/* Every so many pages, one stays mapped, and writable. */
#define STAYS 8
/* Room for a few records. */
#define SMALL 2048
/* For so many seconds a test may read on to see what it is for. */
#define LONGER 60

enum kind { GONE, READABLE, WRITABLE, FILE_PAGE };

struct page {
	unsigned char kind;
	/* Which page of the file. */
	unsigned char file_page;
};

/* What the mutator has made of each page. */
struct model {
	/* Odd while it is changing them. */
	__u64 version;
	/* How often the reader has come to an end. */
	__u64 reads;
	bool stop;
	struct page pages[PAGES];
};

struct race {
	struct model *model;
	char *arena;
	unsigned long page;
	char path[32];
	__u64 ino;
	int file;
	double until;
	pid_t pid;
	pthread_t thread;
	unsigned int seed;
	int fd;
};

FIXTURE(races)
{
	struct race race;
};

/* Whether the mutator is a thread of the reader's process. */
FIXTURE_VARIANT(races)
{
	bool thread;
};

FIXTURE_VARIANT_ADD(races, process)
{
	.thread = false,
};

FIXTURE_VARIANT_ADD(races, thread)
{
	.thread = true,
};

static union batch batch;

static double end_of_test(void)
{
	const char *duration = getenv("DURATION");
	int given = duration ? atoi(duration) : 0;

	return seconds() + (given > 0 ? given : 3);
}

static bool stays(unsigned int page)
{
	return page % STAYS == 0;
}

/* What the mutator does is by its own numbers: nobody else's rand(3) is used. */
static unsigned int number(struct race *race, unsigned int below)
{
	return rand_r(&race->seed) % below;
}

static void set_pages(struct race *race, unsigned int first,
		      unsigned int count, enum kind kind)
{
	unsigned int i;

	for (i = first; i < first + count; i++) {
		race->model->pages[i].kind = kind;
		race->model->pages[i].file_page = i;
	}
}

/* Moves a page onto another. */
static void move_page(struct race *race, unsigned int from, unsigned int to)
{
	struct model *model = race->model;

	if (stays(to) || from == to || model->pages[from].kind == GONE)
		return;
	must(mremap(race->arena + from * race->page, race->page, race->page,
		    MREMAP_MAYMOVE | MREMAP_FIXED,
		    race->arena + to * race->page) != MAP_FAILED, "mremap");
	model->pages[to] = model->pages[from];
	model->pages[from].kind = GONE;
}

/* Changes some pages that do not stay: maps, unmaps, splits, merges, moves. */
static void change(struct race *race)
{
	unsigned int first = number(race, PAGES), count, i;
	char *at = race->arena + first * race->page;
	int flags = MAP_PRIVATE | MAP_FIXED, prot = PROT_READ, fd = -1;
	enum kind kind;
	bool mapped = true;
	off_t offset = 0;

	if (stays(first))
		return;
	count = 1 + number(race, STAYS - first % STAYS);
	for (i = first; i < first + count; i++)
		mapped &= race->model->pages[i].kind == READABLE ||
			  race->model->pages[i].kind == WRITABLE;
	kind = number(race, 4);
	if (!number(race, 6)) {
		move_page(race, first, number(race, PAGES));
		return;
	}
	if (kind == GONE) {
		must(!munmap(at, count * race->page), "munmap");
	} else {
		if (kind == WRITABLE)
			prot |= PROT_WRITE;
		if (kind == FILE_PAGE) {
			fd = race->file;
			offset = first * race->page;
		} else {
			flags |= MAP_ANONYMOUS;
		}
		if (mapped && kind != FILE_PAGE)
			must(!mprotect(at, count * race->page, prot), "mprotect");
		else
			must(mmap(at, count * race->page, prot, flags, fd,
				  offset) == at, "mmap");
		/* So that it has something to move, and an anon_vma. */
		if (kind == WRITABLE && number(race, 2))
			*at = 1;
	}
	set_pages(race, first, count, kind);
}

/* Lets the reader read some times, for it to see what is proved. */
static void rest(struct race *race)
{
	__u64 until = __atomic_load_n(&race->model->reads, __ATOMIC_SEQ_CST) +
		      number(race, 5);
	double begin = seconds();

	while (__atomic_load_n(&race->model->reads, __ATOMIC_SEQ_CST) < until &&
	       !__atomic_load_n(&race->model->stop, __ATOMIC_SEQ_CST) &&
	       seconds() - begin < 1)
		usleep(100);
}

static void *mutate(void *arg)
{
	struct race *race = arg;
	struct model *model = race->model;

	while (!__atomic_load_n(&model->stop, __ATOMIC_SEQ_CST)) {
		unsigned int changes = 1 + number(race, 40);

		__atomic_add_fetch(&model->version, 1, __ATOMIC_SEQ_CST);
		while (changes--)
			change(race);
		__atomic_add_fetch(&model->version, 1, __ATOMIC_SEQ_CST);
		if (!number(race, 3))
			rest(race);
	}
	return NULL;
}

/* Whether the reader is to go on, having come to an end once more. */
static bool goes_on(struct race *race)
{
	__atomic_add_fetch(&race->model->reads, 1, __ATOMIC_SEQ_CST);
	return seconds() < race->until;
}

static __u64 version(struct race *race)
{
	return __atomic_load_n(&race->model->version, __ATOMIC_SEQ_CST);
}

FIXTURE_SETUP(races)
{
	struct race *race = &self->race;
	struct stat st;
	unsigned int i;

	race->page = page_size();
	race->seed = time(NULL);
	race->model = mmap(NULL, sizeof(*race->model), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, race->model);
	snprintf(race->path, sizeof(race->path), "/tmp/maps_lockless.XXXXXX");
	race->file = mkstemp(race->path);
	ASSERT_LE(0, race->file);
	ASSERT_EQ(0, ftruncate(race->file, PAGES * race->page));
	ASSERT_EQ(0, fstat(race->file, &st));
	race->ino = st.st_ino;

	race->arena = mmap(NULL, (PAGES + 2) * race->page, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, race->arena);
	race->arena += race->page;
	ASSERT_EQ(0, mprotect(race->arena, PAGES * race->page, PROT_READ | PROT_WRITE));
	for (i = 0; i < PAGES; i++)
		race->model->pages[i].kind = WRITABLE;

	if (variant->thread) {
		race->pid = getpid();
		ASSERT_EQ(0, pthread_create(&race->thread, NULL, mutate, race));
	} else {
		race->pid = fork();
		ASSERT_LE(0, race->pid);
		if (!race->pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			mutate(race);
			_exit(0);
		}
	}
	race->fd = open_listing(race->pid);
	ASSERT_LE(0, race->fd);
	race->until = end_of_test();
}

FIXTURE_TEARDOWN(races)
{
	struct race *race = &self->race;
	int status;

	__atomic_store_n(&race->model->stop, true, __ATOMIC_SEQ_CST);
	status = variant->thread ? pthread_join(race->thread, NULL) :
		 exit_status(race->pid);
	/* It did all that it set out to. */
	EXPECT_EQ(0, status);
	close(race->fd);
	close(race->file);
	unlink(race->path);
}

/* What must be so of every record there is of the arena. */
static void check_record(struct __test_metadata *_metadata,
			 struct race *race, const struct mapping *map)
{
	__u64 arena = (unsigned long)race->arena;
	const struct maps_lockless_vma *vma = &map->vma;
	__u64 perms = vma->vma_flags & (MAPS_LOCKLESS_VMA_READ |
					MAPS_LOCKLESS_VMA_WRITE |
					MAPS_LOCKLESS_VMA_EXEC |
					MAPS_LOCKLESS_VMA_SHARED);

	/* A mapping that ends or begins outside has other permissions, or none. */
	if (vma->start < arena || vma->end > arena + PAGES * race->page)
		return;
	if (vma->flags & MAPS_LOCKLESS_REC_WITHHELD)
		return;
	ASSERT_EQ(MAPS_LOCKLESS_NAME_NONE, vma->name_kind);
	if (vma->vma_flags & MAPS_LOCKLESS_VMA_FILE) {
		ASSERT_EQ(MAPS_LOCKLESS_VMA_READ, perms);
		ASSERT_EQ(MAPS_LOCKLESS_FIELDS_MAPS & VMA_FIELDS, vma->valid);
		ASSERT_EQ(MAPS_LOCKLESS_FIELDS_MAPS & FILE_FIELDS, map->file.valid);
		ASSERT_STREQ(race->path, map->path);
		ASSERT_EQ(race->ino, map->file.ino);
		ASSERT_EQ(0, map->file.flags);
	} else {
		ASSERT_EQ(MAPS_LOCKLESS_VMA_READ, perms & ~MAPS_LOCKLESS_VMA_WRITE);
		ASSERT_EQ(MAPS_LOCKLESS_FIELD_RANGE | MAPS_LOCKLESS_FIELD_FLAGS |
			  MAPS_LOCKLESS_FIELD_NAME, vma->valid);
		ASSERT_EQ(0, map->file.type);
	}
}

/*
 * The pages around the arena and those in it that stay are in some record, if only
 * in that of a range of which nothing is known.
 */
static void check_what_stays(struct __test_metadata *_metadata,
			     struct race *race, const struct listing *listing)
{
	int i;

	for (i = -1; i <= PAGES; i++) {
		const char *at = race->arena + i * (long)race->page;

		if (i >= 0 && i < PAGES && !stays(i))
			continue;
		ASSERT_EQ(true, find_mapping(listing, at) || is_unknown(listing, at))
			TH_LOG("page %d stays mapped, but is in no record", i);
	}
}

/* A listing that is proved, of a time when nothing was changed, is the model. */
static void check_model(struct __test_metadata *_metadata,
			struct race *race, const struct listing *listing,
			const struct page *pages)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++) {
		const char *at = race->arena + i * race->page;
		const struct mapping *map = find_mapping(listing, at);
		enum kind kind = pages[i].kind, found;
		__u64 offset;

		if (!map)
			found = GONE;
		else if (map->vma.vma_flags & MAPS_LOCKLESS_VMA_FILE)
			found = FILE_PAGE;
		else if (map->vma.vma_flags & MAPS_LOCKLESS_VMA_WRITE)
			found = WRITABLE;
		else
			found = READABLE;
		ASSERT_EQ(kind, found)
			TH_LOG("page %u", i);
		if (kind != FILE_PAGE)
			continue;
		offset = map->vma.offset + ((unsigned long)at - map->vma.start);
		ASSERT_EQ(pages[i].file_page * race->page, offset)
			TH_LOG("page %u", i);
	}
}

TEST_F(races, listings)
{
	struct race *race = &self->race;
	unsigned int listings = 0, changed = 0, proved = 0, same = 0, modelled = 0;
	unsigned int unknown = 0;
	static const size_t sizes[] = { SMALL, MIN, MAX };
	struct listing last = {}, listing;
	struct page pages[PAGES];
	size_t i;

	while (goes_on(race) || (!(changed && modelled && same) &&
				 seconds() < race->until + LONGER)) {
		__u64 before = version(race);
		struct maps_lockless_state first, then;

		ASSERT_EQ(0, get_state(race->fd, &first));
		ASSERT_EQ(0, lseek(race->fd, 0, SEEK_SET));
		/* This looks at order, overlaps, marks, and zeroes. */
		read_listing(_metadata, race->fd, sizes[listings % ARRAY_SIZE(sizes)],
			     &listing);
		ASSERT_EQ(0, get_state(race->fd, &then));
		ASSERT_EQ(MAPS_LOCKLESS_END_COMPLETE, listing.end_reason);
		ASSERT_EQ(MAPS_LOCKLESS_STATUS_LIVE, then.status);
		ASSERT_EQ(listing.mm_id, then.mm_id);
		/* What the state says of two moments goes for all between them. */
		if (first.seq == then.seq && then.seq % 2 == 0) {
			ASSERT_EQ(true, listing.proved);
			ASSERT_EQ(then.seq, listing.seq);
		}
		for (i = 0; i < listing.count; i++)
			check_record(_metadata, race, &listing.maps[i]);
		check_what_stays(_metadata, race, &listing);
		/* A copy, for the mutator may go on any time. */
		memcpy(pages, race->model->pages, sizeof(pages));
		if (listing.proved && before % 2 == 0 && version(race) == before) {
			check_model(_metadata, race, &listing, pages);
			modelled++;
		}
		ASSERT_EQ(true, !last.mm_id || last.mm_id == listing.mm_id);
		if (listing.proved && last.proved && listing.seq == last.seq) {
			ASSERT_EQ(true, same_listing(&listing, &last))
				TH_LOG("the token did not change, the mappings did");
			same++;
		} else if (!same_listing(&listing, &last)) {
			changed++;
		}
		proved += listing.proved;
		unknown += listing.unknowns;
		listings++;
		free_listing(&last);
		last = listing;
	}
	free_listing(&last);
	TH_LOG("%u listings: %u changed, %u proved, %u as by the model, %u with an old token",
	       listings, changed, proved, modelled, same);
	TH_LOG("nothing was known of %u ranges", unknown);
	/* Else nothing was shown. */
	EXPECT_LT(0, changed);
	EXPECT_LT(0, modelled);
	EXPECT_LT(0, same);
	EXPECT_LT(2, version(race));
}

/* A page that stays mapped is found whenever it is looked up, or nothing is known. */
TEST_F(races, lookups)
{
	struct race *race = &self->race;
	__u64 first = version(race);
	unsigned int found = 0, unknown = 0, i = 0;

	while (goes_on(race)) {
		__u64 at = (unsigned long)race->arena + i * race->page;
		const struct maps_lockless_unknown *range;
		const struct maps_lockless_vma *vma;
		const struct record *record;

		pread_batch(_metadata, race->fd, &batch, MIN, at);
		record = next_record(&batch, NULL);
		if (record && record->type == MAPS_LOCKLESS_TYPE_FILE)
			record = next_record(&batch, record);
		ASSERT_NE(NULL, record);
		if (record->type == MAPS_LOCKLESS_TYPE_UNKNOWN) {
			range = (const void *)record;
			ASSERT_EQ(at, range->start);
			unknown++;
		} else {
			vma = (const void *)record;
			ASSERT_EQ(at, vma->start);
			found++;
		}
		i = (i + STAYS) % PAGES;
	}
	TH_LOG("%u lookups found a page, %u nothing that is known", found, unknown);
	EXPECT_LT(0, found);
	EXPECT_LT(first, version(race));
}

/* What stays writable is found by who asks for that, and nothing else unmarked. */
TEST_F(races, selected)
{
	struct race *race = &self->race;
	struct maps_lockless_request request = {
		.size = sizeof(request),
		.vma_flags_all = MAPS_LOCKLESS_VMA_WRITE,
		.start = (unsigned long)race->arena,
		.end = (unsigned long)race->arena + PAGES * race->page,
	};
	unsigned int listings = 0, unasked = 0, missing = 0, i;
	__u64 first = version(race);
	struct listing listing;

	ASSERT_EQ(0, set_request(race->fd, &request));
	while (goes_on(race)) {
		ASSERT_EQ(0, lseek(race->fd, 0, SEEK_SET));
		read_listing(_metadata, race->fd, MAX, &listing);
		for (i = 0; i < listing.count; i++) {
			const struct maps_lockless_vma *vma = &listing.maps[i].vma;

			if (vma->vma_flags & MAPS_LOCKLESS_VMA_WRITE)
				continue;
			ASSERT_NE(0, vma->flags & UNPROVED)
				TH_LOG("not asked for, and not marked");
			ASSERT_EQ(false, listing.proved);
			unasked++;
		}
		for (i = 0; i < PAGES; i += STAYS) {
			const char *at = race->arena + i * race->page;

			if (find_mapping(&listing, at) || is_unknown(&listing, at))
				continue;
			/* On weakly ordered machines, the change count tells. */
			ASSERT_EQ(false, listing.proved);
			missing++;
		}
		listings++;
		free_listing(&listing);
	}
	TH_LOG("%u listings, %u not asked for, %u missing", listings, unasked, missing);
	EXPECT_LT(0, listings);
	EXPECT_LT(first, version(race));
#ifdef __x86_64__
	EXPECT_EQ(0, missing);
#endif
}

FIXTURE(exits)
{
	double until;
};

FIXTURE_SETUP(exits)
{
	ASSERT_NE(NULL, map_alternating(300));
	self->until = end_of_test();
}

FIXTURE_TEARDOWN(exits)
{
}

/* Processes that exit at any moment: each listing says how it ended. */
TEST_F(exits, listings)
{
	unsigned int complete = 0, gone = 0, no_mm = 0, seed = time(NULL);
	/* Microseconds that a process lives. */
	unsigned int most = 1000;
	struct listing listing;

	while (seconds() < self->until ||
	       ((!complete || !gone) && seconds() < self->until + LONGER)) {
		unsigned int delay = rand_r(&seed) % most;
		pid_t pid = fork();
		__u32 end_reason;

		ASSERT_LE(0, pid);
		if (!pid) {
			usleep(delay);
			_exit(0);
		}
		/* Nobody has waited for it: it is there, if as a zombie. */
		do {
			int fd = open_listing(pid);

			ASSERT_LE(0, fd);
			read_listing(_metadata, fd, MIN, &listing);
			switch (listing.end_reason) {
			case MAPS_LOCKLESS_END_COMPLETE:
				complete++;
				ASSERT_LT(300, listing.count);
				break;
			case MAPS_LOCKLESS_END_GONE:
				gone++;
				break;
			default:
				no_mm++;
				ASSERT_EQ(MAPS_LOCKLESS_END_NO_MM, listing.end_reason);
				ASSERT_EQ(0, listing.count);
				break;
			}
			close(fd);
			end_reason = listing.end_reason;
			free_listing(&listing);
		} while (end_reason != MAPS_LOCKLESS_END_NO_MM);
		ASSERT_EQ(0, exit_status(pid));
		/* About as long as it takes to list it. */
		most = complete > gone ? most / 2 + 1000 : most * 2;
	}
	TH_LOG("complete %u, gone %u, no address space %u", complete, gone, no_mm);
	EXPECT_LT(0, complete);
	EXPECT_LT(0, gone);
	EXPECT_LT(0, no_mm);
}

int main(int argc, char **argv)
{
	return run_tests(argc, argv);
}
