// SPDX-License-Identifier: MIT OR Apache-2.0

//! Allocations of the kernel that fail, where it was built to (CONFIG_FAILSLAB). See
//! Documentation/fault-injection/ in Linux.

use anyhow::{Context, Result};
use std::{fs, fs::File, os::unix::fs::FileExt, path::Path};

const FOLDERS: [&str; 2] = [
    "/sys/kernel/debug/failslab",
    "/sys/kernel/debug/fail_page_alloc",
];

/// Whether allocations can be made to fail.
pub fn is_possible() -> bool {
    Path::new(FOLDERS[0]).exists() && Path::new("/proc/thread-self/make-it-fail").exists()
}

/// Has every tenth allocation fail of threads that ask for it.
pub fn prepare() -> Result<()> {
    for folder in FOLDERS.iter().map(Path::new).filter(|path| path.exists()) {
        for (name, value) in [
            ("task-filter", "Y"),
            ("interval", "1"),
            ("times", "-1"),
            // A stack trace of each would look like a fault.
            ("verbose", "0"),
            ("ignore-gfp-wait", "N"),
            ("min-order", "0"),
            ("probability", "10"),
        ] {
            let path = folder.join(name);
            if path.exists() {
                fs::write(&path, value).with_context(|| path.display().to_string())?;
            }
        }
    }
    Ok(())
}

/// A thread's switch.
pub struct Injector(Option<File>);

impl Injector {
    /// The calling thread's.
    pub fn new() -> Result<Self> {
        Ok(Self(if is_possible() {
            let path = "/proc/thread-self/make-it-fail";
            Some(File::options().write(true).open(path)?)
        } else {
            None
        }))
    }

    /// Whether it does anything.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Calls `call`, with allocations failing or not.
    pub fn with<T>(&self, failing: bool, call: impl FnOnce() -> T) -> Result<T> {
        let Some(file) = self.0.as_ref().filter(|_| failing) else {
            return Ok(call());
        };
        file.write_all_at(b"1", 0)?;
        let result = call();
        file.write_all_at(b"0", 0)?;
        Ok(result)
    }
}
