// SPDX-License-Identifier: GPL-2.0

//! Tries all executions of a test.
//!
//! Each thread is run with every value that each of its loads could return. Of the runs that go
//! together, every choice of which store each load read from, and of the order of the stores to each
//! variable, is an execution. The model says which are allowed.

use crate::{
    lkmm::Execution,
    parse::{Condition, Expression, Fence, Operator, Order, Statement, Test, Value},
    relation::{MAX, Relation, Set},
};
use anyhow::{Result, bail, ensure};
use std::collections::{HashMap, HashSet};

/// What came of a test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Executions that end as asked for, and that the model allows.
    pub allowed: u64,
    /// Executions that end as asked for.
    pub tried: u64,
}

impl Outcome {
    /// `Never` or `Sometimes`, as the tests' comments have it.
    pub fn result(self) -> &'static str {
        if self.allowed == 0 {
            "Never"
        } else {
            "Sometimes"
        }
    }
}

/// Tries all executions of a test.
pub fn run(test: &Test) -> Result<Outcome> {
    let runs = runs(test)?;
    let mut outcome = Outcome::default();
    combine(test, &runs, &mut Vec::new(), &mut outcome)?;
    Ok(outcome)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    /// The store of a read-modify-write, whose load is the event before.
    Update,
    LockRead,
    LockWrite,
    Unlock,
    Fence(Fence),
}

/// An event of a thread. Sets are of the thread's own events.
#[derive(Clone, Debug)]
struct Event {
    kind: Kind,
    ordered: bool,
    /// The place and the value of an access.
    access: Option<(usize, Value)>,
    addr: Set,
    data: Set,
    ctrl: Set,
}

impl Event {
    /// Whether a load may return its value. None returns a lock's.
    fn is_store(&self) -> bool {
        matches!(self.kind, Kind::Write | Kind::Update)
    }
}

/// One run of a thread: what it did, and what its registers hold, by which loads.
#[derive(Clone, Debug, Default)]
struct Run {
    events: Vec<Event>,
    registers: HashMap<String, (Value, Set)>,
}

impl Run {
    fn evaluate(&self, expression: &Expression) -> Result<(Value, Set)> {
        Ok(match expression {
            Expression::Value(value) => (*value, 0),
            Expression::Register(name) => {
                let unset = (Value::Number(0), 0);
                self.registers.get(name).copied().unwrap_or(unset)
            }
            Expression::Binary(operator, left, right) => {
                let (left, by_left) = self.evaluate(left)?;
                let (right, by_right) = self.evaluate(right)?;
                let number = match (operator, left, right) {
                    (Operator::Equal, ..) => i64::from(left == right),
                    (Operator::NotEqual, ..) => i64::from(left != right),
                    (Operator::Add, Value::Number(left), Value::Number(right)) => left + right,
                    (Operator::And, Value::Number(left), Value::Number(right)) => left & right,
                    _ => bail!("computes with an address"),
                };
                (Value::Number(number), by_left | by_right)
            }
        })
    }

    /// The variable that an address is of. [`None`] where a load returned what is none: such a run
    /// would crash, and is none.
    fn place(&self, expression: &Expression) -> Result<Option<(usize, Set)>> {
        Ok(match self.evaluate(expression)? {
            (Value::Address(place), by) => Some((place, by)),
            (Value::Number(_), 0) => bail!("a number is taken for an address"),
            (Value::Number(_), _) => None,
        })
    }

    fn push(&mut self, kind: Kind, access: Option<(usize, Value)>, ctrl: Set) -> &mut Event {
        self.events.push(Event {
            kind,
            ordered: false,
            access,
            addr: 0,
            data: 0,
            ctrl,
        });
        let last = self.events.len() - 1;
        &mut self.events[last]
    }
}

