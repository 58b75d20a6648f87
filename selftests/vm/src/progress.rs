// SPDX-License-Identifier: MIT OR Apache-2.0

//! Shows that a long step goes on: a moving count on a terminal, a line a minute elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

/// A step in progress.
pub struct Progress {
    what: String,
    bar: Option<ProgressBar>,
    begin: Instant,
    told: Instant,
    count: u64,
}

impl Progress {
    /// Begins a step of about `expected` counts, if that is known.
    pub fn new(what: impl Into<String>, expected: Option<u64>) -> Self {
        let what = what.into();
        let bar = stderr().is_terminal().then(|| {
            let bar = expected.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            let template = match expected {
                Some(_) => "{msg} [{bar:30}] {pos}/{len} {elapsed}",
                None => "{spinner} {msg} {pos} {elapsed}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(what.clone());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        if bar.is_none() {
            eprintln!("{what} ...");
        }
        Self {
            what,
            bar,
            begin: Instant::now(),
            told: Instant::now(),
            count: 0,
        }
    }

    /// One more is done.
    pub fn step(&mut self) {
        self.count += 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None => self.tell(),
        }
    }

    /// Tells that it goes on, if a minute has passed since that was last told.
    pub fn tell(&mut self) {
        if self.bar.is_some() || self.told.elapsed() < Duration::from_secs(60) {
            return;
        }
        self.told = Instant::now();
        let seconds = self.begin.elapsed().as_secs();
        match self.count {
            0 => eprintln!("{}: {seconds} s", self.what),
            count => eprintln!("{}: {count} steps, {seconds} s", self.what),
        }
    }

    /// Ends the step. Returns the count.
    pub fn end(self) -> u64 {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.begin.elapsed().as_secs();
        eprintln!("{}: done, {seconds} s", self.what);
        self.count
    }
}
