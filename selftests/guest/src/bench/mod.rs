// SPDX-License-Identifier: MIT OR Apache-2.0

//! How many instructions reading a process's mappings takes, by maps_lockless and by what else there is.
//!
//! It is for a VM of one CPU that counts instructions: see `selftests/vm/src/bench.rs`.

mod calls;
mod changes;
mod clock;
mod contenders;
mod files;
mod listings;
mod marks;
mod rows;
mod since;
mod subject;

pub use rows::become_process;

use anyhow::{Context, Result, ensure};
use contenders::{CONTENDERS, Contender, Run};
use rows::{ROWS, Row};
use std::{thread, time::Duration};
use subject::Subject;

/// How often each is measured, after once to warm up. Odd, so that there is a median.
const ROUNDS: usize = 3;

/// What to measure.
#[derive(Debug, Default)]
pub struct Options {
    /// Rows, `four-a-file-10000`, or one contender of a row, `four-a-file-10000/maps`. Of other numbers of VMAs,
    /// too. None: all rows.
    pub rows: Vec<String>,
    /// Also the rows that take minutes.
    pub long: bool,
    /// Measure each once instead of three times.
    pub once: bool,
}

/// Measures, and prints a line for each contender of each row:
/// `measured ROW/CONTENDER UNIT UNITS INSTRUCTIONS...`. Each round's instructions are those of all units, VMAs or
/// calls.
pub fn run(options: &Options) -> Result<()> {
    subject::permit_many_vmas()?;
    settle();
    clock::check()?;
    let rounds = if options.once { 1 } else { ROUNDS };
    let mut work: Vec<(Row, Vec<&Contender>)> = Vec::new();
    if options.rows.is_empty() {
        let rows = ROWS.iter().filter(|row| options.long || !row.is_long());
        work.extend(rows.map(|row| (*row, row.contenders())));
    }
    for spec in &options.rows {
        let (row, contenders) = wanted(spec)?;
        // A process for all that is wanted of it.
        match work.iter_mut().find(|(other, _)| *other == row) {
            Some((_, others)) => others.extend(contenders),
            None => work.push((row, contenders)),
        }
    }
    for (row, contenders) in work {
        let mut subject = Subject::start(row).with_context(|| row.to_string())?;
        settle();
        for contender in contenders {
            measure(&mut subject, contender, rounds)
                .with_context(|| format!("{row}/{}", contender.name))?;
        }
    }
    Ok(())
}

/// The row and its contenders that are meant by `ROW[/CONTENDER]`.
fn wanted(spec: &str) -> Result<(Row, Vec<&'static Contender>)> {
    let Some((row, name)) = spec.split_once('/') else {
        let row: Row = spec.parse()?;
        return Ok((row, row.contenders()));
    };
    let contender = CONTENDERS.iter().find(|contender| contender.name == name);
    let contender = contender.with_context(|| {
        let names: Vec<&str> = CONTENDERS.iter().map(|contender| contender.name).collect();
        format!("no contender {name:?}, but {}", names.join(", "))
    })?;
    Ok((row.parse()?, vec![contender]))
}

fn measure(subject: &mut Subject, contender: &Contender, rounds: usize) -> Result<()> {
    let Run {
        unit,
        units,
        mut run,
        mut before_changes,
    } = (contender.prepare)(subject)?;
    if before_changes.is_some() {
        subject.change().context("places to change")?;
    }
    let mut change = |subject: &mut Subject| -> Result<()> {
        if let Some(get_ready) = &mut before_changes {
            get_ready()?;
            subject.change()?;
        }
        Ok(())
    };
    change(subject)?;
    let expected = run()?;
    ensure!(expected > 0, "nothing was read");
    let mut line = format!("measured {}/{} {unit} {units}", subject.row, contender.name);
    for _ in 0..rounds {
        change(subject)?;
        clock::await_tick()?;
        marks::mark_begin();
        let begin = clock::instructions();
        let read = run();
        let end = clock::instructions();
        marks::mark_end();
        let read = read?;
        ensure!(
            read == expected,
            "{read} were read instead of {expected}: the process does not rest"
        );
        line += &format!(" {}", end - begin);
    }
    println!("{line}");
    Ok(())
}

/// Lets the kernel do what it has put off, such as to free what a process has left. Where there is nothing else to
/// do, the VM's time goes on at once.
fn settle() {
    thread::sleep(Duration::from_secs(1));
}

#[cfg(test)]
mod tests {
    use super::wanted;

    #[test]
    fn a_contender_is_named_behind_its_row() {
        let (row, contenders) = wanted("gaps-20/maps").unwrap();
        assert_eq!((row.to_string(), contenders.len()), ("gaps-20".into(), 1));
        assert!(wanted("gaps-20").unwrap().1.len() > 1);
        assert!(wanted("gaps-20/nobody").is_err());
        assert!(wanted("gaps").is_err());
    }
}