/// All runs of each thread.
///
/// What a variable can hold is found by running the threads with what is known of it so far, until
/// nothing new comes. A value that takes more rounds than there are stores is none: no store of an
/// execution depends on itself.
fn runs(test: &Test) -> Result<Vec<Vec<Run>>> {
    let mut held: Vec<HashSet<Value>> = test.init.iter().map(|value| [*value].into()).collect();
    let mut round = 0;
    loop {
        let mut runs = Vec::new();
        for thread in &test.threads {
            let todo = thread
                .iter()
                .rev()
                .map(|statement| (statement, 0))
                .collect();
            let mut of_thread = Vec::new();
            go(Run::default(), todo, &held, &mut of_thread)?;
            runs.push(of_thread);
        }
        let mut more = false;
        let of_run = |run: &Run| run.events.iter().filter(|event| event.is_store()).count();
        let stores = |runs: &Vec<Run>| runs.iter().map(of_run).max().unwrap_or(0);
        let stores: usize = runs.iter().map(stores).sum();
        for event in runs.iter().flatten().flat_map(|run| &run.events) {
            if let (true, Some((place, value))) = (event.is_store(), event.access) {
                more |= held[place].insert(value);
            }
        }
        round += 1;
        if !more || round > stores {
            return Ok(runs);
        }
    }
}

/// Goes on with a run by the statements in `todo`, the next one last, each with what decided that it
/// is done.
fn go(
    mut run: Run,
    mut todo: Vec<(&Statement, Set)>,
    held: &[HashSet<Value>],
    done: &mut Vec<Run>,
) -> Result<()> {
    while let Some((statement, ctrl)) = todo.pop() {
        match statement {
            Statement::Load(register, place, order) => {
                let Some((place, addr)) = run.place(place)? else {
                    return Ok(());
                };
                for value in &held[place] {
                    let mut run = run.clone();
                    let by = 1 << run.events.len();
                    let event = run.push(Kind::Read, Some((place, *value)), ctrl);
                    event.ordered = *order == Order::Ordered;
                    event.addr = addr;
                    run.registers.insert(register.clone(), (*value, by));
                    go(run, todo.clone(), held, done)?;
                }
                return Ok(());
            }
            Statement::Store(place, value, order) => {
                let Some((place, addr)) = run.place(place)? else {
                    return Ok(());
                };
                let (value, data) = run.evaluate(value)?;
                let event = run.push(Kind::Write, Some((place, value)), ctrl);
                event.ordered = *order == Order::Ordered;
                event.addr = addr;
                event.data = data;
            }
            Statement::FetchAdd(register, number, place, order) => {
                let Some((place, addr)) = run.place(place)? else {
                    return Ok(());
                };
                let (Value::Number(number), data) = run.evaluate(number)? else {
                    bail!("computes with an address");
                };
                for value in &held[place] {
                    let Value::Number(old) = *value else { continue };
                    let mut run = run.clone();
                    let by = 1 << run.events.len();
                    run.push(Kind::Read, Some((place, *value)), ctrl).addr = addr;
                    let new = Value::Number(old + number);
                    let event = run.push(Kind::Update, Some((place, new)), ctrl);
                    event.ordered = *order == Order::Ordered;
                    event.addr = addr;
                    event.data = data | by;
                    run.registers.insert(register.clone(), (*value, by));
                    go(run, todo.clone(), held, done)?;
                }
                return Ok(());
            }
            Statement::Lock(lock) => {
                let Some((lock, _)) = run.place(lock)? else {
                    return Ok(());
                };
                let free = Some((lock, Value::Number(0)));
                run.push(Kind::LockRead, free, ctrl).ordered = true;
                run.push(Kind::LockWrite, Some((lock, Value::Number(1))), ctrl);
            }
            Statement::Unlock(lock) => {
                let Some((lock, _)) = run.place(lock)? else {
                    return Ok(());
                };
                let free = Some((lock, Value::Number(0)));
                run.push(Kind::Unlock, free, ctrl).ordered = true;
            }
            Statement::Fence(fence) => {
                run.push(Kind::Fence(*fence), None, ctrl);
            }
            Statement::Set(register, value) => {
                let value = run.evaluate(value)?;
                run.registers.insert(register.clone(), value);
            }
            Statement::If(condition, then, otherwise) => {
                let (value, by) = run.evaluate(condition)?;
                let body = if value == Value::Number(0) {
                    otherwise
                } else {
                    then
                };
                todo.extend(body.iter().rev().map(|statement| (statement, ctrl | by)));
            }
        }
    }
    done.push(run);
    Ok(())
}

