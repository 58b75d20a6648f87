// SPDX-License-Identifier: MIT OR Apache-2.0

//! Requests for what has changed: the listing that is made by them is byte for byte the one that a request for
//! everything gets.

mod churn;
mod requests;
mod steps;

use super::Test;
use crate::{
    raw::{ALL, Lockless, MAPS, RANGES, SMALLEST},
    since::{How, Item, Proved, Round, differ},
};
use anyhow::{Context, Result, ensure};
use maps_lockless::wire::*;
use steps::{GUARD, STEPS, place};

const MIN: usize = MAPS_LOCKLESS_MIN_BUFFER as usize;
const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;

pub(super) fn tests() -> Vec<Test> {
    let mut tests = requests::tests();
    tests.push(Test::new(
        "since: each kind of change, by each kind of request",
        each_change,
    ));
    tests.push(Test::new(
        "since: guard pages are not seen, as tearing.md says",
        guard_pages,
    ));
    tests.extend(churn::tests());
    tests
}

/// The ways to read that are tried, by their names. `base` is where the steps work.
fn ways(base: u64) -> Vec<(&'static str, How)> {
    let how = How::new;
    let at = |page| place(base, page);
    let write = MAPS_LOCKLESS_VMA_WRITE;
    vec![
        ("everything", how(ALL, MAX)),
        ("everything, as maps", how(MAPS, MIN)),
        ("ranges, smallest buffer", how(RANGES, SMALLEST)),
        ("as maps, small buffer", how(MAPS, 512)),
        (
            "three records",
            how(
                maps_lockless_request {
                    max_records: 3,
                    ..ALL
                },
                MAX,
            ),
        ),
        (
            "one record",
            how(
                maps_lockless_request {
                    max_records: 1,
                    ..RANGES
                },
                MIN,
            ),
        ),
        (
            "writable ones",
            how(
                maps_lockless_request {
                    vma_flags_all: write,
                    ..ALL
                },
                MAX,
            ),
        ),
        (
            "not writable ones, a few",
            how(
                maps_lockless_request {
                    vma_flags_none: write,
                    max_records: 2,
                    ..MAPS
                },
                MIN,
            ),
        ),
        (
            "files, or executable ones",
            how(
                maps_lockless_request {
                    vma_flags_any: MAPS_LOCKLESS_VMA_FILE | MAPS_LOCKLESS_VMA_EXEC,
                    ..ALL
                },
                MAX,
            ),
        ),
        (
            "from one VMA into another one",
            how(
                maps_lockless_request {
                    start: at(700) + 5,
                    end: at(1804) + 7,
                    ..ALL
                },
                MAX,
            ),
        ),
        (
            "from a gap into a gap",
            how(
                maps_lockless_request {
                    start: at(303),
                    end: at(365) + 1,
                    ..ALL
                },
                MAX,
            ),
        ),
        (
            "from VMA to VMA, writable ones, a few, small buffer",
            how(
                maps_lockless_request {
                    start: at(5),
                    end: at(1000),
                    vma_flags_all: write,
                    max_records: 4,
                    ..MAPS
                },
                512,
            ),
        ),
        (
            "from the middle of a VMA",
            How {
                request: ALL,
                buffer: MAX,
                from: at(900),
            },
        ),
        (
            "from a gap, writable ones",
            How {
                request: maps_lockless_request {
                    start: at(3),
                    vma_flags_all: write,
                    ..ALL
                },
                buffer: MIN,
                from: at(301),
            },
        ),
    ]
}

/// A way to read, and what it has listed.
struct Follower {
    name: &'static str,
    how: How,
    file: Lockless,
    /// Of the step before.
    last: Proved,
    /// Of the beginning.
    first: Proved,
    /// What was followed from step to step.
    sum: Round,
}

