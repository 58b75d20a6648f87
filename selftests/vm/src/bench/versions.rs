// SPDX-License-Identifier: MIT OR Apache-2.0

//! What instructions depend on beside our own code: which Linux it is, and who has compiled it.

use anyhow::{Context, Result};
use std::{fmt, fs, path::Path};

/// Versions of what a kernel was built of and by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Linux.
    pub kernel: String,
    /// What has compiled its C.
    pub clang: String,
    /// What has compiled its Rust.
    pub rustc: String,
}

impl Versions {
    /// Those of a kernel that was built in this folder.
    pub fn of(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let config = read(".config")?;
        let text = |option: &str| {
            text_of(&config, option).with_context(|| {
                let path = folder.join(".config");
                format!("{} has no {option}: build the kernel anew", path.display())
            })
        };
        Ok(Self {
            kernel: read("include/config/kernel.release")?.trim().to_owned(),
            clang: text("CONFIG_CC_VERSION_TEXT")?,
            rustc: text("CONFIG_RUSTC_VERSION_TEXT")?,
        })
    }

    /// Takes a line as [`fmt::Display`] writes them. Returns whether it is one.
    pub fn take(&mut self, line: &str) -> bool {
        let Some((name, value)) = line.split_once(' ') else {
            return false;
        };
        let field = match name {
            "kernel" => &mut self.kernel,
            "clang" => &mut self.clang,
            "rustc" => &mut self.rustc,
            _ => return false,
        };
        value.trim().clone_into(field);
        true
    }
}

/// A line each.
impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kernel {}", self.kernel)?;
        writeln!(f, "clang {}", self.clang)?;
        writeln!(f, "rustc {}", self.rustc)
    }
}

/// The value of an option that is a text.
fn text_of(config: &str, option: &str) -> Option<String> {
    config.lines().find_map(|line| {
        let value = line.strip_prefix(option)?.strip_prefix("=\"")?;
        Some(value.strip_suffix('"')?.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::{Versions, text_of};

    #[test]
    fn texts_are_without_quotes() {
        let config = "CONFIG_A_B=\"no\"\nCONFIG_A=\"clang 19\"\nCONFIG_C=y\n";
        assert_eq!(text_of(config, "CONFIG_A").as_deref(), Some("clang 19"));
        assert_eq!(text_of(config, "CONFIG_C"), None);
    }

    #[test]
    fn lines_are_read_as_they_were_written() {
        let written = Versions {
            kernel: "7.3.1".into(),
            clang: "Debian clang version 19.1.7 (3)".into(),
            rustc: "rustc 1.95.0 (5980 2026)".into(),
        };
        let mut read = Versions::default();
        assert!(written.to_string().lines().all(|line| read.take(line)));
        assert_eq!(read, written);
        assert!(!read.take("gaps-10/maps 100"));
        assert!(!read.take(""));
    }
}
