//! The version that a system states: `/etc/skiff-release`, `/etc/os-release`, and `skiff-release` beside the images.
//!
//! The files are those of SkiffOS' base hook, and are read by the scripts that read those: `VERSION` is not quoted,
//! and `BUILD_DATE` is what `date -d` takes. The date is not that of the clock, and no user or host is named: two
//! builds of the same sources state the same.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Diagnostic, Io};
use crate::interrupt::Interrupt;
use crate::layer::Environment;
use crate::process::{ProcessError, Program};
use crate::recognize::release::RELEASE_FILE;
use crate::value::{Timestamp, Utc};

/// Time of a system if neither a variable nor a checkout has one: 1980-01-01, the earliest that FAT can hold.
pub const DEFAULT_EPOCH: Timestamp = 315_532_800;
/// The variable with the time.
pub const EPOCH_VARIABLE: &str = "SOURCE_DATE_EPOCH";
/// The variable with the version, as SkiffOS names it.
pub const VERSION_VARIABLE: &str = "SKIFF_VERSION";
/// The variable with the short name of the commit, as SkiffOS names it.
pub const COMMIT_VARIABLE: &str = "SKIFF_VERSION_COMMIT";

/// Longest time that git is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Begins the line that only `skiff-release` has.
const CHAIN_LINE: &str = "BUILD_CONFIG=";

/// Version and time that a system states about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// As `git describe --tags --always --dirty` names it; `0` outside of a checkout.
    pub version: String,
    /// Short name of the commit; the version outside of a checkout.
    pub commit: String,
    /// Time at which it was made.
    pub epoch: Timestamp,
    /// Origin of the time.
    pub epoch_from: EpochFrom,
}

/// Origin of the time of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochFrom {
    /// `SOURCE_DATE_EPOCH`.
    Variable,
    /// The last commit of the project.
    Commit,
    /// Nobody: [`DEFAULT_EPOCH`].
    Nobody,
}

/// Reason why a release cannot be stated.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum StampError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// The time is none.
    #[error("`{EPOCH_VARIABLE}` is `{0}`, which is not a number of seconds")]
    #[diagnostic(hint = "give whole seconds since 1970, as `date +%s` prints them")]
    Epoch(String),
    /// A version is more than a word.
    #[error("`{variable}` is `{value}`, which is not a version: scripts read it without quotes")]
    #[diagnostic(hint = "use letters, digits, `.`, `_`, `+`, `~` and `-`")]
    Version {
        /// The variable it is from.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// The user ended it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Interrupted(ProcessError),
}

impl Release {
    /// That of a project: of the variables, else of the checkout that `root` is in.
    pub fn for_project(
        root: &Path,
        variables: &Environment,
        interrupt: &Interrupt,
    ) -> Result<Release, StampError> {
        let git = |arguments: &[&str]| git(root, arguments, interrupt);
        let version = match word(variables, VERSION_VARIABLE)? {
            Some(version) => version,
            None => git(&["describe", "--tags", "--always", "--dirty"])?.unwrap_or_else(|| "0".into()),
        };
        let commit = match word(variables, COMMIT_VARIABLE)? {
            Some(commit) => commit,
            None => git(&["rev-parse", "--short", "HEAD"])?.unwrap_or_else(|| version.clone()),
        };
        let (epoch, epoch_from) = match variables.get(EPOCH_VARIABLE) {
            Some(text) => (seconds(&text.to_string_lossy())?, EpochFrom::Variable),
            None => match git(&["log", "-1", "--format=%ct"])? {
                Some(text) => (seconds(&text)?, EpochFrom::Commit),
                None => (DEFAULT_EPOCH, EpochFrom::Nobody),
            },
        };
        Ok(Release { version, commit, epoch, epoch_from })
    }

