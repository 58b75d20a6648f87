// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which reports of KCSAN say something of the series, and which are of data races that Linux has
//! anyway.

/// What opens a report's title.
const TITLE: &str = "BUG: KCSAN: ";

/// The functions between which Linux has data races of its own, as a report's title has them, in either
/// order, and what makes each harmless. None of them is a function that the series changes.
const KNOWN: [(&str, &str, &str); 0] = [];

/// What the names of the series' own functions hold, in a report's stack.
const OURS: [&str; 8] = [
    "lockless",
    "mm_maps_",
    "anon_vma_name",
    "build_id",
    "freader",
    "d_path_unmarked",
    "special_mapping_name_from",
    "mapped_file",
];

/// Whether the line opens a report.
pub fn is_title(line: &str) -> bool {
    line.contains(TITLE)
}

/// Whether the report whose title stands first in `lines` is of a known race that the series has no part
/// in.
pub fn is_known<'a>(lines: impl IntoIterator<Item = &'a str>) -> bool {
    let mut lines = lines.into_iter();
    let title = lines.next().unwrap_or_default();
    let functions = title
        .split_once("data-race in ")
        .map_or(title, |(_, functions)| functions.trim_end());
    let (one, other) = functions.split_once(" / ").unwrap_or((functions, ""));
    let known = KNOWN
        .iter()
        .any(|(a, b, _)| (*a, *b) == (one, other) || (*b, *a) == (one, other));
    let mut report = lines.take_while(|line| !line.contains("======"));
    known && !report.any(|line| OURS.iter().any(|name| line.contains(name)))
}
