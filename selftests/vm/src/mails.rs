// SPDX-License-Identifier: MIT OR Apache-2.0

//! The series as commits of a git repository, and as mails.

use crate::{
    exec, paths,
    series::{self, Commit},
};
use anyhow::Result;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Applies the series to a user's tree.
pub fn apply_to(linux: &Path) -> Result<()> {
    let repository = linux.join(".git").exists();
    let series = series::read()?;
    let added = paths::work("apply-added")?;
    series.as_added(&added)?;
    for commit in series.exported() {
        commit.apply(linux, &added)?;
        if repository {
            commit_all(linux, commit)?;
        }
        println!("{}", commit.subject()?);
    }
    Ok(())
}

fn commit_all(repository: &Path, commit: &Commit) -> Result<()> {
    // Distributions' trees ignore new files.
    exec::run(
        git(repository)
            .args(["add", "--force", "--"])
            .args(commit.touched()),
    )?;
    exec::run(
        git(repository)
            .args(["commit", "--quiet", "--signoff", "-m"])
            .arg(commit.message()?),
    )
}

/// Writes the series as mails, made of the files that it changes alone.
pub fn export(linux: &Path, dir: &Path) -> Result<Vec<PathBuf>> {
    let series = series::read()?;
    let added = paths::work("export-added")?;
    series.as_added(&added)?;
    let repository = paths::work("export")?;
    fs::remove_dir_all(&repository)?;
    fs::create_dir_all(&repository)?;
    exec::run(git(&repository).args(["init", "--quiet"]))?;
    series::copy_changed(series.exported(), linux, &repository)?;
    exec::run(git(&repository).args(["add", "--force", "--all"]))?;
    exec::run(git(&repository).args(["commit", "--quiet", "-m", "Linux"]))?;
    for commit in series.exported() {
        commit.apply(&repository, &added)?;
        commit_all(&repository, commit)?;
    }

    fs::create_dir_all(dir)?;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "patch")
        {
            fs::remove_file(path)?;
        }
    }
    let count = format!("-{}", series.exported().count());
    let mails = exec::output(
        git(&repository)
            .args(["format-patch", &count, "-o"])
            .arg(dir.canonicalize()?),
    )?;
    Ok(mails.lines().map(PathBuf::from).collect())
}

/// Applies the mails that [`export`] wrote to what they were made for. They must lead to the same, and to
/// the new files of kernel/tree.
pub fn reapply(mails: &[PathBuf]) -> Result<()> {
    let repository = paths::work("export")?;
    let base = format!("HEAD~{}", mails.len());
    exec::run(git(&repository).args(["checkout", "--quiet", "-b", "again", &base]))?;
    exec::run(git(&repository).args(["am", "--quiet"]).args(mails))?;
    exec::run(git(&repository).args(["diff", "--exit-code", "--stat", "again", "@{-1}"]))?;
    series::read()?.ends_with_its_tree(&repository)
}

/// git, with a name for the commits where the user has none.
fn git(repository: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(repository);
    git.args(["-c", "commit.gpgsign=false"]);
    for (key, value) in [
        ("user.name", "maps_lockless"),
        ("user.email", "maps_lockless@localhost"),
    ] {
        if exec::output(Command::new("git").args(["config", "--get", key])).is_err() {
            git.args(["-c", &format!("{key}={value}")]);
        }
    }
    git
}
