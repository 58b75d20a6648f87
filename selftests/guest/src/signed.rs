// SPDX-License-Identifier: MIT OR Apache-2.0

//! Processes that map and unmap all the time, each of which signs what it maps: so that what is shown of
//! one can be told from what is of another.

#![expect(
    unsafe_code,
    reason = "mapping memory and what libc alone offers has no safe form"
)]

use crate::{rng::Rng, shapes::PAGE};
use anyhow::{Context, Result, ensure};
use maps_lockless::{decode::Vma, wire::*};
use nix::{
    libc,
    sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap},
};
use std::{ffi::CString, fs, num::NonZeroUsize, ptr::NonNull};

/// Pages that such a process maps and unmaps. Few, so that they are often merged.
pub const SIGNED_PAGES: usize = 64;
/// How many names each process gives in turn.
const NAMES: u8 = 8;

/// The permissions of all that the process of this number maps.
fn protection(number: u8) -> ProtFlags {
    [
        ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        ProtFlags::PROT_READ,
        ProtFlags::PROT_NONE,
        ProtFlags::PROT_READ | ProtFlags::PROT_EXEC,
    ][usize::from(number % 4)]
}

fn path(number: u8) -> String {
    format!("/tmp/signed-{number}")
}

/// A name that tells the process, and in each of its bytes which of the process's names it is.
fn name(number: u8, turn: u8) -> String {
    let letter = char::from(b'a' + turn % NAMES);
    format!("{number}{}", letter.to_string().repeat(70))
}

/// Whether what is shown of a mapping can be of the process of this number.
pub fn is_signed(number: u8, vma: &Vma<'_>) -> bool {
    if vma.fields.flags & MAPS_LOCKLESS_REC_WITHHELD != 0 {
        let fields = vma.fields;
        return (fields.valid, fields.vma_flags, fields.offset)
            == (MAPS_LOCKLESS_FIELD_RANGE, 0, 0)
            && vma.file.is_none()
            && vma.name.is_empty();
    }
    let flags = protection(number).bits() as u64;
    let is_file = vma.fields.vma_flags & MAPS_LOCKLESS_VMA_FILE != 0;
    let named = match (vma.fields.name_kind, &vma.file) {
        // What is named is mapped first.
        (MAPS_LOCKLESS_NAME_NONE, None) => true,
        (MAPS_LOCKLESS_NAME_NONE, Some(file)) => file.path == path(number).as_bytes(),
        (MAPS_LOCKLESS_NAME_ANON, None) => {
            (0..NAMES).any(|turn| vma.name == name(number, turn).as_bytes())
        }
        _ => false,
    };
    named && vma.fields.vma_flags & 15 == flags && is_file == vma.file.is_some()
}

/// Chooses where to map. Neither side of it is next to another mapping.
pub fn arena() -> Result<usize> {
    let len = NonZeroUsize::new((SIGNED_PAGES + 2) * PAGE).context("no page")?;
    // SAFETY: The kernel chooses an address where nothing is, and what it gave is given back.
    unsafe {
        let flags = MapFlags::MAP_PRIVATE;
        let base = mmap_anonymous(None, len, ProtFlags::PROT_NONE, flags)?;
        let inner = base.byte_add(PAGE);
        munmap(inner, SIGNED_PAGES * PAGE)?;
        Ok(inner.as_ptr() as usize)
    }
}

/// Maps, names and unmaps pages at `arena`, for ever.
pub fn run(number: u8, arena: usize) -> Result<()> {
    fs::write(path(number), [0; PAGE])?;
    let file = fs::File::open(path(number))?;
    let names: Vec<CString> = (0..NAMES)
        .map(|turn| CString::new(name(number, turn)))
        .collect::<Result<_, _>>()?;
    let len = NonZeroUsize::new(PAGE).context("a page")?;
    let mut rng = Rng::new(number.into());
    loop {
        let at = arena + rng.below(SIGNED_PAGES as u64) as usize * PAGE;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
        // SAFETY: The arena is used for nothing but this.
        unsafe {
            let place = NonZeroUsize::new(at);
            match rng.below(8) {
                0 => {
                    mmap(place, len, protection(number), flags, &file, 0)?;
                }
                1..=5 => {
                    mmap_anonymous(place, len, protection(number), flags)?;
                    // Mostly the same, for neighbours to be merged.
                    let turn = match rng.below(8) {
                        0 => rng.below(NAMES.into()),
                        _ => 0,
                    };
                    let option = libc::PR_SET_VMA_ANON_NAME as libc::c_ulong;
                    let name = names[turn as usize].as_ptr();
                    ensure!(
                        libc::prctl(libc::PR_SET_VMA, option, at, PAGE, name) == 0,
                        "prctl: {}",
                        std::io::Error::last_os_error()
                    );
                }
                _ => munmap(NonNull::new(at as *mut _).context("null")?, PAGE)?,
            }
        }
    }
}
