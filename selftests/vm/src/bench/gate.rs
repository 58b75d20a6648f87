// SPDX-License-Identifier: MIT OR Apache-2.0

//! Fails where reading takes more instructions than it did when the table was committed.

use super::{Kernel, committed::Committed, figure::row_of, measure};
use crate::{build::Flavour, ktap::Count, paths};
use anyhow::{Context, Result};
use std::{fs, path::Path};

/// What is measured: of each row also maps, which the others are compared with where versions differ.
const ROWS: [&str; 18] = [
    "anonymous-10000/maps",
    "anonymous-10000/lockless",
    // All VMAs are passed over.
    "anonymous-10000/lockless-code",
    "anonymous-10000/since",
    "anonymous-10000/state",
    "gaps-10000/maps",
    "gaps-10000/lockless",
    "gaps-10000/since",
    "four-a-file-10000/maps",
    "four-a-file-10000/lockless",
    "four-a-file-10000/lockless-no-names",
    "four-a-file-10000/since",
    "four-a-file-10000/find",
    "four-a-file-10000/find-name",
    "one-a-file-2000/maps",
    "one-a-file-2000/lockless",
    "round-robin-10000/maps",
    "round-robin-10000/lockless",
];

/// How much more than was committed is too much.
const TOLERANCE: f64 = 0.05;

/// The table.
pub const TABLE: &str = include_str!("committed.txt");
/// Where it is.
const PATH: &str = "selftests/vm/src/bench/committed.txt";

/// Measures a plain kernel that was built, and compares. Each row counts as a test.
pub fn gate(image: &Path) -> Count {
    let verdicts = measured_verdicts(image).unwrap_or_else(|error| {
        vec![Verdict {
            name: "instructions are counted".to_owned(),
            passed: false,
            told: format!("{error:#}"),
        }]
    });
    let mut count = Count::default();
    for Verdict { name, passed, told } in verdicts {
        println!("{} bench: {name}", if passed { "ok" } else { "not ok" });
        println!("# {told}");
        count.add(Count::one(passed));
    }
    count
}

fn measured_verdicts(image: &Path) -> Result<Vec<Verdict>> {
    let kernel = Kernel::new(Flavour::Plain, image.to_owned())?;
    let table: Committed = TABLE.parse().context(PATH)?;
    let measured = measured(&kernel)?;
    if measured.versions != table.versions {
        print!(
            "# bench: the committed table is of other versions. Ratios to maps are compared.\n# committed:\n{}# now:\n{}",
            as_comment(&table.versions),
            as_comment(&measured.versions)
        );
    }
    Ok(verdicts(&measured, &table))
}

fn as_comment(text: &impl ToString) -> String {
    let text = text.to_string();
    text.lines().map(|line| format!("#   {line}\n")).collect()
}

fn measured(kernel: &Kernel) -> Result<Committed> {
    let mut figures = Vec::new();
    measure(kernel, &ROWS, |figure| figures.push(figure))?;
    Ok(Committed::new(kernel.versions.clone(), &figures))
}

/// Writes the table anew.
pub fn commit(kernel: &Kernel) -> Result<()> {
    let table = measured(kernel)?;
    let path = paths::root().join(PATH);
    fs::write(&path, table.to_string()).with_context(|| path.display().to_string())?;
    print!("{table}");
    Ok(())
}

/// What came of a row.
#[derive(Debug, PartialEq)]
struct Verdict {
    name: String,
    passed: bool,
    told: String,
}

/// Compares the instructions themselves if the versions are the same, and else their ratios to those of maps.
fn verdicts(measured: &Committed, table: &Committed) -> Vec<Verdict> {
    let same = measured.versions == table.versions;
    let compared = ROWS.iter().filter(|name| same || !is_maps(name));
    compared
        .map(|name| {
            let (passed, told) = if same {
                let told = |number: f64| format!("{number:.1} instructions");
                compare(measured.get(name), table.get(name), told)
            } else {
                let told = |number: f64| format!("{number:.3} times maps");
                compare(ratio(measured, name), ratio(table, name), told)
            };
            Verdict {
                name: (*name).to_owned(),
                passed,
                told,
            }
        })
        .collect()
}

