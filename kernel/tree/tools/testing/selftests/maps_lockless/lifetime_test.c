// SPDX-License-Identifier: GPL-2.0
/*
 * Processes that exit or call execve(2) while their maps_lockless is open, and
 * others that get their PID.
 */
#include "common.h"

#include <linux/sched.h>
#include <pthread.h>
#include <sys/syscall.h>

/* Too many for the smallest buffer. */
#define VMAS 400

FIXTURE(lifetime)
{
	pid_t pid;
	int fd;
	__u64 mm_id;
};

static union batch batch;

/* The target becomes another run of this program, which only waits. */
static void exec_on_signal(int signal)
{
	execl("/proc/self/exe", "lifetime_test", "wait", NULL);
	_exit(KSFT_FAIL);
}

static void setup_target(void *arg)
{
	must(signal(SIGUSR1, exec_on_signal) != SIG_ERR, "signal");
}

/* Has listed a part, and there is more. */
FIXTURE_SETUP(lifetime)
{
	ASSERT_NE(NULL, map_alternating(VMAS));
	self->pid = start_target(_metadata, setup_target, NULL);
	self->fd = open_listing(self->pid);
	ASSERT_LE(0, self->fd);
	read_batch(_metadata, self->fd, &batch, MIN);
	ASSERT_EQ(0, batch.header.flags & MAPS_LOCKLESS_BATCH_FINAL);
	self->mm_id = batch.header.mm_id;
}

FIXTURE_TEARDOWN(lifetime)
{
	close(self->fd);
	end_target(self->pid);
}

static pid_t get(const pid_t *shared)
{
	return __atomic_load_n(shared, __ATOMIC_SEQ_CST);
}

/* The state of an address space that is not there. */
static void expect_state(struct __test_metadata *_metadata, int fd, __u32 status,
			 __u64 mm_id)
{
	struct maps_lockless_state state;
	__u64 at = position(fd);

	ASSERT_EQ(0, get_state(fd, &state));
	EXPECT_EQ(status, state.status);
	EXPECT_EQ(mm_id, state.mm_id);
	EXPECT_EQ(0, state.vma_count);
	EXPECT_EQ(page_size(), state.page_size);
	EXPECT_EQ(0, state.request);
	EXPECT_EQ(MAPS_LOCKLESS_FIELDS_MAPS,
		  state.fields_supported & MAPS_LOCKLESS_FIELDS_MAPS);
	EXPECT_NE(0, state.vma_flags_supported);
	EXPECT_EQ(at, position(fd));
	if (status == MAPS_LOCKLESS_STATUS_NO_MM)
		EXPECT_EQ(0, state.seq);
}

/* The address space is gone, and nothing else is told. */
static void expect_gone(struct __test_metadata *_metadata, int fd, __u64 mm_id)
{
	expect_state(_metadata, fd, MAPS_LOCKLESS_STATUS_GONE, mm_id);
	read_batch(_metadata, fd, &batch, MAX);
	EXPECT_EQ(MAPS_LOCKLESS_END_GONE, batch.header.end_reason);
	EXPECT_EQ(MAPS_LOCKLESS_NEXT_NONE, batch.header.next);
	EXPECT_EQ(mm_id, batch.header.mm_id);
	EXPECT_EQ(0, batch.header.count);
	EXPECT_EQ(MAPS_LOCKLESS_POS_END, position(fd));
	EXPECT_EQ(0, read(fd, &batch, MAX));
	expect_state(_metadata, fd, MAPS_LOCKLESS_STATUS_GONE, mm_id);

	/* From the start it is no other. */
	ASSERT_EQ(0, lseek(fd, 0, SEEK_SET));
	read_batch(_metadata, fd, &batch, MAX);
	EXPECT_EQ(MAPS_LOCKLESS_END_GONE, batch.header.end_reason);
	EXPECT_EQ(mm_id, batch.header.mm_id);
	EXPECT_EQ(0, batch.header.count);
}

/* Waits until the address space is gone. */
static bool goes(int fd)
{
	struct maps_lockless_state state;
	double begin = seconds();

	while (seconds() - begin < 20) {
		if (get_state(fd, &state))
			return false;
		if (state.status == MAPS_LOCKLESS_STATUS_GONE)
			return true;
		usleep(1000);
	}
	return false;
}

/* Who the address space of a process is that is there. */
static __u64 identity(struct __test_metadata *_metadata, int fd)
{
	struct maps_lockless_state state;

	ASSERT_EQ(0, get_state(fd, &state));
	EXPECT_EQ(MAPS_LOCKLESS_STATUS_LIVE, state.status);
	EXPECT_NE(0, state.mm_id);
	EXPECT_NE(0, state.vma_count);
	return state.mm_id;
}

/* fork(2) copies the mm, but not who it is. */
TEST_F(lifetime, fork)
{
	__u64 parent;
	pid_t pid;
	int fd;

	fd = open_listing(getpid());
	ASSERT_LE(0, fd);
	parent = identity(_metadata, fd);
	close(fd);

	pid = start_target(_metadata, NULL, NULL);
	fd = open_listing(pid);
	ASSERT_LE(0, fd);
	EXPECT_NE(parent, identity(_metadata, fd));
	close(fd);
	end_target(pid);
}

TEST_F(lifetime, exit)
{
	pid_t pid = self->pid;

	end_target(pid);
	self->pid = 0;
	expect_gone(_metadata, self->fd, self->mm_id);
	EXPECT_EQ(ENOENT, errno_of(open_listing(pid)));
}

