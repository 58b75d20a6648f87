// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the flags of a VMA are called in smaps.

use crate::{mapping::VmaFlags, wire::*};

/// Names and flags, in the order of smaps. See docs/abi.md.
const SMAPS: [(&str, u64); 38] = [
    ("rd", MAPS_LOCKLESS_VMA_READ),
    ("wr", MAPS_LOCKLESS_VMA_WRITE),
    ("ex", MAPS_LOCKLESS_VMA_EXEC),
    ("sh", MAPS_LOCKLESS_VMA_SHARED_WRITABLE),
    ("mr", MAPS_LOCKLESS_VMA_MAYREAD),
    ("mw", MAPS_LOCKLESS_VMA_MAYWRITE),
    ("me", MAPS_LOCKLESS_VMA_MAYEXEC),
    ("ms", MAPS_LOCKLESS_VMA_SHARED),
    ("gd", MAPS_LOCKLESS_VMA_GROWSDOWN),
    ("pf", MAPS_LOCKLESS_VMA_PFNMAP),
    ("gu", MAPS_LOCKLESS_VMA_MAYBE_GUARD),
    ("lo", MAPS_LOCKLESS_VMA_LOCKED),
    ("io", MAPS_LOCKLESS_VMA_IO),
    ("sr", MAPS_LOCKLESS_VMA_SEQ_READ),
    ("rr", MAPS_LOCKLESS_VMA_RAND_READ),
    ("dc", MAPS_LOCKLESS_VMA_DONTCOPY),
    ("de", MAPS_LOCKLESS_VMA_DONTEXPAND),
    ("lf", MAPS_LOCKLESS_VMA_LOCKONFAULT),
    ("ac", MAPS_LOCKLESS_VMA_ACCOUNT),
    ("nr", MAPS_LOCKLESS_VMA_NORESERVE),
    ("ht", MAPS_LOCKLESS_VMA_HUGETLB),
    ("sf", MAPS_LOCKLESS_VMA_SYNC),
    ("bt", MAPS_LOCKLESS_VMA_BTI),
    ("wf", MAPS_LOCKLESS_VMA_WIPEONFORK),
    ("dd", MAPS_LOCKLESS_VMA_DONTDUMP),
    ("sd", MAPS_LOCKLESS_VMA_SOFTDIRTY),
    ("mm", MAPS_LOCKLESS_VMA_MIXEDMAP),
    ("hg", MAPS_LOCKLESS_VMA_HUGEPAGE),
    ("nh", MAPS_LOCKLESS_VMA_NOHUGEPAGE),
    ("mg", MAPS_LOCKLESS_VMA_MERGEABLE),
    ("um", MAPS_LOCKLESS_VMA_UFFD_MISSING),
    ("uw", MAPS_LOCKLESS_VMA_UFFD_WP),
    ("mt", MAPS_LOCKLESS_VMA_MTE),
    ("ui", MAPS_LOCKLESS_VMA_UFFD_MINOR),
    ("ur", MAPS_LOCKLESS_VMA_UFFD_RWP),
    ("ss", MAPS_LOCKLESS_VMA_SHADOW_STACK),
    ("dp", MAPS_LOCKLESS_VMA_DROPPABLE),
    ("sl", MAPS_LOCKLESS_VMA_SEALED),
];

impl VmaFlags {
    /// What smaps calls those that are set, in its line VmFlags: `rd`, `wr`, `mr`. See
    /// proc_pid_smaps(5).
    ///
    /// ```
    /// let read_write = maps_lockless::VmaFlags { set: 0b11, known: 0b11 };
    /// assert!(read_write.smaps_names().eq(["rd", "wr"]));
    /// ```
    pub fn smaps_names(self) -> impl Iterator<Item = &'static str> {
        let set = SMAPS.iter().filter(move |(_, flag)| self.set & flag != 0);
        set.map(|&(name, _)| name)
    }

    /// The `MAPS_LOCKLESS_VMA_*` flag that smaps calls so.
    pub fn of_smaps_name(name: &str) -> Option<u64> {
        let mut flags = SMAPS.iter();
        flags
            .find(|(known, _)| *known == name)
            .map(|&(_, flag)| flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_and_each_flag_is_there_once() {
        let mut seen = 0;
        for (name, flag) in SMAPS {
            assert_eq!(VmaFlags::of_smaps_name(name), Some(flag));
            assert!(flag.is_power_of_two() && seen & flag == 0, "{name}");
            seen |= flag;
        }
        let flags = VmaFlags {
            set: MAPS_LOCKLESS_VMA_FILE | MAPS_LOCKLESS_VMA_READ | MAPS_LOCKLESS_VMA_SEALED,
            known: u64::MAX,
        };
        assert!(flags.smaps_names().eq(["rd", "sl"]));
    }
}
