//! Options of `skiff-init`: `skiffos.NAME=VALUE` on the kernel's command line before `NAME = VALUE` in
//! `skiff-init.conf`, before the defaults. A value that makes no sense is reported and ignored: a typing mistake must
//! not keep a device from starting.
//!
//! | name | value | default |
//! |---|---|---|
//! | `squashfs` | image to start, a path on the root (or on what `boot` mounts at `/mnt/boot`) | first of [`IMAGES`] that exists |
//! | `previous` | image to start when that one cannot be | the image's name with `.old` |
//! | `verify` | the image must have the BLAKE3 digest that `IMAGE.blake3` states | off |
//! | `boot` | device to mount at `/mnt/boot`: `/dev/...`, `LABEL=`, `UUID=`, `PARTUUID=`, `PARTLABEL=` | none |
//! | `boot-type` | its filesystem, as `mount -t` names it | looked at: ext4 or vfat |
//! | `wait` | seconds to wait for that device | 10 |
//! | `overlay-size` | memory for changes to the root: bytes with `k`, `m`, `g`, or `%` of all | 25% |
//! | `root-as` | where the old root is seen: `persist`, `boot`, `host` (below `/mnt`), `none`, or `auto`: `boot` if it is FAT, `none` if it is an initramfs, else `persist` | auto |
//! | `bind` | more to see in the new root: `FROM:TO`, separated by commas | none |
//! | `grow` | let filesystems fill their partitions | on |
//! | `init` | program to start | first of [`INITS`] that exists |
//! | `panic` | seconds between a failure and the restart | 30 |

use std::path::PathBuf;
use std::time::Duration;

use super::cmdline::Argument;
use super::spec::Spec;

/// Paths of images, in the order in which they are looked for.
pub const IMAGES: [&str; 3] = ["/boot/rootfs.squashfs", "/rootfs.squashfs", "/mnt/boot/rootfs.squashfs"];

/// The programs that may be process 1 of the system.
pub const INITS: [&str; 2] = ["/lib/systemd/systemd", "/sbin/init"];

/// Beginning of the names on the kernel's command line.
const PREFIX: &str = "skiffos.";

/// Waiting longer for a disk than an hour is a mistake.
const MAX_SECONDS: u64 = 3600;

/// Place of the old root in the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootAs {
    Auto,
    Nothing,
    Persist,
    Boot,
    Host,
}

/// All that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub squashfs: Option<PathBuf>,
    pub previous: Option<PathBuf>,
    pub verify: bool,
    pub boot: Option<Spec>,
    pub boot_type: Option<String>,
    pub wait: Duration,
    pub overlay_size: String,
    pub root_as: RootAs,
    pub binds: Vec<(PathBuf, PathBuf)>,
    pub grow: bool,
    pub init: Option<PathBuf>,
    pub panic: Duration,
}

/// Reason why a setting was ignored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    #[error("{place}: there is no setting `{name}`; it is ignored")]
    Unknown { place: String, name: String },
    #[error("{place}: `{name}` must be {wanted}, not `{value}`; it is ignored")]
    Value { place: String, name: String, value: String, wanted: &'static str },
    #[error("{place}: `{line}` is not `name = value`; it is ignored")]
    Line { place: String, line: String },
}

impl Default for Options {
    fn default() -> Options {
        Options {
            squashfs: None,
            previous: None,
            verify: false,
            boot: None,
            boot_type: None,
            wait: Duration::from_secs(10),
            overlay_size: "25%".into(),
            root_as: RootAs::Auto,
            binds: Vec::new(),
            grow: true,
            init: None,
            panic: Duration::from_secs(30),
        }
    }
}

impl Options {
    /// Takes over what a configuration file says.
    pub fn read_file(&mut self, name: &str, text: &str) -> Vec<Ignored> {
        let lines = text.lines().map(str::trim).zip(1..);
        let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        let setting = |(line, number): (&str, u32)| {
            let place = format!("{name}:{number}");
            match line.split_once('=') {
                Some((name, value)) => self.set(place, name.trim(), Some(value.trim().trim_matches('"'))),
                None => Err(Ignored::Line { place, line: line.into() }),
            }
        };
        lines.map(setting).filter_map(Result::err).collect()
    }

