// SPDX-License-Identifier: GPL-2.0

/* What rust/kernel/mm/lockless.rs and fs/mapped_file.rs need of inline functions. */

#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/pkeys.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/task_work.h>
#include <linux/uaccess.h>

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

__rust_helper bool rust_helper_task_work_pending(struct task_struct *task)
{
	return task_work_pending(task);
}

__rust_helper void rust_helper_cond_resched(void)
{
	cond_resched();
}

/*
 * Instead of ->pagesize(), which hugetlbfs, SysV shared memory and the devices of
 * DAX have. It would look at the VMA again.
 */
__rust_helper unsigned int
rust_helper_mapped_file_page_shift(struct file *file)
{
	if (is_file_hugepages(file))
		return huge_page_shift(hstate_file(file));
	if (S_ISCHR(file_inode(file)->i_mode) && IS_DAX(file_inode(file)))
		return 0;
	return PAGE_SHIFT;
}

__rust_helper unsigned long rust_helper_lockless_task_size_max(void)
{
	return TASK_SIZE_MAX;
}

__rust_helper bool rust_helper_arch_pkeys_enabled(void)
{
	return arch_pkeys_enabled();
}

/* As vma_pkey(), for a copy of the flags. */
__rust_helper unsigned int rust_helper_vm_flags_pkey(vm_flags_t flags)
{
#ifdef CONFIG_ARCH_HAS_PKEYS
	return (flags & ARCH_VM_PKEY_FLAGS) >> VM_PKEY_SHIFT;
#else
	return 0;
#endif
}
