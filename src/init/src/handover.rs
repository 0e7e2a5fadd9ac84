//! Leaving: what the system needs from the old root goes into the new one, which becomes `/`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::failure::{Failure, Result};
use super::image::Root;
use super::mounts::{bind, move_to};
use super::options::{Options, RootAs};

/// Magic numbers of `statfs(2)`.
const RAMFS: u64 = 0x8584_58f6;
const TMPFS: u64 = 0x0102_1994;
const FAT: u64 = 0x4d44;

/// State of `/` when this program started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OldRoot {
    /// An initramfs: nothing that lasts, and memory that can be had back.
    Initramfs,
    /// The boot partition of a board whose loader reads nothing else.
    Fat,
    Disk,
}

impl OldRoot {
    /// Looks at `/`.
    pub fn look() -> OldRoot {
        // The type is 32 bits on some machines and signed on others; the magic numbers have 32 bits.
        match rustix::fs::statfs("/").map(|status| status.f_type as u64 & 0xffff_ffff) {
            Ok(RAMFS | TMPFS) => OldRoot::Initramfs,
            Ok(FAT) => OldRoot::Fat,
            _ => OldRoot::Disk,
        }
    }
}

/// Shows the old root, and what else was asked for, in the new one.
///
/// Each failure is one thing less in a system that may do without.
pub fn show_old(root: &Root, old: OldRoot, options: &Options) -> Vec<Failure> {
    let place = match (options.root_as, old) {
        (RootAs::Nothing, _) | (RootAs::Auto, OldRoot::Initramfs) => None,
        (RootAs::Boot, _) | (RootAs::Auto, OldRoot::Fat) => Some("/mnt/boot"),
        (RootAs::Persist, _) | (RootAs::Auto, OldRoot::Disk) => Some("/mnt/persist"),
        (RootAs::Host, _) => Some("/mnt/host"),
    };
    let old = place.map(|place| (Path::new("/"), Path::new(place)));
    let binds = options.binds.iter().map(|(from, to)| (from.as_path(), to.as_path()));
    let binds = old.into_iter().chain(binds);
    binds.filter_map(|(from, to)| bind(from, &root.path(to)).err()).collect()
}

/// Moves `mounts` into the new root, under the names they have.
pub fn move_mounts(root: &Root, mounts: &[&Path]) -> Result<()> {
    mounts.iter().try_for_each(|at| move_to(at, &root.path(at)))
}

/// Makes the root `/`. From here on there is no way back.
pub fn enter(root: Root, old: OldRoot) -> Result<PathBuf> {
    let at = root.at;
    let failed = |source: std::io::Error| Failure::Move { what: at.into(), source };
    std::env::set_current_dir(at).map_err(failed)?;
    if old == OldRoot::Initramfs {
        free_initramfs();
    }
    rustix::mount::mount_move(".", "/").map_err(|error| failed(error.into()))?;
    rustix::process::chroot(".").map_err(|error| failed(error.into()))?;
    std::env::set_current_dir("/").map_err(failed)?;
    Ok(root.keep())
}

/// Deletes the files of the initramfs, which nobody will reach any more, to have their memory back.
fn free_initramfs() {
    if let Ok(root) = fs::symlink_metadata("/") {
        empty(Path::new("/"), root.dev());
    }
}

/// Deletes what is in a directory, on this filesystem only. What is in use as a place for mounts stays.
fn empty(directory: &Path, filesystem: u64) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(status) = fs::symlink_metadata(&path) else { continue };
        if status.dev() != filesystem {
            continue;
        }
        if status.is_dir() {
            empty(&path, filesystem);
            let _ = fs::remove_dir(&path);
        } else {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Becomes the init of the system; returns only if that fails.
pub fn start(program: &Path, arguments: &[OsString]) -> Failure {
    let source = Command::new(program).args(arguments).exec();
    Failure::Start { program: program.into(), source }
}
