// SPDX-License-Identifier: MIT OR Apache-2.0

//! The text of `/proc/<pid>/maps`, parsed and written. See proc_pid_maps(5).
//!
//! What the text cannot tell: a file that was unlinked from one whose name ends in ` (deleted)`, and
//! a newline in a path from the four characters `\012`. See [`NameRef::Path`].

use crate::{
    BuildId, Device, MappingRef, Marks, NameRef, Permissions, VmaFlags, mapping::PERMISSIONS,
    wire::MAPS_LOCKLESS_VMA_FILE,
};
use core::iter::FusedIterator;

/// The lines of a text, each as a mapping, or [`None`] where a line is none.
///
/// No name, whatever its bytes, makes a line bad. Nothing is allocated.
///
/// ```
/// let text = b"7ffd-7fff rw-p 00000000 00:00 0                          [stack]\n";
/// let stack = maps_lockless::text::lines(text).next().flatten().unwrap();
/// assert_eq!((stack.start, stack.end), (0x7ffd, 0x7fff));
/// assert_eq!(stack.name, maps_lockless::NameRef::Stack);
/// ```
pub fn lines(text: &[u8]) -> Lines<'_> {
    Lines { rest: text }
}

/// See [`lines`].
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = Option<MappingRef<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let (line, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        Some(parse_line(line))
    }
}

impl FusedIterator for Lines<'_> {}

fn parse_line(line: &[u8]) -> Option<MappingRef<'_>> {
    // Only the name, which is last, may hold a space.
    let mut fields = line.splitn(6, |&b| b == b' ');
    let (start, end) = split_at_byte(fields.next()?, b'-')?;
    let permissions = parse_permissions(fields.next()?)?;
    let offset = hex(fields.next()?)?;
    let (major, minor) = split_at_byte(fields.next()?, b':')?;
    let device = Device {
        major: hex(major)?.try_into().ok()?,
        minor: hex(minor)?.try_into().ok()?,
    };
    let inode = decimal(fields.next()?)?;
    let (start, end) = (hex(start)?, hex(end)?);
    if end < start {
        return None;
    }
    // Memory has neither, and each file has one of them.
    let file = inode != 0 || device != Device::default();
    let name = name(fields.next().unwrap_or_default().trim_ascii_start(), file);
    let or_file = if file { MAPS_LOCKLESS_VMA_FILE } else { 0 };
    Some(MappingRef {
        start,
        end,
        vma_start: start,
        flags: VmaFlags {
            set: VmaFlags::from(permissions).set | or_file,
            known: PERMISSIONS | MAPS_LOCKLESS_VMA_FILE,
        },
        offset: file.then_some(offset),
        device: file.then_some(device),
        inode: file.then_some(inode),
        name,
        build_id: BuildId::Unknown,
        marks: Marks::default(),
    })
}

/// What a name, as maps shows it, says. `file` tells whether the mapping is one of a file.
pub(crate) fn name(name: &[u8], file: bool) -> NameRef<'_> {
    let within = |prefix: &[u8]| name.strip_prefix(prefix)?.strip_suffix(b"]");
    if name.is_empty() {
        return NameRef::None;
    }
    if !file {
        if let Some(anon) = within(b"[anon:") {
            return NameRef::Anon(anon);
        }
        return match name {
            b"[heap]" => NameRef::Heap,
            b"[stack]" => NameRef::Stack,
            _ => NameRef::Special(name),
        };
    }
    if let Some(anon) = within(b"[anon_shmem:") {
        return NameRef::AnonShmem(anon);
    }
    match name.strip_suffix(b" (deleted)") {
        Some(path) => NameRef::Path {
            path,
            deleted: None,
        },
        None => NameRef::Path {
            path: name,
            deleted: Some(false),
        },
    }
}

fn parse_permissions(field: &[u8]) -> Option<Permissions> {
    let &[r, w, x, kind] = field else {
        return None;
    };
    let flag = |byte, letter| match byte {
        b'-' => Some(false),
        _ if byte == letter => Some(true),
        _ => None,
    };
    Some(Permissions {
        read: flag(r, b'r')?,
        write: flag(w, b'w')?,
        execute: flag(x, b'x')?,
        shared: match kind {
            b's' => true,
            b'p' => false,
            _ => return None,
        },
    })
}

fn split_at_byte(field: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = field.iter().position(|&b| b == byte)?;
    Some((&field[..at], &field[at + 1..]))
}

/// A number without sign, which neither is empty nor overflows.
fn hex(field: &[u8]) -> Option<u64> {
    // More digits than 16 would overflow, unless they begin with zeroes, which maps never writes.
    if field.is_empty() || field.len() > 16 {
        return None;
    }
    field.iter().try_fold(0, |number: u64, &byte| {
        let digit = char::from(byte).to_digit(16)?;
        Some(number << 4 | u64::from(digit))
    })
}

/// As [`hex`], to the base of ten.
fn decimal(field: &[u8]) -> Option<u64> {
    if field.is_empty() {
        return None;
    }
    field.iter().try_fold(0, |number: u64, &byte| {
        let digit = char::from(byte).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

/// Writes a mapping as a line of maps, byte for byte as the kernel does.
///
/// What is not known is written as maps writes what a mapping does not have.
#[cfg(feature = "std")]
pub fn write_line(out: &mut impl std::io::Write, mapping: &MappingRef<'_>) -> std::io::Result<()> {
    let prefix = std::format!(
        "{:08x}-{:08x} {} {:08x} {} {} ",
        mapping.start,
        mapping.end,
        mapping.permissions().unwrap_or_default(),
        mapping.offset.unwrap_or_default(),
        mapping.device.unwrap_or_default(),
        mapping.inode.unwrap_or_default(),
    );
    let name = mapping.name.to_maps();
    out.write_all(prefix.as_bytes())?;
    if !name.is_empty() {
        // The kernel aligns names at this column: 25 + 6 * sizeof(void *) - 1, for 64 bits.
        for _ in prefix.len()..72 + 1 {
            out.write_all(b" ")?;
        }
        out.write_all(&name)?;
    }
    out.write_all(b"\n")
}
