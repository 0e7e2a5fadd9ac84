//! `skiff-init` is process 1 of boards whose root is a squashfs image: it makes that image `/` and starts the real init.
//!
//! ```text
//! kernel -> skiff-init   /dev /proc /sys, settings, boot medium, growth of ext4
//!             image      digest, loop device, squashfs + tmpfs = overlay     failure -> the previous image -> rescue
//!             handover   old root at /mnt/persist or /mnt/boot, overlay becomes /, exec of systemd
//! ```
//!
//! The kernel starts it in one of two ways. As `init=` of a root filesystem that carries the image (ext4, or the FAT that
//! the board's loader reads): that filesystem stays visible in the system. Or as `/init` of an initramfs, with
//! `skiffos.boot=` naming the device that carries the image: that device is mounted at `/mnt/boot`, and the memory of the
//! initramfs is freed. [`options`] lists all settings.
//!
//! Nothing waits for ever, and nothing ends in a panic of the kernel without a message that says what, where and what
//! to do: a failure leads to the previous image, if there is one, and else to [`rescue`].
//!
//! It is a package of its own, without the composer's dependencies, and built statically (`cargo build --profile init --package skiff-init --features pure`), for a
//! medium that is read on every boot. It runs where there is no `/dev` yet: the standard library's own start would end
//! the process there, because it wants the first three file descriptors open. Hence `no_main`.
#![no_main]

mod choice;
mod cmdline;
mod console;
mod device;
mod failure;
mod grow;
mod handover;
mod image;
mod loopdev;
mod mounts;
mod options;
mod probe;
mod rescue;
mod spec;
mod table;

use std::convert::Infallible;
use std::ffi::{OsString, c_int};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{Mode, OFlags};

use choice::Choice;
use cmdline::Argument;
use failure::{Failure, Result};
use handover::OldRoot;
use image::Root;
use options::Options;
use spec::Spec;

const BOOT: &str = "/mnt/boot";
const OPTIONS: &str = "skiff-init.conf";
const RESIZE: &str = "resize2fs.conf";

/// Entry point that the C library calls.
// SAFETY: no other function of this name is linked: the standard library defines none under `no_main`.
#[unsafe(no_mangle)]
extern "C" fn main() -> c_int {
    if std::process::id() != 1 {
        let text = b"skiff-init: this is for process 1: name it as `init=` on the kernel command line\n";
        // There is nowhere else to report that it failed.
        let _ = rustix::io::write(rustix::stdio::stderr(), text);
        return 2;
    }
    rescue_after_panic();
    let mut options = Options::default();
    let Err(failure) = boot(&mut options);
    console::failure(&failure);
    rescue::rescue(&options)
}

/// A panic is a mistake in this program, and ends like every other failure.
fn rescue_after_panic() {
    std::panic::set_hook(Box::new(|panic| {
        console::failure(&Failure::Internal { message: panic.to_string().replace('\n', " ") });
        rescue::rescue(&Options::default())
    }));
}

/// The way to the system; comes back only if there is none.
fn boot(options: &mut Options) -> Result<Infallible> {
    let start = Instant::now();
    rustix::process::umask(Mode::from(0o022));
    let writable = mounts::make_root_writable();
    mounts::mount_kernel_filesystems()?;
    take_console();
    writable.unwrap_or_else(|failure| console::failure(&failure));
    let rate_limit = console::lift_rate_limit();
    let cmdline = cmdline::parse(&text(Path::new("/proc/cmdline")));
    read_settings(options, &cmdline);
    let old = OldRoot::look();
    let mut moved = vec![Path::new("/dev"), Path::new("/proc"), Path::new("/sys")];
    if let Some(spec) = &options.boot {
        mount_boot(spec, options)?;
        moved.insert(0, Path::new(BOOT));
    }
    if options.grow {
        grow::grow_all(beside(RESIZE).map(|path| text(&path)).as_deref());
    }
    let root = root(options, &inits(options, &cmdline, old))?;
    handover::show_old(&root, old, options).iter().for_each(console::failure);
    handover::move_mounts(&root, &moved)?;
    let init = handover::enter(root, old)?;
    console::info(format_args!("starting `{}` after {} ms", init.display(), start.elapsed().as_millis()));
    console::restore_rate_limit(rate_limit.as_deref());
    Err(handover::start(&init, &arguments()))
}

