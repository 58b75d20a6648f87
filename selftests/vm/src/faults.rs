// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo vm faults`: builds kernels with a deliberate fault each, and shows which tests catch it.

use crate::{
    build::{self, Flavour},
    ktap::{Count, Failures},
    paths,
    qemu::{Console, Vm},
    series, source, splat, test,
};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Which faults.
#[derive(clap::Args)]
pub struct Options {
    /// The faults, by their names in kernel/faults. Without one, all of them.
    names: Vec<String>,
    /// Only those that are for this kernel.
    #[arg(long, value_enum)]
    kernel: Option<Flavour>,
}

/// A deliberate fault: a patch to what the series makes of Linux, and how it is to be found.
///
/// The patch's head has lines `Fault:`, which says what is broken; `Test:` with a part of the names of the
/// tests that must fail, once or more: one of each; `Kernel:` where it takes another one than plain to see
/// it; `Complaint:` where the kernel itself is to find it when these tests run, with a part of what it says,
/// or `KUnit`; and `Missed:` with the reason, where nothing is to find it.
#[derive(Debug)]
struct Fault {
    name: String,
    patch: PathBuf,
    /// The file that it changes first.
    file: String,
    tests: Vec<String>,
    kernel: Flavour,
    complaint: Option<String>,
    missed: Option<String>,
}

/// Whether a fault was found.
pub struct Verdict {
    /// The fault's name.
    pub fault: String,
    pub kernel: Flavour,
    /// Whether it came out as the fault's head says.
    pub as_expected: bool,
    /// How it came out, in a word.
    pub word: &'static str,
    /// By what it was found, or why not.
    pub how: String,
}

/// What a kernel's run told of faults.
struct Outcome {
    failures: Failures,
    /// The kernel's own complaint, or KUnit's.
    complaint: Option<String>,
}

impl Outcome {
    /// By what any fault was found.
    fn by_any(&self) -> Option<String> {
        self.failures.shown().or_else(|| self.complaint.clone())
    }
}

/// Builds and tests each fault's kernel. The last lines are a table of them.
pub fn run(linux: Option<&Path>, options: &Options) -> Result<ExitCode> {
    let verdicts = verdicts(linux, &options.names, options.kernel)?;
    println!("\n| fault | kernel | outcome | by |\n|---|---|---|---|");
    for Verdict {
        fault,
        kernel,
        word,
        how,
        ..
    } in &verdicts
    {
        println!("| {fault} | {} | {word} | {how} |", kernel.name());
    }
    let good = !verdicts.is_empty() && verdicts.iter().all(|verdict| verdict.as_expected);
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds and tests each fault's kernel: those of these names, or all, and of one kernel, or all.
pub fn verdicts(
    linux: Option<&Path>,
    names: &[String],
    kernel: Option<Flavour>,
) -> Result<Vec<Verdict>> {
    let mut faults = all()?;
    for name in names {
        if !faults.iter().any(|fault| fault.name == *name) {
            bail!("no fault is called {name}");
        }
    }
    faults.retain(|fault| {
        (names.is_empty() || names.contains(&fault.name))
            && kernel.is_none_or(|kernel| kernel == fault.kernel)
    });
    let mut verdicts = Vec::new();
    for kernel in Flavour::value_variants() {
        let of_kernel: Vec<&Fault> = faults.iter().filter(|f| f.kernel == *kernel).collect();
        if of_kernel.is_empty() {
            continue;
        }
        // What fails without a fault shows nothing.
        let mut tests: Vec<&str> = of_kernel
            .iter()
            .flat_map(|fault| fault.tests.iter().map(String::as_str))
            .collect();
        tests.sort_unstable();
        tests.dedup();
        println!("# kernel: {}, without a fault", kernel.name());
        let told = outcome(linux, *kernel, None, &tests)?;
        if let Some(how) = told.by_any() {
            bail!("without a fault, on the {} kernel: {how}", kernel.name());
        }
        for fault in of_kernel {
            println!("# kernel: {}, with the fault {}", kernel.name(), fault.name);
            let tests: Vec<&str> = fault.tests.iter().map(String::as_str).collect();
            let verdict = fault.verdict(outcome(linux, *kernel, Some(&fault.patch), &tests));
            println!("{} {}: {}", verdict.word, verdict.fault, verdict.how);
            verdicts.push(verdict);
        }
    }
    // The next build would do so too.
    series::install(&source::unpacked(linux)?, usize::MAX, None)?;
    Ok(verdicts)
}

/// An error, for a table.
pub fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}

