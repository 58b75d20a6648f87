// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is written, in every format, and what the last line says.

use super::{MapsLine, Test, good, good_text, lsmaps, maps};
use crate::{
    child::Target,
    tests::{same_as_maps, shapes_at_rest},
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs;

pub(super) fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = shapes_at_rest()
        .map(|shape| {
            Test::new(
                format!("lsmaps: --format=maps is maps: {shape}"),
                move || {
                    let target = Target::start(shape)?;
                    same(&target, same_as_maps::thread_of(&target, shape)?)
                },
            )
        })
        .collect();
    tests.extend([
        Test::new("lsmaps: --format=maps is maps: dynamic program", || {
            same(
                &Target::start_program("/bin/target-dynamic", "plain")?,
                None,
            )
        }),
        Test::new("lsmaps: --json has the types that are documented", json),
        Test::new("lsmaps: --format=jsonl", json_lines),
        Test::new("lsmaps: --json tells what failed", json_error),
        Test::new("lsmaps: --tree, --summary, --count", totals),
        Test::new("lsmaps: the last line tells the source", sources),
        Test::new("lsmaps: the last line tells tearing", tearing),
    ]);
    tests
}

fn same(target: &Target, tid: Option<u32>) -> Result<()> {
    let pid = target.pid();
    let (path, tid) = match tid {
        None => (format!("/proc/{pid}/maps"), Vec::new()),
        Some(tid) => (
            format!("/proc/{pid}/task/{tid}/maps"),
            vec!["--tid".to_owned(), tid.to_string()],
        ),
    };
    let maps = fs::read(&path)?;
    ensure!(!maps.is_empty());
    // PROCMAP_QUERY does not know [vsyscall].
    for source in ["lockless", "maps"] {
        let pid = pid.to_string();
        let mut args = vec!["--format=maps", "--source", source, &pid];
        args.extend(tid.iter().map(|word| &word[..]));
        ensure!(good(&args)? == maps, "{source}");
    }
    Ok(())
}

/// Whether a value is of a type, or null where the type ends with `?`.
fn is(value: &Value, kind: &str) -> bool {
    match kind.strip_suffix('?') {
        Some(kind) => value.is_null() || is(value, kind),
        None => match kind {
            "number" => value.is_u64(),
            "string" => value.is_string(),
            "bool" => value.is_boolean(),
            "strings" => value
                .as_array()
                .is_some_and(|words| words.iter().all(Value::is_string)),
            _ => false,
        },
    }
}

/// The keys of a mapping, and their types.
const TYPES: [(&str, &str); 20] = [
    ("pid", "number"),
    ("tid", "number?"),
    ("command", "string"),
    ("start", "number"),
    ("end", "number"),
    ("size", "number"),
    ("perms", "string"),
    ("offset", "number?"),
    ("device", "string?"),
    ("inode", "number?"),
    ("kind", "string?"),
    ("flags", "strings"),
    ("build_id", "string?"),
    ("deleted", "bool?"),
    ("page_size", "number?"),
    ("pkey", "number?"),
    ("marks", "strings"),
    ("address", "number?"),
    ("file_offset", "number?"),
    ("name", "string?"),
];

/// A mapping is what maps shows of it.
fn is_line(mapping: &Value, line: &MapsLine) -> Result<()> {
    let agree = mapping["start"] == line.start
        && mapping["end"] == line.end
        && mapping["size"] == line.end - line.start
        && mapping["perms"] == line.perms[..]
        && mapping["offset"].as_u64() == line.is_file().then_some(line.offset)
        && mapping["name"].as_str().unwrap_or_default() == line.name;
    ensure!(agree, "{mapping} is not {}", line.line);
    Ok(())
}

