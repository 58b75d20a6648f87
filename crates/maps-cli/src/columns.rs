// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be shown of a mapping, each as a column.

use crate::processes::Target;
use anyhow::{Result, bail};
use maps_lockless::{BuildId, Fields, MappingRef, Marks, NameRef, Permissions};
use std::{borrow::Cow, fmt::Write, ops::Range};

/// A mapping, whose it is, and the address that was asked for.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub target: &'a Target,
    pub mapping: &'a MappingRef<'a>,
    pub address: Option<u64>,
}

/// What a column shows of a mapping. In JSON, these types stay.
#[derive(Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Not known, or the mapping has none. `null`.
    None,
    /// Hexadecimal in text. A number.
    Hex(u64),
    /// A size in bytes. A number.
    Size(u64),
    /// A number.
    Number(u64),
    /// A boolean.
    Bool(bool),
    /// A string, of harmless letters.
    Text(Cow<'a, str>),
    /// A string, of bytes that somebody else chose.
    Bytes(Cow<'a, [u8]>),
    /// An array of strings.
    Words(Vec<&'static str>),
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Pid,
    Tid,
    Command,
    Start,
    End,
    Size,
    Perms,
    Offset,
    Device,
    Inode,
    Kind,
    Flags,
    PageSize,
    Pkey,
    BuildId,
    Deleted,
    Marks,
    Address,
    FileOffset,
    Name,
}

/// All, in the order in which --output-all shows them: its name, whether it is shown to the right, what
/// it shows.
const COLUMNS: [(Column, &str, bool, &str); 20] = [
    (Column::Pid, "PID", true, "ID of the process"),
    (
        Column::Tid,
        "TID",
        true,
        "ID of the thread that was asked for by --tid",
    ),
    (
        Column::Command,
        "COMMAND",
        false,
        "name of the process, as in /proc/PID/comm",
    ),
    (Column::Start, "START", true, "first address, hexadecimal"),
    (
        Column::End,
        "END",
        true,
        "first address behind the mapping, hexadecimal",
    ),
    (
        Column::Size,
        "SIZE",
        true,
        "size, with a suffix (K is 1024 bytes) or by --bytes",
    ),
    (
        Column::Perms,
        "PERMS",
        false,
        "permissions, as maps shows them: rwx, s shared or p private",
    ),
    (
        Column::Offset,
        "OFFSET",
        true,
        "offset of START in the mapped file, in bytes, hexadecimal",
    ),
    (
        Column::Device,
        "DEVICE",
        false,
        "device of the mapped file's file system, major:minor, hexadecimal",
    ),
    (
        Column::Inode,
        "INODE",
        true,
        "inode number of the mapped file",
    ),
    (
        Column::Kind,
        "KIND",
        false,
        "file, anon, shmem, heap, stack or special; nothing where it was withheld",
    ),
    (
        Column::Flags,
        "FLAGS",
        false,
        "flags of the VMA, as in VmFlags of smaps, as far as the source tells them",
    ),
    (
        Column::PageSize,
        "PAGE-SIZE",
        true,
        "size of the mapping's pages; nothing where the source does not tell it",
    ),
    (
        Column::Pkey,
        "PKEY",
        true,
        "protection key; nothing where the source or the machine has none",
    ),
    (
        Column::BuildId,
        "BUILD-ID",
        false,
        "build ID of the mapped file, hexadecimal; nothing where that is not known",
    ),
    (
        Column::Deleted,
        "DELETED",
        true,
        "whether the mapped file was unlinked; nothing where that is not known",
    ),
    (
        Column::Marks,
        "MARKS",
        false,
        "what the kernel says against this line: unstable, withheld, clipped, unknown",
    ),
    (
        Column::Address,
        "ADDRESS",
        true,
        "the address that was asked for by --addr, hexadecimal",
    ),
    (
        Column::FileOffset,
        "FILE-OFFSET",
        true,
        "offset of ADDRESS in the mapped file, in bytes, hexadecimal",
    ),
    (
        Column::Name,
        "NAME",
        false,
        "path or name, as maps shows it",
    ),
];

/// What is shown of one process, of several, and by --addr.
const USUAL: [Column; 6] = {
    use Column::*;
    [Start, End, Size, Perms, Offset, Name]
};

impl Column {
    /// All, in the order in which they are shown.
    pub fn all() -> impl Iterator<Item = Self> {
        COLUMNS.iter().map(|&(column, ..)| column)
    }

    fn entry(self) -> &'static (Column, &'static str, bool, &'static str) {
        // They are in the order in which they are declared, as a test makes sure.
        &COLUMNS[self as usize]
    }

    /// Its heading.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// Its name in JSON.
    pub fn key(self) -> String {
        self.name().to_ascii_lowercase().replace('-', "_")
    }

    /// Whether numbers are shown, which line up to the right.
    pub fn is_right(self) -> bool {
        self.entry().2
    }

    /// What it shows.
    pub fn help(self) -> &'static str {
        self.entry().3
    }

    /// Adds the fields that it is made of.
    pub fn needs(self, fields: &mut Fields) {
        match self {
            Self::Perms | Self::Flags => fields.flags = true,
            Self::Offset | Self::FileOffset => fields.offset = true,
            Self::Device | Self::Inode => fields.file_id = true,
            Self::Name | Self::Deleted => fields.name = true,
            // The name tells heap and stack, the flags a file.
            Self::Kind => (fields.flags, fields.name) = (true, true),
            Self::PageSize => fields.page_size = true,
            Self::Pkey => fields.pkey = true,
            Self::BuildId => fields.build_id = true,
            Self::Pid | Self::Tid | Self::Command | Self::Start | Self::End | Self::Size => {}
            Self::Marks | Self::Address => {}
        }
    }

    /// What it shows of a mapping.
    pub fn value<'a>(self, row: &Row<'a>) -> Value<'a> {
        let mapping = row.mapping;
        match self {
            Self::Pid | Self::Tid | Self::Command => self.whose(row.target),
            Self::Start => Value::Hex(mapping.start),
            Self::End => Value::Hex(mapping.end),
            Self::Size => Value::Size(mapping.end.saturating_sub(mapping.start)),
            Self::Perms => option(mapping.permissions(), |p| Value::Text(letters(p).into())),
            Self::Offset => option(mapping.offset, Value::Hex),
            Self::Device => option(mapping.device, |d| Value::Text(d.to_string().into())),
            Self::Inode => option(mapping.inode, Value::Number),
            Self::Kind => option(kind(mapping), |kind| Value::Text(kind.into())),
            Self::Flags => match mapping.flags.known {
                0 => Value::None,
                _ => Value::Words(mapping.flags.smaps_names().collect()),
            },
            Self::PageSize => option(mapping.page_size, Value::Size),
            Self::Pkey => option(mapping.pkey.map(u64::from), Value::Number),
            Self::BuildId => match mapping.build_id {
                BuildId::Present(id) => Value::Text(hex(id).into()),
                _ => Value::None,
            },
            Self::Deleted => option(mapping.deleted, Value::Bool),
            Self::Marks => Value::Words(marks(mapping)),
            Self::Address => option(row.address, Value::Hex),
            Self::FileOffset => match (row.address, mapping.offset) {
                // An unstable offset may belong to another range.
                (Some(address), Some(offset)) if !mapping.marks.unstable => {
                    Value::Hex(offset.wrapping_add(address.wrapping_sub(mapping.start)))
                }
                _ => Value::None,
            },
            Self::Name => match mapping.name {
                NameRef::Unknown | NameRef::None | NameRef::PathTooLong => Value::None,
                name => Value::Bytes(name.to_maps()),
            },
        }
    }

    /// What it shows of a range of which nothing is known.
    pub fn of_unknown<'a>(self, target: &'a Target, range: &Range<u64>) -> Value<'a> {
        match self {
            Self::Start => Value::Hex(range.start),
            Self::End => Value::Hex(range.end),
            Self::Size => Value::Size(range.end.saturating_sub(range.start)),
            Self::Marks => Value::Words(vec![UNKNOWN]),
            _ => self.whose(target),
        }
    }

    /// What it shows of a process.
    fn whose(self, target: &Target) -> Value<'_> {
        match self {
            Self::Pid => Value::Number(target.pid.into()),
            Self::Tid => option(target.tid.map(u64::from), Value::Number),
            Self::Command if !target.comm.is_empty() => Value::Bytes((&target.comm).into()),
            _ => Value::None,
        }
    }
}

