//! Paths that Buildroot can take. It puts them into lists, into make's rules and into shell commands without quotes, so
//! a space separates, `#` begins a remark, `$` a variable, `:` separates external trees, `%` matches, and so on; `@` is
//! refused by its own `Makefile`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::error::{Diagnostic, Io};
use crate::layer::Layer;
use crate::workspace::Workspace;

/// Below the configuration directory: links to layers whose paths Buildroot cannot take.
const LINKS: &str = "layers";

/// Reason why a path cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(
    kind = Input,
    hint = "move or rename the directory: letters, digits, `_`, `-`, `.`, `+` and `,` are safe"
)]
pub enum PathError {
    /// It has a character that means something else to Buildroot.
    #[error("Buildroot cannot work with {character:?} in a path, and {what} is at `{}`", path.display())]
    Character {
        /// The first such character.
        character: char,
        /// Thing that is at the path.
        what: &'static str,
        /// The path.
        path: PathBuf,
    },
}

/// Fails for a path that no link can stand in for.
pub fn reject_unsafe(what: &'static str, path: &Path) -> Result<(), PathError> {
    match unsafe_character(path) {
        Some(character) => Err(PathError::Character { character, what, path: path.into() }),
        None => Ok(()),
    }
}

fn unsafe_character(path: &Path) -> Option<char> {
    path.to_string_lossy().chars().find(|c| !c.is_alphanumeric() && !"/_-.+,".contains(*c))
}

/// Place where Buildroot finds a layer: its directory, or a link to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Name of the layer.
    pub name: String,
    /// Path that Buildroot is given; absolute.
    pub path: PathBuf,
    /// The directory itself, if that is another one; absolute.
    pub target: Option<PathBuf>,
}

/// Finds the place of each layer.
pub(super) fn locate(workspace: &Workspace, layers: &[Layer]) -> Result<Vec<Located>, Io> {
    layers.iter().map(|layer| locate_one(workspace, layer)).collect()
}

fn locate_one(workspace: &Workspace, layer: &Layer) -> Result<Located, Io> {
    let path = fs::canonicalize(&layer.path).map_err(Io::on("find", &layer.path))?;
    let name = layer.name.clone();
    if unsafe_character(&path).is_none() {
        return Ok(Located { name, path, target: None });
    }
    // Names of layers have no dot, and that of a workspace comes last.
    let link = workspace.config().join(LINKS).join(name.replace('/', "."));
    Ok(Located { name, path: link, target: Some(path) })
}

/// Makes the links, and removes those that are no longer needed.
pub(super) fn link(workspace: &Workspace, located: &[Located]) -> Result<Vec<PathBuf>, Io> {
    let directory = workspace.config().join(LINKS);
    let wanted = |path: &Path| located.iter().find(|layer| layer.path == path && layer.target.is_some());
    let there = fs::read_dir(&directory).into_iter().flatten();
    for entry in there {
        let path = entry.map_err(Io::on("list", &directory))?.path();
        let is = fs::read_link(&path).ok();
        if is.is_none() || wanted(&path).and_then(|layer| layer.target.clone()) != is {
            fs::remove_file(&path).map_err(Io::on("remove", &path))?;
        }
    }
    let mut made = Vec::new();
    for Located { path, target, .. } in located {
        if let Some(target) = target.as_ref().filter(|_| path.symlink_metadata().is_err()) {
            fs::create_dir_all(&directory).map_err(Io::on("make the directory", &directory))?;
            symlink(target, path).map_err(Io::on("write", path))?;
            made.push(path.clone());
        }
    }
    Ok(made)
}
