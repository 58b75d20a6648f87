// SPDX-License-Identifier: MIT OR Apache-2.0

//! What holds of the bytes of any batch by itself: nothing is written that nobody asked for, and no
//! address of the kernel's.

use super::{Broken, Invariant, check};
use maps_lockless::{
    decode::{Batch, Record, Vma},
    wire::*,
};
use std::{fmt, mem::offset_of, ops::Range};

/// The batch that `bytes` are, all of them.
pub(super) fn batch(bytes: &[u8]) -> Result<Batch<'_>, Broken> {
    let batch = Batch::parse(bytes).map_err(malformed)?;
    check(batch.size() == bytes.len(), Invariant::Format, || {
        format!("{} bytes, {:?}", bytes.len(), batch.header())
    })?;
    Ok(batch)
}

fn malformed(error: impl fmt::Display) -> Broken {
    Broken {
        invariant: Invariant::Format,
        detail: error.to_string(),
    }
}

/// A record, and where in its batch it stands.
pub(super) struct Place<'a> {
    /// Its first byte.
    pub(super) at: usize,
    /// Bytes of its fixed part, and of all of it.
    sizes: (usize, usize),
    pub(super) record: Record<'a>,
}

/// The records of a batch, all of a type that is known.
pub(super) fn places<'a>(batch: &Batch<'a>, bytes: &[u8]) -> Result<Vec<Place<'a>>, Broken> {
    let mut at = usize::from(batch.header().header_size);
    let mut places = Vec::new();
    for record in batch.records() {
        let record = record.map_err(malformed)?;
        if let Record::Other { .. } = record {
            return Err(malformed(format!("{record:?}")));
        }
        let Some(&[_, _, f0, f1, s0, s1, s2, s3]) = bytes[at..].first_chunk::<8>() else {
            return Err(malformed("it ends within a record"));
        };
        let fixed = usize::from(u16::from_ne_bytes([f0, f1]));
        let size = u32::from_ne_bytes([s0, s1, s2, s3]) as usize;
        let sizes = (fixed, size);
        places.push(Place { at, sizes, record });
        at += size;
    }
    Ok(places)
}

/// Of what is withheld there is the range and nothing else.
pub(super) fn nothing_but_range(vma: &maps_lockless_vma) -> Result<(), Broken> {
    let marks = MAPS_LOCKLESS_REC_WITHHELD | MAPS_LOCKLESS_REC_CLIPPED;
    let bare = zero_if_not(vma, MAPS_LOCKLESS_FIELD_RANGE) && vma.file == 0;
    check(
        bare && vma.flags & !marks == 0 && vma.valid == MAPS_LOCKLESS_FIELD_RANGE,
        Invariant::Withheld,
        || format!("{vma:x?}"),
    )
}

/// A field of a VMA that is not valid is zero. The range is always valid.
pub fn only_valid(vma: &maps_lockless_vma) -> Result<(), Broken> {
    let range = vma.valid & MAPS_LOCKLESS_FIELD_RANGE != 0;
    check(
        range && zero_if_not(vma, vma.valid),
        Invariant::Zero,
        || format!("{vma:x?}"),
    )
}

/// Whether every field that is not among `valid` is zero.
fn zero_if_not(vma: &maps_lockless_vma, valid: u64) -> bool {
    let name = u64::from(vma.name_kind) | u64::from(vma.name_len);
    let fields = [
        (MAPS_LOCKLESS_FIELD_FLAGS, vma.vma_flags),
        (MAPS_LOCKLESS_FIELD_OFFSET, vma.offset),
        (MAPS_LOCKLESS_FIELD_NAME, name),
        (MAPS_LOCKLESS_FIELD_PAGE_SIZE, vma.page_shift.into()),
        (MAPS_LOCKLESS_FIELD_PKEY, vma.pkey.into()),
    ];
    fields
        .iter()
        .all(|(field, value)| valid & field != 0 || *value == 0)
}

