// SPDX-License-Identifier: MIT OR Apache-2.0

//! The VM's first process: mounts file systems, runs one command, tells its exit status, ends.
//!
//! The runner leaves the command in `/command`: `raw` or `tty` for the console's mode, then the
//! arguments, each ended by a NUL byte. The status goes to a virtio port of its own, as
//! `exit STATUS`: a VM that ends without that line has failed, however it ended.

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sys::{
        reboot::{RebootMode, reboot},
        termios::{SetArg, cfmakeraw, tcdrain, tcgetattr, tcsetattr},
        wait::{WaitStatus, waitpid},
    },
    unistd::{Pid, setsid},
};
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::{ffi::OsStringExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const MOUNTS: [(&str, &str, &str); 9] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("tmpfs", "/tmp", ""),
    ("tmpfs", "/run", ""),
    ("tmpfs", "/dev/shm", ""),
    ("hugetlbfs", "/dev/hugepages", ""),
    ("debugfs", "/sys/kernel/debug", ""),
    ("tracefs", "/sys/kernel/tracing", ""),
];

fn main() {
    let status = match run() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("init: {error:#}");
            125
        }
    };
    if let Err(error) = report(status) {
        eprintln!("init: cannot report the exit status: {error:#}");
    }
    // QEMU runs with -no-reboot.
    let _ = reboot(RebootMode::RB_AUTOBOOT);
}

fn run() -> Result<i32> {
    for (kind, target, data) in MOUNTS {
        fs::create_dir_all(target).with_context(|| target.to_owned())?;
        mount(Some(kind), target, Some(kind), MsFlags::empty(), Some(data))
            .with_context(|| format!("mount {target}"))?;
    }
    // For what some tests map.
    fs::write("/proc/sys/vm/nr_hugepages", "4").context("nr_hugepages")?;

    let command = fs::read("/command").context("/command")?;
    let mut words = command
        .split(|&byte| byte == 0)
        .map(|word| OsString::from_vec(word.to_vec()));
    let mode = words.next().unwrap_or_default();
    let mut args: Vec<OsString> = words.collect();
    // What follows the last NUL.
    args.pop();
    let [program, args @ ..] = &args[..] else {
        bail!("/command names no program");
    };

    let console = open_device("/dev/hvc0")?;
    if mode == "raw" {
        let mut termios = tcgetattr(&console)?;
        cfmakeraw(&mut termios);
        tcsetattr(&console, SetArg::TCSANOW, &termios)?;
    }
    let mut command = Command::new(program);
    command
        .args(args)
        .env("PATH", "/bin:/usr/bin")
        .env("HOME", "/tmp")
        .env("TERM", "linux")
        .env("RUST_BACKTRACE", "1")
        .env("RUST_LIB_BACKTRACE", "0")
        .stdin(if mode == "raw" {
            // Nothing would ever tell the console's end.
            Stdio::null()
        } else {
            console.try_clone()?.into()
        })
        .stdout(console.try_clone()?)
        .stderr(console.try_clone()?);
    #[expect(unsafe_code, reason = "pre_exec() has no safe form")]
    // SAFETY: Between fork and exec only two system calls run.
    unsafe {
        command.pre_exec(|| {
            setsid()?;
            // The console becomes the controlling terminal, for job control in a shell. It fails
            // harmlessly where that is not wanted.
            nix::libc::ioctl(0, nix::libc::TIOCSCTTY, 0);
            Ok(())
        });
    }
    let child = match command.spawn() {
        Ok(child) => child,
        // As a shell does.
        Err(error) => {
            writeln!(&console, "init: {}: {error}\r", program.to_string_lossy())?;
            let _ = tcdrain(&console);
            return Ok(127);
        }
    };
    let status = reap_until(Pid::from_raw(child.id().try_into()?))?;
    let _ = tcdrain(&console);
    scan_for_leaks().context(KMEMLEAK)?;
    Ok(status)
}

/// Where a kernel with kmemleak is told to scan, and tells what it found.
const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";

/// Has kmemleak, where there is one, look for what nothing points to any more. Its findings go to the
/// kernel's log, in which the runner looks for them.
fn scan_for_leaks() -> Result<()> {
    if !Path::new(KMEMLEAK).exists() {
        return Ok(());
    }
    // It tells of nothing younger than five seconds, and of nothing that has changed, or is new to it,
    // since the scan before. A scan fails where kmemleak has turned itself off.
    sleep(Duration::from_secs(6));
    for _ in 0..3 {
        fs::write(KMEMLEAK, "scan")?;
    }
    let found = fs::read_to_string(KMEMLEAK)?;
    for line in found.lines() {
        fs::write("/dev/kmsg", line)?;
    }
    fs::write("/dev/kmsg", "init: scanned for leaks")?;
    Ok(())
}

/// Waits for orphans as they come, and for the command. As a shell does, tells death by signal as
/// 128 and the signal's number.
fn reap_until(command: Pid) -> Result<i32> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, status)) if pid == command => return Ok(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => {
                return Ok(128 + signal as i32);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("wait"),
        }
    }
}

fn report(status: i32) -> Result<()> {
    let mut port = open_device("/dev/vport0p1")?;
    writeln!(port, "exit {status}").context("/dev/vport0p1")
}

/// Opens a device of the VM's, which the kernel may still be finding.
fn open_device(path: &str) -> Result<File> {
    let begin = Instant::now();
    loop {
        match OpenOptions::new().read(true).write(true).open(path) {
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    && begin.elapsed() < Duration::from_secs(60) =>
            {
                sleep(Duration::from_millis(50));
            }
            result => return result.with_context(|| path.to_owned()),
        }
    }
}
