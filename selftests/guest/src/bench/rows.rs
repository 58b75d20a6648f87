// SPDX-License-Identifier: MIT OR Apache-2.0

//! The processes that are listed: what their mappings are like, and what reads them.

use super::{
    changes::Changes,
    contenders::{CONTENDERS, Contender, Group},
    files,
};
use crate::shapes::{PAGE, say_ready};
use anyhow::{Context, Error, Result};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use std::{
    fmt,
    fs::File,
    io::{Write, stdin, stdout},
    num::NonZeroUsize,
    str::FromStr,
};

/// A row of the table: a kind of process, and how many VMAs are made of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What they are like.
    pub kind: Kind,
    /// How many there are.
    pub count: usize,
}

/// What a process's mappings are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory, one VMA behind the other.
    Anonymous,
    /// Memory with a gap behind each VMA.
    Gaps,
    /// Files of which four parts are mapped, as a library's segments are.
    FourAFile,
    /// A VMA of each file.
    OneAFile,
    /// 200 files by turns.
    RoundRobin,
    /// A VMA of each file, with paths of [`files::LONG`] bytes.
    LongPaths,
    /// As [`Kind::FourAFile`], but that two of the four are executable.
    HalfExecutable,
}

const KINDS: [(Kind, &str); 7] = [
    (Kind::Anonymous, "anonymous"),
    (Kind::Gaps, "gaps"),
    (Kind::FourAFile, "four-a-file"),
    (Kind::OneAFile, "one-a-file"),
    (Kind::RoundRobin, "round-robin"),
    (Kind::LongPaths, "long-paths"),
    (Kind::HalfExecutable, "half-executable"),
];

/// What is measured where nobody says what.
pub const ROWS: [Row; 15] = [
    Row::new(Kind::Anonymous, 10),
    Row::new(Kind::Anonymous, 1000),
    Row::new(Kind::Anonymous, 10_000),
    Row::new(Kind::Anonymous, FOLLOWED),
    Row::new(Kind::Anonymous, 200_000),
    Row::new(Kind::Anonymous, 1_000_000),
    Row::new(Kind::Gaps, 10_000),
    Row::new(Kind::Gaps, 1_000_000),
    Row::new(Kind::FourAFile, 10_000),
    Row::new(Kind::FourAFile, FOLLOWED),
    Row::new(Kind::FourAFile, 1_000_000),
    Row::new(Kind::OneAFile, 10_000),
    Row::new(Kind::RoundRobin, 10_000),
    Row::new(Kind::LongPaths, 1000),
    Row::new(Kind::HalfExecutable, 10_000),
];

/// VMAs of a process that is followed while it changes.
const FOLLOWED: usize = 128_000;
/// Files that are mapped by turns.
const BY_TURNS: usize = 200;

const R: ProtFlags = ProtFlags::PROT_READ;
const RW: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);
const RX: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_EXEC);

impl Row {
    const fn new(kind: Kind, count: usize) -> Self {
        Self { kind, count }
    }

    /// Whether it takes minutes.
    pub fn is_long(&self) -> bool {
        self.count > 200_000
    }

    /// What reads it where nobody says what does.
    pub fn contenders(&self) -> Vec<&'static Contender> {
        use Group::{
            Call, Changes, Follow, Listing, ListingWithIds, Selection, SelectionWithIds, Text,
        };
        let others: &[Group] = match self.kind {
            _ if self.count == FOLLOWED => &[Follow],
            // To be made they take long enough.
            Kind::Gaps | Kind::FourAFile if self.is_long() => &[],
            // Of these nothing is selected: all are passed over.
            Kind::Anonymous if self.count == 10_000 => &[Listing, Selection, Call],
            Kind::FourAFile => &[Listing, Selection, SelectionWithIds, ListingWithIds, Call],
            Kind::HalfExecutable => &[Listing, Selection, SelectionWithIds, ListingWithIds],
            Kind::OneAFile => &[Listing, ListingWithIds, Call],
            Kind::Anonymous | Kind::Gaps | Kind::RoundRobin | Kind::LongPaths => &[Listing],
        };
        let all = CONTENDERS.iter();
        all.filter(|contender| {
            matches!(contender.group, Text | Changes) || others.contains(&contender.group)
        })
        .collect()
    }

    /// The argument with which this program becomes such a process.
    pub fn process(&self) -> String {
        format!("{PROCESS}{self}")
    }
}

/// What that argument begins with.
const PROCESS: &str = "process:";

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.kind.name(), self.count)
    }
}

impl FromStr for Row {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = || {
            let (name, count) = text.rsplit_once('-')?;
            let (kind, _) = KINDS.into_iter().find(|(_, other)| *other == name)?;
            let count = count.parse().ok().filter(|count| *count > 0)?;
            Some(Self { kind, count })
        };
        parsed().with_context(|| {
            let names = KINDS.map(|(_, name)| name).join(", ");
            format!("no row {text:?}: one is a name and a number of VMAs, \"gaps-10000\": {names}")
        })
    }
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        let found = KINDS.iter().find(|(kind, _)| *kind == self);
        found.map_or("", |(_, name)| name)
    }
}

