// SPDX-License-Identifier: MIT OR Apache-2.0

//! The command line. Of this, the tests make the manual page and the completions.

use clap::{ArgAction, ArgGroup, Parser, ValueEnum, ValueHint};
use std::{num::NonZeroU32, ops::Range, path::PathBuf, str::FromStr, time::Duration};

const PROCESSES: &str = "Which processes";
const MAPPINGS: &str = "Which mappings (all that are given must hold)";
const OUTPUT: &str = "Output";
const TIME: &str = "Over time";
const TRUTH: &str = "Tearing";

/// List the memory mappings of Linux processes.
///
/// They are read from /proc/PID/maps_lockless, which takes no lock of the process, where the kernel has
/// that file, and from /proc/PID/maps elsewhere. The last line says which, and whether the listing is of
/// one moment.
#[derive(Debug, Parser)]
#[command(
    name = "lsmaps",
    version,
    long_version = concat!(
        env!("CARGO_PKG_VERSION"),
        "\nreads maps_lockless ABI version 1, captures versions 1 and 2; writes captures version 2, JSON schema version 1"
    ),
    disable_help_flag = true,
    override_usage = "lsmaps [OPTIONS] PID...\n       lsmaps [OPTIONS] --comm NAME | --all | --from-file FILE",
    after_help = "Exit status: 0 all listed, 1 wrong usage, 2 none listed, 42 some not listed.",
    group = ArgGroup::new("view").args(["tree", "summary", "count", "watch", "diff", "record"])
        .conflicts_with_all(["output", "output_all", "format", "raw", "json"]),
    group = ArgGroup::new("live").args(["all", "comm", "tid"]).multiple(true).conflicts_with_all(["from_file", "diff"]),
)]
pub struct Options {
    /// IDs of processes, or self.
    #[arg(value_name = "PID", required_unless_present_any = ["all", "comm", "from_file", "diff", "list_columns", "short_help"])]
    pub pids: Vec<Pid>,
    /// Processes of this name, which may hold *, ? and [].
    #[arg(short, long, value_name = "NAME", help_heading = PROCESSES)]
    pub comm: Vec<String>,
    /// All processes.
    #[arg(short = 'A', long, help_heading = PROCESSES)]
    pub all: bool,
    /// What this thread of the one PID sees, for processes whose main thread has exited.
    #[arg(long, conflicts_with_all = ["all", "comm"], help_heading = PROCESSES)]
    pub tid: Option<u32>,

    /// The mapping that holds this address, and where in the file that is.
    ///
    /// Hexadecimal, with or without 0x. May be given more than once.
    #[arg(short, long, value_parser = address, help_heading = MAPPINGS,
        conflicts_with_all = ["tree", "summary", "count", "watch", "diff", "record"])]
    pub addr: Vec<u64>,
    /// Mappings that have an address in START-END.
    ///
    /// Hexadecimal, with or without 0x. END is the first address behind.
    #[arg(long, value_name = "START-END", value_parser = range, help_heading = MAPPINGS)]
    pub range: Option<Range<u64>>,
    /// Executable mappings.
    #[arg(short = 'x', long, help_heading = MAPPINGS)]
    pub exec: bool,
    /// Mappings of files of this name, or path if it has a /. May hold *, ? and [].
    ///
    /// May be given more than once: then one of the patterns must match.
    #[arg(short, long, value_name = "PATTERN", help_heading = MAPPINGS)]
    pub file: Vec<String>,
    /// Mappings that map no file.
    #[arg(long, conflicts_with = "file", help_heading = MAPPINGS)]
    pub anon: bool,
    /// Mappings with these permissions: wx has both at least, r-xp is just that.
    // ---p looks like an option.
    #[arg(short, long, allow_hyphen_values = true, help_heading = MAPPINGS)]
    pub perms: Option<Perms>,

    /// Columns to show, or with + to show besides. See --list-columns.
    ///
    /// What is shown without this may change from release to release: scripts name their columns.
    #[arg(short, long, value_name = "[+]COLS", help_heading = OUTPUT)]
    pub output: Option<String>,
    /// All columns.
    #[arg(long, conflicts_with = "output", help_heading = OUTPUT)]
    pub output_all: bool,
    /// List the columns, and what they show.
    #[arg(short = 'H', long, exclusive = true, help_heading = OUTPUT)]
    pub list_columns: bool,
    /// No headings, and no last line.
    #[arg(short, long, help_heading = OUTPUT)]
    pub noheadings: bool,
    /// Fields parted by one space, odd bytes as \xHH, - for nothing. Short for --format=raw.
    #[arg(short, long, conflicts_with = "format", help_heading = OUTPUT)]
    pub raw: bool,
    /// JSON. Short for --format=json.
    #[arg(short = 'J', long, conflicts_with_all = ["format", "raw"], help_heading = OUTPUT)]
    pub json: bool,
    /// How to write: table, raw, json, jsonl (a line a mapping) or maps (as /proc/PID/maps).
    #[arg(long, value_enum, default_value_t, hide_default_value = true,
        hide_possible_values = true, help_heading = OUTPUT)]
    pub format: Format,
    /// Sizes in bytes.
    #[arg(short, long, help_heading = OUTPUT)]
    pub bytes: bool,
    /// Do not cut names to fit the terminal.
    #[arg(short = 'u', long, help_heading = OUTPUT)]
    pub notruncate: bool,
    /// When to colour: auto, always or never.
    ///
    /// auto colours on a terminal, unless the environment variable NO_COLOR is set.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN",
        hide_default_value = true, hide_possible_values = true, help_heading = OUTPUT)]
    pub color: Color,
    /// Grouped by file.
    #[arg(short, long, help_heading = OUTPUT)]
    pub tree: bool,
    /// Totals by kind, and a picture of the address space.
    #[arg(short, long, help_heading = OUTPUT)]
    pub summary: bool,
    /// The number of mappings alone.
    #[arg(long, help_heading = OUTPUT)]
    pub count: bool,

    /// Look every so many seconds, and show what changed. [1]
    ///
    /// From maps_lockless, only processes that changed are read.
    #[arg(short, long, value_name = "SECS", num_args = 0..=1, require_equals = true,
        default_missing_value = "1", value_parser = seconds, conflicts_with = "from_file",
        help_heading = TIME)]
    pub watch: Option<Duration>,
    /// What changed since --record wrote FILE.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = TIME)]
    pub diff: Option<PathBuf>,
    /// Write all that is known to FILE.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "from_file",
        help_heading = TIME)]
    pub record: Option<PathBuf>,
    /// List what --record wrote.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = TIME)]
    pub from_file: Option<PathBuf>,

    /// Read up to so often, until the listing is of one moment. [10]
    #[arg(long, value_name = "TRIES", num_args = 0..=1, require_equals = true,
        default_missing_value = "10", conflicts_with = "from_file", help_heading = TRUTH)]
    pub consistent: Option<NonZeroU32>,
    /// A help that fits a screen.
    #[arg(short = 'h', exclusive = true)]
    pub short_help: bool,
    /// This help.
    #[arg(long, action = ArgAction::HelpLong)]
    help: Option<bool>,

    /// What to read from: auto, lockless, query (PROCMAP_QUERY) or maps.
    #[arg(long, value_enum, default_value_t, hide_default_value = true, hide_possible_values = true,
        conflicts_with = "from_file", help_heading = TRUTH)]
    pub source: SourceOption,
}