    /// Takes over what the kernel's command line says.
    pub fn read_cmdline(&mut self, arguments: &[Argument]) -> Vec<Ignored> {
        let own =
            arguments.iter().filter_map(|argument| Some((argument.name.strip_prefix(PREFIX)?, argument)));
        let setting = |(name, argument): (&str, &Argument)| {
            self.set("kernel command line".into(), name, argument.value.as_deref())
        };
        own.map(setting).filter_map(Result::err).collect()
    }

    fn set(&mut self, place: String, name: &str, value: Option<&str>) -> Result<(), Ignored> {
        // The kernel takes `-` and `_` for the same in the names of its own parameters.
        let name = name.replace('_', "-");
        let text = value.unwrap_or_default();
        let wrong =
            |wanted| Ignored::Value { place: place.clone(), name: name.clone(), value: text.into(), wanted };
        match name.as_str() {
            "squashfs" => self.squashfs = Some(path(text).ok_or_else(|| wrong(PATH))?),
            "previous" => self.previous = Some(path(text).ok_or_else(|| wrong(PATH))?),
            "init" => self.init = Some(path(text).ok_or_else(|| wrong(PATH))?),
            "verify" => self.verify = switch(value).ok_or_else(|| wrong(SWITCH))?,
            "grow" => self.grow = switch(value).ok_or_else(|| wrong(SWITCH))?,
            "boot" => self.boot = Some(Spec::parse(text).ok_or_else(|| wrong(DEVICE))?),
            "boot-type" => self.boot_type = Some(filesystem_type(text).ok_or_else(|| wrong(TYPE))?),
            "wait" => self.wait = seconds(text).ok_or_else(|| wrong(SECONDS))?,
            "panic" => self.panic = seconds(text).ok_or_else(|| wrong(SECONDS))?,
            "overlay-size" => self.overlay_size = size(text).ok_or_else(|| wrong(SIZE))?,
            "root-as" => self.root_as = root_as(text).ok_or_else(|| wrong(ROOT_AS))?,
            "bind" => self.binds = binds(text).ok_or_else(|| wrong(BINDS))?,
            _ => return Err(Ignored::Unknown { place, name }),
        }
        Ok(())
    }
}

const PATH: &str = "an absolute path";
const SWITCH: &str = "`0` or `1`";
const DEVICE: &str = "`/dev/NAME`, `LABEL=`, `UUID=`, `PARTUUID=` or `PARTLABEL=`";
const TYPE: &str = "the name of a filesystem";
const SECONDS: &str = "seconds from 0 to 3600";
const SIZE: &str = "a number with `k`, `m` or `g`, or 1% to 100%";
const ROOT_AS: &str = "`auto`, `persist`, `boot`, `host` or `none`";
const BINDS: &str = "`FROM:TO` of absolute paths, separated by commas";

fn path(text: &str) -> Option<PathBuf> {
    let inside = !text.split('/').any(|part| part == "..");
    (text.len() > 1 && text.starts_with('/') && inside).then(|| text.into())
}

/// A name alone switches on.
fn switch(value: Option<&str>) -> Option<bool> {
    match value {
        None | Some("1" | "y" | "yes" | "on" | "true") => Some(true),
        Some("0" | "n" | "no" | "off" | "false") => Some(false),
        Some(_) => None,
    }
}

fn seconds(text: &str) -> Option<Duration> {
    text.parse().ok().filter(|seconds| *seconds <= MAX_SECONDS).map(Duration::from_secs)
}

fn filesystem_type(text: &str) -> Option<String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    (!text.is_empty() && text.chars().all(plain)).then(|| text.into())
}

/// Returns the value if tmpfs takes it as its `size`; the text ends up between commas there.
fn size(text: &str) -> Option<String> {
    let digits = text.trim_end_matches(['k', 'm', 'g', 'K', 'M', 'G', '%']);
    let number: u64 = digits.parse().ok()?;
    let fits = match &text[digits.len()..] {
        "%" => (1..=100).contains(&number),
        unit => unit.len() <= 1 && number > 0,
    };
    fits.then(|| text.into())
}

fn root_as(text: &str) -> Option<RootAs> {
    Some(match text {
        "auto" => RootAs::Auto,
        "none" => RootAs::Nothing,
        "persist" => RootAs::Persist,
        "boot" => RootAs::Boot,
        "host" => RootAs::Host,
        _ => return None,
    })
}

fn binds(text: &str) -> Option<Vec<(PathBuf, PathBuf)>> {
    let pair = |pair: &str| {
        let (from, to) = pair.split_once(':')?;
        Some((path(from)?, path(to)?))
    };
    text.split(',').map(pair).collect()
}
