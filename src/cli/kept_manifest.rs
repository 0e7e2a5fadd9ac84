//! Manifests of what was flashed to devices, kept in the state directory: a device has no place beside it for one.

use std::path::{Path, PathBuf};

use super::assemble::prepare_manifest;
use super::session_args::state_directory;
use crate::compose::publish;
use crate::device::{Candidate, Host};
use crate::error::{Io, Result};
use crate::flash::journal::MediumId;
use crate::manifest::Manifest;
use crate::report::Report;

/// Place of the manifest of a medium. A medium without serial number is recognized by its name.
fn path_of(medium: &Candidate) -> Option<PathBuf> {
    let mut name = MediumId::for_candidate(medium).id();
    if medium.serial.is_none() {
        name = format!("{name}-{}", medium.name);
    }
    Some(state_directory()?.join("manifests").join(format!("{name}.manifest.json")))
}

/// Keeps the manifest of what was just written. The medium is right without it, so what fails is a warning.
pub fn keep(medium: &Candidate, manifest: &Manifest, report: &Report) -> Option<PathBuf> {
    let path = path_of(medium)?;
    let write = || -> Result<()> {
        let directory = path.parent().unwrap_or(&path);
        std::fs::create_dir_all(directory).map_err(Io::on("create", directory))?;
        let prepared = prepare_manifest(&path, manifest)?;
        // It may name what is secret.
        prepared.restrict().map_err(Io::on("set the mode of", &path))?;
        Ok(publish(prepared, &path)?)
    };
    match write() {
        Ok(()) => Some(path),
        Err(error) => {
            report.warn(format!("no manifest of `{}` is kept: {error}", medium.path.display()));
            None
        }
    }
}

/// The manifest that was kept of the device at `path`, if there is one.
pub fn find(path: &Path) -> Option<PathBuf> {
    let medium = Host::new().identify(path).ok()?;
    path_of(&medium).filter(|path| path.is_file())
}
