// SPDX-License-Identifier: MIT OR Apache-2.0

//! A picture of an address space: a bar for each part of it that is in use.

use super::color;
use crate::{listing::is_writable_executable, size::human};
use anstyle::Style as Ansi;
use maps_lockless::MappingRef;
use std::io::{self, Write};

/// What is further apart is another bar.
const GAP: u64 = 1 << 30;
/// Letters of a bar.
const CELLS: usize = 48;

/// What a letter of a bar stands for, in the order in which they win where they tie.
const LETTERS: [(char, &str); 5] = [
    ('!', "writable and executable"),
    ('x', "executable"),
    ('w', "writable"),
    ('r', "read-only"),
    ('-', "no access"),
];

/// The mappings of an address space, as much as the picture needs.
#[derive(Default)]
pub struct Layout {
    /// Start, end, index of the letter. Neighbours of the same kind are one.
    parts: Vec<(u64, u64, usize)>,
    colors: [Ansi; LETTERS.len()],
}

impl Layout {
    pub fn add(&mut self, mapping: &MappingRef<'_>) {
        let permissions = mapping.permissions().unwrap_or_default();
        let letter = match permissions {
            _ if is_writable_executable(mapping) => 0,
            p if p.execute => 1,
            p if p.write => 2,
            p if p.read => 3,
            _ => 4,
        };
        self.colors[letter] = color::of(mapping);
        match self.parts.last_mut() {
            Some((_, end, last)) if *end == mapping.start && *last == letter => *end = mapping.end,
            _ => self.parts.push((mapping.start, mapping.end, letter)),
        }
    }

    pub fn write(&self, out: &mut dyn Write, colored: bool) -> io::Result<()> {
        let mut rest = &self.parts[..];
        let mut last_end: Option<u64> = None;
        while let Some(&(start, ..)) = rest.first() {
            let near = |pair: &[(u64, u64, usize)]| pair[1].0.saturating_sub(pair[0].1) < GAP;
            let count = 1 + rest.windows(2).take_while(|pair| near(pair)).count();
            let (region, behind) = rest.split_at(count);
            let end = region.iter().map(|part| part.1).max().unwrap_or(start);
            if let Some(last) = last_end {
                // No program can have what lies between the halves.
                if start >> 63 == last >> 63 {
                    writeln!(out, "{:>16}  {} free", "...", human(start - last))?;
                } else {
                    writeln!(out, "{:>16}", "...")?;
                }
            }
            write!(out, "{start:>16x} [")?;
            let bar = bar(region, start, end);
            for run in bar.chunk_by(|a, b| a == b) {
                let letter = run[0].map_or('.', |letter| LETTERS[letter].0);
                let text = String::from_iter(run.iter().map(|_| letter));
                match run[0].filter(|_| colored) {
                    Some(letter) => {
                        let color = self.colors[letter];
                        write!(out, "{color}{text}{color:#}")?;
                    }
                    None => write!(out, "{text}")?,
                }
            }
            writeln!(out, "] {}", human(end - start))?;
            (rest, last_end) = (behind, Some(end));
        }
        let known: Vec<String> = LETTERS
            .iter()
            .enumerate()
            .filter(|(i, _)| self.parts.iter().any(|part| part.2 == *i))
            .map(|(_, (letter, meaning))| format!("{letter} {meaning}"))
            .collect();
        writeln!(out, "{:>16}  {}, . free", "", known.join(", "))
    }
}

/// For each cell, what most of it is.
fn bar(region: &[(u64, u64, usize)], start: u64, end: u64) -> [Option<usize>; CELLS] {
    let span = u128::from(end - start);
    // Of each cell, bytes by letter, and of those, how many are mapped.
    let mut filled = [[0_u128; LETTERS.len()]; CELLS];
    let at = |cell: usize| span * cell as u128 / CELLS as u128;
    for &(from, to, letter) in region {
        let (from, to) = (u128::from(from - start), u128::from(to - start));
        let first = (from * CELLS as u128 / span.max(1)) as usize;
        for (cell, filled) in filled.iter_mut().enumerate().skip(first) {
            let (low, high) = (at(cell).max(from), at(cell + 1).min(to));
            if at(cell) >= to {
                break;
            }
            filled[letter] += high.saturating_sub(low);
        }
    }
    filled.map(|cell| {
        // The first of those that are equal.
        let most = cell.iter().copied().max().unwrap_or(0);
        cell.iter().position(|&bytes| bytes == most && bytes > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::{CELLS, bar};

    #[test]
    fn a_bar_shows_what_most_of_each_cell_is() {
        let cells = CELLS as u64;
        let bar = bar(&[(0, cells / 2, 1), (3 * cells / 4, cells, 2)], 0, cells);
        assert!(bar[..CELLS / 2].iter().all(|cell| *cell == Some(1)));
        assert!(bar[CELLS / 2..3 * CELLS / 4].iter().all(Option::is_none));
        assert!(bar[3 * CELLS / 4..].iter().all(|cell| *cell == Some(2)));
    }

    #[test]
    fn what_is_small_is_seen() {
        let bar = bar(
            &[(0, 4096, 3), (4096 * 1000, 4096 * 1001, 2)],
            0,
            4096 * 1001,
        );
        assert_eq!((bar[0], bar[CELLS - 1]), (Some(3), Some(2)));
        assert_eq!(
            super::bar(&[(0, u64::MAX, 0)], 0, u64::MAX),
            [Some(0); CELLS]
        );
    }
}
