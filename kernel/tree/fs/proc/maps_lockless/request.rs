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
