// SPDX-License-Identifier: MIT OR Apache-2.0

//! Batches of a live process, judged by the library: a listing is proved, and what is none is not.

use super::Test;
use crate::{
    child::Target,
    raw::{Lockless, MAPS, Owned},
};
use anyhow::{Result, ensure};
use maps_lockless::{BatchEvidence, Judge, Judgement, Token, wire::*};

const MIN: usize = MAPS_LOCKLESS_MIN_BUFFER as usize;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("judge: a listing is proved by its batches", proved),
        Test::new(
            "judge: not where a batch is missing, there twice, or in another's place",
            out_of_place,
        ),
        Test::new("judge: not where it is of two requests", two_requests),
        Test::new("judge: not where it begins in the middle", from_the_middle),
        Test::new("judge: not where it is of two processes", two_processes),
        Test::new("judge: not where the process changed meanwhile", changed),
    ]
}

fn judge<'a>(batches: impl IntoIterator<Item = &'a Owned>) -> Result<Judge> {
    let mut judge = Judge::default();
    for owned in batches {
        judge.add(&BatchEvidence::new(&owned.batch()?));
    }
    Ok(judge)
}

fn judgement<'a>(batches: impl IntoIterator<Item = &'a Owned>) -> Result<Judgement> {
    Ok(judge(batches)?.judgement())
}

/// The batches of a process that rests. There are many.
fn listed(target: &Target) -> Result<Vec<Owned>> {
    let batches = Lockless::open(target.pid())?.batches(MIN)?;
    ensure!(batches.len() > 5, "{} batches", batches.len());
    Ok(batches)
}

fn proved() -> Result<()> {
    let target = Target::start("vmas-1000")?;
    let judge = judge(&listed(&target)?)?;
    ensure!(judge.judgement() == Judgement::Consistent, "{judge:?}");
    let state = Lockless::open(target.pid())?.state()?;
    let token = Token {
        mm_id: state.mm_id,
        count: state.seq,
    };
    ensure!(judge.token() == Some(token), "{judge:?}");
    Ok(())
}

fn out_of_place() -> Result<()> {
    let target = Target::start("vmas-1000")?;
    let batches = listed(&target)?;
    let end = batches.len() - 1;
    for i in 0..=end {
        let mut others: Vec<&Owned> = batches.iter().collect();
        others.remove(i);
        let missing = judgement(others)?;
        // Without its end a listing may be one that nobody has read on.
        let expected = match i == end {
            true => Judgement::Unknown,
            false => Judgement::Gap,
        };
        ensure!(missing == expected, "without batch {i}: {missing}");

        let mut twice: Vec<&Owned> = batches.iter().collect();
        twice.insert(i, &batches[i]);
        let twice = judgement(twice)?;
        ensure!(twice == Judgement::Gap, "batch {i} twice: {twice}");
    }
    for i in 0..end {
        let mut swapped: Vec<&Owned> = batches.iter().collect();
        swapped.swap(i, i + 1);
        let swapped = judgement(swapped)?;
        ensure!(
            swapped == Judgement::Gap,
            "batch {i} behind the next: {swapped}"
        );
    }
    Ok(())
}

/// The second one asks for the same. Where the kernel did not tell, it could ask for anything.
fn two_requests() -> Result<()> {
    let target = Target::start("vmas-1000")?;
    let mut file = Lockless::open(target.pid())?;
    let mut batches = vec![file.batch(MIN)?];
    file.request(MAPS)?;
    batches.extend(file.batches(MIN)?);
    ensure!(judgement(&batches)? == Judgement::Gap);
    // All by the second one.
    file.seek(0)?;
    let second = file.batches(MIN)?;
    ensure!(judgement(&second)? == Judgement::Consistent);
    // The same was asked for by another open file, whose request is another one.
    let other = Lockless::with_request(target.pid(), MAPS)?.batches(MIN)?;
    let mixed = judgement(second[..2].iter().chain(&other[2..]))?;
    ensure!(mixed == Judgement::Gap, "{mixed}");
    Ok(())
}

fn from_the_middle() -> Result<()> {
    let target = Target::start("vmas-1000")?;
    let mut file = Lockless::open(target.pid())?;
    let second = file.batch(MIN)?.header()?.next;
    file.seek(second)?;
    ensure!(judgement(&file.batches(MIN)?)? == Judgement::Gap);
    // What was asked for from there on begins there.
    let request = maps_lockless_request {
        start: second,
        ..MAPS
    };
    let asked = Lockless::with_request(target.pid(), request)?.batches(MIN)?;
    ensure!(judgement(&asked)? == Judgement::Consistent);
    Ok(())
}

fn two_processes() -> Result<()> {
    let (one, other) = (Target::start("vmas-1000")?, Target::start("vmas-1000")?);
    let (ours, theirs) = (listed(&one)?, listed(&other)?);
    let mixed = ours[..1].iter().chain(&theirs[1..]);
    let mixed = judgement(mixed)?;
    ensure!(mixed == Judgement::Gap, "{mixed}");
    Ok(())
}

fn changed() -> Result<()> {
    let mut target = Target::start("grow")?;
    let small = maps_lockless_request {
        max_records: 2,
        ..MAPS
    };
    let mut file = Lockless::with_request(target.pid(), small)?;
    let before = file.state()?.seq;
    let mut batches = vec![file.batch(MIN)?];
    target.go_on()?;
    while file.state()?.seq == before || file.state()?.seq % 2 != 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    batches.extend(file.batches(MIN)?);
    let judge = judge(&batches)?;
    ensure!(judge.judgement() == Judgement::PossiblyTorn, "{judge:?}");
    ensure!(judge.token().is_none());
    Ok(())
}
