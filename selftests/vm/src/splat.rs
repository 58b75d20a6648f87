// SPDX-License-Identifier: MIT OR Apache-2.0

//! Looks for a kernel's cries for help in its log.

use crate::kcsan;
use anyhow::{Context, Result, bail};
use std::{fs, path::Path};

/// What a kernel says when something is wrong with it.
const SPLATS: [&str; 19] = [
    "BUG:",
    "BUG kmalloc",
    "Call Trace:",
    "WARNING:",
    "Oops",
    "Kernel panic",
    "general protection fault",
    "UBSAN:",
    "rust_kernel: panicked",
    "INFO: rcu_",
    "rcu_preempt kthread starved",
    "self-detected stall",
    "INFO: task",
    "INFO: trying to register",
    "hard LOCKUP",
    "soft lockup",
    "possible circular locking",
    "suspicious RCU usage",
    "unreferenced object",
];

/// Fails where the log tells of a fault, or is no kernel's log. Prints what it passes over.
pub fn check(log: &Path) -> Result<()> {
    let text = fs::read(log).with_context(|| log.display().to_string())?;
    let text = String::from_utf8_lossy(&text);
    match find(&text) {
        Err(NoLog) => bail!(
            "{} is not a kernel's log: nothing was checked",
            log.display()
        ),
        Ok(Some(line)) => {
            // The next VM writes over the log.
            let kept = log.with_extension("complaint.log");
            fs::copy(log, &kept).with_context(|| kept.display().to_string())?;
            bail!("the kernel complains, see {}: {line}", kept.display())
        }
        Ok(None) => {
            for (title, count) in kcsan::titles(&text) {
                println!("# KCSAN, {count} times, of Linux's own: {title}");
            }
            Ok(())
        }
    }
}

#[derive(Debug, PartialEq)]
struct NoLog;

fn find(text: &str) -> Result<Option<&str>, NoLog> {
    if !text.contains("Linux version") {
        return Err(NoLog);
    }
    let lines: Vec<&str> = text.lines().collect();
    let complaint = lines.iter().enumerate().find(|(i, line)| {
        SPLATS.iter().any(|splat| line.contains(splat))
            && !(kcsan::is_title(line) && kcsan::is_of_linux(lines[*i..].iter().copied()))
    });
    Ok(complaint.map(|(_, line)| *line))
}

#[cfg(test)]
mod tests {
    use super::{NoLog, find};

    #[test]
    fn splats_are_found() {
        let log = "[0] Linux version 7.3\n[1] WARNING: CPU: 0 at mm/vma.c:1\n";
        assert_eq!(find(log), Ok(Some("[1] WARNING: CPU: 0 at mm/vma.c:1")));
    }

    #[test]
    fn a_quiet_log_passes() {
        assert_eq!(find("[0] Linux version 7.3\n[1] fine\n"), Ok(None));
    }

    #[test]
    fn an_empty_log_does_not_pass() {
        assert_eq!(find(""), Err(NoLog));
    }
}
