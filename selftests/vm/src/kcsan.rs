// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which reports of KCSAN say something of the series, and which are of data races that Linux has
//! anyway.

/// What opens a report's title.
const TITLE: &str = "BUG: KCSAN: ";

/// Data races that Linux has among some of its functions, as a report's title names them.
struct Known {
    functions: &'static [&'static str],
    /// Whether they have it with any other function, too.
    with_any: bool,
    /// Whether the race stays theirs where the series calls one of them.
    called_by_ours: bool,
}

/// None of these functions is one that the series changes.
const KNOWN: [Known; 6] = [
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
        called_by_ours: true,
    },
    // fork(2) copies the whole mm_struct, whatever is written to it meanwhile, and then makes anew what may
    // not be a copy, the series' counters among it (dup_mm(), mm_init()).
    Known {
        functions: &["copy_mm", "dup_mm"],
        with_any: true,
        called_by_ours: true,
    },
    // procfs writes the owner and mode of its inodes anew at each lookup, without a lock, while others read
    // them.
    Known {
        functions: &[
            "atime_needs_update",
            "generic_permission",
            "may_open",
            "pid_revalidate",
            "task_dump_owner",
        ],
        with_any: false,
        called_by_ours: false,
    },
    // Who takes a reference to a struct cred writes the same zero to it as others do (get_cred()).
    Known {
        functions: &["alloc_empty_file"],
        with_any: false,
        called_by_ours: false,
    },
    // At boot, a loop waits for an interrupt to count.
    Known {
        functions: &["calibrate_APIC_clock", "lapic_cal_handler"],
        with_any: false,
        called_by_ours: false,
    },
    // An idle CPU looks whether its tick has come, which an interrupt notes.
    Known {
        functions: &["tick_nohz_handler", "tick_nohz_idle_got_tick"],
        with_any: false,
        called_by_ours: false,
    },
];

/// What the names of the series' own functions hold, in a report's stack.
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

/// Whether the line opens a report.
pub fn is_title(line: &str) -> bool {
    line.contains(TITLE)
}

/// Whether the report whose title stands first in `lines` is of a known race that the series has no part
/// in.
pub fn is_known<'a>(lines: impl IntoIterator<Item = &'a str>) -> bool {
    let mut lines = lines.into_iter();
    let title = lines.next().unwrap_or_default();
    let Some((_, functions)) = title.split_once("data-race in ") else {
        return false;
    };
    let racing: Vec<&str> = functions.trim_end().split(" / ").collect();
    let known = KNOWN.iter().find(|known| {
        let mut racing = racing.iter();
        let is_its = |function: &&str| known.functions.contains(function);
        match known.with_any {
            true => racing.any(is_its),
            false => racing.all(is_its),
        }
    });
    let Some(known) = known else {
        return false;
    };
    let mut report = lines.take_while(|line| !line.contains("======"));
    known.called_by_ours || !report.any(|line| OURS.iter().any(|name| line.contains(name)))
}

#[cfg(test)]
mod tests {
    use super::is_known;

    fn known(title: &str, stack: &str) -> bool {
        is_known([
            &format!("[ 1.0] BUG: KCSAN: data-race in {title}"),
            "",
            stack,
        ])
    }

    #[test]
    fn linux_has_races_of_its_own() {
        assert!(known(
            "pid_revalidate / task_dump_owner",
            " ksys_read+0x1/0x2"
        ));
        assert!(known(
            "mas_walk / mas_wmb_replace",
            " maps_lockless_read+0x1/0x2"
        ));
        assert!(known("lapic_cal_handler", ""));
        assert!(known(
            "_raw_spin_lock_irq / copy_mm",
            " mm_maps_free+0x1/0x2"
        ));
    }

    #[test]
    fn others_are_reported() {
        assert!(!known("pid_revalidate / ksys_read", ""));
        assert!(!known("mas_walk / pid_revalidate", ""));
        assert!(!known("pid_revalidate", " maps_lockless_read+0x1/0x2"));
        assert!(!is_known(["BUG: KCSAN: assert: race in pid_revalidate"]));
    }
}
