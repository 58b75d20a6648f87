// SPDX-License-Identifier: GPL-2.0

//! What a reader asks for: which fields, of which VMAs.

use super::{flags, wire::*};
use kernel::{mm::virt::vm_flags_t, prelude::*};

/// Every field that this kernel can fill.
pub(crate) const SUPPORTED_FIELDS: u64 = MAPS_LOCKLESS_FIELDS_MAPS | MAPS_LOCKLESS_FIELD_BUILD_ID;

/// What to read.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    /// `MAPS_LOCKLESS_FIELD_*`.
    fields: u64,
    all: Mask,
    any: Mask,
    none: Mask,
    /// VMAs that end at this address or below are left out.
    pub(crate) start: usize,
    /// VMAs that start at this address or above are left out.
    pub(crate) end: usize,
    /// The most records that one read returns.
    pub(crate) max_records: u32,
}

/// Some of the flags that a VMA can have, in the kernel's terms.
#[derive(Clone, Copy)]
struct Mask {
    flags: vm_flags_t,
    file: bool,
}

impl Mask {
    const EMPTY: Self = Self {
        flags: 0,
        file: false,
    };

    fn from_uapi(bits: u64) -> Result<Self> {
        if bits & !flags::SUPPORTED != 0 {
            return Err(EINVAL);
        }
        Ok(Self {
            flags: flags::from_uapi(bits),
            file: bits & MAPS_LOCKLESS_VMA_FILE != 0,
        })
    }

    fn is_empty(self) -> bool {
        self.flags == 0 && !self.file
    }

    /// Whether a VMA has one of these.
    fn meets(self, flags: vm_flags_t, file: bool) -> bool {
        self.flags & flags != 0 || (self.file && file)
    }

    /// Whether a VMA has all of these.
    fn is_within(self, flags: vm_flags_t, file: bool) -> bool {
        self.flags & !flags == 0 && (file || !self.file)
    }
}

impl Request {
    /// What maps shows.
    pub(crate) const MAPS: Self = Self {
        fields: MAPS_LOCKLESS_FIELDS_MAPS,
        all: Mask::EMPTY,
        any: Mask::EMPTY,
        none: Mask::EMPTY,
        start: 0,
        end: usize::MAX,
        max_records: u32::MAX,
    };

    /// Makes one of what user space sent.
    pub(crate) fn new(asked: &maps_lockless_request) -> Result<Self> {
        let end = match asked.end {
            0 => u64::MAX,
            end => end,
        };
        if asked.fields & !SUPPORTED_FIELDS != 0 || asked.reserved != 0 || asked.start >= end {
            return Err(EINVAL);
        }
        Ok(Self {
            fields: asked.fields,
            all: Mask::from_uapi(asked.vma_flags_all)?,
            any: Mask::from_uapi(asked.vma_flags_any)?,
            none: Mask::from_uapi(asked.vma_flags_none)?,
            // No truncation: the option depends on 64BIT.
            start: asked.start as usize,
            end: end as usize,
            max_records: match asked.max_records {
                0 => u32::MAX,
                max => max,
            },
        })
    }

    /// `MAPS_LOCKLESS_FIELD_*` that are asked for.
    pub(crate) fn fields(&self) -> u64 {
        self.fields
    }

    /// Whether one of these fields is asked for.
    pub(crate) fn asks(&self, fields: u64) -> bool {
        self.fields & fields != 0
    }

    /// Whether a VMA with these flags, that maps a file or not, is asked for.
    pub(crate) fn wants(&self, flags: vm_flags_t, file: bool) -> bool {
        self.all.is_within(flags, file)
            && !self.none.meets(flags, file)
            && (self.any.is_empty() || self.any.meets(flags, file))
    }

    /// Whether there may be VMAs that are not asked for.
    pub(crate) fn selects(&self) -> bool {
        !(self.all.is_empty() && self.any.is_empty() && self.none.is_empty())
            || self.start != 0
            || self.end != usize::MAX
    }
}

