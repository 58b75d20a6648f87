// SPDX-License-Identifier: MIT OR Apache-2.0

//! The library's three sources say the same of a process that rests, and of one that does not, what
//! docs/tearing.md allows.

use super::{Test, shapes_in_turn, snapshot};
use crate::{
    child::Target,
    shapes::{ARENA_PAGES, PAGE},
};
use anyhow::{Context, Result, ensure};
use maps_lockless::{
    BuildId, Error, Event, Judgement, Mapping, Monitor, MonitorOptions, Name, Process, Request,
    Selection, Source,
    wire::{MAPS_LOCKLESS_VMA_LOCKED, MAPS_LOCKLESS_VMA_WRITE},
};
use std::time::{Duration, Instant};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("sources: agree on processes that rest", agree),
        Test::new(
            "sources: agree on build IDs and selections",
            agree_on_requests,
        ),
        Test::new("sources: differ under churn as tearing.md allows", churn),
        Test::new(
            "library: token, lookup, consistent snapshots, exit and exec",
            live,
        ),
        Test::new("library: a monitor of many processes", monitor),
    ]
}

/// What is left of a mapping where a source knows less of it.
fn as_known(mapping: &Mapping, source: Source) -> Mapping {
    use maps_lockless::wire::{
        MAPS_LOCKLESS_VMA_EXEC, MAPS_LOCKLESS_VMA_FILE, MAPS_LOCKLESS_VMA_READ,
        MAPS_LOCKLESS_VMA_SHARED,
    };
    let mut mapping = mapping.clone();
    let known = MAPS_LOCKLESS_VMA_READ
        | MAPS_LOCKLESS_VMA_WRITE
        | MAPS_LOCKLESS_VMA_EXEC
        | MAPS_LOCKLESS_VMA_SHARED
        | MAPS_LOCKLESS_VMA_FILE;
    mapping.flags.known = known;
    mapping.flags.set &= known;
    mapping.deleted = None;
    if let Name::Path { path, marked } = &mut mapping.name {
        // A path that ends in the mark may be that of a live file.
        if let Some(bare) = path.strip_suffix(b" (deleted)").filter(|_| !*marked) {
            *path = bare.to_vec();
            *marked = true;
        }
        if source == Source::Maps {
            *path = path.escape_newlines();
        }
        mapping.deleted = (!*marked).then_some(false);
    }
    if source == Source::Maps || !matches!(mapping.build_id, BuildId::Present(_)) {
        mapping.build_id = BuildId::Unknown;
    }
    if source == Source::Maps {
        mapping.page_size = None;
    }
    mapping.pkey = None;
    mapping
}

trait EscapeNewlines {
    fn escape_newlines(&self) -> Vec<u8>;
}

impl EscapeNewlines for Vec<u8> {
    fn escape_newlines(&self) -> Vec<u8> {
        self.iter()
            .flat_map(|&byte| match byte {
                b'\n' => b"\\012".to_vec(),
                _ => vec![byte],
            })
            .collect()
    }
}

fn same(process: &Process, source: Source, request: &Request) -> Result<usize> {
    let read = |source| process.open_source(source, request)?.snapshot();
    let lockless = read(Source::Lockless)?;
    ensure!(lockless.judgement == Judgement::Consistent);
    let other = read(source)?;
    ensure!(other.source == source && other.judgement == Judgement::Unknown);
    let mut expected = lockless.mappings.iter();
    for theirs in &other.mappings {
        let ours = expected.next().context("the other source has more")?;
        let ours = as_known(ours, source);
        ensure!(
            ours == *theirs,
            "{source}: {theirs:?}\nmaps_lockless: {ours:?}"
        );
    }
    // PROCMAP_QUERY does not know of vsyscall, which is no VMA.
    let rest: Vec<_> = expected
        .filter(|m| source != Source::Query || m.start < 1 << 63)
        .collect();
    ensure!(rest.is_empty(), "{source} lacks {rest:?}");
    Ok(other.mappings.len())
}

fn agree() -> Result<()> {
    for shape in shapes_in_turn() {
        let target = Target::start(shape)?;
        let process = Process::new(target.pid());
        for source in [Source::Query, Source::Maps] {
            let count = same(&process, source, &Request::default()).context(shape)?;
            ensure!(count > 5, "{shape}");
        }
    }
    Ok(())
}

fn agree_on_requests() -> Result<()> {
    // Not the shape build-ids: PROCMAP_QUERY parses its endless notes to their end.
    let target = Target::start_program("/bin/target-dynamic", "plain")?;
    let process = Process::new(target.pid());
    let code = same(&process, Source::Query, &Request::CODE)?;
    let all = snapshot(&process, Source::Lockless)?.mappings.len();
    ensure!(0 < code && code < all);
    let locked = Request {
        selection: Selection {
            any: MAPS_LOCKLESS_VMA_LOCKED,
            ..Selection::default()
        },
        ..Request::default()
    };
    // Only maps_lockless knows that flag.
    ensure!(process.open(&locked)?.source() == Source::Lockless);
    for source in [Source::Query, Source::Maps] {
        let refused = process.open_source(source, &locked).err();
        ensure!(refused.is_some_and(|error| error.is_unsupported()));
    }
    Ok(())
}

