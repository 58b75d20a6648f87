// SPDX-License-Identifier: MIT OR Apache-2.0

//! The series: joins kernel/patches and kernel/tree into ordered commits.

use crate::{exec, paths, source};
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// One commit of the series.
#[derive(Debug)]
pub struct Commit {
    /// The patch: the commit's message, and what it changes in files that Linux has.
    patch: PathBuf,
    /// Files that it adds, relative to kernel/tree and to a Linux tree.
    files: Vec<PathBuf>,
    /// Applied for the selftests, never exported.
    local: bool,
}

/// Reads kernel/series.
pub fn read() -> Result<Vec<Commit>> {
    let list = paths::root().join("kernel/series");
    let text = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let tree = tree();
    let commits = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace().peekable();
            let local = words.next_if_eq(&"local").is_some();
            let patch = words
                .next()
                .with_context(|| format!("no patch in {line:?}"))?;
            let mut files = Vec::new();
            for word in words {
                let before = files.len();
                files_below(&tree.join(word), &tree, &mut files)?;
                if files.len() == before {
                    bail!("{word} is not in {}", tree.display());
                }
            }
            files.sort();
            Ok(Commit {
                patch: patches().join(patch),
                files,
                local,
            })
        })
        .collect::<Result<Vec<_>>>()
        .with_context(|| list.display().to_string())?;

    let mut listed = BTreeSet::new();
    for file in commits.iter().flat_map(|commit| &commit.files) {
        if !listed.insert(file) {
            bail!("{}: {} is listed twice", list.display(), file.display());
        }
    }
    let mut all = Vec::new();
    files_below(&tree, &tree, &mut all)?;
    if let Some(file) = all.iter().find(|file| !listed.contains(file)) {
        bail!("{}: {} is not listed", list.display(), file.display());
    }
    Ok(commits)
}

fn tree() -> PathBuf {
    paths::root().join("kernel/tree")
}

fn patches() -> PathBuf {
    paths::root().join("kernel/patches").join(source::SERIES)
}

/// All files that the series adds or changes, relative to a Linux tree.
pub fn files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for commit in read()? {
        files.extend(commit.changed()?);
        files.extend(commit.files);
    }
    Ok(files)
}

/// The new files of the series, by their full names.
pub fn new_files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    files_below(&tree(), &tree(), &mut files)?;
    Ok(files.iter().map(|file| tree().join(file)).collect())
}

/// The names of the KUnit suites in the new files.
pub fn kunit_suites() -> Result<Vec<String>> {
    let mut suites = Vec::new();
    for file in new_files()? {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        suites.extend(
            text.split("kunit_tests(")
                .skip(1)
                .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())),
        );
    }
    Ok(suites)
}

fn files_below(path: &Path, base: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
            files_below(&entry?.path(), base, files)?;
        }
    } else if path.exists() {
        files.push(path.strip_prefix(base)?.to_owned());
    }
    Ok(())
}

impl Commit {
    /// The commit's message.
    fn message(&self) -> Result<String> {
        let text = self.patch_text()?;
        text.split("\n---\n")
            .next()
            .and_then(|head| head.strip_prefix("Subject: "))
            .map(str::to_owned)
            .with_context(|| format!("{}: no subject", self.patch.display()))
    }

    /// The subject of the commit's message.
    pub fn subject(&self) -> Result<String> {
        Ok(self
            .message()?
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned())
    }

    fn patch_text(&self) -> Result<String> {
        fs::read_to_string(&self.patch).with_context(|| self.patch.display().to_string())
    }

    /// The files that its patch changes.
    fn changed(&self) -> Result<Vec<PathBuf>> {
        Ok(self
            .patch_text()?
            .lines()
            .filter_map(|line| line.strip_prefix("+++ b/"))
            .map(PathBuf::from)
            .collect())
    }

    fn apply(&self, to: &Path) -> Result<()> {
        patch(&self.patch, to, &[])?;
        for file in &self.files {
            copy(&tree().join(file), &to.join(file))?;
        }
        Ok(())
    }
}

/// Applies a patch to the tree in `to`.
fn patch(patch: &Path, to: &Path, options: &[&str]) -> Result<()> {
    exec::output(
        Command::new("patch")
            .args(["-p1", "--fuzz=0", "--no-backup-if-mismatch"])
            .args(options)
            .arg("-i")
            .arg(patch)
            .arg("-d")
            .arg(to),
    )
    .map(|_| ())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::copy(from, to)
        .with_context(|| format!("{} to {}", from.display(), to.display()))
        .map(|_| ())
}

/// Copies to `to` what `commits` change, as Linux itself has it: from where [`install`] set it aside,
/// or from the tree if nothing was installed yet.
fn copy_changed(commits: &[Commit], linux: &Path, to: &Path) -> Result<()> {
    let pristine = linux.with_file_name("pristine");
    for commit in commits {
        for file in commit.changed()? {
            let aside = pristine.join(&file);
            let from = if aside.exists() {
                aside
            } else {
                linux.join(&file)
            };
            copy(&from, &to.join(&file))?;
        }
    }
    Ok(())
}

