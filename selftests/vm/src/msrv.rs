// SPDX-License-Identifier: MIT OR Apache-2.0

//! The oldest Rust compiler that builds the workspace, as Debian packages it. It is not installed.

use crate::{exec, host, paths, progress::Progress};
use anyhow::{Result, bail};
use std::{fs, path::PathBuf, process::Command};

/// What the workspace's `rust-version` says.
pub const VERSION: &str = env!("CARGO_PKG_RUST_VERSION");

/// An unpacked compiler.
pub struct Rust(PathBuf);

/// Gets the compiler, unless the system's apt offers none of this version.
pub fn rust() -> Result<Option<Rust>> {
    let rust = Rust(paths::cache("tools")?.join(format!("rust-{VERSION}")));
    if rust.works() {
        return Ok(Some(rust));
    }
    if host::debian_release().is_none() {
        return Ok(None);
    }
    let packages = match offered()? {
        // Perhaps apt has no lists yet.
        None if host::update_apt().is_ok() => offered()?,
        packages => packages,
    };
    let Some(packages) = packages else {
        return Ok(None);
    };
    let progress = Progress::new(format!("downloading {}", packages[0]), None);
    // Beside the place where it is looked for, which thus has a whole one or none.
    let part = rust.0.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    fs::create_dir_all(&part)?;
    exec::run_logged(
        Command::new("apt-get")
            // As root, apt would download as a user who may not write here.
            .args(["-oAPT::Sandbox::User=root", "download"])
            .args(&packages)
            .current_dir(&part),
        &paths::work("logs")?.join("msrv.log"),
    )?;
    for file in fs::read_dir(&part)? {
        let deb = file?.path();
        exec::run(Command::new("dpkg").arg("-x").arg(&deb).arg(&part))?;
        fs::remove_file(&deb)?;
    }
    if rust.0.exists() {
        fs::remove_dir_all(&rust.0)?;
    }
    fs::rename(&part, &rust.0)?;
    if !rust.works() {
        bail!("{} does not run", packages[0]);
    }
    progress.end();
    Ok(Some(rust))
}

/// The packages of the compiler. On Debian 12 there is one for browsers beside its own older one.
fn offered() -> Result<Option<[String; 3]>> {
    let table = exec::output(Command::new("apt-cache").args(["madison", "rustc-web", "rustc"]))?;
    Ok(table.lines().find_map(|line| packages(line, VERSION)))
}

/// The packages that a line of `apt-cache madison` offers, if they are of a version.
fn packages(line: &str, rust: &str) -> Option<[String; 3]> {
    let mut cells = line.split('|').map(str::trim);
    let (rustc, version) = (cells.next()?, cells.next()?);
    version.strip_prefix(rust)?.strip_prefix('.')?;
    let web = rustc.strip_prefix("rustc")?;
    Some([
        format!("{rustc}={version}"),
        format!("libstd-rust{web}-dev={version}"),
        format!("libstd-rust{web}-{rust}={version}"),
    ])
}

impl Rust {
    fn works(&self) -> bool {
        let version = exec::output(
            self.environment(&mut Command::new(self.program("rustc")))
                .arg("--version"),
        );
        version.is_ok_and(|text| text.starts_with(&format!("rustc {VERSION}.")))
    }

    /// A patient cargo that uses this compiler, and builds apart from all others.
    pub fn cargo(&self) -> Result<Command> {
        let mut cargo = exec::patient("cargo");
        self.environment(&mut cargo)
            .env("RUSTC", self.program("rustc"))
            .env("RUSTDOC", self.program("rustdoc"))
            .env("CARGO_TARGET_DIR", paths::work("msrv")?)
            .current_dir(paths::root());
        Ok(cargo)
    }

    fn program(&self, name: &str) -> PathBuf {
        self.0.join("usr/bin").join(name)
    }

    fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LD_LIBRARY_PATH", self.0.join("usr/lib/x86_64-linux-gnu"))
    }
}

#[cfg(test)]
mod tests {
    use super::packages;

    #[test]
    fn packages_are_those_of_the_version() {
        let line = " rustc-web | 1.85.0+dfsg3-1~deb12u3 | http://deb.debian.org/debian bookworm/main amd64 Packages";
        let expected = [
            "rustc-web=1.85.0+dfsg3-1~deb12u3",
            "libstd-rust-web-dev=1.85.0+dfsg3-1~deb12u3",
            "libstd-rust-web-1.85=1.85.0+dfsg3-1~deb12u3",
        ];
        assert_eq!(packages(line, "1.85").unwrap(), expected);
        assert_eq!(packages(line, "1.8"), None);
        assert_eq!(packages("     rustc | 1.63.0+dfsg1-2 | x", "1.85"), None);
    }
}
