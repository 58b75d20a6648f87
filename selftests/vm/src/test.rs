// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo vm test`.

use crate::{
    build::{self, Flavour},
    check, decoders,
    ktap::{Count, Reader, kunit},
    qemu::{Console, Vm},
    series,
};
use anyhow::{Context, Result, bail};
use std::{fs, path::Path, process::ExitCode};

/// What to test.
#[derive(clap::Args)]
pub struct Options {
    /// Test this kernel in a VM and nothing else. May be given more than once.
    #[arg(long = "kernel", value_enum, value_name = "KERNEL")]
    kernels: Vec<Flavour>,
    /// Test on this machine, without a VM.
    #[arg(long, conflicts_with = "kernels")]
    host: bool,
    /// Run only the guest's tests whose names contain this.
    #[arg(long, default_value = "")]
    filter: String,
}

/// Runs the tests. The last line counts them.
pub fn run(linux: Option<&Path>, options: &Options) -> Result<ExitCode> {
    let mut count = Count::default();
    let flavours = if options.kernels.is_empty() {
        count.add(check::all(linux)?);
        if options.host {
            &[]
        } else {
            &[Flavour::Plain, Flavour::Kasan][..]
        }
    } else {
        &options.kernels[..]
    };
    for &flavour in flavours {
        count.add(guest(linux, flavour, &options.filter, |_| ()));
    }
    println!(
        "{} passed, {} failed, {} skipped",
        count.passed, count.failed, count.skipped
    );
    Ok(if count.failed == 0 && count.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the guest's tests, and hands each line of their output to `watch`. That the VM comes to a good end
/// counts as a test of its own.
pub fn guest(
    linux: Option<&Path>,
    flavour: Flavour,
    filter: &str,
    mut watch: impl FnMut(&str),
) -> Count {
    println!("# kernel: {}", flavour.name());
    let mut reader = Reader::default();
    let mut count = Count::default();
    let take = |line: &str| {
        println!("{line}");
        reader.line(line);
        watch(line);
    };
    let result = guest_run(linux, flavour, filter, take, &mut count);
    count.add(reader.end());
    if let Err(error) = &result {
        println!("{error:#}");
    }
    let passed = result.is_ok();
    println!(
        "{} the {} kernel ran without a complaint",
        if passed { "ok" } else { "not ok" },
        flavour.name()
    );
    count.add(Count::one(passed));
    count
}

fn guest_run(
    linux: Option<&Path>,
    flavour: Flavour,
    filter: &str,
    take: impl FnMut(&str),
    count: &mut Count,
) -> Result<()> {
    let image = build::kernel(linux, flavour)?;
    let mut command = vec!["/bin/guest-tests", "--filter", filter];
    if flavour == Flavour::Off {
        command.push("--off");
    }
    for skipped in flavour.too_slow_for() {
        command.extend(["--skip", skipped]);
    }
    let vm = Vm::new(flavour, &image, &command, Console::Raw)?;
    let status = vm.lines(flavour.time_limit(), take);
    // KUnit's results stand in the log of a kernel that complains, too.
    if flavour.has_kunit() {
        boot_tests(vm.log(), count)?;
    }
    let status = status?;
    if flavour == Flavour::Strict
        && !fs::read_to_string(vm.log())?.contains("init: scanned for leaks")
    {
        bail!("nobody has scanned for leaks, see {}", vm.log().display());
    }
    if status != 0 {
        bail!("guest-tests exited with {status}");
    }
    // A filter may have left out the test that hands them out.
    if vm.handed_out().metadata().is_ok_and(|file| file.len() > 0) {
        let streams = decoders::unpack(vm.handed_out(), &format!("streams-{}", flavour.name()))?;
        decoders::agree(&streams)?;
        println!(
            "# the decoder in Python agrees on the streams in {}",
            streams.display()
        );
    } else if filter.is_empty() && flavour != Flavour::Off {
        bail!("no stream was handed out");
    }
    Ok(())
}

/// Counts what the kernel itself has tested at boot.
pub fn boot_tests(log: &Path, count: &mut Count) -> Result<()> {
    let text = fs::read(log).with_context(|| log.display().to_string())?;
    let text = String::from_utf8_lossy(&text);
    for suite in series::kunit_suites()? {
        let results = kunit(&text, &suite);
        println!(
            "# KUnit suite {suite}: {} passed, {} failed, {} skipped",
            results.passed, results.failed, results.skipped
        );
        count.add(results);
    }
    Ok(())
}