fn is_maps(name: &str) -> bool {
    name.ends_with("/maps")
}

/// How many times the instructions of maps something takes.
fn ratio(table: &Committed, name: &str) -> Option<f64> {
    let maps = table.get(&format!("{}/maps", row_of(name)))?;
    Some(table.get(name)? / maps)
}

/// Whether a row passes, and why.
fn compare(
    measured: Option<f64>,
    committed: Option<f64>,
    tell: impl Fn(f64) -> String,
) -> (bool, String) {
    let (Some(measured), Some(committed)) = (measured, committed) else {
        let who = if measured.is_none() {
            "was not measured"
        } else {
            "is not in the committed table: cargo vm bench --commit"
        };
        return (false, format!("it {who}"));
    };
    let more = measured / committed - 1.0;
    let told = format!(
        "{}, committed: {}, {:+.1} %",
        tell(measured),
        tell(committed),
        more * 100.0
    );
    if more > TOLERANCE {
        return (false, told);
    }
    let hint = if more < -TOLERANCE {
        ", so cargo vm bench --commit would keep it there"
    } else {
        ""
    };
    (true, told + hint)
}

#[cfg(test)]
mod tests {
    use super::{Committed, ROWS, TABLE, is_maps, row_of, verdicts};

    /// A table where each row takes this many instructions, and maps 2,000.
    fn table(others: f64) -> Committed {
        let mut table = Committed::default();
        for name in ROWS {
            let instructions = if is_maps(name) { 2000.0 } else { others };
            table.rows.push((name.to_owned(), instructions));
        }
        table
    }

    fn of_kernel(mut table: Committed, kernel: &str) -> Committed {
        kernel.clone_into(&mut table.versions.kernel);
        table
    }

    fn all_pass(measured: &Committed, committed: &Committed) -> bool {
        verdicts(measured, committed)
            .iter()
            .all(|verdict| verdict.passed)
    }

    #[test]
    fn four_percent_more_pass_and_six_do_not() {
        assert!(all_pass(&table(1000.0), &table(1000.0)));
        assert!(all_pass(&table(1040.0), &table(1000.0)));
        assert!(all_pass(&table(500.0), &table(1000.0)));
        let verdicts = verdicts(&table(1060.0), &table(1000.0));
        assert_eq!(verdicts.len(), ROWS.len());
        for verdict in verdicts {
            assert_eq!(verdict.passed, is_maps(&verdict.name), "{verdict:?}");
        }
    }

    #[test]
    fn of_other_versions_ratios_are_compared() {
        let committed = of_kernel(table(1000.0), "7.3.1");
        // All takes half as much again, maps too.
        let mut measured = of_kernel(table(1000.0), "7.3.2");
        for (_, instructions) in &mut measured.rows {
            *instructions *= 1.5;
        }
        assert!(all_pass(&measured, &committed));
        let no_maps = verdicts(&measured, &committed);
        assert!(no_maps.iter().all(|verdict| !is_maps(&verdict.name)));
        // And with the same versions it would not pass.
        assert!(!all_pass(&of_kernel(measured, "7.3.1"), &committed));
        assert!(all_pass(&of_kernel(table(1040.0), "7.3.2"), &committed));
        assert!(!all_pass(&of_kernel(table(1060.0), "7.3.2"), &committed));
    }

    #[test]
    fn what_is_missing_fails() {
        let mut less = table(1000.0);
        less.rows.pop();
        assert!(!all_pass(&less, &table(1000.0)));
        assert!(!all_pass(&table(1000.0), &less));
    }

    #[test]
    fn each_row_has_maps_beside_it() {
        for name in ROWS {
            let maps = format!("{}/maps", row_of(name));
            assert!(ROWS.contains(&&maps[..]), "{name}");
        }
    }

    #[test]
    fn the_committed_table_has_each_row() {
        let committed: Committed = TABLE.parse().unwrap();
        assert!(all_pass(&committed, &committed));
    }
}
