// SPDX-License-Identifier: MIT OR Apache-2.0

//! Running other programs.

use anyhow::{Context, Result, bail};
use std::{
    ffi::OsStr,
    fs::File,
    path::Path,
    process::{Command, Stdio},
};

/// A command line, for messages.
pub fn shown(command: &Command) -> String {
    [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A program that lets others that are not patient have a CPU before it.
pub fn patient(program: &str) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "10", program]);
    command
}

/// Runs a command to its successful end. Its output is seen.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| shown(command))?;
    if !status.success() {
        bail!("{}: {status}", shown(command));
    }
    Ok(())
}

/// Runs a command to its successful end. Its output goes to `log`, which a failure names.
pub fn run_logged(command: &mut Command, log: &Path) -> Result<()> {
    let file = File::create(log).with_context(|| log.display().to_string())?;
    command.stdout(file.try_clone()?).stderr(file);
    run(command).with_context(|| format!("see {}", log.display()))
}

/// Runs a command to its successful end and returns what it wrote to its standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| shown(command))?;
    if !output.status.success() {
        bail!(
            "{}: {}\n{}{}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).with_context(|| shown(command))
}
