// SPDX-License-Identifier: MIT OR Apache-2.0

//! What holds of every listing, whatever the process does meanwhile: docs/tearing.md and docs/abi.md
//! as checks on the bytes that read(2) returned.

mod bytes;

pub use bytes::{VSYSCALL, check_bytes, has_kernel_address, is_kernel_address, only_valid};

use crate::raw::FILE_FIELDS;
use bytes::{Place, batch, places};
use maps_lockless::{decode::Record, wire::*};
use std::{error, fmt, ops::Range};

const PAGE: u64 = 4096;
const GONE_OR_NEVER: [u32; 2] = [MAPS_LOCKLESS_END_GONE, MAPS_LOCKLESS_END_NO_MM];

/// What may be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// The bytes are a batch of whole records, and read(2) returned no more.
    Format,
    /// Addresses never go back, from the page that the listing begins at on.
    Order,
    /// Records do not overlap, and none is empty or ends within a page.
    Overlap,
    /// A batch begins where the one before ended, and takes the listing on unless it ends it. Only the
    /// first one says that it is the first.
    Progress,
    /// What is mapped throughout is listed.
    Skipped,
    /// Of what is withheld there is the range and nothing else.
    Withheld,
    /// A field that is not valid is zero, and only what was asked for is valid.
    Zero,
    /// A mapping of a file refers to the file's record, where something of files was asked for, and no
    /// other does. No file's record is there for nothing.
    File,
    /// Bytes that belong to nothing are zero.
    Padding,
    /// No field is a kernel address, and no bytes of a name, path or build ID are one.
    Pointer,
    /// Counts do not go back. The same identity and even count is the same mappings. All batches are of
    /// the same request.
    Token,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", format!("{self:?}").to_lowercase())
    }
}

/// An invariant that does not hold.
#[derive(Debug)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// Where.
    pub detail: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken: {}: {}", self.invariant, self.detail)
    }
}

impl error::Error for Broken {}

/// Fails with what `detail` says, unless `holds`.
fn check<D: fmt::Display>(
    holds: bool,
    invariant: Invariant,
    detail: impl FnOnce() -> D,
) -> Result<(), Broken> {
    if holds {
        return Ok(());
    }
    Err(Broken {
        invariant,
        detail: detail().to_string(),
    })
}

/// A mapping that is listed: the fixed parts of its record and of its file's.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// The mapping.
    pub vma: maps_lockless_vma,
    /// The file, where the mapping refers to one.
    pub file: Option<maps_lockless_file>,
}

/// Where a listing begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    /// At the beginning of what was asked for.
    Start,
    /// At a page behind that.
    Behind,
    /// At any page.
    Anywhere,
}

/// A listing, checked batch by batch as it is read.
#[derive(Debug)]
pub struct Listing {
    begin: Begin,
    /// The last read's end, or where the listing begins.
    next: u64,
    /// What was listed before ends here.
    listed: u64,
    /// All mappings.
    mappings: Vec<Listed>,
    /// Ranges of mappings, and those of which nothing is known.
    covered: Vec<Range<u64>>,
    /// How many of the latter there are.
    unknown: u64,
    /// Identity, count and request of the first batch.
    first: Option<(u64, u64, u64)>,
    last_count: u64,
    /// Whether the counts prove nothing.
    moved: bool,
    selected: bool,
    end: Option<u32>,
}

impl Listing {
    /// One that begins where what was asked for does: at the request's `start`, or at 0.
    pub fn of(start: u64) -> Self {
        Self::new(start, Begin::Start)
    }

    /// One whose first read begins at an address behind the beginning of what was asked for.
    pub fn from(address: u64) -> Self {
        Self::new(address, Begin::Behind)
    }

    /// One whose first read begins nobody knows where.
    pub fn anywhere() -> Self {
        Self::new(0, Begin::Anywhere)
    }

    fn new(address: u64, begin: Begin) -> Self {
        let page = address & !(PAGE - 1);
        Self {
            begin,
            next: page,
            listed: page,
            mappings: Vec::new(),
            covered: Vec::new(),
            unknown: 0,
            first: None,
            last_count: 0,
            moved: false,
            selected: false,
            end: None,
        }
    }

    /// Takes what the next read(2) returned.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        use Invariant::*;

        let batch = batch(bytes)?;
        let header = *batch.header();
        let places = places(&batch, bytes)?;
        self.begins(&header)?;
        self.add_records(&header, &places)?;
        check_bytes(bytes)?;

        let known = *self
            .first
            .get_or_insert((header.mm_id, header.seq_begin, header.request));
        check(
            (known.0, known.2) == (header.mm_id, header.request),
            Token,
            || format!("the listing of {known:?} goes on as {header:?}"),
        )?;
        let back = header.seq_begin < self.last_count || header.seq_end < header.seq_begin;
        check(!back, Token, || {
            format!("after {}: {header:?}", self.last_count)
        })?;
        self.last_count = header.seq_end;
        self.moved |= header.seq_begin % 2 != 0
            || (known.1, known.1) != (header.seq_begin, header.seq_end)
            || header.mm_id == 0;
        self.selected |= batch.is_selected();

