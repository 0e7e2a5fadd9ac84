//! Contents of a Buildroot output directory (`O=`), found and checked before anything is composed.
//!
//! Two hand-offs are possible: `images/rootfs.tar`, to which Buildroot has applied users, modes and units already,
//! or `target/` with the two tables that `make rootfs-common` writes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::device_table::{DeviceTable, DeviceTableError};
use super::users_table::{PasswordMethod, UsersTable, UsersTableError};
use crate::buildroot::config::Config;
use crate::error::{Diagnostic, Io};
use crate::value::Arch;

/// A file in `target/` that says that `target/` is not a root filesystem, because ownership is missing.
pub(super) const MARKER: &str = "THIS_IS_NOT_YOUR_ROOT_FILESYSTEM";
/// Tables that `make rootfs-common` writes.
const USERS: &str = "build/buildroot-fs/full_users_table.txt";
const DEVICES: &str = "build/buildroot-fs/full_devices_table.txt";
/// Used when `.config` does not name a password method: Buildroot's own default.
const DEFAULT_METHOD: &str = "sha-256";

/// Reason why an output directory cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum OutputError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// There is no such directory.
    #[error("Buildroot output `{}` does not exist", .0.display())]
    #[diagnostic(hint = "give the directory that is O= for Buildroot, workspaces/NAME in SkiffOS")]
    Missing(PathBuf),
    /// The directory has no `.config`.
    #[error("`{}` is not a Buildroot output: it has no `.config`", .0.display())]
    #[diagnostic(hint = "give the directory that is O= for Buildroot, workspaces/NAME in SkiffOS")]
    NotConfigured(PathBuf),
    /// The directory has neither `target/` nor `images/rootfs.tar`.
    #[error("`{}` has neither `target` nor `images/rootfs.tar`", .0.display())]
    #[diagnostic(hint("run: make O=`{}`", _0.display()))]
    NotBuilt(PathBuf),
    /// The wanted hand-off is missing.
    #[error("`{}` has no `{file}`", path.display())]
    #[diagnostic(hint = how_to_make(path, file))]
    NoSource {
        /// The output directory.
        path: PathBuf,
        /// `target` or `images/rootfs.tar`.
        file: &'static str,
    },
    /// A table is missing.
    #[error("`{}` has no `{table}`", path.display())]
    #[diagnostic(hint("run: make O=`{}` rootfs-common", path.display()))]
    NoTable {
        /// The output directory.
        path: PathBuf,
        /// The table.
        table: &'static str,
    },
    /// The architecture is none this program knows.
    #[error("`{}` is configured for an architecture that is not supported (BR2_ARCH is `{arch}`)", path.display())]
    #[diagnostic(kind = Unsupported, hint = "use an arm, arm64, x86_64 or riscv64 configuration")]
    UnknownArch {
        /// The `.config`.
        path: PathBuf,
        /// Value of the symbol.
        arch: String,
    },
    /// The users table is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Users(#[from] UsersTableError),
    /// The device table is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Devices(#[from] DeviceTableError),
}

fn how_to_make(output: &Path, file: &str) -> String {
    match file {
        "target" => format!("run: make O=`{}`", output.display()),
        _ => "set BR2_TARGET_ROOTFS_TAR=y and build again".into(),
    }
}

/// Form in which Buildroot hands a root filesystem over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handoff {
    /// `target/` and the tables.
    Target,
    /// `images/rootfs.tar`.
    Tar,
}

/// RootSource of the root filesystem.
#[derive(Clone, Debug)]
pub enum RootSource {
    /// The directory `target/`, with the tables that make a root filesystem of it.
    Target {
        /// The directory.
        dir: PathBuf,
        /// Users to add.
        users: UsersTable,
        /// Owners, modes and nodes to set.
        devices: DeviceTable,
    },
    /// An archive to which Buildroot has applied the tables.
    Tar {
        /// The archive.
        path: PathBuf,
    },
}

