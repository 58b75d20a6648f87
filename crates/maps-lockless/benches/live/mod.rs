// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ways to read the mappings of this very process, which rests meanwhile but for what reading takes.

use crate::{
    Side,
    listing::{Listing, sum, sum_of_procfs},
};
use maps_lockless::{Process, Request, Source};
use std::{sync::Barrier, thread};

/// Each has a stack and its guard.
const THREADS: usize = 1000;

/// Makes this process one of many mappings, for good. Returns how many.
pub fn grow() -> usize {
    let started: &'static Barrier = Box::leak(Box::new(Barrier::new(THREADS + 1)));
    for _ in 0..THREADS {
        thread::spawn(|| {
            started.wait();
            loop {
                thread::park();
            }
        });
    }
    started.wait();
    Process::current().snapshot().unwrap().mappings.len()
}

/// The sources that this kernel has, and the snapshot of the best one, beside procfs.
pub fn sides() -> Vec<Side> {
    let side = |name, read: fn(&Listing) -> u64| Side {
        name,
        read,
        times: 1,
        target: None,
    };
    let sources = [
        (
            Source::Lockless,
            side("maps_lockless", |_| stream(Source::Lockless)),
        ),
        (
            Source::Query,
            side("PROCMAP_QUERY", |_| stream(Source::Query)),
        ),
        (Source::Maps, side("text of maps", |_| stream(Source::Maps))),
    ];
    let here = sources.into_iter().filter(|(source, _)| {
        let opened = Process::current().open_source(*source, &Request::default());
        !opened.is_err_and(|error| error.is_unsupported())
    });
    let mut sides = vec![side("text of maps by procfs", |_| by_procfs())];
    sides.extend(here.map(|(_, side)| side));
    sides.push(side("snapshot", |_| snapshot()));
    sides
}

fn stream(source: Source) -> u64 {
    let process = Process::current();
    let mut reader = process.open_source(source, &Request::default()).unwrap();
    let mut total = 0_u64;
    while let Some(batch) = reader.next_batch().unwrap() {
        for mapping in batch.mappings() {
            total = total.wrapping_add(sum(&mapping.unwrap()));
        }
    }
    total
}

fn snapshot() -> u64 {
    let snapshot = Process::current().snapshot().unwrap();
    let mappings = snapshot.mappings.iter();
    mappings
        .map(|mapping| sum(&mapping.as_ref()))
        .fold(0, u64::wrapping_add)
}

fn by_procfs() -> u64 {
    let maps = procfs::process::Process::myself().unwrap().maps().unwrap();
    maps.iter().map(sum_of_procfs).fold(0, u64::wrapping_add)
}
