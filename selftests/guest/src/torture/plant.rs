// SPDX-License-Identifier: MIT OR Apache-2.0

//! Leaks and faults that are put into what a reader was given, to show that it would find them.

use super::{
    Run,
    herd::Life,
    key::{Facts, Key},
};
use crate::rng::Rng;
use maps_lockless::{Source, wire::*};
use std::mem::offset_of;

/// What can be planted, and what must be said of it.
pub const PLANTS: [(&str, &str); 20] = [
    ("record", "broken: foreign"),
    ("name", "broken: foreign name"),
    ("offset", "broken: foreign offset"),
    ("inode", "broken: foreign inode"),
    ("range", "broken: foreign range"),
    ("permissions", "broken: foreign permissions"),
    ("build-id", "broken: foreign build ID"),
    ("pointer", "broken: pointer"),
    ("pointer-in-name", "broken: pointer"),
    ("order", "broken: order"),
    ("overlap", "broken: overlap"),
    ("skipped", "broken: skipped"),
    ("withheld", "broken: withheld"),
    ("zero", "broken: zero"),
    ("padding", "broken: padding"),
    ("progress", "broken: progress"),
    ("token", "broken: token"),
    ("query", "broken: foreign"),
    ("text", "broken: foreign"),
    ("idle", "broken: idle: lookup"),
];

const PAGE: u64 = 4096;
const FIXED: usize = size_of::<maps_lockless_vma>();
const HEADER: usize = size_of::<maps_lockless_batch>();

/// Plants what a run asks for. A reader has one of its own.
pub struct Planter<'a> {
    run: &'a Run,
    /// A record of another process's, and whose it is.
    other: Option<(Key, [u8; FIXED])>,
    /// Whether what comes is read for the second time, to be compared.
    pub second: bool,
}

/// A record's place in a batch.
#[derive(Clone, Copy)]
struct At(usize);

impl At {
    fn get(self, bytes: &[u8], field: usize) -> u64 {
        u64::from_ne_bytes(bytes[self.0 + field..][..8].try_into().unwrap_or_default())
    }

    fn set(self, bytes: &mut [u8], field: usize, value: u64) {
        bytes[self.0 + field..][..8].copy_from_slice(&value.to_ne_bytes());
    }

    fn get_32(self, bytes: &[u8], field: usize) -> u32 {
        u32::from_ne_bytes(bytes[self.0 + field..][..4].try_into().unwrap_or_default())
    }

    fn size(self, bytes: &[u8]) -> usize {
        self.get_32(bytes, offset_of!(maps_lockless_vma, size)) as usize
    }
}

const START: usize = offset_of!(maps_lockless_vma, start);
const END: usize = offset_of!(maps_lockless_vma, end);
const VMA_START: usize = offset_of!(maps_lockless_vma, vma_start);
const VALID: usize = offset_of!(maps_lockless_vma, valid);
const VMA_FLAGS: usize = offset_of!(maps_lockless_vma, vma_flags);
const PGOFF: usize = offset_of!(maps_lockless_vma, pgoff);
const INO: usize = offset_of!(maps_lockless_vma, ino);

impl<'a> Planter<'a> {
    /// That of a reader.
    pub fn new(run: &'a Run) -> Self {
        Self {
            run,
            other: None,
            second: false,
        }
    }

    /// Whether a reader is to seem idle.
    pub fn is_idle(&self, name: &str) -> bool {
        self.run.plant == "idle" && name == "lookup"
    }

    /// What a peer's mappings are compared with: another process's, if that is to be planted.
    pub fn facts(&self, source: Source, life: &Life, rng: &mut Rng) -> Facts {
        let planted = match source {
            Source::Query => self.run.plant == "query",
            Source::Maps => self.run.plant == "text",
            _ => false,
        };
        let other = planted.then(|| self.run.herd.other(life.facts.key, rng));
        match other.flatten() {
            Some(other) => other.facts.clone(),
            None => life.facts.clone(),
        }
    }

    /// Plants something in a batch, where it has a place for it.
    pub fn plant(&mut self, bytes: &mut [u8], facts: &Facts) {
        if self.run.plant.is_empty() || bytes.len() < HEADER + FIXED {
            return;
        }
        if self.run.plant == "progress" {
            let flags = offset_of!(maps_lockless_batch, flags);
            bytes[flags] &= !(MAPS_LOCKLESS_BATCH_FINAL as u8);
            At(0).set(bytes, offset_of!(maps_lockless_batch, next), 0);
            return;
        }
        let mut last: Option<At> = None;
        let mut at = At(HEADER);
        while at.0 + FIXED <= bytes.len() {
            let size = at.size(bytes);
            if self.plant_record(bytes, at, last, facts) {
                return;
            }
            last = Some(at);
            at = At(at.0 + size);
        }
    }

