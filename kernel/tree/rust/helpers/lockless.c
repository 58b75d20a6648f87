// SPDX-License-Identifier: GPL-2.0

/* What rust/kernel/mm/lockless.rs and fs/mapped_file.rs need of inline functions. */

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

__rust_helper const struct path *
rust_helper_file_user_path(const struct file *file)
{
	return file_user_path(file);
}

__rust_helper const struct inode *
rust_helper_file_user_inode(const struct file *file)
{
	return file_user_inode(file);
}

__rust_helper struct vm_area_struct *
rust_helper_get_gate_vma(struct mm_struct *mm)
{
	return get_gate_vma(mm);
}

__rust_helper int rust_helper_fatal_signal_pending(struct task_struct *task)
{
	return fatal_signal_pending(task);
}

__rust_helper void rust_helper_cond_resched(void)
{
	cond_resched();
}
