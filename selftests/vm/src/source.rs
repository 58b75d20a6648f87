// SPDX-License-Identifier: MIT OR Apache-2.0

//! Gets the Linux source that the series is for.

use crate::{debian, exec, paths, progress::Progress};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The Linux release that the series is for.
pub const SERIES: &str = "7.3";

/// A Linux tree of this checkout's own, to be built in. The series is not applied yet.
pub fn unpacked(user: Option<&Path>) -> Result<PathBuf> {
    if let Some(dir) = user {
        return copied(dir);
    }
    let work = paths::work("source")?;
    if let Some(tree) = ready_tree(&work)? {
        return Ok(tree);
    }
    let tarball = match debian_tarball() {
        Ok(tarball) => tarball,
        Err(debian) => kernel_org_tarball().map_err(|kernel_org| {
            anyhow::anyhow!(
                "no source of Linux {SERIES} is to be had.\n\
                 Debian's linux-source-{SERIES}: {debian:#}\n\
                 kernel.org: {kernel_org:#}\n\
                 Name a tree with --linux DIR."
            )
        })?,
    };
    unpack(&tarball, &work)
}

/// A tree that was unpacked, or copied, to its end, and is of the right release.
fn ready_tree(work: &Path) -> Result<Option<PathBuf>> {
    let tree = work.join("linux");
    let ready = fs::read_to_string(work.join("linux.complete")).unwrap_or_default();
    if !ready.starts_with(SERIES) || !tree.exists() {
        // Whatever is left, what was set aside of it included, is of no use.
        fs::remove_dir_all(work)?;
        fs::create_dir_all(work)?;
        return Ok(None);
    }
    eprintln!("Linux {}", ready.trim_end());
    Ok(Some(tree))
}

fn unpack(tarball: &Path, work: &Path) -> Result<PathBuf> {
    let tree = work.join("linux");
    let progress = Progress::new("unpacking", None);
    fs::create_dir_all(&tree)?;
    exec::run(
        Command::new("tar")
            .args(["-x", "--strip-components=1", "-f"])
            .arg(tarball)
            .arg("-C")
            .arg(&tree),
    )?;
    complete(work, &tree, &tarball.display().to_string())?;
    progress.end();
    Ok(tree)
}

fn copied(dir: &Path) -> Result<PathBuf> {
    let dir = dir
        .canonicalize()
        .with_context(|| dir.display().to_string())?;
    let name = dir.display().to_string().replace('/', "-");
    let work = paths::work(&format!("source{name}"))?;
    let tree = work.join("linux");
    if ready_tree(&work)?.is_none() {
        let progress = Progress::new(format!("copying {}", dir.display()), None);
        exec::run(Command::new("cp").arg("-a").arg(&dir).arg(&tree))?;
        complete(&work, &tree, &dir.display().to_string())?;
        progress.end();
    }
    Ok(tree)
}

fn complete(work: &Path, tree: &Path, from: &str) -> Result<()> {
    let version = version(tree)?;
    if !version.starts_with(SERIES) {
        bail!("{from} is Linux {version}: the series is for {SERIES}");
    }
    let ready = format!("{version} from {from}\n");
    eprint!("Linux {ready}");
    fs::write(work.join("linux.complete"), ready)?;
    Ok(())
}

/// The version that a tree's Makefile tells.
fn version(tree: &Path) -> Result<String> {
    let makefile = tree.join("Makefile");
    let text = fs::read_to_string(&makefile).with_context(|| makefile.display().to_string())?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))
            .map(str::trim)
            .with_context(|| format!("{}: no {name}", makefile.display()))
    };
    Ok(format!(
        "{}.{}.{}",
        field("VERSION")?,
        field("PATCHLEVEL")?,
        field("SUBLEVEL")?
    ))
}

/// The tarball in Debian's package of the source.
fn debian_tarball() -> Result<PathBuf> {
    let package = format!("linux-source-{SERIES}");
    let tarball = paths::cache("linux-source")?.join(format!("debian-{package}.tar.xz"));
    if tarball.exists() {
        return Ok(tarball);
    }
    let progress = Progress::new(format!("downloading {package}"), None);
    let suites = ["trixie-backports", "trixie"];
    debian::unpack(&[&package], &suites, |unpacked| {
        // A tarball in the cache is a whole one.
        let part = tarball.with_extension("part");
        fs::copy(unpacked.join(format!("usr/src/{package}.tar.xz")), &part)?;
        Ok(fs::rename(&part, &tarball)?)
    })?;
    progress.end();
    Ok(tarball)
}

/// The newest tarball of the series on kernel.org, checked by the hash that stands beside it.
fn kernel_org_tarball() -> Result<PathBuf> {
    let major = SERIES.split('.').next().unwrap_or(SERIES);
    let base = format!("https://cdn.kernel.org/pub/linux/kernel/v{major}.x");
    let fetch = |name: &str| {
        let mut curl = Command::new("curl");
        curl.args(["--fail", "--silent", "--show-error", "--location"])
            .arg(format!("{base}/{name}"));
        curl
    };
    let sums = exec::output(&mut fetch("sha256sums.asc"))?;
    let (hash, name) = sums
        .lines()
        .filter_map(|line| line.split_once("  "))
        .filter_map(|(hash, name)| {
            let version = name.strip_prefix("linux-")?.strip_suffix(".tar.xz")?;
            let point = match version.strip_prefix(SERIES)? {
                "" => 0,
                rest => rest.strip_prefix('.')?.parse::<u32>().ok()?,
            };
            Some((point, hash, name))
        })
        .max()
        .map(|(_, hash, name)| (hash, name))
        .with_context(|| format!("{base} has no Linux {SERIES}"))?;
    let dir = paths::cache("linux-source")?;
    let tarball = dir.join(name);
    if !tarball.exists() {
        let part = dir.join(format!("{name}.part"));
        let progress = Progress::new(format!("downloading {name}"), None);
        exec::run(fetch(name).arg("--output").arg(&part))?;
        progress.end();
        let actual = exec::output(Command::new("sha256sum").arg(&part))?;
        if !actual.starts_with(hash) {
            bail!("{name}: its SHA-256 is not the one that kernel.org tells");
        }
        fs::rename(&part, &tarball)?;
    }
    Ok(tarball)
}
