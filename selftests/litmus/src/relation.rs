// SPDX-License-Identifier: GPL-2.0

//! Relations between the events of an execution, as the model is written in.

use std::ops::{BitAnd, BitOr};

/// The most events that an execution can have.
pub const MAX: usize = 64;

/// A set of events.
pub type Set = u64;

/// A relation: for each event, those that it leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Relation([Set; MAX]);

impl Relation {
    /// Nothing leads anywhere.
    pub const EMPTY: Self = Self([0; MAX]);

    /// Each event of `set` leads to itself. In cat: `[set]`.
    pub fn identity(set: Set) -> Self {
        Self(std::array::from_fn(|from| set & (1 << from)))
    }

    /// Each event of `from` leads to each of `to`. In cat: `from * to`.
    pub fn product(from: Set, to: Set) -> Self {
        Self(std::array::from_fn(|event| {
            if from & (1 << event) != 0 { to } else { 0 }
        }))
    }

    /// Adds a pair.
    pub fn add(&mut self, from: usize, to: usize) {
        self.0[from] |= 1 << to;
    }

    /// First this and then that. In cat: `self ; then`.
    pub fn then(self, then: Self) -> Self {
        Self(self.0.map(|mut to| {
            let mut reached = 0;
            while to != 0 {
                reached |= then.0[to.trailing_zeros() as usize];
                to &= to - 1;
            }
            reached
        }))
    }

    /// Only what begins in `set`. In cat: `[set] ; self`.
    pub fn from(self, set: Set) -> Self {
        Self::identity(set).then(self)
    }

    /// Only what ends in `set`. In cat: `self ; [set]`.
    pub fn to(self, set: Set) -> Self {
        Self(self.0.map(|to| to & set))
    }

    /// The other way round. In cat: `self^-1`.
    pub fn inverse(self) -> Self {
        let mut inverse = Self::EMPTY;
        for from in 0..MAX {
            for to in 0..MAX {
                if self.0[from] & (1 << to) != 0 {
                    inverse.add(to, from);
                }
            }
        }
        inverse
    }

    /// This or nothing. In cat: `self?`.
    pub fn optional(self) -> Self {
        self | Self::identity(Set::MAX)
    }

    /// This once or more often. In cat: `self+`.
    pub fn plus(self) -> Self {
        let mut plus = self;
        loop {
            let longer = plus | plus.then(plus);
            if longer == plus {
                return plus;
            }
            plus = longer;
        }
    }

    /// This any number of times. In cat: `self*`.
    pub fn star(self) -> Self {
        self.plus().optional()
    }

    /// Without what leads to itself. In cat: `self \ id`.
    pub fn without_identity(self) -> Self {
        Self(std::array::from_fn(|from| self.0[from] & !(1 << from)))
    }

    /// Without the pairs of `other`. In cat: `self \ other`.
    pub fn without(self, other: Self) -> Self {
        Self(std::array::from_fn(|from| self.0[from] & !other.0[from]))
    }

    /// Whether no event leads to itself.
    pub fn is_irreflexive(&self) -> bool {
        (0..MAX).all(|event| self.0[event] & (1 << event) == 0)
    }

    /// Whether no event leads back to itself.
    pub fn is_acyclic(self) -> bool {
        self.plus().is_irreflexive()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }
}

impl BitOr for Relation {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(std::array::from_fn(|from| self.0[from] | other.0[from]))
    }
}

impl BitAnd for Relation {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(std::array::from_fn(|from| self.0[from] & other.0[from]))
    }
}
