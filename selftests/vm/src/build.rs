// SPDX-License-Identifier: MIT OR Apache-2.0

//! Builds kernels.

use crate::{
    exec,
    host::{self, LLVM, RustTools},
    paths,
    progress::Progress,
    series, source,
};
use anyhow::{Context, Result, bail};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

/// A kernel's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Flavour {
    /// With maps_lockless.
    Plain,
    /// With KASAN, lockdep, Rust's debug assertions and KUnit besides.
    Kasan,
    /// As kasan, with strict RCU, maple tree checks, kmemleak and fault injection besides.
    Strict,
    /// With KCSAN by its strictest rules.
    Kcsan,
    /// With the option off.
    Off,
    /// Linux without the series, which `bench --writer` compares with. Not for tests.
    #[value(hide = true)]
    Unpatched,
    /// The smallest that compiles the series, for `build --each-commit`. Not for booting.
    Small,
}

impl Flavour {
    /// Whether it runs the series' KUnit tests at boot.
    pub fn has_kunit(self) -> bool {
        matches!(self, Self::Kasan | Self::Strict)
    }

    /// Its name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Kasan => "kasan",
            Self::Strict => "strict",
            Self::Kcsan => "kcsan",
            Self::Off => "off",
            Self::Unpatched => "unpatched",
            Self::Small => "small",
        }
    }

    /// Parts of the names of tests, and of shapes of processes, that it leaves out.
    pub fn left_out(self) -> &'static [&'static str] {
        match self {
            // These are about time, or about programs alone, and plain has them: KASAN and lockdep have
            // nothing to find in what the others do not do as well.
            Self::Kasan => &[
                "torture: a planted fault is caught",
                "a starved reader",
                "RCU sections do not grow",
                "a million VMAs",
            ],
            // DEBUG_VM_MAPLE_TREE looks at all VMAs at each change of one. These make 10,000 or more.
            Self::Strict => &[
                "vmas-10000",
                "a reader that dies in the middle",
                "nothing among very many VMAs",
                "a reader that is being killed",
                "RCU sections do not grow",
                "a million VMAs",
                "ends_at_budget",
                "lsmaps: a process that exits meanwhile",
                "lsmaps: a process that calls execve meanwhile",
                "lsmaps: nobody reads on",
                // Its writer takes seconds a round by itself, and is late without any reader.
                "a starved reader",
            ],
            _ => &[],
        }
    }

    /// Seconds after which a run of all tests hangs.
    pub fn time_limit(self) -> u64 {
        match self {
            Self::Plain | Self::Off | Self::Unpatched | Self::Small => 1800,
            Self::Kasan | Self::Strict | Self::Kcsan => 5400,
        }
    }

    /// The files in kernel/configs that it is made of. A later one wins.
    fn fragments(self) -> &'static [&'static str] {
        match self {
            Self::Plain | Self::Unpatched => &["base"],
            Self::Kasan => &["base", "kasan"],
            Self::Strict => &["base", "kasan", "strict"],
            Self::Kcsan => &["base", "kcsan"],
            Self::Off => &["base", "off"],
            Self::Small => &["small"],
        }
    }

    /// What these files ask for.
    fn wanted(self) -> Result<String> {
        let configs = paths::root().join("kernel/configs");
        let mut wanted = String::new();
        for name in self.fragments() {
            let path = configs.join(format!("{name}.config"));
            wanted += &fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        }
        Ok(wanted)
    }
}

/// The file of a build's folder that has what its configuration was asked for.
const WANTED: &str = "wanted.config";
/// A kernel that can be booted.
const WHOLE: [&str; 1] = ["bzImage"];

/// A tree that holds the series, and what it is built with.
struct Builder {
    tree: PathBuf,
    tools: RustTools,
}

/// Gets all that builds share, so that no two that go on at the same time install or unpack anything.
pub fn prepare(linux: Option<&Path>) -> Result<()> {
    host::prepare()?;
    host::rustc()?;
    // Where the series does not apply, each build says so, and the checks on this machine.
    let _ = series::install(&source::unpacked(linux)?, usize::MAX, None);
    Ok(())
}

