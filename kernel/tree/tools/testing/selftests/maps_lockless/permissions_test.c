// SPDX-License-Identifier: GPL-2.0
/*
 * Who may open /proc/PID/maps_lockless, which is who may open maps, and what
 * there is to be read of a kernel thread.
 */
#include "common.h"

#include <dirent.h>
#include <sys/stat.h>

static union batch batch;

/* What a child tells of itself. */
struct shared {
	int euid;
	int counted;
	int refused;
};

FIXTURE(permissions)
{
	struct shared *shared;
};

FIXTURE_SETUP(permissions)
{
	self->shared = mmap(NULL, sizeof(*self->shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->shared);
}

FIXTURE_TEARDOWN(permissions)
{
	munmap(self->shared, sizeof(*self->shared));
}

/* The errno with which nobody fails to open a file of a process, or 0. */
static int open_as_nobody(pid_t pid, const char *name)
{
	pid_t child = fork();

	if (!child) {
		become_nobody();
		_exit(errno_of(open_file(pid, name)));
	}
	return exit_status(child);
}

static void nobody(void *arg)
{
	become_nobody();
	must(!prctl(PR_SET_DUMPABLE, 1), "PR_SET_DUMPABLE");
}

static void undumpable_nobody(void *arg)
{
	become_nobody();
	must(!prctl(PR_SET_DUMPABLE, 0), "PR_SET_DUMPABLE");
}

TEST_F(permissions, owner)
{
	pid_t pid = start_target(_metadata, nobody, NULL);

	EXPECT_EQ(0, open_as_nobody(pid, "maps_lockless"));
	end_target(pid);
}

/* Its owner may not ptrace(2) it. */
TEST_F(permissions, owner_of_undumpable)
{
	pid_t pid = start_target(_metadata, undumpable_nobody, NULL);

	EXPECT_EQ(EACCES, open_as_nobody(pid, "maps"));
	EXPECT_EQ(EACCES, open_as_nobody(pid, "maps_lockless"));
	end_target(pid);
}

TEST_F(permissions, other_user)
{
	pid_t pid;

	if (geteuid())
		SKIP(return, "takes root");
	pid = start_target(_metadata, NULL, NULL);
	EXPECT_EQ(0, errno_of(open_listing(pid)));
	EXPECT_EQ(EACCES, open_as_nobody(pid, "maps"));
	EXPECT_EQ(EACCES, open_as_nobody(pid, "maps_lockless"));
	end_target(pid);
}

/* Asks of each process there is whether it may be looked at by either file. */
static void compare_all(struct shared *shared)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	must(proc, "/proc");
	while ((entry = readdir(proc))) {
		pid_t pid = atoi(entry->d_name);
		int again = 3, old, new;

		if (!pid)
			continue;
		/* One that exits, or becomes another user's, in between is asked again. */
		do {
			int fd = open_file(pid, "maps");

			old = errno_of(fd);
			close(fd);
			fd = open_listing(pid);
			new = errno_of(fd);
			close(fd);
		} while (old != new && again--);
		if (old != new)
			fprintf(stderr, "# PID %d: maps %d, maps_lockless %d\n",
				pid, old, new);
		must(old == new, "maps_lockless differs from maps");
		shared->counted++;
		shared->refused += !!new;
	}
}

TEST_F(permissions, same_as_maps)
{
	bool root = !geteuid();
	int as_nobody;

	for (as_nobody = 0; as_nobody < 2; as_nobody++) {
		pid_t child = fork();

		if (!child) {
			if (as_nobody)
				become_nobody();
			compare_all(self->shared);
			_exit(0);
		}
		EXPECT_EQ(0, exit_status(child));
		EXPECT_LT(0, self->shared->counted);
		/* This process, at least. */
		EXPECT_LE(as_nobody && root, self->shared->refused);
	}
}

/* Access is checked at open(2): who is given a descriptor may read by it. */
TEST_F(permissions, descriptor_passed_on)
{
	int fd = open_listing(getpid());
	pid_t child;

	ASSERT_LE(0, fd);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		become_nobody();
		must(read(fd, &batch, MAX) > (ssize_t)HEADER, "read");
		_exit(0);
	}
	EXPECT_EQ(0, exit_status(child));
	EXPECT_LT(0, position(fd));
	close(fd);
}

static bool copy_program(const char *to)
{
	int in = open("/proc/self/exe", O_RDONLY), out, len;
	bool well;

	out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0700);
	while ((len = read(in, &batch, sizeof(batch))) > 0)
		if (write(out, &batch, len) != len)
			break;
	well = in >= 0 && out >= 0 && !len && !fchmod(out, 04755);
	close(in);
	close(out);
	return well;
}

