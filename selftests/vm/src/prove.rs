// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo vm prove`: all that can be shown on one kernel, and what came of it in one table.

use crate::{
    build::{self, Flavour},
    faults, test,
    torture::{self, Torture},
};
use anyhow::{Result, bail};
use std::{path::Path, process::ExitCode};

/// What to prove, and for how long.
#[derive(clap::Args)]
pub struct Options {
    /// On which kernel.
    #[arg(long = "kernel", value_enum, default_value_t = Flavour::Plain)]
    flavour: Flavour,
    /// For how long to torture it.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
}

/// What the table has of torture's own, in its order.
const OF_TORTURE: [&str; 12] = [
    "seconds",
    "mutations",
    "reads",
    "read(2) calls",
    "reads with allocations failing",
    "records",
    "processes",
    "proved consistent",
    "unstable",
    "withheld",
    "clipped",
    // Foreign data, kernel addresses, broken invariants.
    "failures",
];

/// Tests, tortures and breaks a kernel, one after the other, whatever became of the one before. The last
/// lines are a table.
pub fn run(linux: Option<&Path>, options: &Options) -> ExitCode {
    let flavour = options.flavour;
    let mut table = Table::default();
    let steps = [
        ("tests", table.tests(linux, flavour)),
        ("torture", table.torture(linux, flavour, options.seconds)),
        ("faults", table.faults(linux, flavour)),
    ];
    println!("\n| on the {} kernel | |\n|---|---|", flavour.name());
    for (name, value) in table.rows {
        println!("| {name} | {value} |");
    }
    let mut code = ExitCode::SUCCESS;
    for (step, result) in steps {
        if let Err(error) = result {
            println!("| {step} | FAILED: {} |", faults::one_line(&error));
            code = ExitCode::FAILURE;
        }
    }
    code
}

/// What is told at the end.
#[derive(Default)]
struct Table {
    rows: Vec<(String, String)>,
}

impl Table {
    fn row(&mut self, name: impl Into<String>, value: impl ToString) {
        self.rows.push((name.into(), value.to_string()));
    }

    fn tests(&mut self, linux: Option<&Path>, flavour: Flavour) -> Result<()> {
        let mut tearing = Tearing::default();
        let image = build::kernel(linux, flavour);
        let count = test::guest(image, flavour, "", |line| tearing.line(line));
        self.row("tests passed", count.passed);
        self.row("tests failed", count.failed);
        self.row("tests skipped", count.skipped);
        let seen = format!("{} of {}", tearing.seen, tearing.permitted);
        self.row("outcomes of tearing seen", seen);
        self.row("in samples", tearing.samples);
        if count.failed > 0 || count.passed == 0 {
            bail!("see above");
        }
        Ok(())
    }

    fn torture(&mut self, linux: Option<&Path>, flavour: Flavour, seconds: u64) -> Result<()> {
        let Torture { vm, time_limit } = torture::prepare(linux, flavour, seconds)?;
        let status = vm.lines(time_limit, |line| {
            println!("{line}");
            let Some((name, count)) = line.trim_start().rsplit_once(' ') else {
                return;
            };
            if OF_TORTURE.contains(&name.trim_end()) {
                self.row(format!("torture: {}", name.trim_end()), count);
            }
        })?;
        if status != 0 {
            bail!("see above");
        }
        Ok(())
    }

    fn faults(&mut self, linux: Option<&Path>, flavour: Flavour) -> Result<()> {
        let verdicts = faults::verdicts(linux, &[], Some(flavour))?;
        let caught = verdicts.iter().filter(|verdict| verdict.word == "caught");
        self.row(
            "faults caught",
            format!("{} of {}", caught.count(), verdicts.len()),
        );
        for verdict in verdicts.iter().filter(|verdict| verdict.word != "caught") {
            self.row(
                format!("fault {}", verdict.fault),
                format!("{}: {}", verdict.word, verdict.how),
            );
        }
        if !verdicts.iter().all(|verdict| verdict.as_expected) {
            bail!("see above");
        }
        Ok(())
    }
}

/// What the tests of tearing saw.
#[derive(Debug, Default, PartialEq)]
struct Tearing {
    seen: u64,
    permitted: u64,
    samples: u64,
}

impl Tearing {
    /// Takes a line of output, which may be of something else.
    fn line(&mut self, line: &str) {
        let numbers = || {
            let rest = line.strip_prefix("#   outcomes seen: ")?;
            let (seen, rest) = rest.split_once(" of ")?;
            let (permitted, samples) = rest.split_once(", in samples: ")?;
            Some([seen, permitted, samples].map(|number| number.parse::<u64>().ok()))
        };
        if let Some([Some(seen), Some(permitted), Some(samples)]) = numbers() {
            self.seen += seen;
            self.permitted += permitted;
            self.samples += samples;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tearing;

    #[test]
    fn outcomes_are_added_up() {
        let mut tearing = Tearing::default();
        for line in [
            "# T3 split: 2 listings, 1 samples left out",
            "#   outcomes seen: 5 of 6, in samples: 70",
            "#   outcomes seen: 2 of 2, in samples: 30",
            "#   outcomes seen: many",
        ] {
            tearing.line(line);
        }
        let expected = Tearing {
            seen: 7,
            permitted: 8,
            samples: 100,
        };
        assert_eq!(tearing, expected);
    }
}
