// SPDX-License-Identifier: GPL-2.0

//! `litmus [--may-skip N] FILE...`: runs litmus tests, and fails where one's result is not what its comment
//! says.
//!
//! What the parser does not know is skipped, and said. More than N such files, none without the option, are
//! a failure, too.

use anyhow::{Context, Result};
use litmus::{parse::parse, run::run};
use std::{fs, process::ExitCode};

fn main() -> Result<ExitCode> {
    let (mut right, mut wrong, mut skipped) = (0, 0, 0);
    let mut files = std::env::args().skip(1).peekable();
    let mut may_skip = 0;
    if files.next_if(|first| first == "--may-skip").is_some() {
        let number = files.next().context("--may-skip takes a number")?;
        may_skip = number.parse().context("--may-skip")?;
    }
    for path in files {
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        let outcome = parse(&text).and_then(|test| Ok((run(&test)?, test)));
        let (outcome, test) = match outcome {
            Ok(done) => done,
            Err(error) => {
                skipped += 1;
                println!("skipped {path}: {error:#}");
                continue;
            }
        };
        let (found, expected) = (outcome.result(), &test.result);
        if found == expected {
            right += 1;
        } else {
            wrong += 1;
            print!("wrong: ");
        }
        println!(
            "{}: {found}, expected {expected}; {} of {} executions that end so are allowed",
            test.name, outcome.allowed, outcome.tried
        );
    }
    println!("{right} as expected, {wrong} not, {skipped} skipped");
    Ok(if wrong == 0 && right > 0 && skipped <= may_skip {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
