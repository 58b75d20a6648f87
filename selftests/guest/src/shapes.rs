// SPDX-License-Identifier: MIT OR Apache-2.0

//! The shapes of mappings that a target can have.

#![expect(
    unsafe_code,
    reason = "mapping memory and what libc alone offers has no safe form"
)]

use crate::{elf, flags, gap, handover, pages, pins, raw::Lockless, rng::Rng, signed};
use anyhow::{Context, Result, bail};
use maps_lockless::wire::MAPS_LOCKLESS_MIN_BUFFER;
use nix::{
    fcntl::{OFlag, open},
    libc,
    mount::{MsFlags, mount},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap, shm_open},
        stat::Mode,
    },
    unistd::ftruncate,
};
use std::{
    ffi::{CStr, OsStr, c_void},
    fs,
    io::{Write, stdin, stdout},
    num::NonZeroUsize,
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::Path,
    ptr::NonNull,
    thread,
    time::{Duration, Instant},
};

/// Bytes of a page on every machine that these tests run on.
pub const PAGE: usize = 4096;

/// The names of files that readers of maps are known to get wrong.
pub const ODD_NAMES: [(&str, &[u8]); 8] = [
    ("name-spaces", b"a b c"),
    ("name-double-spaces", b"a  b   c "),
    ("name-newline", b"a\nb"),
    ("name-backslash", b"a\\012b\\"),
    ("name-not-utf8", b"\xff\xfe-\x80"),
    ("name-live-deleted", b"live (deleted)"),
    ("name-like-special", b"[heap]"),
    // Clears a terminal, rings, does so by other bytes, and turns the direction of text.
    ("name-escape", b"\x1b[2J\x07\xc2\x9b\xe2\x80\xae"),
];

/// The file that is mapped many times.
pub const MANY: &str = "/tmp/many";

/// Every shape that stays as it is.
pub const QUIESCENT: [&str; 18] = [
    "plain",
    "vmas-10000",
    "file-vmas-1000",
    "files-200",
    "deleted-file",
    "memfd",
    "sysv-shm",
    "posix-shm",
    "hugetlb",
    "anon-name",
    "anon-shmem-name",
    "heap",
    "protections",
    "overlay-file",
    "exited-main-thread",
    "flags",
    "build-ids",
    "secretmem",
];

/// Says that all mappings are made, and what the test must know.
pub(crate) fn say_ready(said: &str) -> Result<()> {
    // Has its buffer allocated, which may take a mapping: who is told has all of them.
    let _ = stdin();
    println!("ready {said}");
    Ok(stdout().flush()?)
}

/// Makes the mappings of `shape`, says `ready` and what the test must know, and waits.
pub fn run(shape: &str) -> Result<()> {
    let said = make(shape).with_context(|| shape.to_owned())?;
    say_ready(&said)?;
    match shape {
        _ if shape == "exec" || shape.starts_with("exec-vmas-") => {
            wait()?;
            bail!(nix::unistd::execv(c"/bin/target", &[c"/bin/target", c"plain"]).unwrap_err());
        }
        "exec-setuid" => {
            wait()?;
            bail!(nix::unistd::execv(c"/tmp/setuid", &[c"/tmp/setuid", c"plain"]).unwrap_err());
        }
        "churn" => churn(),
        "grow" => grow(),
        "split" => split(),
        _ if shape.starts_with("signed-") => signed::run(
            shape["signed-".len()..].parse()?,
            usize::from_str_radix(&said, 16)?,
        ),
        "handover-munmap" | "handover-merge" => {
            let arena = usize::from_str_radix(&said, 16)?;
            handover::give(shape == "handover-merge", arena)
        }
        "handover-files" => handover::map_files_by_turns(usize::from_str_radix(&said, 16)?),
        "handover-taker" => handover::take(usize::from_str_radix(&said, 16)?),
        _ if shape.starts_with("gap-") => gap::run(
            shape["gap-".len()..].parse()?,
            usize::from_str_radix(&said, 16)?,
        ),
        "page-sizes-by-turns" => pages::map_by_turns(usize::from_str_radix(&said, 16)?),
        "pins" => pins::run(usize::from_str_radix(&said, 16)?),
        _ if shape.starts_with("pins-reader-") => pins::read(&shape["pins-reader-".len()..]),
        _ if shape.starts_with("forks-") => fork_for_ever(),
        "frees" => free_for_ever(usize::from_str_radix(&said, 16)?),
        "writer" => write_in_time(),
        _ if shape.starts_with("maps-reader-") => {
            read_maps_for_ever(&shape["maps-reader-".len()..])
        }
        "restless" => restless(),
        _ if shape.starts_with("reader-") => read_for_ever(&shape["reader-".len()..]),
        "exited-main-thread" => {
            thread::spawn(|| {
                let _ = wait();
                // SAFETY: exit_group(2) takes no pointer and does not return.
                unsafe { libc::_exit(0) }
            });
            // SAFETY: exit(2) ends this thread alone. What it has borrowed stays, as its stack is
            // that of the process.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
            Ok(())
        }
        _ => wait(),
    }
}

