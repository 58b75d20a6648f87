// SPDX-License-Identifier: MIT OR Apache-2.0

//! Between these two functions `selftests/vm/src/bench/count.c` counts. It knows them by their names.

#![expect(
    unsafe_code,
    reason = "a name that stays as it is might be another function's, too"
)]

use std::hint::black_box;

/// Counting begins.
// SAFETY: Nothing else that is linked has this name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn mark_begin() {
    // Two functions that do the same may become one.
    black_box(1);
}

/// Counting ends.
// SAFETY: Nothing else that is linked has this name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn mark_end() {
    black_box(2);
}