        if batch.is_final() {
            self.end = Some(header.end_reason);
            let nothing = GONE_OR_NEVER.contains(&header.end_reason);
            check(!nothing || places.is_empty(), Format, || {
                format!("{header:?}")
            })?;
            let none = header.next == MAPS_LOCKLESS_NEXT_NONE;
            check(none, Progress, || format!("{header:x?}"))?;
        } else {
            let on = header.next > self.next
                && header.next >= self.listed
                && header.next % PAGE == 0
                && header.next != MAPS_LOCKLESS_NEXT_NONE;
            check(on, Progress, || {
                format!(
                    "from {:x}, listed to {:x}: {header:x?}",
                    self.next, self.listed
                )
            })?;
        }
        self.next = header.next;
        Ok(())
    }

    /// A batch begins where it is to, and says so where it is the first one.
    fn begins(&mut self, header: &maps_lockless_batch) -> Result<(), Broken> {
        let is_first = header.flags & MAPS_LOCKLESS_BATCH_FIRST != 0;
        let expected = match (self.first, self.begin) {
            (Some(_), _) => false,
            // Of nothing there is no beginning.
            (None, _) if GONE_OR_NEVER.contains(&header.end_reason) => return Ok(()),
            (None, Begin::Start) => true,
            (None, Begin::Behind) => false,
            (None, Begin::Anywhere) => {
                (self.next, self.listed) = (header.begin, header.begin);
                is_first
            }
        };
        check(
            header.begin == self.next && is_first == expected && header.begin % PAGE == 0,
            Invariant::Progress,
            || format!("{:?}, at {:x}: {header:x?}", self.begin, self.next),
        )
    }

    fn add_records(
        &mut self,
        header: &maps_lockless_batch,
        places: &[Place<'_>],
    ) -> Result<(), Broken> {
        let wanted = header.fields_wanted;
        // By where they begin, and whether a mapping refers to them.
        let mut files: Vec<(u32, maps_lockless_file, bool)> = Vec::new();
        for Place { at, record, .. } in places {
            match record {
                Record::File(file) => {
                    check(
                        file.fields.valid & !(wanted & FILE_FIELDS) == 0,
                        Invariant::Zero,
                        || format!("asked for {wanted:#x}: {file:?}"),
                    )?;
                    files.push((*at as u32, file.fields, false));
                }
                Record::Unknown(range) => {
                    self.add_range(range.start, range.end, || format!("unknown: {range:x?}"))?;
                    self.unknown += 1;
                }
                Record::Vma(vma) => {
                    let fields = &vma.fields;
                    let file = files.iter_mut().find(|(at, ..)| *at == fields.file);
                    self.add_vma(wanted, fields, file.as_deref())?;
                    if let Some((.., is_used)) = file {
                        *is_used = true;
                    }
                }
                other => {
                    return Err(Broken {
                        invariant: Invariant::Format,
                        detail: format!("{other:?}"),
                    });
                }
            }
        }
        let idle = files.iter().find(|(.., is_used)| !is_used);
        check(idle.is_none(), Invariant::File, || {
            format!("nothing refers to {idle:?}: {header:?}")
        })
    }

    fn add_vma(
        &mut self,
        wanted: u64,
        fields: &maps_lockless_vma,
        file: Option<&(u32, maps_lockless_file, bool)>,
    ) -> Result<(), Broken> {
        use Invariant::*;

        let listed = self.listed;
        let detail = || format!("listed to {listed:x}, asked for {wanted:#x}: {fields:x?}");
        self.add_range(fields.start, fields.end, detail)?;
        let clipped = fields.flags & MAPS_LOCKLESS_REC_CLIPPED != 0;
        check(clipped == (fields.vma_start < fields.start), Order, detail)?;
        let withheld = fields.flags & MAPS_LOCKLESS_REC_WITHHELD != 0;
        if withheld {
            bytes::nothing_but_range(fields)?;
        }
        only_valid(fields)?;
        let asked = wanted | MAPS_LOCKLESS_FIELD_RANGE;
        check(fields.valid & !asked == 0, Zero, detail)?;

        check(file.is_some() == (fields.file != 0), File, detail)?;
        let known = fields.valid & MAPS_LOCKLESS_FIELD_FLAGS != 0;
        let is_file = fields.vma_flags & MAPS_LOCKLESS_VMA_FILE != 0;
        let expected = is_file && wanted & FILE_FIELDS != 0;
        check(!known || expected == file.is_some(), File, detail)?;
        let offset = fields.valid & MAPS_LOCKLESS_FIELD_OFFSET != 0;
        check(!(known && offset) || is_file, File, detail)?;
        self.mappings.push(Listed {
            vma: *fields,
            file: file.map(|(_, file, _)| *file),
        });
        Ok(())
    }

    /// Takes a range that is mapped, or of which nothing is known.
    fn add_range<D: fmt::Display>(
        &mut self,
        start: u64,
        end: u64,
        detail: impl Fn() -> D,
    ) -> Result<(), Broken> {
        use Invariant::*;

        let listed = self.listed;
        check(start >= listed || end > listed, Order, &detail)?;
        let whole = start % PAGE == 0 && end % PAGE == 0;
        check(start >= listed && start < end && whole, Overlap, &detail)?;
        self.listed = end;
        self.covered.push(start..end);
        Ok(())
    }

    /// Whether the final batch was read.
    pub fn is_over(&self) -> bool {
        self.end.is_some()
    }

    /// Where the next read begins.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether it is over and nothing is missing at its end.
    pub fn is_complete(&self) -> bool {
        self.end == Some(MAPS_LOCKLESS_END_COMPLETE)
    }

    /// All mappings.
    pub fn mappings(&self) -> &[Listed] {
        &self.mappings
    }

    /// How many ranges there are of which nothing is known.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Identity of the address space. [`None`] before the first batch, or where there is none.
    pub fn mm_id(&self) -> Option<u64> {
        self.first.map(|(id, ..)| id).filter(|&id| id != 0)
    }

    /// What stayed mapped from before the first read until after the last one is listed, or nothing is
    /// known of where it is, if the listing is complete and nothing was left out of it on purpose.
    pub fn has(&self, mapped: Range<u64>) -> Result<(), Broken> {
        if !self.is_complete() || self.selected {
            return Ok(());
        }
        self.covers(mapped)
    }

    /// As [`Listing::has`], of what was listed so far.
    pub fn covers(&self, mapped: Range<u64>) -> Result<(), Broken> {
        let mut covered = mapped.start;
        for range in self.covered.iter().filter(|range| range.end > mapped.start) {
            if range.start > covered {
                break;
            }
            covered = covered.max(range.end);
        }
        check(covered >= mapped.end, Invariant::Skipped, || {
            format!("{mapped:x?} from {covered:x} on")
        })
    }

    /// The token, if the listing is proved consistent. Such a listing has no marks, and nothing in it is
    /// unknown.
    pub fn proved(&self) -> Result<Option<(u64, u64)>, Broken> {
        if self.moved || !self.is_complete() {
            return Ok(None);
        }
        let nothing_moved =
            |detail: String| format!("{:?} does not change, but {detail}", self.first);
        check(self.unknown == 0, Invariant::Token, || {
            nothing_moved(format!("of {} ranges nothing is known", self.unknown))
        })?;
        for (i, Listed { vma, .. }) in self.mappings.iter().enumerate() {
            let mut marks = MAPS_LOCKLESS_REC_UNSTABLE | MAPS_LOCKLESS_REC_WITHHELD;
            if i > 0 {
                marks |= MAPS_LOCKLESS_REC_CLIPPED;
            }
            check(vma.flags & marks == 0, Invariant::Token, || {
                nothing_moved(format!("{vma:x?}"))
            })?;
        }
        // One that does not begin where what was asked for does is no listing of it.
        let begins = self.begin == Begin::Start;
        Ok(self
            .first
            .filter(|_| begins)
            .map(|(mm_id, count, _)| (mm_id, count)))
    }

    /// Two listings of what is asked for alike that have the same token show the same. Tells whether they
    /// have.
    pub fn agrees(&self, other: &Self) -> Result<bool, Broken> {
        let (ours, theirs) = (self.proved()?, other.proved()?);
        if ours.is_none() || ours != theirs {
            return Ok(false);
        }
        let counted = |listing: &Self| listing.mappings.iter().map(counted).collect::<Vec<_>>();
        let (these, those) = (counted(self), counted(other));
        check(these == those, Invariant::Token, || {
            let differ = these.iter().zip(&those).find(|(this, that)| this != that);
            format!(
                "{ours:?}: {} and {} records, {differ:x?}",
                these.len(),
                those.len()
            )
        })?;
        Ok(true)
    }
}

/// What the change count covers of a mapping: range, permissions and other flags, offset, device,
/// inode. Guard pages are installed without it.
fn counted(Listed { vma, file }: &Listed) -> [u64; 9] {
    let file = file.unwrap_or_default();
    [
        vma.start,
        vma.end,
        vma.vma_start,
        vma.vma_flags & !MAPS_LOCKLESS_VMA_MAYBE_GUARD,
        vma.offset,
        u64::from(vma.page_shift) << 8 | u64::from(vma.pkey),
        file.dev_major.into(),
        file.dev_minor.into(),
        file.ino,
    ]
}

#[cfg(test)]
mod tests;
