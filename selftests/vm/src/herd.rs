// SPDX-License-Identifier: MIT OR Apache-2.0

//! herd7, which the kernel's memory model is written for. On Debian it is fetched from a release to come,
//! with the libraries that it needs, and not installed.

use crate::{debian, exec, paths, progress::Progress};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What has it, and the libraries.
const PACKAGES: [&str; 3] = ["herdtools7", "libc6", "libgmp10"];
const SUITES: [&str; 2] = ["forky", "sid"];

/// An installed herd7, or one that was unpacked.
pub enum Herd {
    Installed,
    Unpacked(PathBuf),
}

impl Herd {
    /// Finds it, or gets it.
    pub fn get() -> Result<Self> {
        if Self::Installed.works() {
            return Ok(Self::Installed);
        }
        let place = paths::cache("tools")?.join("herd7");
        let herd = Self::Unpacked(place.clone());
        if herd.works() {
            return Ok(herd);
        }
        let progress = Progress::new("downloading herdtools7", None);
        debian::unpack(&PACKAGES, &SUITES, |unpacked| {
            if place.exists() {
                fs::remove_dir_all(&place)?;
            }
            // The cache may be on another file system. What is half copied does not work.
            exec::run(Command::new("cp").arg("-a").arg(unpacked).arg(&place))
        })?;
        if !herd.works() {
            bail!("Debian's herd7 does not run here");
        }
        progress.end();
        Ok(herd)
    }

    fn works(&self) -> bool {
        exec::output(self.command().arg("-version")).is_ok()
    }

    fn command(&self) -> Command {
        let Self::Unpacked(root) = self else {
            return Command::new("herd7");
        };
        // Its C library is newer than the system's: it runs by its own loader.
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        let mut herd = Command::new(libraries.join("ld-linux-x86-64.so.2"));
        herd.arg("--library-path")
            .arg(libraries)
            .arg(root.join("usr/bin/herd7"))
            .arg("-set-libdir")
            .arg(root.join("usr/share/herdtools7/herd"));
        herd
    }

    /// Whether a test's final condition holds `Never`, `Sometimes` or `Always`, by the memory model of a
    /// Linux tree.
    pub fn observe(&self, linux: &Path, test: &Path) -> Result<String> {
        let mut herd = self.command();
        herd.args(["-conf", "linux-kernel.cfg"])
            .arg(test)
            .current_dir(linux.join("tools/memory-model"));
        let said = exec::output(&mut herd)?;
        said.lines()
            .find_map(|line| line.strip_prefix("Observation ")?.split(' ').nth(1))
            .map(str::to_owned)
            .with_context(|| format!("{}: {said}", exec::shown(&herd)))
    }
}
