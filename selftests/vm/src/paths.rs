// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where things are.

use anyhow::{Context, Result};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The project's top folder.
pub fn root() -> &'static Path {
    // selftests/vm is two below.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest)
}

/// What belongs to this checkout: kernel tree, builds, logs. Made if need be.
pub fn work(name: &str) -> Result<PathBuf> {
    made(root().join("target/vm").join(name))
}

/// What may serve every checkout: downloads, compiler cache, tools. Made if need be.
///
/// `MAPS_LOCKLESS_CACHE`, or `maps-lockless` in the user's cache folder. It may be removed at any
/// time.
pub fn cache(name: &str) -> Result<PathBuf> {
    let cache = if let Some(dir) = env::var_os("MAPS_LOCKLESS_CACHE") {
        PathBuf::from(dir)
    } else if let Some(dir) = env::var_os("XDG_CACHE_HOME") {
        Path::new(&dir).join("maps-lockless")
    } else {
        let home = env::var_os("HOME").context("neither MAPS_LOCKLESS_CACHE nor HOME is set")?;
        Path::new(&home).join(".cache/maps-lockless")
    };
    made(cache.join(name))
}

fn made(dir: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    Ok(dir)
}
