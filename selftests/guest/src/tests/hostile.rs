// SPDX-License-Identifier: MIT OR Apache-2.0

//! Bad buffers and positions, and one descriptor in many hands.

use super::{Test, access::NOBODY, errno};
use crate::{
    child::Target,
    raw::{ALL, HEADER, Lockless, MAPS, RANGES, SMALLEST, position_of},
    shapes::PAGE,
};
use anyhow::{Context, Result, bail, ensure};
use maps_lockless::{decode::Batch, wire::*};
use nix::{
    errno::Errno,
    libc,
    sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap},
    unistd::dup2_raw,
};
use std::{
    collections::BTreeMap,
    fs, io,
    mem::offset_of,
    num::NonZeroUsize,
    os::{
        fd::{AsRawFd, IntoRawFd},
        unix::{fs::FileExt, fs::PermissionsExt, process::CommandExt},
    },
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const MIN: usize = MAPS_LOCKLESS_MIN_BUFFER as usize;
const MAX: usize = MAPS_LOCKLESS_MAX_BATCH as usize;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("buffer: read-only, or unmapped behind a page", bad_buffers),
        Test::new("buffer: at any alignment", alignment),
        Test::new("buffer: no byte that was not meant to be sent", no_pointers),
        Test::new("position: anywhere", positions),
        Test::new(
            "descriptor: read, pread, ioctl and seek from many threads",
            many_threads,
        ),
        Test::new(
            "descriptor: closed and opened anew meanwhile",
            closed_meanwhile,
        ),
        Test::new("descriptor: in another user's process", passed_on),
        Test::new(
            "descriptor: kept over the execve of a set-user-ID program",
            setuid,
        ),
        Test::new(
            "descriptor: of a reader that is being killed",
            killed_reader,
        ),
    ]
}

/// Pages of this process's, as a place to read to.
struct Pages(*mut u8, usize);

#[expect(unsafe_code, reason = "mapping memory has no safe form")]
impl Pages {
    fn new(count: usize, flags: MapFlags) -> Result<Self> {
        let len = NonZeroUsize::new(count * PAGE).context("no page")?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: The kernel chooses an address where nothing is.
        let memory = unsafe { mmap_anonymous(None, len, prot, flags)? };
        Ok(Self(memory.as_ptr().cast(), len.get()))
    }

    /// read(2) into the pages from byte `at` on. They need not have room for it.
    fn read(&self, file: &Lockless, at: usize, len: usize) -> io::Result<usize> {
        // SAFETY: `at` is within the pages. What lies behind them is not mapped, or is the guard
        // that the tests made of the last page.
        let read = unsafe { libc::read(file.0.as_raw_fd(), self.0.add(at).cast(), len) };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    }

    fn protect(&self, page: usize, prot: ProtFlags) -> Result<()> {
        // SAFETY: The page is of these, which Rust knows nothing of.
        unsafe {
            let address = self.0.add(page * PAGE).cast();
            mprotect(std::ptr::NonNull::new(address).context("null")?, PAGE, prot)?;
        }
        Ok(())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut copy = vec![0; self.1];
        for (i, byte) in copy.iter_mut().enumerate() {
            // SAFETY: All of it is mapped and may be read. Another process may write it: volatile.
            *byte = unsafe { self.0.add(i).read_volatile() };
        }
        copy
    }
}

#[expect(unsafe_code, reason = "unmapping memory has no safe form")]
impl Drop for Pages {
    fn drop(&mut self) {
        if let Some(memory) = std::ptr::NonNull::new(self.0.cast()) {
            // SAFETY: Nobody has a reference to it.
            let _ = unsafe { munmap(memory, self.1) };
        }
    }
}

