// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo vm test`.

use crate::{
    build::{self, Flavour},
    check, decoders,
    ktap::{Count, Reader},
    qemu::{Console, Vm},
};
use anyhow::{Result, bail};
use std::{path::Path, process::ExitCode};

/// What to test.
#[derive(clap::Args)]
pub struct Options {
    /// Test this kernel in a VM and nothing else. May be given more than once.
    #[arg(long, value_enum)]
    only: Vec<Flavour>,
    /// Test on this machine, without a VM.
    #[arg(long, conflicts_with = "only")]
    host: bool,
    /// Run only the guest's tests whose names contain this.
    #[arg(long, default_value = "")]
    filter: String,
}

/// Runs the tests. The last line counts them.
pub fn run(linux: Option<&Path>, options: &Options) -> Result<ExitCode> {
    let mut count = Count::default();
    let flavours = if options.only.is_empty() {
        count.add(check::all(linux)?);
        if options.host {
            &[]
        } else {
            &[Flavour::Plain, Flavour::Debug][..]
        }
    } else {
        &options.only[..]
    };
    for &flavour in flavours {
        count.add(guest(linux, flavour, &options.filter));
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

/// Runs the guest's tests. That the VM comes to a good end counts as a test of its own.
fn guest(linux: Option<&Path>, flavour: Flavour, filter: &str) -> Count {
    println!("# kernel: {}", flavour.name());
    let mut reader = Reader::default();
    let result = guest_run(linux, flavour, filter, &mut reader);
    let mut count = reader.end();
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
    reader: &mut Reader,
) -> Result<()> {
    let image = build::kernel(linux, flavour)?;
    let mut command = vec!["/bin/guest-tests", "--filter", filter];
    if flavour == Flavour::Off {
        command.push("--off");
    }
    let vm = Vm::new(flavour, &image, &command, Console::Raw)?;
    let status = vm.lines(1800, |line| {
        println!("{line}");
        reader.line(line);
    })?;
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
