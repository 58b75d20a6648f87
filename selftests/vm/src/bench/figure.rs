// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the guest's program has measured.

use anyhow::{Context, Result};

/// The instructions that a contender takes for a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// `ROW/CONTENDER`.
    pub name: String,
    /// What they are given for: a VMA, or a call.
    pub unit: String,
    /// How many of these there were.
    pub units: u64,
    /// The instructions for all of them, round by round.
    pub rounds: Vec<u64>,
}

impl Figure {
    /// Reads a line of the program's output. [`None`] where it is of something else.
    pub fn parse(line: &str) -> Option<Result<Self>> {
        let rest = line.strip_prefix("measured ")?;
        let parsed = || {
            let mut words = rest.split_whitespace();
            let name = words.next().filter(|name| name.contains('/'))?;
            let unit = words.next()?;
            let units = words.next()?.parse().ok().filter(|units| *units > 0)?;
            let rounds = words.map(str::parse).collect::<Result<Vec<_>, _>>().ok()?;
            (!rounds.is_empty()).then(|| Self {
                name: name.to_owned(),
                unit: unit.to_owned(),
                units,
                rounds,
            })
        };
        Some(parsed().with_context(|| format!("{line:?} tells no figure")))
    }

    /// The row.
    pub fn row(&self) -> &str {
        row_of(&self.name)
    }

    /// The contender.
    pub fn contender(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }

    /// The median of all rounds, for one unit.
    pub fn per_unit(&self) -> f64 {
        let mut rounds = self.rounds.clone();
        rounds.sort_unstable();
        let median = rounds.get(rounds.len() / 2).copied().unwrap_or_default();
        median as f64 / self.units as f64
    }

    /// By which part of itself the least of all rounds differs from the most.
    pub fn spread(&self) -> f64 {
        let least = self.rounds.iter().min().copied().unwrap_or_default();
        let most = self.rounds.iter().max().copied().unwrap_or_default();
        (most - least) as f64 / least as f64
    }
}

/// The row of `ROW/CONTENDER`.
pub fn row_of(name: &str) -> &str {
    name.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Figure;

    #[test]
    fn a_line_is_a_figure() {
        let line = "measured gaps-10/maps VMA 10 1200 1000 1100";
        let figure = Figure::parse(line).unwrap().unwrap();
        assert_eq!((figure.row(), figure.contender()), ("gaps-10", "maps"));
        assert_eq!((figure.per_unit(), figure.spread()), (110.0, 0.2));
    }

    #[test]
    fn other_lines_are_not() {
        assert!(Figure::parse("# 20 instructions").is_none());
        for wrong in [
            "measured ",
            "measured gaps-10 VMA 10 1200",
            "measured gaps-10/maps VMA 0 1200",
            "measured gaps-10/maps VMA 10",
            "measured gaps-10/maps VMA 10 many",
        ] {
            assert!(Figure::parse(wrong).unwrap().is_err(), "{wrong}");
        }
    }
}
