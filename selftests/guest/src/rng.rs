// SPDX-License-Identifier: MIT OR Apache-2.0

//! Numbers for mutators and readers that are to do something else each time, and the same each run.

/// Any sequence of numbers that is not regular.
pub struct Rng(u64);

impl Rng {
    /// A sequence of this number's.
    pub fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end.max(1)
    }
}
