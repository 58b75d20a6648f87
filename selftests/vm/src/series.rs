// SPDX-License-Identifier: MIT OR Apache-2.0

//! The series: joins kernel/patches and kernel/tree into ordered commits.
//!
//! kernel/tree has the new files as the last commit leaves them. Where a commit adds a file and a later one
//! changes it, the later one's patch has the change, as it has those of Linux's own files.

use crate::{patch, paths, source};
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The series: its commits, and the new files as the last one leaves them.
pub struct Series {
    tree: PathBuf,
    pub commits: Vec<Commit>,
}

/// One commit of the series.
#[derive(Debug)]
pub struct Commit {
    /// The patch: the commit's message, and what it changes in files that are there before.
    patch: PathBuf,
    /// Files that it adds, relative to kernel/tree and to a Linux tree.
    files: Vec<PathBuf>,
    /// Files of Linux that its patch changes.
    changed: Vec<PathBuf>,
    /// New files, added by an earlier commit, that its patch changes.
    revised: Vec<PathBuf>,
    /// Applied for the selftests, never exported.
    local: bool,
}

/// Reads kernel/series.
pub fn read() -> Result<Series> {
    read_in(&paths::root().join("kernel"))
}

fn read_in(kernel: &Path) -> Result<Series> {
    let list = kernel.join("series");
    let text = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let tree = kernel.join("tree");
    let patches = kernel.join("patches").join(source::SERIES);
    let mut commits = text
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
                patch: patches.join(patch),
                files,
                changed: Vec::new(),
                revised: Vec::new(),
                local,
            })
        })
        .collect::<Result<Vec<_>>>()
        .with_context(|| list.display().to_string())?;

    // Which commit adds a file.
    let mut added = BTreeMap::new();
    for (i, commit) in commits.iter().enumerate() {
        for file in &commit.files {
            if added.insert(file.clone(), i).is_some() {
                bail!("{}: {} is listed twice", list.display(), file.display());
            }
        }
    }
    let mut all = Vec::new();
    files_below(&tree, &tree, &mut all)?;
    if let Some(file) = all.iter().find(|file| !added.contains_key(*file)) {
        bail!("{}: {} is not listed", list.display(), file.display());
    }
    for (i, commit) in commits.iter_mut().enumerate() {
        let text = commit.patch_text()?;
        for (file, _) in patch::parts(&text).with_context(|| commit.patch.display().to_string())? {
            match added.get(&file) {
                None => commit.changed.push(file),
                Some(&adds) if adds < i => commit.revised.push(file),
                Some(_) => bail!(
                    "{}: it changes {}, which no earlier commit adds",
                    commit.patch.display(),
                    file.display()
                ),
            }
        }
    }
    Ok(Series { tree, commits })
}

/// All files that the series adds or changes, relative to a Linux tree.
pub fn files() -> Result<Vec<PathBuf>> {
    let commits = read()?.commits.into_iter();
    Ok(commits
        .flat_map(|commit| commit.changed.into_iter().chain(commit.files))
        .collect())
}

/// The new files of the series, by their full names.
pub fn new_files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let tree = paths::root().join("kernel/tree");
    files_below(&tree, &tree, &mut files)?;
    Ok(files.iter().map(|file| tree.join(file)).collect())
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
    pub fn message(&self) -> Result<String> {
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

    /// All files that it adds or changes.
    pub fn touched(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().chain(&self.changed).chain(&self.revised)
    }

    /// Makes of the commit before in `to` this one. The new files are taken from `added`, see
    /// [`Series::as_added`].
    pub fn apply(&self, to: &Path, added: &Path) -> Result<()> {
        patch::apply(&self.patch, to, &[])?;
        for file in &self.files {
            copy(&added.join(file), &to.join(file))?;
        }
        Ok(())
    }
}

