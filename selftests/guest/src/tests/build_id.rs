// SPDX-License-Identifier: MIT OR Apache-2.0

//! Build IDs: present, absent, or not in the page cache.

use super::Test;
use crate::{
    child::Target,
    elf, query,
    raw::{ALL, Lockless, MAPS},
    sched::cpu_time,
};
use anyhow::{Result, ensure};
use maps_lockless::{BuildId, decode::Vma, wire::*};
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
        Test::new("build ID: stands once for each open file", once),
        Test::new(
            "build ID: as PROCMAP_QUERY finds them, of whatever is mapped",
            of_every_file,
        ),
        Test::new("build ID: not where it was not asked for", unasked),
    ]
}

/// Of each mapping of a file, executable or not.
fn real() -> Result<()> {
    let target = Target::start_program("/bin/target-dynamic", "plain")?;
    let mut file = Lockless::with_request(target.pid(), ALL)?;
    let (mut present, mut executable) = (0, 0);
    for owned in file.batches(MAX)? {
        for vma in owned.vmas()? {
            let Some(file) = vma.file else {
                ensure!(
                    vma.fields.vma_flags & MAPS_LOCKLESS_VMA_FILE == 0,
                    "{vma:?}"
                );
                continue;
            };
            let BuildId::Present(_) = file.build_id() else {
                anyhow::bail!("{}: {:?}", file.path.escape_ascii(), file.build_id());
            };
            present += 1;
            executable += u32::from(vma.fields.vma_flags & MAPS_LOCKLESS_VMA_EXEC != 0);
        }
    }
    // The program, its loader, libc and libgcc.
    ensure!(
        executable >= 3,
        "{executable} build IDs of executable mappings"
    );
    ensure!(present > 2 * executable, "{present} build IDs");
    Ok(())
}

/// The program's and its libraries', of memory without a file, of files of other kinds. Not of the shape
/// `build-ids`: PROCMAP_QUERY parses its endless notes to their end, and reads what is not resident.
fn of_every_file() -> Result<()> {
    for shape in [
        "plain",
        "memfd",
        "sysv-shm",
        "posix-shm",
        "anon-shmem-name",
        "overlay-file",
    ] {
        let target = Target::start_program("/bin/target-dynamic", shape)?;
        let maps = fs::File::open(format!("/proc/{}/maps", target.pid()))?;
        let (mut same, mut absent) = (0, 0);
        for owned in Lockless::with_request(target.pid(), ALL)?.batches(MAX)? {
            for vma in owned.vmas()? {
                // It is no VMA, so that PROCMAP_QUERY does not know of it.
                if vma.fields.start >= 1 << 63 {
                    continue;
                }
                let ours = match build_id(&vma) {
                    BuildId::Present(id) => Some(id),
                    // Memory of which no page was ever touched is not resident. PROCMAP_QUERY reads
                    // it and must find nothing there. What programs are made of was read.
                    BuildId::NotResident
                        if vma.file.is_some_and(|file| file.path.starts_with(b"/bin")) =>
                    {
                        anyhow::bail!("{shape}: not resident: {vma:?}")
                    }
                    BuildId::NotResident | BuildId::Absent => {
                        absent += 1;
                        None
                    }
                    BuildId::Unknown => {
                        ensure!(vma.file.is_none(), "{shape}: {vma:?}");
                        None
                    }
                };
                let theirs = query::build_id(&maps, vma.fields.start)?;
                ensure!(
                    theirs.as_deref() == ours,
                    "{shape}: {theirs:?}, here {vma:?}"
                );
                same += 1;
            }
        }
        ensure!(same > 10, "{shape}: {same} mappings");
        ensure!(absent > 0 || shape == "plain", "{shape}: all have one");
    }
    Ok(())
}

/// What is known of that of a mapping's file.
fn build_id<'a>(vma: &Vma<'a>) -> BuildId<&'a [u8]> {
    vma.file.map_or(BuildId::Unknown, |file| file.build_id())
}

/// The answers for the files of the shape `build-ids`, by their names.
fn listed(target: &Target) -> Result<Vec<(String, String)>> {
    let mut file = Lockless::with_request(target.pid(), ALL)?;
    let mut answers = Vec::new();
    for owned in file.batches(MAX)? {
        for file in owned.files()? {
            let Some(name) = file.path.strip_prefix(target.said.as_bytes()) else {
                continue;
            };
            let answer = match file.build_id() {
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
            // It is not executable.
            ("readable", "twenty bytes of ID!!"),
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
    // Mapped twice of one open file and once of another, others in between.
    let vmas = owned.vmas()?;
    let same: Vec<&Vma<'_>> = vmas
        .iter()
        .filter(|vma| vma.file.is_some_and(|file| file.path == path.as_bytes()))
        .collect();
    ensure!(same.len() == 3, "{} mappings of it", same.len());
    let id = BuildId::Present(&b"twenty bytes of ID!!"[..]);
    ensure!(same.iter().all(|vma| build_id(vma) == id));
    // Another open file of the same inode might have another path.
    let files = owned.files()?;
    let files: Vec<_> = files
        .iter()
        .filter(|file| file.path == path.as_bytes())
        .collect();
    ensure!(files.len() == 2, "{} records of it", files.len());
    ensure!(files.iter().all(|file| file.build_id() == id));
    let mut references: Vec<u32> = same.iter().map(|vma| vma.fields.file).collect();
    references.sort_unstable();
    references.dedup();
    ensure!(references.len() == 2, "{references:?}");
    let (first, last) = (same[0].fields, same[2].fields);
    let far = last.start - first.start;
    let between = vmas
        .iter()
        .filter(|vma| vma.fields.start.wrapping_sub(first.start) < far);
    ensure!(between.count() > 3, "the file's mappings are neighbours");
    Ok(())
}

fn unasked() -> Result<()> {
    let target = Target::start("build-ids")?;
    for owned in Lockless::open(target.pid())?.batches(MAX)? {
        for file in owned.files()? {
            let fields = file.fields;
            ensure!(file.build_id() == BuildId::Unknown && fields.build_id_len == 0);
            ensure!(fields.flags & MAPS_LOCKLESS_FILE_BUILD_ID_NOT_RESIDENT == 0);
        }
    }
    Ok(())
}
