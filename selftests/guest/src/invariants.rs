// SPDX-License-Identifier: MIT OR Apache-2.0

//! What holds of every listing, whatever the process does meanwhile: docs/tearing.md and docs/abi.md
//! as checks on the bytes that read(2) returned.

use maps_lockless::{
    decode::{Batch, Record, Vma},
    wire::*,
};
use std::{error, fmt, mem::offset_of, ops::Range};

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
    /// A batch that does not end the listing takes it on.
    Progress,
    /// What is mapped throughout is listed.
    Skipped,
    /// Of what is withheld there is the range and nothing else.
    Withheld,
    /// A field that is not valid is zero.
    Zero,
    /// Bytes that belong to nothing are zero.
    Padding,
    /// No field is a kernel address, and no bytes of a name or build ID are one.
    Pointer,
    /// Counts do not go back. The same identity and even count is the same mappings.
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

/// A listing, checked batch by batch as it is read.
#[derive(Debug)]
pub struct Listing {
    /// The last read's end, or where the listing begins.
    next: u64,
    /// What was listed before ends here.
    listed: u64,
    /// The fixed parts of all records.
    records: Vec<maps_lockless_vma>,
    /// Identity and count of the first batch.
    first: Option<(u64, u64)>,
    last_count: u64,
    /// Whether the counts prove nothing.
    moved: bool,
    selected: bool,
    end: Option<u32>,
}

impl Listing {
    /// One whose first read begins at an address.
    pub fn from(address: u64) -> Self {
        let page = address & !(PAGE - 1);
        Self {
            next: page,
            listed: page,
            records: Vec::new(),
            first: None,
            last_count: 0,
            moved: false,
            selected: false,
            end: None,
        }
    }

    /// Takes what the next read(2) returned, which is no poll.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        use Invariant::*;

        let batch = batch(bytes)?;
        let header = *batch.header();
        let mut count = 0;
        for vma in vmas(&batch)? {
            self.add_vma(&vma)?;
            count += 1;
        }
        check_bytes(bytes)?;

