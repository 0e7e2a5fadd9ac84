//! The source tree of Buildroot: found, checked against what the project pins, patched by its series. It is only ever
//! read: Buildroot builds out of its tree, and what is patched is a copy.

mod archive;
mod digest;
mod pin;
mod series;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use archive::Archive;
use archive::ArchiveError;
pub use digest::TreeDigest;
pub use pin::Pin;
use pin::PinError;
use series::{Series, SeriesError};

use crate::error::{Diagnostic, Io};
use crate::interrupt::Interrupt;
use crate::layer::symbols::buildroot_version;
use crate::workspace::{Lock, Workspace};

/// The variable that names a source tree. Scripts of SkiffOS give it another meaning: the output directory.
pub(crate) const VARIABLE: &str = "BUILDROOT_DIR";
/// Files and directories that every such tree has.
const PARTS: [&str; 3] = ["Makefile", "Config.in", "package"];

/// Candidates for the source tree.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Given by a flag.
    pub given: Option<PathBuf>,
    /// The value of `BUILDROOT_DIR`.
    pub variable: Option<PathBuf>,
    /// Given at an earlier configure.
    pub remembered: Option<PathBuf>,
    /// Accepts another version than the pinned one, and changed files.
    pub any: bool,
}

/// Origin of the path of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// A flag.
    Flag,
    /// `BUILDROOT_DIR`.
    Variable,
    /// One of these at an earlier configure.
    Remembered,
    /// It is `buildroot/` of the project.
    Project,
    /// It was fetched.
    Fetched,
}

/// A source tree of Buildroot.
#[derive(Clone, Debug)]
pub struct Source {
    /// Absolute path without links.
    pub path: PathBuf,
    /// The tree that was found, of which `path` is a patched copy, if there is a series.
    pub original: PathBuf,
    /// Its version.
    pub version: String,
    /// Digest of the tree and of the series that was applied.
    pub digest: String,
    /// Origin of the path.
    pub named_by: NamedBy,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// Reason why there is no source tree to build with.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input, hint = "give the directory that Buildroot was unpacked to")]
pub enum SourceError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// The pin cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Pin(#[from] PinError),
    /// The series cannot be applied.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Series(#[from] SeriesError),
    /// The archive cannot be unpacked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Archive(#[from] ArchiveError),
    /// The version cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Version(#[from] crate::layer::symbols::SymbolError),
    /// None is there.
    #[error("there is no source tree of Buildroot {version}")]
    #[diagnostic(
        hint("`skiff-image fetch` puts it into `{}`", place.display()),
        code = "no-buildroot"
    )]
    None {
        /// The pinned version.
        version: String,
        /// Directory in which it would be kept.
        place: PathBuf,
    },
    /// The project has one of its own, as a sub-module that is not there.
    #[error("`{}` is empty: it is a sub-module of the project, its own Buildroot from {url}", path.display())]
    #[diagnostic(hint("`git submodule update --init {}` gets the version that the project pins", path.display()))]
    Submodule {
        /// Directory of the sub-module.
        path: PathBuf,
        /// Address of its repository.
        url: String,
    },
    /// A directory is not one.
    #[error("`{}` is not a source tree of Buildroot: it has no `{missing}`", path.display())]
    NoTree {
        /// Directory that was given.
        path: PathBuf,
        /// Part that it lacks.
        missing: &'static str,
    },
    /// It does not say its version.
    #[error("`{}` does not say which version of Buildroot it is", path.display())]
    NoVersion {
        /// Its `Makefile`.
        path: PathBuf,
    },
    /// Its version is another one.
    #[error("`{}` is Buildroot {found}, the project is made for {pinned}", path.display())]
    #[diagnostic(hint = "`skiff-image fetch` gets the pinned one", code = "other-buildroot")]
    OtherVersion {
        /// The tree.
        path: PathBuf,
        /// Its version.
        found: String,
        /// Version that the project pins.
        pinned: String,
    },
    /// Its files are others.
    #[error(
        "`{}` is not Buildroot {version} as it was released: {} of {entries} entries differ (`{}`)",
        path.display(), differing.len(), differing.join("`, `")
    )]
    #[diagnostic(hint = "`skiff-image fetch` gets the pinned one", code = "other-buildroot")]
    Altered {
        /// The tree.
        path: PathBuf,
        /// Its version.
        version: String,
        /// Entries of its top directory.
        entries: usize,
        /// Those that differ, are missing or are new.
        differing: Vec<String>,
    },
}

