// SPDX-License-Identifier: MIT OR Apache-2.0

//! In which functions the instructions of one measurement are executed.
//!
//! A plugin of QEMU's counts each block of instructions that is executed between two marks, functions of the
//! guest's program. Nothing is sampled.

use super::{Kernel, TIME_LIMIT, figure::Figure, symbols::Symbols, symbols::demangled};
use crate::{exec, initramfs, paths, qemu::Vm};
use anyhow::{Context, Result, bail, ensure};
use std::{collections::HashMap, fs, path::Path, process::Command};

/// How many functions are shown.
const SHOWN: usize = 40;
/// The kernel's addresses begin here.
const KERNEL: u64 = 1 << 63;
/// What the plugin counts may be more or less than what the clock does: blocks that were left in their middle, and
/// what is executed between the marks and the clock.
const TOLERANCE: f64 = 0.02;

/// Measures a row's contender, and prints the functions.
pub fn print(kernel: &Kernel, row: &str) -> Result<()> {
    let name = match row.contains('/') {
        true => row.to_owned(),
        false => format!("{row}/lockless"),
    };
    let program = initramfs::bench()?;
    let functions = Functions {
        kernel: Symbols::of(&kernel.folder.join("vmlinux"))?,
        program: Symbols::of(&program)?,
    };
    let counts = paths::work("logs")?.join("profile");
    let _ = fs::remove_file(&counts);
    let plugin = plugin(&functions.program, &counts)?;
    let command = ["/bin/bench", "--once", &name];
    let (flavour, image) = (kernel.flavour, &kernel.image);
    let vm = Vm::counting(flavour, image, &command, &program, Some(plugin))?;
    let mut figure = None;
    let status = vm.lines(TIME_LIMIT, |line| match Figure::parse(line) {
        None => println!("{line}"),
        Some(measured) => figure = Some(measured),
    })?;
    if status != 0 {
        bail!("bench exited with {status}");
    }
    let figure = figure.context("nothing was measured")??;
    let text = fs::read_to_string(&counts).with_context(|| counts.display().to_string())?;
    let profile = Profile::of(&text, &functions)?;
    print!("{}", kernel.versions);
    profile.print(&figure)
}

/// Compiles the plugin. Returns what QEMU wants to be told of it.
fn plugin(program: &Symbols, counts: &Path) -> Result<String> {
    let library = paths::work("bench")?.join("count.so");
    exec::run(
        Command::new("gcc")
            .args(["-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"])
            .arg(format!("-DPLUGIN_VERSION={}", plugin_version()?))
            .arg("-o")
            .arg(&library)
            .arg(paths::root().join("selftests/vm/src/bench/count.c")),
    )?;
    let mark = |name: &str| {
        let address = program.address(name);
        address.with_context(|| format!("the guest's program has no {name}()"))
    };
    Ok(format!(
        "{},begin={:x},end={:x},out={}",
        library.display(),
        mark("mark_begin")?,
        mark("mark_end")?,
        counts.display()
    ))
}

/// Which version of its interface QEMU takes plugins of. What is used of it is in all versions.
fn plugin_version() -> Result<u32> {
    let text = exec::output(Command::new("qemu-system-x86_64").arg("--version"))?;
    let major = qemu_major(&text).with_context(|| format!("QEMU's version: {text:?}"))?;
    Ok(if major < 9 { 1 } else { 2 })
}

fn qemu_major(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("version ")?;
    rest.split('.').next()?.parse().ok()
}

/// The functions of all that runs.
struct Functions {
    kernel: Symbols,
    program: Symbols,
}

impl Functions {
    fn at(&self, address: u64) -> String {
        let (symbols, whose) = if address >= KERNEL {
            (&self.kernel, "")
        } else {
            (&self.program, "program: ")
        };
        match symbols.at(address) {
            Some(name) => format!("{whose}{name}"),
            None => format!("{whose}{address:x}"),
        }
    }
}

/// What a function took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    instructions: u64,
    /// How often its block was executed that was executed most often.
    hottest: u64,
}

/// What each function took.
#[derive(Debug, Default)]
struct Profile {
    functions: Vec<(String, Taken)>,
    total: u64,
}

impl Profile {
    /// Sums up what the plugin has counted: for each block its address, how many instructions it has, and how
    /// often it was executed.
    fn of(text: &str, functions: &Functions) -> Result<Self> {
        let mut taken: HashMap<String, Taken> = HashMap::new();
        let mut total = 0;
        for line in text.lines() {
            let block = || {
                let mut words = line.split(' ');
                let address = u64::from_str_radix(words.next()?, 16).ok()?;
                let instructions: u64 = words.next()?.parse().ok()?;
                let executions: u64 = words.next()?.parse().ok()?;
                Some((address, instructions, executions))
            };
            let (address, instructions, executions) =
                block().with_context(|| format!("{line:?} is not what the plugin writes"))?;
            let entry = taken.entry(functions.at(address)).or_default();
            entry.instructions += instructions * executions;
            entry.hottest = entry.hottest.max(executions);
            total += instructions * executions;
        }
        ensure!(total > 0, "nothing was executed between the marks");
        let mut functions: Vec<(String, Taken)> = taken.into_iter().collect();
        functions.sort_by(|(a, x), (b, y)| (y.instructions, a).cmp(&(x.instructions, b)));
        Ok(Self { functions, total })
    }

    fn print(&self, figure: &Figure) -> Result<()> {
        let per_unit = |number: u64| number as f64 / figure.units as f64;
        let unit = &figure.unit;
        println!(
            "{}: {:.1} instructions per {unit} by the clock, {:.1} by blocks",
            figure.name,
            figure.per_unit(),
            per_unit(self.total)
        );
        println!(
            "{:>12} {:>7} {:>14}  function",
            format!("per {unit}"),
            "share",
            "hottest block"
        );
        let shown = &self.functions[..self.functions.len().min(SHOWN)];
        let names = demangled(shown.iter().map(|(name, _)| name.clone()).collect());
        for ((_, taken), name) in shown.iter().zip(names) {
            println!(
                "{:>12.1} {:>5.1} % {:>13.2}x  {name}",
                per_unit(taken.instructions),
                taken.instructions as f64 * 100.0 / self.total as f64,
                per_unit(taken.hottest)
            );
        }
        let difference = per_unit(self.total) / figure.per_unit() - 1.0;
        ensure!(
            difference.abs() < TOLERANCE,
            "the plugin and the clock do not count the same"
        );
        Ok(())
    }
}