/*
 * Whoever was allowed to look at a process is not any more once it has become
 * another user's, not even by what was open.
 */
TEST_F(permissions, execve_of_setuid_program)
{
	char path[] = "/tmp/maps_lockless.XXXXXX", program[64];
	int go[2], euid[2];
	__u64 mm_id;
	char byte = 0;
	pid_t pid, reader;

	if (geteuid())
		SKIP(return, "takes root");
	ASSERT_NE(NULL, mkdtemp(path));
	ASSERT_EQ(0, chmod(path, 0755));
	snprintf(program, sizeof(program), "%s/setuid", path);
	ASSERT_EQ(true, copy_program(program));
	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, pipe(euid));

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		nobody(NULL);
		must(write(euid[1], "", 1) == 1, "write");
		must(read(go[0], &byte, 1) == 1, "read");
		must(dup2(euid[1], STDOUT_FILENO) == STDOUT_FILENO, "dup2");
		execl(program, program, "wait", NULL);
		must(false, program);
	}
	ASSERT_EQ(1, read(euid[0], &byte, 1));

	/* The reader is nobody when it opens the file, and when it reads. */
	reader = fork();
	ASSERT_LE(0, reader);
	if (!reader) {
		struct maps_lockless_state state;
		int fd;

		become_nobody();
		fd = open_listing(pid);
		must(fd >= 0, "open");
		must(read(fd, &batch, MIN) > (ssize_t)HEADER, "read");
		mm_id = batch.header.mm_id;
		lseek(fd, 0, SEEK_SET);
		must(write(go[1], "", 1) == 1, "write");
		must(read(euid[0], &byte, 1) == 1, "read");
		/* It tells whose it is now. */
		self->shared->euid = byte;
		if (byte)
			_exit(0);
		must(!get_state(fd, &state), "state");
		must(state.status == MAPS_LOCKLESS_STATUS_GONE, "state not gone");
		must(state.mm_id == mm_id && !state.vma_count, "the new one's state");
		must(read(fd, &batch, MAX) == batch.header.header_size, "read");
		must(batch.header.end_reason == MAPS_LOCKLESS_END_GONE, "not gone");
		must(!batch.header.count && batch.header.mm_id == mm_id, "the new one");
		must(errno_of(open_file(pid, "maps")) == EACCES, "maps");
		must(errno_of(open_listing(pid)) == EACCES, "open anew");
		_exit(0);
	}
	EXPECT_EQ(0, exit_status(reader));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unlink(program);
	rmdir(path);
	if (self->shared->euid)
		SKIP(return, "/tmp is mounted nosuid");
}

/* kthreadd. */
TEST_F(permissions, kernel_thread)
{
	struct maps_lockless_state state;
	char name[16] = "";
	int fd;

	fd = open_file(2, "comm");
	if (fd < 0 || read(fd, name, sizeof(name)) <= 0 || strcmp(name, "kthreadd\n"))
		SKIP(return, "PID 2 is no kernel thread here");
	close(fd);
	fd = open_listing(2);
	if (fd < 0 && errno == EACCES)
		SKIP(return, "takes root");
	ASSERT_LE(0, fd);

	ASSERT_EQ(0, get_state(fd, &state));
	EXPECT_EQ(MAPS_LOCKLESS_STATUS_NO_MM, state.status);
	EXPECT_EQ(page_size(), state.page_size);
	EXPECT_EQ(0, state.mm_id);
	EXPECT_EQ(0, state.seq);
	EXPECT_EQ(0, state.vma_count);
	EXPECT_EQ(0, position(fd));
	read_batch(_metadata, fd, &batch, MAX);
	EXPECT_EQ(MAPS_LOCKLESS_END_NO_MM, batch.header.end_reason);
	EXPECT_EQ(MAPS_LOCKLESS_NEXT_NONE, batch.header.next);
	EXPECT_EQ(0, batch.header.count);
	EXPECT_EQ(0, batch.header.mm_id);
	EXPECT_EQ(0, batch.header.seq_begin);
	EXPECT_EQ(0, batch.header.seq_end);
	EXPECT_EQ(0, batch.header.vma_count);
	EXPECT_EQ(0, read(fd, &batch, MAX));
	close(fd);
}

int main(int argc, char **argv)
{
	/* What the set-user-ID program is. */
	if (argc == 2 && !strcmp(argv[1], "wait")) {
		char other = !!geteuid();

		must(write(STDOUT_FILENO, &other, 1) == 1, "write");
		for (;;)
			pause();
	}
	return run_tests(argc, argv);
}
