// SPDX-License-Identifier: MIT OR Apache-2.0

//! Build IDs: present, absent, or not in the page cache.

use super::Test;
use crate::{
    child::Target,
    elf, query,
    raw::{ALL, Lockless, MAPS},
    sched::cpu_time,
};
use anyhow::{Context, Result, ensure};
use maps_lockless::{BuildId, wire::*};
use std::{fs, os::unix::fs::FileExt, time::Duration};

const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("build ID: of a real program and its libraries", real),
        Test::new("build ID: present, absent, not resident", answers),
        Test::new(
            "build ID: a file that goes on for ever is given up",
            bounded,
        ),
        Test::new("build ID: each file's stands once in a batch", once),
        Test::new("build ID: not where it was not asked for", unasked),
    ]
}

/// As PROCMAP_QUERY finds them.
fn real() -> Result<()> {
    let target = Target::start_program("/bin/target-dynamic", "plain")?;
    let maps = fs::File::open(format!("/proc/{}/maps", target.pid()))?;
    let mut file = Lockless::with_request(target.pid(), ALL)?;
    let mut present = 0;
    for owned in file.batches(MAX)? {
        for vma in owned.vmas()? {
            let executable = vma.fields.vma_flags & MAPS_LOCKLESS_VMA_EXEC != 0;
            if !executable || vma.fields.vma_flags & MAPS_LOCKLESS_VMA_FILE == 0 {
                ensure!(vma.build_id() == BuildId::Unknown, "{vma:?}");
                continue;
            }
            let BuildId::Present(id) = vma.build_id() else {
                anyhow::bail!("{}: {:?}", vma.name.escape_ascii(), vma.build_id());
            };
            ensure!(query::build_id(&maps, vma.fields.start)?.as_deref() == Some(id));
            present += 1;
        }
    }
    // The program, its loader, libc and libgcc.
    ensure!(present >= 3, "{present} build IDs");
    Ok(())
}

/// The answers for the files of the shape `build-ids`, by their names.
fn listed(target: &Target) -> Result<Vec<(String, String)>> {
    let mut file = Lockless::with_request(target.pid(), ALL)?;
    let mut answers = Vec::new();
    for owned in file.batches(MAX)? {
        for vma in owned.vmas()? {
            let Some(name) = vma.name.strip_prefix(target.said.as_bytes()) else {
                continue;
            };
            let answer = match vma.build_id() {
                BuildId::Present(id) => id.escape_ascii().to_string(),
                other => format!("{other:?}"),
            };
            answers.push((name.escape_ascii().to_string(), answer));
        }
    }
    answers.sort();
    answers.dedup();
    Ok(answers)
}

/// A file's author does not decide how long a read takes: one has 256 segments of notes, of 16 MiB each.
fn bounded() -> Result<()> {
    let target = Target::start("build-ids")?;
    let time = |request| -> Result<Duration> {
        let mut file = Lockless::with_request(target.pid(), request)?;
        let begin = cpu_time()?;
        file.batches(MAX)?;
        Ok(cpu_time()? - begin)
    };
    let ratio = time(ALL)?.as_secs_f64() / time(MAPS)?.as_secs_f64();
    println!("# with build IDs, a listing takes {ratio:.0} times as long");
    ensure!(ratio < 1000.0, "{ratio:.0} times");
    Ok(())
}

fn answers() -> Result<()> {
    let target = Target::start("build-ids")?;
    let expect = |hole: &str| -> Vec<(String, String)> {
        [
            ("absent", "Absent"),
            ("empty", "Absent"),
            ("endless", "Absent"),
            ("hole", hole),
            ("long", "Absent"),
            ("not-elf", "Absent"),
            ("present", "twenty bytes of ID!!"),
            ("readable", "Unknown"),
            ("short", "8 bytes."),
            ("thirty-two", "32-bit"),
            ("truncated", "Absent"),
        ]
        .map(|(name, answer)| (name.to_owned(), answer.to_owned()))
        .to_vec()
    };
    let got = listed(&target)?;
    ensure!(got == expect("NotResident"), "{got:?}");
    // What is written is in the page cache, and then it is found.
    let hole = fs::File::options()
        .write(true)
        .open(format!("{}hole", target.said))?;
    hole.write_all_at(&elf::build_id_note(b"now it is here"), 8192)?;
    let got = listed(&target)?;
    ensure!(got == expect("now it is here"), "{got:?}");
    Ok(())
}

fn once() -> Result<()> {
    let target = Target::start("build-ids")?;
    let path = format!("{}present", target.said);
    let owned = Lockless::with_request(target.pid(), ALL)?.batch(MAX)?;
    ensure!(owned.is_final(), "it takes more than a batch");
    let vmas = owned.vmas()?;
    let same: Vec<_> = vmas
        .iter()
        .filter(|vma| vma.name == path.as_bytes())
        .collect();
    // Mapped twice of one open file and once of another, others in between.
    ensure!(same.len() == 3);
    let first = same[0].fields;
    ensure!(
        same.iter()
            .all(|vma| vma.fields.build_id_off == first.build_id_off)
    );
    let inline = |vma: &maps_lockless_vma| vma.size - u32::from(vma.fixed_size);
    let name = path.len().next_multiple_of(8) as u32;
    ensure!(inline(&first) == name + 24);
    let mut others: Vec<u32> = same[1..].iter().map(|vma| inline(&vma.fields)).collect();
    others.sort_unstable();
    // Another open file of the same inode might have another path.
    ensure!(others == [0, name], "{others:?}");
    let far = same.last().context("none")?.fields.start - first.start;
    let between = vmas
        .iter()
        .filter(|vma| vma.fields.start.wrapping_sub(first.start) < far);
    ensure!(between.count() > 3, "the file's mappings are neighbours");
    Ok(())
}

fn unasked() -> Result<()> {
    let target = Target::start("build-ids")?;
    for owned in Lockless::open(target.pid())?.batches(MAX)? {
        for vma in owned.vmas()? {
            ensure!(vma.build_id() == BuildId::Unknown && vma.fields.build_id_off == 0);
            ensure!(vma.fields.flags & MAPS_LOCKLESS_REC_BUILD_ID_NOT_RESIDENT == 0);
        }
    }
    Ok(())
}