#[cfg(CONFIG_PROC_MAPS_LOCKLESS_KUNIT_TEST)]
#[kunit_tests(maps_lockless_request)]
mod tests {
    use super::*;

    const MAPS: maps_lockless_request = maps_lockless_request {
        size: MAPS_LOCKLESS_REQUEST_SIZE_VER0 as u64,
        fields: MAPS_LOCKLESS_FIELDS_MAPS,
        vma_flags_all: 0,
        vma_flags_any: 0,
        vma_flags_none: 0,
        start: 0,
        end: 0,
        max_records: 0,
        reserved: 0,
        supported_fields: 0,
        supported_vma_flags: 0,
    };

    #[test]
    fn zeroes_mean_everything() -> Result {
        for request in [Request::MAPS, Request::new(&MAPS)?] {
            assert!(!request.selects());
            assert_eq!(request.fields(), MAPS_LOCKLESS_FIELDS_MAPS);
            assert!(request.wants(0, false) && request.wants(!0, true));
            assert!(request.start == 0 && request.end == usize::MAX);
            assert_eq!(request.max_records, u32::MAX);
        }
        Ok(())
    }

    #[test]
    fn each_bit_is_known_or_refused() {
        for bit in (0..64).map(|n| 1_u64 << n) {
            let fields = maps_lockless_request {
                fields: bit,
                ..MAPS
            };
            let known = SUPPORTED_FIELDS & bit != 0;
            assert_eq!(Request::new(&fields).is_ok(), known);
            let known = flags::SUPPORTED & bit != 0;
            for request in [
                maps_lockless_request {
                    vma_flags_all: bit,
                    ..MAPS
                },
                maps_lockless_request {
                    vma_flags_any: bit,
                    ..MAPS
                },
                maps_lockless_request {
                    vma_flags_none: bit,
                    ..MAPS
                },
            ] {
                let request = Request::new(&request);
                assert_eq!(request.is_ok(), known);
                assert!(request.map_or(true, |request| request.selects()));
            }
        }
    }

    #[test]
    fn ranges_and_reserved_bits() {
        let with = |start, end, reserved| {
            Request::new(&maps_lockless_request {
                start,
                end,
                reserved,
                ..MAPS
            })
        };
        assert!(with(0, 1, 0).is_ok_and(|request| request.selects()));
        assert!(with(u64::MAX - 1, 0, 0).is_ok_and(|request| request.selects()));
        assert!(with(u64::MAX, 0, 0).is_err());
        assert!(with(1, 1, 0).is_err());
        assert!(with(2, 1, 0).is_err());
        assert!(with(0, 0, 1).is_err());
    }

    /// All masks of three flags, one of which is that a file is mapped, on all VMAs.
    #[test]
    fn masks_select() -> Result {
        const BITS: [u64; 3] = [
            MAPS_LOCKLESS_VMA_READ,
            MAPS_LOCKLESS_VMA_WRITE,
            MAPS_LOCKLESS_VMA_FILE,
        ];
        let bits = |set: u32| {
            (0..3)
                .filter(|n| set & (1 << n) != 0)
                .fold(0, |bits, n| bits | BITS[n])
        };
        for masks in 0..8 * 8 * 8 {
            let (all, any, none) = (bits(masks & 7), bits(masks >> 3 & 7), bits(masks >> 6));
            let request = Request::new(&maps_lockless_request {
                vma_flags_all: all,
                vma_flags_any: any,
                vma_flags_none: none,
                ..MAPS
            })?;
            for vma in (0..8).map(bits) {
                let expected = vma & all == all && (any == 0 || vma & any != 0) && vma & none == 0;
                let file = vma & MAPS_LOCKLESS_VMA_FILE != 0;
                assert_eq!(request.wants(flags::from_uapi(vma), file), expected);
            }
        }
        Ok(())
    }
}