fn bad_buffers() -> Result<()> {
    let target = Target::start("vmas-1000")?;
    let mut file = Lockless::open(target.pid())?;
    let pages = Pages::new(4, MapFlags::MAP_PRIVATE)?;
    pages.protect(3, ProtFlags::PROT_NONE)?;
    // The batch is longer than what is mapped of the buffer.
    for at in [0, PAGE, 3 * PAGE - HEADER, 3 * PAGE - 1, 3 * PAGE] {
        ensure!(
            errno(pages.read(&file, at, MAX)) == Some(Errno::EFAULT),
            "{at}"
        );
        ensure!(file.position()? == 0);
    }
    // What is not touched does not matter: a batch that fits before the guard is read, whatever the length
    // says.
    file.request(maps_lockless_request {
        max_records: 1,
        ..RANGES
    })?;
    for len in [SMALLEST, MIN, MAX] {
        ensure!(pages.read(&file, 3 * PAGE - SMALLEST, len)? == SMALLEST);
    }
    file.request(MAPS)?;
    file.seek(0)?;
    for page in 0..3 {
        pages.protect(page, ProtFlags::PROT_READ)?;
    }
    for len in [MIN, MAX] {
        ensure!(
            errno(pages.read(&file, 0, len)) == Some(Errno::EFAULT),
            "read-only"
        );
    }
    ensure!(file.position()? == 0);
    Ok(())
}

fn alignment() -> Result<()> {
    let target = Target::start("plain")?;
    let mut file = Lockless::open(target.pid())?;
    let straight = file.batch(MIN)?;
    for at in 0..=17 {
        let pages = Pages::new(4, MapFlags::MAP_PRIVATE)?;
        file.seek(0)?;
        let len = pages.read(&file, at, MIN)?;
        let bytes = pages.bytes();
        ensure!(&bytes[at..at + len] == straight.bytes(), "{at}");
        ensure!(bytes[..at].iter().all(|&b| b == 0), "{at}: written before");
        ensure!(len == straight.bytes().len());
    }
    Ok(())
}

/// Addresses of the kernel's begin with sixteen ones. Only vsyscall's may be there, and the `next` of a final
/// batch, which has nothing but ones.
fn no_pointers() -> Result<()> {
    for shape in ["plain", "flags", "build-ids", "protections", "anon-name"] {
        let target = Target::start(shape)?;
        for owned in Lockless::with_request(target.pid(), ALL)?.batches(MAX)? {
            let next = offset_of!(maps_lockless_batch, next) / 8;
            for (i, word) in owned.bytes().chunks_exact(8).enumerate() {
                let word = u64::from_ne_bytes(word.try_into()?);
                let vsyscall = word == 0xffff_ffff_ff60_0000 || word == 0xffff_ffff_ff60_1000;
                let none = i == next && owned.is_final() && word == MAPS_LOCKLESS_NEXT_NONE;
                ensure!(
                    word >> 47 != 0x1_ffff || vsyscall || none,
                    "{shape}: {word:#x}"
                );
            }
        }
    }
    Ok(())
}

