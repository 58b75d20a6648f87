// SPDX-License-Identifier: MIT OR Apache-2.0

//! What goes wrong, the exit status that comes of it, and what is said.

use super::{Ran, Test, command, lsmaps};
use crate::{child::Target, tests::access::NOBODY};
use anyhow::{Context, Result, ensure};
use std::{
    fs::{self, File},
    io::Read,
    os::unix::process::CommandExt,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

/// Every way to write a listing.
const WAYS: [&str; 8] = [
    "--format=table",
    "--format=raw",
    "--format=json",
    "--format=jsonl",
    "--format=maps",
    "--tree",
    "--summary",
    "--count",
];

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("lsmaps: wrong usage", usage),
        Test::new("lsmaps: no such process", no_process),
        Test::new("lsmaps: not permitted", not_permitted),
        Test::new(
            "lsmaps: all processes, of which few may be read",
            few_permitted,
        ),
        Test::new("lsmaps: kernel thread", kernel_thread),
        Test::new("lsmaps: zombie", zombie),
        Test::new("lsmaps: a process that exits meanwhile", exits),
        Test::new("lsmaps: a process that calls execve meanwhile", calls_exec),
        Test::new("lsmaps: nobody reads on", closed_pipe),
        Test::new("lsmaps: the disk is full", full),
    ]
}

fn usage() -> Result<()> {
    for args in [
        &[][..],
        &["x"],
        &["0"],
        &["--no-such-option", "1"],
        &["--raw", "--json", "1"],
        &["-o", "NO-SUCH-COLUMN", "1"],
        &["--range", "2-1", "1"],
        &["--from-file", "/no/such/file"],
        &["--from-file", "/init"],
    ] {
        let ran = lsmaps(args)?;
        ensure!(ran.status == Some(1), "{args:?}: {:?}", ran.status);
        ensure!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{args:?}");
    }
    Ok(())
}

fn no_process() -> Result<()> {
    let expected = "lsmaps: 999999: /proc/999999/maps_lockless: no such process (ENOENT)\n";
    let ran = lsmaps(&["999999"])?.expect(2, expected)?;
    ensure!(
        ran.stdout.is_empty() && ran.stderr == expected,
        "{}",
        ran.stderr
    );
    let target = Target::start("plain")?;
    let some = lsmaps(&["999999", &target.pid().to_string()])?.expect(42, expected)?;
    ensure!(
        some.text()?.contains(", from maps_lockless, consistent\n"),
        "{}",
        some.text()?
    );
    Ok(())
}

fn as_nobody(args: &[&str]) -> Result<Ran> {
    command(args).uid(NOBODY).gid(NOBODY).output()?.try_into()
}

fn not_permitted() -> Result<()> {
    let target = Target::start("plain")?;
    let pid = target.pid();
    let ran = as_nobody(&[&pid.to_string()])?;
    let ran = ran.expect(2, "not permitted (EACCES): try as root")?;
    ensure!(ran.stdout.is_empty() && ran.stderr.starts_with(&format!("lsmaps: {pid}: ")));
    for hint in ["try as root", "hidepid"] {
        ensure!(ran.stderr.contains(hint), "{}", ran.stderr);
    }
    Ok(())
}

fn few_permitted() -> Result<()> {
    let target = Target::start("plain")?;
    let own = Target::start_as(NOBODY, "plain")?;
    let args = ["--all", "-n", "-r", "-o", "PID"];
    let ran = as_nobody(&args)?.expect(42, " processes could not be read, as ")?;
    ensure!(
        ran.stderr.lines().count() == 1,
        "one line is enough: {}",
        ran.stderr
    );
    ensure!(
        ran.stderr.contains("(EACCES): try as root"),
        "{}",
        ran.stderr
    );
    let listed =
        |pid: u32| Ok::<_, anyhow::Error>(ran.text()?.lines().any(|line| line == pid.to_string()));
    ensure!(listed(own.pid())? && !listed(target.pid())?);
    Ok(())
}

fn kernel_thread() -> Result<()> {
    let ran = lsmaps(&["2"])?.expect(0, "lsmaps: 2: it has no memory of its own")?;
    ensure!(ran.text()?.contains("# 0 mappings"), "{}", ran.text()?);
    // Among all, there is nothing to be said of those.
    let all = lsmaps(&["--all", "--count"])?.expect(0, "")?;
    ensure!(all.stderr.is_empty() && all.text()?.contains("\n2 kthreadd: 0\n"));
    Ok(())
}

fn zombie() -> Result<()> {
    let mut target = Target::start("plain")?;
    target.kill()?;
    while !stat(target.pid())?.contains(") Z ") {
        thread::sleep(Duration::from_millis(5));
    }
    lsmaps(&[&target.pid().to_string()])?.expect(0, "a kernel thread, or a zombie")?;
    Ok(())
}

fn stat(pid: u32) -> Result<String> {
    Ok(fs::read_to_string(format!("/proc/{pid}/stat"))?)
}

/// Starts lsmaps on more than a pipe takes, and reads the first byte. It waits in the middle.
fn begin(target: &Target, way: &str) -> Result<Child> {
    let mut child = command(&[way, &target.pid().to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.as_mut().context("no stdout")?;
    stdout.read_exact(&mut [0])?;
    Ok(child)
}

/// What is listed until then is shown, and it is said that there is more.
fn is_cut_short(child: Child) -> Result<()> {
    let ran: Ran = child.wait_with_output()?.try_into()?;
    let ran = ran.expect(2, "it exited or called execve meanwhile")?;
    let rows = ran.stdout.split(|&byte| byte == b'\n').count();
    ensure!(rows > 100 && rows < MANY, "{rows}");
    Ok(())
}

/// So many mappings are listed in more bytes than a pipe takes and lsmaps reads at once.
const MANY: usize = 20_000;

fn exits() -> Result<()> {
    let mut target = Target::start(&format!("vmas-{MANY}"))?;
    let child = begin(&target, "--format=raw")?;
    target.kill()?;
    target.reap()?;
    is_cut_short(child)
}

fn calls_exec() -> Result<()> {
    let mut target = Target::start(&format!("exec-vmas-{MANY}"))?;
    let child = begin(&target, "--format=maps")?;
    let line = fs::read_to_string(format!("/proc/{}/maps", target.pid()))?;
    target.go_on()?;
    while fs::read_to_string(format!("/proc/{}/maps", target.pid()))?.len() > line.len() / 2 {
        thread::sleep(Duration::from_millis(5));
    }
    is_cut_short(child)
}

fn closed_pipe() -> Result<()> {
    let target = Target::start(&format!("vmas-{MANY}"))?;
    for way in WAYS {
        if ["--summary", "--count"].contains(&way) {
            // They write too little to notice.
            continue;
        }
        let mut child = begin(&target, way)?;
        drop(child.stdout.take());
        let ran: Ran = child.wait_with_output()?.try_into()?;
        ensure!(ran.expect(0, "")?.stderr.is_empty(), "{way}");
    }
    Ok(())
}

fn full() -> Result<()> {
    let target = Target::start("plain")?;
    let pid = &target.pid().to_string()[..];
    let cases = WAYS.iter().map(|&way| vec![way, pid]);
    for args in cases.chain([vec!["-H"], vec!["-h"], vec!["--watch", pid]]) {
        let full = File::options().write(true).open("/dev/full")?;
        let ran: Ran = command(&args).stdout(full).output()?.try_into()?;
        let ran = ran
            .expect(1, "No space left on device")
            .with_context(|| args.join(" "))?;
        ensure!(ran.stderr.lines().count() == 1, "{}", ran.stderr);
    }
    Ok(())
}
