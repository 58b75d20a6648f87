// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the guest's programs share.

pub mod bench;
pub mod child;
pub mod elf;
pub mod flags;
pub mod gap;
pub mod handover;
pub mod invariants;
pub mod pages;
pub mod pins;
pub mod query;
pub mod raw;
pub mod rng;
pub mod sched;
pub mod shapes;
pub mod signed;
pub mod since;
pub mod tests;
pub mod torture;
pub mod trace;
