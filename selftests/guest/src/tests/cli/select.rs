// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which processes, which mappings, which columns.

use super::{MapsLine, Test, good, good_text, lsmaps, maps};
use crate::{child::Target, tests::same_as_maps};
use anyhow::{Context, Result, ensure};
use std::fs;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("lsmaps: selects mappings as told from maps", mappings),
        Test::new("lsmaps: --range", range),
        Test::new("lsmaps: --addr, mapped, in a hole, left out", address),
        Test::new("lsmaps: several processes, self, --comm, --all", processes),
        Test::new("lsmaps: --tid, where the main thread has exited", tid),
        Test::new("lsmaps: columns", columns),
        Test::new("lsmaps: columns that maps has not", more_columns),
    ]
}

/// The lines of maps for which `is_wanted` holds are those that lsmaps selects. Returns how many.
fn same(pid: u32, args: &[&str], is_wanted: impl Fn(&MapsLine) -> bool) -> Result<usize> {
    let pid_text = pid.to_string();
    let listed = good_text(&[&["--format=maps", &pid_text], args].concat())?;
    let lines = maps(pid)?;
    let wanted: Vec<&str> = lines
        .iter()
        .filter(|line| is_wanted(line))
        .map(|line| &line.line[..])
        .collect();
    let listed: Vec<&str> = listed.lines().collect();
    ensure!(
        listed == wanted,
        "{args:?}: {listed:#?} and not {wanted:#?}"
    );
    ensure!(listed.len() < lines.len(), "{args:?} leaves nothing out");
    Ok(listed.len())
}

fn mappings() -> Result<()> {
    type Wanted = fn(&MapsLine) -> bool;
    let cases: [(&[&str], Wanted); 14] = [
        (&["-x"], |line| line.perms.contains('x')),
        (&["--anon"], |line| !line.is_file()),
        (&["-p", "wx"], |line| line.perms[1..].starts_with("wx")),
        (&["-p", "r-xp"], |line| line.perms == "r-xp"),
        (&["-p", "s"], |line| line.perms.ends_with('s')),
        (&["-p", "p"], |line| line.perms.ends_with('p')),
        (&["-p", "---p"], |line| line.perms == "---p"),
        (&["-p", "wp"], |line| {
            line.perms[1..].starts_with('w') && line.perms.ends_with('p')
        }),
        (&["-f", "target"], |line| line.name.ends_with("/target")),
        (&["-f", "/bin/t*"], |line| line.name.starts_with("/bin/t")),
        (&["-f", "t?rget", "-f", "zer[o]*"], |line| {
            line.name == "/bin/target" || line.name.starts_with("/dev/zero")
        }),
        (&["-x", "--anon"], |line| {
            line.perms.contains('x') && !line.is_file()
        }),
        (&["-x", "-f", "target"], |line| {
            line.perms.contains('x') && line.name == "/bin/target"
        }),
        (&["-p", "w", "--anon"], |line| {
            line.perms.contains('w') && !line.is_file()
        }),
    ];
    let target = Target::start("protections")?;
    for (args, is_wanted) in cases {
        let count = same(target.pid(), args, is_wanted)?;
        ensure!(count > 0, "{args:?} selects nothing");
    }
    same(target.pid(), &["-f", "no such file"], |_| false)?;
    Ok(())
}

fn range() -> Result<()> {
    let target = Target::start("file-vmas-1000")?;
    let lines = maps(target.pid())?;
    let many: Vec<&MapsLine> = lines
        .iter()
        .filter(|line| line.name == "/tmp/many")
        .collect();
    let (start, end) = (many[100].start + 1, many[200].start);
    let range = format!("{start:x}-0x{end:x}");
    let count = same(target.pid(), &["--range", &range], |line| {
        line.end > start && line.start < end
    })?;
    ensure!(count == 100, "{count}");
    let args = ["--range", &range, "-x"];
    ensure!(same(target.pid(), &args, |_| false)? == 0);
    Ok(())
}