fn positions() -> Result<()> {
    let target = Target::start("plain")?;
    let mut file = Lockless::open(target.pid())?;
    let whole = file.fields()?;
    let middle = whole[whole.len() / 2].start;
    for address in [
        0,
        1,
        middle,
        middle + 1,
        1 << 47,
        1 << 62,
        1 << 63,
        u64::MAX - (1 << 20),
        u64::MAX - PAGE as u64,
        u64::MAX,
    ] {
        let page = address & !(PAGE as u64 - 1);
        let mut buf = vec![0; MAX];
        file.seek(address)?;
        ensure!(file.position()? == position_of(address), "{address:x}");
        ensure!(io::Read::read(&mut &file.0, &mut [])? == 0, "{address:x}");
        let by_read = file.batch(MAX)?;
        let len = file.0.read_at(&mut buf, position_of(address))?;
        ensure!(buf[..len] == *by_read.bytes(), "{address:x}");
        ensure!(by_read.is_final(), "{address:x}");
        ensure!(by_read.header()?.begin == page, "{address:x}");
        let expected = whole
            .iter()
            .filter(|vma| vma.end > page)
            .map(|vma| (vma.start.max(page), vma.end));
        let vmas = by_read.vmas()?;
        let got = vmas.iter().map(|vma| (vma.fields.start, vma.fields.end));
        ensure!(got.eq(expected), "{address:x}");
    }
    let seek = |offset: i64, whence| {
        #[expect(unsafe_code, reason = "no safe form takes a negative position")]
        // SAFETY: No pointer is passed.
        match unsafe { libc::lseek(file.0.as_raw_fd(), offset, whence) } {
            -1 => Err(Errno::last()),
            position => Ok(position),
        }
    };
    // From the end there is nothing to seek from, and below 0 there is no page.
    ensure!(seek(0, libc::SEEK_END) == Err(Errno::EINVAL));
    ensure!(seek(-1, libc::SEEK_SET) == Err(Errno::EINVAL));
    ensure!(seek(i64::MIN, libc::SEEK_SET) == Err(Errno::EINVAL));
    ensure!(seek(4, libc::SEEK_SET) == Ok(4) && seek(8, libc::SEEK_CUR) == Ok(12));
    ensure!(seek(-13, libc::SEEK_CUR) == Err(Errno::EINVAL) && seek(0, libc::SEEK_CUR) == Ok(12));
    // Any other position may be gone to. Where it is no page's number, nothing is read.
    for position in [
        position_of(u64::MAX) + 1,
        MAPS_LOCKLESS_POS_END - 1,
        MAPS_LOCKLESS_POS_END + 1,
    ] {
        ensure!(seek(position as i64, libc::SEEK_SET) == Ok(position as i64));
        let read = io::Read::read(&mut &file.0, &mut vec![0; MAX]);
        ensure!(errno(read) == Some(Errno::EINVAL), "{position:x}");
        ensure!(
            seek(0, libc::SEEK_CUR) == Ok(position as i64),
            "{position:x}"
        );
    }
    seek(MAPS_LOCKLESS_POS_END as i64, libc::SEEK_SET)?;
    ensure!(io::Read::read(&mut &file.0, &mut vec![0; MAX])? == 0);
    // pread(2) takes no negative position.
    for position in [1 << 63, u64::MAX] {
        ensure!(errno(file.0.read_at(&mut [0; MIN], position)) == Some(Errno::EINVAL));
    }
    ensure!(errno(file.0.write_at(&[0; 8], 0)) == Some(Errno::EBADF));
    let writing = fs::File::options()
        .write(true)
        .open(format!("/proc/{}/maps_lockless", target.pid()));
    if let Ok(writing) = writing {
        // Root may open any file for writing. There is nothing to write to.
        ensure!(errno(writing.write_at(&[0; 8], 0)) == Some(Errno::EINVAL));
    }
    Ok(())
}

