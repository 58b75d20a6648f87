// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is checked on this machine, without a VM.

use crate::{
    decoders, exec, faults, header,
    herd::Herd,
    host,
    ktap::Count,
    mails, msrv, paths, series, source,
    times::Times,
    wire_source::{self, Constant, Item},
};
use anyhow::{Context, Result, anyhow, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

/// A check: its name, and what does it.
type Check = (&'static str, fn(Option<&Path>) -> Result<()>);

const CHECKS: [Check; 10] = [
    ("cargo fmt", |_| cargo(&["fmt", "--all", "--check"])),
    ("cargo clippy", |_| {
        cargo(&[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "-Dwarnings",
        ])
    }),
    ("rustfmt on the kernel's files", rustfmt_kernel),
    ("the uapi header is the one that wire.rs makes", |_| {
        header::check()
    }),
    ("docs/abi.md describes wire.rs", |_| abi_document()),
    ("a decoder written from docs/abi.md alone agrees", |_| {
        decoders::agree(&paths::root().join("crates/maps-lockless/tests/data"))
    }),
    ("checkpatch.pl on the exported series", checkpatch),
    (
        "the exported series applies with git am, and ends with kernel/tree",
        git_am,
    ),
    ("each deliberate fault applies", faults::check),
    (
        "the checker of litmus tests agrees with the kernel's own",
        kernel_litmus,
    ),
];

/// The library's fuzz targets. They run beside all else, one after the other.
const FUZZERS: [(&str, &str); 3] = [
    ("fuzzing the decoder for a minute", "decoder"),
    ("fuzzing the parser of maps for a minute", "text"),
    ("fuzzing captures for a minute", "capture"),
];

/// What the workspace's tests are run with.
const TESTS: [&[&str]; 3] = [
    &["--workspace"],
    &["--package", "maps-lockless", "--all-features"],
    &["--package", "maps-lockless", "--no-default-features"],
];

/// What the oldest compiler's tests are run with.
const MSRV_TESTS: [&[&str]; 2] = [
    &[
        "--package",
        "maps-lockless",
        "--package",
        "maps-cli",
        "--all-features",
    ],
    &["--package", "maps-lockless", "--no-default-features"],
];

/// Runs all checks and the tests of the workspace.
pub fn all(linux: Option<&Path>, times: &mut Times) -> Result<Count> {
    host::prepare()?;
    thread::scope(|scope| {
        let fuzzers = scope.spawn(|| {
            FUZZERS.map(|(name, target)| {
                let begin = Instant::now();
                (name, fuzz(target), begin.elapsed())
            })
        });
        let mut count = checks_and_tests(linux, times)?;
        let fuzzed = fuzzers.join().map_err(|_| anyhow!("a fuzzer's thread"))?;
        for (name, result, took) in fuzzed {
            times.add_if_long(name, took);
            count.add(report(name, result.map(|told| println!("# {told}"))));
        }
        Ok(count)
    })
}

fn checks_and_tests(linux: Option<&Path>, times: &mut Times) -> Result<Count> {
    let mut count = Count::default();
    let mut timed = |name: &str, part: &dyn Fn() -> Result<Count>| {
        let begin = Instant::now();
        let result = part();
        times.add_if_long(name, begin.elapsed());
        result.map(|part| count.add(part))
    };
    for (name, check) in CHECKS {
        timed(name, &|| Ok(report(name, check(linux))))?;
    }
    timed("herd7", &|| litmus_by_herd(linux))?;
    for options in TESTS {
        timed(&format!("cargo test {}", options.join(" ")), &|| {
            cargo_test(exec::patient("cargo").arg("test").args(options))
        })?;
    }
    let oldest = format!("Rust {}", msrv::VERSION);
    timed(&oldest, &|| {
        Ok(oldest_rust().unwrap_or_else(|error| report(&oldest, Err(error))))
    })?;
    Ok(count)
}

/// Tells what came of a check, which counts as a test.
fn report(name: &str, result: Result<()>) -> Count {
    println!("{} {name}", if result.is_ok() { "ok" } else { "not ok" });
    if let Err(error) = &result {
        println!("{error:#}");
    }
    Count::one(result.is_ok())
}

/// Runs a patient cargo: the fuzzer beside it has a minute, and is to have a CPU of its own in it.
fn cargo(args: &[&str]) -> Result<()> {
    exec::run(exec::patient("cargo").args(args).current_dir(paths::root()))
}

/// Fuzzes one of the library's targets. Tells how much was done in the minute.
fn fuzz(target: &str) -> Result<String> {
    let run = paths::root().join("crates/maps-lockless/fuzz/run");
    let log = paths::work("logs")?.join(format!("fuzz-{target}.log"));
    exec::run_logged(Command::new(run).args([target, "60"]), &log)?;
    let text = fs::read(&log).with_context(|| log.display().to_string())?;
    let text = String::from_utf8_lossy(&text);
    let executions = text
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .with_context(|| format!("{} tells no number of executions", log.display()))?;
    Ok(format!("{target}: {} executions", executions.trim()))
}

/// Runs the library's and the tool's tests with the oldest compiler that is promised to do, and sees
/// whether it takes all the rest.
fn oldest_rust() -> Result<Count> {
    let what = format!("Rust {}", msrv::VERSION);
    let Some(rust) = msrv::rust()? else {
        println!("ok {what} # SKIP apt offers no such compiler");
        return Ok(Count {
            skipped: 1,
            ..Count::default()
        });
    };
    println!("with {what}:");
    let mut count = Count::default();
    let all = [
        "check",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--all-features",
    ];
    let checked = exec::run(rust.cargo()?.args(all));
    println!(
        "{} {what} compiles everything",
        if checked.is_ok() { "ok" } else { "not ok" }
    );
    count.add(Count::one(checked.is_ok()));
    for options in MSRV_TESTS {
        count.add(cargo_test(rust.cargo()?.arg("test").args(options))?);
    }
    Ok(count)
}

/// Runs tests. A binary that does not even build counts as one failure.
fn cargo_test(cargo: &mut Command) -> Result<Count> {
    let output = cargo
        .args(["--quiet", "--no-fail-fast"])
        .current_dir(paths::root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo test")?;
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    let mut count = Count::default();
    for line in text
        .lines()
        .filter(|line| line.starts_with("test result: "))
    {
        let number = |what: &str| {
            let (before, _) = line.split_once(what)?;
            before.split_whitespace().last()?.parse().ok()
        };
        count.add(Count {
            passed: number(" passed").unwrap_or(0),
            failed: number(" failed").unwrap_or(1),
            skipped: number(" ignored").unwrap_or(0),
        });
    }
    if !output.status.success() && count.failed == 0 {
        count.failed = 1;
    }
    Ok(count)
}

fn rustfmt_kernel(linux: Option<&Path>) -> Result<()> {
    let style = source::unpacked(linux)?.join(".rustfmt.toml");
    let files = series::new_files()?;
    exec::run(
        Command::new("rustfmt")
            .args(["--check", "--edition", "2021", "--config-path"])
            .arg(style)
            .args(
                files
                    .iter()
                    .filter(|file| file.extension().is_some_and(|e| e == "rs")),
            ),
    )
}

/// How many of them have what the checker does not take: plain accesses, or `spin_is_locked()`.
const BEYOND_THE_CHECKER: &str = "3";

/// Runs the litmus tests that the memory model's makers have documented the results of.
fn kernel_litmus(linux: Option<&Path>) -> Result<()> {
    let tests = litmus_files(&source::unpacked(linux)?.join("tools/memory-model/litmus-tests"))?;
    let mut litmus = exec::patient("cargo");
    litmus.args(["run", "--quiet", "--package", "litmus", "--"]);
    litmus.args(["--may-skip", BEYOND_THE_CHECKER]);
    let log = paths::work("logs")?.join("litmus.log");
    exec::run_logged(litmus.args(tests).current_dir(paths::root()), &log)
}

fn litmus_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "litmus")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Runs the project's own litmus tests by herd7, unless that cannot be had.
fn litmus_by_herd(linux: Option<&Path>) -> Result<Count> {
    let herd = match Herd::get() {
        Ok(herd) => herd,
        Err(error) => {
            println!("ok herd7 # SKIP it cannot be had: {error:#}");
            return Ok(Count {
                skipped: 1,
                ..Count::default()
            });
        }
    };
    let linux = source::unpacked(linux)?;
    let mut count = Count::default();
    for file in litmus_files(&paths::root().join("docs/litmus"))? {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let expected = text
            .lines()
            .find_map(|line| line.split_once("Result: "))
            .map(|(_, result)| result.trim());
        let observed = herd.observe(&linux, &file);
        let right = observed.as_deref().is_ok_and(|seen| Some(seen) == expected);
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        println!("{} herd7: {name}", if right { "ok" } else { "not ok" });
        if !right {
            println!("{observed:?}, expected {expected:?}");
        }
        count.add(Count::one(right));
    }
    Ok(count)
}

fn checkpatch(linux: Option<&Path>) -> Result<()> {
    let tree = source::unpacked(linux)?;
    let mails = mails::export(&tree, &paths::work("series")?)?;
    let output = Command::new("perl")
        .arg(tree.join("scripts/checkpatch.pl"))
        // New files are listed in MAINTAINERS once, by the mail that asks for it.
        .args([
            "--no-tree",
            "--no-summary",
            "--terse",
            "--ignore",
            "FILE_PATH_CHANGES",
        ])
        .arg("--root")
        .arg(&tree)
        .args(&mails)
        .stdin(Stdio::null())
        .output()
        .context("checkpatch.pl")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("WARNING:") || text.contains("ERROR:") {
        bail!("{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn git_am(linux: Option<&Path>) -> Result<()> {
    let mails = mails::export(&source::unpacked(linux)?, &paths::work("series")?)?;
    mails::reapply(&mails)
}

/// The format's names, offsets and values, as wire.rs has them, must all stand in docs/abi.md, in
/// tables. A change of one without the other fails.
fn abi_document() -> Result<()> {
    let document = paths::root().join("docs/abi.md");
    let text = fs::read_to_string(&document).with_context(|| document.display().to_string())?;
    let rows = rows(&wire_source::read()?);
    let extra: Vec<&str> = text
        .lines()
        .filter(|line| is_row(line) && !rows.iter().any(|row| line.starts_with(row.as_str())))
        .collect();
    if !extra.is_empty() {
        bail!(
            "{} has rows that wire.rs has not:\n{}",
            document.display(),
            extra.join("\n")
        );
    }
    let missing: Vec<String> = rows
        .into_iter()
        .filter(|row| !text.lines().any(|line| line.starts_with(row.as_str())))
        .collect();
    if !missing.is_empty() {
        bail!(
            "{} lacks these rows, or has others in their place:\n{}",
            document.display(),
            missing.join("\n")
        );
    }
    Ok(())
}

/// Whether a line of the document is a row for a constant or a field.
fn is_row(line: &str) -> bool {
    let mut cells = line.split(" | ");
    let first = cells.next().unwrap_or_default();
    (first.starts_with("| `MAPS_LOCKLESS_") && first.ends_with('`'))
        || cells
            .next()
            .is_some_and(|kind| kind.starts_with('u') && kind[1..].parse::<u8>().is_ok())
}

/// The beginnings of the tables' rows that describe the format.
fn rows(items: &[Item]) -> Vec<String> {
    items
        .iter()
        .flat_map(|item| match item {
            Item::Constant(Constant { name, value, .. }) => vec![format!("| `{name}` | {value} |")],
            Item::Struct(item) => item
                .fields
                .iter()
                .map(|field| format!("| {} | {} | `{}` |", field.offset, field.kind, field.name))
                .collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::rows;
    use crate::wire_source::parse;

    #[test]
    fn constants_and_fields_become_rows() {
        let source = "pub const A: u64 = 0x1_0000;\n\
                      pub struct s {\n    pub r#type: u16,\n    pub b: u32,\n}\n";
        let expected = [
            "| `A` | 0x10000 |",
            "| 0 | u16 | `type` |",
            "| 2 | u32 | `b` |",
        ];
        assert_eq!(rows(&parse(source).unwrap()), expected);
    }
}