    /// Plants something in a record, if that has a place for it.
    fn plant_record(&mut self, bytes: &mut [u8], at: At, last: Option<At>, facts: &Facts) -> bool {
        let (start, end) = (at.get(bytes, START), at.get(bytes, END));
        let flags = at.get_32(bytes, offset_of!(maps_lockless_vma, flags));
        let arena = facts.key.arena();
        let in_arena = arena.contains(&start) && end <= arena.end && flags == 0;
        let valid = at.get(bytes, VALID);
        let has = |field| in_arena && valid & field != 0;
        match self.run.plant.as_str() {
            "record" if has(MAPS_LOCKLESS_FIELD_INO) => {
                let own: [u8; FIXED] = bytes[at.0..][..FIXED].try_into().unwrap_or([0; FIXED]);
                match self.other.replace((facts.key, own)) {
                    Some((key, other)) if key != facts.key && other[..START] == own[..START] => {
                        // All but where it is, and where its name is.
                        let fields = VMA_FLAGS..offset_of!(maps_lockless_vma, name_off);
                        bytes[at.0..][fields.clone()].copy_from_slice(&other[fields]);
                        true
                    }
                    _ => false,
                }
            }
            "name" if has(MAPS_LOCKLESS_FIELD_NAME) => {
                let off = at.get_32(bytes, offset_of!(maps_lockless_vma, name_off)) as usize;
                let len = at.get_32(bytes, offset_of!(maps_lockless_vma, name_len)) as usize;
                let own = facts.key.to_string();
                let name = &mut bytes[off..off + len];
                let Some(place) = name
                    .windows(own.len())
                    .position(|part| part == own.as_bytes())
                else {
                    return false;
                };
                let other = Key(facts.key.0 + 1).to_string();
                name[place..place + own.len()].copy_from_slice(other.as_bytes());
                true
            }
            "offset" if has(MAPS_LOCKLESS_FIELD_PGOFF) => {
                at.set(bytes, PGOFF, at.get(bytes, PGOFF) + 4096 * PAGE);
                true
            }
            "inode" if has(MAPS_LOCKLESS_FIELD_INO) => {
                at.set(bytes, INO, at.get(bytes, INO) + 3);
                true
            }
            "range" if in_arena => {
                let other = Key(facts.key.0 + 2).arena();
                let next = At(at.0 + at.size(bytes));
                let is_last = next.0 == bytes.len() || next.get(bytes, START) >= other.end;
                if !is_last {
                    // It would be out of order, too.
                    return false;
                }
                at.set(bytes, START, other.start);
                at.set(bytes, VMA_START, other.start);
                at.set(bytes, END, other.end);
                true
            }
            "permissions" if has(MAPS_LOCKLESS_FIELD_FLAGS) => {
                let allowed = facts.key.protections();
                let other = (0..8).find(|prot| !allowed.contains(prot)).unwrap_or(2);
                at.set(bytes, VMA_FLAGS, at.get(bytes, VMA_FLAGS) & !7 | other);
                true
            }
            "build-id" if has(MAPS_LOCKLESS_FIELD_BUILD_ID) => {
                let off = at.get_32(bytes, offset_of!(maps_lockless_vma, build_id_off)) as usize;
                bytes[off + 4] ^= 1;
                true
            }
            "pointer" if valid & MAPS_LOCKLESS_FIELD_FLAGS != 0 => {
                at.set(bytes, VMA_FLAGS, 0xffff_8880_0123_4560);
                true
            }
            "pointer-in-name" if has(MAPS_LOCKLESS_FIELD_NAME) => {
                let off = at.get_32(bytes, offset_of!(maps_lockless_vma, name_off)) as usize;
                let len = at.get_32(bytes, offset_of!(maps_lockless_vma, name_len));
                // Another record's name stands elsewhere.
                let is_own = off > at.0 && len > 12;
                if is_own {
                    At(off).set(bytes, 3, 0xffff_8880_0123_4560);
                }
                is_own
            }
            "order" => match last {
                Some(last) => {
                    for field in [START, END, VMA_START] {
                        at.set(bytes, field, last.get(bytes, field));
                    }
                    true
                }
                None => false,
            },
            "overlap" => match last {
                Some(last) if last.get(bytes, END) == start && flags == 0 => {
                    at.set(bytes, START, start - PAGE);
                    at.set(bytes, VMA_START, start - PAGE);
                    true
                }
                _ => false,
            },
            "skipped" => {
                let begins = facts.key.sentinels().any(|page| page.start == start);
                if !begins || end - start == PAGE || flags != 0 {
                    return false;
                }
                at.set(bytes, START, start + PAGE);
                at.set(bytes, VMA_START, start + PAGE);
                true
            }
            "withheld" if has(MAPS_LOCKLESS_FIELD_FLAGS) => {
                let flags = at.0 + offset_of!(maps_lockless_vma, flags);
                bytes[flags] |= MAPS_LOCKLESS_REC_WITHHELD as u8;
                true
            }
            "zero" if has(MAPS_LOCKLESS_FIELD_INO) => {
                at.set(bytes, VALID, valid & !MAPS_LOCKLESS_FIELD_INO);
                true
            }
            "padding" => {
                let size = at.size(bytes);
                let last = at.0 + size - 1;
                if size == FIXED || bytes[last] != 0 {
                    return false;
                }
                bytes[last] = 1;
                true
            }
            "token" if self.second => {
                let flags = at.get(bytes, VMA_FLAGS);
                at.set(bytes, VMA_FLAGS, flags ^ MAPS_LOCKLESS_VMA_DONTCOPY);
                true
            }
            _ => false,
        }
    }
}
