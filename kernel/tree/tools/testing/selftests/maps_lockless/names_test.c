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

/* Lists this process anew, and returns the record of an address. */
static const struct mapping *find(struct __test_metadata *_metadata,
				  struct place *place, const void *at)
{
	const struct mapping *map;

	free_listing(&place->listing);
	ASSERT_EQ(0, lseek(place->fd, 0, SEEK_SET));
	/* A buffer of this size never fails for want of room. */
	read_listing(_metadata, place->fd, MIN, &place->listing);
	map = find_mapping(&place->listing, at);
	ASSERT_NE(NULL, map);
	EXPECT_EQ(0, map->vma.flags);
	return map;
}

/* Checks the name that a mapping has itself. It has @len bytes. */
static void expect_name(struct __test_metadata *_metadata,
			const struct mapping *map, __u16 kind, const char *name,
			size_t len)
{
	EXPECT_NE(0, map->vma.valid & MAPS_LOCKLESS_FIELD_NAME);
	EXPECT_EQ(kind, map->vma.name_kind);
	ASSERT_EQ(len, map->vma.name_len)
		TH_LOG("'%s', not '%s'", map->name, name);
	EXPECT_EQ(0, memcmp(map->name, name, len))
		TH_LOG("'%s', not '%s'", map->name, name);
}

/* As expect_name(), of a mapping of no file. */
static void expect_anonymous(struct __test_metadata *_metadata, struct place *place,
			     const void *at, __u16 kind, const char *name)
{
	const struct mapping *map = find(_metadata, place, at);

	expect_name(_metadata, map, kind, name, strlen(name));
	EXPECT_EQ(0, map->file.type);
}

/* Checks the path of the file that a mapping maps. It has @len bytes. */
static void expect_path(struct __test_metadata *_metadata,
			const struct mapping *map, const char *path, size_t len,
			__u32 flags)
{
	const __u64 known = MAPS_LOCKLESS_FIELD_PATH | MAPS_LOCKLESS_FIELD_DELETED;

	ASSERT_EQ(MAPS_LOCKLESS_TYPE_FILE, map->file.type);
	EXPECT_EQ(known, map->file.valid & known);
	EXPECT_EQ(flags, map->file.flags);
	ASSERT_EQ(len, map->file.path_len)
		TH_LOG("'%s', not '%s'", map->path, path);
	EXPECT_EQ(0, memcmp(map->path, path, len))
		TH_LOG("'%s', not '%s'", map->path, path);
}

/* Checks the record of a file in the fixture's folder, which has no other name. */
static void expect_file(struct __test_metadata *_metadata,
			struct place *place, const void *at,
			const char *name, __u32 flags)
{
	const struct mapping *map = find(_metadata, place, at);
	char path[PATH_MAX];
	int len = snprintf(path, sizeof(path), "%s/%s", place->dir, name);

	expect_name(_metadata, map, MAPS_LOCKLESS_NAME_NONE, "", 0);
	expect_path(_metadata, map, path, len, flags);
}

/* Maps a file of this name, and finds it. */
static void try_path(struct __test_metadata *_metadata,
		     struct place *place, const char *name)
{
	void *at = map_file(place->dir_fd, name);

	ASSERT_NE(MAP_FAILED, at);
	expect_file(_metadata, place, at, name, 0);
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
	expect_file(_metadata, place, at, "first", 0);
	ASSERT_EQ(0, renameat(place->dir_fd, "first", place->dir_fd, "second"));
	expect_file(_metadata, place, at, "second", 0);
	ASSERT_EQ(0, unlinkat(place->dir_fd, "second", 0));
	expect_file(_metadata, place, at, "second", MAPS_LOCKLESS_FILE_DELETED);
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
	map = find(_metadata, place, at);
	expect_name(_metadata, map, MAPS_LOCKLESS_NAME_NONE, "", 0);
	ASSERT_EQ(MAPS_LOCKLESS_TYPE_FILE, map->file.type);
	if (len < PATH_MAX) {
		EXPECT_EQ(0, map->file.flags);
		ASSERT_EQ(len, map->file.path_len);
		EXPECT_EQ(0, strncmp(map->path, place->dir, strlen(place->dir)));
		EXPECT_STREQ(name, map->path + dir_len + 1);
	} else {
		EXPECT_EQ(MAPS_LOCKLESS_FILE_PATH_TOO_LONG, map->file.flags);
		EXPECT_EQ(0, map->file.valid & MAPS_LOCKLESS_FIELD_PATH);
		/* The rest stands. */
		EXPECT_NE(0, map->file.ino);
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

/* The mappings of one open file refer to one record of it. */
TEST_F(names, once_in_a_batch)
{
	struct place *place = &self->place;
	static union batch batch;
	const struct maps_lockless_vma *vma;
	unsigned long page = page_size();
	unsigned int found = 0;
	struct stat st;
	__u32 told = 0;
	char *at;
	int fd, i;

	fd = openat(place->dir_fd, "shared", O_RDWR | O_CREAT, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fstat(fd, &st));
	ASSERT_EQ(0, ftruncate(fd, 20 * page));
	at = mmap(NULL, 20 * page, PROT_NONE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, at);
	for (i = 0; i < 20; i += 2)
		ASSERT_EQ(0, mprotect(at + i * page, page, PROT_READ));

	pread_batch(_metadata, place->fd, &batch, MAX, (unsigned long)at);
	for_each_vma(vma, &batch) {
		if (vma->start >= (unsigned long)(at + 20 * page))
			break;
		ASSERT_NE(0, vma->file);
		if (!found)
			told = vma->file;
		EXPECT_EQ(told, vma->file);
		EXPECT_EQ(st.st_ino, file_of(&batch, vma)->ino);
		EXPECT_EQ(found++ * page, vma->offset);
	}
	EXPECT_EQ(20, found);
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
	const struct mapping *map;
	char longest[80];

	ASSERT_NE(MAP_FAILED, private);
	ASSERT_NE(MAP_FAILED, shared);
	memset(longest, 'n', sizeof(longest));
	longest[79] = 0;
	if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, private, page_size(), "x") &&
	    errno == EINVAL)
		SKIP(return, "no CONFIG_ANON_VMA_NAME");
	expect_anonymous(_metadata, place, private, MAPS_LOCKLESS_NAME_ANON, "x");

