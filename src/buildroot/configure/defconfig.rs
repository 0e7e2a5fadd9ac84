//! Makes `.config` of a request with Buildroot's Kconfig, if it must be made.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::files::REQUEST;
use super::{Configuration, ConfigureError};
use crate::buildroot::config::Config;
use crate::buildroot::make::Make;
use crate::buildroot::source::Source;
use crate::error::{Error, Io};
use crate::interrupt::Interrupt;
use crate::workspace::{Selection, State, Workspace, replace, write_changed};

/// As SkiffOS names it: `.config` as Kconfig made it.
const MADE: &str = "final/buildroot";
/// `.config` as somebody has changed it.
const KEPT: &str = "edited";
/// Lines of make that an error shows.
const SHOWN: usize = 5;

/// Reason why `.config` is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The workspace was not configured, or the last configure did not end.
    New,
    /// The request, an external tree or Buildroot changed.
    Changed,
    /// `.config` is not there.
    Missing,
    /// Somebody has changed it.
    Edited,
}

/// Changes that somebody has made to `.config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edited {
    /// Symbols that differ.
    pub symbols: Vec<String>,
    /// Copy of the changed file.
    pub kept: PathBuf,
}

/// Fails if the workspace holds what another version of Buildroot has built.
pub(super) fn reject_other_version(workspace: &Workspace, tree: &Source) -> Result<(), Error> {
    let remembered = Selection::read(workspace)?.map(|selection| selection.used.buildroot_version);
    let built = match remembered.filter(|version| !version.is_empty()) {
        Some(version) => Some(version),
        None => version_in(&workspace.output().join(".config"))?,
    };
    match built {
        Some(built) if built != tree.version && has_built(workspace) => {
            let (workspace, found) = (workspace.name().into(), tree.version.clone());
            Err(ConfigureError::OtherVersion { workspace, built, tree: tree.original.clone(), found }.into())
        }
        _ => Ok(()),
    }
}

/// The third line of a `.config` is `# Buildroot VERSION Configuration`.
fn version_in(config: &Path) -> Result<Option<String>, Io> {
    let text = read(config)?.unwrap_or_default();
    let mut lines = text.lines().take(5);
    let named = lines.find_map(|line| line.strip_prefix("# Buildroot ")?.strip_suffix(" Configuration"));
    Ok(named.map(String::from))
}

/// Returns whether a package is there.
fn has_built(workspace: &Workspace) -> bool {
    let entries = fs::read_dir(workspace.output().join("build")).into_iter().flatten().flatten();
    let names = entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name());
    names.into_iter().any(|name| name != "buildroot-config" && name != "buildroot-fs")
}

/// Digest of all that Kconfig reads: the request, the external trees and Buildroot.
pub(super) fn digest(configuration: &Configuration, source: &Source) -> Result<String, Io> {
    let mut hasher = blake3::Hasher::new();
    let path = source.path.to_string_lossy();
    for text in [configuration.request.text(), &path, &source.version, &source.digest] {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    for external in &configuration.externals {
        external.hash(&configuration.located, &mut hasher)?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Returns the reason to make `.config`, and the edits that would be lost.
pub(super) fn why(workspace: &Workspace, request: &str) -> Result<(Option<Reason>, Option<Edited>), Io> {
    let Some(state) = State::read(workspace)? else { return Ok((Some(Reason::New), None)) };
    let Some(text) = read(&workspace.output().join(".config"))? else {
        return Ok((Some(Reason::Missing), None));
    };
    let made = read(&workspace.config().join(MADE))?.unwrap_or_default();
    let symbols = Config::parse(&made).differing(&Config::parse(&text));
    let edited = Edited { symbols, kept: workspace.config().join(KEPT) };
    let edited = (!edited.symbols.is_empty()).then_some(edited);
    let why = if state.request != request {
        Some(Reason::Changed)
    } else {
        edited.as_ref().map(|_| Reason::Edited)
    };
    Ok((why, edited))
}

/// Keeps the changed `.config` beside.
pub(super) fn keep_edited(workspace: &Workspace, edited: Option<&Edited>) -> Result<(), Io> {
    let Some(edited) = edited else { return Ok(()) };
    let path = workspace.output().join(".config");
    let bytes = fs::read(&path).map_err(Io::on("read", &path))?;
    replace(&edited.kept, &bytes, false)
}

/// Has Buildroot make `.config` of the request that was written.
pub(super) fn make(
    workspace: &Workspace,
    configuration: &Configuration,
    make: &Make,
    interrupt: &Interrupt,
    line: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    let output = workspace.output();
    fs::create_dir_all(&output).map_err(Io::on("make the directory", &output))?;
    let config = output.join(".config");
    // One of SkiffOS is a link into its configuration directory; what is linked is not to be written.
    if config.is_symlink() {
        fs::remove_file(&config).map_err(Io::on("remove", &config))?;
    }
    link_output(&output)?;
    let request = workspace.config().join(REQUEST);
    let externals: Vec<PathBuf> =
        configuration.externals.iter().map(|external| external.path.clone()).collect();
    let mut last = Vec::new();
    let ended = make.defconfig(&request, &externals).run(interrupt, None, &mut |text| {
        line(text);
        last.extend((!text.trim().is_empty()).then(|| text.trim().to_owned()));
        last.drain(..last.len().saturating_sub(SHOWN));
    })?;
    if !ended.succeeded() {
        let status = ended.status.to_string();
        return Err(ConfigureError::Defconfig { status, lines: last, request }.into());
    }
    let bytes = fs::read(&config).map_err(Io::on("read", &config))?;
    write_changed(&workspace.config().join(MADE), &bytes, false)?;
    Ok(())
}

/// `output/images` and `images` are the same in a workspace of SkiffOS; its hooks use both.
fn link_output(output: &Path) -> Result<(), Io> {
    let link = output.join("output");
    match std::os::unix::fs::symlink(".", &link) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(Io::on("write", link)(error)),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<Option<String>, Io> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Io::on("read", path)(error)),
    }
}
