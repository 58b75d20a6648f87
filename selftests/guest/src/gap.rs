// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mappings that give a part of themselves away, to a neighbour or to a mapping of its own, and whose rest is
//! unmapped at once: the part stays mapped all the while, in one mapping or another.
//!
//! The kernel moves a boundary in its tree and then empties the slot beside it, both in place. Whoever looks
//! up the part sees the old boundary, or the new one, and must not take the empty slot for what the old
//! boundary bounds.

#![expect(unsafe_code, reason = "mapping memory has no safe form")]

use crate::{rng::Rng, shapes::PAGE};
use anyhow::{Context, Error, Result, bail};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use std::{
    fmt,
    num::NonZeroUsize,
    ops::Range,
    ptr::NonNull,
    str::FromStr,
    time::{Duration, Instant},
};

/// Places that change in turn.
pub const PLACES: usize = 4;
/// The pages of a place: of the mapping below, of the one in the middle, and of the one above. A page that is
/// not mapped follows.
const BELOW: Range<usize> = 0..2;
const MIDDLE: Range<usize> = 2..10;
const ABOVE: Range<usize> = 10..12;
/// The half of the mapping in the middle.
const HALF: usize = 6;
/// Pages from one place to the next.
const STRIDE: usize = ABOVE.end + 1;
/// Permissions that keep neighbours apart. None allows writing, so that none is accounted.
const OF_BELOW: ProtFlags = ProtFlags::PROT_READ;
const OF_MIDDLE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_EXEC);
const OF_ABOVE: ProtFlags = ProtFlags::PROT_NONE;
/// The most microseconds between two changes.
const PAUSE: u64 = 6;

/// What becomes of the mapping in the middle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// Its upper half is merged into the mapping above, and then its rest unmapped.
    MergedUp,
    /// Its lower half is merged into the mapping below, and then its rest unmapped.
    MergedDown,
    /// Its lower half is unmapped.
    CutBelow,
    /// Its upper half is unmapped.
    CutAbove,
}

impl Way {
    const NAMES: [(Self, &str); 4] = [
        (Self::MergedUp, "merged-up"),
        (Self::MergedDown, "merged-down"),
        (Self::CutBelow, "cut-below"),
        (Self::CutAbove, "cut-above"),
    ];

    /// The pages of a place that stay mapped, below what is unmapped and above.
    fn stay(self) -> [Range<usize>; 2] {
        match self {
            Self::MergedUp | Self::CutBelow => [BELOW, HALF..ABOVE.end],
            Self::MergedDown | Self::CutAbove => [BELOW.start..HALF, ABOVE],
        }
    }

    /// The addresses of the place that begins at `start` which stay mapped.
    pub fn stays(self, start: u64) -> [Range<u64>; 2] {
        let address = |page: usize| start + (page * PAGE) as u64;
        self.stay()
            .map(|pages| address(pages.start)..address(pages.end))
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(way, _)| way == self);
        f.write_str(name.map_or("", |(_, name)| name))
    }
}

impl FromStr for Way {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let way = Self::NAMES.iter().find(|(_, known)| *known == name);
        way.map(|(way, _)| *way).context("no such way")
    }
}

/// Where a place begins.
pub fn place(arena: u64, number: usize) -> u64 {
    arena + (number * STRIDE * PAGE) as u64
}

/// The mapping in the middle of the place that begins at `start`, while it is whole.
pub fn middle(start: u64) -> Range<u64> {
    start + (MIDDLE.start * PAGE) as u64..start + (MIDDLE.end * PAGE) as u64
}

/// Chooses where the places are, and makes their mappings.
pub fn arena() -> Result<usize> {
    let bytes = (PLACES * STRIDE + 1) * PAGE;
    let len = NonZeroUsize::new(bytes).context("nothing to map")?;
    // SAFETY: The kernel chooses an address where nothing is, and what it gave is given back.
    let arena = unsafe {
        let base = mmap_anonymous(None, len, OF_ABOVE, MapFlags::MAP_PRIVATE)?;
        munmap(base, bytes)?;
        base.as_ptr() as usize + PAGE
    };
    for number in 0..PLACES {
        let start = arena + number * STRIDE * PAGE;
        for (pages, protection) in [(BELOW, OF_BELOW), (MIDDLE, OF_MIDDLE), (ABOVE, OF_ABOVE)] {
            map(start, pages, protection)?;
        }
    }
    Ok(arena)
}

fn map(start: usize, pages: Range<usize>, protection: ProtFlags) -> Result<()> {
    let len = NonZeroUsize::new(pages.len() * PAGE).context("nothing to map")?;
    let at = NonZeroUsize::new(start + pages.start * PAGE);
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
    // SAFETY: The places are used for nothing but this.
    unsafe { mmap_anonymous(at, len, protection, flags)? };
    Ok(())
}

fn unmap(start: usize, pages: Range<usize>) -> Result<()> {
    let at = NonNull::new((start + pages.start * PAGE) as *mut _).context("null")?;
    // SAFETY: As above.
    unsafe { munmap(at, pages.len() * PAGE)? };
    Ok(())
}

fn protect(start: usize, pages: Range<usize>, protection: ProtFlags) -> Result<()> {
    let at = NonNull::new((start + pages.start * PAGE) as *mut _).context("null")?;
    // SAFETY: As above.
    unsafe { mprotect(at, pages.len() * PAGE, protection)? };
    Ok(())
}

/// Changes one place after the other and makes it whole again, for ever.
pub fn run(way: Way, arena: usize) -> Result<()> {
    let (lower, upper) = (MIDDLE.start..HALF, HALF..MIDDLE.end);
    let mut rng = Rng::new(0);
    let mut pause = || {
        let begin = Instant::now();
        let time = Duration::from_micros(rng.below(PAUSE));
        while begin.elapsed() < time {
            std::hint::spin_loop();
        }
    };
    for number in (0..PLACES).cycle() {
        let start = arena + number * STRIDE * PAGE;
        match way {
            Way::MergedUp => protect(start, upper.clone(), OF_ABOVE)?,
            Way::MergedDown => protect(start, lower.clone(), OF_BELOW)?,
            Way::CutBelow | Way::CutAbove => {}
        }
        let rest = match way {
            Way::MergedUp | Way::CutBelow => lower.clone(),
            Way::MergedDown | Way::CutAbove => upper.clone(),
        };
        unmap(start, rest.clone())?;
        pause();
        map(start, rest, OF_MIDDLE)?;
        match way {
            Way::MergedUp => protect(start, upper.clone(), OF_MIDDLE)?,
            Way::MergedDown => protect(start, lower.clone(), OF_MIDDLE)?,
            Way::CutBelow | Way::CutAbove => {}
        }
        pause();
    }
    bail!("there is no place")
}