/// The image of a kernel that was built.
pub fn image(linux: Option<&Path>, flavour: Flavour) -> Result<PathBuf> {
    Ok(image_in(&folder(&source::unpacked(linux)?, flavour)))
}

/// Builds a kernel with the whole series, unless its flavour is to have none of it. Returns its image.
pub fn kernel(linux: Option<&Path>, flavour: Flavour) -> Result<PathBuf> {
    let builder = Builder::new(linux)?;
    if flavour == Flavour::Unpatched {
        return builder.unpatched();
    }
    series::install(&builder.tree, usize::MAX, None)?;
    builder.build(flavour)
}

/// Builds a kernel with the whole series and a deliberate fault. Returns its image.
///
/// Every other build takes the fault out of the tree again, whatever became of this one.
pub fn faulty(linux: Option<&Path>, flavour: Flavour, fault: &Path) -> Result<PathBuf> {
    let builder = Builder::new(linux)?;
    series::install(&builder.tree, usize::MAX, Some(fault))?;
    Ok(builder.compile(flavour, &WHOLE)?.image)
}

/// Builds a small kernel after each commit of the series, which must hold all that the commit touches.
/// Prints what of that was compiled this time.
pub fn each_commit(linux: Option<&Path>) -> Result<()> {
    let builder = Builder::new(linux)?;
    let commits = series::read()?.commits;
    for (i, commit) in commits.iter().enumerate() {
        println!("commit {}: {}", i + 1, commit.subject()?);
        series::install(&builder.tree, i + 1, None)?;
        let wanted = if i + 1 < commits.len() {
            Wanted::WhatThereIs
        } else {
            Wanted::All
        };
        builder.configure(Flavour::Small, wanted)?;
        let touched: Vec<&PathBuf> = commit.touched().collect();
        let targets = match wanted {
            Wanted::All => vec![WHOLE[0].to_owned()],
            Wanted::WhatThereIs => targets(&touched),
        };
        let made = builder.compile(Flavour::Small, &targets)?;
        builder.fail_on_warnings(&made.complaints)?;
        for object in made
            .steps
            .iter()
            .filter_map(|step| compiled(step, &touched))
        {
            println!("  compiled: {object}");
        }
        for file in touched {
            if is_source(file) && !builder.has_used(Flavour::Small, file)? {
                bail!(
                    "nothing in this kernel is compiled of {}: it lacks an option of small.config",
                    file.display()
                );
            }
        }
    }
    Ok(())
}

/// What of the options that a kernel's files ask for it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// Those that the tree has, which does not hold all commits yet.
    WhatThereIs,
}

/// What a build has made.
struct Made {
    image: PathBuf,
    /// What make did this time, a line each.
    steps: Vec<String>,
    /// What the compilers said.
    complaints: Vec<String>,
}

impl Builder {
    fn new(linux: Option<&Path>) -> Result<Self> {
        host::prepare()?;
        let tools = host::rust_tools()?;
        let tree = source::unpacked(linux)?;
        Ok(Self { tree, tools })
    }

    fn folder(&self, flavour: Flavour) -> PathBuf {
        folder(&self.tree, flavour)
    }

    fn make(&self, flavour: Flavour) -> Result<Command> {
        let mut make = Command::new("make");
        make.arg("-C")
            .arg(&self.tree)
            .arg(format!("O={}", self.folder(flavour).display()))
            .arg(format!("LLVM={LLVM}"))
            .arg(format!("CC=ccache clang{LLVM}"))
            .arg(format!("RUSTC={}", self.tools.rustc.display()))
            .arg(format!("BINDGEN={}", self.tools.bindgen.display()))
            .env("CCACHE_DIR", paths::cache("ccache")?)
            .env("LIBCLANG_PATH", format!("/usr/lib/llvm{LLVM}/lib"))
            // The same bytes from the same source.
            .env("KBUILD_BUILD_TIMESTAMP", "2026-01-01")
            .env("KBUILD_BUILD_USER", "maps_lockless")
            .env("KBUILD_BUILD_HOST", "localhost")
            // cargo's own settings are not for the kernel.
            .env_remove("RUSTFLAGS")
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("MAKEFLAGS");
        make.arg("CLIPPY=1")
            .arg(format!("CLIPPY_DRIVER={}", self.tools.clippy.display()));
        Ok(make)
    }