/// A Buildroot output directory.
#[derive(Clone, Debug)]
pub struct Output {
    /// The directory itself.
    pub path: PathBuf,
    /// Its `.config`.
    pub config: Config,
    /// Architecture of the system, if it is known.
    pub arch: Option<Arch>,
    /// RootSource of the root filesystem.
    pub source: RootSource,
}

impl Output {
    /// Reads `.config` and what `handoff` needs. Trees are not scanned here.
    pub fn read(path: &Path, handoff: Handoff) -> Result<Output, OutputError> {
        if !path.is_dir() {
            return Err(OutputError::Missing(path.into()));
        }
        let file = path.join(".config");
        let text = read_text(&file)?.ok_or_else(|| OutputError::NotConfigured(path.into()))?;
        let config = Config::parse(&text);
        let arch = config.arch().ok_or_else(|| {
            let arch = config.get("BR2_ARCH").unwrap_or("").into();
            OutputError::UnknownArch { path: file, arch }
        })?;
        let source = RootSource::find(path, handoff)?;
        Ok(Output { path: path.into(), config, arch: Some(arch), source })
    }

    /// Opens a path of the command line: an output directory, or the archive of a root filesystem, which may
    /// be that of an output directory.
    pub fn open(path: &Path) -> Result<Output, OutputError> {
        if !path.is_file() {
            return Output::read(path, Handoff::Target);
        }
        let around = path.parent().and_then(Path::parent).filter(|_| path.ends_with("images/rootfs.tar"));
        match around.filter(|directory| directory.join(".config").is_file()) {
            Some(directory) => Output::read(directory, Handoff::Tar),
            None => Ok(Output {
                path: path.parent().unwrap_or(Path::new("")).into(),
                config: Config::default(),
                arch: None,
                source: RootSource::Tar { path: path.into() },
            }),
        }
    }

    /// Directory of kernel, device trees and boot loaders: `images/`, or the one of an archive of its own.
    pub fn images(&self) -> PathBuf {
        let images = self.path.join("images");
        if images.is_dir() { images } else { self.path.clone() }
    }

    /// A file of `images/`: a kernel, a device tree, a boot loader.
    pub fn image(&self, name: &str) -> PathBuf {
        self.path.join("images").join(name)
    }

    /// Returns whether systemd is the init system.
    pub(super) fn has_systemd(&self) -> bool {
        self.config.is_set("BR2_INIT_SYSTEMD")
    }

    /// Method that hashes clear-text passwords of the users table.
    pub(super) fn password_method(&self) -> Result<PasswordMethod, UsersTableError> {
        self.config.get("BR2_TARGET_GENERIC_PASSWD_METHOD").unwrap_or(DEFAULT_METHOD).parse()
    }

    /// The package that installed each file of `target/`, by path without leading slash
    /// (`build/packages-file-list.txt`); empty if the list is missing. Files that overlays and hooks made have no
    /// package.
    pub fn packages(&self) -> Result<BTreeMap<Vec<u8>, String>, OutputError> {
        let path = self.path.join("build/packages-file-list.txt");
        let bytes = read_bytes(&path)?.unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n');
        Ok(lines.filter_map(file_and_package).collect())
    }
}

/// Path and package of a line `PACKAGE,./PATH`.
fn file_and_package(line: &[u8]) -> Option<(Vec<u8>, String)> {
    let comma = line.iter().position(|byte| *byte == b',')?;
    let file = line[comma + 1..].strip_prefix(b"./".as_slice()).unwrap_or(&line[comma + 1..]);
    Some((file.to_vec(), String::from_utf8_lossy(&line[..comma]).into_owned()))
}

impl RootSource {
    fn find(path: &Path, handoff: Handoff) -> Result<RootSource, OutputError> {
        let (target, tar) = (path.join("target"), path.join("images/rootfs.tar"));
        if !target.is_dir() && !tar.is_file() {
            return Err(OutputError::NotBuilt(path.into()));
        }
        match handoff {
            Handoff::Tar if tar.is_file() => Ok(RootSource::Tar { path: tar }),
            Handoff::Tar => Err(OutputError::NoSource { path: path.into(), file: "images/rootfs.tar" }),
            Handoff::Target if target.is_dir() => RootSource::target(path, target),
            Handoff::Target => Err(OutputError::NoSource { path: path.into(), file: "target" }),
        }
    }

