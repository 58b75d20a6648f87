// SPDX-License-Identifier: MIT OR Apache-2.0

//! How long the parts of a run took.

use std::time::{Duration, Instant};

/// What a line begins with that tells of a part.
const PREFIX: &str = "# time: ";

/// The parts of a run so far.
#[derive(Default)]
pub struct Times {
    lines: Vec<String>,
}

impl Times {
    /// Does a part of the run.
    pub fn of<T>(&mut self, name: &str, part: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let result = part();
        self.add(name, begin.elapsed());
        result
    }

    /// A part took this long.
    pub fn add(&mut self, name: &str, took: Duration) {
        self.lines
            .push(format!("{PREFIX}{:5} s  {name}", took.as_secs()));
    }

    /// A part of a part took this long, which is told only if it is at least 10 s.
    pub fn add_if_long(&mut self, name: &str, took: Duration) {
        if took.as_secs() >= 10 {
            self.add(&format!("  {name}"), took);
        }
    }

    /// Takes over a line that another run has printed, if it tells of a part.
    pub fn take(&mut self, line: &str) -> bool {
        let tells = line.starts_with(PREFIX);
        if tells {
            self.lines.push(line.to_owned());
        }
        tells
    }

    /// Prints the parts, a line each.
    pub fn print(&self) {
        for line in &self.lines {
            println!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Times;
    use std::time::Duration;

    #[test]
    fn what_one_run_tells_another_takes_over() {
        let mut inner = Times::default();
        inner.add_if_long("short", Duration::from_secs(9));
        inner.add_if_long("long", Duration::from_secs(10));
        assert_eq!(inner.lines.len(), 1);
        let mut outer = Times::default();
        assert!(outer.take(&inner.lines[0]));
        assert!(!outer.take("# kernel: plain"));
        assert_eq!(outer.lines, inner.lines);
    }
}
