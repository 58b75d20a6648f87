// SPDX-License-Identifier: MIT OR Apache-2.0

//! The files that are mapped: on tmpfs, seven path components deep, each with a build ID of its own.

use crate::{elf, shapes::PAGE};
use anyhow::{Context, Result};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

/// Pages of each file.
pub const PAGES: usize = 4;
/// Bytes of a path.
pub const USUAL: usize = 63;
/// Bytes of a long path.
pub const LONG: usize = 1000;

/// Where those with usual paths are.
pub const DIRECTORY: &str = "/tmp/bench/usr/lib/x86_64/vendor";

/// Where its build ID stands in a file.
const NOTE: u64 = 0x200;
/// Bytes of a build ID, which is a SHA-1 hash elsewhere.
const ID: usize = 20;

/// Makes the file with this number that has a path of [`USUAL`] bytes.
pub fn path(kind: &str, number: usize) -> Result<File> {
    make(DIRECTORY.as_ref(), USUAL, kind, number)
}

/// Makes the file with this number that has a path of [`LONG`] bytes.
pub fn long_path(kind: &str, number: usize) -> Result<File> {
    // A component may have 255 bytes.
    let mut dir = PathBuf::from("/tmp");
    for letter in ["a", "b", "c", "d", "e"] {
        dir.push(letter.repeat(180));
    }
    make(&dir, LONG, kind, number)
}

fn make(dir: &Path, len: usize, kind: &str, number: usize) -> Result<File> {
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let path = dir.join(name(dir, len, kind, number)?);
    let note = elf::build_id_note(&build_id(number));
    let header = elf::header_64(1, NOTE, note.len() as u64);
    let pieces: [elf::Piece<'_>; 2] = [(0, &header), (NOTE, &note)];
    elf::file(&path, (PAGES * PAGE) as u64, &pieces).with_context(|| path.display().to_string())
}

/// The name that makes the whole path so many bytes long.
fn name(dir: &Path, len: usize, kind: &str, number: usize) -> Result<String> {
    let around = dir.as_os_str().len() + "/lib".len() + kind.len() + "-".len() + ".so".len();
    let width = len.checked_sub(around).context("no room for a name")?;
    Ok(format!("lib{kind}-{number:0width$}.so"))
}

fn build_id(number: usize) -> [u8; ID] {
    let mut id = [0xb1; ID];
    id[..8].copy_from_slice(&number.to_le_bytes());
    id
}

#[cfg(test)]
mod tests {
    use super::{USUAL, name};
    use std::path::Path;

    #[test]
    fn names_fill_the_path() {
        let dir = Path::new("/tmp/some/where");
        for number in [0, 7, 9999] {
            let name = name(dir, USUAL, "kind", number).unwrap();
            assert_eq!(dir.join(name).as_os_str().len(), USUAL);
        }
        assert!(name(dir, 10, "kind", 0).is_err());
    }
}