fn churn() -> Result<()> {
    let target = Target::start("churn")?;
    let process = Process::new(target.pid());
    let arena = u64::from_str_radix(&target.said, 16).context("where the arena is")?;
    // With the pages on either side, which are merged with what is mapped beside them.
    let arena = arena - PAGE as u64..arena + ((ARENA_PAGES + 1) * PAGE) as u64;
    let within =
        |mapping: &&Mapping| arena.contains(&mapping.start) || arena.contains(&(mapping.end - 1));
    let begin = Instant::now();
    let (mut rounds, mut torn) = (0, 0);
    while begin.elapsed() < Duration::from_secs(5) {
        let mut outside = Vec::new();
        for source in [Source::Lockless, Source::Query, Source::Maps] {
            let read = snapshot(&process, source)?;
            ensure!(source == Source::Lockless || read.judgement == Judgement::Unknown);
            if source == Source::Lockless {
                let mut pairs = read.mappings.windows(2);
                ensure!(
                    pairs.all(|pair| pair[0].end <= pair[1].start),
                    "they overlap"
                );
                let marked = read
                    .mappings
                    .iter()
                    .filter(|mapping| mapping.marks.is_torn());
                for mapping in marked {
                    ensure!(read.judgement == Judgement::PossiblyTorn);
                    ensure!(read.is_torn_at(mapping.start) && read.is_torn_at(mapping.end - 1));
                }
                torn += u32::from(read.judgement == Judgement::PossiblyTorn);
            }
            // What nobody changes is the same to all.
            let rest = read
                .mappings
                .iter()
                .filter(|mapping| !within(mapping) && mapping.start < 1 << 63);
            outside.push(
                rest.map(|mapping| (mapping.start, mapping.end, mapping.permissions()))
                    .collect::<Vec<_>>(),
            );
        }
        ensure!(outside[0] == outside[1] && outside[1] == outside[2]);
        rounds += 1;
    }
    println!("# {rounds} rounds, {torn} of them torn");
    ensure!(torn > 0, "the process rested");
    Ok(())
}

fn live() -> Result<()> {
    let mut target = Target::start("exec")?;
    let process = Process::new(target.pid());
    let mut reader = process.open_source(Source::Lockless, &Request::default())?;
    let first = reader.consistent(10, Duration::from_secs(5))?;
    let token = first.token.context("a process that rests")?;
    ensure!(reader.token()? == Some(token) && !reader.changed_since(&token)?);

    let lookup = process.lookup(&Request::CODE)?;
    ensure!(lookup.source() == Source::Lockless);
    for mapping in &first.mappings {
        let found = lookup.find(mapping.end - 1)?;
        let code = mapping.inode.is_some() && mapping.permissions().is_some_and(|p| p.execute);
        ensure!(found.is_some() == code);
        ensure!(found.is_none_or(|found| matches!(found.build_id, BuildId::Present(_))));
    }
    let below = lookup.find_from(0)?.context("no code")?;
    ensure!(first.find(below.start).is_some());

    target.go_on()?;
    // Between the two calls, it may be executed.
    let rests = || match process.open(&Request::default())?.token() {
        Err(error) if error.is_exited() => Ok(false),
        now => Ok::<_, Error>(now? == Some(token)),
    };
    while rests()? || !reader.token().is_err_and(|error| error.is_exited()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let gone = |error: Error| error.is_exited();
    ensure!(reader.changed_since(&token).is_err_and(gone));
    ensure!(lookup.find(below.start).is_err_and(gone));
    let cut = reader.snapshot()?;
    ensure!(cut.completeness == maps_lockless::Completeness::Gone && cut.mappings.is_empty());
    ensure!(cut.judgement == Judgement::PossiblyTorn && cut.token.is_none());

    let pinned = Process::pinned(target.pid())?;
    // The new program may be mapping still.
    let mut reader = pinned.open(&Request::default())?;
    let new = reader.consistent(u32::MAX, Duration::from_secs(10))?;
    ensure!(new.token.is_some_and(|new| new.mm_id != token.mm_id));
    target.kill()?;
    target.reap()?;
    ensure!(
        pinned
            .snapshot()
            .is_err_and(|error| error.is_exited() || error.is_not_found())
    );
    Ok(())
}

fn monitor() -> Result<()> {
    let mut rests = Target::start("plain")?;
    let mut execs = Target::start("exec")?;
    let churns = Target::start("churn")?;
    let mut monitor = Monitor::new(MonitorOptions {
        lockless_only: true,
        ..MonitorOptions::default()
    });
    for target in [&rests, &execs, &churns] {
        monitor.add(target.pid(), Process::pinned(target.pid())?)?;
    }
    let all_new = |events: Vec<(u32, Event)>| {
        let new = |(_, event): &(u32, Event)| matches!(event, Event::New(_));
        events.len() == 3 && events.iter().all(new)
    };
    ensure!(all_new(monitor.poll()));
    let first = monitor.snapshot(&rests.pid()).context("not followed")?;
    ensure!(first.source == Source::Lockless && first.is_consistent());

    // What rests is not even read, what does not is.
    let mut changes = 0;
    for _ in 0..50 {
        for (pid, event) in monitor.poll() {
            ensure!(pid == churns.pid(), "{event:?} of a process that rests");
            ensure!(matches!(event, Event::Changed { .. }), "{event:?}");
            changes += 1;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    ensure!(changes > 10, "{changes} changes");
    ensure!(monitor.remove(&churns.pid()));

    execs.go_on()?;
    let mut replaced = Vec::new();
    while replaced.is_empty() {
        for (pid, event) in monitor.poll() {
            ensure!(pid == execs.pid(), "{event:?}");
            if let Event::Replaced { before, after } = event {
                replaced.push((before, after));
            }
        }
    }
    let (before, after) = &replaced[0];
    ensure!(before.diff(after).len() > 1, "the same addresses");

    rests.kill()?;
    rests.reap()?;
    let exited = monitor
        .poll()
        .into_iter()
        .filter(|(pid, _)| *pid == rests.pid());
    let exited: Vec<_> = exited.map(|(_, event)| event).collect();
    ensure!(matches!(exited[..], [Event::Exited]), "{exited:?}");
    ensure!(monitor.len() == 1 && !monitor.contains(&rests.pid()));
    Ok(())
}
