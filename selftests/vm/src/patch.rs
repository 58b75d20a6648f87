// SPDX-License-Identifier: MIT OR Apache-2.0

//! Patches: what they change, applied and taken out.

use crate::exec;
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The files that a patch of the series changes, each with its part of the patch.
///
/// The patch is as git writes it: each part begins with `diff --git`, which no line within one does.
pub fn parts(text: &str) -> Result<Vec<(PathBuf, &str)>> {
    let Some((_, body)) = text.split_once("\n---\n") else {
        return Ok(Vec::new());
    };
    let begins: Vec<usize> = body
        .match_indices("diff --git ")
        .map(|(at, _)| at)
        .filter(|&at| at == 0 || body[..at].ends_with('\n'))
        .collect();
    let before = &body[..begins.first().copied().unwrap_or(body.len())];
    if before.contains("+++ ") {
        bail!("{before:?} does not begin with `diff --git`");
    }
    let ends = begins.iter().skip(1).copied().chain([body.len()]);
    begins
        .iter()
        .zip(ends)
        .map(|(&begin, end)| {
            let part = &body[begin..end];
            let file = part
                .lines()
                .find_map(|line| line.strip_prefix("+++ b/"))
                .with_context(|| format!("{part:?} names no file"))?;
            Ok((PathBuf::from(file), part))
        })
        .collect()
}

/// Applies a patch to the tree in `to`.
pub fn apply(patch: &Path, to: &Path, options: &[&str]) -> Result<()> {
    exec::output(
        Command::new("patch")
            // Without a question that nobody is there to answer.
            .args(["-p1", "--force", "--fuzz=0", "--no-backup-if-mismatch"])
            .args(options)
            .arg("-i")
            .arg(patch)
            .arg("-d")
            .arg(to),
    )
    .map(|_| ())
}

/// Takes what these parts of a patch did out of the tree in `from`.
pub fn take_out(parts: &str, from: &Path) -> Result<()> {
    let file = from.with_extension("patch");
    fs::write(&file, parts).with_context(|| file.display().to_string())?;
    apply(&file, from, &["--reverse"])?;
    fs::remove_file(&file).with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::parts;
    use std::path::Path;

    #[test]
    fn a_patch_falls_into_parts() {
        let (one, two) = (
            "diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1,2 @@\n x\n+diff --git a/no b/no\n",
            "diff --git a/d/g b/d/g\n--- a/d/g\n+++ b/d/g\n@@ -1 +1 @@\n-x\n+y\n",
        );
        let text = format!("Subject: s\n\ndiff --git is no part here\n---\n{one}{two}");
        let expected = [(Path::new("f"), one), (Path::new("d/g"), two)];
        let found = parts(&text).unwrap();
        assert!(
            found
                .iter()
                .map(|(file, part)| (&**file, *part))
                .eq(expected)
        );
        assert!(parts("Subject: s\n---\n").unwrap().is_empty());
        assert!(parts("Subject: s\n---\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n").is_err());
    }
}
