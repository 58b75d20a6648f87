// SPDX-License-Identifier: GPL-2.0

//! Reads a litmus test, as tools/memory-model has them: of its C, what such tests are mostly made of.

use anyhow::{Context, Result, bail, ensure};
use std::collections::HashMap;

/// A litmus test.
#[derive(Clone, Debug)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// What its comment says the result is.
    pub result: String,
    /// Where each name lies.
    pub variables: HashMap<String, usize>,
    /// What each variable holds at first.
    pub init: Vec<Value>,
    /// What each thread does.
    pub threads: Vec<Vec<Statement>>,
    /// What is asked for.
    pub exists: Condition,
}

/// A value of a variable or a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A number.
    Number(i64),
    /// The address of a variable.
    Address(usize),
}

/// What a thread computes.
#[derive(Clone, Debug)]
pub enum Expression {
    /// It is given.
    Value(Value),
    /// What a register holds.
    Register(String),
    /// Of two others.
    Binary(Operator, Box<Expression>, Box<Expression>),
}

/// How two values are made one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are C's")]
pub enum Operator {
    Add,
    Equal,
    NotEqual,
    And,
}

/// How a load or store is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `READ_ONCE()`, `WRITE_ONCE()`, `rcu_dereference()`.
    Once,
    /// `smp_load_acquire()`, or `smp_store_release()` and `rcu_assign_pointer()`.
    Ordered,
}

/// What orders without being an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the kernel's")]
pub enum Fence {
    Mb,
    Rmb,
    Wmb,
    AfterSpinlock,
    AfterUnlockLock,
    RcuReadLock,
    RcuReadUnlock,
    SynchronizeRcu,
}

/// A step of a thread. A place is an expression whose value is an address.
#[derive(Clone, Debug)]
pub enum Statement {
    /// Register, place.
    Load(String, Expression, Order),
    /// Place, value.
    Store(Expression, Expression, Order),
    /// `atomic_fetch_add()`: register, number, place, of which only the store is ordered, or nothing.
    FetchAdd(String, Expression, Expression, Order),
    /// `spin_lock()`.
    Lock(Expression),
    /// `spin_unlock()`.
    Unlock(Expression),
    /// A barrier.
    Fence(Fence),
    /// A register is set without an access.
    Set(String, Expression),
    /// `if`, with what is done and what else.
    If(Expression, Vec<Statement>, Vec<Statement>),
}

/// A proposition about the end.
#[derive(Clone, Debug)]
pub enum Condition {
    /// A thread's register holds a value.
    Register(usize, String, Value),
    /// A variable holds a value.
    Variable(usize, Value),
    /// It does not hold.
    Not(Box<Condition>),
    /// Both hold.
    And(Box<Condition>, Box<Condition>),
    /// One holds.
    Or(Box<Condition>, Box<Condition>),
}

/// Reads a test.
pub fn parse(text: &str) -> Result<Test> {
    let result = text
        .split_once("Result:")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .unwrap_or_default()
        .to_owned();
    let (first, rest) = text.split_once('\n').context("empty")?;
    let name = first.strip_prefix("C ").context("not for C")?.trim();
    let mut parser = Parser {
        tokens: tokens(&without_comments(rest))?,
        next: 0,
        variables: HashMap::new(),
        init: Vec::new(),
    };
    parser.init()?;
    let mut threads = Vec::new();
    while parser.take(&format!("P{}", threads.len())) {
        parser.expect("(")?;
        while !parser.take(")") {
            match parser.token()? {
                Token::Word(word) if !is_type(&word) => {
                    parser.variable(&word);
                }
                _ => {}
            }
        }
        threads.push(parser.block()?);
    }
    // What is printed as well.
    if parser.take("locations") {
        while !parser.take("]") {
            parser.token()?;
        }
    }
    parser.expect("exists")?;
    let exists = parser.either()?;
    ensure!(parser.next == parser.tokens.len(), "more than a condition");
    Ok(Test {
        name: name.to_owned(),
        result,
        variables: parser.variables,
        init: parser.init,
        threads,
        exists,
    })
}