/// A field of a file that is not valid is zero, and what tells why it is not is there only then.
fn only_valid_of_file(file: &maps_lockless_file, wanted: u64) -> Result<(), Broken> {
    let flag = |flag| u64::from(file.flags & flag);
    let device = u64::from(file.dev_major | file.dev_minor);
    let fields = [
        (MAPS_LOCKLESS_FIELD_DEV, device),
        (MAPS_LOCKLESS_FIELD_INO, file.ino),
        (MAPS_LOCKLESS_FIELD_PATH, file.path_len.into()),
        (
            MAPS_LOCKLESS_FIELD_DELETED,
            flag(MAPS_LOCKLESS_FILE_DELETED),
        ),
        (MAPS_LOCKLESS_FIELD_BUILD_ID, file.build_id_len.into()),
    ];
    let zero = fields
        .iter()
        .all(|(field, value)| file.valid & field != 0 || *value == 0);
    let reasons = [
        (
            MAPS_LOCKLESS_FIELD_PATH,
            flag(MAPS_LOCKLESS_FILE_PATH_TOO_LONG),
        ),
        (
            MAPS_LOCKLESS_FIELD_BUILD_ID,
            flag(MAPS_LOCKLESS_FILE_BUILD_ID_NOT_RESIDENT),
        ),
    ];
    let reasoned = reasons
        .iter()
        .all(|(field, reason)| *reason == 0 || wanted & !file.valid & field != 0);
    check(
        zero && reasoned && file.reserved == 0,
        Invariant::Zero,
        || format!("asked for {wanted:#x}: {file:x?}"),
    )
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

/// No field of a batch is a kernel address, no eight bytes of a name, path or build ID are one, what is not
/// valid is zero, and so are bytes that belong to nothing.
///
/// Fields are all that stands at multiples of 8. There is one kernel address that belongs there: the range of
/// `[vsyscall]`, which every process of x86-64 has. It is told from others by where it stands: as the range of
/// a record which is exactly that page, and has that name if it has any; as where a batch begins or the next
/// one does; and as the end of what is not known below it.
pub fn check_bytes(bytes: &[u8]) -> Result<(), Broken> {
    use Invariant::*;

    let batch = batch(bytes)?;
    let header = batch.header();
    let mut gate = Vec::new();
    let bounds = [
        (offset_of!(maps_lockless_batch, begin), header.begin),
        (offset_of!(maps_lockless_batch, next), header.next),
    ];
    for (field, value) in bounds {
        let end = batch.is_final() && field == offset_of!(maps_lockless_batch, next);
        if [VSYSCALL.start, VSYSCALL.end].contains(&value)
            || (end && value == MAPS_LOCKLESS_NEXT_NONE)
        {
            gate.push(field);
        }
    }
    for Place { at, sizes, record } in places(&batch, bytes)? {
        let mut blobs = Vec::new();
        match &record {
            Record::Vma(vma) => {
                only_valid(&vma.fields)?;
                if is_vsyscall(vma) {
                    gate.extend(
                        [
                            offset_of!(maps_lockless_vma, start),
                            offset_of!(maps_lockless_vma, end),
                            offset_of!(maps_lockless_vma, vma_start),
                        ]
                        .map(|field| at + field),
                    );
                }
                blobs.push(vma.fields.name_len);
            }
            Record::File(file) => {
                only_valid_of_file(&file.fields, header.fields_wanted)?;
                blobs.extend([file.fields.path_len, file.fields.build_id_len]);
            }
            Record::Unknown(range) if range.end == VSYSCALL.start => {
                gate.push(at + offset_of!(maps_lockless_unknown, end));
            }
            _ => {}
        }
        let (fixed, size) = sizes;
        let detail = || format!("{record:x?}");
        let end = at + size;
        let mut used = at + fixed;
        let behind_fixed = &bytes[used.min(end)..end];
        for len in blobs {
            let behind = used + len as usize;
            used = behind.next_multiple_of(8);
            let padding = bytes.get(behind..used.min(end)).unwrap_or_default();
            check(padding.iter().all(|&byte| byte == 0), Padding, || {
                format!("{padding:x?} behind {behind}: {}", detail())
            })?;
        }
        check(used == end, Padding, || {
            format!("{used}, not {end}: {}", detail())
        })?;
        check(!has_kernel_address(behind_fixed), Pointer, || {
            format!("{behind_fixed:x?}: {}", detail())
        })?;
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
