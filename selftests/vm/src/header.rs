// SPDX-License-Identifier: MIT OR Apache-2.0

//! The uapi header, generated from the format's source, `wire.rs`.

use crate::paths;
use anyhow::{Context, Result, bail};
use std::{fs, path::PathBuf, process::ExitCode};

const BANNER: &str = "/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The format of /proc/PID/maps_lockless.
 *
 * See Documentation/filesystems/proc_maps_lockless.rst.
 */";

fn path() -> PathBuf {
    paths::root().join("kernel/tree/include/uapi/linux/maps_lockless.h")
}

/// Writes the header.
pub fn write() -> Result<ExitCode> {
    fs::write(path(), generate()?).with_context(|| path().display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Fails where the header is not the one that the source makes.
pub fn check() -> Result<()> {
    let path = path();
    let committed = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    if committed != generate()? {
        bail!(
            "{} is not what wire.rs makes: run `cargo vm header`",
            path.display()
        );
    }
    Ok(())
}

fn generate() -> Result<String> {
    let config = cbindgen::Config {
        language: cbindgen::Language::C,
        style: cbindgen::Style::Tag,
        header: Some(BANNER.into()),
        include_guard: Some("_UAPI_LINUX_MAPS_LOCKLESS_H".into()),
        no_includes: true,
        sys_includes: vec!["linux/types.h".into()],
        documentation_style: cbindgen::DocumentationStyle::C,
        tab_width: 8,
        line_length: 80,
        ..Default::default()
    };
    let mut bytes = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(paths::root().join("kernel/tree/fs/proc/maps_lockless/wire.rs"))
        .generate()
        .context("cbindgen")?
        .write(&mut bytes);
    let mut header = String::from_utf8(bytes)?;
    for bits in [16, 32, 64] {
        header = header.replace(&format!("uint{bits}_t "), &format!("__u{bits} "));
    }
    // The kernel's style: tabs, and comments that are not kernel-doc begin with one star.
    header = header.replace("/**\n", "/*\n").replace("        ", "\t");
    Ok(header)
}