    fn configure(&self, flavour: Flavour, must_have: Wanted) -> Result<()> {
        let wanted = flavour.wanted()?;
        let folder = self.folder(flavour);
        fs::create_dir_all(&folder)?;
        let fragment = folder.join(WANTED);
        let config = folder.join(".config");
        if must_have == Wanted::All
            && config.exists()
            && fs::read_to_string(&fragment).is_ok_and(|last| last == wanted)
            && series::files()?
                .iter()
                .filter(|file| is_kconfig(file))
                .all(|file| newer_than(&config, &self.tree.join(file)))
        {
            return Ok(());
        }
        // Not the one that the last check was of: it is put in its place after this one.
        let checked = fragment.with_extension("new");
        fs::write(&checked, &wanted)?;
        let log = paths::work("logs")?.join(format!("config-{}.log", flavour.name()));
        exec::run_logged(
            self.make(flavour)?
                .arg("allnoconfig")
                .env("KCONFIG_ALLCONFIG", &checked),
            &log,
        )?;
        // Kconfig drops what it does not know or cannot have without a word.
        let got = fs::read_to_string(&config)?;
        let mut lost: Vec<&str> = effective(&wanted)
            .into_iter()
            .filter(|line| match line.strip_suffix("=n") {
                Some(option) => got.contains(&format!("\n{option}=")),
                None => !got.lines().any(|got| got == *line),
            })
            .collect();
        if must_have == Wanted::WhatThereIs {
            let mut there = Vec::new();
            for line in lost {
                if self.has_option(line)? {
                    there.push(line);
                }
            }
            lost = there;
        }
        if !lost.is_empty() {
            bail!("this kernel cannot have {}", lost.join(" "));
        }
        fs::rename(&checked, &fragment)?;
        Ok(())
    }

    /// Whether a Kconfig file of the tree has the option that a line of a configuration sets.
    fn has_option(&self, line: &str) -> Result<bool> {
        let option = line.split('=').next().unwrap_or_default();
        let option = option.strip_prefix("CONFIG_").unwrap_or(option);
        let pattern = format!("^(menu)?config {option}$");
        found_below(&self.tree, "Kconfig*", &pattern)
    }

    /// Whether something that was built depends on a source: make's files of commands list what does.
    fn has_used(&self, flavour: Flavour, source: &Path) -> Result<bool> {
        let pattern = format!("/{}( |$)", source.display()).replace('.', "\\.");
        found_below(&self.folder(flavour), ".*.cmd", &pattern)
    }

    fn build(&self, flavour: Flavour) -> Result<PathBuf> {
        self.configure(flavour, Wanted::All)?;
        let Made {
            image, complaints, ..
        } = self.compile(flavour, &WHOLE)?;
        self.fail_on_warnings(&complaints)?;
        Ok(image)
    }

    /// Builds Linux without the series. Afterwards the tree holds the series again, of which a VM has programs.
    ///
    /// Whatever is built next compiles all anew that depends on what was exchanged, so that a kernel which is
    /// there already is left alone.
    fn unpatched(&self) -> Result<PathBuf> {
        let flavour = Flavour::Unpatched;
        let folder = self.folder(flavour);
        let (image, fragment) = (image_in(&folder), folder.join(WANTED));
        let wanted = flavour.wanted()?;
        let is_there = image.exists()
            && fs::read_to_string(&fragment).is_ok_and(|last| last == wanted)
            && newer_than(&image, &fragment);
        let built = if is_there {
            Ok(())
        } else {
            series::install(&self.tree, 0, None)?;
            self.configure(flavour, Wanted::WhatThereIs)
                .and_then(|()| self.compile(flavour, &WHOLE).map(drop))
        };
        series::install(&self.tree, usize::MAX, None)?;
        built?;
        Ok(image)
    }

