// SPDX-License-Identifier: GPL-2.0
/* The names that /proc/PID/maps_lockless tells, which are raw bytes. */
#include "common.h"

#include <linux/limits.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

/* A folder that makes a path longer than PATH_MAX where it is nested so deep. */
#define STEP 200
#define DEEP (PATH_MAX / STEP + 2)

/* A folder for the files, and what of this process was listed last. */
struct place {
	char dir[32];
	int dir_fd;
	int fd;
	struct listing listing;
};

FIXTURE(names)
{
	struct place place;
};

FIXTURE_SETUP(names)
{
	struct place *place = &self->place;

	snprintf(place->dir, sizeof(place->dir), "/tmp/maps_lockless.XXXXXX");
	ASSERT_NE(NULL, mkdtemp(place->dir));
	place->dir_fd = open(place->dir, O_PATH | O_DIRECTORY);
	ASSERT_LE(0, place->dir_fd);
	place->fd = open_listing(getpid());
	ASSERT_LE(0, place->fd);
}

FIXTURE_TEARDOWN(names)
{
	struct place *place = &self->place;

	close(place->fd);
	close(place->dir_fd);
	rmdir(place->dir);
	free_listing(&place->listing);
}

/* Maps a page of a new file of this name, in @dir_fd. */
static void *map_file(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL, 0600);
	void *at;

	if (fd < 0)
		return MAP_FAILED;
	if (ftruncate(fd, page_size()))
		return MAP_FAILED;
	at = mmap(NULL, page_size(), PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	return at;
}

static void *map_anonymous(int flags)
{
	return mmap(NULL, page_size(), PROT_READ, flags | MAP_ANONYMOUS, -1, 0);
}

/* Checks the record of an address. @name has @len bytes. */
static void expect_name(struct __test_metadata *_metadata,
			struct place *place, const void *at, __u32 kind,
			const char *name, size_t len, __u32 flags)
{
	const struct mapping *map;

	free_listing(&place->listing);
	ASSERT_EQ(0, lseek(place->fd, 0, SEEK_SET));
	/* A buffer of this size never fails for want of room. */
	read_listing(_metadata, place->fd, MIN, &place->listing);
	map = find_mapping(&place->listing, at);
	ASSERT_NE(NULL, map);
	EXPECT_NE(0, map->vma.valid & MAPS_LOCKLESS_FIELD_NAME);
	EXPECT_EQ(kind, map->vma.name_kind);
	EXPECT_EQ(flags, map->vma.flags);
	ASSERT_EQ(len, map->vma.name_len)
		TH_LOG("'%s', not '%s'", map->name, name);
	EXPECT_EQ(0, memcmp(map->name, name, len))
		TH_LOG("'%s', not '%s'", map->name, name);
}

/* As expect_name(), of a file in the fixture's folder. */
static void expect_path(struct __test_metadata *_metadata,
			struct place *place, const void *at,
			const char *name, __u32 flags)
{
	char path[PATH_MAX];
	int len = snprintf(path, sizeof(path), "%s/%s", place->dir, name);

	expect_name(_metadata, place, at, MAPS_LOCKLESS_NAME_PATH, path, len, flags);
}

/* Maps a file of this name, and finds it. */
static void try_path(struct __test_metadata *_metadata,
		     struct place *place, const char *name)
{
	void *at = map_file(place->dir_fd, name);

	ASSERT_NE(MAP_FAILED, at);
	expect_path(_metadata, place, at, name, 0);
	munmap(at, page_size());
	ASSERT_EQ(0, unlinkat(place->dir_fd, name, 0));
}

TEST_F(names, special_characters_are_raw)
{
	struct place *place = &self->place;
	static const char * const names[] = {
		"plain", "new\nline", "\n", " space ", "tab\t", "back\\slash",
		"\\012", "[heap]", "[anon:x]", "anon_inode:[x]", "\x01\x7f\x80\xff",
		"not \xc3 UTF-8", "real (deleted)", " (deleted)",
	};
	char all[256];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		try_path(_metadata, place, names[i]);
	/* Every byte that a name may have. */
	for (i = 0; i < 254; i++)
		all[i] = i + 1 < '/' ? i + 1 : i + 2;
	all[254] = 0;
	try_path(_metadata, place, all);
}