fn address() -> Result<()> {
    let target = Target::start("file-vmas-1000")?;
    let pid = &target.pid().to_string()[..];
    let lines = maps(target.pid())?;
    let line = lines.iter().filter(|line| line.name == "/tmp/many").nth(7);
    let line = line.context("no such mapping")?;
    let address = format!("{:x}", line.start + 0x123);
    let row = ["-n", "-r", "-o", "ADDRESS,START,END,FILE-OFFSET,NAME"];
    let found = good_text(&[&row[..], &["-a", &address, pid]].concat())?;
    let offset = line.offset + 0x123;
    let expected = format!(
        "{address} {:x} {:x} {offset:x} /tmp/many\n",
        line.start, line.end
    );
    ensure!(found == expected, "{found}");
    // Every way to look up.
    for source in ["lockless", "query", "maps"] {
        let args = [&row[..], &["-a", &address, "--source", source, pid]].concat();
        ensure!(good_text(&args)? == expected, "{source}");
    }
    // By the table, that says how it was found.
    let found = good_text(&["-a", &address, pid])?;
    ensure!(
        found.contains("# 1 mapping, 4K, from maps_lockless, looked up"),
        "{found}"
    );

    // Nothing is mapped there, and there is something elsewhere.
    let hole = lsmaps(&["-a", "1000", pid])?.expect(2, "nothing is mapped at 1000\n")?;
    ensure!(!hole.text()?.contains("/tmp/many"));
    let some = lsmaps(&["-n", "-a", "1000", "-a", &address, pid])?;
    let some = some.expect(42, "nothing is mapped at 1000\n")?;
    ensure!(some.text()?.lines().count() == 1, "{}", some.text()?);
    // It is mapped, but not executable.
    ensure!(good(&["-n", "-x", "-a", &address, pid])?.is_empty());
    Ok(())
}

fn processes() -> Result<()> {
    let (one, two) = (Target::start("plain")?, Target::start("plain")?);
    let pids = [one.pid().to_string(), two.pid().to_string()];
    let listed = |args: &[&str]| -> Result<Vec<String>> {
        let text = good_text(&[&["-n", "-r", "-o", "PID,COMMAND"], args].concat())?;
        let mut processes: Vec<String> = text.lines().map(str::to_owned).collect();
        processes.dedup();
        Ok(processes)
    };
    let both = pids.each_ref().map(|pid| format!("{pid} target"));
    // Each once, in the order that they were named in.
    ensure!(listed(&[&pids[1], &pids[0], &pids[1]])? == [both[1].clone(), both[0].clone()]);
    for name in ["target", "tar*", "[t]arge?"] {
        ensure!(listed(&["--comm", name])? == both, "{name}");
    }
    lsmaps(&["--comm", "targe"])?.expect(2, "no process is called targe")?;
    let own = listed(&["self"])?;
    ensure!(own.len() == 1 && own[0].ends_with(" lsmaps"), "{own:?}");
    let all = listed(&["--all"])?;
    for process in both
        .iter()
        .chain([&format!("{} guest-tests", std::process::id())])
    {
        ensure!(all.contains(process), "{process}: {all:?}");
    }
    ensure!(all[0] == "1 init", "{all:?}");
    let table = good_text(&[&pids[0], &pids[1]])?;
    ensure!(table.contains("# 2 processes, "), "{table}");
    ensure!(
        table.ends_with("from maps_lockless, each consistent\n"),
        "{table}"
    );
    Ok(())
}

