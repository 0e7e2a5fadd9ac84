//! Failures on the way to the system, and the advice for each.

use std::io;
use std::path::PathBuf;

use super::spec::Spec;

/// A step that did not work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("no image: there is no {tried}")]
    NoImage { tried: String },
    #[error("no device `{device}` within {seconds} s; there are: {seen}")]
    NoDevice { device: Spec, seconds: u64, seen: String },
    #[error("`{device}` holds neither ext4 nor FAT")]
    UnknownFilesystem { device: PathBuf },
    #[error("cannot mount `{what}` ({kind}) at `{at}`: {source}")]
    Mount { what: String, kind: String, at: PathBuf, source: io::Error },
    #[error("cannot make the root writable: {source}")]
    Writable { source: io::Error },
    #[error("cannot make the directory `{path}`: {source}")]
    Directory { path: PathBuf, source: io::Error },
    #[error("cannot read `{path}`: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("no loop device for `{image}`: {source}")]
    Loop { image: PathBuf, source: io::Error },
    #[error("`{sidecar}` states no digest")]
    NoDigest { sidecar: PathBuf },
    #[error("`{image}` is damaged: its BLAKE3 digest is {found}, not {stated}")]
    Digest { image: PathBuf, found: String, stated: String },
    #[error("`{image}` has no {tried} that can be started")]
    NoInit { image: PathBuf, tried: String },
    #[error("cannot move `{what}` into the new root: {source}")]
    Move { what: PathBuf, source: io::Error },
    #[error("cannot start `{program}`: {source}")]
    Start { program: PathBuf, source: io::Error },
    #[error("cannot grow the filesystem on `{device}`: {source}")]
    Grow { device: PathBuf, source: io::Error },
    #[error("the kernel refuses to restart: {source}")]
    Restart { source: io::Error },
    #[error("internal error: {message}")]
    Internal { message: String },
}

/// A step, or why it did not work.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// Advice for a person at the console.
    pub fn hint(&self) -> &'static str {
        match self {
            Failure::NoImage { .. } => {
                "name it with `skiffos.squashfs=PATH`, or the device it is on with `skiffos.boot=`"
            }
            Failure::NoDevice { .. } => {
                "check the medium and `skiffos.boot=`; `skiffos.wait=SECONDS` waits longer"
            }
            Failure::UnknownFilesystem { .. } => "name its filesystem with `skiffos.boot-type=`",
            Failure::Mount { .. } => "the kernel may lack this filesystem, or the medium is damaged",
            Failure::Directory { .. } => {
                "the root filesystem must be writable: `rw` on the kernel command line"
            }
            Failure::Writable { .. } => "check the medium: what the system keeps is lost at the next start",
            Failure::Read { .. } => "the medium may be damaged",
            Failure::Loop { .. } => "the kernel needs CONFIG_BLK_DEV_LOOP",
            Failure::NoDigest { .. } => "it must begin with 64 hexadecimal digits, as `b3sum` prints them",
            Failure::Digest { .. } => "write the image again; without `skiffos.verify` it is not checked",
            Failure::NoInit { .. } => "name the program with `skiffos.init=PATH`, or write the image again",
            Failure::Move { .. } => "this is a property of the kernel; report it",
            Failure::Start { .. } => "the image may be for another processor, or damaged",
            Failure::Grow { .. } => "the system starts with the size it has",
            Failure::Restart { .. } => "switch the device off and on",
            Failure::Internal { .. } => "this is a mistake in skiff-init; report it",
        }
    }
}