TEST_F(names, deleted_and_renamed)
{
	struct place *place = &self->place;
	void *at = map_file(place->dir_fd, "first");

	ASSERT_NE(MAP_FAILED, at);
	expect_path(_metadata, place, at, "first", 0);
	ASSERT_EQ(0, renameat(place->dir_fd, "first", place->dir_fd, "second"));
	expect_path(_metadata, place, at, "second", 0);
	ASSERT_EQ(0, unlinkat(place->dir_fd, "second", 0));
	expect_path(_metadata, place, at, "second", MAPS_LOCKLESS_REC_DELETED);
	munmap(at, page_size());
}

/* Maps a file whose path has @len bytes, in a folder whose path has @dir_len. */
static void try_length(struct __test_metadata *_metadata,
		       struct place *place, int dir_fd, size_t dir_len,
		       size_t len)
{
	char name[NAME_MAX + 1] = "";
	const struct mapping *map;
	void *at;

	memset(name, 'y', len - dir_len - 1);
	at = map_file(dir_fd, name);
	ASSERT_NE(MAP_FAILED, at);
	free_listing(&place->listing);
	ASSERT_EQ(0, lseek(place->fd, 0, SEEK_SET));
	read_listing(_metadata, place->fd, MIN, &place->listing);
	map = find_mapping(&place->listing, at);
	ASSERT_NE(NULL, map);
	if (len < PATH_MAX) {
		EXPECT_EQ(0, map->vma.flags);
		ASSERT_EQ(len, map->vma.name_len);
		EXPECT_EQ(0, strncmp(map->name, place->dir, strlen(place->dir)));
		EXPECT_STREQ(name, map->name + dir_len + 1);
	} else {
		EXPECT_EQ(MAPS_LOCKLESS_REC_NAME_TOO_LONG, map->vma.flags);
		EXPECT_EQ(0, map->vma.valid & MAPS_LOCKLESS_FIELD_NAME);
		/* The rest stands. */
		EXPECT_NE(0, map->vma.ino);
	}
	munmap(at, page_size());
	ASSERT_EQ(0, unlinkat(dir_fd, name, 0));
}

TEST_F(names, very_long)
{
	struct place *place = &self->place;
	size_t len = strlen(place->dir);
	char step[STEP + 1] = "";
	int fds[DEEP + 1], depth;

	memset(step, 'x', STEP);
	fds[0] = place->dir_fd;
	for (depth = 0; depth < DEEP; depth++) {
		try_length(_metadata, place, fds[depth], len, len + 10);
		/* The last that there is room for, and the first that there is none for. */
		if (len + 1 < PATH_MAX - 1 && len + 1 + NAME_MAX >= PATH_MAX) {
			try_length(_metadata, place, fds[depth], len, PATH_MAX - 1);
			try_length(_metadata, place, fds[depth], len, PATH_MAX);
		}
		ASSERT_EQ(0, mkdirat(fds[depth], step, 0700));
		fds[depth + 1] = openat(fds[depth], step, O_PATH | O_DIRECTORY);
		ASSERT_LE(0, fds[depth + 1]);
		len += 1 + STEP;
	}
	EXPECT_LT(PATH_MAX, len);
	while (depth--) {
		close(fds[depth + 1]);
		unlinkat(fds[depth], step, AT_REMOVEDIR);
	}
}

/* The mappings of one open file refer to one copy of its name. */
TEST_F(names, once_in_a_batch)
{
	struct place *place = &self->place;
	static union batch batch;
	const struct maps_lockless_vma *vma;
	unsigned int found = 0, with_bytes = 0;
	unsigned long page = page_size();
	__u32 name_off = 0;
	char *at;
	int fd, i;

	fd = openat(place->dir_fd, "shared", O_RDWR | O_CREAT, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 20 * page));
	at = mmap(NULL, 20 * page, PROT_NONE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, at);
	for (i = 0; i < 20; i += 2)
		ASSERT_EQ(0, mprotect(at + i * page, page, PROT_READ));

	pread_batch(_metadata, place->fd, &batch, MAX, (unsigned long)at);
	for_each_record(vma, &batch) {
		if (vma->start >= (unsigned long)(at + 20 * page))
			break;
		if (!found++)
			name_off = vma->name_off;
		EXPECT_EQ(name_off, vma->name_off);
		with_bytes += vma->size > vma->fixed_size;
	}
	EXPECT_EQ(20, found);
	EXPECT_EQ(1, with_bytes);
	munmap(at, 20 * page);
	close(fd);
	unlinkat(place->dir_fd, "shared", 0);
}