        check(header.count == count, Format, || format!("{header:?}"))?;
        let known = *self.first.get_or_insert((header.mm_id, header.seq_begin));
        check(known.0 == header.mm_id, Token, || {
            format!("the listing of {known:?} goes on as {header:?}")
        })?;
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
            check(!nothing || count == 0, Format, || format!("{header:?}"))?;
        } else {
            let on = header.next > self.next && header.next >= self.listed;
            check(on, Progress, || {
                format!(
                    "from {:x}, listed to {:x}: {header:?}",
                    self.next, self.listed
                )
            })?;
        }
        self.next = header.next;
        Ok(())
    }

    fn add_vma(&mut self, vma: &Vma<'_>) -> Result<(), Broken> {
        use Invariant::*;

        let fields = &vma.fields;
        let listed = self.listed;
        let detail = || format!("listed to {listed:x}: {fields:?}");
        check(fields.start >= listed || fields.end > listed, Order, detail)?;
        let whole = fields.start % PAGE == 0 && fields.end % PAGE == 0;
        let range = fields.start >= listed && fields.start < fields.end && whole;
        check(range, Overlap, detail)?;
        let clipped = fields.flags & MAPS_LOCKLESS_REC_CLIPPED != 0;
        check(clipped == (fields.vma_start < fields.start), Order, detail)?;
        if fields.flags & MAPS_LOCKLESS_REC_WITHHELD != 0 {
            nothing_but_range(fields)?;
        }
        only_valid(fields)?;
        self.listed = fields.end;
        self.records.push(*fields);
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

    /// The fixed parts of all records.
    pub fn records(&self) -> &[maps_lockless_vma] {
        &self.records
    }

    /// Identity of the address space. [`None`] before the first batch, or where there is none.
    pub fn mm_id(&self) -> Option<u64> {
        self.first.map(|(id, _)| id).filter(|&id| id != 0)
    }

    /// What stayed mapped from before the first read until after the last one is listed, if the
    /// listing is complete and nothing was left out of it on purpose.
    pub fn has(&self, mapped: Range<u64>) -> Result<(), Broken> {
        if !self.is_complete() || self.selected {
            return Ok(());
        }
        let mut covered = mapped.start;
        for record in self
            .records
            .iter()
            .filter(|record| record.end > mapped.start)
        {
            if record.start > covered {
                break;
            }
            covered = covered.max(record.end);
        }
        check(covered >= mapped.end, Invariant::Skipped, || {
            format!("{mapped:x?} from {covered:x} on")
        })
    }

    /// The token, if the listing is proved consistent. Such a listing has no marks.
    pub fn proved(&self) -> Result<Option<(u64, u64)>, Broken> {
        if self.moved || !self.is_complete() {
            return Ok(None);
        }
        for (i, record) in self.records.iter().enumerate() {
            let mut marks = MAPS_LOCKLESS_REC_UNSTABLE | MAPS_LOCKLESS_REC_WITHHELD;
            if i > 0 {
                marks |= MAPS_LOCKLESS_REC_CLIPPED;
            }
            check(record.flags & marks == 0, Invariant::Token, || {
                format!("{:?} does not change, but {record:?}", self.first)
            })?;
        }
        Ok(self.first)
    }

    /// Two listings of the same request and place that have the same token show the same. Tells
    /// whether they have.
    pub fn agrees(&self, other: &Self) -> Result<bool, Broken> {
        let (ours, theirs) = (self.proved()?, other.proved()?);
        if ours.is_none() || ours != theirs {
            return Ok(false);
        }
        let covered = |listing: &Self| listing.records.iter().map(covered).collect::<Vec<_>>();
        let (these, those) = (covered(self), covered(other));
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

/// What the change count covers of a record: range, permissions and other flags, offset, device,
/// inode. Guard pages are installed without it.
fn covered(vma: &maps_lockless_vma) -> [u64; 8] {
    [
        vma.start,
        vma.end,
        vma.vma_start,
        vma.vma_flags & !MAPS_LOCKLESS_VMA_MAYBE_GUARD,
        vma.pgoff,
        vma.dev_major.into(),
        vma.dev_minor.into(),
        vma.ino,
    ]
}

/// The batch that `bytes` are, all of them.
fn batch(bytes: &[u8]) -> Result<Batch<'_>, Broken> {
    let batch = Batch::parse(bytes).map_err(malformed)?;
    check(batch.size() == bytes.len(), Invariant::Format, || {
        format!("{} bytes, {:?}", bytes.len(), batch.header())
    })?;
    Ok(batch)
}

fn vmas<'a>(batch: &Batch<'a>) -> Result<Vec<Vma<'a>>, Broken> {
    batch
        .records()
        .map(|record| match record.map_err(malformed)? {
            Record::Vma(vma) => Ok(vma),
            other => Err(malformed(format!("{other:?}"))),
        })
        .collect()
}

fn malformed(error: impl fmt::Display) -> Broken {
    Broken {
        invariant: Invariant::Format,
        detail: error.to_string(),
    }
}

/// Of what is withheld there is the range and nothing else.
fn nothing_but_range(vma: &maps_lockless_vma) -> Result<(), Broken> {
    let mut marks = *vma;
    marks.flags &= MAPS_LOCKLESS_REC_WITHHELD | MAPS_LOCKLESS_REC_CLIPPED;
    marks.valid = 0;
    let bare = zero_if_not(&marks, 0);
    check(
        bare && marks.flags == vma.flags && vma.valid == 0,
        Invariant::Withheld,
        || format!("{vma:?}"),
    )
}

/// A field that is not valid is zero.
pub fn only_valid(vma: &maps_lockless_vma) -> Result<(), Broken> {
    check(zero_if_not(vma, vma.valid), Invariant::Zero, || {
        format!("{vma:?}")
    })
}

