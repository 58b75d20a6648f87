// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo vm bench`: how many instructions reading a process's mappings takes, and changing them.
//!
//! QEMU emulates one CPU and counts what it executes, so that a run tells the same on any machine, however busy
//! that is. The guest's program `bench` makes the processes and reads them.

mod committed;
mod figure;
mod gate;
mod profile;
mod symbols;
mod versions;
mod writer;

pub use gate::gate;

use crate::{
    build::{self, Flavour},
    initramfs,
    qemu::Vm,
};
use anyhow::{Context, Result, bail};
use clap::ArgGroup;
use figure::Figure;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use versions::Versions;

/// Seconds after which a VM hangs. A million VMAs take long to make.
const TIME_LIMIT: u64 = 7200;
/// How much the rounds of one measurement may differ. More is told.
const STEADY: f64 = 0.05;

/// What to measure.
#[derive(clap::Args)]
#[command(group = ArgGroup::new("what").required(true).args(["instructions", "profile", "gate", "commit", "writer"]))]
pub struct Options {
    /// Print how many instructions each way to read takes, for each VMA or call.
    #[arg(long)]
    instructions: bool,
    /// Print in which functions, the kernel's and the program's, the instructions of one row are executed. Without
    /// a contender: those of maps_lockless.
    #[arg(long, value_name = "ROW[/CONTENDER]", conflicts_with_all = ["rows", "long"])]
    profile: Option<String>,
    /// Measure a few rows on plain, and fail where one takes more than is committed. `cargo vm test` does so, too.
    #[arg(long, conflicts_with_all = ["rows", "long", "flavour"])]
    gate: bool,
    /// Write anew what the gate compares with.
    #[arg(long, conflicts_with_all = ["rows", "long", "flavour"])]
    commit: bool,
    /// Compare how many instructions changes take where nobody reads: on Linux without the series, with the option
    /// off, and with it on. Fail where the series makes them more than 1 % more.
    #[arg(long, conflicts_with_all = ["rows", "long", "flavour"])]
    writer: bool,
    /// Also the rows that take minutes.
    #[arg(long)]
    long: bool,
    /// Which kernel.
    #[arg(long = "kernel", value_enum, default_value_t = Flavour::Plain)]
    flavour: Flavour,
    /// Only these rows, `four-a-file-10000`, or these contenders of them, `four-a-file-10000/maps`.
    #[arg(value_name = "ROW")]
    rows: Vec<String>,
}

/// Measures.
pub fn run(linux: Option<&Path>, options: &Options) -> Result<ExitCode> {
    if options.writer {
        return writer::run(linux);
    }
    let kernel = Kernel::new(options.flavour, build::kernel(linux, options.flavour)?)?;
    if let Some(row) = &options.profile {
        profile::print(&kernel, row)?;
    } else if options.gate {
        let count = gate(&kernel.image);
        println!("{count}");
        if count.failed > 0 {
            return Ok(ExitCode::FAILURE);
        }
    } else if options.commit {
        gate::commit(&kernel)?;
    } else {
        let mut args: Vec<&str> = options.rows.iter().map(String::as_str).collect();
        if options.long {
            args.push("--long");
        }
        print(&kernel, &args)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A kernel that was built.
struct Kernel {
    flavour: Flavour,
    image: PathBuf,
    /// Where it was built.
    folder: PathBuf,
    versions: Versions,
}

impl Kernel {
    fn new(flavour: Flavour, image: PathBuf) -> Result<Self> {
        // It is arch/x86/boot/bzImage there.
        let folder = image.ancestors().nth(4).context("the kernel's folder")?;
        Ok(Self {
            flavour,
            versions: Versions::of(folder)?,
            folder: folder.to_owned(),
            image,
        })
    }
}

/// Prints a table, line by line as it is measured.
fn print(kernel: &Kernel, args: &[&str]) -> Result<()> {
    let mut header = Some(format!(
        "{}{:<40} {:>8} {:>12} {:>8} {:>12}",
        kernel.versions, "row/contender", "", "instructions", "spread", "maps takes"
    ));
    let mut maps: Option<Figure> = None;
    measure(kernel, args, |figure| {
        if let Some(header) = header.take() {
            println!("{header}");
        }
        if figure.contender() == "maps" {
            maps = Some(figure.clone());
        }
        let of_same_row = maps.as_ref().filter(|maps| maps.row() == figure.row());
        // A call is no listing.
        let comparable = of_same_row.filter(|maps| maps.unit == figure.unit);
        let ratio = comparable.map(|maps| {
            let ratio = maps.per_unit() / figure.per_unit();
            format!("{ratio:.2} times")
        });
        println!(
            "{:<40} {:>8} {:>12.1} {:>6.2} % {:>12}{}",
            figure.name,
            format!("per {}", figure.unit),
            figure.per_unit(),
            figure.spread() * 100.0,
            ratio.unwrap_or_default(),
            if figure.spread() > STEADY {
                "  not steady"
            } else {
                ""
            }
        );
    })
}

/// Boots a kernel, and hands over each figure as it is measured.
fn measure(kernel: &Kernel, args: &[&str], mut take: impl FnMut(Figure)) -> Result<()> {
    let program = initramfs::bench()?;
    let command = [&["/bin/bench"], args].concat();
    let vm = Vm::counting(kernel.flavour, &kernel.image, &command, &program, None)?;
    let mut result = Ok(());
    let status = vm.lines(TIME_LIMIT, |line| match Figure::parse(line) {
        None => println!("{line}"),
        Some(Ok(figure)) => take(figure),
        Some(Err(error)) => result = Err(error),
    })?;
    if status != 0 {
        bail!("bench exited with {status}");
    }
    result
}
