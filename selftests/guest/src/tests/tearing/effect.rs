// SPDX-License-Identifier: MIT OR Apache-2.0

//! An effect as a state machine: what a place is before and after, and what may be seen on the way.

use super::mutator::{PLACES, Place};
use crate::shapes::PAGE;
use maps_lockless::{decode::Vma, wire::*};

/// What may be seen of a place.
///
/// The pattern is the place's records, with spaces between them: first page, end, and what
/// [`Effect::show`] tells of the fields. `<` and a page follow where the record is clipped and the
/// mapping begins there: `0-4:r 4-8:rx<0`. `!` at the end is of a record that must be marked unstable.
#[derive(Clone, Copy)]
pub struct Outcome {
    pub name: &'static str,
    pub pattern: &'static str,
    pub kind: Kind,
    /// Why it need not be seen.
    pub unseen: Option<&'static str>,
}

/// Why an outcome need not be seen that takes two walks to neighbours.
pub const ANOTHER_WALK: &str = "the neighbours must be found by two walks, and so something must be changing at \
                                both of them";

/// What kind of outcome.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// What the process has while it makes no system call.
    Rest,
    /// What it has only during one, or never. Never shown by a listing that is proved consistent.
    Torn,
    /// A record whose offset in the file is another than that of its start, `0-4@2`. It must be marked
    /// unstable. The place's records are another outcome besides.
    Offset,
}

impl Outcome {
    const fn new(name: &'static str, pattern: &'static str, kind: Kind) -> Self {
        Self {
            name,
            pattern,
            kind,
            unseen: None,
        }
    }

    /// It may be missing from a run.
    pub const fn rare(mut self, why: &'static str) -> Self {
        self.unseen = Some(why);
        self
    }
}

pub const fn rest(name: &'static str, pattern: &'static str) -> Outcome {
    Outcome::new(name, pattern, Kind::Rest)
}

pub const fn torn(name: &'static str, pattern: &'static str) -> Outcome {
    Outcome::new(name, pattern, Kind::Torn)
}

pub const fn offset(name: &'static str, pattern: &'static str) -> Outcome {
    Outcome::new(name, pattern, Kind::Offset)
}

/// Where the places are.
#[derive(Clone, Copy, PartialEq)]
pub enum Arena {
    /// In a range of their own, each empty at first, with a page that stays between them.
    Mapped,
    /// One place, at the heap's end.
    Heap,
    /// One place, at the stack's end.
    Stack,
}

/// A change, and what may be seen of it.
pub struct Effect {
    pub name: &'static str,
    pub arena: Arena,
    /// Pages of a place.
    pub pages: usize,
    /// Done once.
    pub setup: fn(&Place<'_>) -> bool,
    /// Makes a place what it is before the change.
    pub before: fn(&Place<'_>) -> bool,
    pub change: fn(&Place<'_>) -> bool,
    /// Tells a record's fields.
    pub show: fn(&Vma<'_>) -> String,
    /// Whether offsets in files are looked at.
    pub offsets: bool,
    /// Whether the files that are mapped are looked at.
    pub files: bool,
    /// Whether the change count moves with the change.
    pub counted: bool,
    pub outcomes: &'static [Outcome],
}

/// A change of mappings whose permissions tell what they are.
pub const EFFECT: Effect = Effect {
    name: "",
    arena: Arena::Mapped,
    pages: 0,
    setup: |_| true,
    before: |_| true,
    change: |_| true,
    show: permissions,
    offsets: false,
    files: false,
    counted: true,
    outcomes: &[],
};

impl Effect {
    pub fn places(&self) -> usize {
        match self.arena {
            Arena::Mapped => PLACES,
            Arena::Heap | Arena::Stack => 1,
        }
    }

    /// Bytes from a place to the next.
    pub fn stride(&self) -> usize {
        (self.pages + 1) * PAGE
    }
}

fn has(vma: &Vma<'_>, flag: u64) -> bool {
    vma.fields.vma_flags & flag != 0
}

/// Shows permissions.
pub fn permissions(vma: &Vma<'_>) -> String {
    let letters = [
        (MAPS_LOCKLESS_VMA_READ, 'r'),
        (MAPS_LOCKLESS_VMA_WRITE, 'w'),
        (MAPS_LOCKLESS_VMA_EXEC, 'x'),
    ];
    let set = letters.iter().filter(|(flag, _)| has(vma, *flag));
    let text: String = set.map(|(_, letter)| letter).collect();
    match text.is_empty() {
        true => "-".to_owned(),
        false => text,
    }
}

/// Shows permissions, and flags that system calls set for good or for as long as they run.
pub fn flags(vma: &Vma<'_>) -> String {
    let mut text = permissions(vma);
    for (flag, name) in [
        (MAPS_LOCKLESS_VMA_DONTCOPY, "+dc"),
        (MAPS_LOCKLESS_VMA_LOCKED, "+lo"),
        (MAPS_LOCKLESS_VMA_IO, "+io"),
    ] {
        text += if has(vma, flag) { name } else { "" };
    }
    text
}

/// Shows permissions, and whether what can be written is accounted.
pub fn account(vma: &Vma<'_>) -> String {
    let text = permissions(vma);
    match has(vma, MAPS_LOCKLESS_VMA_ACCOUNT) || !has(vma, MAPS_LOCKLESS_VMA_WRITE) {
        true => text,
        false => text + "-ac",
    }
}

/// Shows permissions and the name or label.
pub fn name(vma: &Vma<'_>) -> String {
    let text = String::from_utf8_lossy(vma.name);
    let name = match vma.fields.name_kind {
        MAPS_LOCKLESS_NAME_NONE => "".into(),
        MAPS_LOCKLESS_NAME_HEAP => "[heap]".into(),
        MAPS_LOCKLESS_NAME_STACK => "[stack]".into(),
        _ => format!("={text}"),
    };
    permissions(vma) + &name
}

/// Shows permissions, what follows the last `-` of the file's path, and whether the file was unlinked.
pub fn path(vma: &Vma<'_>) -> String {
    let Some(file) = &vma.file else {
        return permissions(vma);
    };
    let text = String::from_utf8_lossy(file.path);
    let path = text.rsplit('-').next().unwrap_or_default();
    let deleted = match file.deleted() {
        Some(true) => "(deleted)",
        Some(false) => "",
        None => "(?)",
    };
    format!("{}={path}{deleted}", permissions(vma))
}
