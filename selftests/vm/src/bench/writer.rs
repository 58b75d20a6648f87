// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the series costs a process that nobody reads: the instructions of its changes on Linux without the series, with
//! the series and its option off, and with the option on.

use super::{Kernel, figure::Figure, measure};
use crate::build::{self, Flavour};
use anyhow::{Context, Result, ensure};
use std::{collections::BTreeMap, fs, path::Path, process::ExitCode};

/// What is compared with the first one. That one is built first: whatever is built before it has to be built again.
const KERNELS: [Flavour; 3] = [Flavour::Unpatched, Flavour::Off, Flavour::Plain];
/// How many times the instructions on the first one a change may take.
const LIMIT: f64 = 1.01;
/// The options that the series brings. In nothing else may the kernels differ.
const OWN_OPTIONS: [&str; 4] = [
    "CONFIG_LOCKLESS_VMAS",
    "CONFIG_PROC_MAPS_LOCKLESS",
    "CONFIG_PROC_MAPS_LOCKLESS_KUNIT_TEST",
    // An object of its own, which no writer comes by.
    "CONFIG_TEST_MMAP_LOCK_HOLD",
];

/// Measures, prints a table, and fails where a change takes more than it may.
pub fn run(linux: Option<&Path>) -> Result<ExitCode> {
    let mut kernels = Vec::new();
    for flavour in KERNELS {
        kernels.push(Kernel::new(flavour, build::kernel(linux, flavour)?)?);
    }
    let Some((first, others)) = kernels.split_first() else {
        return Ok(ExitCode::SUCCESS);
    };
    for other in others {
        same_configuration(first, other)?;
    }
    let mut measured = Vec::new();
    for kernel in &kernels {
        println!("# {}:", kernel.flavour.name());
        let mut figures = Vec::new();
        measure(kernel, &["--writer"], |figure| figures.push(figure))?;
        measured.push(figures);
    }
    let rows = rows(&measured)?;
    print!("{}", first.versions);
    println!("{}", header());
    for row in &rows {
        println!("{}", row.line());
    }
    let complaints: Vec<String> = rows.iter().flat_map(Row::complaints).collect();
    for complaint in &complaints {
        eprintln!("cargo vm bench: {complaint}");
    }
    if !complaints.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    println!(
        "no change takes more than {LIMIT} times what it takes on {}",
        first.flavour.name()
    );
    Ok(ExitCode::SUCCESS)
}

/// Fails where two kernels differ in more than the series' own options.
fn same_configuration(one: &Kernel, other: &Kernel) -> Result<()> {
    let read = |kernel: &Kernel| {
        let path = kernel.folder.join(".config");
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let differing = differing(&read(one)?, &read(other)?);
    ensure!(
        differing.is_empty(),
        "{} and {} differ in {}. If one of them was built by other tools, remove {}",
        one.flavour.name(),
        other.flavour.name(),
        differing.join(", "),
        one.folder.display()
    );
    Ok(())
}

/// The options in which two configurations differ, but for the series' own.
fn differing(one: &str, other: &str) -> Vec<String> {
    let (one, other) = (settings(one), settings(other));
    let names = one
        .keys()
        .chain(other.keys().filter(|name| !one.contains_key(*name)));
    names
        .filter(|name| one.get(*name) != other.get(*name) && !OWN_OPTIONS.contains(name))
        .map(|name| (*name).to_owned())
        .collect()
}

/// The options that are set, and to what. Whether an option is off or unknown makes no difference to a kernel.
fn settings(config: &str) -> BTreeMap<&str, &str> {
    let lines = config.lines().filter(|line| line.starts_with("CONFIG_"));
    lines.filter_map(|line| line.split_once('=')).collect()
}

/// A change, on each kernel.
#[derive(Debug)]
struct Row<'a> {
    first: &'a Figure,
    /// The kernels that are compared with the first one.
    others: Vec<(Flavour, &'a Figure)>,
}

/// Joins what was measured on all kernels.
fn rows(measured: &[Vec<Figure>]) -> Result<Vec<Row<'_>>> {
    let (first, others) = measured.split_first().context("no kernel")?;
    ensure!(!first.is_empty(), "nothing was measured");
    for figures in others {
        let same = figures.iter().map(|figure| &figure.name);
        ensure!(
            same.eq(first.iter().map(|figure| &figure.name)),
            "not the same was measured on all kernels"
        );
    }
    let row = |(i, figure)| Row {
        first: figure,
        others: KERNELS[1..]
            .iter()
            .zip(others)
            .map(|(flavour, figures)| (*flavour, &figures[i]))
            .collect(),
    };
    Ok(first.iter().enumerate().map(row).collect())
}

/// How many times as much a change takes on another kernel.
#[derive(Clone, Copy, Debug)]
struct Ratio {
    ratio: f64,
    /// By how much the rounds on one of the two differ.
    spread: f64,
}

impl Ratio {
    fn of(other: &Figure, first: &Figure) -> Self {
        Self {
            ratio: other.per_unit() / first.per_unit(),
            spread: other.spread().max(first.spread()),
        }
    }

    fn is_beyond(self) -> bool {
        self.ratio > LIMIT
    }