impl Source {
    /// The tree to build with: the one that is given, else that of the variable, else `buildroot/` of the project, else
    /// the fetched one. It is checked against the project's pin, if the project has one, and patched by its series.
    pub fn find(
        workspace: &Workspace,
        places: &Places,
        interrupt: &Interrupt,
    ) -> Result<Source, SourceError> {
        let mut warnings = Vec::new();
        let pin = Pin::for_project(workspace.root())?;
        let (path, named_by) = choose(workspace, places, pin.as_ref(), &mut warnings)?;
        ensure_tree(&path, &path)?;
        let original = fs::canonicalize(&path).map_err(Io::on("find", &path))?;
        let version = version(&original, &original)?;
        let digest = TreeDigest::for_tree(&original)?;
        if let Some(pin) = &pin
            && let Err(error) = pin.check(&original, &version, &digest)
        {
            match places.any {
                true => warnings.push(error.to_string()),
                false => return Err(error),
            }
        }
        let series = Series::for_project(workspace.root())?;
        let path = series.apply(&original, &digest, workspace, interrupt)?;
        let digest = format!("{} {}", digest.whole(), series.digest());
        Ok(Source { path, original, version, digest, named_by, warnings })
    }
}

/// The first place that has one.
fn choose(
    workspace: &Workspace,
    places: &Places,
    pin: Option<&Pin>,
    warnings: &mut Vec<String>,
) -> Result<(PathBuf, NamedBy), SourceError> {
    if let Some(path) = &places.given {
        return Ok((path.clone(), NamedBy::Flag));
    }
    if let Some(path) = &places.variable {
        if !is_output(path, workspace) {
            return Ok((path.clone(), NamedBy::Variable));
        }
        let path = path.display();
        warnings.push(format!("{VARIABLE} names `{path}`, an output directory of Buildroot, and is ignored"));
    }
    if let Some(path) = &places.remembered {
        return Ok((path.clone(), NamedBy::Remembered));
    }
    let of_project = workspace.root().join("buildroot");
    if missing_part(&of_project).is_none() {
        return Ok((of_project, NamedBy::Project));
    }
    let own = pin.is_none().then(|| submodule(workspace)).flatten();
    let pin = pin.map_or_else(Pin::built_in, Pin::clone);
    let place = workspace.trees().join(pin.directory());
    match (place.is_dir(), own) {
        (true, _) => Ok((place, NamedBy::Fetched)),
        (false, Some(url)) => Err(SourceError::Submodule { path: "buildroot".into(), url }),
        (false, None) => {
            Err(SourceError::None { version: pin.version, place: workspace.short(&workspace.trees()).into() })
        }
    }
}

/// Address of the sub-module `buildroot` of the project, if it has one (`git-config` syntax of `.gitmodules`).
fn submodule(workspace: &Workspace) -> Option<String> {
    let text = fs::read_to_string(workspace.root().join(".gitmodules")).ok()?;
    let values = |part: &str, key: &str| -> Option<String> {
        part.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then(|| value.trim().to_owned())
        })
    };
    let mut parts = text.split("[submodule ").skip(1);
    let part = parts.find(|part| values(part, "path").as_deref() == Some("buildroot"))?;
    values(part, "url")
}