fn json() -> Result<()> {
    for shape in ["anon-name", "deleted-file", "file-vmas-1000", "build-ids"] {
        let target = Target::start(shape)?;
        let (pid, lines) = (target.pid().to_string(), maps(target.pid())?);
        for args in [&["-J", &pid[..]][..], &["--output-all", "-J", &pid]] {
            let document: Value = serde_json::from_slice(&good(args)?)?;
            ensure!(document["schema"] == 1);
            let processes = document["processes"].as_array().context("no processes")?;
            let [process] = &processes[..] else {
                bail!("{} processes", processes.len())
            };
            ensure!(process["pid"] == target.pid() && process["tid"].is_null());
            ensure!(process["command"] == "target", "{}", process["command"]);
            ensure!(process["source"] == "lockless" && process["error"].is_null());
            ensure!(process["completeness"] == "complete");
            ensure!(process["judgement"] == "consistent");
            ensure!(process["count"] == lines.len() && process["marked"] == 0);
            let mappings = process["mappings"].as_array().context("no mappings")?;
            ensure!(mappings.len() == lines.len());
            for (mapping, line) in mappings.iter().zip(&lines) {
                is_line(mapping, line)?;
                let object = mapping.as_object().context("no object")?;
                for (key, value) in object {
                    let known = TYPES.iter().find(|(known, _)| key == known);
                    let (_, kind) = known.with_context(|| format!("unknown key {key}"))?;
                    ensure!(is(value, kind), "{key}: {value} is no {kind}");
                }
                ensure!(args.len() == 2 || object.len() == TYPES.len(), "{mapping}");
            }
        }
    }
    // What is not text is told as documented.
    let target = Target::start("name-not-utf8")?;
    let text = good_text(&["-J", &target.pid().to_string()])?;
    let document: Value = serde_json::from_str(&text)?;
    let names = document["processes"][0]["mappings"]
        .as_array()
        .context("no mappings")?;
    let odd = |mapping: &Value| mapping["name"] == "/tmp/odd/\\xff\\xfe-\\x80";
    ensure!(names.iter().any(odd), "{text}");
    Ok(())
}

fn json_lines() -> Result<()> {
    let (one, two) = (Target::start("vmas-1000")?, Target::start("plain")?);
    let pids = [one.pid().to_string(), two.pid().to_string()];
    let text = good_text(&["--format=jsonl", &pids[0], &pids[1]])?;
    let objects = text.lines().map(serde_json::from_str);
    let objects: Vec<Value> = objects.collect::<Result<_, _>>()?;
    let mut rest = objects.iter();
    let head = rest.next().context("empty")?;
    ensure!(head["type"] == "head" && head["schema"] == 1, "{head}");
    for target in [&one, &two] {
        let lines = maps(target.pid())?;
        for line in &lines {
            let mapping = rest.next().context("too few")?;
            ensure!(mapping["type"] == "mapping" && mapping["pid"] == target.pid());
            is_line(mapping, line)?;
        }
        let end = rest.next().context("no end")?;
        ensure!(end["type"] == "end" && end["pid"] == target.pid(), "{end}");
        ensure!(
            end["count"] == lines.len() && end["judgement"] == "consistent",
            "{end}"
        );
    }
    ensure!(rest.next().is_none());
    Ok(())
}

fn json_error() -> Result<()> {
    let target = Target::start("plain")?;
    let ran = lsmaps(&["-J", "999999", &target.pid().to_string()])?;
    let ran = ran.expect(42, "lsmaps: 999999: ")?;
    let document: Value = serde_json::from_slice(&ran.stdout)?;
    let (bad, good) = (&document["processes"][0], &document["processes"][1]);
    let error = bad["error"].as_str().unwrap_or_default();
    ensure!(bad["pid"] == 999_999 && error.contains("ENOENT"), "{bad}");
    ensure!(bad["count"].is_null() && bad["mappings"].as_array().is_some_and(Vec::is_empty));
    ensure!(good["pid"] == target.pid() && good["error"].is_null());
    Ok(())
}

