// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the kernel's tracing sees of the thread that asks.

use anyhow::{Context, Result, ensure};
use std::{fs, path::Path};

const DIR: &str = "/sys/kernel/tracing";
/// Room for what one thread does in one recording, for each CPU.
const KIB: &str = "8192";

/// Tracing of the calling thread, set up. It ends when dropped.
pub struct Trace {
    events: Vec<&'static str>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// When, in seconds.
    pub time: f64,
    /// The function that was called, or the tracepoint.
    pub name: String,
    /// By whom the function was called, or what the tracepoint tells.
    pub text: String,
}

impl Trace {
    /// Sets up tracing of calls of `functions`, and of those tracepoints of `events` that this kernel
    /// has, each with a filter.
    pub fn new(functions: &[&str], events: &[(&'static str, &str)]) -> Result<Self> {
        let this = nix::unistd::gettid().to_string();
        set("tracing_on", "0")?;
        set("current_tracer", "nop")?;
        set("buffer_size_kb", KIB)?;
        // One clock for all CPUs.
        set("trace_clock", "mono")?;
        // An mm by its address.
        set("trace_options", "nohash-ptr")?;
        set("set_ftrace_pid", &this)?;
        set("set_event_pid", &this)?;
        set("set_ftrace_filter", &functions.join(" "))?;
        let set_up = Self {
            events: events
                .iter()
                .map(|(event, _)| *event)
                .filter(|event| Path::new(&format!("{DIR}/events/{event}")).exists())
                .collect(),
        };
        for (event, filter) in events {
            if set_up.events.contains(event) {
                set(&format!("events/{event}/filter"), filter)?;
                set(&format!("events/{event}/enable"), "1")?;
            }
        }
        let found = fs::read_to_string(format!("{DIR}/set_ftrace_filter"))?;
        for function in functions {
            ensure!(
                found.lines().any(|line| line == *function),
                "{function}() cannot be traced"
            );
        }
        if !functions.is_empty() {
            set("current_tracer", "function")?;
        }
        Ok(set_up)
    }

    /// Whether this kernel has a tracepoint that was asked for.
    pub fn has(&self, event: &str) -> bool {
        self.events.contains(&event)
    }

    /// Does something and returns what this thread did meanwhile, in order.
    pub fn record<T>(&self, what: impl FnOnce() -> Result<T>) -> Result<(T, Vec<Event>)> {
        set("trace", "")?;
        set("tracing_on", "1")?;
        let done = what();
        set("tracing_on", "0")?;
        let text = fs::read_to_string(format!("{DIR}/trace"))?;
        // # entries-in-buffer/entries-written: 12/12   #P:2
        let counts = text
            .lines()
            .find_map(|line| line.split_once("entries-written: "))
            .and_then(|(_, rest)| rest.split_whitespace().next()?.split_once('/'))
            .context("how many events there were")?;
        ensure!(
            counts.0 == counts.1,
            "of {} events, {} are left",
            counts.1,
            counts.0
        );
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let events: Vec<Event> = lines.map(event).collect::<Result<_>>()?;
        ensure!(counts.0.parse() == Ok(events.len()));
        Ok((done?, events))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = set("tracing_on", "0");
        let _ = set("current_tracer", "nop");
        for event in &self.events {
            let _ = set(&format!("events/{event}/enable"), "0");
            let _ = set(&format!("events/{event}/filter"), "0");
        }
        for file in [
            "set_ftrace_filter",
            "set_ftrace_pid",
            "set_event_pid",
            "trace",
        ] {
            let _ = set(file, "");
        }
        let _ = set("tracing_on", "1");
    }
}

fn set(file: &str, value: &str) -> Result<()> {
    let path = format!("{DIR}/{file}");
    fs::write(&path, value).with_context(|| format!("{path}: {value:?}"))
}

/// `  guest-tests-80      [001] ...1.    12.345678: lock_next_vma <-proc_get_vma`
fn event(line: &str) -> Result<Event> {
    let parse = || {
        let (_, rest) = line.split_once("] ")?;
        let (time, rest) = rest.split_once(": ")?;
        let (name, text) = rest.split_once([' ', ':'])?;
        Some(Event {
            time: time.split_whitespace().last()?.parse().ok()?,
            name: name.to_owned(),
            text: text.trim_start_matches([' ', '<', '-']).to_owned(),
        })
    };
    parse().with_context(|| format!("{line:?}"))
}