/// Has a build's own `linux` tree hold the first `count` commits, whatever it held before, and a
/// deliberate fault if there is one. A file that does not change is not written, so that make does not
/// build it again.
pub fn install(linux: &Path, count: usize, fault: Option<&Path>) -> Result<()> {
    let commits = read()?;
    let beside = linux.parent().context("a tree in a folder of its own")?;
    let pristine = beside.join("pristine");
    let next = beside.join("next");
    let installed = beside.join("installed");

    // What Linux itself has, set aside before it is changed for the first time.
    for commit in &commits {
        for file in commit.changed()? {
            if !pristine.join(&file).exists() {
                copy(&linux.join(&file), &pristine.join(&file))?;
            }
        }
    }
    let _ = fs::remove_dir_all(&next);
    copy_changed(&commits, linux, &next)?;
    for commit in commits.iter().take(count) {
        commit.apply(&next)?;
    }
    if let Some(fault) = fault {
        patch(fault, &next, &[])?;
    }

    let mut files = Vec::new();
    files_below(&next, &next, &mut files)?;
    for file in &files {
        if fs::read(next.join(file))? != fs::read(linux.join(file)).unwrap_or_default() {
            copy(&next.join(file), &linux.join(file))?;
        }
    }
    // What was installed before and is not any more.
    for line in fs::read_to_string(&installed).unwrap_or_default().lines() {
        if !files.iter().any(|file| file == Path::new(line)) {
            if pristine.join(line).exists() {
                copy(&pristine.join(line), &linux.join(line))?;
            } else {
                let _ = fs::remove_file(linux.join(line));
            }
        }
    }
    let list: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    fs::write(&installed, list.join("\n"))?;
    fs::remove_dir_all(&next)?;
    Ok(())
}

/// Fails where one of the patches does not apply to what the series makes of `linux`.
pub fn try_patches(linux: &Path, patches: &[&Path]) -> Result<()> {
    let commits = read()?;
    let tree = paths::work("tried")?;
    fs::remove_dir_all(&tree)?;
    copy_changed(&commits, linux, &tree)?;
    for commit in &commits {
        commit.apply(&tree)?;
    }
    for file in patches {
        patch(file, &tree, &["--dry-run"])?;
    }
    fs::remove_dir_all(&tree)?;
    Ok(())
}

/// Applies the series to a user's tree.
pub fn apply_to(linux: &Path) -> Result<()> {
    let repository = linux.join(".git").exists();
    for commit in read()?.iter().filter(|commit| !commit.local) {
        commit.apply(linux)?;
        if repository {
            commit_all(linux, commit)?;
        }
        println!("{}", commit.subject()?);
    }
    Ok(())
}

fn commit_all(repository: &Path, commit: &Commit) -> Result<()> {
    let mut files = commit.changed()?;
    files.extend(commit.files.iter().cloned());
    // Distributions' trees ignore new files.
    exec::run(git(repository).args(["add", "--force", "--"]).args(&files))?;
    exec::run(
        git(repository)
            .args(["commit", "--quiet", "--signoff", "-m"])
            .arg(commit.message()?),
    )
}

/// Writes the series as mails, made of the files that it changes alone.
pub fn export(linux: &Path, dir: &Path) -> Result<Vec<PathBuf>> {
    let commits: Vec<Commit> = read()?.into_iter().filter(|commit| !commit.local).collect();
    let repository = paths::work("export")?;
    fs::remove_dir_all(&repository)?;
    fs::create_dir_all(&repository)?;
    exec::run(git(&repository).args(["init", "--quiet"]))?;
    copy_changed(&commits, linux, &repository)?;
    exec::run(git(&repository).args(["add", "--force", "--all"]))?;
    exec::run(git(&repository).args(["commit", "--quiet", "-m", "Linux"]))?;
    for commit in &commits {
        commit.apply(&repository)?;
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
    let count = format!("-{}", commits.len());
    let mails = exec::output(
        git(&repository)
            .args(["format-patch", &count, "-o"])
            .arg(dir.canonicalize()?),
    )?;
    Ok(mails.lines().map(PathBuf::from).collect())
}

/// Applies the mails that [`export`] wrote to what they were made for. They must lead to the same.
pub fn reapply(mails: &[PathBuf]) -> Result<()> {
    let repository = paths::work("export")?;
    let base = format!("HEAD~{}", mails.len());
    exec::run(git(&repository).args(["checkout", "--quiet", "-b", "again", &base]))?;
    exec::run(git(&repository).args(["am", "--quiet"]).args(mails))?;
    exec::run(git(&repository).args(["diff", "--exit-code", "--stat", "again", "@{-1}"]))
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
