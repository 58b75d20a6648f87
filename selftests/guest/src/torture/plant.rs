// SPDX-License-Identifier: MIT OR Apache-2.0

//! Leaks and faults that are put into what a reader was given, to show that it would find them.

use super::{
    Run,
    herd::Life,
    key::{Facts, Key},
};
use crate::{
    raw::{FILE_RECORD, HEADER, RECORD, SMALLEST},
    rng::Rng,
};
use maps_lockless::{Source, wire::*};
use std::mem::offset_of;

/// What can be planted, and what must be said of it.
pub const PLANTS: [(&str, &str); 24] = [
    ("record", "broken: foreign"),
    ("file", "broken: foreign name"),
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
    ("batch", "broken: progress"),
    ("token", "broken: token"),
    ("unchanged", "broken: unchanged"),
    ("since", "broken: unchanged"),
    ("query", "broken: foreign"),
    ("text", "broken: foreign"),
    ("idle", "broken: idle: lookup"),
];

const PAGE: u64 = 4096;

/// Plants what a run asks for. A reader has one of its own.
pub struct Planter<'a> {
    run: &'a Run,
    /// A record of another process's, of a mapping or of a file, and whose it is.
    other: Option<(Key, Vec<u8>)>,
    /// Whether what comes is read for the second time, to be compared.
    pub second: bool,
    /// Whether what comes is followed. Nothing but what is for that is planted then.
    pub following: bool,
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

    /// Every record begins with its type, its fixed part's bytes and its own.
    fn r#type(self, bytes: &[u8]) -> u16 {
        self.get_32(bytes, 0) as u16
    }

    fn size(self, bytes: &[u8]) -> usize {
        self.get_32(bytes, offset_of!(maps_lockless_vma, size)) as usize
    }

    fn all(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.0..self.0 + self.size(bytes)]
    }
}

const START: usize = offset_of!(maps_lockless_vma, start);
const END: usize = offset_of!(maps_lockless_vma, end);
const VMA_START: usize = offset_of!(maps_lockless_vma, vma_start);
const VMA_FLAGS: usize = offset_of!(maps_lockless_vma, vma_flags);
const OFFSET: usize = offset_of!(maps_lockless_vma, offset);
const INO: usize = offset_of!(maps_lockless_file, ino);
/// Of mappings and of files.
const VALID: usize = offset_of!(maps_lockless_vma, valid);
const _: () = assert!(VALID == offset_of!(maps_lockless_file, valid));