/// What -h says. It leaves out what is rarely missed.
pub const SHORT_HELP: &str = "\
List the memory mappings of Linux processes.
Usage: lsmaps [OPTIONS] PID... | --comm NAME | --all | --from-file FILE

  -a, --addr ADDR     the mapping that holds ADDR, and where in its file that is
  -x, --exec          executable mappings
  -f, --file PATTERN  mappings of files of this name, or path if it has a /
      --anon          mappings that map no file
  -p, --perms PERMS   mappings with these: wx has both at least, r-xp just that
      --range A-B     mappings that have an address in this range

  -o, --output COLS   show these columns, or +COLS besides; -H lists all columns
  -n, --noheadings    no headings and no last line
  -r, --raw           for scripts; also -J, --json and --format=jsonl
      --format=maps   as /proc/PID/maps
  -b, --bytes         sizes in bytes
  -t, --tree          grouped by file
  -s, --summary       totals and a picture; --count just counts

  -w, --watch[=SECS]  show what changes     -d, --diff FILE  since --record FILE
      --consistent    read until the listing is of one moment
      --source SRC    read from auto, lockless, query or maps
      --help          all options            -V, --version
Exit status: 0 all listed, 1 wrong usage, 2 none listed, 42 some not listed.
";

/// A process, as the user names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pid {
    Own,
    Id(u32),
}

impl FromStr for Pid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "self" => Ok(Self::Own),
            _ => match text.parse() {
                Ok(pid @ 1..) => Ok(Self::Id(pid)),
                _ => Err("is neither the ID of a process nor self; names go with --comm".into()),
            },
        }
    }
}

/// `r-xp`: just these. `wx`: these at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Perms {
    Exactly(maps_lockless::Permissions),
    /// Private is asked for by `p`.
    Least(maps_lockless::Permissions, bool),
}

impl FromStr for Perms {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let has = |letter| text.contains(letter);
        let permissions = maps_lockless::Permissions {
            read: has('r'),
            write: has('w'),
            execute: has('x'),
            shared: has('s'),
        };
        if permissions.to_string() == text {
            return Ok(Self::Exactly(permissions));
        }
        let letters = text.chars().all(|letter| "rwxsp".contains(letter));
        if text.is_empty() || !letters || has('s') && has('p') {
            return Err(
                "are letters out of rwxsp, or four as maps shows them, such as r-xp".into(),
            );
        }
        Ok(Self::Least(permissions, has('p')))
    }
}

/// How to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Raw,
    Json,
    Jsonl,
    Maps,
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

/// What to read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SourceOption {
    #[default]
    Auto,
    Lockless,
    Query,
    Maps,
}

impl Options {
    /// How to write, by whichever option.
    pub fn format(&self) -> Format {
        match (self.raw, self.json) {
            (true, _) => Format::Raw,
            (_, true) => Format::Json,
            _ => self.format,
        }
    }
}

fn address(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    // from_str_radix takes a sign.
    match u64::from_str_radix(digits, 16) {
        Ok(address) if !digits.starts_with('+') => Ok(address),
        _ => Err("is no hexadecimal number of 64 bits".into()),
    }
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (start, end) = text
        .split_once('-')
        .ok_or("is no range: START-END, both hexadecimal")?;
    let (start, end) = (address(start)?, address(end)?);
    if start >= end {
        return Err("ends before it begins".into());
    }
    Ok(start..end)
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|&seconds| seconds >= 0.01)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "is no number of seconds, of 0.01 or more".into())
}
