// SPDX-License-Identifier: MIT OR Apache-2.0

//! Torture of maps_lockless: `torture [--seconds N] [--plant FAULT]`.
//!
//! With a planted fault it must fail, and say of what. Any other argument is for processes that it
//! starts itself.

use anyhow::{Context, Result, bail, ensure};
use guest::torture::{self, Options, PLANTS};
use std::time::Duration;

fn main() -> Result<()> {
    let mut options = Options {
        time: Duration::from_secs(60),
        plant: String::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().context("a value is missing");
        match &arg[..] {
            "--seconds" => options.time = Duration::from_secs(value()?.parse()?),
            "--plant" => options.plant = value()?,
            _ if arg.starts_with('-') => bail!("usage: torture [--seconds N] [--plant FAULT]"),
            _ => return torture::process(&arg),
        }
    }
    let known = PLANTS.iter().any(|(name, _)| *name == options.plant);
    ensure!(
        known || options.plant.is_empty(),
        "cannot plant {:?}",
        options.plant
    );
    torture::run(options)
}
