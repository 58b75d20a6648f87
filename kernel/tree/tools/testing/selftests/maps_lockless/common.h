/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests of /proc/PID/maps_lockless share. */
#ifndef __MAPS_LOCKLESS_COMMON_H
#define __MAPS_LOCKLESS_COMMON_H

#include "kselftest_harness.h"

#include "batch.h"
#include "listing.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>

/* linux/fs.h has it since Linux 6.11. The C library's may be older. */
#ifndef PROCFS_IOCTL_MAGIC
#define PROCFS_IOCTL_MAGIC 'f'
#endif

#define HEADER	sizeof(struct maps_lockless_batch)
#define RECORD	sizeof(struct maps_lockless_vma)
/* A smaller buffer is refused, whatever there is to be read. */
#define LEAST	(MAPS_LOCKLESS_BATCH_SIZE_VER0 + MAPS_LOCKLESS_VMA_SIZE_VER0)

/* Who may do nothing. */
#define NOBODY	65534

/* A kernel with all its checks is slow, and an emulated one even more so. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	150

#define UNPROVED	(MAPS_LOCKLESS_REC_UNSTABLE | MAPS_LOCKLESS_REC_WITHHELD)

/* The errno that a call failed with, or 0. */
static inline int errno_of(long ret)
{
	return ret < 0 ? errno : 0;
}

static inline double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static inline int open_file(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static inline int open_listing(pid_t pid)
{
	return open_file(pid, "maps_lockless");
}

/* A request for these fields of all VMAs. */
static inline struct maps_lockless_request want(__u64 fields)
{
	return (struct maps_lockless_request) {
		.size = sizeof(struct maps_lockless_request),
		.fields_wanted = fields,
	};
}

static inline int set_request(int fd, struct maps_lockless_request *request)
{
	return ioctl(fd, MAPS_LOCKLESS_SET_REQUEST, request);
}

/* Whatever the struct held, it is answered in full. */
static inline int get_request(int fd, struct maps_lockless_request *request)
{
	memset(request, 0xaa, sizeof(*request));
	request->size = sizeof(*request);
	request->reserved = 0;
	return ioctl(fd, MAPS_LOCKLESS_GET_REQUEST, request);
}

/* As get_request(). */
static inline int get_state(int fd, struct maps_lockless_state *state)
{
	memset(state, 0xaa, sizeof(*state));
	state->size = sizeof(*state);
	state->reserved = 0;
	return ioctl(fd, MAPS_LOCKLESS_GET_STATE, state);
}

/* Ends a child unless all is well. */
static inline void must(bool well, const char *what)
{
	if (!well) {
		perror(what);
		_exit(KSFT_FAIL);
	}
}

/* Forks a process that runs @setup and waits to be killed. */
static inline pid_t start_target(struct __test_metadata *_metadata,
				 void (*setup)(void *arg), void *arg)
{
	int ready[2];
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setup)
			setup(arg);
		must(write(ready[1], "", 1) == 1, "write");
		for (;;)
			pause();
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	close(ready[0]);
	return pid;
}

/* Kills a process and waits until it is gone, unless that was done already. */
static inline void end_target(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Waits for a child that says by its exit status whether all was well. */
static inline int exit_status(pid_t pid)
{
	int status = 0;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* Root becomes a user who may do nothing. Others stay who they are. */
static inline void become_nobody(void)
{
	if (geteuid())
		return;
	must(!setresgid(NOBODY, NOBODY, NOBODY), "setresgid");
	must(!setresuid(NOBODY, NOBODY, NOBODY), "setresuid");
}

/*
 * Maps @count VMAs of one page each, the second, fourth... of which are writable,
 * between two pages without access. Returns where the first one is.
 */
static inline char *map_alternating(size_t count)
{
	unsigned long page = page_size();
	char *at;
	size_t i;

	at = mmap(NULL, (count + 2) * page, PROT_NONE,
		  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	at += page;
	for (i = 0; i < count; i++) {
		int prot = i % 2 ? PROT_READ | PROT_WRITE : PROT_READ;

		if (mprotect(at + i * page, page, prot))
			return NULL;
	}
	return at;
}

/* What main() does: runs the tests, unless the kernel has no such file. */
static inline int run_tests(int argc, char **argv)
{
	if (access("/proc/self/maps_lockless", F_OK))
		ksft_exit_skip("there is no /proc/self/maps_lockless\n");
	return test_harness_run(argc, argv);
}

#endif /* __MAPS_LOCKLESS_COMMON_H */
