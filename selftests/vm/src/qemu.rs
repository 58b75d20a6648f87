// SPDX-License-Identifier: MIT OR Apache-2.0

//! Boots a kernel in QEMU.
//!
//! The kernel's log goes to a serial port, the command's input and output to a virtio console, its
//! exit status to a virtio port, files that it hands out to another. QEMU's own exit status says
//! nothing: it is 0 after a panic.

use crate::{build::Flavour, exec, initramfs, paths, splat};
use anyhow::{Context, Result, bail};
use nix::fcntl::Flock;
use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// The kernel's command line.
const COMMAND_LINE: [&str; 9] = [
    "console=ttyS0",
    "rdinit=/init",
    "panic=-1",
    "oops=panic",
    // Emulated on a busy machine, a timer may be found broken that only was late, a CPU stand still, and a
    // thread of low priority hold up RCU for minutes.
    "no_timer_check",
    "rcupdate.rcu_cpu_stall_timeout=300",
    "watchdog_thresh=60",
    "sysctl.kernel.hung_task_timeout_secs=600",
    // khugepaged takes the mmap_lock of whoever it likes, at any time.
    "transparent_hugepage=madvise",
];

/// The CPU where instructions are counted. It copies by words, as one of `rep movsb` is counted for each byte, and
/// has no random numbers, so that what is counted depends on nothing but the programs.
const COUNTING_CPU: &str = "max,la57=off,-fsrm,-erms,-rdrand,-rdseed";

/// What the command's console is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// What the command writes comes out as it is. Its own input is empty.
    Raw,
    /// A terminal.
    Terminal,
}

/// A VM that is ready to boot.
pub struct Vm {
    accelerator: Accelerator,
    flavour: Flavour,
    image: PathBuf,
    archive: PathBuf,
    /// The kernel's log.
    log: PathBuf,
    status: PathBuf,
    /// What the command hands out.
    files: PathBuf,
    console: Console,
    machine: Machine,
    /// A plugin of QEMU's, and its arguments.
    plugin: Option<String>,
    /// None: whoever made the VM has it.
    _lock: Option<Flock<File>>,
}

/// How large a VM is, where it is not as usual.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Machine {
    /// CPUs of the VM, instead of 2.
    #[arg(long = "smp")]
    cpus: Option<u32>,
    /// Megabytes of the VM's memory, instead of what is usual for the kernel.
    #[arg(long)]
    memory: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accelerator {
    Kvm,
    Tcg,
    /// Emulation of one CPU whose clock goes on by a nanosecond with each instruction. A run is repeated exactly.
    Counting,
}

impl Vm {
    /// Prepares a VM with `flavour`'s kernel that runs `command` and ends.
    pub fn new(flavour: Flavour, image: &Path, command: &[&str], console: Console) -> Result<Self> {
        // Its files have the kernel's name.
        let lock = paths::lock(flavour.name())?;
        let accelerator = if kvm_works(flavour, image)? {
            Accelerator::Kvm
        } else {
            Accelerator::Tcg
        };
        let vm = Self::with(accelerator, flavour, image, console, command, None)?;
        Ok(Self {
            _lock: Some(lock),
            ..vm
        })
    }

    /// Prepares a VM that counts instructions, with a program that not every VM has.
    pub fn counting(
        flavour: Flavour,
        image: &Path,
        command: &[&str],
        program: &Path,
        plugin: Option<String>,
    ) -> Result<Self> {
        let lock = paths::lock(flavour.name())?;
        let accelerator = Accelerator::Counting;
        let also = Some(program);
        let vm = Self::with(accelerator, flavour, image, Console::Raw, command, also)?;
        Ok(Self {
            plugin,
            _lock: Some(lock),
            ..vm
        })
    }

    fn with(
        accelerator: Accelerator,
        flavour: Flavour,
        image: &Path,
        console: Console,
        command: &[&str],
        also: Option<&Path>,
    ) -> Result<Self> {
        let logs = paths::work("logs")?;
        let mode = match console {
            Console::Raw => "raw",
            Console::Terminal => "tty",
        };
        Ok(Self {
            accelerator,
            flavour,
            image: image.to_owned(),
            archive: initramfs::make(image, flavour, mode, command, also)?,
            log: logs.join(format!("console-{}.log", flavour.name())),
            status: logs.join(format!("status-{}", flavour.name())),
            files: logs.join(format!("files-{}", flavour.name())),
            console,
            machine: Machine::default(),
            plugin: None,
            _lock: None,
        })
    }

    /// The same VM, as large as this.
    pub fn sized(self, machine: Machine) -> Self {
        Self { machine, ..self }
    }

