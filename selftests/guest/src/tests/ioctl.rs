// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ioctl(2) calls as such: their numbers, the size of what they take, bad pointers. And what the state
//! call tells, of whatever process.

use super::{Test, errno, shapes_in_turn};
use crate::{
    child::Target,
    query,
    raw::{ALL, GET_REQUEST, GET_STATE, Lockless, MAPS, SET_REQUEST},
    shapes::PAGE,
};
use anyhow::{Result, ensure};
use maps_lockless::{Process, Request, Source, Status, wire::*};
use nix::{
    errno::Errno,
    libc,
    sys::resource::{Resource, getrlimit, setrlimit},
};
use std::{fs, thread, time::Duration};

const MIN: usize = MAPS_LOCKLESS_MIN_BUFFER as usize;
const REQUEST: usize = size_of::<maps_lockless_request>();
const STATE: usize = size_of::<maps_lockless_state>();
/// Each call, the number of its kind, and the bytes of what it takes.
const CALLS: [(libc::c_ulong, u32, usize); 3] = [
    (SET_REQUEST, MAPS_LOCKLESS_NR_SET_REQUEST, REQUEST),
    (GET_REQUEST, MAPS_LOCKLESS_NR_GET_REQUEST, REQUEST),
    (GET_STATE, MAPS_LOCKLESS_NR_GET_STATE, STATE),
];
/// How often a state is asked for.
const MANY: u64 = 10_000;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("ioctl: sizes of what it takes", sizes),
        Test::new("ioctl: bad pointers", pointers),
        Test::new("ioctl: numbers, by type and kind alone", numbers),
        Test::new("state: of a process that lives, and then does not", lives),
        Test::new("state: as many VMAs as maps has lines", counts),
        Test::new("state: asked for often, nothing is opened", nothing_opened),
        Test::new("state: says what changed, and what did not", changes),
    ]
}

/// A buffer of more words than a page has.
type Words = [u64; 600];

fn ioctl(file: &Lockless, number: libc::c_ulong, words: &mut Words) -> Option<Errno> {
    errno(file.ioctl(number, words.as_mut_ptr().expose_provenance()))
}

/// What a call takes, if it is of this size.
fn good(size: usize) -> Words {
    let mut words = [0; 600];
    // fields_wanted of a request. Of a state it is an answer, and may hold anything.
    (words[0], words[1]) = (size as u64, ALL.fields_wanted);
    words
}

fn sizes() -> Result<()> {
    let file = Lockless::open(std::process::id())?;
    for (number, kind, full) in CALLS {
        for (size, expected) in [
            (0, Some(Errno::EINVAL)),
            (1, Some(Errno::EINVAL)),
            (8, Some(Errno::EINVAL)),
            (full - 8, Some(Errno::EINVAL)),
            (full - 1, Some(Errno::EINVAL)),
            (full, None),
            (full + 1, None),
            (full + 8, None),
            (PAGE, None),
            (PAGE + 1, Some(Errno::E2BIG)),
            (usize::MAX, Some(Errno::E2BIG)),
        ] {
            let mut words = good(size);
            ensure!(
                ioctl(&file, number, &mut words) == expected,
                "{kind}: {size}"
            );
            let behind = &words[full / 8..];
            ensure!(
                behind.iter().all(|&word| word == 0),
                "{kind}: {size}: written behind"
            );
            match expected {
                // The kernel's own size, for who wants to know.
                Some(Errno::E2BIG) => ensure!(words[0] == full as u64, "{kind}: {size}"),
                Some(_) => ensure!(words == good(size), "{kind}: {size}: filled in"),
                None => ensure!(
                    words[0] == size as u64 && words[2..].iter().any(|&word| word != 0),
                    "{kind}: {size}: no answer"
                ),
            }
        }
        // A struct of a later version: only what is not used of it may be sent to this kernel.
        let mut words = good(full + 8);
        words[full / 8] = 1;
        ensure!(ioctl(&file, number, &mut words) == Some(Errno::E2BIG));
        ensure!(words[0] == full as u64, "{kind}: {}", words[0]);
    }
    Ok(())
}

fn pointers() -> Result<()> {
    let file = Lockless::open(std::process::id())?;
    for (number, kind, _) in CALLS {
        for address in [0, PAGE, usize::MAX & !(PAGE - 1), usize::MAX] {
            let result = file.ioctl(number, address);
            ensure!(errno(result) == Some(Errno::EFAULT), "{kind}: {address:x}");
        }
    }
    // Where the answer cannot be written, nothing has changed.
    let set = file.request(MAPS)?.request;
    static READ_ONLY: maps_lockless_request = ALL;
    let result = file.ioctl(SET_REQUEST, (&raw const READ_ONLY).expose_provenance());
    ensure!(errno(result) == Some(Errno::EFAULT));
    let header = file.batch_at(MIN, 0)?.header()?;
    ensure!(header.fields_wanted == MAPS.fields_wanted && header.request == set);
    Ok(())
}

