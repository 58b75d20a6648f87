// SPDX-License-Identifier: MIT OR Apache-2.0

//! How a request is set: on one open file, with a number, to be read back, or not at all.

use super::{MAX, MIN, Test, errno};
use crate::{
    child::Target,
    raw::{ALL, Lockless, MAPS, RANGES, SET_REQUEST},
    shapes::PAGE,
};
use anyhow::{Result, ensure};
use maps_lockless::wire::*;
use nix::errno::Errno;
use std::{collections::BTreeSet, fs};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("request: is of one open file", one_open_file),
        Test::new("request: has a number, which batches tell", numbers),
        Test::new("request: is read back as it is in effect", read_back),
        Test::new("request: all zero is none", all_zero),
        Test::new("request: what is not understood is refused", refused),
        Test::new(
            "request: one that is refused tells what is supported",
            answers,
        ),
    ]
}

fn one_open_file() -> Result<()> {
    let target = Target::start("plain")?;
    let mut plain = Lockless::open(target.pid())?;
    let exec = maps_lockless_request {
        vma_flags_all: MAPS_LOCKLESS_VMA_EXEC,
        ..MAPS
    };
    let mut asked = Lockless::with_request(target.pid(), exec)?;
    let (all, some) = (plain.fields()?.len(), asked.fields()?.len());
    ensure!(0 < some && some < all);
    // A duplicate is the same open file, and a later request replaces the one before.
    let mut duplicate = Lockless(asked.0.try_clone()?);
    duplicate.request(MAPS)?;
    asked.seek(0)?;
    ensure!(asked.fields()?.len() == all);
    duplicate.seek(0)?;
    ensure!(duplicate.fields()?.len() == all);
    Ok(())
}

fn numbers() -> Result<()> {
    let target = Target::start("plain")?;
    let file = Lockless::open(target.pid())?;
    let told = || -> Result<u64> {
        let (of_batch, of_state) = (
            file.batch_at(MIN, 0)?.header()?.request,
            file.state()?.request,
        );
        let read_back = file.requested()?.request;
        ensure!(of_batch == of_state && of_batch == read_back);
        Ok(of_batch)
    };
    ensure!(told()? == 0, "none was set");
    // No other has it, of this open file or of another one.
    let other = Lockless::open(target.pid())?;
    let mut seen = BTreeSet::from([0]);
    let mut last = 0;
    for _ in 0..5 {
        for file in [&file, &other] {
            last = file.request(ALL)?.request;
            ensure!(seen.insert(last), "{last} was given before: {seen:?}");
        }
        ensure!(told()? != last, "that of the other one");
    }
    last = file.request(ALL)?.request;
    ensure!(told()? == last);
    // One that is refused leaves the number, as it leaves the request.
    let refused = maps_lockless_request {
        reserved: 1,
        ..MAPS
    };
    ensure!(errno(file.request(refused)) == Some(Errno::EINVAL));
    let wanted = file.batch_at(MIN, 0)?.header()?.fields_wanted;
    ensure!(told()? == last && wanted == ALL.fields_wanted);
    ensure!(file.request(MAPS)?.request != last && told()? != last);
    Ok(())
}

fn read_back() -> Result<()> {
    let file = Lockless::open(std::process::id())?;
    let same = |set: maps_lockless_request, got: maps_lockless_request| {
        (
            got.fields_wanted,
            got.vma_flags_all,
            got.vma_flags_any,
            got.vma_flags_none,
        ) == (
            set.fields_wanted,
            set.vma_flags_all,
            set.vma_flags_any,
            set.vma_flags_none,
        ) && (got.start, got.end, got.max_records, got.reserved)
            == (set.start, set.end, set.max_records, 0)
    };
    let none = file.requested()?;
    ensure!(same(MAPS, none) && none.request == 0, "{none:?}");
    let state = file.state()?;
    for set in [
        ALL,
        RANGES,
        maps_lockless_request {
            vma_flags_all: MAPS_LOCKLESS_VMA_READ,
            vma_flags_any: MAPS_LOCKLESS_VMA_EXEC | MAPS_LOCKLESS_VMA_FILE,
            vma_flags_none: MAPS_LOCKLESS_VMA_SEALED,
            start: 4097,
            end: 1 << 63,
            max_records: 7,
            ..ALL
        },
        MAPS,
    ] {
        file.request(set)?;
        let got = file.requested()?;
        ensure!(same(set, got), "{got:?}, not {set:?}");
        ensure!(got.fields_supported == state.fields_supported);
        ensure!(got.vma_flags_supported == state.vma_flags_supported);
    }
    Ok(())
}