fn option<'a, T>(value: Option<T>, make: impl FnOnce(T) -> Value<'a>) -> Value<'a> {
    value.map_or(Value::None, make)
}

/// Permissions as they are displayed, without making a String of each.
fn letters(permissions: Permissions) -> &'static str {
    const LETTERS: [&str; 16] = [
        "---p", "---s", "--xp", "--xs", "-w-p", "-w-s", "-wxp", "-wxs", "r--p", "r--s", "r-xp",
        "r-xs", "rw-p", "rw-s", "rwxp", "rwxs",
    ];
    let Permissions {
        read,
        write,
        execute,
        shared,
    } = permissions;
    let bits = [read, write, execute, shared];
    LETTERS[bits
        .iter()
        .fold(0, |index, &bit| index << 1 | usize::from(bit))]
}

/// What is mapped, in one word.
pub fn kind(mapping: &MappingRef<'_>) -> Option<&'static str> {
    Some(match mapping.name {
        NameRef::Heap => "heap",
        NameRef::Stack => "stack",
        NameRef::Special(_) => "special",
        NameRef::Anon(_) => "anon",
        NameRef::AnonShmem(_) => "shmem",
        NameRef::Path { .. } | NameRef::PathTooLong => "file",
        // To maps, shared memory is a file.
        NameRef::Unknown | NameRef::None if mapping.is_file()? => "file",
        NameRef::None => "anon",
        _ => return None,
    })
}

/// How a range of which nothing is known is marked.
pub const UNKNOWN: &str = "unknown";

/// What the kernel has to say against a mapping.
pub fn marks(mapping: &MappingRef<'_>) -> Vec<&'static str> {
    let marks = mapping.marks;
    // As nearly always.
    if marks == Marks::default() {
        return Vec::new();
    }
    [
        (marks.unstable, "unstable"),
        (marks.withheld, "withheld"),
        (marks.clipped, "clipped"),
    ]
    .into_iter()
    .filter_map(|(is_set, mark)| is_set.then_some(mark))
    .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The columns that the options name. `several` tells whether mappings of more than one process may come,
/// `address` whether addresses were asked for.
pub fn chosen(
    output: Option<&str>,
    all: bool,
    several: bool,
    address: bool,
) -> Result<Vec<Column>> {
    if all {
        return Ok(Column::all().collect());
    }
    let mut columns = Vec::new();
    if several {
        columns.extend([Column::Pid, Column::Command]);
    }
    if address {
        columns.push(Column::Address);
    }
    for column in USUAL {
        match column {
            Column::Offset if address => columns.push(Column::FileOffset),
            column => columns.push(column),
        }
    }
    let list = match output {
        None => return Ok(columns),
        Some(list) => match list.strip_prefix('+') {
            Some(list) => list,
            None => {
                columns.clear();
                list
            }
        },
    };
    // The name has no width of its own, and stays last.
    let last = columns.pop();
    for name in list.split(',') {
        let found = COLUMNS
            .iter()
            .find(|(_, known, ..)| known.eq_ignore_ascii_case(name));
        match found {
            Some(&(column, ..)) if !columns.contains(&column) && last != Some(column) => {
                columns.push(column);
            }
            Some(_) => {}
            None => bail!("there is no column {name:?}: --list-columns lists them"),
        }
    }
    columns.extend(last);
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::{Column, Permissions, chosen, letters};

    #[test]
    fn each_column_is_there_once() {
        let columns: Vec<Column> = Column::all().collect();
        for (i, column) in columns.iter().enumerate() {
            assert_eq!(column.entry().0, *column);
            assert!(!columns[..i].contains(column));
        }
    }

    #[test]
    fn letters_are_what_is_displayed() {
        for bits in 0..16 {
            let permissions = Permissions {
                read: bits & 1 != 0,
                write: bits & 2 != 0,
                execute: bits & 4 != 0,
                shared: bits & 8 != 0,
            };
            assert_eq!(letters(permissions), permissions.to_string());
        }
    }

    #[test]
    fn columns_are_added_before_the_name() {
        let names = |output| -> Vec<_> {
            let columns = chosen(Some(output), false, false, false).unwrap();
            columns.into_iter().map(Column::name).collect()
        };
        assert_eq!(names("size,Build-Id"), ["SIZE", "BUILD-ID"]);
        let added = ["START", "END", "SIZE", "PERMS", "OFFSET", "INODE", "NAME"];
        assert_eq!(names("+inode,name,start"), added);
        assert!(chosen(Some("sizes"), false, false, false).is_err());
        assert!(chosen(Some(""), false, false, false).is_err());
    }
}
