// SPDX-License-Identifier: MIT OR Apache-2.0

//! Makes the initramfs: our programs, busybox, and what a dynamic program needs.

use crate::{build::Flavour, exec, paths};
use anyhow::{Context, Result, bail};
use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs::{self, File},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The busybox commands that tests, the demo and a shell want.
const APPLETS: [&str; 26] = [
    "cat", "cp", "cut", "dd", "dmesg", "echo", "env", "false", "grep", "head", "kill", "ls",
    "mkdir", "mkfifo", "more", "mount", "ps", "rm", "sh", "sleep", "tail", "true", "uname", "vi",
    "wc", "which",
];

/// Makes an initramfs that runs `command`. `mode` is the console's, for init. `also` is a program that not every
/// VM has.
pub fn make(
    kernel: &Path,
    flavour: Flavour,
    mode: &str,
    command: &[&str],
    also: Option<&Path>,
) -> Result<PathBuf> {
    let programs = guest_programs(true)?;
    let dynamic = guest_programs(false)?.join("target");
    let dir = paths::work(&format!("initramfs-{}", flavour.name()))?;

    let mut words = mode.as_bytes().to_vec();
    words.push(0);
    for word in command {
        words.extend(word.as_bytes());
        words.push(0);
    }
    let command_file = dir.join("command");
    fs::write(&command_file, words)?;
    let demo = paths::root().join("selftests/guest/demo.sh");

    // See gen_init_cpio.c in Linux for the format.
    let mut list = String::new();
    for name in [
        "/bin",
        "/dev",
        "/kselftest",
        "/lib",
        "/lib64",
        "/proc",
        "/run",
        "/sys",
    ] {
        writeln!(list, "dir {name} 755 0 0")?;
    }
    writeln!(list, "dir /tmp 1777 0 0")?;
    writeln!(list, "nod /dev/console 600 0 0 c 5 1")?;
    let mut file = |name: &str, from: &Path| {
        let mode = if name == "/command" { 644 } else { 755 };
        writeln!(list, "file {name} {} {mode} 0 0", from.display())
    };
    file("/command", &command_file)?;
    file("/init", &programs.join("init"))?;
    file("/bin/busybox", Path::new("/bin/busybox"))?;
    file("/bin/demo", &demo)?;
    for name in ["lsmaps", "target", "guest-tests", "torture"] {
        file(&format!("/bin/{name}"), &programs.join(name))?;
    }
    if let Some(program) = also {
        let name = program.file_name().and_then(OsStr::to_str);
        file(&format!("/bin/{}", name.context("name")?), program)?;
    }
    file("/bin/target-dynamic", &dynamic)?;
    file("/bin/reader32", &reader32(&dir)?)?;
    for (name, program) in kselftests(kernel, &dir.join("kselftest"))? {
        file(&format!("/kselftest/{name}"), &program)?;
    }
    for library in libraries(&dynamic)? {
        let name = library
            .file_name()
            .and_then(OsStr::to_str)
            .context("name")?;
        let to = if name.starts_with("ld-") {
            "lib64"
        } else {
            "lib"
        };
        file(&format!("/{to}/{name}"), &library)?;
    }
    for applet in APPLETS {
        writeln!(list, "slink /bin/{applet} busybox 777 0 0")?;
    }
    let list_file = dir.join("list");
    fs::write(&list_file, list)?;

    // The kernel's build has made this tool for its own initramfs.
    let tool = kernel
        .ancestors()
        .map(|dir| dir.join("usr/gen_init_cpio"))
        .find(|tool| tool.exists())
        .context("the kernel's build made no usr/gen_init_cpio")?;
    let archive = dir.join("initramfs.cpio");
    let status = Command::new(&tool)
        .arg(&list_file)
        .stdin(Stdio::null())
        .stdout(File::create(&archive)?)
        .status()?;
    if !status.success() {
        bail!("{}: {status}", tool.display());
    }
    Ok(archive)
}

