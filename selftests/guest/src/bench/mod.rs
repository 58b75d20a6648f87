// SPDX-License-Identifier: MIT OR Apache-2.0

//! How many instructions reading a process's mappings takes, by maps_lockless and by what else there is, and how
//! many changing them takes where nobody reads.
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
mod writers;

pub use rows::become_process;

use anyhow::{Context, Result, ensure};
use contenders::{CONTENDERS, Contender, Run};
use rows::{ROWS, Row};
use std::{thread, time::Duration};
use subject::Subject;
use writers::{WRITERS, Writer};

/// How often each is measured, after once to warm up. Odd, so that there is a median.
const ROUNDS: usize = 3;
/// The same for changes, whose rounds differ by the timer interrupts that fall into them, and by what RCU frees then.
const WRITER_ROUNDS: usize = 15;
/// How many rounds of changes warm up, until as much memory waits for RCU as in all later rounds.
const WRITER_WARM_UP: usize = 3;

/// What to measure.
#[derive(Debug, Default)]
pub struct Options {
    /// Rows, `four-a-file-10000`, or one contender of a row, `four-a-file-10000/maps`. Of other numbers of VMAs,
    /// too. Also changes, `few-vmas/fork`. None: all rows.
    pub rows: Vec<String>,
    /// All changes instead of all rows.
    pub writer: bool,
    /// Also the rows that take minutes.
    pub long: bool,
    /// Measure each once instead of several times.
    pub once: bool,
}

/// Measures, and prints a line for each contender of each row:
/// `measured ROW/CONTENDER UNIT UNITS INSTRUCTIONS...`. Each round's instructions are those of all units, VMAs or
/// calls.
pub fn run(options: &Options) -> Result<()> {
    subject::permit_many_vmas()?;
    settle();
    clock::check()?;
    let rounds = |rounds| if options.once { 1 } else { rounds };
    let mut work: Vec<(Row, Vec<&Contender>)> = Vec::new();
    let mut changes: Vec<&Writer> = Vec::new();
    if options.writer {
        changes.extend(&WRITERS);
    } else if options.rows.is_empty() {
        let rows = ROWS.iter().filter(|row| options.long || !row.is_long());
        work.extend(rows.map(|row| (*row, row.contenders())));
    }
    for spec in &options.rows {
        if let Some(writer) = writers::named(spec) {
            changes.push(writer);
            continue;
        }
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
            measure_contender(&mut subject, contender, rounds(ROUNDS))
                .with_context(|| format!("{row}/{}", contender.name))?;
        }
    }
    for writer in changes {
        let run = writer.start().context(writer.name)?;
        settle();
        let rounds = rounds(WRITER_ROUNDS);
        measure(writer.name, run, || Ok(()), WRITER_WARM_UP, rounds).context(writer.name)?;
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

/// Measures one way to read a process, which changes before each round if the contender follows changes.
fn measure_contender(subject: &mut Subject, contender: &Contender, rounds: usize) -> Result<()> {
    let mut run = (contender.prepare)(subject)?;
    let name = format!("{}/{}", subject.row, contender.name);
    let mut before_changes = run.before_changes.take();
    if before_changes.is_some() {
        subject.change().context("places to change")?;
    }
    let change = || {
        if let Some(get_ready) = &mut before_changes {
            get_ready()?;
            subject.change()?;
        }
        Ok(())
    };
    measure(&name, run, change, 1, rounds)
}

/// Measures what is done `warm_up` times before, and `change` before each time.
fn measure(
    name: &str,
    run: Run,
    mut change: impl FnMut() -> Result<()>,
    warm_up: usize,
    rounds: usize,
) -> Result<()> {
    let Run {
        unit,
        units,
        mut run,
        ..
    } = run;
    let mut expected = 0;
    for _ in 0..warm_up {
        change()?;
        expected = run()?;
    }
    ensure!(expected > 0, "nothing was done");
    let mut line = format!("measured {name} {unit} {units}");
    for _ in 0..rounds {
        change()?;
        clock::await_tick()?;
        marks::mark_begin();
        let begin = clock::instructions();
        let done = run();
        let end = clock::instructions();
        marks::mark_end();
        let done = done?;
        ensure!(
            done == expected,
            "{done} were counted instead of {expected}: the process does not rest"
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