/// Command that gets the tree which [`Source::find`] would look at; nothing if it is there, or if the user named another
/// one.
pub fn how_to_get(workspace: &Workspace, places: &Places) -> Result<Option<&'static str>, SourceError> {
    let pin = Pin::for_project(workspace.root())?;
    match choose(workspace, places, pin.as_ref(), &mut Vec::new()) {
        Err(SourceError::None { .. }) => Ok(Some("skiff-image fetch")),
        Err(SourceError::Submodule { .. }) => Ok(Some("git submodule update --init buildroot")),
        Err(error) => Err(error),
        Ok(_) => Ok(None),
    }
}

/// Returns whether the variable names what scripts of SkiffOS give it: the workspace, or another directory that was
/// `O=`.
fn is_output(path: &Path, workspace: &Workspace) -> bool {
    path == workspace.output() || (missing_part(path).is_some() && path.join(".config").exists())
}

fn missing_part(path: &Path) -> Option<&'static str> {
    PARTS.into_iter().find(|part| !path.join(part).exists())
}

fn ensure_tree(tree: &Path, name: &Path) -> Result<(), SourceError> {
    match missing_part(tree) {
        Some(missing) => Err(SourceError::NoTree { path: name.into(), missing }),
        None => Ok(()),
    }
}

fn version(tree: &Path, name: &Path) -> Result<String, SourceError> {
    let path = name.join("Makefile");
    buildroot_version(tree)?.ok_or(SourceError::NoVersion { path })
}

/// Fetches the pinned tree, checks it, and keeps it where [`Source::find`] looks; says where. Nothing is done when it
/// is there.
///
/// # Errors
/// It cannot be fetched or unpacked, or is not the pinned one. Nothing is left of it then.
pub(crate) fn fetch(workspace: &Workspace, from: Option<&Archive>) -> Result<Fetched, SourceError> {
    let pin = Pin::for_project(workspace.root())?.unwrap_or_else(Pin::built_in);
    let trees = workspace.trees();
    let _lock = Lock::wait(&trees.join("lock"))?;
    let path = trees.join(pin.directory());
    if path.is_dir() {
        check(&pin, &path, &path)?;
        return Ok(Fetched { path, version: pin.version, new: false });
    }
    let partial = PartialTree::new(&trees, pin.directory())?;
    let released = Archive::Url(pin.url.clone());
    let from = from.unwrap_or(&released);
    archive::unpack(from, &partial.path)?;
    check(&pin, &partial.path, Path::new(&from.name()))?;
    partial.publish(&path)?;
    Ok(Fetched { path, version: pin.version, new: true })
}

/// Checks that a tree is the pinned one; messages call it `name`.
fn check(pin: &Pin, tree: &Path, name: &Path) -> Result<(), SourceError> {
    ensure_tree(tree, name)?;
    pin.check(name, &version(tree, name)?, &TreeDigest::for_tree(tree)?)
}

/// A tree that was fetched.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    /// Directory of the tree.
    pub path: PathBuf,
    /// Its version.
    pub version: String,
    /// True if it was not there before.
    pub new: bool,
}

/// A directory that gets its name when it is complete. Made under the lock of the trees, so that what an ended run left
/// can be removed.
struct PartialTree {
    path: PathBuf,
}

impl PartialTree {
    fn new(trees: &Path, name: String) -> Result<PartialTree, Io> {
        let path = trees.join(format!(".{name}.part"));
        remove(&path)?;
        fs::create_dir_all(&path).map_err(Io::on("make the directory", &path))?;
        Ok(PartialTree { path })
    }

    fn publish(self, name: &Path) -> Result<(), Io> {
        fs::rename(&self.path, name).map_err(Io::on("write", name))?;
        crate::storage::sync_directory(name)
    }
}

impl Drop for PartialTree {
    fn drop(&mut self) {
        // It is gone if it got its name; what cannot be removed now is, by the next run.
        drop(remove(&self.path));
    }
}

fn remove(path: &Path) -> Result<(), Io> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Io::on("remove", path)(error)),
        _ => Ok(()),
    }
}