fn numbers() -> Result<()> {
    let file = Lockless::open(std::process::id())?;
    let number = |direction: u64, size: usize, magic: u8, kind: u32| {
        direction << 30 | (size as u64) << 16 | u64::from(magic) << 8 | u64::from(kind)
    };
    // The size and the direction do not matter.
    for (_, kind, full) in CALLS {
        for direction in 0..4 {
            for size in [0, 8, full, full + 8, 0x3fff] {
                let number = number(direction, size, b'f', kind);
                let mut words = good(full);
                ensure!(ioctl(&file, number, &mut words).is_none(), "{number:#x}");
            }
        }
    }
    for wrong in [
        0,
        u64::from(u32::MAX),
        query::PROCMAP_QUERY,
        number(3, REQUEST, b'f', 17),
        number(3, REQUEST, b'f', MAPS_LOCKLESS_NR_SET_REQUEST + 1),
        number(3, REQUEST, b'f', MAPS_LOCKLESS_NR_GET_REQUEST - 1),
        number(3, STATE, b'f', MAPS_LOCKLESS_NR_GET_STATE + 1),
        number(3, REQUEST, b'g', MAPS_LOCKLESS_NR_SET_REQUEST),
        number(3, STATE, b'g', MAPS_LOCKLESS_NR_GET_STATE),
        libc::TCGETS,
    ] {
        let mut words = good(REQUEST);
        ensure!(
            ioctl(&file, wrong, &mut words) == Some(Errno::ENOTTY),
            "{wrong:#x}"
        );
    }
    Ok(())
}

/// Of a kernel thread and a zombie, the tests of lifetimes say.
fn lives() -> Result<()> {
    let mut target = Target::start("vmas-1000")?;
    let file = Lockless::open(target.pid())?;
    let state = file.state()?;
    ensure!(state.status == MAPS_LOCKLESS_STATUS_LIVE, "{state:?}");
    ensure!(state.page_size as usize == PAGE && state.reserved == 0);
    ensure!(state.mm_id != 0 && state.seq % 2 == 0 && state.vma_count > 1000);
    let header = file.batch_at(MIN, 0)?.header()?;
    ensure!((header.mm_id, header.seq_begin) == (state.mm_id, state.seq));
    ensure!(header.vma_count == state.vma_count);
    target.kill()?;
    target.reap()?;
    let gone = file.state()?;
    ensure!(gone.status == MAPS_LOCKLESS_STATUS_GONE, "{gone:?}");
    ensure!(gone.mm_id == state.mm_id && gone.vma_count == 0, "{gone:?}");
    ensure!(gone.fields_supported == state.fields_supported);
    Ok(())
}

fn counts() -> Result<()> {
    for shape in shapes_in_turn() {
        let target = Target::start(shape)?;
        let maps = fs::read(format!("/proc/{}/maps", target.pid()))?;
        let lines = maps.split(|&byte| byte == b'\n');
        // It is in no maple tree, and so is not counted.
        let counted = |line: &&[u8]| !line.is_empty() && !line.ends_with(b"[vsyscall]");
        let lines = lines.filter(counted).count();
        let file = Lockless::open(target.pid())?;
        let state = file.state()?;
        ensure!(
            state.vma_count as usize == lines,
            "{shape}: {state:?}, {lines}"
        );
        let header = file.batch_at(MIN, 0)?.header()?;
        ensure!(header.vma_count == state.vma_count, "{shape}: {header:?}");
    }
    Ok(())
}

/// The most descriptors that this process may have, for as long as this lives.
struct Descriptors(u64, u64);

impl Descriptors {
    /// None that is not open already.
    fn forbid() -> Result<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, 0, hard)?;
        Ok(Self(soft, hard))
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, self.0, self.1);
    }
}

/// By the raw call and by the library.
fn nothing_opened() -> Result<()> {
    let target = Target::start("plain")?;
    let process = Process::new(target.pid());
    let mut reader = process.open_source(Source::Lockless, &Request::default())?;
    let token = reader.consistent(10, Duration::from_secs(5))?.token;
    let file = Lockless::open(target.pid())?;
    let first = file.state()?;
    let _none = Descriptors::forbid()?;
    ensure!(errno(Lockless::open(target.pid())) == Some(Errno::EMFILE));
    for _ in 0..MANY {
        let state = file.state()?;
        ensure!(format!("{state:?}") == format!("{first:?}"), "{state:?}");
    }
    for _ in 0..MANY {
        let state = reader.state()?;
        ensure!(state.is_some_and(|state| state.status == Status::Live && state.token() == token));
    }
    ensure!(reader.token()? == token);
    Ok(())
}

fn changes() -> Result<()> {
    let mut target = Target::start("grow")?;
    let file = Lockless::open(target.pid())?;
    let before = file.state()?;
    thread::sleep(Duration::from_millis(50));
    let same = file.state()?;
    ensure!(
        (same.mm_id, same.seq) == (before.mm_id, before.seq),
        "{same:?}"
    );
    target.go_on()?;
    // It maps one more.
    for _ in 0..500 {
        let after = file.state()?;
        ensure!(after.mm_id == before.mm_id && after.seq >= before.seq);
        if after.seq % 2 == 0 && after.vma_count > before.vma_count {
            ensure!(after.seq > before.seq, "{after:?}, before {before:?}");
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    anyhow::bail!("it maps nothing, says {:?}", file.state()?)
}
