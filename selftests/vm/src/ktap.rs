// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads test results in KTAP, the kernel's Test Anything Protocol.
//! See Documentation/dev-tools/ktap.rst in Linux.

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

    fn total(self) -> u32 {
        self.passed + self.failed + self.skipped
    }
}

/// Collects results as lines come in.
#[derive(Default)]
pub struct Reader {
    plan: Option<u32>,
    count: Count,
}

impl Reader {
    /// Takes a line of output, which may have nothing to do with KTAP.
    pub fn line(&mut self, line: &str) {
        let line = line.trim_end();
        let skipped = line.contains("# SKIP");
        if let Some(plan) = line.strip_prefix("1..").and_then(|n| n.parse().ok()) {
            self.plan = Some(plan);
        } else if line.starts_with("not ok ") {
            self.count.failed += 1;
        } else if line.starts_with("ok ") && skipped {
            self.count.skipped += 1;
        } else if line.starts_with("ok ") {
            self.count.passed += 1;
        }
    }

    /// The results. What was planned and did not report has failed, and so has a run without plan.
    pub fn end(self) -> Count {
        let mut count = self.count;
        count.failed += match self.plan {
            Some(plan) => plan.saturating_sub(count.total()),
            None => 1,
        };
        count
    }
}

#[cfg(test)]
mod tests {
    use super::{Count, Reader};

    fn read(text: &str) -> Count {
        let mut reader = Reader::default();
        text.lines().for_each(|line| reader.line(line));
        reader.end()
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
    fn what_did_not_report_failed() {
        assert_eq!(read("1..3\nok 1 a\n").failed, 2);
        assert_eq!(read("").failed, 1);
    }
}
