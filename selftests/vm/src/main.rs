// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo vm`: builds a Linux kernel with the series, boots it in QEMU, runs commands and tests.

mod build;
mod check;
mod exec;
mod header;
mod host;
mod initramfs;
mod ktap;
mod paths;
mod progress;
mod qemu;
mod series;
mod source;
mod splat;
mod test;
mod wire_source;

use anyhow::Result;
use build::Flavour;
use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

/// Build, boot and test a kernel with /proc/<pid>/maps_lockless.
#[derive(Parser)]
#[command(name = "cargo vm", bin_name = "cargo vm")]
struct Options {
    /// Use this Linux tree instead of a downloaded one. It is copied, not changed.
    #[arg(long, global = true, value_name = "DIR")]
    linux: Option<PathBuf>,
    /// Which kernel.
    #[arg(long, global = true, value_enum, default_value_t = Flavour::Plain)]
    kernel: Flavour,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show lsmaps on live processes, one of which maps and unmaps all the time.
    Demo,
    /// Run all tests, on this machine and in VMs with the plain and the debug kernel.
    Test(test::Options),
    /// Run a command in the VM and return its exit status.
    Run {
        /// Seconds after which the VM is ended.
        #[arg(long, default_value_t = 3600)]
        timeout: u64,
        /// The command.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Open a shell in the VM. It ends with the shell.
    Shell,
    /// Build the kernel only.
    Build {
        /// Build after each commit of the series. Takes an hour and more.
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
        /// Where to.
        #[arg(default_value = "target/vm/series")]
        dir: PathBuf,
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
        kernel,
        command,
    } = options;
    let linux = linux.as_deref();
    match command {
        Command::Demo => vm_command(linux, kernel, &["/bin/sh", "/bin/demo"], 600),
        Command::Test(options) => test::run(linux, &options),
        Command::Run { command, timeout } => {
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            vm_command(linux, kernel, &command, timeout)
        }
        Command::Shell => {
            let image = build::kernel(linux, kernel)?;
            let vm = qemu::Vm::new(kernel, &image, &["/bin/sh"], qemu::Console::Terminal)?;
            vm.interactive()
        }
        Command::Build { each_commit: true } => {
            build::each_commit(linux, kernel)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Build { each_commit: false } => {
            println!("{}", build::kernel(linux, kernel)?.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Apply { tree } => {
            series::apply_to(&tree)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Export { dir } => {
            host::prepare()?;
            let source = source::unpacked(linux)?;
            for mail in series::export(&source, &dir)? {
                println!("{}", mail.display());
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Header => header::write(),
    }
}

fn vm_command(
    linux: Option<&std::path::Path>,
    kernel: Flavour,
    command: &[&str],
    timeout: u64,
) -> Result<ExitCode> {
    let image = build::kernel(linux, kernel)?;
    let vm = qemu::Vm::new(kernel, &image, command, qemu::Console::Raw)?;
    vm.passthrough(timeout)
}