TEST_F(names, given_by_prctl)
{
	struct place *place = &self->place;
	static const char name[] = "a name, with (everything) but <$[]\\`>";
	void *private = map_anonymous(MAP_PRIVATE);
	void *shared = map_anonymous(MAP_SHARED);
	char longest[80];

	ASSERT_NE(MAP_FAILED, private);
	ASSERT_NE(MAP_FAILED, shared);
	memset(longest, 'n', sizeof(longest));
	longest[79] = 0;
	if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, private, page_size(), "x") &&
	    errno == EINVAL)
		SKIP(return, "no CONFIG_ANON_VMA_NAME");
	expect_name(_metadata, place, private, MAPS_LOCKLESS_NAME_ANON, "x", 1, 0);

	/* These the kernel refuses, so that there is nothing to escape. */
	EXPECT_EQ(EINVAL, errno_of(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, private,
					 page_size(), name)));
	ASSERT_EQ(0, prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, private, page_size(),
			   "a (name) ~!"));
	expect_name(_metadata, place, private, MAPS_LOCKLESS_NAME_ANON,
		    "a (name) ~!", 11, 0);
	ASSERT_EQ(0, prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, private, page_size(),
			   longest));
	expect_name(_metadata, place, private, MAPS_LOCKLESS_NAME_ANON, longest, 79, 0);
	ASSERT_EQ(0, prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, private, page_size(),
			   NULL));
	expect_name(_metadata, place, private, MAPS_LOCKLESS_NAME_NONE, "", 0, 0);

	ASSERT_EQ(0, prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, shared, page_size(),
			   "of all"));
	expect_name(_metadata, place, shared, MAPS_LOCKLESS_NAME_ANON_SHMEM, "of all", 6,
		    0);
	munmap(private, page_size());
	munmap(shared, page_size());
}

TEST_F(names, memfd)
{
	struct place *place = &self->place;
	static const char name[] = "/memfd:a\nname (deleted)";
	int fd = syscall(__NR_memfd_create, name + strlen("/memfd:"), 0);
	void *at;

	if (fd < 0)
		SKIP(return, "memfd_create: %m");
	ASSERT_EQ(0, ftruncate(fd, page_size()));
	at = mmap(NULL, page_size(), PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, at);
	expect_name(_metadata, place, at, MAPS_LOCKLESS_NAME_PATH, name,
		    strlen(name), MAPS_LOCKLESS_REC_DELETED);
	munmap(at, page_size());
	close(fd);
}

TEST_F(names, anonymous)
{
	struct place *place = &self->place;
	void *private = map_anonymous(MAP_PRIVATE);
	void *shared = map_anonymous(MAP_SHARED);

	ASSERT_NE(MAP_FAILED, private);
	ASSERT_NE(MAP_FAILED, shared);
	expect_name(_metadata, place, private, MAPS_LOCKLESS_NAME_NONE, "", 0, 0);
	expect_name(_metadata, place, shared, MAPS_LOCKLESS_NAME_PATH, "/dev/zero", 9,
		    MAPS_LOCKLESS_REC_DELETED);
	munmap(private, page_size());
	munmap(shared, page_size());
}

TEST_F(names, heap_stack_vdso)
{
	struct place *place = &self->place;
	char on_stack = 0, *heap = sbrk(0);
	unsigned long vdso = getauxval(AT_SYSINFO_EHDR);

	ASSERT_EQ(0, brk(heap + 2 * page_size()));
	expect_name(_metadata, place, heap + page_size(), MAPS_LOCKLESS_NAME_HEAP, "", 0,
		    0);
	expect_name(_metadata, place, &on_stack, MAPS_LOCKLESS_NAME_STACK, "", 0, 0);
	if (vdso)
		expect_name(_metadata, place, (void *)vdso, MAPS_LOCKLESS_NAME_SPECIAL,
			    "[vdso]", 6, 0);
}

int main(int argc, char **argv)
{
	return run_tests(argc, argv);
}