    /// Runs make.
    fn compile(&self, flavour: Flavour, targets: &[impl AsRef<OsStr>]) -> Result<Made> {
        let folder = self.folder(flavour);
        let log_path = paths::work("logs")?.join(format!("build-{}.log", flavour.name()));
        let steps_file = folder.join("steps");
        let expected = fs::read_to_string(&steps_file)
            .ok()
            .and_then(|text| text.parse().ok());
        let jobs = thread::available_parallelism().map_or(2, usize::from);

        let mut child = self
            .make(flavour)?
            .arg(format!("-j{jobs}"))
            .args(targets)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("make")?;
        let mut log = File::create(&log_path)?;
        // What the compilers say, to be shown if it matters.
        let stderr = child.stderr.take().context("make's stderr")?;
        let complaints = thread::spawn(move || {
            BufReader::new(stderr)
                .lines()
                .map_while(Result::ok)
                .collect::<Vec<_>>()
        });
        let mut steps = Vec::new();
        let mut progress = Progress::new(format!("building kernel ({})", flavour.name()), expected);
        for line in BufReader::new(child.stdout.take().context("make's stdout")?).lines() {
            let line = line?;
            writeln!(log, "{line}")?;
            if line.starts_with("  ") {
                progress.step();
                steps.push(line);
            }
        }
        let status = child.wait()?;
        let complaints = complaints.join().unwrap_or_default();
        writeln!(log, "{}", complaints.join("\n"))?;
        let count = progress.end();
        if !status.success() {
            bail!(
                "building the kernel failed, see {}:\n{}",
                log_path.display(),
                complaints.join("\n")
            );
        }
        if expected.is_none_or(|expected| count > expected) {
            fs::write(&steps_file, count.to_string())?;
        }
        Ok(Made {
            image: image_in(&folder),
            steps,
            complaints,
        })
    }

    /// A warning in what the series brings or changes is an error.
    fn fail_on_warnings(&self, complaints: &[String]) -> Result<()> {
        let ours: Vec<String> = series::files()?
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        let mut lines = complaints.iter();
        while let Some(line) = lines.next() {
            if !line.contains("warning: ") {
                continue;
            }
            // rustc tells the place in the next line, clang in the same.
            let place = lines.as_slice().first().map_or("", String::as_str);
            if ours
                .iter()
                .any(|name| line.contains(name) || place.contains(name))
            {
                // So that the next build says it again.
                for file in series::files()? {
                    let _ = fs::remove_file(self.tree.join(file));
                }
                bail!("a warning of the compiler:\n{}", complaints.join("\n"));
            }
        }
        Ok(())
    }
}

/// Whether a file below a folder, whose name is like that, has a line that matches.
fn found_below(folder: &Path, name: &str, pattern: &str) -> Result<bool> {
    let status = Command::new("grep")
        .args(["-rqE", &format!("--include={name}"), pattern])
        .arg(folder)
        .status()
        .context("grep")?;
    match status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => bail!("grep of {}: {status}", folder.display()),
    }
}

/// Whether a file is compiled into a kernel. Those in tools/ are programs.
fn is_source(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("c" | "rs")) && !file.starts_with("tools")
}

/// What make is to make of a commit that changes these files: their objects, all of Rust's, and, where a
/// header changes, the parts of the kernel that are about address spaces.
fn targets(touched: &[&PathBuf]) -> Vec<String> {
    let mut targets = vec!["prepare".to_owned()];
    let mut add = |target: String| {
        if !targets.contains(&target) {
            targets.push(target);
        }
    };
    for file in touched.iter().filter(|file| !file.starts_with("tools")) {
        let extension = file.extension().and_then(|extension| extension.to_str());
        match extension {
            // `prepare` compiles these.
            _ if file.starts_with("rust") => {}
            Some("c") => add(file.with_extension("o").display().to_string()),
            Some("rs") => add(format!("{}/", file.parent().unwrap_or(file).display())),
            Some("h") => ["kernel/fork.o", "mm/", "fs/proc/"]
                .map(str::to_owned)
                .into_iter()
                .for_each(&mut add),
            _ => {}
        }
    }
    targets
}

