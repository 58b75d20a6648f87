// SPDX-License-Identifier: MIT OR Apache-2.0

//! A short run of the torture program, and that it finds every fault that is planted.

use super::Test;
use crate::torture::PLANTS;
use anyhow::{Context, Result, ensure};
use std::process::{Command, Output, Stdio};

/// How long the run is.
const SECONDS: &str = "75";
/// How long a planted fault may stay undetected. Mostly it takes a few seconds.
const PLANT_SECONDS: &str = "120";
/// How long a reader that does nothing is watched.
const IDLE_SECONDS: &str = "30";

pub(super) fn tests() -> Vec<Test> {
    let plants = PLANTS.into_iter().map(|(plant, expected)| {
        let name = format!("torture: a planted fault is caught: {plant}");
        Test::new(name, move || is_caught(plant, expected))
    });
    let run = Test::new(
        "torture: nothing foreign, no kernel address, no broken invariant",
        run,
    );
    std::iter::once(run).chain(plants).collect()
}

fn torture(args: &[&str]) -> Result<Output> {
    Command::new("/bin/torture")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context("/bin/torture")
}

fn run() -> Result<()> {
    let output = torture(&["--seconds", SECONDS])?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        println!("# {line}");
    }
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

fn is_caught(plant: &str, expected: &str) -> Result<()> {
    let seconds = if plant == "idle" {
        IDLE_SECONDS
    } else {
        PLANT_SECONDS
    };
    let output = torture(&["--seconds", seconds, "--plant", plant])?;
    let said = String::from_utf8_lossy(&output.stdout);
    let mut failures = said.lines().filter(|line| line.starts_with("failure: "));
    ensure!(
        !output.status.success() && failures.any(|line| line.contains(expected)),
        "it does not say {expected:?}: {output:?}"
    );
    Ok(())
}
