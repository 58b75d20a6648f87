// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where things are.

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use std::{
    env,
    fs::{self, File},
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

/// Keeps another `cargo vm` of this checkout waiting that wants the same, for as long as the lock is
/// held.
pub fn lock(name: &str) -> Result<Flock<File>> {
    let path = work("locks")?.join(name);
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => return Ok(lock),
        Err((file, _)) => file,
    };
    eprintln!("waiting for another cargo vm of this checkout ({name}) ...");
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .with_context(|| path.display().to_string())
}

fn made(dir: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    Ok(dir)
}