/// Whether every field that is not among `valid` is zero.
fn zero_if_not(vma: &maps_lockless_vma, valid: u64) -> bool {
    let fields = [
        (MAPS_LOCKLESS_FIELD_FLAGS, vma.vma_flags),
        (MAPS_LOCKLESS_FIELD_PGOFF, vma.pgoff),
        (
            MAPS_LOCKLESS_FIELD_DEV,
            u64::from(vma.dev_major | vma.dev_minor),
        ),
        (MAPS_LOCKLESS_FIELD_INO, vma.ino),
        (
            MAPS_LOCKLESS_FIELD_NAME,
            u64::from(vma.name_kind | vma.name_off | vma.name_len),
        ),
        (
            MAPS_LOCKLESS_FIELD_BUILD_ID,
            u64::from(vma.build_id_off | vma.build_id_len),
        ),
    ];
    fields
        .iter()
        .all(|(field, value)| valid & field != 0 || *value == 0)
}

/// The range of `[vsyscall]`, which every process of x86-64 has.
pub const VSYSCALL: Range<u64> = 0xffff_ffff_ff60_0000..0xffff_ffff_ff60_1000;

/// Whether a number is an address of the kernel's (four-level paging, as in the VM).
pub fn is_kernel_address(word: u64) -> bool {
    word >= 0xffff_8000_0000_0000
}

/// Whether any eight bytes are an address of the kernel's, wherever they begin.
pub fn has_kernel_address(bytes: &[u8]) -> bool {
    let mut words = bytes.windows(8);
    words.any(|word| is_kernel_address(word.try_into().map_or(0, u64::from_ne_bytes)))
}

/// No field of a batch, or of a poll, is a kernel address, no eight bytes of a name or build ID are one, and
/// bytes that belong to nothing are zero.
///
/// Fields are all that stands at multiples of 8. There is one kernel address that belongs there: the range of
/// `[vsyscall]`, which every process of x86-64 has. It is told from others by where it stands: as the range of
/// a record which is exactly that page, and has that name if it has any.
pub fn check_bytes(bytes: &[u8]) -> Result<(), Broken> {
    use Invariant::*;

    let batch = batch(bytes)?;
    let mut gate = Vec::new();
    let mut at = usize::from(batch.header().header_size);
    for vma in vmas(&batch)? {
        let fields = &vma.fields;
        if is_vsyscall(&vma) {
            gate = [
                offset_of!(maps_lockless_vma, start),
                offset_of!(maps_lockless_vma, end),
                offset_of!(maps_lockless_vma, vma_start),
            ]
            .map(|field| at + field)
            .to_vec();
        }
        let end = at + fields.size as usize;
        let mut used = at + usize::from(fields.fixed_size);
        for (off, len) in [
            (fields.name_off, fields.name_len),
            (fields.build_id_off, fields.build_id_len),
        ] {
            let (off, len) = (off as usize, len as usize);
            if off >= at && len > 0 {
                check(off == used, Padding, || format!("before {off}: {fields:?}"))?;
                let behind = off + len;
                used = behind.next_multiple_of(8);
                let padding = &bytes[behind..used.min(end)];
                check(padding.iter().all(|&byte| byte == 0), Padding, || {
                    format!("{padding:x?} behind {behind}: {fields:?}")
                })?;
            }
        }
        check(used == end, Padding, || {
            format!("{used}, not {end}: {fields:?}")
        })?;
        let blobs = &bytes[at + usize::from(fields.fixed_size)..end];
        check(!has_kernel_address(blobs), Pointer, || {
            format!("{blobs:x?}: {fields:?}")
        })?;
        at = end;
    }

    for (i, word) in bytes.chunks_exact(8).enumerate() {
        let word = word.try_into().map_or(0, u64::from_ne_bytes);
        let pointer = is_kernel_address(word) && !gate.contains(&(i * 8));
        check(!pointer, Pointer, || format!("{word:#x} at byte {}", i * 8))?;
    }
    Ok(())
}

fn is_vsyscall(vma: &Vma<'_>) -> bool {
    let fields = &vma.fields;
    let named = fields.valid & MAPS_LOCKLESS_FIELD_NAME != 0;
    (fields.start, fields.end, fields.vma_start) == (VSYSCALL.start, VSYSCALL.end, VSYSCALL.start)
        && (!named || (fields.name_kind == MAPS_LOCKLESS_NAME_SPECIAL && vma.name == b"[vsyscall]"))
}

#[cfg(test)]
mod tests;
