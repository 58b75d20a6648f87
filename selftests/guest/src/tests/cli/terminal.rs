// SPDX-License-Identifier: MIT OR Apache-2.0

//! What comes to a terminal.

use super::{Test, command};
use crate::child::Target;
use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    pty::{Winsize, openpty},
};
use std::{fs, io::Read, os::unix::ffi::OsStrExt, path::Path, process::Stdio};

const COLUMNS: u16 = 80;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("lsmaps: hostile names do not drive a terminal", hostile),
        Test::new("lsmaps: colour, and a line fits a terminal", looks),
    ]
}

/// What lsmaps writes to a terminal.
fn shown(args: &[&str], no_color: bool) -> Result<String> {
    let size = Winsize {
        ws_row: 24,
        ws_col: COLUMNS,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    if !fs::exists("/dev/pts/ptmx")? {
        fs::create_dir_all("/dev/pts")?;
        let none = MsFlags::empty();
        mount(
            Some("devpts"),
            "/dev/pts",
            Some("devpts"),
            none,
            None::<&str>,
        )
        .context("devpts")?;
    }
    let pty = openpty(&size, None).context("openpty")?;
    let mut command = command(args);
    command
        .stdout(pty.slave.try_clone()?)
        .stderr(Stdio::from(pty.slave));
    if no_color {
        command.env("NO_COLOR", "1");
    }
    let mut child = command.spawn()?;
    // It holds the terminal open.
    drop(command);
    let mut text = Vec::new();
    match fs::File::from(pty.master).read_to_end(&mut text) {
        // Nobody writes any more.
        Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => {}
        result => {
            result?;
        }
    }
    ensure!(child.wait()?.success(), "{args:?}");
    // The terminal's own.
    Ok(String::from_utf8(text)?.replace("\r\n", "\n"))
}

/// The terminal would do something with it.
fn drives(c: char) -> bool {
    c != '\n' && c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)
}

fn hostile() -> Result<()> {
    // As the command's name, too.
    let name = b"\x1b[2Ja\x07\xc2\x9b\xe2\x80\xae";
    let program = Path::new("/tmp").join(std::ffi::OsStr::from_bytes(name));
    fs::copy("/bin/target", &program)?;
    let target = Target::start_program(&program, "name-escape")?;
    let pid = &target.pid().to_string()[..];
    let comm = fs::read(format!("/proc/{pid}/comm"))?;
    ensure!(comm.starts_with(b"\x1b[2Ja\x07"), "{}", comm.escape_ascii());
    let capture = "/tmp/lsmaps-hostile";
    for args in [
        &[pid][..],
        &["--output-all", "-u", pid],
        &["--raw", "-o", "COMMAND,NAME", pid],
        &["--json", "--output-all", pid],
        &["--format=jsonl", "--output-all", pid],
        &["--format=maps", pid],
        &["--tree", pid],
        &["--summary", pid],
        &["--count", pid, "self"],
        &["--all", "--range", "0-ffffffffffff"],
        &["--record", capture, pid],
        &["--from-file", capture],
        &["--diff", capture],
        &["--from-file", capture, "--summary"],
    ] {
        let text = shown(args, true).with_context(|| args.join(" "))?;
        ensure!(!text.contains(drives), "{args:?}: {}", text.escape_debug());
    }
    // They are shown, as what they are.
    let table = shown(&["-u", "-n", "-o", "NAME", pid], true)?;
    ensure!(
        table.contains("/tmp/odd/\\x1b[2J\\x07\\xc2\\x9b\\xe2\\x80\\xae"),
        "{table}"
    );
    let json = shown(&["--json", pid], true)?;
    ensure!(json.contains("\\u001b[2J\\u0007\\u009b\\u202e"), "{json}");
    fs::remove_file(program)?;
    Ok(())
}

fn looks() -> Result<()> {
    let long = format!("/tmp/{}", "n".repeat(100));
    fs::copy("/bin/target", &long)?;
    let target = Target::start_program(&long, "protections")?;
    let pid = &target.pid().to_string()[..];
    let (plain, colored) = (shown(&[pid], true)?, shown(&[pid], false)?);
    ensure!(!plain.contains('\x1b') && colored.contains("\x1b["));
    // The last line is not cut.
    let mut rows = plain.lines().filter(|line| !line.starts_with('#'));
    ensure!(
        rows.all(|line| line.chars().count() <= COLUMNS.into()),
        "{plain}"
    );
    ensure!(plain.contains(" …nnn") && !plain.contains(&long), "{plain}");
    ensure!(shown(&["-u", pid], true)?.contains(&long), "-u cuts");
    ensure!(shown(&["--color=never", pid], false)? == plain);
    ensure!(shown(&["--color=always", pid], true)? == colored);
    fs::remove_file(long)?;
    Ok(())
}
