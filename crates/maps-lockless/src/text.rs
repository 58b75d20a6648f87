// SPDX-License-Identifier: MIT OR Apache-2.0

//! The text of `/proc/<pid>/maps`, parsed and written. See proc_pid_maps(5).

use crate::{Device, Mapping, Marks, Name, Permissions};
use std::io::{self, Write};

/// Parses the text of a whole file. Fails with the number of the first bad line, counted from 1.
///
/// Text cannot tell a file that was unlinked from one whose name ends in ` (deleted)`, nor a newline
/// in a name from the four characters `\012`: the former counts as unlinked, the latter stays.
pub fn parse(text: &[u8]) -> Result<Vec<Mapping>, usize> {
    text.split_inclusive(|&b| b == b'\n')
        .enumerate()
        .map(|(i, line)| parse_line(line.strip_suffix(b"\n").unwrap_or(line)).ok_or(i + 1))
        .collect()
}

fn parse_line(line: &[u8]) -> Option<Mapping> {
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
    let inode = number(fields.next()?, 10)?;
    let name = parse_name(
        fields.next().unwrap_or_default().trim_ascii_start(),
        device,
        inode,
    );
    let file_backed = matches!(name, Name::Path { .. } | Name::AnonShmem(_));
    Some(Mapping {
        start: hex(start)?,
        end: hex(end)?,
        permissions: Some(permissions),
        vma_flags: 0,
        offset: file_backed.then_some(offset),
        device: file_backed.then_some(device),
        inode: file_backed.then_some(inode),
        name,
        marks: Marks::default(),
    })
}

fn parse_name(name: &[u8], device: Device, inode: u64) -> Name {
    let within = |prefix: &[u8]| Some(name.strip_prefix(prefix)?.strip_suffix(b"]")?.to_vec());
    if name.is_empty() {
        return Name::None;
    }
    if device == Device::default() && inode == 0 {
        if let Some(anon) = within(b"[anon:") {
            return Name::Anon(anon);
        }
        match name {
            b"[heap]" => return Name::Heap,
            b"[stack]" => return Name::Stack,
            _ if name.starts_with(b"[") => return Name::Special(name.to_vec()),
            _ => {}
        }
    }
    if let Some(anon) = within(b"[anon_shmem:") {
        return Name::AnonShmem(anon);
    }
    match name.strip_suffix(b" (deleted)") {
        Some(path) => Name::Path {
            path: path.to_vec(),
            deleted: true,
        },
        None => Name::Path {
            path: name.to_vec(),
            deleted: false,
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

fn hex(field: &[u8]) -> Option<u64> {
    number(field, 16)
}

fn number(field: &[u8], radix: u32) -> Option<u64> {
    // from_str_radix takes a sign, which the kernel never writes.
    if !field.first()?.is_ascii_alphanumeric() {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(field).ok()?, radix).ok()
}

/// Writes a mapping as a line of maps, byte for byte as the kernel does.
///
/// What is not known is written as maps writes what a mapping does not have.
pub fn write_line(out: &mut impl Write, mapping: &Mapping) -> io::Result<()> {
    let prefix = format!(
        "{:08x}-{:08x} {} {:08x} {} {} ",
        mapping.start,
        mapping.end,
        mapping.permissions.unwrap_or_default(),
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