/// Fails where a fault does not apply to what the series makes of Linux.
pub fn check(linux: Option<&Path>) -> Result<()> {
    let faults = all()?;
    let patches: Vec<&Path> = faults.iter().map(|fault| fault.patch.as_path()).collect();
    series::try_patches(&source::unpacked(linux)?, &patches)
}

fn all() -> Result<Vec<Fault>> {
    let dir = paths::root().join("kernel/faults");
    let mut faults = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        faults.push(Fault::read(&path).with_context(|| path.display().to_string())?);
    }
    // Those in one file behind each other: fewer others are built anew in between.
    faults.sort_by(|a, b| (&a.file, &a.name).cmp(&(&b.file, &b.name)));
    Ok(faults)
}

impl Fault {
    fn read(path: &Path) -> Result<Self> {
        let name = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".patch"))
            .context("not a patch")?;
        Self::parse(name, path, &fs::read_to_string(path)?)
    }

    /// What a run says of this fault.
    fn verdict(&self, told: Result<Outcome>) -> Verdict {
        let (as_expected, word, how) = self.judge(told);
        Verdict {
            fault: self.name.clone(),
            kernel: self.kernel,
            as_expected,
            word,
            how,
        }
    }

    fn judge(&self, told: Result<Outcome>) -> (bool, &'static str, String) {
        let told = match told {
            Ok(told) => told,
            Err(error) => return (false, "FAILED", one_line(&error)),
        };
        if let Some(reason) = &self.missed {
            return match told.by_any() {
                Some(how) => (false, "FOUND", how),
                None => (true, "missed", reason.clone()),
            };
        }
        let missing: Vec<&str> = match &self.complaint {
            Some(expected) => match told.complaint {
                Some(said) if said.contains(expected) => return (true, "caught", said),
                _ => vec![expected],
            },
            None => {
                let tests = self.tests.iter().map(String::as_str);
                tests.filter(|test| !told.failures.has(test)).collect()
            }
        };
        match told.by_any() {
            Some(how) if missing.is_empty() => (true, "caught", how),
            Some(how) => (
                false,
                "MISSED",
                format!("by {}, but {how}", missing.join(", ")),
            ),
            None => (false, "MISSED", format!("by {}", missing.join(", "))),
        }
    }

    fn parse(name: &str, path: &Path, text: &str) -> Result<Self> {
        let (head, diff) = text.split_once("\n---\n").context("no head")?;
        let values = |key: &str| -> Vec<&str> {
            head.lines()
                .filter_map(|line| Some(line.strip_prefix(key)?.strip_prefix(": ")?.trim()))
                .collect()
        };
        if values("Fault").is_empty() || values("Test").is_empty() {
            bail!("it does not say what it breaks, and which test finds that");
        }
        let kernel = match values("Kernel")[..] {
            [] => Flavour::Plain,
            [kernel] => Flavour::from_str(kernel, false).map_err(anyhow::Error::msg)?,
            _ => bail!("it is for one kernel"),
        };
        Ok(Self {
            name: name.to_owned(),
            patch: path.to_owned(),
            file: diff
                .lines()
                .find_map(|line| line.strip_prefix("+++ b/"))
                .context("it changes no file")?
                .to_owned(),
            tests: values("Test").into_iter().map(str::to_owned).collect(),
            kernel,
            complaint: values("Complaint").first().map(|said| (*said).to_owned()),
            missed: values("Missed").first().map(|reason| (*reason).to_owned()),
        })
    }
}

