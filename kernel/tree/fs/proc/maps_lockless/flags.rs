// SPDX-License-Identifier: GPL-2.0

//! From the kernel's `vm_flags`, which may change, to the bits that user space sees, which may not.

use super::{request::Request, wire::*};
use kernel::mm::virt::{flags, vm_flags_t};

/// Which of the kernel's flags becomes which bit. A flag that the configuration leaves out is zero.
const TABLE: [(vm_flags_t, u64); 38] = [
    (flags::READ, MAPS_LOCKLESS_VMA_READ),
    (flags::WRITE, MAPS_LOCKLESS_VMA_WRITE),
    (flags::EXEC, MAPS_LOCKLESS_VMA_EXEC),
    // What maps calls shared: VM_SHARED is clear where a shared mapping cannot be written.
    (flags::MAYSHARE, MAPS_LOCKLESS_VMA_SHARED),
    (flags::SHARED, MAPS_LOCKLESS_VMA_SHARED_WRITABLE),
    (flags::MAYREAD, MAPS_LOCKLESS_VMA_MAYREAD),
    (flags::MAYWRITE, MAPS_LOCKLESS_VMA_MAYWRITE),
    (flags::MAYEXEC, MAPS_LOCKLESS_VMA_MAYEXEC),
    (flags::GROWSDOWN, MAPS_LOCKLESS_VMA_GROWSDOWN),
    (flags::MAYBE_GUARD, MAPS_LOCKLESS_VMA_MAYBE_GUARD),
    (flags::PFNMAP, MAPS_LOCKLESS_VMA_PFNMAP),
    (flags::MIXEDMAP, MAPS_LOCKLESS_VMA_MIXEDMAP),
    (flags::LOCKED, MAPS_LOCKLESS_VMA_LOCKED),
    (flags::LOCKONFAULT, MAPS_LOCKLESS_VMA_LOCKONFAULT),
    (flags::IO, MAPS_LOCKLESS_VMA_IO),
    (flags::SEQ_READ, MAPS_LOCKLESS_VMA_SEQ_READ),
    (flags::RAND_READ, MAPS_LOCKLESS_VMA_RAND_READ),
    (flags::DONTCOPY, MAPS_LOCKLESS_VMA_DONTCOPY),
    (flags::DONTEXPAND, MAPS_LOCKLESS_VMA_DONTEXPAND),
    (flags::ACCOUNT, MAPS_LOCKLESS_VMA_ACCOUNT),
    (flags::NORESERVE, MAPS_LOCKLESS_VMA_NORESERVE),
    (flags::HUGETLB, MAPS_LOCKLESS_VMA_HUGETLB),
    (flags::SYNC, MAPS_LOCKLESS_VMA_SYNC),
    (flags::BTI, MAPS_LOCKLESS_VMA_BTI),
    (flags::WIPEONFORK, MAPS_LOCKLESS_VMA_WIPEONFORK),
    (flags::DONTDUMP, MAPS_LOCKLESS_VMA_DONTDUMP),
    (flags::SOFTDIRTY, MAPS_LOCKLESS_VMA_SOFTDIRTY),
    (flags::HUGEPAGE, MAPS_LOCKLESS_VMA_HUGEPAGE),
    (flags::NOHUGEPAGE, MAPS_LOCKLESS_VMA_NOHUGEPAGE),
    (flags::MERGEABLE, MAPS_LOCKLESS_VMA_MERGEABLE),
    (flags::UFFD_MISSING, MAPS_LOCKLESS_VMA_UFFD_MISSING),
    (flags::UFFD_WP, MAPS_LOCKLESS_VMA_UFFD_WP),
    (flags::UFFD_MINOR, MAPS_LOCKLESS_VMA_UFFD_MINOR),
    (flags::UFFD_RWP, MAPS_LOCKLESS_VMA_UFFD_RWP),
    (flags::SHADOW_STACK, MAPS_LOCKLESS_VMA_SHADOW_STACK),
    (flags::DROPPABLE, MAPS_LOCKLESS_VMA_DROPPABLE),
    (flags::SEALED, MAPS_LOCKLESS_VMA_SEALED),
    (flags::MTE, MAPS_LOCKLESS_VMA_MTE),
];

