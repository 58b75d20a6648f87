// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is made of the options: the manual page, and the shells' completions.

use crate::{bytes_are_current, lsmaps, options::Options};
use clap::{CommandFactory, ValueEnum};
use clap_complete::{Shell, generate};
use serde_json::Value;
use std::{collections::BTreeMap, path::Path, process::Command};

/// Types of columns in JSON. What may be null is not known of each mapping.
const TYPES: [(&str, &str); 20] = [
    ("PID", "number"),
    ("TID", "number or null"),
    ("COMMAND", "string or null"),
    ("START", "number"),
    ("END", "number"),
    ("SIZE", "number, in bytes"),
    ("PERMS", "string or null"),
    ("OFFSET", "number or null"),
    ("DEVICE", "string or null"),
    ("INODE", "number or null"),
    ("KIND", "string or null"),
    ("FLAGS", "array of strings, or null"),
    ("PAGE-SIZE", "number, in bytes, or null"),
    ("PKEY", "number or null"),
    ("BUILD-ID", "string or null"),
    ("DELETED", "boolean or null"),
    ("MARKS", "array of strings"),
    ("ADDRESS", "number or null"),
    ("FILE-OFFSET", "number or null"),
    ("NAME", "string or null"),
];

fn run(args: &[&str]) -> String {
    let output = lsmaps().args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Names of columns, and what they show.
fn columns() -> Vec<(String, String)> {
    let list = run(&["--list-columns"]);
    let lines = list
        .lines()
        .map(|line| line.trim().split_once("  ").unwrap());
    lines
        .map(|(name, help)| (name.to_owned(), help.to_owned()))
        .collect()
}

fn man() -> Vec<u8> {
    let page = clap_mangen::Man::new(Options::command())
        .title("LSMAPS")
        .date("")
        .source(concat!("lsmaps ", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");
    let mut roff = b".\\\" SPDX-License-Identifier: MIT OR Apache-2.0\n\
        .\\\" Made by crates/maps-cli/tests/cli/generated.rs.\n"
        .to_vec();
    page.render_title(&mut roff).unwrap();
    page.render_name_section(&mut roff).unwrap();
    // That of the options alone does not say what goes with what.
    roff.extend(
        b".SH SYNOPSIS\n.B lsmaps\n[\\fIOPTIONS\\fR] \\fIPID\\fR...\n.br\n.B lsmaps\n[\\fIOPTIONS\\fR] \
        \\fB\\-\\-comm\\fR \\fINAME\\fR | \\fB\\-\\-all\\fR | \\fB\\-\\-from\\-file\\fR \\fIFILE\\fR\n",
    );
    page.render_description_section(&mut roff).unwrap();
    page.render_options_section(&mut roff).unwrap();
    let columns: Vec<String> = columns()
        .into_iter()
        .map(|(name, help)| {
            let types = TYPES.iter().find(|(known, _)| *known == name);
            let (_, kind) = types.unwrap_or_else(|| panic!("{name} needs a type"));
            let (name, help) = (name.replace('-', "\\-"), help.replace('-', "\\-"));
            format!(".TP\n.BR {name} \" (\" \"{kind}\" )\n{help}")
        })
        .collect();
    let sections = include_str!("../../man/sections.roff");
    let (_licence, sections) = sections.split_once('\n').unwrap();
    roff.extend(sections.replace("@COLUMNS@", &columns.join("\n")).bytes());
    roff
}

#[test]
fn the_manual_page_is_current() {
    bytes_are_current(Path::new("man/lsmaps.1"), &man());
}

/// groff tells what it does not understand. It is not everywhere.
#[test]
fn the_manual_page_is_good_roff() {
    let groff = Command::new("groff")
        .args(["-man", "-Tutf8", "-ww", "-z", "man/lsmaps.1"])
        .output();
    match groff {
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && told.is_empty(), "{told}");
        }
        Err(error) => println!("not checked, no groff: {error}"),
    }
}

#[test]
fn the_manual_page_has_each_option() {
    let page = String::from_utf8(man()).unwrap().replace("\\-", "-");
    let mut command = Options::command();
    command.build();
    for name in command.get_arguments().filter_map(|arg| arg.get_long()) {
        assert!(page.contains(&format!("--{name}")), "{name}");
    }
}

#[test]
fn completions_are_current() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let file = match shell {
            Shell::Zsh => "_lsmaps".to_owned(),
            _ => format!("lsmaps.{}", shell.to_possible_value().unwrap().get_name()),
        };
        let mut script = Vec::new();
        generate(shell, &mut Options::command(), "lsmaps", &mut script);
        bytes_are_current(&Path::new("completions").join(file), &script);
    }
}

