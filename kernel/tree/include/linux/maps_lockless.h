/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_MAPS_LOCKLESS_H
#define _LINUX_MAPS_LOCKLESS_H

#include <linux/types.h>
#include <uapi/linux/maps_lockless.h>

struct mm_struct;

/* What /proc/PID/maps_lockless does. In Rust: fs/proc/maps_lockless/. */
void *maps_lockless_open(struct mm_struct *mm);
void maps_lockless_release(void *file);
ssize_t maps_lockless_read(void *file, char __user *buf, size_t count, loff_t *ppos);
int maps_lockless_check(struct maps_lockless_request *request);
void maps_lockless_set_request(void *file, const struct maps_lockless_request *request);

#endif
