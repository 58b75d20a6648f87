// SPDX-License-Identifier: MIT OR Apache-2.0

//! Conversions into the types of other crates, for programs that have them already.

use crate::{Mapping, MappingRef, NameRef};
use procfs::process::{MMPermissions, MMapPath, MemoryMap};
use std::{ffi::OsString, os::unix::ffi::OsStringExt, string::String};

/// As the crate procfs itself would read it from maps, and also where it would fail.
///
/// A path is what maps shows, so that a file which was unlinked has the suffix ` (deleted)`, and a
/// newline is `\012`. Its bytes are kept, also those that are not UTF-8, and spaces at its end.
///
/// Lost is what [`MemoryMap`] has no place for: build IDs, [`vma_start`](Mapping::vma_start),
/// [`marks`](Mapping::marks), flags beyond the permissions, and what exactly is not known: that comes
/// as 0, as no permission, and as [`MMapPath::Anonymous`]. In a name that is no path, bytes that are
/// not UTF-8 become U+FFFD.
impl From<&Mapping> for MemoryMap {
    fn from(mapping: &Mapping) -> Self {
        Self::from(&mapping.as_ref())
    }
}

/// See the conversion of a [`Mapping`].
impl From<&MappingRef<'_>> for MemoryMap {
    fn from(mapping: &MappingRef<'_>) -> Self {
        let permissions = mapping.permissions().map(|permissions| {
            let flag = |set, flag| if set { flag } else { MMPermissions::NONE };
            flag(permissions.read, MMPermissions::READ)
                | flag(permissions.write, MMPermissions::WRITE)
                | flag(permissions.execute, MMPermissions::EXECUTE)
                | flag(permissions.shared, MMPermissions::SHARED)
                | flag(!permissions.shared, MMPermissions::PRIVATE)
        });
        let device = mapping.device.unwrap_or_default();
        Self {
            address: (mapping.start, mapping.end),
            perms: permissions.unwrap_or_default(),
            offset: mapping.offset.unwrap_or_default(),
            // The kernel's have 12 and 20 bits.
            dev: (device.major as i32, device.minor as i32),
            inode: mapping.inode.unwrap_or_default(),
            pathname: path(mapping.name),
            extension: Default::default(),
        }
    }
}

fn path(name: NameRef<'_>) -> MMapPath {
    let shown = name.to_maps();
    let is_path = matches!(name, NameRef::Path { .. });
    match &*shown {
        b"" => MMapPath::Anonymous,
        b"[heap]" if !is_path => MMapPath::Heap,
        b"[stack]" if !is_path => MMapPath::Stack,
        b"[vdso]" if !is_path => MMapPath::Vdso,
        b"[vvar]" if !is_path => MMapPath::Vvar,
        b"[vsyscall]" if !is_path => MMapPath::Vsyscall,
        [b'[', inner @ .., b']'] if !is_path => {
            MMapPath::Other(String::from_utf8_lossy(inner).into_owned())
        }
        path => match system_v_key(path) {
            Some(key) => MMapPath::Vsys(key),
            None => MMapPath::Path(OsString::from_vec(path.to_vec()).into()),
        },
    }
}

/// The key of a System V segment, which maps shows as `/SYSV0123abcd (deleted)`. A file may be called
/// so as well.
fn system_v_key(path: &[u8]) -> Option<i32> {
    let key = path.strip_prefix(b"/SYSV")?.strip_suffix(b" (deleted)")?;
    if key.len() != 8 || !key.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let key = u32::from_str_radix(core::str::from_utf8(key).ok()?, 16).ok()?;
    Some(key as i32)
}
