// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tests, by what they are about.

mod abi;
mod access;
mod churn;
mod cli;
mod lifetime;
mod locks;
mod off;
mod same_as_maps;

use anyhow::Result;

/// A test.
pub struct Test {
    /// What it shows.
    pub name: String,
    /// Shows it.
    pub run: Box<dyn Fn() -> Result<()>>,
}

impl Test {
    fn new(name: impl Into<String>, run: impl Fn() -> Result<()> + 'static) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// The tests of a kernel with maps_lockless.
pub fn on() -> Vec<Test> {
    [
        same_as_maps::tests(),
        abi::tests(),
        access::tests(),
        lifetime::tests(),
        locks::tests(),
        churn::tests(),
        cli::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The tests of a kernel without.
pub fn off() -> Vec<Test> {
    off::tests()
}
