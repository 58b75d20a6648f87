// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo vm`: builds a Linux kernel with the series, boots it in QEMU, runs commands and tests.

mod bench;
mod build;
mod check;
mod debian;
mod decoders;
mod exec;
mod faults;
mod header;
mod herd;
mod host;
mod initramfs;
mod kcsan;
mod ktap;
mod lane;
mod mails;
mod msrv;
mod patch;
mod paths;
mod progress;
mod prove;
mod qemu;
mod series;
mod source;
mod splat;
mod test;
mod times;
mod torture;
mod wire_source;

use anyhow::Result;
use build::Flavour;
use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};
use torture::Torture;

/// Build, boot and test a kernel with /proc/<pid>/maps_lockless.
#[derive(Parser)]
#[command(name = "cargo vm", bin_name = "cargo vm")]
struct Options {
    /// Use this Linux tree instead of a downloaded one. It is copied, not changed.
    #[arg(long, global = true, value_name = "DIR")]
    linux: Option<PathBuf>,
    /// Do a part of the work of another `cargo vm`, which holds the lock of builds meanwhile.
    #[arg(long, global = true, hide = true, value_name = "NAME")]
    lane: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args)]
struct Kernel {
    /// Which kernel.
    #[arg(long = "kernel", value_enum, default_value_t = Flavour::Plain)]
    flavour: Flavour,
}

#[derive(Subcommand)]
enum Command {
    /// Show lsmaps on live processes, one of which maps and unmaps all the time.
    Demo(Kernel),
    /// Run all tests, on this machine and in VMs with the plain and the kasan kernel.
    Test(test::Options),
    /// Build kernels with a deliberate fault each, and see that the tests catch it.
    Faults(faults::Options),
    /// Run a command in the VM and return its exit status. Its standard input is empty.
    Run {
        #[command(flatten)]
        kernel: Kernel,
        /// Seconds after which the VM is ended.
        #[arg(long, default_value_t = 3600)]
        timeout: u64,
        /// The command.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Torture maps_lockless in the VM for a set time, see docs/testing.md.
    Torture {
        #[command(flatten)]
        kernel: Kernel,
        #[command(flatten)]
        machine: qemu::Machine,
        /// For how long.
        #[arg(long, default_value_t = 1800)]
        seconds: u64,
    },
    /// Tell how many instructions reading takes, in a VM that counts them, see docs/testing.md.
    Bench(bench::Options),
    /// Run all tests, torture and deliberate faults of one kernel, and tell what came of it in a table.
    Prove(prove::Options),
    /// Open a shell in the VM. It ends with the shell.
    Shell(Kernel),
    /// Build the kernel only.
    Build {
        #[command(flatten)]
        kernel: Kernel,
        /// Build a small kernel after each commit of the series.
        #[arg(long)]
        each_commit: bool,
    },
    /// Apply the series to a Linux tree: as commits where it is a git repository.
    Apply {
        /// The tree.
        tree: PathBuf,
    },
    /// Write the series as mails for `git am`.
    Export {
        /// Where to. Without it, to target/vm/series.
        dir: Option<PathBuf>,
    },
    /// Write the uapi header anew from the format's source.
    Header,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cargo vm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<ExitCode> {
    let Options {
        linux,
        lane,
        command,
    } = options;
    let linux = linux.as_deref();
    if lane.is_some() {
        // Nobody would wait for this one.
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)?;
    }
    let lock = paths::lock(lane.as_deref().unwrap_or("build"))?;
    match command {
        Command::Demo(kernel) => vm_command(linux, kernel.flavour, &["/bin/sh", "/bin/demo"], 600),
        Command::Test(options) => test::run(linux, &options),
        Command::Faults(options) => faults::run(linux, &options),
        Command::Run {
            kernel,
            command,
            timeout,
        } => {
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            vm_command(linux, kernel.flavour, &command, timeout)
        }
        Command::Torture {
            kernel: Kernel { flavour },
            machine,
            seconds,
        } => {
            let Torture { vm, time_limit } = torture::prepare(linux, flavour, seconds)?;
            // For hours, maybe. Other kernels may be built and booted meanwhile.
            drop(lock);
            vm.sized(machine).passthrough(time_limit)
        }
        Command::Bench(options) => bench::run(linux, &options),
        Command::Prove(options) => Ok(prove::run(linux, &options)),
        Command::Shell(Kernel { flavour }) => {
            let image = build::kernel(linux, flavour)?;
            let vm = qemu::Vm::new(flavour, &image, &["/bin/sh"], qemu::Console::Terminal)?;
            vm.interactive()
        }
        Command::Build {
            each_commit: true, ..
        } => {
            build::each_commit(linux)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Build { kernel, .. } => {
            println!("{}", build::kernel(linux, kernel.flavour)?.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Apply { tree } => {
            mails::apply_to(&tree)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Export { dir } => {
            host::prepare()?;
            let source = source::unpacked(linux)?;
            let dir = match dir {
                Some(dir) => dir,
                None => paths::work("series")?,
            };
            for mail in mails::export(&source, &dir)? {
                println!("{}", mail.display());
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Header => header::write(),
    }
}

fn vm_command(
    linux: Option<&std::path::Path>,
    flavour: Flavour,
    command: &[&str],
    timeout: u64,
) -> Result<ExitCode> {
    let image = build::kernel(linux, flavour)?;
    let vm = qemu::Vm::new(flavour, &image, command, qemu::Console::Raw)?;
    vm.passthrough(timeout)
}
