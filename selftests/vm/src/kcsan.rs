// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which reports of KCSAN say something of the series, and which are of data races that Linux has
//! anyway.

use std::collections::BTreeMap;

/// What opens a report's title.
const TITLE: &str = "BUG: KCSAN: ";

/// Data races that stay Linux's where the series calls a function that has them.
struct Known {
    /// As a report's title names them.
    functions: &'static [&'static str],
    /// Whether one of them is enough, or both racing functions must be among them.
    with_any: bool,
}

/// None of these functions is one that the series changes.
const KNOWN: [Known; 3] = [
    // The maple tree marks a node that it has replaced by a pointer to itself, plainly
    // (mte_set_node_dead()), and so do its readers look for that (ma_dead_node()), between barriers. A
    // pivot is stored and loaded plainly, too: a word each time, and the reader looks for the mark
    // afterwards. Whoever walks the tree under RCU has these races, lock_vma_under_rcu() for one.
    Known {
        functions: &[
            "mas_wmb_replace",
            "mas_wr_store_entry",
            "mas_walk",
            "mtree_range_walk",
        ],
        with_any: false,
    },
    // fork(2) copies the whole mm_struct, whatever is written to it meanwhile, and then makes anew what may
    // not be a copy, the series' counters among it (dup_mm(), mm_init()).
    Known {
        functions: &["copy_mm", "dup_mm"],
        with_any: true,
    },
    // Who opens a file of a process, maps or ours, looks at the flags of the task, of which fork(2) clears one
    // of its own (PF_NPROC_EXCEEDED), both plainly.
    Known {
        functions: &["mm_access", "copy_process"],
        with_any: false,
    },
];

/// What the names of the series' own functions hold, anywhere in a report's stacks.
const OURS: [&str; 8] = [
    "lockless",
    "mm_maps_",
    "anon_vma_name",
    "build_id",
    "freader",
    "d_path_unmarked",
    "special_mapping_name_from",
    "mapped_file",
];

/// Linux's functions that have a part of the series in them, where they race themselves.
const CHANGED: [&str; 4] = [
    "d_path",
    "mmap_init_lock",
    "vma_complete",
    "vms_complete_munmap_vmas",
];

/// Where a stack enters reclaim. Who allocates when memory is short does so, whoever it is, and has no part in
/// what goes on there.
const RECLAIM: &str = "try_to_free_";

/// Whether a line names a function of the series, other than one that has entered reclaim.
fn is_ours(line: &str, reclaims: &mut bool) -> bool {
    // The racing function stands first in its stack.
    *reclaims &= !line.contains(" bytes by ");
    *reclaims |= line.contains(RECLAIM);
    !*reclaims && OURS.iter().any(|name| line.contains(name))
}

/// Whether the line opens a report.
pub fn is_title(line: &str) -> bool {
    line.contains(TITLE)
}

/// Whether the report whose title stands first in `lines` is of a data race that the series has no part in,
/// or none but that it calls a function of Linux's.
pub fn is_of_linux<'a>(lines: impl IntoIterator<Item = &'a str>) -> bool {
    let mut lines = lines.into_iter();
    let title = lines.next().unwrap_or_default();
    let Some((_, functions)) = title.split_once("data-race in ") else {
        return false;
    };
    let racing: Vec<&str> = functions
        .split(" / ")
        .map(|function| function.split('+').next().unwrap_or_default().trim())
        .collect();
    let known = KNOWN.iter().any(|known| {
        let mut racing = racing.iter();
        let is_its = |function: &&str| known.functions.contains(function);
        match known.with_any {
            true => racing.any(is_its),
            false => racing.all(is_its),
        }
    });
    let mut report = lines.take_while(|line| !line.contains("======"));
    let mut reclaims = false;
    let ours = racing.iter().any(|function| CHANGED.contains(function))
        || report.any(|line| is_ours(line, &mut reclaims));
    known || !ours
}

/// The titles of a log's reports, and how often each stands there.
pub fn titles(log: &str) -> BTreeMap<&str, u32> {
    let mut titles = BTreeMap::new();
    for line in log.lines() {
        if let Some((_, title)) = line.split_once(TITLE) {
            *titles.entry(title.trim_end()).or_default() += 1;
        }
    }
    titles
}

#[cfg(test)]
mod tests {
    use super::{is_of_linux, titles};

    fn of_linux(title: &str, stack: &str) -> bool {
        is_of_linux([
            &format!("[ 1.0] BUG: KCSAN: data-race in {title}"),
            "",
            stack,
        ])
    }

    #[test]
    fn linux_has_races_of_its_own() {
        let theirs = "pid_revalidate / task_dump_owner";
        assert!(of_linux(theirs, " ksys_read+0x1/0x2"));
        assert!(of_linux("vmstat_start+0x469/0x560", ""));
        // The series calls the one, and is in the middle of the other.
        let read = " maps_lockless_read+0x1/0x2";
        assert!(of_linux("mas_walk / mas_wmb_replace", read));
        assert!(of_linux("copy_process / mm_access", read));
        let free = " vms_complete_munmap_vmas+0x1/0x2";
        assert!(of_linux("release_pages / shrink_folio_list", free));
        assert!(of_linux(
            "_raw_spin_lock_irq / copy_mm",
            " mm_maps_free+0x1/0x2"
        ));
    }

    #[test]
    fn who_reclaims_has_no_part() {
        let stack = |second: &'static str| {
            [
                "[1] BUG: KCSAN: data-race in do_try_to_free_pages / shrink_node",
                "[1] write to 0xffff888001234560 of 8 bytes by task 1 on cpu 0:",
                "[1]  do_try_to_free_pages+0x1/0x2",
                "[1]  maps_lockless_read+0x1/0x2",
                "[1] read to 0xffff888001234560 of 8 bytes by task 2 on cpu 1:",
                "[1]  shrink_node+0x1/0x2",
                second,
            ]
        };
        assert!(is_of_linux(stack("[1]  ksys_read+0x1/0x2")));
        assert!(!is_of_linux(stack("[1]  maps_lockless_read+0x1/0x2")));
    }

    #[test]
    fn others_are_reported() {
        let read = " maps_lockless_read+0x1/0x2";
        assert!(!of_linux("pid_revalidate / task_dump_owner", read));
        assert!(!of_linux("mas_walk / pid_revalidate", read));
        assert!(!of_linux("vms_complete_munmap_vmas / ksys_read", ""));
        assert!(!of_linux("vma_complete+0x469/0x560", ""));
        assert!(!is_of_linux(["BUG: KCSAN: assert: race in pid_revalidate"]));
        // The next report is another one.
        let lines = ["BUG: KCSAN: data-race in a / b", "======", read];
        assert!(is_of_linux(lines));
    }

    #[test]
    fn reports_are_counted() {
        let log = "[1] BUG: KCSAN: data-race in a\n a\n[2] BUG: KCSAN: data-race in a\n";
        assert_eq!(
            titles(log).into_iter().collect::<Vec<_>>(),
            [("data-race in a", 2)]
        );
    }
}
