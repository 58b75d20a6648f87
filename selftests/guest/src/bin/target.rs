// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process with mappings of a chosen shape, to be looked at.

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let shape = std::env::args().nth(1).context("usage: target SHAPE")?;
    guest::shapes::run(&shape)
}
