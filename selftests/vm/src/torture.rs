// SPDX-License-Identifier: MIT OR Apache-2.0

//! A VM that runs torture.

use crate::{
    build::{self, Flavour},
    qemu::{Console, Vm},
};
use anyhow::Result;
use std::path::Path;

/// A VM that is ready to boot, and when it hangs.
pub struct Torture {
    pub vm: Vm,
    pub time_limit: u64,
}

/// Builds the kernel that is to be tortured for so many seconds.
pub fn prepare(linux: Option<&Path>, flavour: Flavour, seconds: u64) -> Result<Torture> {
    let image = build::kernel(linux, flavour)?;
    let time = seconds.to_string();
    let command = ["/bin/torture", "--seconds", &time];
    println!("# kernel: {}", flavour.name());
    Ok(Torture {
        vm: Vm::new(flavour, &image, &command, Console::Raw)?,
        // It comes to its end late where memory is scarce and the machine busy.
        time_limit: seconds + 600,
    })
}