    fn target(path: &Path, dir: PathBuf) -> Result<RootSource, OutputError> {
        let table = |table: &'static str| -> Result<(PathBuf, String), OutputError> {
            let file = path.join(table);
            let text = read_text(&file)?.ok_or_else(|| OutputError::NoTable { path: path.into(), table })?;
            Ok((file, text))
        };
        let (users_file, users) = table(USERS)?;
        let (devices_file, devices) = table(DEVICES)?;
        let users = UsersTable::parse(&users_file, &users)?;
        let devices = DeviceTable::parse(&devices_file, &devices)?;
        Ok(RootSource::Target { dir, users, devices })
    }
}

/// The bytes of a file; nothing if it does not exist.
fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, Io> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Io::on("read", path)(error)),
    }
}

/// The text of a file, with what is not UTF-8 replaced; nothing if it does not exist.
fn read_text(path: &Path) -> Result<Option<String>, Io> {
    Ok(read_bytes(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn refusal(files: &[(&str, &str)], handoff: Handoff) -> (String, String) {
        let dir = sample(files);
        let error = Output::read(dir.path(), handoff).unwrap_err();
        let clean = |text: String| text.replace(dir.path().to_str().unwrap(), "out");
        (clean(error.to_string()), clean(error.hint().unwrap()))
    }

    const CONFIG: (&str, &str) = (".config", "BR2_x86_64=y\nBR2_INIT_SYSTEMD=y\n");

    #[test]
    fn what_is_missing_is_reported_with_what_to_run() {
        let (message, hint) = refusal(&[CONFIG, ("target/x", "")], Handoff::Target);
        assert_eq!(message, "`out` has no `build/buildroot-fs/full_users_table.txt`");
        assert_eq!(hint, "run: make O=`out` rootfs-common");
        let (message, hint) = refusal(&[CONFIG], Handoff::Target);
        assert_eq!(message, "`out` has neither `target` nor `images/rootfs.tar`");
        assert_eq!(hint, "run: make O=`out`");
        let (message, hint) = refusal(&[CONFIG, ("target/x", "")], Handoff::Tar);
        assert_eq!(message, "`out` has no `images/rootfs.tar`");
        assert_eq!(hint, "set BR2_TARGET_ROOTFS_TAR=y and build again");
        let (message, hint) = refusal(&[("images/rootfs.tar", "")], Handoff::Tar);
        assert_eq!(message, "`out` is not a Buildroot output: it has no `.config`");
        assert_eq!(hint, "give the directory that is O= for Buildroot, workspaces/NAME in SkiffOS");
        let (message, _) = refusal(&[(".config", "BR2_ARCH=\"mips\"\n")], Handoff::Tar);
        assert_eq!(
            message,
            "`out/.config` is configured for an architecture that is not supported (BR2_ARCH is `mips`)"
        );
        let error = Output::read(Path::new("/nonexistent"), Handoff::Tar).unwrap_err().to_string();
        assert_eq!(error, "Buildroot output `/nonexistent` does not exist");
    }

    #[test]
    fn a_complete_output_is_read() {
        let dir = sample(&[
            CONFIG,
            ("target/bin/x", ""),
            (USERS, "a 1000 a 1000 * - - -\n"),
            (DEVICES, "/etc d 755 0 0 - - - - -\n"),
            ("build/packages-file-list.txt", "busybox,./bin/x\nother,./bin/x\n"),
        ]);
        let output = Output::read(dir.path(), Handoff::Target).unwrap();
        assert_eq!((output.arch, output.has_systemd()), (Some(Arch::X86_64), true));
        assert_eq!(output.password_method().unwrap(), PasswordMethod::Sha256);
        assert_eq!(output.packages().unwrap()[b"bin/x".as_slice()], "other");
        assert!(matches!(&output.source, RootSource::Target { users, .. } if !users.is_empty()));
    }
}