/// Makes the console standard input, output and error: the kernel could not, if the root has no `/dev`.
fn take_console() {
    // Not closed when the init is started, which inherits it.
    let Ok(console) = rustix::fs::open("/dev/console", OFlags::RDWR | OFlags::NOCTTY, Mode::empty()) else {
        return;
    };
    let dup = [rustix::stdio::dup2_stdin, rustix::stdio::dup2_stdout, rustix::stdio::dup2_stderr];
    let _ = dup.iter().try_for_each(|dup| dup(&console));
    if std::os::fd::AsRawFd::as_raw_fd(&console) <= 2 {
        std::mem::forget(console);
    }
}

fn read_settings(options: &mut Options, cmdline: &[Argument]) {
    let mut ignored = Vec::new();
    if let Some(file) = beside(OPTIONS) {
        ignored.extend(options.read_file(&file.display().to_string(), &text(&file)));
    }
    ignored.extend(options.read_cmdline(cmdline));
    ignored.iter().for_each(console::warn);
}

/// A file that stands beside this program, or where its image has it.
fn beside(name: &str) -> Option<PathBuf> {
    let own = fs::read_link("/proc/self/exe").ok().and_then(|path| Some(path.parent()?.to_owned()));
    let usual = ["/boot/skiff-init", "/skiff-init"].map(PathBuf::from);
    own.into_iter().chain(usual).map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// The text of a file; what cannot be read is empty.
fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn mount_boot(spec: &Spec, options: &Options) -> Result<()> {
    let device = device::wait(spec, options.wait)?;
    let kind = options.boot_type.clone().or_else(|| Some(device::filesystem(&device)?.kind.to_owned()));
    let kind = kind.ok_or_else(|| Failure::UnknownFilesystem { device: device.clone() })?;
    mounts::mount_at(&device.to_string_lossy(), Path::new(BOOT), &kind)
}

/// Programs that are started as process 1. An initramfs can name the init of the system in the kernel's own way.
fn inits(options: &Options, cmdline: &[Argument], old: OldRoot) -> Vec<PathBuf> {
    let ours = |init: &&str| init.rsplit('/').next().is_some_and(|name| name.starts_with("skiff-init"));
    let kernel = cmdline::last(cmdline, "init").filter(|init| !ours(init));
    choice::inits(options, kernel.filter(|_| old == OldRoot::Initramfs))
}

/// The image as a root, or the previous image if there is one and this one fails.
fn root(options: &Options, inits: &[PathBuf]) -> Result<Root> {
    let choice = Choice::new(options, Path::exists);
    let existing = |images: &[PathBuf]| images.iter().find(|image| image.exists()).cloned();
    let current = existing(&choice.current).ok_or_else(|| choice.nothing());
    let failure = match current.and_then(|image| Root::new(&image, options, inits)) {
        Ok(root) => return Ok(root),
        Err(failure) => failure,
    };
    let Some(previous) = existing(&choice.previous) else { return Err(failure) };
    console::failure(&failure);
    console::warn(format_args!("starting the previous image `{}`", previous.display()));
    Root::new(&previous, options, inits)
}

/// Returns the arguments that the kernel passed on beside our name.
fn arguments() -> Vec<OsString> {
    let bytes = fs::read("/proc/self/cmdline").unwrap_or_default();
    let words = bytes.strip_suffix(b"\0").unwrap_or(&bytes).split(|byte| *byte == 0);
    words.skip(1).map(|word| OsString::from_vec(word.to_vec())).collect()
}
