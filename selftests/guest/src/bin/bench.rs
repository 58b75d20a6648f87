// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tells how many instructions reading a process's mappings takes, or changing them:
//! `bench [--long] [--once] [--writer] [ROW[/CONTENDER]...]`.
//!
//! Any other argument is for processes that it starts itself. It needs a VM that counts instructions.

use anyhow::{Result, bail};
use guest::bench::{self, Options};

fn main() -> Result<()> {
    let mut options = Options::default();
    for arg in std::env::args().skip(1) {
        match &arg[..] {
            "--long" => options.long = true,
            "--once" => options.once = true,
            "--writer" => options.writer = true,
            _ if arg.starts_with('-') => {
                bail!("usage: bench [--long] [--once] [--writer] [ROW[/CONTENDER]...]")
            }
            _ => match bench::become_process(&arg) {
                Some(done) => return done,
                None => options.rows.push(arg),
            },
        }
    }
    bench::run(&options)
}