/// Cuts comments out: C's and herd's. What follows the latter's parenthesis tells it from a call.
fn without_comments(text: &str) -> String {
    const KINDS: [(&str, &str); 4] = [("/*", "*/"), ("//", "\n"), ("(* ", "*)"), ("(*\n", "*)")];
    let mut left = String::new();
    let mut rest = text;
    let first = |rest: &str| {
        let found = KINDS.map(|(open, close)| Some((rest.find(open)?, close)));
        found.into_iter().flatten().min()
    };
    while let Some((at, close)) = first(rest) {
        left += &rest[..at];
        left.push(' ');
        rest = rest[at + 2..]
            .split_once(close)
            .map_or("", |(_, rest)| rest);
    }
    left + rest
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Number(i64),
    Sign(&'static str),
}

const SIGNS: [&str; 18] = [
    "/\\", "\\/", "==", "!=", "(", ")", "{", "}", "[", "]", ";", ",", ":", "=", "*", "&", "+", "-",
];

fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        let len = if first.is_ascii_alphanumeric() || first == '_' {
            let len = rest.find(word).unwrap_or(rest.len());
            tokens.push(match rest[..len].parse() {
                Ok(number) => Token::Number(number),
                Err(_) => Token::Word(rest[..len].to_owned()),
            });
            len
        } else if first == '~' {
            tokens.push(Token::Sign("~"));
            1
        } else {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
            let sign = sign.with_context(|| format!("{first:?} is not known"))?;
            tokens.push(Token::Sign(sign));
            sign.len()
        };
        rest = rest[len..].trim_start();
    }
    Ok(tokens)
}

fn is_type(word: &str) -> bool {
    matches!(word, "int" | "spinlock_t" | "long" | "unsigned")
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    variables: HashMap<String, usize>,
    init: Vec<Value>,
}

impl Parser {
    fn token(&mut self) -> Result<Token> {
        let token = self.tokens.get(self.next).context("it ends early")?;
        self.next += 1;
        Ok(token.clone())
    }

    /// Whether the next token is this one, which is taken then.
    fn take(&mut self, wanted: &str) -> bool {
        let is = match self.tokens.get(self.next) {
            Some(Token::Word(word)) => word == wanted,
            Some(Token::Sign(sign)) => *sign == wanted,
            _ => false,
        };
        self.next += usize::from(is);
        is
    }

    fn expect(&mut self, wanted: &str) -> Result<()> {
        let found = self.tokens.get(self.next).cloned();
        ensure!(self.take(wanted), "{wanted:?} and not {found:?}");
        Ok(())
    }

    fn word(&mut self) -> Result<String> {
        match self.token()? {
            Token::Word(word) => Ok(word),
            other => bail!("a name and not {other:?}"),
        }
    }

    /// A variable is known as soon as it is named.
    fn variable(&mut self, name: &str) -> usize {
        let new = self.init.len();
        let place = *self.variables.entry(name.to_owned()).or_insert(new);
        if place == new {
            self.init.push(Value::Number(0));
        }
        place
    }

    /// `{ int x = 1; int *p = &x; }`
    fn init(&mut self) -> Result<()> {
        self.expect("{")?;
        while !self.take("}") {
            match self.token()? {
                Token::Word(word) if is_type(&word) => {}
                Token::Word(name) => {
                    let place = self.variable(&name);
                    if self.take("=") {
                        self.init[place] = self.value()?;
                    }
                }
                Token::Sign("*" | ";") => {}
                other => bail!("{other:?} in what there is at first"),
            }
        }
        Ok(())
    }

    /// A number, or a variable's address, with or without `&`.
    fn value(&mut self) -> Result<Value> {
        self.take("&");
        Ok(match self.token()? {
            Token::Number(number) => Value::Number(number),
            Token::Word(name) => Value::Address(self.variable(&name)),
            other => bail!("a value and not {other:?}"),
        })
    }

    fn block(&mut self) -> Result<Vec<Statement>> {
        if !self.take("{") {
            return self.statement();
        }
        let mut block = Vec::new();
        while !self.take("}") {
            block.extend(self.statement()?);
        }
        Ok(block)
    }

    fn statement(&mut self) -> Result<Vec<Statement>> {
        let mut word = self.word()?;
        if word == "if" {
            self.expect("(")?;
            let condition = self.expression()?;
            self.expect(")")?;
            let then = self.block()?;
            let otherwise = if self.take("else") {
                self.block()?
            } else {
                Vec::new()
            };
            return Ok(vec![Statement::If(condition, then, otherwise)]);
        }
        if is_type(&word) {
            while self.take("*") {}
            word = self.word()?;
            if self.take(";") {
                // A register's declaration.
                return Ok(Vec::new());
            }
        }
        let statements = if self.take("=") {
            vec![self.assignment(word)?]
        } else {
            self.call(&word)?
        };
        self.expect(";")?;
        Ok(statements)
    }

