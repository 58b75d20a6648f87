// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo vm test`.

use crate::{
    bench,
    build::{self, Flavour},
    check, decoders,
    ktap::{Count, Reader, kunit},
    lane::{Lane, Pace},
    qemu::{Console, Vm},
    series,
    times::Times,
};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

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

/// Runs the tests. The last line counts them, those before it tell how long they took.
pub fn run(linux: Option<&Path>, options: &Options) -> Result<ExitCode> {
    let begin = Instant::now();
    let mut times = Times::default();
    let filter = &options.filter;
    let count = match &options.kernels[..] {
        [] if options.host => check::all(linux, &mut times)?,
        [] => {
            let kernels = [Flavour::Plain, Flavour::Kasan];
            side_by_side(linux, true, &kernels, filter, &mut times)?
        }
        &[kernel] => {
            let image = times.of(&built(kernel), || build::kernel(linux, kernel));
            timed_guest(image, kernel, filter, &mut times)
        }
        kernels => side_by_side(linux, false, kernels, filter, &mut times)?,
    };
    if !options.host {
        times.add("in all", begin.elapsed());
    }
    times.print();
    println!("{count}");
    Ok(if count.failed == 0 && count.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Does at the same time what does not disturb each other: a kernel is built while a CPU has nothing else
/// to do, beside the checks on this machine, if they are wanted, and beside the VM of the kernel before. No
/// VM runs beside those checks, or beside another VM.
fn side_by_side(
    linux: Option<&Path>,
    host: bool,
    kernels: &[Flavour],
    filter: &str,
    times: &mut Times,
) -> Result<Count> {
    times.of("packages and sources", || build::prepare(linux))?;
    let mut host = match host {
        true => Some(Lane::begin(
            "host-checks",
            Pace::Usual,
            linux,
            &["test", "--host"],
        )?),
        false => None,
    };
    let mut builds = kernels.iter().copied();
    let mut next = || builds.next().map(|kernel| begin_build(linux, kernel));
    let mut build = next().transpose()?;
    let mut count = Count::default();
    for &kernel in kernels {
        let image = build
            .context("nobody builds the kernel")
            .and_then(|build| end_build(linux, kernel, build, times));
        build = next().transpose()?;
        if let Some(host) = host.take() {
            count.add(end_host(host, times)?);
        }
        count.add(timed_guest(image, kernel, filter, times));
    }
    Ok(count)
}

fn begin_build(linux: Option<&Path>, kernel: Flavour) -> Result<Lane> {
    let name = format!("{}-kernel", kernel.name());
    let args = ["build", "--kernel", kernel.name()];
    Lane::begin(&name, Pace::Idle, linux, &args)
}

/// Waits for a kernel. Returns its image.
fn end_build(
    linux: Option<&Path>,
    kernel: Flavour,
    build: Lane,
    times: &mut Times,
) -> Result<PathBuf> {
    let ended = build.end()?;
    times.add(&built(kernel), ended.took);
    if !ended.status.success() {
        bail!(
            "the {} kernel was not built:\n{}",
            kernel.name(),
            ended.output
        );
    }
    build::image(linux, kernel)
}

fn built(kernel: Flavour) -> String {
    format!("the {} kernel is built", kernel.name())
}

/// Waits for the checks on this machine, prints what they did, and takes over how long they took.
fn end_host(host: Lane, times: &mut Times) -> Result<Count> {
    let ended = host.end()?;
    let mut lines: Vec<&str> = ended.output.lines().collect();
    let counted = lines.last().map(|line| line.parse::<Count>());
    // Its last line is not the last of all.
    let count = if let Some(Ok(count)) = counted {
        lines.pop();
        count
    } else {
        Count::one(false)
    };
    times.add("the checks on this machine, of which", ended.took);
    for line in lines {
        if !times.take(line) {
            println!("{line}");
        }
    }
    if !matches!(counted, Some(Ok(_))) {
        println!(
            "not ok the checks on this machine came to no end: {}",
            ended.status
        );
    }
    Ok(count)
}

fn timed_guest(image: Result<PathBuf>, kernel: Flavour, filter: &str, times: &mut Times) -> Count {
    let name = format!("the VM of the {} kernel", kernel.name());
    // What checks slow down says nothing, and a filter names tests of the guest's.
    let measured = match &image {
        Ok(image) if kernel == Flavour::Plain && filter.is_empty() => Some(image.clone()),
        _ => None,
    };
    let mut count = times.of(&name, || guest(image, kernel, filter, |_| ()));
    if let Some(image) = measured {
        let gate = times.of("the VM that counts instructions", || bench::gate(&image));
        count.add(gate);
    }
    count
}

/// Runs the guest's tests on a kernel that was built, and hands each line of their output to `watch`. That
/// it was built, and that the VM comes to a good end, counts as a test of its own.
pub fn guest(
    image: Result<PathBuf>,
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
    let result = image.and_then(|image| guest_run(&image, flavour, filter, take, &mut count));
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
    image: &Path,
    flavour: Flavour,
    filter: &str,
    take: impl FnMut(&str),
    count: &mut Count,
) -> Result<()> {
    let mut command = vec!["/bin/guest-tests", "--filter", filter];
    if flavour == Flavour::Off {
        command.push("--off");
    }
    for skipped in flavour.left_out() {
        command.extend(["--skip", skipped]);
    }
    let vm = Vm::new(flavour, image, &command, Console::Raw)?;
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