impl Series {
    /// Has `to` hold all new files as the commits add them.
    ///
    /// kernel/tree has them as the last commit leaves them. What the patches change in them is taken out
    /// again, that of the last commit first.
    pub fn as_added(&self, to: &Path) -> Result<()> {
        let _ = fs::remove_dir_all(to);
        for file in self.commits.iter().flat_map(|commit| &commit.files) {
            copy(&self.tree.join(file), &to.join(file))?;
        }
        for commit in self.commits.iter().rev() {
            let text = commit.patch_text()?;
            let revisions: String = patch::parts(&text)?
                .into_iter()
                .filter(|(file, _)| commit.revised.contains(file))
                .map(|(_, part)| part)
                .collect();
            if !revisions.is_empty() {
                patch::take_out(&revisions, to).with_context(|| {
                    format!(
                        "{}: what it changes in new files cannot be taken out of {} again, as \
                         later commits leave it. Write these parts of the patch anew",
                        commit.patch.display(),
                        self.tree.display()
                    )
                })?;
            }
        }
        Ok(())
    }
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
pub fn copy_changed<'a>(
    commits: impl IntoIterator<Item = &'a Commit>,
    linux: &Path,
    to: &Path,
) -> Result<()> {
    let pristine = linux.with_file_name("pristine");
    for file in commits.into_iter().flat_map(|commit| &commit.changed) {
        let aside = pristine.join(file);
        let from = if aside.exists() {
            aside
        } else {
            linux.join(file)
        };
        copy(&from, &to.join(file))?;
    }
    Ok(())
}

/// Has a build's own `linux` tree hold the first `count` commits, whatever it held before, and a
/// deliberate fault if there is one. A file that does not change is not written, so that make does not
/// build it again.
pub fn install(linux: &Path, count: usize, fault: Option<&Path>) -> Result<()> {
    read()?.install(linux, count, fault)
}

impl Series {
    fn install(&self, linux: &Path, count: usize, fault: Option<&Path>) -> Result<()> {
        let beside = linux.parent().context("a tree in a folder of its own")?;
        let pristine = beside.join("pristine");
        let added = beside.join("added");
        let next = beside.join("next");
        let installed = beside.join("installed");

        // What Linux itself has, set aside before it is changed for the first time.
        for file in self.commits.iter().flat_map(|commit| &commit.changed) {
            if !pristine.join(file).exists() {
                copy(&linux.join(file), &pristine.join(file))?;
            }
        }
        let _ = fs::remove_dir_all(&next);
        copy_changed(&self.commits, linux, &next)?;
        self.as_added(&added)?;
        for commit in self.commits.iter().take(count) {
            commit.apply(&next, &added)?;
        }
        if let Some(fault) = fault {
            patch::apply(fault, &next, &[])?;
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
        fs::remove_dir_all(&added)?;
        Ok(())
    }

    /// The commits that are exported.
    pub fn exported(&self) -> impl Iterator<Item = &Commit> {
        self.commits.iter().filter(|commit| !commit.local)
    }

    /// Fails where `tree`, which holds all commits that are exported, has a file that they add otherwise
    /// than kernel/tree has it.
    pub fn ends_with_its_tree(&self, tree: &Path) -> Result<()> {
        for file in self.exported().flat_map(|commit| &commit.files) {
            let (made, meant) = (tree.join(file), self.tree.join(file));
            let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
            if read(&made)? != read(&meant)? {
                bail!(
                    "the commits make {} otherwise than {} has it: see what their patches change in it",
                    made.display(),
                    meant.display()
                );
            }
        }
        Ok(())
    }
}

/// Fails where one of the patches does not apply to what the series makes of `linux`.
pub fn try_patches(linux: &Path, patches: &[&Path]) -> Result<()> {
    let series = read()?;
    let tree = paths::work("tried")?;
    let added = paths::work("tried-added")?;
    fs::remove_dir_all(&tree)?;
    copy_changed(&series.commits, linux, &tree)?;
    series.as_added(&added)?;
    for commit in &series.commits {
        commit.apply(&tree, &added)?;
    }
    for file in patches {
        patch::apply(file, &tree, &["--dry-run"])?;
    }
    fs::remove_dir_all(&tree)?;
    fs::remove_dir_all(&added)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Series, read_in};
    use crate::paths;
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    /// A small series for a small Linux, in a folder of its own.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str) -> Self {
            let dir = paths::work(&format!("fake-{name}")).unwrap();
            fs::remove_dir_all(&dir).unwrap();
            let fake = Self(dir);
            fake.write(
                "kernel/series",
                "1.patch fs\n2.patch\n3.patch lib\nlocal 4.patch\n",
            );
            fake.write("kernel/tree/fs/new.c", "one\ntwo\n3\nfour\n");
            fake.write("kernel/tree/lib/also.c", "all\n");
            fake.patch(1, "fs/Makefile", "@@ -1 +1,2 @@\n a\n+new\n");
            let second = "@@ -1,3 +1,3 @@\n one\n-2\n+two\n 3\n";
            fake.patch(2, "fs/new.c", second);
            fake.patch(3, "fs/new.c", "@@ -2,2 +2,3 @@\n two\n 3\n+four\n");
            fake.patch(4, "fs/Makefile", "@@ -1,2 +1,2 @@\n a\n-new\n+local\n");
            fake.write("linux/fs/Makefile", "a\n");
            fake
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn patch(&self, number: u32, file: &str, hunk: &str) {
            let diff = format!("diff --git a/{file} b/{file}\n--- a/{file}\n+++ b/{file}\n{hunk}");
            self.write(
                &format!("kernel/patches/7.3/{number}.patch"),
                &format!("Subject: {number}\n---\n{diff}"),
            );
        }

