/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_MAPS_LOCKLESS_H
#define _LINUX_MAPS_LOCKLESS_H

#include <linux/types.h>

struct mm_struct;

/* What /proc/PID/maps_lockless does. In Rust: fs/proc/maps_lockless/. */
void *maps_lockless_open(struct mm_struct *mm);
void maps_lockless_release(void *file);
ssize_t maps_lockless_read(void *file, char __user *buf, size_t count, loff_t *ppos);
long maps_lockless_ioctl(void *file, unsigned int cmd, unsigned long arg);

#endif
