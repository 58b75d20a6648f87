// SPDX-License-Identifier: MIT OR Apache-2.0

//! The uapi header, generated from the format's source.

use crate::{
    paths,
    wire_source::{self, Item},
};
use anyhow::{Context, Result, bail};
use std::{fmt::Write as _, fs, path::PathBuf, process::ExitCode};

const BEGIN: &str = "/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The format of /proc/PID/maps_lockless. Generated from
 * fs/proc/maps_lockless/wire.rs.
 *
 * Documentation/filesystems/proc_maps_lockless.rst tells how to use it.
 */
#ifndef _UAPI_LINUX_MAPS_LOCKLESS_H
#define _UAPI_LINUX_MAPS_LOCKLESS_H

#include <linux/fs.h>
#include <linux/types.h>
";

const END: &str = "
/*
 * What to do with an open file. The kernel goes by type and number, and by the
 * size that the argument holds, so that each may grow.
 */

/* Sets what later reads return. Answers what this kernel supports. */
#define MAPS_LOCKLESS_SET_REQUEST \\
\t_IOWR(PROCFS_IOCTL_MAGIC, MAPS_LOCKLESS_NR_SET_REQUEST, struct maps_lockless_request)

/* Tells what later reads return. */
#define MAPS_LOCKLESS_GET_REQUEST \\
\t_IOWR(PROCFS_IOCTL_MAGIC, MAPS_LOCKLESS_NR_GET_REQUEST, struct maps_lockless_request)

/* Tells the state of the address space. */
#define MAPS_LOCKLESS_GET_STATE \\
\t_IOWR(PROCFS_IOCTL_MAGIC, MAPS_LOCKLESS_NR_GET_STATE, struct maps_lockless_state)

#endif /* _UAPI_LINUX_MAPS_LOCKLESS_H */\n";

/// The longest line that the kernel's style likes.
const WIDTH: usize = 80;

fn path() -> PathBuf {
    paths::root().join("kernel/tree/include/uapi/linux/maps_lockless.h")
}

/// Writes the header.
pub fn write() -> Result<ExitCode> {
    let header = generate(&wire_source::read()?)?;
    fs::write(path(), header).with_context(|| path().display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Fails where the header is not the one that the source makes.
pub fn check() -> Result<()> {
    let path = path();
    let committed = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    if committed != generate(&wire_source::read()?)? {
        bail!(
            "{} is not what wire.rs makes: run `cargo vm header`",
            path.display()
        );
    }
    Ok(())
}

fn generate(items: &[Item]) -> Result<String> {
    let mut out = BEGIN.to_owned();
    for item in items {
        out.push('\n');
        match item {
            Item::Constant(constant) => {
                comment(&mut out, "", &constant.docs);
                // Beyond the range of int, and so of what an integer without suffix may be.
                let suffix = if constant.kind == "u64" { "ULL" } else { "" };
                writeln!(out, "#define {}\t{}{suffix}", constant.name, constant.value)?;
            }
            Item::Struct(item) => {
                comment(&mut out, "", &item.docs);
                writeln!(out, "struct {} {{", item.name)?;
                for field in &item.fields {
                    comment(&mut out, "\t", &field.docs);
                    writeln!(out, "\t__{} {};", field.kind, field.name)?;
                }
                writeln!(out, "}};")?;
            }
        }
    }
    out.push_str(END);
    Ok(out)
}

/// Writes a comment, its words wrapped anew.
fn comment(out: &mut String, indent: &str, docs: &[String]) {
    let text = docs.join(" ").replace('`', "");
    // A tab is eight columns wide.
    let left = indent.len() * 8;
    if left + text.len() + "/*  */".len() <= WIDTH {
        *out += &format!("{indent}/* {text} */\n");
        return;
    }
    *out += &format!("{indent}/*\n");
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && left + " * ".len() + line.len() + 1 + word.len() > WIDTH {
            *out += &format!("{indent} * {line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    *out += &format!("{indent} * {line}\n{indent} */\n");
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, generate};
    use crate::wire_source::parse;

    #[test]
    fn constants_and_structs_become_c() {
        let source = "/// One.\npub const A: u64 = 0x1_0000;\n\
                      /// Two.\npub struct s {\n/// Three.\npub r#type: u16,\n}\n";
        let header = generate(&parse(source).unwrap()).unwrap();
        let body = "\n/* One. */\n#define A\t0x10000ULL\n\
                    \n/* Two. */\nstruct s {\n\t/* Three. */\n\t__u16 type;\n};\n";
        assert_eq!(header, format!("{BEGIN}{body}{END}"));
    }

    #[test]
    fn what_is_not_understood_is_not_left_out() {
        assert!(parse("pub const A: u64 = 1 << 3;").is_err());
        assert!(parse("pub struct s { a: usize }").is_err());
        assert!(parse("pub enum e {}").is_err());
    }
}
