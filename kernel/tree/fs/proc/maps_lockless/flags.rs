// SPDX-License-Identifier: GPL-2.0

//! From the kernel's `vm_flags`, which may change, to the bits that user space sees, which may not.

use super::wire::*;
use kernel::mm::virt::{flags, vm_flags_t};

/// Which of the kernel's flags becomes which bit.
const TABLE: [(vm_flags_t, u64); 22] = [
    (flags::READ, MAPS_LOCKLESS_VMA_READ),
    (flags::WRITE, MAPS_LOCKLESS_VMA_WRITE),
    (flags::EXEC, MAPS_LOCKLESS_VMA_EXEC),
    // What maps calls shared: VM_SHARED is clear where a shared mapping cannot be written.
    (flags::MAYSHARE, MAPS_LOCKLESS_VMA_SHARED),
    (flags::MAYREAD, MAPS_LOCKLESS_VMA_MAYREAD),
    (flags::MAYWRITE, MAPS_LOCKLESS_VMA_MAYWRITE),
    (flags::MAYEXEC, MAPS_LOCKLESS_VMA_MAYEXEC),
    (flags::PFNMAP, MAPS_LOCKLESS_VMA_PFNMAP),
    (flags::MIXEDMAP, MAPS_LOCKLESS_VMA_MIXEDMAP),
    (flags::IO, MAPS_LOCKLESS_VMA_IO),
    (flags::DONTCOPY, MAPS_LOCKLESS_VMA_DONTCOPY),
    (flags::DONTEXPAND, MAPS_LOCKLESS_VMA_DONTEXPAND),
    (flags::LOCKONFAULT, MAPS_LOCKLESS_VMA_LOCKONFAULT),
    (flags::ACCOUNT, MAPS_LOCKLESS_VMA_ACCOUNT),
    (flags::NORESERVE, MAPS_LOCKLESS_VMA_NORESERVE),
    (flags::HUGETLB, MAPS_LOCKLESS_VMA_HUGETLB),
    (flags::SYNC, MAPS_LOCKLESS_VMA_SYNC),
    (flags::WIPEONFORK, MAPS_LOCKLESS_VMA_WIPEONFORK),
    (flags::DONTDUMP, MAPS_LOCKLESS_VMA_DONTDUMP),
    (flags::HUGEPAGE, MAPS_LOCKLESS_VMA_HUGEPAGE),
    (flags::NOHUGEPAGE, MAPS_LOCKLESS_VMA_NOHUGEPAGE),
    (flags::MERGEABLE, MAPS_LOCKLESS_VMA_MERGEABLE),
];

/// Every bit that this kernel may set.
pub(crate) const SUPPORTED: u64 = {
    let mut bits = 0;
    let mut i = 0;
    while i < TABLE.len() {
        // A flag that the configuration leaves out is zero.
        if TABLE[i].0 != 0 {
            bits |= TABLE[i].1;
        }
        i += 1;
    }
    bits
};

/// Translates `vm_flags`.
pub(crate) fn to_uapi(flags: vm_flags_t) -> u64 {
    TABLE
        .iter()
        .filter(|(kernel, _)| flags & kernel != 0)
        .fold(0, |bits, (_, uapi)| bits | uapi)
}