    /// `skiff-release` of a system with this chain of layers.
    pub fn text(&self, chain: &str) -> String {
        let Release { version, commit, .. } = self;
        let date = Utc(self.epoch).to_string();
        let date = date.trim_end_matches(" UTC");
        format!(
            "NAME=SkiffOS\nVERSION={version}\nID=skiff\nVERSION_ID={commit}\nPRETTY_NAME=\"SkiffOS {version}\"\n\
             BUILD_DATE=\"{date}\"\nVERSION_FULL=\"SkiffOS version {version} {date}\"\n{CHAIN_LINE}\"{chain}\"\n"
        )
    }

    /// Writes the files of a Buildroot output, over those that a hook may have written.
    pub fn write(&self, output: &Path, chain: &str) -> Result<(), StampError> {
        let text = self.text(chain);
        let target = output.join("target");
        let os_release = target.join("usr/lib/os-release");
        keep_buildroots(&target, &os_release)?;
        replace(&target.join("etc").join(RELEASE_FILE), &text)?;
        replace(&output.join("images").join(RELEASE_FILE), &text)?;
        let lines = text.split_inclusive('\n').filter(|line| !line.starts_with(CHAIN_LINE));
        replace(&os_release, &lines.collect::<String>())?;
        link(Path::new("../usr/lib/os-release"), &target.join("etc/os-release"))?;
        Ok(())
    }
}

/// Saves what Buildroot says about itself, which it says again in each build.
fn keep_buildroots(target: &Path, os_release: &Path) -> Result<(), Io> {
    let text = match fs::read_to_string(os_release) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(Io::on("read", os_release))?,
    };
    match text.lines().any(|line| line == "ID=skiff") {
        true => Ok(()),
        false => replace(&target.join("etc/buildroot-release"), &text),
    }
}

/// Writes a file in one step; a link is replaced, wherever it points.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), Io> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(Io::on("make", directory))?;
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(Io::on("write", path))?;
    file.write_all(text.as_bytes()).map_err(Io::on("write", path))?;
    // Whatever the umask is.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode).map_err(Io::on("write", path))?;
    file.persist(path).map_err(|error| Io::on("write", path)(error.error))?;
    Ok(())
}

fn link(to: &Path, path: &Path) -> Result<(), Io> {
    if fs::read_link(path).is_ok_and(|found| found == to) {
        return Ok(());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Io::on("replace", path)(error)),
        _ => {}
    }
    std::os::unix::fs::symlink(to, path).map_err(Io::on("make", path))
}

/// A variable with a version.
fn word(variables: &Environment, variable: &'static str) -> Result<Option<String>, StampError> {
    let Some(value) = variables.get(variable) else { return Ok(None) };
    let value = value.to_string_lossy().into_owned();
    match value.chars().all(|c| c.is_ascii_alphanumeric() || ".-_+~".contains(c)) {
        true => Ok(Some(value)),
        false => Err(StampError::Version { variable, value }),
    }
}

fn seconds(text: &str) -> Result<Timestamp, StampError> {
    text.parse().map_err(|_| StampError::Epoch(text.into()))
}

/// One line of git's; nothing if `root` is no checkout, or there is no git.
fn git(root: &Path, arguments: &[&str], interrupt: &Interrupt) -> Result<Option<String>, StampError> {
    let mut lines = Vec::new();
    let root: PathBuf = if root.as_os_str().is_empty() { ".".into() } else { root.into() };
    // It writes an index when it looks for changes, which others may be writing.
    let git = Program::new("git").env("GIT_OPTIONAL_LOCKS", "0").arg("-C").arg(root).args(arguments);
    match git.run(interrupt, Some(PATIENCE), &mut |line| lines.push(line.to_owned())) {
        Ok(ended) if ended.succeeded() => Ok(lines.pop().filter(|line| !line.is_empty())),
        Err(error @ ProcessError::Interrupted { .. }) => Err(StampError::Interrupted(error)),
        Ok(_) | Err(_) => Ok(None),
    }
}
