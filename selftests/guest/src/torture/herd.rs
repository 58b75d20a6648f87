// SPDX-License-Identifier: MIT OR Apache-2.0

//! The processes that are read, born and killed all the time.

use super::{
    Run,
    key::{Facts, Key},
    writer::{self, Fate},
};
use crate::{child::Target, raw::Lockless, rng::Rng};
use anyhow::{Context, Result};
use std::{
    collections::VecDeque,
    fs::{self, File},
    os::fd::{AsRawFd, OwnedFd},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Processes that live at a time.
const LIVING: usize = 3;
/// Processes whose descriptors are kept after their end.
const DEAD: usize = 8;

/// A process.
pub struct Life {
    /// What its mappings are told by.
    pub facts: Facts,
    /// Its ID, which another process may have once it is gone.
    pub pid: u32,
    /// The address space that has its sentinels: not the one that it has after execve(2).
    pub mm_id: u64,
    /// A descriptor for all threads.
    pub shared: Lockless,
    /// Its folder in /proc, which is never another process's.
    dir: OwnedFd,
    gone: AtomicBool,
}

impl Life {
    /// A file of its folder in /proc.
    pub fn path(&self, name: &str) -> String {
        // It leads to the folder itself, whatever has its name by now.
        format!("/proc/self/fd/{}/{name}", self.dir.as_raw_fd())
    }

    /// Whether nobody has waited for its end yet, so that its ID is still its own.
    pub fn has_its_id(&self) -> bool {
        !self.gone.load(Relaxed)
    }
}

/// Those that live and, the last first, those that do not any more.
#[derive(Default)]
pub struct Herd {
    living: RwLock<Vec<Arc<Life>>>,
    dead: RwLock<VecDeque<Arc<Life>>>,
}

impl Herd {
    /// One that lives, or did so a moment ago.
    pub fn living(&self, rng: &mut Rng) -> Option<Arc<Life>> {
        let living = self.living.read().unwrap_or_else(PoisonError::into_inner);
        living.get(rng.below(living.len() as u64) as usize).cloned()
    }

    /// One that is dead.
    pub fn dead(&self, rng: &mut Rng) -> Option<Arc<Life>> {
        let dead = self.dead.read().unwrap_or_else(PoisonError::into_inner);
        dead.get(rng.below(dead.len() as u64) as usize).cloned()
    }

    /// Another one than this, dead or alive.
    pub fn other(&self, key: Key, rng: &mut Rng) -> Option<Arc<Life>> {
        self.living(rng)
            .filter(|life| life.facts.key != key)
            .or_else(|| self.dead(rng).filter(|life| life.facts.key != key))
    }

    fn add(&self, life: Arc<Life>) {
        let mut living = self.living.write().unwrap_or_else(PoisonError::into_inner);
        living.push(life);
    }

    fn bury(&self, life: Arc<Life>) {
        let mut living = self.living.write().unwrap_or_else(PoisonError::into_inner);
        living.retain(|other| !Arc::ptr_eq(other, &life));
        drop(living);
        let mut dead = self.dead.write().unwrap_or_else(PoisonError::into_inner);
        dead.push_front(life);
        dead.truncate(DEAD);
    }
}

/// A process, and when it is to end.
struct Bred {
    life: Arc<Life>,
    target: Target,
    fate: Fate,
    end: Instant,
}

/// Has processes born and killed, until the run is over.
pub fn breed(run: &Run) -> Result<()> {
    let mut rng = Rng::new(1);
    let mut bred: Vec<Bred> = Vec::new();
    let mut key = 0;
    while !run.is_over() {
        if bred.len() < LIVING {
            bred.push(birth(run, Key(key), &mut rng)?);
            key += 1;
        }
        let mut i = 0;
        while i < bred.len() {
            let one = &mut bred[i];
            let ended = !one.target.is_running()?;
            if ended || Instant::now() >= one.end {
                death(run, bred.swap_remove(i), ended)?;
            } else {
                i += 1;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    for one in bred {
        death(run, one, false)?;
    }
    Ok(())
}

fn birth(run: &Run, key: Key, rng: &mut Rng) -> Result<Bred> {
    let fate = [Fate::Executes, Fate::Exits, Fate::Killed, Fate::Killed][key.0 as usize % 4];
    // Emulated, and with KASAN, a program takes its time to begin.
    let life = Duration::from_millis(500 + rng.below(2500));
    let facts = key.make_files()?;
    let argument = writer::argument(key, fate, life);
    let mut target = Target::start_program("/bin/torture", &argument)?;
    let pid = target.pid();
    let shared = Lockless::open(pid)?;
    let mm_id = shared.state()?.mm_id;
    let dir = File::open(format!("/proc/{pid}"))?.into();
    target.go_on().context("go on")?;
    let life_of = Arc::new(Life {
        facts,
        pid,
        mm_id,
        shared,
        dir,
        gone: AtomicBool::new(false),
    });
    run.herd.add(life_of.clone());
    run.counts.add("born", 1);
    Ok(Bred {
        life: life_of,
        target,
        fate,
        end: Instant::now()
            + match fate {
                Fate::Exits => Duration::from_secs(60),
                Fate::Executes => 3 * life,
                Fate::Killed | Fate::Executed => life,
            },
    })
}

fn death(run: &Run, mut bred: Bred, ended: bool) -> Result<()> {
    let key = bred.life.facts.key;
    if key.0 % 3 == 0 {
        // While it is mapped.
        let _ = fs::remove_file(key.file(1));
    }
    if ended {
        anyhow::ensure!(
            bred.fate == Fate::Exits || run.is_over(),
            "a writer ended by itself: {key}, {:?}",
            bred.fate
        );
        run.counts.add("ended by themselves", 1);
    } else {
        bred.target.kill()?;
        run.counts.add("killed", 1);
    }
    // Not before nobody takes its ID for its own any more.
    bred.life.gone.store(true, Relaxed);
    let status = bred.target.reap()?;
    anyhow::ensure!(
        !ended || status.success() || run.is_over(),
        "a writer died: {key}, {:?}: {status}",
        bred.fate
    );
    run.herd.bury(bred.life);
    key.remove_files();
    Ok(())
}
