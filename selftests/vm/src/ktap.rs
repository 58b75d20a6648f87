// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads test results in KTAP, the kernel's Test Anything Protocol.
//! See Documentation/dev-tools/ktap.rst in Linux.

use anyhow::{Context, Result};
use std::{fmt, str::FromStr};

/// How many tests passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Passed.
    pub passed: u32,
    /// Failed, or never reported.
    pub failed: u32,
    /// Skipped.
    pub skipped: u32,
}

impl Count {
    /// A single test.
    pub fn one(passed: bool) -> Self {
        Self {
            passed: passed.into(),
            failed: (!passed).into(),
            skipped: 0,
        }
    }

    /// Adds other tests.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// As the last line of `cargo vm test`.
impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

impl FromStr for Count {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let mut parts = line.split(", ");
        let mut number = |what: &str| {
            let number = parts.next()?.strip_suffix(what)?.trim_end();
            number.parse().ok()
        };
        let mut count = || {
            Some(Self {
                passed: number("passed")?,
                failed: number("failed")?,
                skipped: number("skipped")?,
            })
        };
        count().with_context(|| format!("{line:?} counts no tests"))
    }
}

/// Collects results as lines come in.
#[derive(Default)]
pub struct Reader {
    plan: Option<u32>,
    /// How many results came in, each of which may stand for many tests.
    results: u32,
    count: Count,
    /// The tests that the next result stands for, which are indented.
    nested: Option<Box<Reader>>,
}

impl Reader {
    /// Takes a line of output, which may have nothing to do with KTAP.
    pub fn line(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(inner) = line.strip_prefix("  ") {
            if inner.starts_with("TAP version") || inner.starts_with("KTAP version") {
                self.nested = Some(Box::default());
            }
            if let Some(nested) = &mut self.nested {
                nested.line(inner);
            }
        } else if let Some(plan) = line.strip_prefix("1..").and_then(|n| n.parse().ok()) {
            self.plan = Some(plan);
        } else if line.starts_with("not ok ") {
            self.result(Count::one(false));
        } else if line.starts_with("ok ") && line.contains("# SKIP") {
            self.result(Count {
                skipped: 1,
                ..Count::default()
            });
        } else if line.starts_with("ok ") {
            self.result(Count::one(true));
        }
    }

    /// Counts nested tests in the place of the one that ran them. That has failed by itself where
    /// none of them has.
    fn result(&mut self, own: Count) {
        self.results += 1;
        match self.nested.take().map(|nested| nested.end()) {
            Some(nested) => {
                self.count.add(nested);
                if nested.failed == 0 {
                    self.count.failed += own.failed;
                }
            }
            None => self.count.add(own),
        }
    }

    /// The results. What was planned and did not report has failed, and so has a run without plan.
    pub fn end(self) -> Count {
        let mut count = self.count;
        if let Some(nested) = self.nested {
            count.add(nested.end());
        }
        count.failed += match self.plan {
            Some(plan) => plan.saturating_sub(self.results),
            None => 1,
        };
        count
    }
}

/// Collects what fails, as lines come in.
#[derive(Default)]
pub struct Failures {
    began: bool,
    names: Vec<String>,
}

impl Failures {
    /// Takes a line of output.
    pub fn line(&mut self, line: &str) {
        self.began |= line.starts_with("1..");
        if let Some((_, name)) = line
            .strip_prefix("not ok ")
            .and_then(|rest| rest.split_once(' '))
        {
            self.names.push(name.to_owned());
        }
    }

    /// Whether the plan was told.
    pub fn began(&self) -> bool {
        self.began
    }

    /// Whether a test failed whose name has this part.
    pub fn has(&self, part: &str) -> bool {
        self.names.iter().any(|name| name.contains(part))
    }

    /// The first test that failed, and how many others did.
    pub fn shown(&self) -> Option<String> {
        match &self.names[..] {
            [] => None,
            [one] => Some(one.clone()),
            [first, others @ ..] => Some(format!("{first}, and {} more", others.len())),
        }
    }
}

/// The results of a KUnit suite's tests, as a kernel's log tells them. A suite that is not there has
/// failed.
pub fn kunit(log: &str, suite: &str) -> Count {
    let (begin, end) = (format!("# Subtest: {suite}"), format!(" {suite}"));
    let mut reader = Reader::default();
    log.lines()
        .map(str::trim)
        .skip_while(|line| *line != begin)
        .skip(1)
        .take_while(|line| !line.ends_with(&end))
        .for_each(|line| reader.line(line));
    reader.end()
}

#[cfg(test)]
mod tests {
    use super::{Count, Reader, kunit};

    fn read(text: &str) -> Count {
        let mut reader = Reader::default();
        text.lines().for_each(|line| reader.line(line));
        reader.end()
    }

    #[test]
    fn the_last_line_is_read_as_it_was_written() {
        let count = Count {
            passed: 3,
            failed: 2,
            skipped: 1,
        };
        assert_eq!(count.to_string().parse::<Count>().unwrap(), count);
        assert!("3 passed, 2 failed".parse::<Count>().is_err());
        assert!("error: no such tree".parse::<Count>().is_err());
    }

    #[test]
    fn results_are_counted() {
        let text = "KTAP version 1\n1..3\nok 1 a\nnoise\nnot ok 2 b # why\nok 3 c # SKIP no file\n";
        let count = Count {
            passed: 1,
            failed: 1,
            skipped: 1,
        };
        assert_eq!(read(text), count);
    }

    #[test]
    fn a_suite_of_kunit_is_found() {
        let log = "KTAP version 1\n1..2\n\
                   \x20   # Subtest: one\n    1..1\n    ok 1 a\nok 1 one\n\
                   \x20   # Subtest: two\n    1..2\n    not ok 1 b\nnoise\n    ok 2 c\n\
                   # two: pass:1 fail:1 skip:0 total:2\nnot ok 2 two\n";
        assert_eq!(kunit(log, "one"), Count::one(true));
        assert_eq!((kunit(log, "two").passed, kunit(log, "two").failed), (1, 1));
        assert_eq!(kunit(log, "three"), Count::one(false));
    }

    #[test]
    fn what_did_not_report_failed() {
        assert_eq!(read("1..3\nok 1 a\n").failed, 2);
        assert_eq!(read("").failed, 1);
    }
    #[test]
    fn nested_tests_count() {
        let text = "1..3\n  TAP version 13\n  1..2\n  # RUN\n  ok 1 a\n  not ok 2 b\nnot ok 1 c\n\
                    \x20 no test: ok\nok 2 d\n  KTAP version 1\n  1..1\n  ok 1 e # SKIP\nok 3 f\n";
        let count = Count {
            passed: 2,
            failed: 1,
            skipped: 1,
        };
        assert_eq!(read(text), count);
        // One that did not report, one that failed besides, one that died in the middle.
        assert_eq!(
            read("1..1\n  TAP version 13\n  1..2\n  ok 1 a\nok 1 b\n").failed,
            1
        );
        assert_eq!(
            read("1..1\n  TAP version 13\n  1..1\n  ok 1 a\nnot ok 1 b\n").failed,
            1
        );
        assert_eq!(read("1..1\n  TAP version 13\n  1..2\n  ok 1 a\n").failed, 2);
    }
}