fn totals() -> Result<()> {
    let target = Target::start("protections")?;
    let pid = &target.pid().to_string()[..];
    let lines = maps(target.pid())?;
    ensure!(good_text(&["--count", pid])? == format!("{}\n", lines.len()));
    let executable = lines.iter().filter(|line| line.perms.contains('x')).count();
    ensure!(good_text(&["--count", "-x", pid])? == format!("{executable}\n"));
    let two = good_text(&["--count", pid, "1"])?;
    ensure!(
        two.starts_with(&format!("{pid} target: {}\n1 init: ", lines.len())),
        "{two}"
    );

    let summary = good_text(&["--summary", pid])?;
    let (mut sum, mut both) = (0, 0);
    for row in summary.lines() {
        let words: Vec<&str> = row.split_whitespace().collect();
        match words[..] {
            ["w+x", count, ..] => both = count.parse()?,
            [_, count, size, _, ..] if size.ends_with(['K', 'M', 'G', 'T']) => {
                sum += count.parse().unwrap_or(0);
            }
            _ => {}
        }
    }
    let is_both = |line: &&MapsLine| line.perms[1..].starts_with("wx");
    ensure!(
        sum == lines.len() && both == lines.iter().filter(is_both).count(),
        "{summary}"
    );
    ensure!(
        both == 4 && summary.contains("! writable and executable"),
        "{summary}"
    );

    let target = Target::start("file-vmas-1000")?;
    let pid = &target.pid().to_string()[..];
    let tree = good_text(&["--tree", pid])?;
    let group = tree.lines().position(|line| line == "├─ /tmp/many  3.9M");
    let below = tree.lines().skip(group.with_context(|| tree.clone())? + 1);
    let below = below.take_while(|line| line.starts_with("│  ")).count();
    ensure!(below == 1_000, "{below}");
    let leaves = tree
        .lines()
        .filter(|line| line.starts_with(['│', ' ']))
        .count();
    ensure!(leaves == maps(target.pid())?.len(), "{leaves}");
    Ok(())
}

fn sources() -> Result<()> {
    let target = Target::start("plain")?;
    let pid = &target.pid().to_string()[..];
    let count = maps(target.pid())?.len();
    let not_told = "may be torn, the source does not tell";
    for (args, source, judgement) in [
        (&[pid][..], "maps_lockless", "consistent"),
        (&["--source=auto", pid], "maps_lockless", "consistent"),
        (
            &["--source=lockless", "--consistent", pid],
            "maps_lockless",
            "consistent",
        ),
        (&["--source=query", pid], "PROCMAP_QUERY", not_told),
        (&["--source=maps", pid], "maps", not_told),
    ] {
        let text = good_text(args)?;
        let last = text.lines().last().context("empty")?;
        // It does not know [vsyscall].
        let count = count - usize::from(source == "PROCMAP_QUERY");
        ensure!(last.starts_with(&format!("# {count} mappings, ")), "{last}");
        ensure!(
            last.ends_with(&format!(", from {source}, {judgement}")),
            "{last}"
        );
    }
    Ok(())
}

fn tearing() -> Result<()> {
    let target = Target::start("churn")?;
    let pid = &target.pid().to_string()[..];
    for _ in 0..20 {
        let text = good_text(&[pid])?;
        let last = text.lines().last().context("empty")?;
        let Some((_, marked)) = last.split_once("changed while it was read: may be torn, ") else {
            continue;
        };
        let marked: usize = marked.trim_end_matches(" marked").parse()?;
        // A row of a range of which nothing is known is no marked mapping.
        let notes = text
            .lines()
            .filter(|line| line.contains("  # ") && !line.ends_with("# unknown"))
            .count();
        ensure!(marked == notes, "{marked} are marked, and {notes} say so");
        let document: Value = serde_json::from_str(&good_text(&["-J", "--consistent=2", pid])?)?;
        let judgement = &document["processes"][0]["judgement"];
        ensure!(
            judgement == "possibly_torn" || judgement == "consistent",
            "{judgement}"
        );
        return Ok(());
    }
    bail!("a process that maps and unmaps all the time is always consistent")
}