impl<'a> Planter<'a> {
    /// That of a reader.
    pub fn new(run: &'a Run) -> Self {
        Self {
            run,
            other: None,
            second: false,
            following: false,
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

    /// Whether a batch is to be taken out of its listing: one that is neither the first nor the last.
    pub fn takes_out(&self, bytes: &[u8]) -> bool {
        let flags = MAPS_LOCKLESS_BATCH_FIRST | MAPS_LOCKLESS_BATCH_FINAL;
        self.run.plant == "batch"
            && bytes.len() > HEADER
            && At(0).get_32(bytes, offset_of!(maps_lockless_batch, flags)) & flags == 0
    }

    /// The change count since which a reader asks for changes: if that is to be planted, one that is later than what
    /// it has listed.
    pub fn since(&self, listed: u64, now: u64) -> u64 {
        if self.run.plant == "since" {
            now & !1
        } else {
            listed
        }
    }

    /// Plants something in a batch, where it has a place for it.
    pub fn plant(&mut self, bytes: &mut [u8], facts: &Facts) {
        let plant = &self.run.plant;
        if plant.is_empty() || bytes.len() < SMALLEST || self.following != (plant == "unchanged") {
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
        while at.0 < bytes.len() {
            let planted = match at.r#type(bytes) {
                MAPS_LOCKLESS_TYPE_VMA => {
                    let planted = self.plant_mapping(bytes, at, last, facts);
                    last = Some(at);
                    planted
                }
                MAPS_LOCKLESS_TYPE_FILE => self.plant_file(bytes, at, facts),
                MAPS_LOCKLESS_TYPE_UNCHANGED => {
                    let count = offset_of!(maps_lockless_unchanged, vma_count);
                    let more = at.get_32(bytes, count) + 1;
                    bytes[at.0 + count..][..4].copy_from_slice(&more.to_ne_bytes());
                    true
                }
                _ => false,
            };
            if planted {
                return;
            }
            at = At(at.0 + at.size(bytes));
        }
    }

    /// Keeps a record. Returns another process's of the same size, if it kept one before.
    fn other(&mut self, own: &[u8], facts: &Facts) -> Option<Vec<u8>> {
        match self.other.replace((facts.key, own.to_vec())) {
            Some((key, other)) if key != facts.key && other.len() == own.len() => Some(other),
            _ => None,
        }
    }

    /// Plants something in a file's record, if that has a place for it.
    fn plant_file(&mut self, bytes: &mut [u8], at: At, facts: &Facts) -> bool {
        let own = facts.key.to_string();
        let path_len = at.get_32(bytes, offset_of!(maps_lockless_file, path_len)) as usize;
        let id_len = at.get_32(bytes, offset_of!(maps_lockless_file, build_id_len));
        let path = at.0 + FILE_RECORD..at.0 + FILE_RECORD + path_len;
        let is_keyed = has(&bytes[path.clone()], own.as_bytes());
        let valid = at.get(bytes, VALID);
        match self.run.plant.as_str() {
            "file" if is_keyed => {
                let record = at.all(bytes).to_vec();
                match self.other(&record, facts) {
                    // With the same fields.
                    Some(other) if other[..VALID + 8] == record[..VALID + 8] => {
                        bytes[at.0..at.0 + other.len()].copy_from_slice(&other);
                        true
                    }
                    _ => false,
                }
            }
            "inode" if is_keyed && valid & MAPS_LOCKLESS_FIELD_INO != 0 => {
                at.set(bytes, INO, at.get(bytes, INO) + 3);
                true
            }
            "build-id" if is_keyed && id_len > 4 => {
                bytes[path.start + path_len.next_multiple_of(8) + 4] ^= 1;
                true
            }
            "pointer-in-name" if path_len > 12 => {
                At(path.start).set(bytes, 3, POINTER);
                true
            }
            "zero" if valid & MAPS_LOCKLESS_FIELD_INO != 0 => {
                at.set(bytes, VALID, valid & !MAPS_LOCKLESS_FIELD_INO);
                true
            }
            "padding" if path_len % 8 != 0 => {
                bytes[path.end] = 1;
                true
            }
            _ => false,
        }
    }

    /// Plants something in a mapping's record, if that has a place for it.
    fn plant_mapping(&mut self, bytes: &mut [u8], at: At, last: Option<At>, facts: &Facts) -> bool {
        let (start, end) = (at.get(bytes, START), at.get(bytes, END));
        let flags = at.get_32(bytes, offset_of!(maps_lockless_vma, flags));
        let arena = facts.key.arena();
        let in_arena = arena.contains(&start) && end <= arena.end && flags == 0;
        let valid = at.get(bytes, VALID);
        let has_field = |field| in_arena && valid & field != 0;
        match self.run.plant.as_str() {
            "record" if has_field(MAPS_LOCKLESS_FIELD_OFFSET) => {
                let record = at.all(bytes)[..RECORD].to_vec();
                match self.other(&record, facts) {
                    Some(other) if other[..START] == record[..START] => {
                        // All but where it is, and where its file is.
                        let fields = VMA_FLAGS..offset_of!(maps_lockless_vma, file);
                        bytes[at.0..][fields.clone()].copy_from_slice(&other[fields]);
                        true
                    }
                    _ => false,
                }
            }
            "name" if has_field(MAPS_LOCKLESS_FIELD_NAME) => {
                let own = facts.key.to_string();
                let end = at.0 + at.size(bytes);
                let name = &mut bytes[at.0 + RECORD..end];
                let Some(place) = position(name, own.as_bytes()) else {
                    return false;
                };
                let other = Key(facts.key.0 + 1).to_string();
                name[place..place + own.len()].copy_from_slice(other.as_bytes());
                true
            }
            "offset" if has_field(MAPS_LOCKLESS_FIELD_OFFSET) => {
                at.set(bytes, OFFSET, at.get(bytes, OFFSET) + 4096 * PAGE);
                true
            }
            "range" if in_arena => {
                let other = Key(facts.key.0 + 2).arena();
                let mut next = At(at.0 + at.size(bytes));
                while next.0 < bytes.len() && next.r#type(bytes) != MAPS_LOCKLESS_TYPE_VMA {
                    next = At(next.0 + next.size(bytes));
                }
                // What follows would be out of order, too.
                if next.0 >= bytes.len() || next.get(bytes, START) < other.end {
                    return false;
                }
                at.set(bytes, START, other.start);
                at.set(bytes, VMA_START, other.start);
                at.set(bytes, END, other.end);
                true
            }
            "permissions" if has_field(MAPS_LOCKLESS_FIELD_FLAGS) => {
                let allowed = facts.key.protections();
                let other = (0..8).find(|prot| !allowed.contains(prot)).unwrap_or(2);
                at.set(bytes, VMA_FLAGS, at.get(bytes, VMA_FLAGS) & !7 | other);
                true
            }
            "pointer" if valid & MAPS_LOCKLESS_FIELD_FLAGS != 0 => {
                let file = at.get(bytes, VMA_FLAGS) & MAPS_LOCKLESS_VMA_FILE;
                at.set(bytes, VMA_FLAGS, POINTER & !MAPS_LOCKLESS_VMA_FILE | file);
                true
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
            "withheld" if has_field(MAPS_LOCKLESS_FIELD_FLAGS) => {
                let flags = at.0 + offset_of!(maps_lockless_vma, flags);
                bytes[flags] |= MAPS_LOCKLESS_REC_WITHHELD as u8;
                true
            }
            "token" if self.second && valid & MAPS_LOCKLESS_FIELD_FLAGS != 0 => {
                let flags = at.get(bytes, VMA_FLAGS);
                at.set(bytes, VMA_FLAGS, flags ^ MAPS_LOCKLESS_VMA_DONTCOPY);
                true
            }
            _ => false,
        }
    }
}

/// An address of the kernel's.
const POINTER: u64 = 0xffff_8880_0123_4560;

/// Where in `bytes` a part of them begins.
fn position(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    position(bytes, part).is_some()
}
