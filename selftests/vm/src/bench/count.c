// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A plugin of QEMU's that counts how often each block of instructions is executed between two marks.
 *
 * The marks are the addresses of two functions of a program in the guest: counting begins where the first is
 * called and ends where the second is. Arguments: begin=ADDRESS,end=ADDRESS,out=FILE. At QEMU's end the file
 * has a line for each block that was executed: its address, how many instructions it has, how often it was
 * executed. For one emulated CPU.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

/* What is used of QEMU's interface, for Debian 12 has no header of it. */
typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
typedef void (*translated_fn)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*executed_fn)(unsigned int, void *);
typedef void (*exit_fn)(qemu_plugin_id_t, void *);
enum { NO_REGISTERS };
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, translated_fn);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, executed_fn, int flags, void *);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, exit_fn, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

EXPORT int qemu_plugin_version = PLUGIN_VERSION;
EXPORT int qemu_plugin_install(qemu_plugin_id_t, const void *info, int argc, char **argv);

struct block {
	uint64_t address;
	uint64_t instructions;
	uint64_t executions;
	struct block *next;
};

/* By address. A block that is translated anew, which may be of another length, is looked up here. */
static struct block *blocks[1 << 16];

static uint64_t begin, end;
static const char *out;
static bool counting;

static struct block *block_of(uint64_t address, uint64_t instructions)
{
	struct block **slot = &blocks[(address ^ address >> 16) & 0xffff];
	struct block *block;

	for (block = *slot; block; block = block->next)
		if (block->address == address && block->instructions == instructions)
			return block;
	block = calloc(1, sizeof(*block));
	if (!block) {
		fprintf(stderr, "count.c: no memory\n");
		exit(1);
	}
	block->address = address;
	block->instructions = instructions;
	block->next = *slot;
	*slot = block;
	return block;
}

static void executed(unsigned int cpu, void *data)
{
	struct block *block = data;

	(void)cpu;
	if (block->address == begin)
		counting = true;
	else if (block->address == end)
		counting = false;
	if (counting)
		block->executions++;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct block *block = block_of(qemu_plugin_tb_vaddr(tb), qemu_plugin_tb_n_insns(tb));

	(void)id;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, NO_REGISTERS, block);
}

static void finished(qemu_plugin_id_t id, void *data)
{
	FILE *file = fopen(out, "w");
	const struct block *block;

	(void)id;
	(void)data;
	if (!file) {
		perror(out);
		return;
	}
	for (size_t i = 0; i < sizeof(blocks) / sizeof(*blocks); i++)
		for (block = blocks[i]; block; block = block->next)
			if (block->executions)
				fprintf(file, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", block->address,
					block->instructions, block->executions);
	if (fclose(file))
		perror(out);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "begin=", 6))
			begin = strtoull(argv[i] + 6, NULL, 16);
		else if (!strncmp(argv[i], "end=", 4))
			end = strtoull(argv[i] + 4, NULL, 16);
		else if (!strncmp(argv[i], "out=", 4))
			out = strdup(argv[i] + 4);
	}
	if (!begin || !end || !out) {
		fprintf(stderr, "count.c: wants begin=ADDRESS,end=ADDRESS,out=FILE\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, finished, NULL);
	return 0;
}
