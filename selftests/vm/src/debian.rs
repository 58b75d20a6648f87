// SPDX-License-Identifier: MIT OR Apache-2.0

//! Debian's packages of other suites than the system's. They are unpacked and not installed.

use crate::{exec, host, paths};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Unpacks packages of whichever of these suites has the newest, with the signature checked by apt, and has
/// `take` copy what it wants of them.
///
/// apt works on lists of its own, so that the system's sources stay as they are.
pub fn unpack(
    packages: &[&str],
    suites: &[&str],
    take: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    if host::debian_release().is_none() {
        bail!("this is not Debian");
    }
    let name = packages.first().context("no package")?;
    let dir = paths::work(&format!("apt-{name}"))?;
    // What an earlier try may have left.
    fs::remove_dir_all(&dir)?;
    for sub in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(dir.join(sub))?;
    }
    let sources = dir.join("sources.list");
    let mirror = mirror()?;
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let lines = suites
        .iter()
        .map(|suite| format!("deb [signed-by={keyring}] {mirror} {suite} main\n"));
    fs::write(&sources, lines.collect::<String>())?;
    let option = |name: &str, value: &Path| format!("-o{name}={}", value.display());
    let options = [
        option("Dir::State::Lists", &dir.join("lists")),
        option("Dir::Cache", &dir.join("cache")),
        option("Dir::Etc::SourceList", &sources),
        option("Dir::Etc::SourceParts", Path::new("/dev/null")),
        // As root, apt would download as a user who may not write here.
        "-oAPT::Sandbox::User=root".to_owned(),
    ];
    let log = paths::work("logs")?.join(format!("{name}.log"));
    let apt = |verb: &str| {
        let mut command = Command::new("apt-get");
        command.args(&options).arg(verb).current_dir(&dir);
        command
    };
    exec::run_logged(&mut apt("update"), &log)?;
    exec::run_logged(apt("download").args(packages), &log)?;
    let unpacked = dir.join("unpacked");
    let debs: Vec<PathBuf> = fs::read_dir(&dir)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    if debs.len() != packages.len() {
        bail!(
            "apt-get download left {} packages of {packages:?}",
            debs.len()
        );
    }
    for deb in debs {
        exec::run(Command::new("dpkg").arg("-x").arg(&deb).arg(&unpacked))?;
    }
    take(&unpacked)?;
    fs::remove_dir_all(&dir)?;
    Ok(())
}

/// The mirror that the system itself uses.
fn mirror() -> Result<String> {
    if let Some(mirror) = listed_mirror()? {
        return Ok(mirror);
    }
    // apt tells nothing before it has fetched its lists.
    host::update_apt()?;
    listed_mirror()?.context("the system's apt sources name no mirror of Debian")
}

fn listed_mirror() -> Result<Option<String>> {
    let uris = exec::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    Ok(uris
        .lines()
        .find(|uri| uri.trim_end_matches('/').ends_with("/debian"))
        .map(str::to_owned))
}
