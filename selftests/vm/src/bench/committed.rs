// SPDX-License-Identifier: MIT OR Apache-2.0

//! The table that the gate compares with.

use super::{figure::Figure, versions::Versions};
use anyhow::{Context, Error, Result};
use std::{fmt, str::FromStr};

/// What was measured when the table was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Committed {
    /// With which versions.
    pub versions: Versions,
    /// Instructions for each VMA or call, by `ROW/CONTENDER`.
    pub rows: Vec<(String, f64)>,
}

impl Committed {
    /// A table of what was measured now.
    pub fn new(versions: Versions, figures: &[Figure]) -> Self {
        let rows = figures.iter().map(|figure| {
            // As the table will tell it.
            let rounded = (figure.per_unit() * 10.0).round() / 10.0;
            (figure.name.clone(), rounded)
        });
        Self {
            versions,
            rows: rows.collect(),
        }
    }

    /// The instructions of a row's contender.
    pub fn get(&self, name: &str) -> Option<f64> {
        let row = self.rows.iter().find(|(other, _)| other == name);
        row.map(|(_, instructions)| *instructions)
    }
}

const HEAD: &str = "\
# SPDX-License-Identifier: MIT OR Apache-2.0
# Instructions for each VMA or call, as `cargo vm bench --commit` measured and wrote them. The gate of
# `cargo vm test` compares with them.
";

impl fmt::Display for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEAD}{}", self.versions)?;
        for (name, instructions) in &self.rows {
            writeln!(f, "{name} {instructions:.1}")?;
        }
        Ok(())
    }
}

impl FromStr for Committed {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut table = Self::default();
        for line in text.lines() {
            if line.is_empty() || line.starts_with('#') || table.versions.take(line) {
                continue;
            }
            let row = || {
                let (name, instructions) = line.split_once(' ')?;
                let instructions = instructions.trim().parse::<f64>().ok()?;
                // NaN is no number of instructions either.
                let usable = name.contains('/') && instructions > 0.0;
                usable.then(|| (name.to_owned(), instructions))
            };
            let row = row().with_context(|| format!("{line:?} is neither a version nor a row"))?;
            table.rows.push(row);
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::{Committed, Figure, Versions};

    fn versions() -> Versions {
        Versions {
            kernel: "7.3.1".into(),
            clang: "clang 19".into(),
            rustc: "rustc 1.95".into(),
        }
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let figure = Figure {
            name: "gaps-10/maps".into(),
            unit: "VMA".into(),
            units: 3,
            rounds: vec![1000],
        };
        let written = Committed::new(versions(), &[figure]);
        assert_eq!(written.get("gaps-10/maps"), Some(333.3));
        assert_eq!(written.get("gaps-10/query"), None);
        assert_eq!(written.to_string().parse::<Committed>().unwrap(), written);
    }

    #[test]
    fn what_is_no_row_is_refused() {
        for wrong in [
            "gaps-10 100",
            "gaps-10/maps",
            "gaps-10/maps x",
            "gaps-10/maps NaN",
            "a/b 0",
        ] {
            assert!(wrong.parse::<Committed>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_committed_table_can_be_read() {
        let table: Committed = super::super::gate::TABLE.parse().unwrap();
        assert!(!table.rows.is_empty());
        assert_ne!(table.versions, Versions::default());
    }
}
