//! Directories of patches for kernel and U-Boot. Buildroot ends in the middle of a build when two patches have one name
//! (`support/scripts/apply-patches.sh`); that is found here first.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::paths::Located;
use crate::error::{Diagnostic, Io};

/// Reason why patches cannot be applied.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum PatchError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// Two have one name.
    #[error("the patches `{}` and `{}` have one name, which Buildroot cannot apply", first.display(), second.display())]
    #[diagnostic(hint = "rename one of them, or remove it if they are the same")]
    SameName {
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
}

/// The directories of this name that have patches in them, as Buildroot is given them.
pub(super) fn directories(layers: &[Located], name: &str) -> Result<Vec<PathBuf>, PatchError> {
    let mut found = Vec::new();
    let mut by_name: BTreeMap<String, PathBuf> = BTreeMap::new();
    for layer in layers {
        let directory = layer.target.as_ref().unwrap_or(&layer.path).join(name);
        let patches = if directory.is_dir() { patches(&directory)? } else { Vec::new() };
        if patches.is_empty() {
            continue;
        }
        for patch in patches {
            let second = directory.join(&patch);
            if let Some(first) = by_name.insert(patch, second.clone()) {
                return Err(PatchError::SameName { first, second });
            }
        }
        found.push(layer.path.join(name));
    }
    Ok(found)
}

/// Names of the patches that Buildroot would apply: those that `series` lists, else all `*.patch`.
fn patches(directory: &Path) -> Result<Vec<String>, Io> {
    let series = directory.join("series");
    if series.exists() {
        let text = fs::read_to_string(&series).map_err(Io::on("read", &series))?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        return Ok(lines.filter_map(|line| line.split_whitespace().next()).map(String::from).collect());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(Io::on("list", directory))? {
        let name = entry.map_err(Io::on("list", directory))?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".patch") && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
