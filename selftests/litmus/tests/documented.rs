// SPDX-License-Identifier: GPL-2.0

//! The tests in docs/litmus/ have the results that their comments tell, and each thing that orders one
//! whose result is `Never` is needed, but where its comment says that it is not.

use anyhow::{Context, Result};
use litmus::{
    parse::{Test, parse},
    run::run,
    weaken,
};
use std::{collections::BTreeSet, fs, path::Path};

/// All files in docs/litmus, with their text.
fn documented() -> Result<Vec<(String, Test)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/litmus");
    let mut tests = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "litmus")
        {
            let text = fs::read_to_string(&path)?;
            let test = parse(&text).with_context(|| path.display().to_string())?;
            assert_eq!(
                Some(&test.name[..]),
                path.file_stem().and_then(|s| s.to_str())
            );
            tests.push((text, test));
        }
    }
    assert!(tests.len() > 10, "where are they?");
    Ok(tests)
}

/// `Not needed here: P0 without smp_wmb 1. Why.`
fn not_needed(text: &str) -> BTreeSet<String> {
    let lines = text
        .lines()
        .filter_map(|line| line.split_once("Not needed here: "));
    let names = lines.filter_map(|(_, rest)| rest.split_once(". "));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn results() -> Result<()> {
    for (_, test) in documented()? {
        let outcome = run(&test)?;
        assert_eq!(outcome.result(), test.result, "{}", test.name);
        assert!(outcome.tried > 0, "{} cannot even be thought of", test.name);
    }
    Ok(())
}

#[test]
fn each_barrier_is_needed() -> Result<()> {
    let mut caught = 0;
    for (text, test) in documented()? {
        if test.result != "Never" {
            continue;
        }
        let mut found = BTreeSet::new();
        for (what, weaker) in weaken::each(&test) {
            let result = run(&weaker)?.result();
            println!("{}, {what}: {result}", test.name);
            if result == "Never" {
                found.insert(what);
            } else {
                caught += 1;
            }
        }
        assert_eq!(
            found,
            not_needed(&text),
            "{}: what is not needed",
            test.name
        );
    }
    assert!(caught > 0);
    Ok(())
}
