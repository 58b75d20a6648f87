// SPDX-License-Identifier: GPL-2.0
/*
 * Test hook: holds the locks that a lockless reader must not need.
 *
 * Writing "PID ADDR MS" to mmap_lock_hold in debugfs takes the mmap_lock of
 * process PID for write, write-locks the VMA at the hexadecimal address ADDR
 * (none if 0, all of them, as fork() does, if it is the highest there is), and
 * holds it all for MS milliseconds or until a signal comes.
 */

#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>

#define HOLD_MAX_MS 60000

static struct mm_struct *mm_of(pid_t pid)
{
	struct task_struct *task = find_get_task_by_vpid(pid);
	struct mm_struct *mm;

	if (!task)
		return NULL;
	mm = get_task_mm(task);
	put_task_struct(task);
	return mm;
}

static ssize_t hold_write(struct file *file, const char __user *ubuf,
			  size_t count, loff_t *ppos)
{
	struct vm_area_struct *vma;
	struct vma_iterator vmi;
	struct mm_struct *mm;
	unsigned long addr;
	char buf[64] = {};
	unsigned int ms;
	int err = 0;
	pid_t pid;

	if (count >= sizeof(buf))
		return -EINVAL;
	if (copy_from_user(buf, ubuf, count))
		return -EFAULT;
	if (sscanf(buf, "%d %lx %u", &pid, &addr, &ms) != 3 || ms > HOLD_MAX_MS)
		return -EINVAL;

	mm = mm_of(pid);
	if (!mm)
		return -ESRCH;
	if (mmap_write_lock_killable(mm)) {
		mmput(mm);
		return -EINTR;
	}
	if (addr == ULONG_MAX) {
		vma_iter_init(&vmi, mm, 0);
		for_each_vma(vmi, vma)
			vma_start_write(vma);
	} else if (addr) {
		vma = vma_lookup(mm, addr);
		if (vma)
			vma_start_write(vma);
		else
			err = -ENOENT;
	}
	if (!err)
		msleep_interruptible(ms);
	mmap_write_unlock(mm);
	mmput(mm);
	return err ?: count;
}

static const struct file_operations hold_fops = {
	.open	= simple_open,
	.write	= hold_write,
	.llseek	= noop_llseek,
};

static int __init mmap_lock_hold_init(void)
{
	debugfs_create_file("mmap_lock_hold", 0200, NULL, NULL, &hold_fops);
	return 0;
}
late_initcall(mmap_lock_hold_init);
