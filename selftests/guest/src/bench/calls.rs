// SPDX-License-Identifier: MIT OR Apache-2.0

//! Single calls on files that are open already. The instructions are given for a call.

use super::{
    contenders::Run,
    listings::{NAME, NO_NAMES},
    subject::Subject,
};
use crate::{
    query,
    raw::{Lockless, MAPS, position_of},
};
use anyhow::{Context, Result, ensure};
use maps_lockless::{decode::Record, wire::*};
use nix::unistd;
use std::{fs::File, hint::black_box, os::unix::fs::FileExt};

/// Calls that are measured as one.
const CALLS: usize = 1000;
/// Bytes of a read that returns one mapping.
const BUFFER: usize = MAPS_LOCKLESS_MIN_BUFFER as usize;

/// PROCMAP_QUERY of what is mapped at an address, without its name.
pub fn query(subject: &Subject) -> Result<Run> {
    ask(subject, 0)
}

/// The same with its name.
pub fn query_name(subject: &Subject) -> Result<Run> {
    ask(subject, NAME)
}

fn ask(subject: &Subject, name_size: usize) -> Result<Run> {
    let maps = File::open(format!("/proc/{}/maps", subject.pid()))?;
    let mut name = vec![0; name_size];
    let addresses = addresses(subject);
    Ok(calls(move |call| {
        let found = query::named(&maps, 0, addresses[call], &mut name)?;
        black_box(found.context("nothing is mapped there")?);
        Ok(())
    }))
}

/// A read of what maps_lockless has at an address, neither names nor what else is known of files.
pub fn lockless(subject: &Subject) -> Result<Run> {
    find(subject, NO_NAMES)
}

/// The same with all that maps shows.
pub fn lockless_name(subject: &Subject) -> Result<Run> {
    find(subject, MAPS.fields_wanted)
}

fn find(subject: &Subject, fields_wanted: u64) -> Result<Run> {
    let request = maps_lockless_request {
        fields_wanted,
        max_records: 1,
        ..MAPS
    };
    let file = Lockless::with_request(subject.pid(), request)?;
    let addresses = addresses(subject);
    for address in &addresses {
        let batch = file.batch_at(BUFFER, *address)?;
        let found = batch.records()?.into_iter().any(|record| match record {
            Record::Vma(vma) => vma.fields.start == *address,
            _ => false,
        });
        ensure!(found, "what is mapped at {address:x} is not found");
    }
    let mut buffer = vec![0; BUFFER];
    Ok(calls(move |call| {
        let len = file.0.read_at(&mut buffer, position_of(addresses[call]))?;
        ensure!(len > 0, "nothing was read");
        Ok(())
    }))
}

/// The state of the address space.
pub fn state(subject: &Subject) -> Result<Run> {
    let file = Lockless::open(subject.pid())?;
    Ok(calls(move |_| {
        black_box(file.state()?);
        Ok(())
    }))
}

/// A read of this process's name.
pub fn comm(_: &Subject) -> Result<Run> {
    let file = File::open("/proc/self/comm")?;
    let mut buffer = [0; 64];
    Ok(calls(move |_| {
        ensure!(file.read_at(&mut buffer, 0)? > 0, "nothing was read");
        Ok(())
    }))
}

/// A system call that does next to nothing.
pub fn getppid(_: &Subject) -> Result<Run> {
    Ok(calls(|_| {
        black_box(unistd::getppid());
        Ok(())
    }))
}

/// As many addresses as there are calls, spread over all mappings.
fn addresses(subject: &Subject) -> Vec<u64> {
    let mappings = &subject.mappings;
    let spread = (0..CALLS).map(|call| call * mappings.len() / CALLS);
    spread.map(|number| mappings[number].start).collect()
}

fn calls(mut call: impl FnMut(usize) -> Result<()> + 'static) -> Run {
    Run {
        unit: "call",
        units: CALLS,
        run: Box::new(move || {
            (0..CALLS).try_for_each(&mut call)?;
            Ok(CALLS as u64)
        }),
        before_changes: None,
    }
}
