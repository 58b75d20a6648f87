// SPDX-License-Identifier: MIT OR Apache-2.0

//! Lists the mappings of a process, as maps shows them, and says what may be believed of the listing.
//!
//!     cargo run --example list -- PID
//!
//! Without a PID it lists its own.

use maps_lockless::{Process, text::write_line};
use std::{
    error::Error,
    io::{Write, stdout},
};

fn main() -> Result<(), Box<dyn Error>> {
    let process = match std::env::args().nth(1) {
        Some(pid) => Process::new(pid.parse()?),
        None => Process::current(),
    };
    let snapshot = process.snapshot()?;
    let mut out = stdout().lock();
    for mapping in &snapshot.mappings {
        write_line(&mut out, &mapping.as_ref())?;
    }
    out.flush()?;
    for range in &snapshot.unknown {
        eprintln!("{:x}-{:x}: may hold more", range.start, range.end);
    }
    eprintln!(
        "{} mappings from {}: {}",
        snapshot.mappings.len(),
        snapshot.source,
        snapshot.judgement
    );
    Ok(())
}
