// SPDX-License-Identifier: MIT OR Apache-2.0

//! The help that is written by hand, and what the tests show of the options.

use crate::{golden, lsmaps, options::Options};
use clap::CommandFactory;
use std::collections::BTreeSet;

/// What -h leaves out: --help and the manual page have it.
const RARE: [&str; 5] = ["color", "list-columns", "notruncate", "output-all", "tid"];

/// What is an option in a text: each word after `--`.
fn long_options(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
    let words = text.split(|c: char| !is_name(c));
    let names = words.filter_map(|word| word.strip_prefix("--"));
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Long names of all options.
fn all_options() -> BTreeSet<String> {
    let mut command = Options::command();
    command.build();
    let names = command.get_arguments().filter_map(|arg| arg.get_long());
    names.map(str::to_owned).collect()
}

fn short_help() -> String {
    let output = lsmaps().arg("-h").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_short_help_fits_a_screen() {
    let help = short_help();
    assert!(help.lines().count() < 24, "a line is left for the prompt");
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn the_short_help_names_options_that_there_are() {
    let (all, named) = (all_options(), long_options(&short_help()));
    let unknown: Vec<_> = named.difference(&all).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let left_out: Vec<_> = all.difference(&named).map(String::as_str).collect();
    assert_eq!(left_out, RARE);
}

/// A line `  -x, --name` tells the letter of its option.
#[test]
fn letters_in_the_short_help_are_those_of_their_options() {
    let mut command = Options::command();
    command.build();
    let help = short_help();
    let mut seen = 0;
    let words: Vec<&str> = help.split_whitespace().collect();
    for pair in words.windows(2) {
        let letter = pair[0]
            .strip_prefix('-')
            .and_then(|rest| rest.strip_suffix(','));
        let name = pair[1].strip_prefix("--");
        if let (Some(letter), Some(name)) = (letter, name) {
            let name = name.split(['[', ',']).next().unwrap();
            let mut arguments = command.get_arguments();
            let found = arguments.find(|arg| arg.get_long() == Some(name)).unwrap();
            assert_eq!(found.get_short(), letter.chars().next(), "{name}");
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn each_option_occurs_in_a_session() {
    let commands: String = golden::sessions()
        .iter()
        .flat_map(|(_, session)| session.lines())
        .filter(|line| line.starts_with("$ "))
        .map(|line| format!("{line}\n"))
        .collect();
    let used = long_options(&commands);
    let unused: Vec<_> = all_options().difference(&used).cloned().collect();
    assert!(unused.is_empty(), "{unused:?}");
    let mut command = Options::command();
    command.build();
    for letter in command.get_arguments().filter_map(|arg| arg.get_short()) {
        let is_used = commands
            .split_whitespace()
            .any(|word| word.starts_with(&format!("-{letter}")));
        assert!(is_used, "-{letter}");
    }
}
