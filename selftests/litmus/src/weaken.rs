// SPDX-License-Identifier: GPL-2.0

//! Takes the order out of a test, piece by piece.

use crate::parse::{Fence, Order, Statement, Test};

/// The test without each of the things that order it, one at a time, and what is missing.
///
/// The markers of an RCU section go together, and so do a thread's locks.
pub fn each(test: &Test) -> Vec<(String, Test)> {
    let mut all = Vec::new();
    for (i, thread) in test.threads.iter().enumerate() {
        let mut kinds = Vec::new();
        collect(thread, &mut kinds);
        let mut add = |what: &str, wanted: &Wanted, nth| {
            let mut weaker = test.clone();
            weaker.threads[i] = without(thread, wanted, nth, &mut 0);
            all.push((format!("P{i} without {what}"), weaker));
        };
        let mut both = Vec::new();
        for (nth, kind) in kinds.iter().enumerate() {
            match kind {
                Wanted::Lock | Wanted::Rcu => {
                    if !both.contains(kind) {
                        both.push(*kind);
                        add(kind.name(), kind, None);
                    }
                }
                kind => {
                    let nth = kinds[..nth].iter().filter(|other| other == &kind).count();
                    add(&format!("{} {}", kind.name(), nth + 1), kind, Some(nth));
                }
            }
        }
    }
    all
}

/// What orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Acquire,
    Release,
    Lock,
    Rcu,
    Fence(Fence),
}

impl Wanted {
    fn name(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::Release => "release",
            Self::Lock => "locks",
            Self::Rcu => "RCU section",
            Self::Fence(Fence::Mb) => "smp_mb",
            Self::Fence(Fence::Rmb) => "smp_rmb",
            Self::Fence(Fence::Wmb) => "smp_wmb",
            Self::Fence(Fence::SynchronizeRcu) => "synchronize_rcu",
            Self::Fence(Fence::AfterSpinlock) => "smp_mb__after_spinlock",
            Self::Fence(Fence::AfterUnlockLock) => "smp_mb__after_unlock_lock",
            Self::Fence(Fence::RcuReadLock) => "rcu_read_lock",
            Self::Fence(Fence::RcuReadUnlock) => "rcu_read_unlock",
        }
    }
}

fn kind(statement: &Statement) -> Option<Wanted> {
    Some(match statement {
        Statement::Load(_, _, Order::Ordered) => Wanted::Acquire,
        Statement::Store(_, _, Order::Ordered) | Statement::FetchAdd(_, _, _, Order::Ordered) => {
            Wanted::Release
        }
        Statement::Lock(_) | Statement::Unlock(_) => Wanted::Lock,
        Statement::Fence(Fence::RcuReadLock | Fence::RcuReadUnlock) => Wanted::Rcu,
        Statement::Fence(fence) => Wanted::Fence(*fence),
        _ => return None,
    })
}

fn collect(statements: &[Statement], kinds: &mut Vec<Wanted>) {
    for statement in statements {
        if let Statement::If(_, then, otherwise) = statement {
            collect(then, kinds);
            collect(otherwise, kinds);
        }
        kinds.extend(kind(statement));
    }
}

/// Without the `nth` of a kind, or without any of it.
fn without(
    statements: &[Statement],
    wanted: &Wanted,
    nth: Option<usize>,
    seen: &mut usize,
) -> Vec<Statement> {
    let mut left = Vec::new();
    for statement in statements {
        let is = kind(statement).as_ref() == Some(wanted);
        let hit = is && nth.is_none_or(|nth| nth == *seen);
        *seen += usize::from(is);
        left.push(match statement {
            Statement::Load(register, place, _) if hit => {
                Statement::Load(register.clone(), place.clone(), Order::Once)
            }
            Statement::Store(place, value, _) if hit => {
                Statement::Store(place.clone(), value.clone(), Order::Once)
            }
            Statement::FetchAdd(register, number, place, _) if hit => {
                let (register, number) = (register.clone(), number.clone());
                Statement::FetchAdd(register, number, place.clone(), Order::Once)
            }
            _ if hit => continue,
            Statement::If(condition, then, otherwise) => Statement::If(
                condition.clone(),
                without(then, wanted, nth, seen),
                without(otherwise, wanted, nth, seen),
            ),
            other => other.clone(),
        });
    }
    left
}