/// Waits for a line, or the end, of standard input.
fn wait() -> Result<()> {
    stdin().lines().next().transpose()?;
    Ok(())
}

fn make(shape: &str) -> Result<String> {
    if let Some((_, name)) = ODD_NAMES.iter().find(|(odd, _)| *odd == shape) {
        let dir = Path::new("/tmp/odd");
        fs::create_dir_all(dir)?;
        map_new_file(&dir.join(OsStr::from_bytes(name)), 1)?;
        return Ok(String::new());
    }
    match shape {
        "plain" | "exec" | "exec-setuid" | "exited-main-thread" | "grow" => {}
        _ if shape.starts_with("reader-") || shape.starts_with("maps-reader-") => {}
        "churn" => return Ok(format!("{:x}", arena()? as usize)),
        "split" => {
            let memory = executable()?;
            return Ok(format!("{:x}", memory as usize));
        }
        "handover-files" => {
            let arena = alternate(handover::BETWEEN + 2)?.as_ptr() as usize;
            handover::make_room_for_files(arena)?;
            return Ok(format!("{arena:x}"));
        }
        _ if shape.starts_with("signed-") || shape.starts_with("handover-") => {
            return Ok(format!("{:x}", signed::arena()?));
        }
        _ if shape.starts_with("gap-") => return Ok(format!("{:x}", gap::arena()?)),
        "pins" => {
            let base = alternate(pins::BEHIND + 1)?;
            return Ok(format!("{:x}", base.as_ptr() as usize));
        }
        _ if shape.starts_with("pins-reader-") => {}
        _ if shape.starts_with("forks-") => {
            let base = alternate(shape["forks-".len()..].parse()?)?;
            return Ok(format!("{:x}", base.as_ptr() as usize));
        }
        "frees" => {
            let base = alternate(FREED_AMONG)?;
            return Ok(format!("{:x}", base.as_ptr() as usize));
        }
        "page-sizes" => return pages::sizes(),
        "page-sizes-by-turns" => return Ok(format!("{:x}", pages::place()?)),
        "protection-keys" => return pages::protection_keys(),
        "path-too-long" => path_too_long()?,
        "writer" => return Ok(format!("{:x}", arena()? as usize)),
        _ if shape.starts_with("vmas-") => {
            let base = alternate(shape["vmas-".len()..].parse()?)?;
            return Ok(format!("{:x}", base.as_ptr() as usize));
        }
        "restless" => {
            let pages = alternate(RESTLESS_PAGES)?.as_ptr() as usize;
            ARENA.store(pages, std::sync::atomic::Ordering::Relaxed);
        }
        _ if shape.starts_with("sleepers-") => sleepers(shape["sleepers-".len()..].parse()?)?,
        _ if shape.starts_with("exec-vmas-") => {
            alternate(shape["exec-vmas-".len()..].parse()?)?;
        }
        "flags" => flags::make()?,
        "build-ids" => return build_ids(),
        "secretmem" => secretmem()?,
        _ if shape.starts_with("file-vmas-") => {
            map_new_file(Path::new(MANY), shape["file-vmas-".len()..].parse()?)?;
        }
        _ if shape.starts_with("files-") => map_many_files(shape["files-".len()..].parse()?)?,
        "deleted-file" => {
            let path = Path::new("/tmp/deleted-file");
            map_new_file(path, 1)?;
            fs::remove_file(path)?;
        }
        "memfd" => {
            let fd = memfd_create(c"a memfd", MFdFlags::empty())?;
            ftruncate(&fd, PAGE as i64)?;
            map_file(&fd, 0)?;
        }
        "sysv-shm" => sysv_shm()?,
        "posix-shm" => {
            let flags = OFlag::O_CREAT | OFlag::O_RDWR;
            let fd = shm_open(c"/a-posix-shm", flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
            ftruncate(&fd, PAGE as i64)?;
            map_file(&fd, 0)?;
        }
        "hugetlb" => hugetlb()?,
        "anon-name" => name_memory(anonymous(PAGE, MapFlags::MAP_PRIVATE)?, c"private name")?,
        "anon-shmem-name" => name_memory(anonymous(PAGE, MapFlags::MAP_SHARED)?, c"shared name")?,
        // SAFETY: Memory that nobody uses is added to the heap.
        "heap" => unsafe {
            libc::sbrk(16 * PAGE as libc::intptr_t);
        },
        "protections" => protections()?,
        "overlay-file" => overlay_file()?,
        _ => bail!("no such shape"),
    }
    Ok(String::new())
}

pub(crate) fn anonymous(bytes: usize, flags: MapFlags) -> Result<NonNull<c_void>> {
    let len = NonZeroUsize::new(bytes).context("nothing to map")?;
    let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: The kernel chooses an address where nothing is.
    Ok(unsafe { mmap_anonymous(None, len, prot, flags)? })
}

/// Maps `count` neighbouring pages that cannot be merged. Returns the first place.
fn alternate(count: usize) -> Result<NonNull<c_void>> {
    let base = anonymous(count * PAGE, MapFlags::MAP_PRIVATE)?;
    forbid_every_other(base, count)?;
    Ok(base)
}

/// Forbids writing to every other one of so many pages, which nobody else uses.
fn forbid_every_other(base: NonNull<c_void>, count: usize) -> Result<()> {
    for page in (0..count).step_by(2) {
        // SAFETY: The caller has mapped the page for this.
        if unsafe { libc::mprotect(base.as_ptr().byte_add(page * PAGE), PAGE, libc::PROT_READ) }
            != 0
        {
            bail!(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Maps `count` pages of a new file, in an order that keeps them from being merged.
fn map_new_file(path: &Path, count: usize) -> Result<()> {
    let flags = OFlag::O_CREAT | OFlag::O_RDWR;
    let fd = open(path, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    ftruncate(&fd, (count * PAGE) as i64)?;
    for page in 0..count {
        map_file(&fd, page * PAGE)?;
    }
    Ok(())
}

/// Maps two pages of each of so many files, first those of each file's end, so that no two neighbours are of one
/// file. Of the files that come one after the other, some are in one directory and some are not.
fn map_many_files(count: usize) -> Result<()> {
    let directories = [
        "/tmp/files",
        "/tmp/files/a/deeper",
        "/dev/shm",
        "/tmp/files/a",
    ];
    let mut files = Vec::new();
    for number in 0..count {
        let directory = Path::new(directories[number / 3 % directories.len()]);
        fs::create_dir_all(directory)?;
        let path = directory.join(format!("{number}-{}", "x".repeat(number % 20)));
        let flags = OFlag::O_CREAT | OFlag::O_RDWR;
        let file = open(&path, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        ftruncate(&file, 2 * PAGE as i64)?;
        files.push(file);
    }
    for offset in [PAGE, 0] {
        for file in &files {
            map_file(file, offset)?;
        }
    }
    Ok(())
}

fn map_file(fd: &impl AsFd, offset: usize) -> Result<()> {
    let len = NonZeroUsize::new(PAGE).context("a page")?;
    // SAFETY: The kernel chooses an address where nothing is.
    unsafe {
        let prot = ProtFlags::PROT_READ;
        mmap(None, len, prot, MapFlags::MAP_SHARED, fd, offset as i64)?;
    }
    Ok(())
}

fn sysv_shm() -> Result<()> {
    // SAFETY: Neither call takes a pointer that it could misuse.
    unsafe {
        let id = libc::shmget(libc::IPC_PRIVATE, PAGE, libc::IPC_CREAT | 0o600);
        if id < 0 || libc::shmat(id, std::ptr::null(), 0) as isize == -1 {
            bail!(std::io::Error::last_os_error());
        }
        libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut());
    }
    Ok(())
}

fn hugetlb() -> Result<()> {
    let huge = 2 << 20;
    anonymous(huge, MapFlags::MAP_PRIVATE | MapFlags::MAP_HUGETLB)?;
    let flags = OFlag::O_CREAT | OFlag::O_RDWR;
    let fd = open("/dev/hugepages/file", flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    ftruncate(&fd, huge as i64)?;
    let len = NonZeroUsize::new(huge).context("a huge page")?;
    // SAFETY: The kernel chooses an address where nothing is.
    unsafe {
        mmap(
            None,
            len,
            ProtFlags::PROT_READ,
            MapFlags::MAP_SHARED,
            &fd,
            0,
        )?
    };
    Ok(())
}

fn name_memory(memory: NonNull<c_void>, name: &CStr) -> Result<()> {
    // SAFETY: The range is mapped, and the name ends with NUL.
    let failed = unsafe {
        libc::prctl(
            libc::PR_SET_VMA,
            libc::PR_SET_VMA_ANON_NAME as libc::c_ulong,
            memory.as_ptr(),
            PAGE,
            name.as_ptr(),
        )
    };
    if failed != 0 {
        bail!(std::io::Error::last_os_error());
    }
    Ok(())
}

/// Private and shared memory with every combination of permissions.
fn protections() -> Result<()> {
    let len = NonZeroUsize::new(PAGE).context("a page")?;
    for flags in [MapFlags::MAP_PRIVATE, MapFlags::MAP_SHARED] {
        for bits in 0..8 {
            // SAFETY: The kernel chooses an address where nothing is.
            unsafe { mmap_anonymous(None, len, ProtFlags::from_bits_retain(bits), flags)? };
        }
    }
    Ok(())
}

fn overlay_file() -> Result<()> {
    let root = format!("/tmp/overlay-{}", std::process::id());
    let dir = |name| format!("{root}/{name}");
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir_all(dir(name))?;
    }
    fs::write(dir("lower") + "/file", [0; PAGE])?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        dir("lower"),
        dir("upper"),
        dir("work")
    );
    mount(
        Some("overlay"),
        &dir("merged")[..],
        Some("overlay"),
        MsFlags::empty(),
        Some(&options[..]),
    )?;
    let fd = open(
        &(dir("merged") + "/file")[..],
        OFlag::O_RDONLY,
        Mode::empty(),
    )?;
    map_file(&fd, 0)
}

/// Maps more, line by line of standard input.
fn grow() -> Result<()> {
    for line in stdin().lines() {
        line?;
        name_memory(anonymous(PAGE, MapFlags::MAP_SHARED)?, c"grown")?;
    }
    Ok(())
}

/// Makes `count` processes that sleep until this one ends.
fn sleepers(count: usize) -> Result<()> {
    for _ in 0..count {
        // SAFETY: There is one thread. The child makes system calls alone, and never returns.
        let child = unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                loop {
                    libc::pause();
                }
            }
            child
        };
        if child < 0 {
            bail!(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Pages of the arena that churning maps and unmaps at random.
pub const ARENA_PAGES: usize = 32_768;

/// Chooses where to churn. A page on either side stays mapped.
fn arena() -> Result<*mut c_void> {
    let base = anonymous((ARENA_PAGES + 2) * PAGE, MapFlags::MAP_PRIVATE)?.as_ptr();
    let inner = base.wrapping_byte_add(PAGE);
    // SAFETY: The range is of the mapping made above, which nobody else uses.
    unsafe { munmap(NonNull::new(inner).context("null")?, ARENA_PAGES * PAGE)? };
    ARENA.store(inner as usize, std::sync::atomic::Ordering::Relaxed);
    Ok(inner)
}

static ARENA: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// Reads the mappings of process `pid` again and again.
fn read_for_ever(pid: &str) -> Result<()> {
    let pid = pid.parse()?;
    loop {
        Lockless::open(pid)?.rest(MAPS_LOCKLESS_MIN_BUFFER as usize)?;
    }
}

/// The same, as text.
fn read_maps_for_ever(pid: &str) -> Result<()> {
    loop {
        fs::read(format!("/proc/{pid}/maps"))?;
    }
}

/// Mappings that the writer makes and unmaps each time.
const WRITTEN: usize = 32;
/// From the beginning of one time to that of the next.
const WRITE_PERIOD: Duration = Duration::from_millis(40);

/// Unmaps a range of the arena and maps it anew, period after period. For each line of standard input,
/// writes how many microseconds after the period began that was done, for each period since the last
/// line: what one has to wait counts for the others that it keeps waiting.
fn write_in_time() -> Result<()> {
    let arena = ARENA.load(std::sync::atomic::Ordering::Relaxed);
    let place = NonNull::new(arena as *mut c_void).context("null")?;
    let len = NonZeroUsize::new(WRITTEN * PAGE).context("a page")?;
    let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
    let mut delays: Vec<u64> = Vec::with_capacity(100_000);
    let mut next = Instant::now();
    loop {
        // SAFETY: The arena is used for nothing but this.
        unsafe {
            munmap(place, WRITTEN * PAGE)?;
            mmap_anonymous(NonZeroUsize::new(arena), len, prot, flags)?;
        }
        forbid_every_other(place, WRITTEN)?;
        delays.push(next.elapsed().as_micros().try_into()?);
        if asked()? {
            wait()?;
            let words: Vec<String> = delays.iter().map(u64::to_string).collect();
            println!("{}", words.join(" "));
            delays.clear();
            next = Instant::now();
        }
        next += WRITE_PERIOD;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Whether there is something to read from standard input.
fn asked() -> Result<bool> {
    let stdin = stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, PollTimeout::ZERO)? > 0)
}

/// Maps and unmaps pages of the arena at random, for ever: memory, and a program's first page.
fn churn() -> Result<()> {
    let arena = ARENA.load(std::sync::atomic::Ordering::Relaxed);
    let mut rng = Rng::new(0);
    let len = NonZeroUsize::new(PAGE).context("a page")?;
    let program = fs::File::open(CHURNED_FILE)?;
    loop {
        let at = arena + rng.below(ARENA_PAGES as u64) as usize * PAGE;
        let place = NonZeroUsize::new(at);
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
        // SAFETY: The arena is used for nothing but this.
        unsafe {
            match rng.below(4) {
                0 => {
                    let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
                    mmap_anonymous(place, len, prot, flags)?;
                }
                1 => {
                    let prot = ProtFlags::PROT_READ | ProtFlags::PROT_EXEC;
                    mmap(place, len, prot, flags, &program, 0)?;
                }
                _ => munmap(NonNull::new(at as *mut c_void).context("null")?, PAGE)?,
            }
        }
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_micros(10) {
            std::hint::spin_loop();
        }
    }
}

/// The program whose first page is mapped in the arena.
pub const CHURNED_FILE: &str = "/bin/target-dynamic";

/// Maps executable memory in many places, with gaps in between, so that no part of it is ever merged
/// with anything but the rest. Returns the first place.
fn executable() -> Result<*mut c_void> {
    let first = arena()?.wrapping_byte_add(PAGE);
    let len = NonZeroUsize::new(SPLIT_PAGES * PAGE).context("a page")?;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
    let exec = ProtFlags::PROT_READ | ProtFlags::PROT_EXEC;
    for place in 0..SPLIT_PLACES {
        let address = first as usize + place * SPLIT_STEP;
        // SAFETY: The arena is used for nothing but this.
        unsafe { mmap_anonymous(NonZeroUsize::new(address), len, exec, flags)? };
    }
    Ok(first)
}

/// Gives the first half of each executable mapping other permissions and back, for ever.
fn split() -> Result<()> {
    let arena = ARENA.load(std::sync::atomic::Ordering::Relaxed);
    let exec = ProtFlags::PROT_READ | ProtFlags::PROT_EXEC;
    let write = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    loop {
        // All of them one way and then all the other, so that a reader who is preempted for a while
        // finds the mapping that it was looking at changed.
        for protection in [write, exec] {
            for place in 0..SPLIT_PLACES {
                let address = arena + PAGE + place * SPLIT_STEP;
                let memory = NonNull::new(address as *mut c_void).context("null")?;
                // SAFETY: The arena is used for nothing but this.
                unsafe { mprotect(memory, SPLIT_PAGES / 2 * PAGE, protection)? };
            }
        }
    }
}

/// Neighbouring pages that a writer which never rests merges and splits.
pub const RESTLESS_PAGES: usize = 4000;

/// Gives pages the permissions of their neighbours and back, for ever, in two threads.
fn restless() -> Result<()> {
    let base = ARENA.load(std::sync::atomic::Ordering::Relaxed);
    let half = RESTLESS_PAGES / 2;
    let change = move |first: usize| -> Result<()> {
        loop {
            for page in (first..first + half).step_by(2) {
                let memory = NonNull::new((base + page * PAGE) as *mut c_void).context("null")?;
                for protection in [
                    ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                    ProtFlags::PROT_READ,
                ] {
                    // SAFETY: The pages are used for nothing but this.
                    unsafe { mprotect(memory, PAGE, protection)? };
                }
            }
        }
    };
    thread::spawn(move || change(half));
    change(0)
}

/// How many executable mappings are split.
pub const SPLIT_PLACES: usize = 64;
/// Pages of each, of which the second half is executable all the time.
pub const SPLIT_PAGES: usize = 10;
/// Bytes from one to the next.
pub const SPLIT_STEP: usize = (SPLIT_PAGES + 2) * PAGE;

fn secretmem() -> Result<()> {
    // SAFETY: memfd_secret(2) takes no pointer, and the kernel chooses an address where nothing is.
    unsafe {
        let fd = libc::syscall(libc::SYS_memfd_secret, 0) as libc::c_int;
        if fd < 0 || libc::ftruncate(fd, PAGE as i64) != 0 {
            bail!(std::io::Error::last_os_error());
        }
        map_file(&std::os::fd::BorrowedFd::borrow_raw(fd), 0)
    }
}

/// Maps a file whose path is longer than `PATH_MAX`, which no system call takes: from folder to folder.
fn path_too_long() -> Result<()> {
    let name = "n".repeat(200);
    let begin = std::env::current_dir()?;
    std::env::set_current_dir("/tmp")?;
    for _ in 0..libc::PATH_MAX as usize / name.len() + 1 {
        match fs::create_dir(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => bail!(error),
            _ => std::env::set_current_dir(&name)?,
        }
    }
    // In the page cache, so that it is known to have no build ID.
    fs::write("file", [0; PAGE])?;
    map_file(&fs::File::open("file")?, 0)?;
    std::env::set_current_dir(begin)?;
    Ok(())
}

/// Has children that end at once, for ever.
fn fork_for_ever() -> Result<()> {
    loop {
        // SAFETY: There is one thread. The child does nothing but exit.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(0);
            }
            if child < 0 || libc::waitpid(child, std::ptr::null_mut(), 0) != child {
                bail!(std::io::Error::last_os_error());
            }
        }
    }
}

/// Mappings of the shape `frees` that stay.
pub const FREED_AMONG: usize = 64;

/// Frees a mapping as often as it can: maps over the first one, for ever.
fn free_for_ever(base: usize) -> Result<()> {
    let len = NonZeroUsize::new(PAGE).context("a page")?;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
    loop {
        // SAFETY: The page is used for nothing but this.
        unsafe { mmap_anonymous(NonZeroUsize::new(base), len, ProtFlags::PROT_NONE, flags)? };
    }
}

/// Maps files that have a build ID or not, in different ways. Says where they are.
fn build_ids() -> Result<String> {
    let prefix = format!("/tmp/ids-{}-", std::process::id());
    let id = |id: &[u8]| elf::build_id_note(id);
    let notes = |len: usize| elf::header_64(1, 4096, len as u64);
    let (twenty, short, long) = (id(b"twenty bytes of ID!!"), id(b"8 bytes."), id(&[1; 21]));
    let thirty_two = id(b"32-bit");
    let endless = elf::header_64(256, 65_536, 16 << 20);
    let page = 4096_u64;
    type Described<'a> = (&'a str, u64, &'a [elf::Piece<'a>]);
    let files: [Described<'_>; 10] = [
        (
            "present",
            2 * page,
            &[(0, &notes(twenty.len())), (page, &twenty)],
        ),
        (
            "short",
            2 * page,
            &[(0, &notes(short.len())), (page, &short)],
        ),
        // Longer than the kernel takes for a build ID.
        ("long", 2 * page, &[(0, &notes(long.len())), (page, &long)]),
        (
            "thirty-two",
            page,
            &[
                (0, &elf::header_32(512, thirty_two.len() as u32)),
                (512, &thirty_two),
            ],
        ),
        ("absent", page, &[(0, &elf::header_64(0, 0, 0))]),
        ("empty", 0, &[]),
        ("not-elf", page, &[(0, b"#!/bin/sh")]),
        // The notes would be behind the end.
        ("truncated", page, &[(0, &notes(64))]),
        // The notes are in no page cache.
        ("hole", 4 * page, &[(0, &elf::header_64(1, 8192, 64))]),
        // 256 times 16 MiB of notes that say nothing.
        (
            "endless",
            65_536 + (16 << 20),
            &[(0, &endless), (65_536, &vec![0; 16 << 20])],
        ),
    ];
    let exec = ProtFlags::PROT_READ | ProtFlags::PROT_EXEC;
    let len = NonZeroUsize::new(PAGE).context("a page")?;
    let map = |file: &fs::File, prot| {
        // SAFETY: The kernel chooses an address where nothing is.
        unsafe { mmap(None, len, prot, MapFlags::MAP_PRIVATE, file, 0) }
    };
    let mut present = None;
    for (name, len, pieces) in files {
        let file = elf::file(Path::new(&format!("{prefix}{name}")), len, pieces)?;
        map(&file, exec)?;
        present.get_or_insert(file);
    }
    map(&present.context("no file")?, exec)?;
    let readable = format!("{prefix}readable");
    let file = elf::file(
        Path::new(&readable),
        2 * page,
        &[(0, &notes(twenty.len())), (page, &twenty)],
    )?;
    map(&file, ProtFlags::PROT_READ)?;
    anonymous(PAGE, MapFlags::MAP_PRIVATE)?;
    map(&fs::File::open(format!("{prefix}present"))?, exec)?;
    Ok(prefix)
}
