// SPDX-License-Identifier: MIT OR Apache-2.0

//! The series' own tests, `tools/testing/selftests/maps_lockless/` in Linux: programs in C that know
//! the uapi header alone. Each prints KTAP, which is handed on as that of a nested test.

use super::{Test, skipped};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// KSFT_SKIP.
const SKIP: i32 = 4;

pub(super) fn tests() -> Vec<Test> {
    match programs() {
        Ok(programs) => programs
            .into_iter()
            .map(|program| {
                let name = format!("kselftest: {}", name(&program));
                Test::new(name, move || passes(&program))
            })
            .collect(),
        Err(error) => {
            let error = format!("{error:#}");
            vec![Test::new("kselftest: the programs", move || {
                bail!("{error}")
            })]
        }
    }
}

/// The tests of a kernel without maps_lockless.
pub(super) fn off() -> Vec<Test> {
    vec![Test::new("off: kselftest programs skip", skip)]
}

/// The programs that the initramfs has, which are all that the series has.
fn programs() -> Result<Vec<PathBuf>> {
    let mut programs = fs::read_dir("/kselftest")
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<io::Result<Vec<_>>>()
        })
        .context("/kselftest")?;
    programs.sort();
    ensure!(!programs.is_empty(), "/kselftest is empty");
    Ok(programs)
}

fn name(program: &Path) -> String {
    program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn passes(program: &Path) -> Result<()> {
    // Of what is skipped, it takes the names of its own tests.
    let excluded = skipped().flat_map(|part| ["-T", part]);
    let mut child = Command::new(program)
        .args(excluded)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| name(program))?;
    let mut skipped = 0;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            println!("  {line}");
            skipped += u32::from(line.contains("# SKIP"));
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "{status}");
    ensure!(
        skipped == 0,
        "skipped, though this VM has all that it takes"
    );
    Ok(())
}

fn skip() -> Result<()> {
    for program in programs()? {
        let output = Command::new(&program).output()?;
        let name = name(&program);
        ensure!(
            output.status.code() == Some(SKIP),
            "{name}: {}",
            output.status
        );
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(said.starts_with("1..0 # SKIP"), "{name}: {said}");
    }
    Ok(())
}
