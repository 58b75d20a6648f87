// SPDX-License-Identifier: MIT OR Apache-2.0

//! Throughput of the decoders, in mappings, beside procfs on the same listing.
//!
//! The crate proc-maps is left out: its parser is private, and reads `/proc/<pid>/maps` alone.

mod listing;

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use listing::{Listing, VMAS, read_stream, read_text, read_text_by_procfs};

fn main() {
    let listing = Listing::new();
    let mut criterion = Criterion::default().configure_from_args();

    let mut group = group(&mut criterion, "stream against text");
    group.bench_function("stream", |b| b.iter(|| read_stream(&listing.stream)));
    group.bench_function("text by procfs", |b| {
        b.iter(|| read_text_by_procfs(&listing.text))
    });
    group.finish();

    let mut group = self::group(&mut criterion, "text");
    group.bench_function("maps-lockless", |b| b.iter(|| read_text(&listing.text)));
    group.bench_function("procfs", |b| b.iter(|| read_text_by_procfs(&listing.text)));
    group.finish();

    criterion.final_summary();
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(VMAS as u64));
    group
}
