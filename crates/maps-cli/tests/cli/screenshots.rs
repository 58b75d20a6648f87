// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pictures for the documentation: what a terminal shows of lsmaps on a capture.

use crate::{bytes_are_current, lsmaps};
use snapbox::{Data, data::DataFormat};
use std::path::Path;

/// File, and the command line behind `lsmaps`.
const PICTURES: [(&str, &str); 5] = [
    ("table", "--from-file demo.capture 1204"),
    ("tearing", "--from-file several.capture 1310"),
    ("summary", "--from-file demo.capture --summary"),
    (
        "tree",
        "--from-file demo.capture --tree --range 7f8117f00000-7f8117ff7000",
    ),
    (
        "diff",
        "--from-file after.capture --diff before.capture 1204",
    ),
];

fn picture(args: &str) -> Vec<u8> {
    let output = lsmaps()
        .args(args.split(' '))
        .arg("--color=always")
        .current_dir("tests/data")
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    let shown = String::from_utf8(output.stdout).unwrap();
    let screen = Data::text(format!("$ lsmaps {args}\n{shown}"));
    screen.coerce_to(DataFormat::TermSvg).to_bytes().unwrap()
}

#[test]
fn the_screenshots_are_current() {
    let docs = Path::new("../../docs/screenshots");
    for (name, args) in PICTURES {
        bytes_are_current(&docs.join(format!("{name}.svg")), &picture(args));
    }
}