/// Each call sees one request or another, never half of one, and each pread(2) its own address.
fn many_threads() -> Result<()> {
    let target = Target::start("vmas-1000")?;
    let file = Lockless::open(target.pid())?;
    let whole = Lockless::open(target.pid())?.fields()?;
    let requests = [
        MAPS,
        maps_lockless_request {
            fields_wanted: MAPS_LOCKLESS_FIELD_RANGE | MAPS_LOCKLESS_FIELD_FLAGS,
            vma_flags_all: MAPS_LOCKLESS_VMA_WRITE,
            ..MAPS
        },
    ];
    let (stop, reads) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 3]);
    // Which request has which number, as it was set and as batches tell.
    let (set, told) = (Mutex::new(BTreeMap::new()), Mutex::new(BTreeMap::new()));
    let lock = |map: &'_ Mutex<BTreeMap<u64, usize>>, number, which| -> Result<()> {
        let mut map = map
            .lock()
            .map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        ensure!(*map.entry(number).or_insert(which) == which, "{number}");
        Ok(())
    };
    thread::scope(|scope| {
        let threads = [
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for (which, request) in requests.into_iter().enumerate() {
                        lock(&set, file.request(request)?.request, which)?;
                    }
                }
                anyhow::Ok(())
            }),
            scope.spawn(|| {
                for vma in whole.iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let owned = file.batch_at(MIN, vma.start)?;
                    let header = owned.header()?;
                    let asked = requests
                        .iter()
                        .position(|r| r.fields_wanted == header.fields_wanted)
                        .context("half")?;
                    ensure!(owned.batch()?.is_selected() == (asked == 1));
                    lock(&told, header.request, asked)?;
                    for got in owned.vmas()? {
                        ensure!(got.fields.valid & !header.fields_wanted == 0);
                        ensure!(asked == 0 || got.fields.vma_flags & MAPS_LOCKLESS_VMA_WRITE != 0);
                        ensure!(got.fields.start >= vma.start);
                    }
                    if asked == 0 {
                        ensure!(owned.vmas()?[0].fields.start == vma.start);
                    }
                    reads[asked].fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }),
            scope.spawn(|| {
                let mut buf = vec![0; MAX];
                while !stop.load(Ordering::Relaxed) {
                    let len = io::Read::read(&mut &file.0, &mut buf)?;
                    if len == 0 {
                        io::Seek::seek(&mut &file.0, io::SeekFrom::Start(0))?;
                        continue;
                    }
                    let batch = Batch::parse(&buf[..len])?;
                    for record in batch.records() {
                        record?;
                    }
                    reads[2].fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }),
        ];
        let begin = Instant::now();
        let idle = || reads.iter().any(|reads| reads.load(Ordering::Relaxed) == 0);
        while begin.elapsed() < Duration::from_secs(2)
            || (idle() && begin.elapsed() < Duration::from_secs(60))
        {
            thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        anyhow::Ok(())
    })?;
    // None is what the first one asks for.
    lock(&set, 0, 0)?;
    let (set, told) = (set.into_inner()?, told.into_inner()?);
    for (number, which) in &told {
        ensure!(set.get(number) == Some(which), "{number}: {which}");
    }
    println!("# by one request, by the other, read in order: {reads:?}");
    ensure!(reads.iter().all(|reads| reads.load(Ordering::Relaxed) > 0));
    Ok(())
}

/// A descriptor's number stands for another open file from one call to the next.
fn closed_meanwhile() -> Result<()> {
    let target = Target::start("vmas-1000")?;
    let path = format!("/proc/{}/maps_lockless", target.pid());
    let fixed = fs::File::open(&path)?.into_raw_fd();
    let stop = AtomicBool::new(false);
    let reads = AtomicU64::new(0);
    thread::scope(|scope| {
        let readers = [0, 1].map(|_| {
            scope.spawn(|| {
                let mut buf = vec![0_u8; MIN];
                while !stop.load(Ordering::Relaxed) {
                    #[expect(unsafe_code, reason = "whose descriptor it is changes on purpose")]
                    // SAFETY: The buffer has room.
                    let len = unsafe { libc::read(fixed, buf.as_mut_ptr().cast(), MIN) };
                    let Ok(len) = usize::try_from(len) else {
                        ensure!(Errno::last() == Errno::EBADF, "{}", Errno::last());
                        continue;
                    };
                    if len > 0 {
                        for record in Batch::parse(&buf[..len])?.records() {
                            record?;
                        }
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                }
                anyhow::Ok(())
            })
        });
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(2) {
            #[expect(unsafe_code, reason = "whose descriptor it is changes on purpose")]
            // SAFETY: Nobody but this test has the number.
            unsafe {
                let _ = dup2_raw(fs::File::open(&path)?, fixed)?.into_raw_fd();
                libc::close(fixed);
                let _ = dup2_raw(fs::File::open(&path)?, fixed)?.into_raw_fd();
            }
        }
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            reader
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        anyhow::Ok(())
    })?;
    println!("# {} reads", reads.load(Ordering::Relaxed));
    ensure!(reads.load(Ordering::Relaxed) > 0);
    Ok(())
}

/// As with maps, access is checked at open(2): who is given a descriptor may read from it.
fn passed_on() -> Result<()> {
    let target = Target::start("plain")?;
    let mut file = Lockless::open(target.pid())?;
    let ours = file.batch(MAX)?;
    file.seek(0)?;
    let theirs = Command::new("/bin/busybox")
        .args(["dd", "bs=65536", "count=1"])
        .stdin(Stdio::from(file.0))
        .stderr(Stdio::null())
        .uid(NOBODY)
        .gid(NOBODY)
        .output()?;
    ensure!(theirs.status.success());
    ensure!(
        theirs.stdout == ours.bytes(),
        "{} bytes",
        theirs.stdout.len()
    );
    Ok(())
}

/// Runs as another user in a thread of its own, which alone changes its user.
fn as_nobody<T: Send>(run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            #[expect(unsafe_code, reason = "libc's form would change all threads")]
            // SAFETY: Neither call takes a pointer.
            let failed = unsafe {
                libc::syscall(libc::SYS_setresgid, NOBODY, NOBODY, NOBODY) != 0
                    || libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) != 0
            };
            ensure!(!failed, "{}", io::Error::last_os_error());
            run()
        });
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("the thread panicked"))?
    })
}