fn tid() -> Result<()> {
    let target = Target::start("exited-main-thread")?;
    let tid = same_as_maps::thread_of(&target, "exited-main-thread")?.context("no thread")?;
    let pid = &target.pid().to_string()[..];
    let listed = good(&["--format=maps", "--tid", &tid.to_string(), pid])?;
    let shown = fs::read(format!("/proc/{pid}/task/{tid}/maps"))?;
    ensure!(!shown.is_empty() && listed == shown);
    let main = lsmaps(&["--format=maps", pid])?.expect(0, "no memory of its own")?;
    ensure!(main.stdout.is_empty());
    lsmaps(&["--tid", "999999", pid])?.expect(2, "ENOENT")?;
    Ok(())
}

fn columns() -> Result<()> {
    let target = Target::start("deleted-file")?;
    let pid = &target.pid().to_string()[..];
    let columns = "START,END,SIZE,PERMS,OFFSET,DEVICE,INODE,DELETED,NAME";
    let text = good_text(&["-r", "-b", "-o", columns, pid])?;
    let mut rows = text.lines();
    ensure!(rows.next() == Some(&columns.replace(',', " ")[..]));
    for line in maps(target.pid())? {
        let row: Vec<&str> = rows.next().context("too few rows")?.split(' ').collect();
        let file = |text: String| if line.is_file() { text } else { "-".to_owned() };
        let deleted = line.name.ends_with(" (deleted)");
        let expected = [
            format!("{:x}", line.start),
            format!("{:x}", line.end),
            (line.end - line.start).to_string(),
            line.perms.clone(),
            file(format!("{:x}", line.offset)),
            file(line.device.clone()),
            file(line.inode.to_string()),
            file(if deleted { "yes" } else { "no" }.to_owned()),
            match &line.name[..] {
                "" => "-".to_owned(),
                name => name.replace(' ', "\\x20"),
            },
        ];
        ensure!(row == expected, "{row:?} and not {expected:?}");
    }
    ensure!(rows.next().is_none(), "too many rows");

    // In the table the same values line up, and sizes are short.
    let added = good_text(&["-o", "+INODE", pid])?;
    let heading: Vec<&str> = added
        .lines()
        .next()
        .context("empty")?
        .split_whitespace()
        .collect();
    ensure!(heading == ["START", "END", "SIZE", "PERMS", "OFFSET", "INODE", "NAME"]);
    ensure!(added.contains(" 4K r--s "), "{added}");
    let bare = good_text(&["-n", pid])?;
    ensure!(bare.lines().count() == maps(target.pid())?.len(), "{bare}");
    let all = good_text(&["--output-all", "-r", pid])?;
    let known = good_text(&["-H"])?.lines().count();
    ensure!(
        all.lines().all(|row| row.split(' ').count() == known),
        "{all}"
    );
    Ok(())
}

fn more_columns() -> Result<()> {
    let target = Target::start_program("/bin/target-dynamic", "anon-name")?;
    let pid = &target.pid().to_string()[..];
    let text = good_text(&[
        "-n",
        "-r",
        "-o",
        "KIND,FLAGS,BUILD-ID,MARKS,COMMAND,NAME",
        pid,
    ])?;
    let rows: Vec<Vec<&str>> = text.lines().map(|row| row.split(' ').collect()).collect();
    let row = |kind: &str, name: &str| {
        let mut rows = rows.iter();
        rows.find(|row| row[0] == kind && row[5] == name && row[1].contains("rd"))
            .with_context(|| format!("no {kind} {name}: {text}"))
    };
    row("anon", "[anon:private\\x20name]")?;
    row("heap", "[heap]")?;
    row("special", "[vdso]")?;
    ensure!(
        row("stack", "[stack]")?[1]
            .split(',')
            .any(|flag| flag == "gd"),
        "{text}"
    );
    let is_code = |row: &&Vec<&str>| row[5] == "/lib/libc.so.6" && row[1].contains("ex");
    let code = rows.iter().find(is_code).context("no libc")?;
    ensure!(
        code[0] == "file" && code[3] == "-" && code[4] == "target-dynamic",
        "{text}"
    );
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    ensure!(code[2].len() == 40 && is_hex(code[2]), "{text}");
    Ok(())
}
