// SPDX-License-Identifier: MIT OR Apache-2.0

//! `/proc/<pid>/maps`.

use super::{Completeness, Listing, Source, open_file, retry};
use crate::{Error, text};
use nix::unistd::read as read_fd;
use std::path::PathBuf;

pub(crate) fn read(path: PathBuf) -> Result<Listing, Error> {
    let fd = open_file(&path).map_err(|errno| Error::os(&path, errno))?;
    let mut bytes = Vec::new();
    let mut buf = vec![0; 65536];
    loop {
        match retry(|| read_fd(&fd, &mut buf)).map_err(|errno| Error::os(&path, errno))? {
            0 => break,
            len => bytes.extend_from_slice(&buf[..len]),
        }
    }
    let mappings = text::parse(&bytes).map_err(|line| Error::text(&path, line))?;
    Ok(Listing {
        mappings,
        source: Source::Maps,
        completeness: Completeness::Unknown,
        consistent: None,
    })
}