/// Whose program becomes another user's is not to be looked at any more, by whatever was open.
fn setuid() -> Result<()> {
    fs::copy("/bin/target", "/tmp/setuid")?;
    fs::set_permissions("/tmp/setuid", fs::Permissions::from_mode(0o4755))?;
    let mut target = Target::start_as(NOBODY, "exec-setuid")?;
    let pid = target.pid();
    let mut file = as_nobody(|| Ok(Lockless::open(pid)?))?;
    let first = file.batch(HEADER + 400)?.header()?;
    ensure!(first.end_reason == MAPS_LOCKLESS_END_FULL);
    target.go_on()?;
    while !fs::read(format!("/proc/{pid}/cmdline"))?.starts_with(b"/tmp/setuid\0") {
        thread::sleep(Duration::from_millis(5));
    }
    ensure!(
        fs::read_to_string(format!("/proc/{pid}/status"))?.contains("\t0\t0\t0"),
        "not root"
    );

    let state = file.state()?;
    ensure!(state.status == MAPS_LOCKLESS_STATUS_GONE && state.vma_count == 0);
    ensure!(state.mm_id == first.mm_id);
    let header = file.batch(MAX)?.header()?;
    ensure!(header.end_reason == MAPS_LOCKLESS_END_GONE && header.count == 0);
    ensure!(header.mm_id == first.mm_id);
    let anew = as_nobody(|| Ok(errno(Lockless::open(pid))))?;
    ensure!(anew == Some(Errno::EACCES), "{anew:?}");
    Ok(())
}

/// A reader with a fatal signal pending leaves a long read early. Its last batch says so: it is read
/// into memory that outlives it.
fn killed_reader() -> Result<()> {
    fs::write("/proc/sys/vm/max_map_count", "1000000")?;
    let target = Target::start("vmas-100000")?;
    let pages = Pages::new(16, MapFlags::MAP_SHARED)?;
    let request = maps_lockless_request {
        vma_flags_all: MAPS_LOCKLESS_VMA_READ,
        vma_flags_none: MAPS_LOCKLESS_VMA_READ,
        ..MAPS
    };
    let file = Lockless::with_request(target.pid(), request)?;
    for round in 1..=200 {
        #[expect(unsafe_code, reason = "fork(2) has no safe form")]
        // SAFETY: The child makes system calls alone, and never returns.
        let child = unsafe {
            let child = libc::fork();
            if child == 0 {
                loop {
                    libc::pread(file.0.as_raw_fd(), pages.0.cast(), MAX, 0);
                }
            }
            child
        };
        ensure!(child > 0);
        thread::sleep(Duration::from_millis(20 + round % 7));
        let pid = nix::unistd::Pid::from_raw(child);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
        nix::sys::wait::waitpid(pid, None)?;
        let bytes = pages.bytes();
        let Ok(batch) = Batch::parse(&bytes) else {
            continue;
        };
        let header = batch.header();
        if header.end_reason == MAPS_LOCKLESS_END_SIGNAL {
            println!("# seen in round {round}");
            ensure!(header.count == 0 && !batch.is_final() && header.next > 0);
            return Ok(());
        }
        ensure!(header.end_reason == MAPS_LOCKLESS_END_BUDGET);
    }
    bail!("no reader was killed in the middle of a read")
}