    /// Whether the rounds of one kernel differ by more than the two kernels do.
    fn is_unsure(self) -> bool {
        self.spread > (self.ratio - 1.0).abs()
    }
}

fn header() -> String {
    let mut line = format!("{:<24} {:>8}", "row/change", "");
    for (i, flavour) in KERNELS.iter().enumerate() {
        line += &format!(" {:>14}", flavour.name());
        if i > 0 {
            line += &format!(" {:>7} {:>8}", "times", "spread");
        }
    }
    line
}

impl Row<'_> {
    fn line(&self) -> String {
        let mut line = format!(
            "{:<24} {:>8} {:>14.1}",
            self.first.name,
            format!("per {}", self.first.unit),
            self.first.per_unit()
        );
        for (_, figure) in &self.others {
            let ratio = Ratio::of(figure, self.first);
            line += &format!(
                " {:>14.1} {:>7.4} {:>6.2} %",
                figure.per_unit(),
                ratio.ratio,
                ratio.spread * 100.0
            );
        }
        let unsure: Vec<&str> = self
            .others
            .iter()
            .filter(|(_, figure)| Ratio::of(figure, self.first).is_unsure())
            .map(|(flavour, _)| flavour.name())
            .collect();
        if !unsure.is_empty() {
            line += &format!("  {}: the rounds differ by more", unsure.join(", "));
        }
        line
    }

    /// Where it takes more than it may.
    fn complaints(&self) -> Vec<String> {
        let ratios = self
            .others
            .iter()
            .map(|(flavour, figure)| (flavour, Ratio::of(figure, self.first)));
        ratios
            .filter(|(_, ratio)| ratio.is_beyond())
            .map(|(flavour, ratio)| {
                format!(
                    "{} takes {:.4} times as many instructions on {} as on {}, and may take {LIMIT} times as many{}",
                    self.first.name,
                    ratio.ratio,
                    flavour.name(),
                    KERNELS[0].name(),
                    if ratio.is_unsure() {
                        "; but the rounds on one of them differ by more"
                    } else {
                        ""
                    }
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Figure, differing, rows};

    /// A row that takes this much on one kernel, in three rounds of which one is slow.
    fn figure(name: &str, instructions: u64, slow: u64) -> Figure {
        Figure {
            name: name.into(),
            unit: "pair".into(),
            units: 10,
            rounds: vec![instructions, instructions + slow, instructions],
        }
    }

    fn measured(on_plain: Figure) -> Vec<Vec<Figure>> {
        let row = |instructions| vec![figure("few/fork", instructions, 0)];
        vec![row(10_000), row(10_000), vec![on_plain]]
    }

    #[test]
    fn a_hundredth_more_passes_and_a_little_more_does_not() {
        for (on_plain, complains) in [(9_000, false), (10_100, false), (10_101, true)] {
            let measured = measured(figure("few/fork", on_plain, 0));
            let rows = rows(&measured).unwrap();
            let complaints = rows[0].complaints();
            assert_eq!(complaints.len(), usize::from(complains), "{complaints:?}");
            for complaint in complaints {
                assert!(complaint.contains("few/fork takes 1.0101 times"));
                assert!(complaint.contains("on plain as on unpatched"));
                assert!(!complaint.contains("differ"), "{complaint}");
            }
        }
    }

    #[test]
    fn rounds_that_differ_by_more_are_told() {
        for (slow, told) in [(100, false), (400, true)] {
            let measured = measured(figure("few/fork", 10_200, slow));
            let rows = rows(&measured).unwrap();
            // The median is the same.
            assert!(
                rows[0].line().contains("1020.0  1.0200"),
                "{}",
                rows[0].line()
            );
            assert_eq!(rows[0].line().contains("plain: the rounds"), told);
            let complaints = rows[0].complaints();
            assert_eq!(complaints.len(), 1);
            assert_eq!(complaints[0].contains("differ by more"), told);
        }
    }

    #[test]
    fn each_kernel_has_the_same_rows() {
        assert!(rows(&measured(figure("few/fault", 10_000, 0))).is_err());
        let mut less = measured(figure("few/fork", 10_000, 0));
        less[1].clear();
        assert!(rows(&less).is_err());
        assert!(rows(&[vec![], vec![], vec![]]).is_err());
    }

    #[test]
    fn only_the_series_options_may_differ() {
        let unpatched = "# A comment\nCONFIG_A=y\nCONFIG_B=\"b=c\"\n";
        let off = "CONFIG_A=y\nCONFIG_B=\"b=c\"\n# CONFIG_LOCKLESS_VMAS is not set\n# CONFIG_C is not set\n";
        let plain = "CONFIG_LOCKLESS_VMAS=y\nCONFIG_B=\"b=c\"\nCONFIG_A=y\n";
        for other in [off, plain, unpatched] {
            assert!(differing(unpatched, other).is_empty(), "{other}");
        }
        let others = "CONFIG_A=m\nCONFIG_C=y\n";
        assert_eq!(
            differing(plain, others),
            ["CONFIG_A", "CONFIG_B", "CONFIG_C"]
        );
    }
}
