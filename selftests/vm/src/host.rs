// SPDX-License-Identifier: MIT OR Apache-2.0

//! What this machine needs: checks for it, and installs it on Debian as root.

use crate::{exec, paths, progress::Progress};
use anyhow::{Context, Result, bail};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The LLVM release whose programs build the kernel.
pub const LLVM: &str = "-19";

/// What shows that a package is there, and the package.
const NEEDS: [(&str, &str); 24] = [
    ("clang-19", "clang-19"),
    ("ld.lld-19", "lld-19"),
    ("llvm-objcopy-19", "llvm-19"),
    ("/usr/lib/llvm-19/lib/libclang.so", "libclang-19-dev"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("/usr/include/libelf.h", "libelf-dev"),
    ("/usr/include/openssl/ssl.h", "libssl-dev"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
    ("make", "make"),
    ("gcc", "gcc"),
    ("g++", "g++"),
    ("/usr/include/stdio.h", "libc6-dev"),
    ("perl", "perl"),
    ("python3", "python3"),
    ("patch", "patch"),
    ("git", "git"),
    ("ccache", "ccache"),
    ("/bin/busybox", "busybox-static"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("dpkg", "dpkg"),
    ("chrt", "util-linux"),
];

/// What builds the kernel's Rust code.
pub struct RustTools {
    /// A compiler that has its library's sources.
    pub rustc: PathBuf,
    /// Its clippy.
    pub clippy: PathBuf,
    /// bindgen.
    pub bindgen: PathBuf,
}

/// Sees to it that everything that [`NEEDS`] lists is there.
pub fn prepare() -> Result<()> {
    let missing: Vec<&str> = NEEDS
        .iter()
        .filter(|(probe, _)| find(probe).is_none())
        .map(|(_, package)| *package)
        .collect();
    install(&missing)
}

/// Finds, or installs, a Rust compiler that can build a kernel, and bindgen.
pub fn rust_tools() -> Result<RustTools> {
    let rustc = rustc()?;
    Ok(RustTools {
        clippy: clippy_of(&rustc),
        bindgen: bindgen()?,
        rustc,
    })
}

/// Finds, or installs, a Rust compiler that can build a kernel.
pub fn rustc() -> Result<PathBuf> {
    match kernel_rustc() {
        Some(rustc) => Ok(rustc),
        None => {
            // Debian 12 has a newer compiler for browsers beside its own, which is too old.
            let web = ["rustc-web", "rust-web-src", "rust-web-clippy"];
            let plain = ["rustc", "rust-src", "rust-clippy"];
            install(if debian_release() == Some(12) {
                &web
            } else {
                &plain
            })?;
            kernel_rustc().context(
                "no Rust compiler >= 1.85 with clippy and the sources of its library: with rustup, \
                 run `rustup component add rust-src clippy`",
            )
        }
    }
}

fn clippy_of(rustc: &Path) -> PathBuf {
    rustc.with_file_name("clippy-driver")
}

fn kernel_rustc() -> Option<PathBuf> {
    let on_path = find("rustc").and_then(|rustc| {
        // rustup's is a proxy: ask for the real one, which has clippy-driver beside it.
        let sysroot = exec::output(Command::new(rustc).args(["--print", "sysroot"])).ok()?;
        Some(Path::new(sysroot.trim()).join("bin/rustc"))
    });
    let debian = Some(PathBuf::from("/usr/bin/rustc"));
    [on_path, debian].into_iter().flatten().find(|rustc| {
        let printed = |arg| exec::output(Command::new(rustc).args(["--print", arg])).ok();
        let has_sources = printed("sysroot").is_some_and(|sysroot| {
            Path::new(sysroot.trim())
                .join("lib/rustlib/src/rust/library/core/src/lib.rs")
                .exists()
        });
        has_sources
            && clippy_of(rustc).exists()
            && version(rustc).is_some_and(|version| version >= (1, 85, 0))
    })
}

fn bindgen() -> Result<PathBuf> {
    let usable = |path: &PathBuf| version(path).is_some_and(|version| version >= (0, 71, 1));
    let tools = paths::cache("tools")?;
    let own = tools.join("bin/bindgen");
    if let Some(bindgen) = find("bindgen").filter(usable) {
        return Ok(bindgen);
    }
    if !usable(&own) {
        let progress = Progress::new("installing bindgen", None);
        let log = paths::work("logs")?.join("bindgen.log");
        exec::run_logged(
            Command::new("cargo")
                .args(["install", "bindgen-cli", "--locked", "--force", "--root"])
                .arg(&tools),
            &log,
        )?;
        progress.end();
    }
    Ok(own)
}

/// The three numbers of what `PROGRAM --version` prints.
fn version(program: &Path) -> Option<(u32, u32, u32)> {
    let text = exec::output(Command::new(program).arg("--version")).ok()?;
    let mut numbers = text
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?
        .split(['.', '-', '+'])
        .map_while(|number| number.parse().ok());
    Some((
        numbers.next()?,
        numbers.next()?,
        numbers.next().unwrap_or(0),
    ))
}

fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    let Some(apt) = privileged("apt-get") else {
        bail!("missing: {list} (names of Debian packages): install them and try again");
    };
    if debian_release().is_none() {
        bail!("missing: {list} (names of Debian packages): install what is like them, try again");
    }
    let progress = Progress::new(format!("installing {list}"), None);
    let log = paths::work("logs")?.join("apt.log");
    update_apt()?;
    exec::run_logged(
        apt()
            .args(["install", "-y", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
        &log,
    )?;
    progress.end();
    Ok(())
}

/// Has apt fetch its lists.
pub fn update_apt() -> Result<()> {
    let apt = privileged("apt-get").context("apt-get update takes root")?;
    exec::run_logged(apt().arg("update"), &paths::work("logs")?.join("apt.log"))
}

/// How to run a program as root, if that can be done.
fn privileged(program: &'static str) -> Option<impl Fn() -> Command> {
    let root = nix::unistd::geteuid().is_root();
    find(program)?;
    if !root {
        // Without a question that nobody is there to answer.
        let sudo = Command::new("sudo")
            .args(["-n", "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !sudo.is_ok_and(|status| status.success()) {
            return None;
        }
    }
    Some(move || {
        if root {
            Command::new(program)
        } else {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", program]);
            sudo
        }
    })
}

/// The number of Debian's release, where this is Debian. The releases to come have none yet.
pub fn debian_release() -> Option<u32> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|value| value.trim_matches('"'))
    };
    if field("ID=") != Some("debian") {
        return None;
    }
    field("VERSION_ID=").map_or(Some(u32::MAX), |number| number.parse().ok())
}

/// Finds a program on the PATH, or a file by its full name.
fn find(name: &str) -> Option<PathBuf> {
    if name.starts_with('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    // Debian keeps some programs where an ordinary user does not look.
    env::split_paths(&env::var_os("PATH")?)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}
