// SPDX-License-Identifier: GPL-2.0

//! What a reader asks for: which fields, of which VMAs.

use super::{flags, wire::*};
use kernel::{
    mm::{
        lockless::is_within_stamps,
        virt::{flags as vm_flags, vm_flags_t},
    },
    prelude::*,
};

/// The fields that a file has, and not a mapping of it.
pub(crate) const FILE_FIELDS: u64 = MAPS_LOCKLESS_FIELD_DEV
    | MAPS_LOCKLESS_FIELD_INO
    | MAPS_LOCKLESS_FIELD_PATH
    | MAPS_LOCKLESS_FIELD_DELETED
    | MAPS_LOCKLESS_FIELD_BUILD_ID;

/// Every field that this kernel can fill on this machine.
pub(crate) fn supported_fields() -> u64 {
    MAPS_LOCKLESS_FIELDS_MAPS
        | MAPS_LOCKLESS_FIELD_BUILD_ID
        | MAPS_LOCKLESS_FIELD_PAGE_SIZE
        | if vm_flags::has_pkeys() {
            MAPS_LOCKLESS_FIELD_PKEY
        } else {
            0
        }
}

/// What to read.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    /// Its number. 0: user space has sent none.
    pub(crate) number: u64,
    /// `MAPS_LOCKLESS_FIELD_*`.
    fields: u64,
    /// Whether the three below leave anything out.
    by_flags: bool,
    all: Mask,
    any: Mask,
    none: Mask,
    /// VMAs that end at this address or below are left out.
    pub(crate) start: usize,
    /// VMAs that start at this address or above are left out.
    pub(crate) end: usize,
    /// The most mappings that one read returns.
    pub(crate) max_records: u32,
    /// The address space of an earlier listing, or 0,
    since_mm_id: u64,
    /// and the change count with which it was proved consistent.
    since_seq: u64,
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

    fn to_uapi(self) -> u64 {
        flags::to_uapi(self.flags, self.file)
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
    /// What maps shows. As a request of nothing but zeroes.
    pub(crate) const MAPS: Self = Self {
        number: 0,
        fields: MAPS_LOCKLESS_FIELDS_MAPS,
        by_flags: false,
        all: Mask::EMPTY,
        any: Mask::EMPTY,
        none: Mask::EMPTY,
        start: 0,
        end: usize::MAX,
        max_records: u32::MAX,
        since_mm_id: 0,
        since_seq: 0,
    };

    /// Makes one of what user space sent.
    pub(crate) fn new(asked: &maps_lockless_request) -> Result<Self> {
        let end = match asked.end {
            0 => u64::MAX,
            end => end,
        };
        if asked.fields_wanted & !supported_fields() != 0
            || asked.reserved != 0
            || asked.start >= end
            // No listing is proved with such a count.
            || asked.since_seq & 1 != 0
            || (asked.since_mm_id == 0 && asked.since_seq != 0)
        {
            return Err(EINVAL);
        }
        let [all, any, none] = [
            Mask::from_uapi(asked.vma_flags_all)?,
            Mask::from_uapi(asked.vma_flags_any)?,
            Mask::from_uapi(asked.vma_flags_none)?,
        ];
        Ok(Self {
            number: 0,
            fields: match asked.fields_wanted {
                0 => MAPS_LOCKLESS_FIELDS_MAPS,
                fields => fields | MAPS_LOCKLESS_FIELD_RANGE,
            },
            by_flags: !(all.is_empty() && any.is_empty() && none.is_empty()),
            all,
            any,
            none,
            // No truncation: the option depends on 64BIT.
            start: asked.start as usize,
            end: end as usize,
            max_records: match asked.max_records {
                0 => u32::MAX,
                max => max,
            },
            since_mm_id: asked.since_mm_id,
            since_seq: asked.since_seq,
        })
    }

    /// What user space would send to get this one.
    pub(crate) fn to_uapi(self) -> maps_lockless_request {
        maps_lockless_request {
            size: size_of::<maps_lockless_request>() as u64,
            fields_wanted: self.fields,
            vma_flags_all: self.all.to_uapi(),
            vma_flags_any: self.any.to_uapi(),
            vma_flags_none: self.none.to_uapi(),
            start: self.start as u64,
            end: if self.end == usize::MAX {
                0
            } else {
                self.end as u64
            },
            max_records: if self.max_records == u32::MAX {
                0
            } else {
                self.max_records
            },
            since_mm_id: self.since_mm_id,
            since_seq: self.since_seq,
            request: self.number,
            ..Default::default()
        }
    }

    /// `MAPS_LOCKLESS_FIELD_*` that are asked for.
    pub(crate) fn fields(&self) -> u64 {
        self.fields
    }

    /// The change count since which changes alone are asked for, of an address space with this
    /// identity and change count.
    pub(crate) fn since(&self, mm_id: u64, seq: u64) -> Option<u64> {
        // A VMA gets this flag without being locked. It would be among those that have not changed,
        // though it was not asked for before.
        let guard = flags::from_uapi(MAPS_LOCKLESS_VMA_MAYBE_GUARD);
        let may_join = self.all.meets(guard, false) || self.any.meets(guard, false);
        let is_known = self.since_mm_id != 0 && self.since_mm_id == mm_id;
        (is_known && !may_join && is_within_stamps(self.since_seq, seq)).then_some(self.since_seq)
    }

    /// Whether one of these fields is asked for.
    pub(crate) fn asks(&self, fields: u64) -> bool {
        self.fields & fields != 0
    }

    /// Whether files have to be looked at.
    pub(crate) fn asks_files(&self) -> bool {
        self.asks(FILE_FIELDS | MAPS_LOCKLESS_FIELD_PAGE_SIZE)
    }

    /// Whether a VMA with these flags, that maps a file or not, is asked for.
    #[inline]
    pub(crate) fn wants(&self, flags: vm_flags_t, file: bool) -> bool {
        !self.by_flags
            || (self.all.is_within(flags, file)
                && !self.none.meets(flags, file)
                && (self.any.is_empty() || self.any.meets(flags, file)))
    }

    /// Whether there may be VMAs that are not asked for because of their flags.
    pub(crate) fn selects_by_flags(&self) -> bool {
        self.by_flags
    }

    /// Whether there may be VMAs that are not asked for.
    pub(crate) fn selects(&self) -> bool {
        self.selects_by_flags() || self.start != 0 || self.end != usize::MAX
    }
}