/// Every bit that this kernel may set.
pub(crate) const SUPPORTED: u64 = {
    let mut bits = MAPS_LOCKLESS_VMA_FILE;
    let mut i = 0;
    while i < TABLE.len() {
        if TABLE[i].0 != 0 {
            bits |= TABLE[i].1;
        }
        i += 1;
    }
    bits
};

/// Translates `vm_flags`, and whether a file is mapped.
pub(crate) fn to_uapi(flags: vm_flags_t, file: bool) -> u64 {
    TABLE
        .iter()
        .filter(|(kernel, _)| flags & kernel != 0)
        .map(|(_, uapi)| uapi)
        .fold(
            if file { MAPS_LOCKLESS_VMA_FILE } else { 0 },
            |bits, uapi| bits | uapi,
        )
}

/// What a request has told of a VMA's flags, zero where it does not ask for it.
#[derive(Clone, Copy)]
pub(crate) struct Told {
    /// `MAPS_LOCKLESS_VMA_*`, but not whether a file is mapped.
    pub(crate) vma_flags: u64,
    pub(crate) pkey: u8,
}

/// The last answers, one for each combination of permissions.
///
/// The VMAs of a process have few different flags.
pub(crate) struct Memo {
    /// The number of the request that they are for.
    request: u64,
    answers: [(vm_flags_t, Told); 8],
}

impl Memo {
    pub(crate) fn new() -> Self {
        let nothing = Told {
            vma_flags: 0,
            pkey: 0,
        };
        Self {
            request: 0,
            // Right for the first, and no answer for the others, whose flags are not zero.
            answers: [(0, nothing); 8],
        }
    }

    /// Prepares for a request.
    pub(crate) fn prepare(&mut self, request: &Request) {
        if self.request != request.number {
            *self = Self::new();
            self.request = request.number;
        }
    }

    /// Translates `vm_flags` for the request that this was prepared for.
    #[inline]
    pub(crate) fn told(&mut self, flags: vm_flags_t, request: &Request) -> Told {
        let (asked, told) = &mut self.answers[flags % 8];
        if *asked != flags {
            *asked = flags;
            *told = Told::new(flags, request);
        }
        *told
    }
}

impl Told {
    #[cold]
    fn new(flags: vm_flags_t, request: &Request) -> Self {
        Self {
            vma_flags: if request.asks(MAPS_LOCKLESS_FIELD_FLAGS) {
                to_uapi(flags, false)
            } else {
                0
            },
            pkey: if request.asks(MAPS_LOCKLESS_FIELD_PKEY) {
                flags::pkey(flags)
            } else {
                0
            },
        }
    }
}

/// Translates back. What `vm_flags` has no bit for is dropped.
pub(crate) fn from_uapi(bits: u64) -> vm_flags_t {
    TABLE
        .iter()
        .filter(|(_, uapi)| bits & uapi != 0)
        .fold(0, |flags, (kernel, _)| flags | kernel)
}

#[cfg(CONFIG_PROC_MAPS_LOCKLESS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(maps_lockless_flags)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_is_one_bit_of_its_own() {
        let mut seen = MAPS_LOCKLESS_VMA_FILE;
        for (kernel, uapi) in TABLE {
            assert!(uapi.is_power_of_two() && seen & uapi == 0);
            seen |= uapi;
            assert_eq!(SUPPORTED & uapi, if kernel != 0 { uapi } else { 0 });
            assert_eq!(from_uapi(uapi), kernel);
            if kernel != 0 {
                assert_eq!(to_uapi(kernel, false), uapi);
            }
        }
    }

    #[test]
    fn answers_are_remembered_by_all_flags() {
        let mut memo = Memo::new();
        for (flags, _) in TABLE.iter().chain(&TABLE) {
            for flags in [*flags, flags | 7, 0] {
                let told = memo.told(flags, &Request::MAPS);
                assert_eq!(told.vma_flags, to_uapi(flags, false));
                assert_eq!(told.pkey, 0);
            }
        }
    }

    #[test]
    fn nothing_but_the_table_is_told() {
        let known = TABLE.iter().fold(0, |flags, (kernel, _)| flags | kernel);
        assert_eq!(to_uapi(!known, false), 0);
        assert_eq!(to_uapi(!known, true), MAPS_LOCKLESS_VMA_FILE);
        assert_eq!(to_uapi(!0, true), SUPPORTED);
        assert_eq!(from_uapi(!0), known);
        assert_eq!(from_uapi(MAPS_LOCKLESS_VMA_FILE), 0);
    }
}
