// SPDX-License-Identifier: GPL-2.0
/*
 * Fields of /proc/PID/maps_lockless that maps does not show: the size of pages,
 * protection keys, and whether that a file was deleted is known.
 */
#include "common.h"

#define HUGE_SHIFT 21
#define HUGE_PAGES "/proc/sys/vm/nr_hugepages"

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

FIXTURE(fields)
{
	/* This process, as it was listed last. */
	int fd;
	struct listing listing;
};

FIXTURE_SETUP(fields)
{
	self->fd = open_listing(getpid());
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(fields)
{
	free_listing(&self->listing);
	close(self->fd);
}

/* The fields that the kernel can fill. */
static __u64 supported(struct __test_metadata *_metadata, int fd)
{
	struct maps_lockless_state state;

	ASSERT_EQ(0, get_state(fd, &state));
	return state.fields_supported;
}

/* Asks for some fields, and returns the record of an address. */
static const struct mapping *ask(struct __test_metadata *_metadata, int fd,
				 struct listing *listing, __u64 fields, void *at)
{
	struct maps_lockless_request request = want(fields);
	const struct mapping *map;

	free_listing(listing);
	ASSERT_EQ(0, set_request(fd, &request));
	ASSERT_EQ(0, lseek(fd, 0, SEEK_SET));
	read_listing(_metadata, fd, MAX, listing);
	map = find_mapping(listing, at);
	ASSERT_NE(NULL, map);
	return map;
}

static void expect_page_size(struct __test_metadata *_metadata, int fd,
			     struct listing *listing, void *at, unsigned long size)
{
	const struct mapping *map = ask(_metadata, fd, listing,
					MAPS_LOCKLESS_FIELD_PAGE_SIZE, at);

	EXPECT_NE(0, map->vma.valid & MAPS_LOCKLESS_FIELD_PAGE_SIZE);
	EXPECT_EQ(size, 1UL << map->vma.page_shift);
}

TEST_F(fields, page_size)
{
	static int of_file = 1;
	int on_stack = 0;

	expect_page_size(_metadata, self->fd, &self->listing, &on_stack, page_size());
	expect_page_size(_metadata, self->fd, &self->listing, &of_file, page_size());
}

/* Sets how many huge pages there are. Returns how many there were, or -1. */
static int set_huge_pages(int count)
{
	FILE *file = fopen(HUGE_PAGES, "r+");
	int before = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%d", &before) == 1) {
		rewind(file);
		fprintf(file, "%d\n", count);
	}
	fclose(file);
	return before;
}

static void *map_huge(void)
{
	return mmap(NULL, 1UL << HUGE_SHIFT, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
		    MAP_HUGETLB | HUGE_SHIFT << MAP_HUGE_SHIFT, -1, 0);
}

TEST_F(fields, page_size_of_huge_pages)
{
	void *at = map_huge();
	int before = -1;

	/* Perhaps none is reserved. */
	if (at == MAP_FAILED) {
		before = set_huge_pages(2);
		at = map_huge();
		if (before >= 0)
			set_huge_pages(before);
	}
	if (at == MAP_FAILED)
		SKIP(return, "no huge page of 2 MiB can be had: %m");
	expect_page_size(_metadata, self->fd, &self->listing, at, 1UL << HUGE_SHIFT);
	munmap(at, 1UL << HUGE_SHIFT);
}

TEST_F(fields, protection_key)
{
	__u64 can = supported(_metadata, self->fd) & MAPS_LOCKLESS_FIELD_PKEY;
	unsigned long page = page_size();
	const struct mapping *map;
	int key;
	char *at;

	at = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		  -1, 0);
	ASSERT_NE(MAP_FAILED, at);
	key = pkey_alloc(0, 0);
	if (key < 0) {
		int error = errno;
		size_t i;

		ask(_metadata, self->fd, &self->listing,
		    can | MAPS_LOCKLESS_FIELD_RANGE, at);
		for (i = 0; i < self->listing.count; i++)
			ASSERT_EQ(0, self->listing.maps[i].vma.pkey);
		SKIP(return, "no protection key can be had: %s", strerror(error));
	}
	ASSERT_NE(0, can);
	ASSERT_LT(0, key);
	ASSERT_EQ(0, pkey_mprotect(at, page, PROT_READ, key));
	map = ask(_metadata, self->fd, &self->listing, can, at);
	EXPECT_NE(0, map->vma.valid & MAPS_LOCKLESS_FIELD_PKEY);
	EXPECT_EQ(key, map->vma.pkey);
	/* The page behind has that of all others. */
	map = find_mapping(&self->listing, at + page);
	ASSERT_NE(NULL, map);
	EXPECT_NE(0, map->vma.valid & MAPS_LOCKLESS_FIELD_PKEY);
	EXPECT_EQ(0, map->vma.pkey);
	munmap(at, 2 * page);
	pkey_free(key);
}

static void expect_deleted(struct __test_metadata *_metadata, int fd,
			   struct listing *listing, void *at, bool deleted)
{
	const __u64 field = MAPS_LOCKLESS_FIELD_DELETED;
	const struct mapping *map;

	map = ask(_metadata, fd, listing, MAPS_LOCKLESS_FIELDS_MAPS, at);
	EXPECT_EQ(field, map->file.valid & field);
	EXPECT_EQ(deleted ? MAPS_LOCKLESS_FILE_DELETED : 0, map->file.flags);
	/* It is known by itself, too. */
	map = ask(_metadata, fd, listing, field, at);
	EXPECT_EQ(field, map->file.valid);
	EXPECT_EQ(deleted ? MAPS_LOCKLESS_FILE_DELETED : 0, map->file.flags);
	/* Who does not ask is told nothing, which is not that it is there. */
	map = ask(_metadata, fd, listing, MAPS_LOCKLESS_FIELDS_MAPS & ~field, at);
	EXPECT_NE(0, map->file.valid);
	EXPECT_EQ(0, map->file.valid & field);
	EXPECT_EQ(0, map->file.flags);
}

TEST_F(fields, deleted)
{
	char path[] = "/tmp/maps_lockless.XXXXXX";
	int fd = mkstemp(path);
	void *at;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, page_size()));
	at = mmap(NULL, page_size(), PROT_READ, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, at);
	expect_deleted(_metadata, self->fd, &self->listing, at, false);
	ASSERT_EQ(0, unlink(path));
	expect_deleted(_metadata, self->fd, &self->listing, at, true);
	munmap(at, page_size());
	close(fd);
}

int main(int argc, char **argv)
{
	return run_tests(argc, argv);
}