        fn series(&self) -> anyhow::Result<Series> {
            read_in(&self.0.join("kernel"))
        }

        /// What a file of Linux holds, if it is there.
        fn linux(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.0.join("linux").join(name)).ok()
        }
    }

    #[test]
    fn a_later_commit_changes_what_an_earlier_one_adds() {
        let fake = Fake::new("revised");
        let series = fake.series().unwrap();
        let linux = fake.0.join("linux");
        // To and fro: what is installed does not depend on what was before.
        for (count, new, also, makefile) in [
            (1, Some("one\n2\n3\n"), None, "a\nnew\n"),
            (2, Some("one\ntwo\n3\n"), None, "a\nnew\n"),
            (0, None, None, "a\n"),
            (4, Some("one\ntwo\n3\nfour\n"), Some("all\n"), "a\nlocal\n"),
            (1, Some("one\n2\n3\n"), None, "a\nnew\n"),
            (3, Some("one\ntwo\n3\nfour\n"), Some("all\n"), "a\nnew\n"),
        ] {
            series.install(&linux, count, None).unwrap();
            assert_eq!(fake.linux("fs/new.c").as_deref(), new, "{count}");
            assert_eq!(fake.linux("lib/also.c").as_deref(), also, "{count}");
            assert_eq!(
                fake.linux("fs/Makefile").as_deref(),
                Some(makefile),
                "{count}"
            );
        }
        series.ends_with_its_tree(&linux).unwrap();
        fake.write("linux/fs/new.c", "other\n");
        assert!(series.ends_with_its_tree(&linux).is_err());
    }

    #[test]
    fn a_change_that_is_not_in_the_tree_is_told_by_its_patch() {
        let fake = Fake::new("stale");
        fake.write("kernel/tree/fs/new.c", "one\nTWO\n3\nfour\n");
        let error = fake
            .series()
            .unwrap()
            .as_added(&fake.0.join("added"))
            .unwrap_err();
        assert!(format!("{error:#}").contains("3.patch"), "{error:#}");
        fake.write("kernel/tree/fs/new.c", "one\nTwo\n3\nfour\n");
        fake.patch(3, "fs/Makefile", "@@ -1 +1,2 @@\n a\n+new\n");
        let error = fake
            .series()
            .unwrap()
            .as_added(&fake.0.join("added"))
            .unwrap_err();
        assert!(format!("{error:#}").contains("2.patch"), "{error:#}");
    }

    #[test]
    fn a_commit_changes_only_what_is_there_before() {
        let fake = Fake::new("early");
        fake.patch(2, "lib/also.c", "@@ -1 +1 @@\n-none\n+all\n");
        let Err(error) = fake.series() else {
            panic!("it is read");
        };
        assert!(format!("{error:#}").contains("2.patch"), "{error:#}");
    }

    #[test]
    fn the_series_is_read() {
        let series = super::read().unwrap();
        let touched = series.commits.iter().flat_map(|commit| commit.touched());
        assert!(touched.count() > series.commits.len());
        assert!(series.tree.ends_with(Path::new("kernel/tree")));
    }
}
