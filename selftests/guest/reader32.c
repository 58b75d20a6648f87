// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A 32-bit program that reads maps_lockless, with no library: it includes the
 * uapi header, makes system calls, and writes what it has read as it is.
 *
 *	reader32 WHAT FILE
 *	reader32 wait		says "ready" and waits, to be looked at itself
 *
 * Its exit status is the errno of the call that failed.
 */
#include <linux/maps_lockless.h>

/* linux/fs.h has it since Linux 6.11. That which is installed may be older. */
#ifndef PROCFS_IOCTL_MAGIC
#define PROCFS_IOCTL_MAGIC 'f'
#endif

#define SYS_exit	1
#define SYS_read	3
#define SYS_write	4
#define SYS_open	5
#define SYS_ioctl	54
#define SYS__llseek	140
#define SYS_pread64	180

#define VSYSCALL	0xffffffffff600000ULL

static __u64 buf[MAPS_LOCKLESS_MAX_BATCH / sizeof(__u64)];

static long call(long nr, long a, long b, long c, long d, long e)
{
	long result;

	__asm__ volatile("int $0x80" : "=a"(result)
			 : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
	return result;
}

/* Returns what the call returned, or ends with its errno. */
static long must(long result)
{
	if (result < 0)
		call(SYS_exit, -result, 0, 0, 0, 0);
	return result;
}

static void put(long len)
{
	long done = 0;

	while (done < len)
		done += must(call(SYS_write, 1, (long)buf + done, len - done, 0, 0));
}

static void read_all(long fd)
{
	long len;

	while ((len = must(call(SYS_read, fd, (long)buf, sizeof(buf), 0, 0))) > 0)
		put(len);
}

static void ask(long fd)
{
	struct maps_lockless_request request = {
		.size = sizeof(request),
		.fields_wanted = MAPS_LOCKLESS_FIELDS_MAPS | MAPS_LOCKLESS_FIELD_BUILD_ID,
		.vma_flags_all = MAPS_LOCKLESS_VMA_EXEC | MAPS_LOCKLESS_VMA_FILE,
	};
	struct maps_lockless_request back = { .size = sizeof(back) };

	must(call(SYS_ioctl, fd, MAPS_LOCKLESS_SET_REQUEST, (long)&request, 0, 0));
	must(call(SYS_ioctl, fd, MAPS_LOCKLESS_GET_REQUEST, (long)&back, 0, 0));
	/* The answers came back, and what was asked for did. */
	if (!(request.vma_flags_supported & MAPS_LOCKLESS_VMA_FILE) ||
	    !request.request || back.request != request.request ||
	    back.fields_wanted != request.fields_wanted ||
	    back.vma_flags_all != request.vma_flags_all)
		must(-255);
}

static void tell_state(long fd)
{
	struct maps_lockless_state *state = (void *)buf;

	state->size = sizeof(*state);
	must(call(SYS_ioctl, fd, MAPS_LOCKLESS_GET_STATE, (long)state, 0, 0));
	put(sizeof(*state));
}

/* Positions are numbers of pages, and too large for 32 bits. */
static void look_up(long fd, __u64 address)
{
	__u64 page = address / 4096;

	put(must(call(SYS_pread64, fd, (long)buf, sizeof(buf), page, page >> 32)));
}

static void seek(long fd, __u64 address)
{
	__u64 page = address / 4096, position = 0;

	must(call(SYS__llseek, fd, page >> 32, page, (long)&position, 0));
	if (position != page)
		must(-255);
}

__attribute__((used)) static void run(long *stack)
{
	const char *const *argv = (const char *const *)(stack + 1);
	long fd;

	/* The first letter of each word is enough to tell them apart. */
	if (stack[0] < 3) {
		call(SYS_write, 1, (long)"ready\n", 6, 0, 0);
		call(SYS_read, 0, (long)buf, 1, 0, 0);
		call(SYS_exit, 0, 0, 0, 0, 0);
	}
	fd = must(call(SYS_open, (long)argv[2], 0, 0, 0, 0));
	switch (argv[1][0]) {
	case 'r': /* read */
		read_all(fd);
		break;
	case 'a': /* ask */
		ask(fd);
		read_all(fd);
		break;
	case 'l': /* lookup, at 4 GiB */
		look_up(fd, 1ULL << 32);
		break;
	case 'v': /* lookup of [vsyscall] */
		look_up(fd, VSYSCALL);
		break;
	case 's': /* seek to [vsyscall] */
		seek(fd, VSYSCALL);
		read_all(fd);
		break;
	case 'g': /* get the state */
		tell_state(fd);
		break;
	case 'n': /* negative position */
		must(call(SYS_pread64, fd, (long)buf, sizeof(buf), 0, 0x80000000));
		break;
	case 'b': /* beyond the last page that there is */
		must(call(SYS_pread64, fd, (long)buf, sizeof(buf), 0, 0x100000));
		break;
	case 't': /* too small a buffer */
		must(call(SYS_read, fd, (long)buf, 8, 0, 0));
		break;
	case 'f': /* fault */
		must(call(SYS_read, fd, 0, sizeof(buf), 0, 0));
		break;
	case 'i': /* ioctl with a bad pointer */
		must(call(SYS_ioctl, fd, MAPS_LOCKLESS_SET_REQUEST, 0xfffffff0, 0, 0));
		break;
	}
	call(SYS_exit, 0, 0, 0, 0, 0);
}

__asm__(".globl _start\n"
	"_start:\n"
	"	mov %esp, %eax\n"
	"	and $-16, %esp\n"
	"	sub $12, %esp\n"
	"	push %eax\n"
	"	call run\n");