/// Builds a kernel, with a fault or without, and runs the tests whose names contain one of `tests`.
fn outcome(
    linux: Option<&Path>,
    kernel: Flavour,
    fault: Option<&Path>,
    tests: &[&str],
) -> Result<Outcome> {
    let image = match fault {
        Some(patch) => build::faulty(linux, kernel, patch)?,
        None => build::kernel(linux, kernel)?,
    };
    let mut command = vec!["/bin/guest-tests"];
    for test in tests {
        command.extend(["--filter", test]);
    }
    let vm = Vm::new(kernel, &image, &command, Console::Raw)?;
    let mut failures = Failures::default();
    let result = vm.lines(kernel.time_limit(), |line| failures.line(line));
    // A kernel that does not even boot says nothing about the tests.
    if !failures.began() {
        bail!("no test ran, see {}", vm.log().display());
    }
    let mut complaint = None;
    if kernel.has_kunit() {
        let mut count = Count::default();
        test::boot_tests(vm.log(), &mut count)?;
        if count.failed > 0 {
            complaint = Some("KUnit".to_owned());
        }
    }
    // A VM that hangs, on a busy machine maybe, says no more than its tests did before.
    if let Err(error) = splat::check(vm.log()) {
        // A splat stands behind the name of the log.
        let said = format!("{error:#}");
        let said = said
            .split_once(".log: ")
            .map_or(&said[..], |(_, splat)| splat);
        complaint = Some(format!("the kernel: {said}"));
    }
    if complaint.is_none() && failures.shown().is_none() {
        let status = result?;
        if status != 0 {
            bail!("guest-tests exited with {status}");
        }
    }
    Ok(Outcome {
        failures,
        complaint,
    })
}

#[cfg(test)]
mod tests {
    use super::{Fault, Outcome, all};
    use crate::{build::Flavour, ktap::Failures};
    use std::path::Path;

    #[test]
    fn a_head_is_read() {
        let text = "Fault: it\nTest: one: two\nTest: three\nKernel: kasan\nComplaint: BUG\n\
                    Missed: why\n---\n--- a/f\n+++ b/f\n";
        let fault = Fault::parse("name", Path::new(""), text).unwrap();
        assert_eq!(fault.file, "f");
        assert_eq!(fault.tests, ["one: two", "three"]);
        assert_eq!(fault.kernel, Flavour::Kasan);
        assert_eq!(fault.complaint.as_deref(), Some("BUG"));
        assert_eq!(fault.missed.as_deref(), Some("why"));
        assert!(Fault::parse("name", Path::new(""), "Fault: it\n---\n").is_err());
    }

    #[test]
    fn a_fault_is_caught_by_each_of_its_tests_or_by_what_the_kernel_is_to_say() {
        let fault = |more: &str| {
            let text = format!("Fault: it\nTest: one\nTest: two\n{more}---\n--- a/f\n+++ b/f\n");
            Fault::parse("name", Path::new(""), &text).unwrap()
        };
        let told = |lines: &[&str], complaint: Option<&str>| {
            let mut failures = Failures::default();
            lines.iter().for_each(|line| failures.line(line));
            let complaint = complaint.map(str::to_owned);
            Ok(Outcome {
                failures,
                complaint,
            })
        };
        let verdict = |more: &str, lines: &[&str], complaint| {
            let (good, word, _) = fault(more).judge(told(lines, complaint));
            (good, word)
        };
        let both = ["not ok 1 one: a", "not ok 2 two: b"];
        assert_eq!(verdict("", &both, None), (true, "caught"));
        assert_eq!(verdict("", &both[..1], None), (false, "MISSED"));
        assert_eq!(verdict("", &[], None), (false, "MISSED"));
        assert_eq!(verdict("", &[], Some("BUG")), (false, "MISSED"));
        let said = |said| verdict("Complaint: BUG\n", &both, said);
        assert_eq!(said(Some("the kernel: BUG: x")), (true, "caught"));
        assert_eq!(said(Some("the kernel: Oops")), (false, "MISSED"));
        assert_eq!(said(None), (false, "MISSED"));
        assert_eq!(verdict("Missed: why\n", &[], None), (true, "missed"));
        assert_eq!(verdict("Missed: why\n", &both, None), (false, "FOUND"));
        let hangs = Err(anyhow::anyhow!("the VM hangs"));
        assert_eq!(fault("").judge(hangs).1, "FAILED");
    }

    #[test]
    fn each_fault_has_a_head() {
        assert!(!all().unwrap().is_empty());
    }
}
