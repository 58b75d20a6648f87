// SPDX-License-Identifier: MIT OR Apache-2.0

//! Follows all processes and prints what changes in their mappings, until it is interrupted.
//!
//!     cargo run --example monitor -- [SECONDS] [ROUNDS]
//!
//! A round is made each second, or after so many seconds. As root it sees all processes, and else those
//! of its user. One descriptor is held for each: see `ulimit -n`.

use maps_lockless::{Change, Event, Monitor, MonitorOptions, Process, Snapshot};
use std::{error::Error, fs, thread, time::Duration};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let seconds = args.next().map_or(Ok(1.0), |seconds| seconds.parse())?;
    let rounds = args.next().map_or(Ok(u64::MAX), |rounds| rounds.parse())?;
    let pause = Duration::try_from_secs_f64(seconds)?;
    let mut monitor = Monitor::new(MonitorOptions {
        interval: pause,
        ..MonitorOptions::default()
    });
    for _ in 0..rounds {
        // Those that have exited go first, so that who has their IDs now is taken in.
        for (pid, event) in monitor.poll() {
            tell(pid, &event);
        }
        for pid in processes()? {
            if monitor.contains(&pid) {
                continue;
            }
            match Process::pinned(pid).and_then(|process| monitor.add(pid, process)) {
                Err(error) if !error.is_not_found() => eprintln!("{pid}: {error}"),
                _ => {}
            }
        }
        thread::sleep(pause);
    }
    Ok(())
}

fn processes() -> Result<impl Iterator<Item = u32>, Box<dyn Error>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

fn tell(pid: u32, event: &Event) {
    match event {
        Event::New(snapshot) => println!("{pid}: new, {} mappings", snapshot.mappings.len()),
        Event::Changed { before, after } => tell_changes(pid, before, after),
        Event::Replaced { .. } => println!("{pid}: runs another program"),
        Event::Exited => println!("{pid}: exited"),
        Event::Failed(error) => println!("{pid}: {error}"),
        _ => {}
    }
}

fn tell_changes(pid: u32, before: &Snapshot, after: &Snapshot) {
    for change in before.diff(after) {
        let (kind, mapping) = match &change {
            Change::Added(mapping) => ("added", mapping),
            Change::Removed(mapping) => ("removed", mapping),
            Change::Changed {
                after, difference, ..
            } => match difference {
                it if it.remapped => ("remapped", after),
                it if it.is_reprotected() => ("reprotected", after),
                it if it.is_resized() => ("resized", after),
                it if it.renamed => ("renamed", after),
                _ => ("changed", after),
            },
        };
        let name = mapping.name.as_ref().to_maps();
        let (start, end, name) = (mapping.start, mapping.end, name.escape_ascii());
        println!("{pid}: {kind} {start:x}-{end:x} {name}");
    }
}
