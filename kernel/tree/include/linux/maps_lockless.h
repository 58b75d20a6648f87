/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_MAPS_LOCKLESS_H
#define _LINUX_MAPS_LOCKLESS_H

#include <linux/types.h>

struct mm_struct;

/* Reads /proc/PID/maps_lockless. In Rust: fs/proc/maps_lockless/. */
ssize_t maps_lockless_read(struct mm_struct *mm, char __user *buf, size_t count,
			   loff_t *ppos);

#endif
