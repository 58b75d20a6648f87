// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files that look like programs, with build IDs here and there. See elf(5).

use anyhow::Result;
use std::{fs::File, os::unix::fs::FileExt, path::Path};

const PT_NOTE: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;

/// A note that holds a build ID.
pub fn build_id_note(id: &[u8]) -> Vec<u8> {
    let mut note = Vec::new();
    note.extend(4_u32.to_ne_bytes());
    note.extend((id.len() as u32).to_ne_bytes());
    note.extend(NT_GNU_BUILD_ID.to_ne_bytes());
    note.extend(b"GNU\0");
    note.extend(id);
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

/// The first bytes of a 64-bit shared object: its header, and `segments` times the same segment of
/// notes.
pub fn header_64(segments: u16, notes_at: u64, notes_len: u64) -> Vec<u8> {
    let mut elf = vec![0; 64];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    elf[16..18].copy_from_slice(&3_u16.to_ne_bytes());
    elf[32..40].copy_from_slice(&64_u64.to_ne_bytes());
    elf[54..56].copy_from_slice(&56_u16.to_ne_bytes());
    elf[56..58].copy_from_slice(&segments.to_ne_bytes());
    for _ in 0..segments {
        let mut segment = [0; 56];
        segment[..4].copy_from_slice(&PT_NOTE.to_ne_bytes());
        segment[8..16].copy_from_slice(&notes_at.to_ne_bytes());
        segment[32..40].copy_from_slice(&notes_len.to_ne_bytes());
        elf.extend(segment);
    }
    elf
}

/// The first bytes of a 32-bit shared object with one segment of notes.
pub fn header_32(notes_at: u32, notes_len: u32) -> Vec<u8> {
    let mut elf = vec![0; 52];
    elf[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    elf[16..18].copy_from_slice(&3_u16.to_ne_bytes());
    elf[28..32].copy_from_slice(&52_u32.to_ne_bytes());
    elf[42..44].copy_from_slice(&32_u16.to_ne_bytes());
    elf[44..46].copy_from_slice(&1_u16.to_ne_bytes());
    let mut segment = [0; 32];
    segment[..4].copy_from_slice(&PT_NOTE.to_ne_bytes());
    segment[4..8].copy_from_slice(&notes_at.to_ne_bytes());
    segment[16..20].copy_from_slice(&notes_len.to_ne_bytes());
    elf.extend(segment);
    elf
}

/// Bytes of a file, and where in it they stand.
pub type Piece<'a> = (u64, &'a [u8]);

/// Makes a file of `len` bytes that is empty but for these pieces. What no piece covers is a hole,
/// which is in no page cache before somebody touches it.
pub fn file(path: &Path, len: u64, pieces: &[Piece<'_>]) -> Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.set_len(len)?;
    for (at, bytes) in pieces {
        file.write_all_at(bytes, *at)?;
    }
    Ok(file)
}
