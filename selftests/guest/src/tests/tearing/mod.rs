// SPDX-License-Identifier: MIT OR Apache-2.0

//! Each effect of docs/tearing.md by itself: what may be seen, by name, and how often it was.
//!
//! A mutator changes a place while readers list it. What they see must be one of the outcomes that
//! the effect's table permits, and each of those must have been seen, or the table says why not.

mod driver;
mod effect;
mod fields;
mod lifetime;
mod mutator;
mod processes;
mod ranges;
mod tally;

use super::Test;
use anyhow::Result;
use effect::Effect;

pub(super) fn tests() -> Vec<Test> {
    let test = |name: &str, effects: &'static [Effect]| {
        Test::new(format!("tearing: {name}"), move || shown(effects))
    };
    vec![
        test(
            "T1 mmap of a free range",
            &[ranges::MMAP_TWO, ranges::MMAP_BEHIND, ranges::MMAP_BELOW],
        ),
        test("T2 munmap", &[ranges::MUNMAP_TWO, ranges::MUNMAP_PART]),
        test(
            "T3 split",
            &[
                ranges::SPLIT_FIRST,
                ranges::SPLIT_SECOND,
                ranges::SPLIT_MADVISE,
            ],
        ),
        test(
            "T4 merge",
            &[
                ranges::MERGE_NEXT,
                ranges::MERGE_PREVIOUS,
                ranges::MERGE_BOTH,
            ],
        ),
        test(
            "T5 boundary between neighbours",
            &[ranges::BOUNDARY_DOWN, ranges::BOUNDARY_UP],
        ),
        Test::new("tearing: T6 MAP_FIXED", || {
            shown(&[
                ranges::FIXED_OVER_ALL,
                ranges::FIXED_OVER_PARTS,
                ranges::FIXED_FAILS,
            ])?;
            lifetime::special()
        }),
        test("T7 mremap", &[ranges::MOVE_UP, ranges::MOVE_DOWN]),
        test(
            "T8 permissions and flags",
            &[
                fields::MPROTECT,
                fields::MADVISE,
                fields::MLOCK,
                ranges::MOVE_ACCOUNT,
            ],
        ),
        test("T9 names given by prctl", &[fields::NAME]),
        test(
            "T10 brk and the stack",
            &[
                fields::HEAP_GROWS,
                fields::HEAP_SHRINKS,
                fields::STACK_GROWS,
            ],
        ),
        test(
            "T11 rename and unlink",
            &[
                fields::RENAME_ONE_FILE,
                fields::RENAME_TWO_FILES,
                fields::UNLINK_ONE_FILE,
                fields::UNLINK_TWO_FILES,
            ],
        ),
        Test::new("tearing: T12 execve", lifetime::execve),
        Test::new("tearing: T13 exit", lifetime::exit),
        test("T14 fork", &[fields::FORK]),
    ]
}

fn shown(effects: &'static [Effect]) -> Result<()> {
    for effect in effects {
        driver::show(effect)?;
    }
    Ok(())
}