impl Follower {
    fn new(pid: u32, (name, how): (&'static str, How)) -> Result<Self> {
        let mut file = Lockless::open(pid)?;
        let first = how.whole(&mut file)?;
        let first = first.with_context(|| format!("{name}: a process at rest"))?;
        Ok(Self {
            name,
            how,
            file,
            last: first.clone(),
            first,
            sum: Round::default(),
        })
    }

    /// Follows to where the process is now, from the step before and from the beginning.
    fn follow(&mut self) -> Result<()> {
        let whole = self.how.whole(&mut self.file)?;
        let whole = whole.context("a process at rest")?;
        for (earlier, is_last) in [(&self.last, true), (&self.first, false)] {
            let followed = self.how.follow(&mut self.file, earlier)?;
            let (new, round) = followed.context("a process at rest is not proved")?;
            ensure!((new.mm_id, new.seq) == (whole.mm_id, whole.seq));
            if let Some(differ) = differ(&new.mappings, &whole.mappings, Clone::clone) {
                anyhow::bail!(
                    "since {} (last: {is_last}), {round:?}: {differ}",
                    earlier.seq
                );
            }
            if is_last {
                self.sum.add(round);
            }
        }
        self.last = whole;
        Ok(())
    }
}

fn each_change() -> Result<()> {
    let (stepper, base) = steps::start(&STEPS)?;
    let pid = stepper.pid()?;
    let ways = ways(base).into_iter();
    let mut followers = ways
        .map(|way| Follower::new(pid, way))
        .collect::<Result<Vec<_>>>()?;
    for (step, _) in STEPS {
        ensure!(stepper.step()?, "{step} failed");
        for follower in &mut followers {
            let followed = follower.follow();
            followed.with_context(|| format!("{step}, {}", follower.name))?;
        }
    }
    for Follower { name, sum, .. } in &followers {
        println!("# {name}: {sum:?}");
        ensure!(sum.told > 0 && sum.kept > 0, "{name}: {sum:?}");
    }
    let all = followers.first().context("no way")?.sum;
    ensure!(all.again > 0, "nothing was read again: {all:?}");
    // Of all steps, two fork(2)s and the first have something to do with more than a few VMAs.
    ensure!(
        all.kept > 10 * all.told,
        "little is told as unchanged: {all:?}"
    );
    Ok(())
}

fn guard_pages() -> Result<()> {
    let (stepper, base) = steps::start(&GUARD)?;
    let how = How::new(ALL, MAX);
    let mut file = Lockless::open(stepper.pid()?)?;
    let earlier = how.whole(&mut file)?.context("a process at rest")?;
    let guarded = |listing: &Proved| {
        let range = place(base, 800)..place(base, 801);
        let vma = listing.within(&range).first();
        vma.map(|vma| vma.flags() & MAPS_LOCKLESS_VMA_MAYBE_GUARD != 0)
    };
    ensure!(guarded(&earlier) == Some(false));

    ensure!(stepper.step()?, "guard pages");
    let whole = how.whole(&mut file)?.context("a process at rest")?;
    ensure!(whole.seq == earlier.seq, "the change count tells of it");
    ensure!(guarded(&whole) == Some(true));
    let followed = how.follow(&mut file, &earlier)?;
    let (new, _) = followed.context("a process at rest")?;
    ensure!(guarded(&new) == Some(false), "the stamps tell of it");

    ensure!(stepper.step()?, "mmap elsewhere");
    let whole = how.whole(&mut file)?.context("a process at rest")?;
    let listed = how.list(&mut file, earlier.since(ALL))?;
    let told = listed.items.iter().any(|item| match item {
        Item::Vma(told) => told.start == place(base, 1300),
        _ => false,
    });
    ensure!(told, "the new mapping has no record");
    let followed = how.follow(&mut file, &earlier)?;
    let (new, _) = followed.context("a process at rest")?;
    ensure!(guarded(&new) == Some(false) && guarded(&whole) == Some(true));
    let differ = differ(&new.mappings, &whole.mappings, |told| told.covered());
    ensure!(differ.is_none(), "{differ:?}");

    // A VMA comes to meet such a selection without a stamp. Who makes one is told everything.
    let request = maps_lockless_request {
        vma_flags_any: MAPS_LOCKLESS_VMA_MAYBE_GUARD,
        ..ALL
    };
    let how = How { request, ..how };
    let earlier = how.whole(&mut file)?.context("a process at rest")?;
    let listed = how.list(&mut file, earlier.since(request))?;
    let told = listed.items.iter().any(|item| matches!(item, Item::Vma(_)));
    ensure!(
        told,
        "what may have come to meet the selection has no record"
    );
    Ok(())
}