/// A build's folder is within the tree, so that file names in it are relative, and ccache finds what
/// another checkout has compiled.
fn folder(tree: &Path, flavour: Flavour) -> PathBuf {
    tree.join(format!("build-{}", flavour.name()))
}

fn image_in(folder: &Path) -> PathBuf {
    folder.join("arch/x86/boot/bzImage")
}

/// The object that a step of make compiles, `CC      mm/vma.o`, if one of these sources is in it. Those of a
/// Rust crate are below the crate's folder.
fn compiled<'a>(step: &'a str, sources: &[&PathBuf]) -> Option<&'a str> {
    let (by, object) = (
        step.split_whitespace().next()?,
        step.split_whitespace().next_back()?,
    );
    let path = Path::new(object);
    let holds = |source: &&&PathBuf| match by {
        "CC" => path.with_extension("c") == ***source,
        "RUSTC" | "CLIPPY" => {
            source
                .extension()
                .is_some_and(|extension| extension == "rs")
                && path.parent().is_some_and(|dir| source.starts_with(dir))
        }
        _ => false,
    };
    let is_object = path.extension().is_some_and(|extension| extension == "o");
    (is_object && sources.iter().any(|source| holds(&source))).then_some(object)
}

/// The lines of a configuration that no later line overrules.
fn effective(config: &str) -> Vec<&str> {
    let lines: Vec<&str> = config
        .lines()
        .filter(|line| line.starts_with("CONFIG_"))
        .collect();
    let option = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
    lines
        .iter()
        .enumerate()
        .filter(|(i, line)| {
            !lines[i + 1..]
                .iter()
                .any(|later| option(later) == option(line))
        })
        .map(|(_, line)| *line)
        .collect()
}

fn is_kconfig(file: &Path) -> bool {
    file.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with("Kconfig"))
}

fn newer_than(path: &Path, other: &Path) -> bool {
    let time = |path: &Path| {
        path.metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    time(path) >= time(other)
}

#[cfg(test)]
mod tests {
    use super::{compiled, effective, targets};
    use std::path::PathBuf;

    #[test]
    fn a_step_compiles_what_is_in_its_object() {
        let sources = ["mm/vma.c", "fs/proc/it/walk.rs", "rust/kernel/mm.rs"].map(PathBuf::from);
        let sources: Vec<&PathBuf> = sources.iter().collect();
        for (step, object) in [
            ("  CC      mm/vma.o", Some("mm/vma.o")),
            ("  CC      mm/mmap.o", None),
            ("  CC      fs/proc/base.o", None),
            ("  AR      mm/built-in.a", None),
            ("  CLIPPY     fs/proc/it/it.o", Some("fs/proc/it/it.o")),
            ("  RUSTC L rust/kernel.o", Some("rust/kernel.o")),
            ("  RUSTC P rust/libmacros.so", None),
            ("", None),
        ] {
            assert_eq!(compiled(step, &sources), object, "{step}");
        }
    }

    #[test]
    fn what_a_commit_changes_is_made() {
        let touched = [
            "mm/vma.c",
            "include/linux/mm.h",
            "rust/kernel/mm.rs",
            "fs/a/b.rs",
            "tools/c.c",
        ]
        .map(PathBuf::from);
        let made = targets(&touched.iter().collect::<Vec<_>>());
        assert_eq!(
            made,
            [
                "prepare",
                "mm/vma.o",
                "kernel/fork.o",
                "mm/",
                "fs/proc/",
                "fs/a/"
            ]
        );
    }

    #[test]
    fn a_later_line_overrules() {
        let config = "# CONFIG_C=y\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_A=n\n";
        assert_eq!(effective(config), ["CONFIG_B=y", "CONFIG_A=n"]);
    }
}