/// Chooses a run of each thread, such that the registers may be as asked for.
fn combine<'a>(
    test: &Test,
    runs: &'a [Vec<Run>],
    chosen: &mut Vec<&'a Run>,
    outcome: &mut Outcome,
) -> Result<()> {
    if holds(&test.exists, chosen, runs.len(), None) == Some(false) {
        return Ok(());
    }
    let Some(of_thread) = runs.get(chosen.len()) else {
        return Program::new(test, chosen)?.try_all(test, chosen, outcome);
    };
    for run in of_thread {
        chosen.push(run);
        combine(test, runs, chosen, outcome)?;
        chosen.pop();
    }
    Ok(())
}

/// Whether a condition holds, if that is known. `variables` are what they hold at the end.
fn holds(
    condition: &Condition,
    runs: &[&Run],
    threads: usize,
    variables: Option<&[Value]>,
) -> Option<bool> {
    let ask = |condition: &Condition| holds(condition, runs, threads, variables);
    match condition {
        Condition::Register(thread, register, wanted) => {
            let held = match runs.get(*thread) {
                Some(run) => run.registers.get(register),
                None if *thread < threads => return None,
                None => return Some(false),
            };
            Some(held.map_or(Value::Number(0), |(value, _)| *value) == *wanted)
        }
        Condition::Variable(place, wanted) => variables.map(|held| held[*place] == *wanted),
        Condition::Not(inner) => ask(inner).map(|inner| !inner),
        Condition::And(left, right) => match (ask(left), ask(right)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
        Condition::Or(left, right) => match (ask(left), ask(right)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
    }
}

/// A run of each thread, put together. The first events are the variables' initial stores.
struct Program {
    execution: Execution,
    /// Each load, and the stores that have its value.
    sources: Vec<(usize, Vec<usize>)>,
    /// Each order that the stores to each variable can have.
    orders: Vec<Vec<Vec<usize>>>,
    values: Vec<Value>,
}

impl Program {
    fn new(test: &Test, runs: &[&Run]) -> Result<Self> {
        let variables = test.init.len();
        let count = variables + runs.iter().map(|run| run.events.len()).sum::<usize>();
        ensure!(count <= MAX, "too many events");
        let mut execution = Execution {
            reads: 0,
            writes: (1 << variables) - 1,
            acquire: 0,
            release: 0,
            lock_read: 0,
            lock_write: 0,
            unlock: 0,
            mb: 0,
            rmb: 0,
            wmb: 0,
            after_spinlock: 0,
            after_unlock_lock: 0,
            sync_rcu: 0,
            rcu_rscs: Relation::EMPTY,
            po: Relation::EMPTY,
            int: Relation::identity(Set::MAX),
            loc: Relation::EMPTY,
            addr: Relation::EMPTY,
            data: Relation::EMPTY,
            ctrl: Relation::EMPTY,
            rmw: Relation::EMPTY,
            rf: Relation::EMPTY,
            co: Relation::EMPTY,
        };
        let mut values = test.init.clone();
        let mut at_place: Vec<Set> = (0..variables).map(|place| 1 << place).collect();
        let mut loads = Vec::new();
        // The stores to each variable, thread by thread.
        let mut stores: Vec<Vec<Vec<usize>>> = vec![Vec::new(); variables];
        for (thread, run) in runs.iter().enumerate() {
            let first = values.len();
            for stores in &mut stores {
                stores.push(Vec::new());
            }
            let mut critical = Vec::new();
            for (i, event) in run.events.iter().enumerate() {
                let id = first + i;
                let bit: Set = 1 << id;
                let (_, value) = event.access.unwrap_or((0, Value::Number(0)));
                values.push(value);
                for earlier in first..id {
                    execution.po.add(earlier, id);
                    execution.int.add(earlier, id);
                    execution.int.add(id, earlier);
                }
                for (set, relation) in [
                    (event.addr, &mut execution.addr),
                    (event.data, &mut execution.data),
                    (event.ctrl, &mut execution.ctrl),
                ] {
                    for earlier in (0..i).filter(|earlier| set & (1 << earlier) != 0) {
                        relation.add(first + earlier, id);
                    }
                }
                if let Some((place, value)) = event.access {
                    at_place[place] |= bit;
                    if matches!(event.kind, Kind::Read | Kind::LockRead) {
                        execution.reads |= bit;
                        loads.push((id, place, value));
                        execution.acquire |= if event.ordered { bit } else { 0 };
                    } else {
                        execution.writes |= bit;
                        stores[place][thread].push(id);
                        execution.release |= if event.ordered { bit } else { 0 };
                    }
                }
                match event.kind {
                    Kind::Read | Kind::Write => {}
                    Kind::LockRead => execution.lock_read |= bit,
                    Kind::Update => execution.rmw.add(id - 1, id),
                    Kind::LockWrite => {
                        execution.lock_write |= bit;
                        execution.rmw.add(id - 1, id);
                    }
                    Kind::Unlock => execution.unlock |= bit,
                    Kind::Fence(Fence::Mb) => execution.mb |= bit,
                    Kind::Fence(Fence::Rmb) => execution.rmb |= bit,
                    Kind::Fence(Fence::Wmb) => execution.wmb |= bit,
                    Kind::Fence(Fence::AfterSpinlock) => execution.after_spinlock |= bit,
                    Kind::Fence(Fence::AfterUnlockLock) => execution.after_unlock_lock |= bit,
                    Kind::Fence(Fence::SynchronizeRcu) => execution.sync_rcu |= bit,
                    Kind::Fence(Fence::RcuReadLock) => critical.push(id),
                    Kind::Fence(Fence::RcuReadUnlock) => match critical.pop() {
                        Some(begin) => execution.rcu_rscs.add(begin, id),
                        None => bail!("rcu_read_unlock() without rcu_read_lock()"),
                    },
                }
            }
        }
        for set in &at_place {
            execution.loc = execution.loc | Relation::product(*set, *set);
        }
        let sources = loads.into_iter().map(|(id, place, value)| {
            let all = stores[place].iter().flatten().copied().chain([place]);
            (id, all.filter(|store| values[*store] == value).collect())
        });
        let sources = sources.collect();
        let orders = stores.into_iter().enumerate();
        let orders = orders
            .map(|(place, stores)| merges(&mut vec![place], &stores))
            .collect();
        Ok(Self {
            execution,
            sources,
            orders,
            values,
        })
    }

    fn try_all(&mut self, test: &Test, runs: &[&Run], outcome: &mut Outcome) -> Result<()> {
        let sizes = self.sources.iter().map(|(_, stores)| stores.len());
        let sizes: Vec<usize> = sizes.chain(self.orders.iter().map(Vec::len)).collect();
        for choice in choices(&sizes) {
            let (sources, orders) = choice.split_at(self.sources.len());
            self.execution.rf = Relation::EMPTY;
            for ((load, stores), source) in self.sources.iter().zip(sources) {
                self.execution.rf.add(stores[*source], *load);
            }
            self.execution.co = Relation::EMPTY;
            let mut last = Vec::new();
            for (all, order) in self.orders.iter().zip(orders) {
                let order = &all[*order];
                for (i, store) in order.iter().enumerate() {
                    for later in &order[i + 1..] {
                        self.execution.co.add(*store, *later);
                    }
                }
                last.extend(order.last().map(|store| self.values[*store]));
            }
            if holds(&test.exists, runs, runs.len(), Some(&last)) == Some(true) {
                outcome.tried += 1;
                outcome.allowed += u64::from(self.execution.is_allowed());
            }
        }
        Ok(())
    }
}

/// All orders of what several threads do that keep each thread's own.
fn merges(begun: &mut Vec<usize>, threads: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    let mut over = true;
    for (i, thread) in threads.iter().enumerate() {
        if let Some((first, rest)) = thread.split_first() {
            over = false;
            let mut left = threads.to_vec();
            left[i] = rest.to_vec();
            begun.push(*first);
            all.extend(merges(begun, &left));
            begun.pop();
        }
    }
    if over {
        all.push(begun.clone());
    }
    all
}

/// All ways to choose one of so many, several times.
fn choices(sizes: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let count: usize = sizes.iter().product();
    (0..count).map(move |mut number| {
        let digit = |size: &usize| {
            let digit = number % size;
            number /= size;
            digit
        };
        sizes.iter().map(digit).collect()
    })
}