#[cfg(CONFIG_PROC_MAPS_LOCKLESS_KUNIT_TEST)]
#[kunit_tests(maps_lockless_request)]
mod tests {
    use super::*;

    const MAPS: maps_lockless_request = maps_lockless_request {
        size: MAPS_LOCKLESS_REQUEST_SIZE_VER0 as u64,
        fields_wanted: 0,
        vma_flags_all: 0,
        vma_flags_any: 0,
        vma_flags_none: 0,
        start: 0,
        end: 0,
        max_records: 0,
        reserved: 0,
        since_mm_id: 0,
        since_seq: 0,
        request: 0,
        fields_supported: 0,
        vma_flags_supported: 0,
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
                fields_wanted: bit,
                ..MAPS
            };
            let known = supported_fields() & bit != 0;
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

    /// What is read back asks for the same.
    #[test]
    fn requests_are_read_back() -> Result {
        let asked = maps_lockless_request {
            fields_wanted: MAPS_LOCKLESS_FIELD_RANGE | MAPS_LOCKLESS_FIELD_INO,
            vma_flags_all: MAPS_LOCKLESS_VMA_EXEC | MAPS_LOCKLESS_VMA_FILE,
            vma_flags_any: MAPS_LOCKLESS_VMA_READ,
            vma_flags_none: MAPS_LOCKLESS_VMA_SHARED,
            start: 0x1000,
            end: 0x5000,
            max_records: 7,
            ..MAPS
        };
        for request in [asked, MAPS] {
            let told = Request::new(&request)?.to_uapi();
            let again = Request::new(&told)?.to_uapi();
            assert_eq!(told.as_bytes(), again.as_bytes());
            assert_eq!(told.vma_flags_all, request.vma_flags_all);
            assert_eq!(told.vma_flags_any, request.vma_flags_any);
            assert_eq!(told.vma_flags_none, request.vma_flags_none);
            assert!(told.start == request.start && told.end == request.end);
            assert_eq!(told.max_records, request.max_records);
        }
        assert_eq!(Request::new(&asked)?.fields(), asked.fields_wanted);
        assert_eq!(
            Request::MAPS.to_uapi().fields_wanted,
            MAPS_LOCKLESS_FIELDS_MAPS
        );
        Ok(())
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
