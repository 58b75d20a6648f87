// SPDX-License-Identifier: MIT OR Apache-2.0

//! Opens the file that a mapping maps.

use crate::{Device, Error, Mapping, Process};
use nix::fcntl::OFlag;
use std::{
    format, fs,
    fs::File,
    io::Read,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::Path,
    string::String,
    vec::Vec,
};

/// Opens the very file, see [`Process::open_mapped`].
pub(crate) fn open(process: &Process, mapping: &Mapping) -> Result<File, Error> {
    let range = format!("map_files/{:x}-{:x}", mapping.vma_start, mapping.end);
    match process.file(range) {
        Ok(file) => Ok(file.into()),
        Err(error) => by_path(process, mapping).ok_or(error),
    }
}

/// Opens what is at the mapping's path, if it is the file that is mapped.
fn by_path(process: &Process, mapping: &Mapping) -> Option<File> {
    let path = mapping.name.path()?;
    let path = Path::new("root").join(path.strip_prefix("/").unwrap_or(path));
    // Not to be read from yet: what is there now may be a FIFO, which would wait for a writer.
    let found = File::from(process.open_file(&path, OFlag::O_PATH).ok()?);
    let inode = found.metadata().ok()?.ino();
    if mapping.inode != Some(inode) || mapping.device != Some(device(process, &found)?) {
        return None;
    }
    File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()
}

/// The device of the file system that a file is in, as maps has it: stat(2) may tell another one (btrfs,
/// overlayfs), but mountinfo does not (proc_pid_mountinfo(5)).
fn device(process: &Process, file: &File) -> Option<Device> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    let mut mounts = Vec::new();
    let mut mountinfo = File::from(process.file("mountinfo").ok()?);
    mountinfo.read_to_end(&mut mounts).ok()?;
    // Paths are bytes, and none is looked at.
    String::from_utf8_lossy(&mounts).lines().find_map(|line| {
        let mut fields = line.split(' ');
        let id = fields.next()?;
        let (major, minor) = fields.nth(1)?.split_once(':')?;
        (id == mount.trim()).then_some(Device {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::by_path;
    use crate::{Mapping, Name, Process};
    use nix::{sys::stat::Mode, unistd::mkfifo};
    use std::{
        env, format, fs,
        os::unix::{ffi::OsStrExt, fs::MetadataExt},
        path::Path,
        process,
    };

    /// Where this program is mapped from.
    fn program() -> Mapping {
        let mappings = Process::current().snapshot().unwrap().mappings;
        let exe = fs::read_link("/proc/self/exe").unwrap();
        let found = mappings.into_iter().find(|m| m.name.path() == Some(&exe));
        found.unwrap()
    }

    fn named(mapping: &Mapping, path: &Path) -> Mapping {
        Mapping {
            name: Name::Path {
                path: path.as_os_str().as_bytes().to_vec(),
                marked: false,
            },
            ..mapping.clone()
        }
    }

    #[test]
    fn a_file_is_opened_by_its_path_if_it_is_the_one() {
        let program = program();
        let opened = by_path(&Process::current(), &program).unwrap();
        assert_eq!(Some(opened.metadata().unwrap().ino()), program.inode);

        let folder = env::temp_dir().join(format!("maps-lockless-mapped-{}", process::id()));
        fs::create_dir(&folder).unwrap();
        let other = folder.join("other");
        fs::write(&other, "other").unwrap();
        let fifo = folder.join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        for path in [other, fifo, folder.join("missing")] {
            assert!(by_path(&Process::current(), &named(&program, &path)).is_none());
        }
        fs::remove_dir_all(&folder).unwrap();

        // As inodes of two file systems may have one number.
        let mut elsewhere = program;
        elsewhere.device.as_mut().unwrap().minor += 1;
        assert!(by_path(&Process::current(), &elsewhere).is_none());
    }
}