/* Killed, and nobody has waited for it. */
TEST_F(lifetime, zombie)
{
	siginfo_t info;
	int fd;

	kill(self->pid, SIGKILL);
	ASSERT_EQ(0, waitid(P_PID, self->pid, &info, WEXITED | WNOWAIT));
	expect_gone(_metadata, self->fd, self->mm_id);

	fd = open_listing(self->pid);
	ASSERT_LE(0, fd);
	expect_state(_metadata, fd, MAPS_LOCKLESS_STATUS_NO_MM, 0);
	read_batch(_metadata, fd, &batch, MAX);
	EXPECT_EQ(MAPS_LOCKLESS_END_NO_MM, batch.header.end_reason);
	EXPECT_EQ(0, batch.header.count);
	EXPECT_EQ(0, batch.header.mm_id);
	EXPECT_EQ(0, read(fd, &batch, MAX));
	close(fd);
}

TEST_F(lifetime, execve)
{
	int fd;

	EXPECT_EQ(self->mm_id, identity(_metadata, self->fd));
	kill(self->pid, SIGUSR1);
	ASSERT_EQ(true, goes(self->fd));
	expect_gone(_metadata, self->fd, self->mm_id);

	fd = open_listing(self->pid);
	ASSERT_LE(0, fd);
	EXPECT_NE(self->mm_id, identity(_metadata, fd));
	read_batch(_metadata, fd, &batch, MAX);
	EXPECT_NE(self->mm_id, batch.header.mm_id);
	EXPECT_LT(0, batch.header.count);
	close(fd);
}

/* Forks a child with a PID of our choice. */
static pid_t fork_as(pid_t pid)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (unsigned long)&pid,
		.set_tid_size = 1,
	};

	return syscall(__NR_clone3, &args, sizeof(args));
}

/* Another process gets the PID: the open file does not become its. */
TEST_F(lifetime, pid_reuse)
{
	unsigned int reused = 0;
	int round, fd;

	for (round = 0; round < 20; round++) {
		pid_t old = self->pid, pid;

		end_target(old);
		self->pid = 0;
		pid = fork_as(old);
		if (pid < 0 && errno == EPERM)
			SKIP(return, "a PID cannot be chosen: %m");
		/* Somebody else was faster. */
		if (pid < 0 && errno == EEXIST)
			break;
		ASSERT_LE(0, pid);
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		ASSERT_EQ(old, pid);
		self->pid = pid;
		reused++;

		fd = open_listing(pid);
		ASSERT_LE(0, fd);
		read_batch(_metadata, fd, &batch, MAX);
		EXPECT_LT(0, batch.header.count);
		EXPECT_NE(self->mm_id, batch.header.mm_id);
		expect_gone(_metadata, self->fd, self->mm_id);
		/* Next time, it is this one that goes. */
		self->mm_id = identity(_metadata, fd);
		ASSERT_EQ(0, lseek(fd, 0, SEEK_SET));
		close(self->fd);
		self->fd = fd;
	}
	EXPECT_LT(0, reused);
}

/* Whoever shares the address space keeps it. */
TEST_F(lifetime, shared_by_vfork)
{
	pid_t *sharer = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double begin = seconds();
	struct listing listing;
	pid_t pid;
	int fd;

	ASSERT_NE(MAP_FAILED, sharer);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!vfork()) {
			__atomic_store_n(sharer, getpid(), __ATOMIC_SEQ_CST);
			for (;;)
				pause();
		}
		_exit(KSFT_FAIL);
	}
	while (!get(sharer) && seconds() - begin < 20)
		usleep(1000);
	ASSERT_NE(0, get(sharer));
	fd = open_listing(pid);
	ASSERT_LE(0, fd);
	end_target(pid);

	read_listing(_metadata, fd, MAX, &listing);
	EXPECT_EQ(MAPS_LOCKLESS_END_COMPLETE, listing.end_reason);
	EXPECT_LT(VMAS, listing.count);
	kill(get(sharer), SIGKILL);
	EXPECT_EQ(true, goes(fd));
	free_listing(&listing);
	close(fd);
}

static void *tell_and_wait(void *tid)
{
	__atomic_store_n((pid_t *)tid, gettid(), __ATOMIC_SEQ_CST);
	for (;;)
		pause();
	return NULL;
}

/* The main thread has no address space any more, the others have. */
TEST_F(lifetime, exit_of_main_thread)
{
	pid_t *tid = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double begin = seconds();
	struct listing listing;
	char path[64];
	pid_t pid;
	int fd;

	ASSERT_NE(MAP_FAILED, tid);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		pthread_t thread;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		must(!pthread_create(&thread, NULL, tell_and_wait, tid),
		     "pthread_create");
		/* Of this thread alone. */
		syscall(__NR_exit, 0);
	}
	do {
		fd = open_listing(pid);
		ASSERT_LE(0, fd);
		read_batch(_metadata, fd, &batch, MAX);
		close(fd);
	} while ((!get(tid) || batch.header.end_reason != MAPS_LOCKLESS_END_NO_MM) &&
		 seconds() - begin < 20);
	EXPECT_EQ(MAPS_LOCKLESS_END_NO_MM, batch.header.end_reason);

	snprintf(path, sizeof(path), "/proc/%d/task/%d/maps_lockless", pid, get(tid));
	fd = open(path, O_RDONLY);
	ASSERT_LE(0, fd);
	read_listing(_metadata, fd, MAX, &listing);
	EXPECT_EQ(MAPS_LOCKLESS_END_COMPLETE, listing.end_reason);
	EXPECT_LT(VMAS, listing.count);
	free_listing(&listing);
	close(fd);
	end_target(pid);
}

int main(int argc, char **argv)
{
	/* What the target executes. */
	if (argc == 2 && !strcmp(argv[1], "wait")) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return run_tests(argc, argv);
}
