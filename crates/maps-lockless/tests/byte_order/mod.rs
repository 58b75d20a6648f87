// SPDX-License-Identifier: MIT OR Apache-2.0

//! Recordings, which are little-endian, as the same kernel on another machine would have written them.

use maps_lockless::wire::{
    MAPS_LOCKLESS_TYPE_FILE, MAPS_LOCKLESS_TYPE_UNCHANGED, MAPS_LOCKLESS_TYPE_UNKNOWN,
    MAPS_LOCKLESS_TYPE_VMA,
};
use std::ops::Range;

/// The bytes of each field of `maps_lockless_batch`, and of each type of record.
const HEADER: [usize; 18] = [4, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8, 4, 4];
const VMA: [usize; 15] = [2, 2, 4, 8, 4, 2, 1, 1, 8, 8, 8, 8, 8, 4, 4];
const FILE: [usize; 11] = [2, 2, 4, 8, 4, 4, 8, 4, 4, 4, 4];
const UNKNOWN: [usize; 5] = [2, 2, 4, 8, 8];
const UNCHANGED: [usize; 7] = [2, 2, 4, 8, 8, 4, 4];

/// A little-endian stream in this machine's byte order.
#[allow(
    dead_code,
    reason = "not all tests that have this module use all of it"
)]
pub fn native(mut stream: Vec<u8>) -> Vec<u8> {
    if cfg!(target_endian = "big") {
        swap(&mut stream);
    }
    stream
}

/// Turns a little-endian stream into a big-endian one. Names and build IDs have no byte order.
pub fn swap(stream: &mut [u8]) {
    let mut batch = 0;
    while batch < stream.len() {
        let size = number(stream, batch + 8..batch + 12);
        let mut at = batch + number(stream, batch + 6..batch + 8);
        fields(stream, batch, &HEADER);
        batch += size;
        while at < batch {
            let (r#type, size) = (number(stream, at..at + 2), number(stream, at + 4..at + 8));
            let widths: &[usize] = match u16::try_from(r#type) {
                Ok(MAPS_LOCKLESS_TYPE_VMA) => &VMA,
                Ok(MAPS_LOCKLESS_TYPE_FILE) => &FILE,
                Ok(MAPS_LOCKLESS_TYPE_UNKNOWN) => &UNKNOWN,
                Ok(MAPS_LOCKLESS_TYPE_UNCHANGED) => &UNCHANGED,
                _ => panic!("a record of type {}", r#type),
            };
            fields(stream, at, widths);
            at += size;
        }
    }
}

fn number(stream: &[u8], at: Range<usize>) -> usize {
    let bytes = stream[at].iter().rev();
    bytes.fold(0, |number, &byte| number << 8 | usize::from(byte))
}

fn fields(stream: &mut [u8], mut at: usize, widths: &[usize]) {
    for width in widths {
        stream[at..at + width].reverse();
        at += width;
    }
}