/// Makes the mappings of the row that an argument names, says `ready`, and rests, or makes a round of changes
/// for each line of its input. [`None`] where the argument is none of [`Row::process`].
pub fn become_process(argument: &str) -> Option<Result<()>> {
    let row = argument.strip_prefix(PROCESS)?;
    Some(rest_as(row).with_context(|| row.to_owned()))
}

fn rest_as(row: &str) -> Result<()> {
    let row: Row = row.parse()?;
    make(row)?;
    say_ready("")?;
    let mut changes: Option<Changes> = None;
    for line in stdin().lines() {
        line?;
        match &mut changes {
            None => changes = Some(Changes::new(row.kind)?),
            Some(changes) => changes.make()?,
        }
        println!("done");
        stdout().flush()?;
    }
    Ok(())
}

fn make(row: Row) -> Result<()> {
    let Row { kind, count } = row;
    let path = |number| files::path(kind.name(), number);
    match kind {
        Kind::Anonymous => make_memory(count),
        Kind::Gaps => map_by_turns(count, 2 * PAGE, |place| map_memory(place, RW)),
        Kind::FourAFile => {
            (0..count / 4).try_for_each(|number| map_segments(&path(number)?, [R, RX, R, RW]))
        }
        Kind::HalfExecutable => {
            (0..count / 4).try_for_each(|number| map_segments(&path(number)?, [R, RX, R, RX]))
        }
        Kind::OneAFile => (0..count).try_for_each(|number| map_page(&path(number)?, 0)),
        Kind::LongPaths => {
            (0..count).try_for_each(|number| map_page(&files::long_path(kind.name(), number)?, 0))
        }
        Kind::RoundRobin => {
            let files = (0..BY_TURNS).map(path).collect::<Result<Vec<_>>>()?;
            // Neighbours are of different files, and so never merged.
            (0..count).try_for_each(|number| {
                let page = number / BY_TURNS % files::PAGES;
                map_page(&files[number % BY_TURNS], page)
            })
        }
    }
}

/// Maps memory, one VMA behind the other.
pub(super) fn make_memory(count: usize) -> Result<()> {
    map_by_turns(count, PAGE, |place| {
        // What has other permissions than its neighbour is not merged with it.
        let turn = place / PAGE % 2;
        map_memory(place, if turn == 0 { RW } else { R })
    })
}

/// Calls `map` for `count` places, one behind the other, where nothing is.
fn map_by_turns(count: usize, step: usize, map: impl Fn(usize) -> Result<()>) -> Result<()> {
    let len = NonZeroUsize::new(count * step).context("nothing to map")?;
    #[expect(unsafe_code, reason = "mapping memory has no safe form")]
    // SAFETY: The kernel chooses an address where nothing is, and nobody has used what is there.
    let first = unsafe {
        let base = mmap_anonymous(None, len, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE)?;
        munmap(base, len.get())?;
        base.addr().get()
    };
    (0..count).try_for_each(|number| map(first + number * step))
}

fn map_memory(place: usize, prot: ProtFlags) -> Result<()> {
    let len = NonZeroUsize::new(PAGE).context("a page")?;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED_NOREPLACE;
    #[expect(unsafe_code, reason = "mapping memory has no safe form")]
    // SAFETY: It fails where something is.
    unsafe {
        mmap_anonymous(NonZeroUsize::new(place), len, prot, flags)?
    };
    Ok(())
}

fn map_page(file: &File, page: usize) -> Result<()> {
    let len = NonZeroUsize::new(PAGE).context("a page")?;
    let offset = (page * PAGE) as i64;
    #[expect(unsafe_code, reason = "mapping memory has no safe form")]
    // SAFETY: The kernel chooses an address where nothing is.
    unsafe {
        mmap(None, len, R, MapFlags::MAP_PRIVATE, file, offset)?
    };
    Ok(())
}

/// Maps a file as the dynamic loader does: first all of it, and then its segments over that.
fn map_segments(file: &File, segments: [ProtFlags; files::PAGES]) -> Result<()> {
    let len = NonZeroUsize::new(files::PAGES * PAGE).context("pages")?;
    let page = NonZeroUsize::new(PAGE).context("a page")?;
    #[expect(unsafe_code, reason = "mapping memory has no safe form")]
    // SAFETY: The kernel chooses an address where nothing is, and all else is mapped over that, which nobody
    // has used yet.
    unsafe {
        let base = mmap(None, len, segments[0], MapFlags::MAP_PRIVATE, file, 0)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
        for (number, prot) in segments.into_iter().enumerate().skip(1) {
            let offset = number * PAGE;
            let place = base.addr().checked_add(offset);
            mmap(place, page, prot, flags, file, offset as i64)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{KINDS, ROWS, Row};

    #[test]
    fn rows_are_read_as_they_are_written() {
        for row in ROWS {
            assert_eq!(row.to_string().parse::<Row>().unwrap(), row);
        }
        for wrong in ["", "gaps", "gaps-", "gaps-0", "gaps-x", "holes-10"] {
            assert!(wrong.parse::<Row>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_kind_is_measured() {
        for (kind, name) in KINDS {
            assert!(ROWS.iter().any(|row| row.kind == kind), "{name}");
            assert_eq!(kind.name(), name);
        }
    }
}
