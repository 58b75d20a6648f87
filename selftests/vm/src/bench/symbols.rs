// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which function an address is in.

use crate::{exec, host::LLVM};
use anyhow::{Context, Result, bail};
use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

/// Functions, by their addresses.
pub struct Symbols(Vec<(u64, String)>);

impl Symbols {
    /// Those of an ELF file.
    pub fn of(file: &Path) -> Result<Self> {
        let mut nm = Command::new(format!("llvm-nm{LLVM}"));
        let symbols = Self::parse(&exec::output(nm.arg(file))?);
        if symbols.0.is_empty() {
            bail!("{} has no symbols", file.display());
        }
        Ok(symbols)
    }

    /// Reads what nm prints.
    fn parse(printed: &str) -> Self {
        let mut symbols: Vec<(u64, String)> = printed.lines().filter_map(symbol).collect();
        // Of several names for one place the first one is taken.
        symbols.sort();
        symbols.dedup_by_key(|(address, _)| *address);
        Self(symbols)
    }

    /// The address of a function.
    pub fn address(&self, name: &str) -> Option<u64> {
        let found = self.0.iter().find(|(_, other)| other == name);
        found.map(|(address, _)| *address)
    }

    /// The function that an address is in. [`None`] where it lies before the first one.
    pub fn at(&self, address: u64) -> Option<&str> {
        let behind = self.0.partition_point(|(begin, _)| *begin <= address);
        let (_, name) = self.0.get(behind.checked_sub(1)?)?;
        Some(name)
    }
}

/// A line of nm that tells of a function: its address, a letter for its kind, its name.
fn symbol(line: &str) -> Option<(u64, String)> {
    let mut words = line.splitn(3, ' ');
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let kind = words.next()?;
    let name = words.next()?;
    // Weak ones and those that are chosen at run time among them.
    let is_function = matches!(kind, "t" | "T" | "w" | "W" | "i");
    is_function.then(|| (address, name.to_owned()))
}

/// Names as their authors wrote them. Where there is no program that knows, they stay as they are.
pub fn demangled(names: Vec<String>) -> Vec<String> {
    // The first one knows Rust's older names better. The second one comes with the compiler.
    let filters = ["rustfilt".to_owned(), format!("llvm-cxxfilt{LLVM}")];
    let mut results = filters.iter().map(|filter| filtered(filter, &names));
    let readable =
        results.find_map(|result| result.ok().filter(|lines| lines.len() == names.len()));
    readable.unwrap_or(names)
}

fn filtered(filter: &str, names: &[String]) -> Result<Vec<String>> {
    let mut filter = Command::new(filter)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    // It writes little, which the pipe has room for.
    let mut stdin = filter.stdin.take().context("its input")?;
    stdin.write_all((names.join("\n") + "\n").as_bytes())?;
    drop(stdin);
    let output = filter.wait_with_output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::Symbols;

    #[test]
    fn an_address_is_in_the_function_before_it() {
        let symbols = Symbols::parse(
            "                 U missing\n\
             0000000000001000 T first\n\
             0000000000001010 t second with spaces\n\
             0000000000001018 d data\n\
             0000000000001010 t another\n\
             0000000000001020 W third\n",
        );
        for (address, name) in [
            (0xfff, None),
            (0x1000, Some("first")),
            (0x100f, Some("first")),
            (0x1010, Some("another")),
            (0x101f, Some("another")),
            (0xffff_ffff_8000_0000, Some("third")),
        ] {
            assert_eq!(symbols.at(address), name, "{address:x}");
        }
        assert_eq!(symbols.address("third"), Some(0x1020));
        assert_eq!(symbols.address("data"), None);
    }
}