/// And one that has nothing but a range wants what maps shows.
fn all_zero() -> Result<()> {
    let target = Target::start("build-ids")?;
    let zero = maps_lockless_request {
        size: MAPS.size,
        ..Default::default()
    };
    let none = Lockless::open(target.pid())?.batch(MAX)?;
    let file = Lockless::with_request(target.pid(), zero)?;
    let asked = file.batch_at(MAX, 0)?;
    // But for the request's number.
    let mut header = asked.header()?;
    ensure!(header.request != 0);
    header.request = 0;
    ensure!(format!("{header:?}") == format!("{:?}", none.header()?));
    let behind = usize::from(header.header_size);
    ensure!(asked.bytes()[behind..] == none.bytes()[behind..]);
    ensure!(file.requested()?.fields_wanted == MAPS_LOCKLESS_FIELDS_MAPS);
    file.request(maps_lockless_request { start: 1, ..zero })?;
    ensure!(file.batch_at(MAX, 0)?.header()?.fields_wanted == MAPS_LOCKLESS_FIELDS_MAPS);
    // The ranges alone are asked for by name.
    let ranges = Lockless::with_request(target.pid(), RANGES)?.fields()?;
    let only_range = |vma: &maps_lockless_vma| vma.valid == MAPS_LOCKLESS_FIELD_RANGE;
    ensure!(ranges.len() == none.vmas()?.len() && ranges.iter().all(only_range));
    Ok(())
}

/// Requests that cannot be met, by what this kernel supports.
fn impossible(answer: &maps_lockless_request) -> Vec<maps_lockless_request> {
    let field = 1 << (!answer.fields_supported).trailing_zeros();
    let flag = 1 << (!answer.vma_flags_supported).trailing_zeros();
    vec![
        maps_lockless_request {
            fields_wanted: field,
            ..MAPS
        },
        maps_lockless_request {
            fields_wanted: MAPS.fields_wanted | 1 << 63,
            ..MAPS
        },
        maps_lockless_request {
            vma_flags_all: flag,
            ..MAPS
        },
        maps_lockless_request {
            vma_flags_any: flag,
            ..MAPS
        },
        maps_lockless_request {
            vma_flags_none: flag,
            ..MAPS
        },
        maps_lockless_request {
            reserved: 1,
            ..MAPS
        },
        maps_lockless_request {
            start: 4096,
            end: 4096,
            ..MAPS
        },
        maps_lockless_request {
            start: 4097,
            end: 4096,
            ..MAPS
        },
        maps_lockless_request {
            start: u64::MAX,
            ..MAPS
        },
    ]
}

fn refused() -> Result<()> {
    let file = Lockless::open(std::process::id())?;
    let supported = file.request(MAPS)?;
    for request in impossible(&supported) {
        ensure!(
            errno(file.request(request)) == Some(Errno::EINVAL),
            "{request:?}"
        );
    }
    // What was asked for before stays.
    ensure!(file.batch_at(MIN, 0)?.header()?.fields_wanted == MAPS.fields_wanted);
    // What the kernel answers may hold anything before.
    file.request(maps_lockless_request {
        request: 55,
        fields_supported: u64::MAX,
        vma_flags_supported: 77,
        ..MAPS
    })?;
    // Not every machine has protection keys.
    let pkey = maps_lockless_request {
        fields_wanted: MAPS_LOCKLESS_FIELD_PKEY,
        ..MAPS
    };
    let has_pkeys = supported.fields_supported & MAPS_LOCKLESS_FIELD_PKEY != 0;
    let expected = (!has_pkeys).then_some(Errno::EINVAL);
    ensure!(errno(file.request(pkey)) == expected);
    Ok(())
}

fn answers() -> Result<()> {
    let file = Lockless::open(std::process::id())?;
    let state = file.state()?;
    let unanswered = maps_lockless_request {
        request: 11,
        fields_supported: 22,
        vma_flags_supported: 33,
        ..MAPS
    };
    for request in impossible(&file.request(MAPS)?) {
        let mut request = maps_lockless_request {
            fields_supported: unanswered.fields_supported,
            vma_flags_supported: unanswered.vma_flags_supported,
            ..request
        };
        ensure!(errno(file.request_in(&mut request)) == Some(Errno::EINVAL));
        ensure!(
            request.fields_supported == state.fields_supported,
            "{request:?}"
        );
        ensure!(request.vma_flags_supported == state.vma_flags_supported);
    }
    // Of a struct that is too short, nothing is known, and nothing is written to it.
    let mut short = maps_lockless_request {
        size: u64::from(MAPS_LOCKLESS_REQUEST_SIZE_VER0) - 8,
        ..unanswered
    };
    ensure!(errno(file.request_in(&mut short)) == Some(Errno::EINVAL));
    let answers = |request: &maps_lockless_request| {
        (
            request.request,
            request.fields_supported,
            request.vma_flags_supported,
        )
    };
    ensure!(answers(&short) == answers(&unanswered), "{short:?}");
    // The number of the ioctl(2) is that of a call which sets: asked of another file, it is unknown.
    let maps = Lockless(fs::File::open("/proc/self/maps")?);
    ensure!(errno(maps.request(MAPS)) == Some(Errno::ENOTTY));
    ensure!(errno(maps.ioctl(SET_REQUEST, PAGE)) == Some(Errno::ENOTTY));
    Ok(())
}