    fn assignment(&mut self, register: String) -> Result<Statement> {
        for (function, order) in [
            ("atomic_fetch_add_relaxed", Order::Once),
            ("atomic_fetch_add_release", Order::Ordered),
        ] {
            if self.take(function) {
                self.expect("(")?;
                let number = self.operand()?;
                self.expect(",")?;
                let place = self.operand()?;
                self.expect(")")?;
                return Ok(Statement::FetchAdd(register, number, place, order));
            }
        }
        let order = match self.tokens.get(self.next) {
            Some(Token::Word(word)) => match &word[..] {
                "READ_ONCE" | "rcu_dereference" => Some(Order::Once),
                "smp_load_acquire" => Some(Order::Ordered),
                _ => None,
            },
            _ => None,
        };
        let Some(order) = order else {
            return Ok(Statement::Set(register, self.expression()?));
        };
        self.next += 1;
        self.expect("(")?;
        let place = self.accessed(order)?;
        self.expect(")")?;
        Ok(Statement::Load(register, place, order))
    }

    /// READ_ONCE(*x) and smp_load_acquire(x) access the same place.
    fn accessed(&mut self, order: Order) -> Result<Expression> {
        if order == Order::Once {
            self.expect("*")?;
        }
        self.operand()
    }

    fn call(&mut self, function: &str) -> Result<Vec<Statement>> {
        self.expect("(")?;
        let statements = match function {
            "WRITE_ONCE" | "rcu_assign_pointer" | "smp_store_release" | "smp_store_mb" => {
                if function != "smp_store_release" {
                    self.expect("*")?;
                }
                let place = self.operand()?;
                self.expect(",")?;
                let value = self.expression()?;
                let ordered = matches!(function, "rcu_assign_pointer" | "smp_store_release");
                let order = if ordered { Order::Ordered } else { Order::Once };
                let mut statements = vec![Statement::Store(place, value, order)];
                if function == "smp_store_mb" {
                    statements.push(Statement::Fence(Fence::Mb));
                }
                statements
            }
            "spin_lock" => vec![Statement::Lock(self.operand()?)],
            "spin_unlock" => vec![Statement::Unlock(self.operand()?)],
            "smp_mb" => vec![Statement::Fence(Fence::Mb)],
            "smp_rmb" => vec![Statement::Fence(Fence::Rmb)],
            "smp_wmb" => vec![Statement::Fence(Fence::Wmb)],
            "smp_mb__after_spinlock" => vec![Statement::Fence(Fence::AfterSpinlock)],
            "smp_mb__after_unlock_lock" => vec![Statement::Fence(Fence::AfterUnlockLock)],
            "rcu_read_lock" => vec![Statement::Fence(Fence::RcuReadLock)],
            "rcu_read_unlock" => vec![Statement::Fence(Fence::RcuReadUnlock)],
            "synchronize_rcu" => vec![Statement::Fence(Fence::SynchronizeRcu)],
            _ => bail!("{function}() is not known"),
        };
        self.expect(")")?;
        Ok(statements)
    }

    fn expression(&mut self) -> Result<Expression> {
        let left = self.operand()?;
        let signs = [
            ("+", Operator::Add),
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("&", Operator::And),
        ];
        for (sign, operator) in signs {
            if self.take(sign) {
                let right = self.operand()?;
                return Ok(Expression::Binary(operator, left.into(), right.into()));
            }
        }
        Ok(left)
    }

    /// A number, a register, or the address that a parameter holds.
    fn operand(&mut self) -> Result<Expression> {
        if self.take("(") {
            let inner = self.expression()?;
            self.expect(")")?;
            return Ok(inner);
        }
        let sign = if self.take("-") { -1 } else { 1 };
        Ok(match self.token()? {
            Token::Number(number) => Expression::Value(Value::Number(sign * number)),
            Token::Word(name) => match self.variables.get(&name) {
                Some(place) => Expression::Value(Value::Address(*place)),
                None => Expression::Register(name),
            },
            other => bail!("a value and not {other:?}"),
        })
    }

    fn either(&mut self) -> Result<Condition> {
        let mut condition = self.both()?;
        while self.take("\\/") {
            condition = Condition::Or(condition.into(), self.both()?.into());
        }
        Ok(condition)
    }

    fn both(&mut self) -> Result<Condition> {
        let mut condition = self.atom()?;
        while self.take("/\\") {
            condition = Condition::And(condition.into(), self.atom()?.into());
        }
        Ok(condition)
    }

    fn atom(&mut self) -> Result<Condition> {
        if self.take("~") {
            return Ok(Condition::Not(self.atom()?.into()));
        }
        if self.take("(") {
            let inner = self.either()?;
            self.expect(")")?;
            return Ok(inner);
        }
        Ok(match self.token()? {
            Token::Number(thread) => {
                self.expect(":")?;
                let register = self.word()?;
                self.expect("=")?;
                Condition::Register(usize::try_from(thread)?, register, self.value()?)
            }
            Token::Word(name) => {
                self.expect("=")?;
                let place = self.variable(&name);
                Condition::Variable(place, self.value()?)
            }
            other => bail!("{other:?} in the condition"),
        })
    }
}