/// bash, at least, is on each machine that runs this.
#[test]
fn bash_completes_options_by_the_script() {
    let script = ". completions/lsmaps.bash; COMP_WORDS=(lsmaps --from); COMP_CWORD=1; \
        _lsmaps lsmaps --from lsmaps; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", script]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told.trim(), "--from-file", "{output:?}");
}

fn is_of_type(value: &Value, types: &str) -> bool {
    match value {
        Value::Null => types.ends_with("null"),
        Value::Number(_) => value.is_u64() && types.starts_with("number"),
        Value::String(_) => types.starts_with("string"),
        Value::Bool(_) => types.starts_with("boolean"),
        Value::Array(array) => {
            types.starts_with("array of strings") && array.iter().all(Value::is_string)
        }
        Value::Object(_) => false,
    }
}

/// Each column of each mapping of some captures, by the type that the manual page promises.
#[test]
fn columns_have_their_types() {
    // How often each has been something else than null.
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for args in [
        &["--from-file=tests/data/several.capture"][..],
        &["--from-file=tests/data/names.capture"],
        &["--from-file=tests/data/build-ids.capture"],
        &["--from-file=tests/data/thread.capture"],
        &["--from-file=tests/data/unknown.capture"],
        &["--from-file=tests/data/demo.capture", "--addr=7f811816b123"],
    ] {
        let text = run(&[&["--json", "--output-all"][..], args].concat());
        let document: Value = serde_json::from_str(&text).unwrap();
        for process in document["processes"].as_array().unwrap() {
            for mapping in process["mappings"].as_array().unwrap() {
                let mapping = mapping.as_object().unwrap();
                assert_eq!(mapping.len(), TYPES.len());
                for (name, types) in TYPES {
                    let key = name.to_ascii_lowercase().replace('-', "_");
                    let value = &mapping[&key];
                    assert!(is_of_type(value, types), "{key}: {value}");
                    *seen.entry(key).or_default() += u32::from(!value.is_null());
                }
            }
        }
    }
    let unseen: Vec<_> = seen.iter().filter(|(_, count)| **count == 0).collect();
    assert!(seen.len() == TYPES.len() && unseen.is_empty(), "{unseen:?}");
}

/// Keys of JSON, in the order in which they come. Those of mappings are columns.
fn keys(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                into.push(key.clone());
                if key != "mappings" {
                    keys(value, into);
                }
            }
        }
        Value::Array(array) => array.iter().for_each(|value| keys(value, into)),
        _ => {}
    }
}

#[test]
fn the_manual_page_has_each_key() {
    let mut found = Vec::new();
    for file in ["several", "unknown"] {
        let file = &format!("--from-file=tests/data/{file}.capture")[..];
        let document = run(&["--json", file]);
        keys(&serde_json::from_str(&document).unwrap(), &mut found);
        for line in run(&["--format=jsonl", "-o", "PID", file]).lines() {
            keys(&serde_json::from_str(line).unwrap(), &mut found);
        }
    }
    let page = include_str!("../../man/sections.roff");
    assert!(found.len() > 20);
    for key in found.iter().filter(|key| *key != "processes") {
        assert!(page.contains(&format!("\n.B {key}\n")), "{key}");
    }
}