    fn qemu(&self) -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(match self.accelerator {
            Accelerator::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // With five-level paging, KASAN misjudges addresses while identify_cpu() fills in the features, and
            // kernel addresses begin lower than the tests look for.
            Accelerator::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max,la57=off"],
            Accelerator::Counting => ["-accel", "tcg,thread=single", "-cpu", COUNTING_CPU],
        });
        // q35 tells interrupts by tables. The older pc has a loop in ACPI's language for it, which the
        // kernel gives up on after 30 s: an emulated KASAN kernel on a busy machine takes longer.
        qemu.args(["-machine", "q35"]);
        qemu.args(["-smp", "2", "-nodefaults", "-display", "none", "-no-reboot"])
            // KASAN's shadow takes an eighth, and more is held back from reuse.
            .args([
                "-m",
                match self.flavour {
                    Flavour::Kasan | Flavour::Strict => "4096",
                    _ => "2048",
                },
            ])
            .arg("-kernel")
            .arg(&self.image)
            .arg("-initrd")
            .arg(&self.archive)
            .args(["-append", &self.command_line()])
            .args(["-serial", &format!("file:{}", self.log.display())])
            // In a shell, an interrupt is for what runs in it.
            .args([
                "-chardev",
                match self.console {
                    Console::Raw => "stdio,id=command,signal=on",
                    Console::Terminal => "stdio,id=command,signal=off",
                },
            ])
            .arg("-chardev")
            .arg(format!("file,id=status,path={}", self.status.display()))
            .args(["-device", "virtio-serial-pci"])
            .args(["-device", "virtconsole,chardev=command"])
            .args(["-device", "virtserialport,chardev=status,name=status"])
            .arg("-chardev")
            .arg(format!("file,id=files,path={}", self.files.display()))
            .args(["-device", "virtserialport,chardev=files,name=files"]);
        // What is said later counts.
        if self.accelerator == Accelerator::Counting {
            qemu.args(["-smp", "1", "-m", "4096"])
                .args(["-icount", "shift=0,sleep=off"])
                // It tells the time of the VM, not of this machine.
                .args(["-rtc", "base=2026-01-01,clock=vm"]);
        }
        if let Some(plugin) = &self.plugin {
            qemu.args(["-plugin", plugin]);
        }
        if let Some(cpus) = self.machine.cpus {
            qemu.args(["-smp", &cpus.to_string()]);
        }
        if let Some(memory) = self.machine.memory {
            qemu.args(["-m", &memory.to_string()]);
        }
        qemu
    }

    fn command_line(&self) -> String {
        let mut words = COMMAND_LINE.to_vec();
        if self.accelerator == Accelerator::Counting {
            words.extend(["nokaslr", "norandmaps"]);
        }
        words.join(" ")
    }

    /// The file that holds what the command handed out.
    pub fn handed_out(&self) -> &Path {
        &self.files
    }

    /// The file that holds the kernel's log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Boots with this process's own input and output. Returns the command's exit status.
    pub fn passthrough(&self, seconds: u64) -> Result<ExitCode> {
        let child = self.spawn(self.qemu().stdin(Stdio::inherit()))?;
        let status = self.wait(child, seconds)?;
        Ok(ExitCode::from(u8::try_from(status)?))
    }

    /// As [`Vm::passthrough`], for as long as the user likes.
    pub fn interactive(&self) -> Result<ExitCode> {
        eprintln!(
            "The VM ends when the shell does. Its kernel's log: {}",
            self.log.display()
        );
        self.passthrough(u64::MAX)
    }

    /// Boots, hands each line of the command's output to `take`, returns its exit status.
    pub fn lines(&self, seconds: u64, mut take: impl FnMut(&str)) -> Result<i32> {
        let mut child = self.spawn(self.qemu().stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let stdout = child.stdout.take().context("QEMU's output")?;
        let (send, receive) = mpsc::channel();
        let reader = thread::spawn(move || {
            let mut lines = BufReader::new(stdout);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
                // The receiver outlives this thread but for errors.
                let _ = send.send(String::from_utf8_lossy(&line).into_owned());
                line.clear();
            }
        });
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while let Ok(line) =
            receive.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            take(line.trim_end());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let status = self.wait(child, left.as_secs().max(1));
        let _ = reader.join();
        status
    }

    fn spawn(&self, qemu: &mut Command) -> Result<Child> {
        for file in [&self.log, &self.status, &self.files] {
            let _ = fs::remove_file(file);
        }
        qemu.spawn().with_context(|| exec::shown(qemu))
    }

    /// Waits for the VM's end, and looks whether it was a good one.
    fn wait(&self, mut child: Child, seconds: u64) -> Result<i32> {
        let begin = Instant::now();
        while child.try_wait()?.is_none() {
            if begin.elapsed().as_secs() >= seconds {
                child.kill()?;
                child.wait()?;
                bail!("the VM hangs, see {}", self.log.display());
            }
            thread::sleep(Duration::from_millis(20));
        }
        splat::check(&self.log)?;
        fs::read_to_string(&self.status)
            .ok()
            .and_then(|text| text.trim().strip_prefix("exit ")?.parse().ok())
            .with_context(|| {
                format!(
                    "the VM ended without an exit status, see {}",
                    self.log.display()
                )
            })
    }
}

/// Whether KVM boots this kernel. That /dev/kvm is there does not say so.
fn kvm_works(flavour: Flavour, image: &Path) -> Result<bool> {
    let kvm = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    if kvm.is_err() {
        return Ok(false);
    }
    let vm = Vm::with(
        Accelerator::Kvm,
        flavour,
        image,
        Console::Raw,
        &["/bin/true"],
        None,
    )?;
    let child = vm.spawn(
        vm.qemu()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )?;
    Ok(vm.wait(child, 10).is_ok_and(|status| status == 0))
}
