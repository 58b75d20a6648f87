// SPDX-License-Identifier: MIT OR Apache-2.0

//! How long lsmaps takes beside other programs that list a process's mappings, measured side by side:
//! whole runs, from the start of the process to its end, into /dev/null.
//!
//! `cargo bench -p maps-cli --bench side_by_side` fails where a target is missed.
//!
//! This program runs itself as `SHAPE`, to be the process that is listed, and as `procfs PID`, to be one
//! that reads and parses maps by the crate procfs.

use guest::{child::Target, shapes};
use std::{
    env,
    error::Error,
    fs,
    hint::black_box,
    io::ErrorKind,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Odd, so that there is a median.
const ROUNDS: usize = 15;

/// What is listed. The most that a process may have without being root is 65,530.
const SHAPES: [(&str, &str); 2] = [
    ("10,000 VMAs of files", "file-vmas-10000"),
    ("60,000 VMAs of memory", "vmas-60000"),
];

/// A program that lists.
struct Side {
    name: &'static str,
    /// The PID follows.
    args: &'static [&'static str],
    /// How many times as long as lsmaps it has to take.
    target: Option<f64>,
}

impl Side {
    const fn new(name: &'static str, args: &'static [&'static str], target: Option<f64>) -> Self {
        Self { name, args, target }
    }
}

const LSMAPS: &str = env!("CARGO_BIN_EXE_lsmaps");
const OWN: &str = "procfs";

const SIDES: [Side; 9] = [
    // The first one is what the others are compared with.
    Side::new("lsmaps", &[LSMAPS], None),
    Side::new("lsmaps --format=maps", &[LSMAPS, "--format=maps"], None),
    Side::new("lsmaps --json", &[LSMAPS, "--json"], None),
    Side::new("lsmaps --count", &[LSMAPS, "--count"], None),
    Side::new("lsmaps --exec", &[LSMAPS, "--exec"], None),
    Side::new("procfs: read and parse", &[OWN], Some(1.0)),
    Side::new("cat maps", &["cat"], None),
    Side::new("pmap", &["pmap"], None),
    Side::new("pmap -X", &["pmap", "-X"], Some(3.0)),
];

fn main() -> Result<ExitCode> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [OWN, pid] => {
            let maps = procfs::process::Process::new(pid.parse()?)?.maps()?;
            black_box(maps.0.len());
            Ok(ExitCode::SUCCESS)
        }
        [shape] if shape.contains("vmas-") => {
            shapes::run(shape)?;
            Ok(ExitCode::SUCCESS)
        }
        _ => bench(args.contains(&"--bench")),
    }
}

fn bench(in_earnest: bool) -> Result<ExitCode> {
    let own = env::current_exe()?;
    let mut missed = false;
    for (title, shape) in SHAPES {
        let target = Target::start_program(&own, shape)?;
        let pid = target.pid().to_string();
        check(&pid)?;
        // `cargo test --benches` runs this, too, without optimization.
        let rounds = if in_earnest { ROUNDS } else { 1 };
        let rounds = measure(&own, &pid, rounds)?;
        missed |= show(title, &rounds);
        // The file of the first shape.
        let _ = fs::remove_file(shapes::MANY);
    }
    if missed && in_earnest {
        println!("a target was missed");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// All that the process has is listed.
fn check(pid: &str) -> Result<()> {
    let maps = fs::read(format!("/proc/{pid}/maps"))?;
    let listed = Command::new(LSMAPS).args(["--format=maps", pid]).output()?;
    match listed.stdout == maps {
        true => Ok(()),
        false => Err("lsmaps --format=maps is not maps".into()),
    }
}

/// Seconds that each side took, round by round. None where the program is not there.
type Round = [Option<f64>; SIDES.len()];

/// The sides take turns, so that whatever slows the machine down slows all of them down.
fn measure(own: &PathBuf, pid: &str, rounds: usize) -> Result<Vec<Round>> {
    let maps = format!("/proc/{pid}/maps");
    let mut measured = Vec::new();
    for _ in 0..rounds {
        let mut round = [None; SIDES.len()];
        for (side, seconds) in SIDES.iter().zip(&mut round) {
            let mut command = match side.args[0] {
                OWN => Command::new(own),
                program => Command::new(program),
            };
            let first = usize::from(side.args[0] != OWN);
            let what = if side.args[0] == "cat" { &maps } else { pid };
            command.args(&side.args[first..]).arg(what);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let begin = Instant::now();
            match command.status() {
                Ok(status) if status.success() => *seconds = Some(begin.elapsed().as_secs_f64()),
                Ok(status) => return Err(format!("{command:?}: {status}").into()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(format!("{command:?}: {error}").into()),
            }
        }
        measured.push(round);
    }
    Ok(measured)
}

/// Prints the medians. Returns whether a target is missed.
fn show(title: &str, rounds: &[Round]) -> bool {
    println!(
        "{title:<24} {:>8} {:>16} {:>8}",
        "ms", "times lsmaps", "target"
    );
    let mut missed = false;
    for (i, side) in SIDES.iter().enumerate() {
        let ratios = rounds.iter().map(|round| Some(round[i]? / round[0]?));
        let medians = median(rounds.iter().map(|round| round[i])).zip(median(ratios));
        let Some((seconds, ratio)) = medians else {
            println!("{:<24} is not installed: skipped", side.name);
            continue;
        };
        let target = side.target.map(|target| format!("{target:.1}"));
        println!(
            "{:<24} {:>8.1} {ratio:>16.2} {:>8}",
            side.name,
            seconds * 1e3,
            target.unwrap_or_default()
        );
        missed |= side.target.is_some_and(|target| ratio < target);
    }
    println!();
    missed
}

fn median(numbers: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let mut numbers = numbers.collect::<Option<Vec<f64>>>()?;
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}
