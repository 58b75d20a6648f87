// SPDX-License-Identifier: MIT OR Apache-2.0

//! `/proc/<pid>/stat`: whether a process goes on, and with which program. Reading it waits for
//! nothing.

use crate::{Error, Process};
use nix::errno::Errno;

/// `PF_EXITING` of include/linux/sched.h.
const EXITING: u64 = 0x4;

/// What is of interest here of `/proc/<pid>/stat`. See proc_pid_stat(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Whether the process is exiting or has exited, with each of its threads.
    pub(crate) exited: bool,
    /// Whether it has an address space.
    pub(crate) mapped: bool,
    /// Where program text begins and ends, and where the stack begins. execve(2) sets them, the first
    /// two at its very end, until when they are 0. So does prctl(2) with `PR_SET_MM`.
    pub(crate) image: [u64; 3],
}

impl Stat {
    pub(crate) fn read(process: &Process) -> Result<Self, Error> {
        let file = process.file("stat")?;
        let mut buf = [0; 4096];
        let len = file.read(&mut buf)?;
        Self::parse(&buf[..len]).ok_or_else(|| match len {
            0 => Error::os(file.path(), Errno::ESRCH),
            _ => Error::text(file.path(), 1),
        })
    }

    fn parse(text: &[u8]) -> Option<Self> {
        // The program's name may hold anything. It is the last field in parentheses.
        let end = text.iter().rposition(|&byte| byte == b')')?;
        let text = core::str::from_utf8(&text[end + 1..]).ok()?;
        // Fields are numbered as in the manual.
        let field = |number: usize| text.split_ascii_whitespace().nth(number - 3);
        let number = |at| field(at)?.parse::<u64>().ok();
        let exiting = matches!(field(3)?, "Z" | "X") || number(9)? & EXITING != 0;
        Some(Self {
            exited: exiting && number(20)? <= 1,
            mapped: number(23)? != 0,
            image: [number(26)?, number(27)?, number(28)?],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Stat;

    const REST: &[u8] =
        b"0 0 0 0 20 0 1 0 99 1000 2 18446744073709551615 4096 8192 7777 0 0 0 0 0 0\n";

    fn parse(state: &str) -> Option<Stat> {
        let line = [b"7 (a) R \xff) ", state.as_bytes(), b" ", REST].concat();
        Stat::parse(&line)
    }

    #[test]
    fn a_name_may_hold_anything() {
        let stat = parse("S 1 7 7 0 -1 4194304 0 0 0 0").unwrap();
        assert!(!stat.exited && stat.mapped);
        assert_eq!(stat.image, [4096, 8192, 7777]);
    }

    #[test]
    fn an_exit_is_told() {
        assert!(parse("Z 1 7 7 0 -1 4194304 0 0 0 0").unwrap().exited);
        assert!(parse("R 1 7 7 0 -1 4194308 0 0 0 0").unwrap().exited);
    }

    #[test]
    fn what_is_no_stat_is_refused() {
        for text in [&b""[..], b"7 (a", b"7 (a)", b"7 (a) S 1", b"7 (a) S \xff"] {
            assert_eq!(Stat::parse(text), None);
        }
    }
}
