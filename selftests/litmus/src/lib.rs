// SPDX-License-Identifier: GPL-2.0

//! Checks litmus tests against the Linux kernel's memory model, as herd7 does, for the part of C and
//! of the model that the tests in docs/litmus/ need.

pub mod lkmm;
pub mod parse;
pub mod relation;
pub mod run;
pub mod weaken;