/// What the guest's programs are built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the guest's programs, either linked with their library or not. Returns where they are.
fn guest_programs(linked: bool) -> Result<PathBuf> {
    let (mut cargo, dir) = guest_cargo("build", linked)?;
    exec::run(cargo.args(["--package", "guest", "--package", "maps-cli"]))?;
    Ok(dir)
}

/// Builds the guest's program `bench`, linked with its library at addresses that are known beforehand. Returns
/// where it is.
pub fn bench() -> Result<PathBuf> {
    let (mut cargo, dir) = guest_cargo("rustc", true)?;
    exec::run(
        cargo
            .args(["--package", "guest", "--bin", "bench"])
            .args(["--features", "bench"])
            .args(["--", "-Crelocation-model=static"]),
    )?;
    Ok(dir.join("bench"))
}

/// A command of cargo's that builds for the guest, and where it puts programs.
fn guest_cargo(command: &str, linked: bool) -> Result<(Command, PathBuf)> {
    let dir = paths::work(if linked {
        "guest-static"
    } else {
        "guest-dynamic"
    })?;
    let flag = if linked { '+' } else { '-' };
    let mut cargo = Command::new("cargo");
    cargo
        .args([command, "--quiet", "--release", "--target", TARGET])
        .arg("--target-dir")
        .arg(&dir)
        .env("RUSTFLAGS", format!("-Ctarget-feature={flag}crt-static"))
        .current_dir(paths::root());
    Ok((cargo, dir.join(TARGET).join("release")))
}

/// Builds the 32-bit program. It needs no library, and of headers only those of the kernel.
fn reader32(dir: &Path) -> Result<PathBuf> {
    let program = dir.join("reader32");
    exec::run(
        Command::new("gcc")
            .args([
                "-m32",
                "-nostdlib",
                "-static",
                "-ffreestanding",
                "-no-pie",
                "-fno-pie",
            ])
            .args([
                "-fno-stack-protector",
                "-Os",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-I",
            ])
            .arg(paths::root().join("kernel/tree/include/uapi"))
            // Where Debian has asm/types.h, which is the same for both.
            .args(["-idirafter", "/usr/include/x86_64-linux-gnu", "-o"])
            .arg(&program)
            .arg(paths::root().join("selftests/guest/reader32.c")),
    )?;
    Ok(program)
}

/// Builds the series' own tests by their Makefile, in the tree that the kernel was built of. They need
/// the C library, and of the kernel's headers only that of the format. Returns their names and where
/// they are.
fn kselftests(kernel: &Path, output: &Path) -> Result<Vec<(String, PathBuf)>> {
    let source = kernel
        .ancestors()
        .map(|dir| dir.join("tools/testing/selftests/maps_lockless"))
        .find(|source| source.exists())
        .context("the kernel's tree has no selftests of maps_lockless")?;
    fs::create_dir_all(output)?;
    exec::run(
        Command::new("make")
            // make does not know that they depend on the header of the format.
            .args(["--silent", "--always-make", "-C"])
            .arg(&source)
            .arg(format!("OUTPUT={}", output.display()))
            .arg(format!(
                "KHDR_INCLUDES=-isystem {}",
                paths::root().join("kernel/tree/include/uapi").display()
            ))
            .args(["USERCFLAGS=-Werror", "USERLDFLAGS=-static"])
            .env_remove("MAKEFLAGS"),
    )?;
    let mut programs = Vec::new();
    for entry in fs::read_dir(&source)? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("c")) {
            let name = path.file_stem().and_then(OsStr::to_str).context("name")?;
            programs.push((name.to_owned(), output.join(name)));
        }
    }
    programs.sort();
    Ok(programs)
}

/// The shared libraries that a program is loaded with, its loader included.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let printed = exec::output(Command::new("ldd").arg(program))?;
    Ok(printed
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(|word| PathBuf::from(OsStr::from_bytes(word.as_bytes())))
        .collect())
}