	/* These the kernel refuses, so that there is nothing to escape. */
	EXPECT_EQ(EINVAL, errno_of(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, private,
					 page_size(), name)));
	ASSERT_EQ(0, prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, private, page_size(),
			   "a (name) ~!"));
	expect_anonymous(_metadata, place, private, MAPS_LOCKLESS_NAME_ANON,
			 "a (name) ~!");
	ASSERT_EQ(0, prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, private, page_size(),
			   longest));
	expect_anonymous(_metadata, place, private, MAPS_LOCKLESS_NAME_ANON, longest);
	ASSERT_EQ(0, prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, private, page_size(),
			   NULL));
	expect_anonymous(_metadata, place, private, MAPS_LOCKLESS_NAME_NONE, "");

	/* The file that is behind it is told besides. */
	ASSERT_EQ(0, prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, shared, page_size(),
			   "of all"));
	map = find(_metadata, place, shared);
	expect_name(_metadata, map, MAPS_LOCKLESS_NAME_ANON_SHMEM, "of all", 6);
	expect_path(_metadata, map, "/dev/zero", 9, MAPS_LOCKLESS_FILE_DELETED);
	munmap(private, page_size());
	munmap(shared, page_size());
}

TEST_F(names, memfd)
{
	struct place *place = &self->place;
	static const char name[] = "/memfd:a\nname (deleted)";
	int fd = syscall(__NR_memfd_create, name + strlen("/memfd:"), 0);
	const struct mapping *map;
	void *at;

	if (fd < 0)
		SKIP(return, "memfd_create: %m");
	ASSERT_EQ(0, ftruncate(fd, page_size()));
	at = mmap(NULL, page_size(), PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, at);
	map = find(_metadata, place, at);
	expect_name(_metadata, map, MAPS_LOCKLESS_NAME_NONE, "", 0);
	expect_path(_metadata, map, name, strlen(name), MAPS_LOCKLESS_FILE_DELETED);
	munmap(at, page_size());
	close(fd);
}

TEST_F(names, anonymous)
{
	struct place *place = &self->place;
	void *private = map_anonymous(MAP_PRIVATE);
	void *shared = map_anonymous(MAP_SHARED);
	const struct mapping *map;

	ASSERT_NE(MAP_FAILED, private);
	ASSERT_NE(MAP_FAILED, shared);
	expect_anonymous(_metadata, place, private, MAPS_LOCKLESS_NAME_NONE, "");
	map = find(_metadata, place, shared);
	expect_name(_metadata, map, MAPS_LOCKLESS_NAME_NONE, "", 0);
	expect_path(_metadata, map, "/dev/zero", 9, MAPS_LOCKLESS_FILE_DELETED);
	munmap(private, page_size());
	munmap(shared, page_size());
}

TEST_F(names, heap_stack_vdso)
{
	struct place *place = &self->place;
	char on_stack = 0, *heap = sbrk(0);
	unsigned long vdso = getauxval(AT_SYSINFO_EHDR);

	ASSERT_EQ(0, brk(heap + 2 * page_size()));
	expect_anonymous(_metadata, place, heap + page_size(), MAPS_LOCKLESS_NAME_HEAP,
			 "");
	expect_anonymous(_metadata, place, &on_stack, MAPS_LOCKLESS_NAME_STACK, "");
	if (vdso)
		expect_anonymous(_metadata, place, (void *)vdso,
				 MAPS_LOCKLESS_NAME_SPECIAL, "[vdso]");
}

int main(int argc, char **argv)
{
	return run_tests(argc, argv);
}
