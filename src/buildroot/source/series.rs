//! The project's own patches of Buildroot, `buildroot/patches/*.patch`, applied in the order of their names' bytes to a
//! copy of the tree. The copy is named after tree and patches, so it is made once.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{PartialTree, TreeDigest};
use crate::error::{Diagnostic, Io};
use crate::interrupt::Interrupt;
use crate::process::{ProcessError, Program};
use crate::workspace::{Lock, Workspace};

const DIRECTORY: &str = "buildroot/patches";

/// Patches in order.
#[derive(Clone, Debug, Default)]
pub struct Series {
    patches: Vec<PathBuf>,
    digest: String,
}

/// Reason why the patches are not applied.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum SeriesError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// The program `patch` did not run.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Process(#[from] ProcessError),
    /// The user ended the run.
    #[error("patching Buildroot was interrupted")]
    #[diagnostic(kind = Interrupted)]
    Interrupted,
    /// A patch is for another tree.
    #[error("`{}` does not apply to `{}`: {said}", patch.display(), tree.display())]
    #[diagnostic(
        kind = Input,
        hint = "adapt the patch, or take the version of Buildroot that it is made for"
    )]
    Rejected {
        /// The patch.
        patch: PathBuf,
        /// The tree.
        tree: PathBuf,
        /// Last line that `patch` printed.
        said: String,
    },
}

impl Series {
    /// The patches of the project at `root`.
    pub fn for_project(root: &Path) -> Result<Series, SeriesError> {
        let directory = root.join(DIRECTORY);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Series::default()),
            Err(error) => return Err(Io::on("list", &directory)(error).into()),
        };
        let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
        let mut patches = paths.map_err(Io::on("list", &directory))?;
        patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
        patches.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
        let mut hasher = blake3::Hasher::new();
        for patch in &patches {
            let bytes = fs::read(patch).map_err(Io::on("read", patch))?;
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        }
        let digest = if patches.is_empty() { String::new() } else { hasher.finalize().to_hex().to_string() };
        Ok(Series { patches, digest })
    }

    /// Digest of the patches; empty if there are none.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The tree with the patches: a copy, or the tree itself if there are none.
    pub(super) fn apply(
        &self,
        tree: &Path,
        digest: &TreeDigest,
        workspace: &Workspace,
        interrupt: &Interrupt,
    ) -> Result<PathBuf, SeriesError> {
        if self.patches.is_empty() {
            return Ok(tree.into());
        }
        let trees = workspace.trees();
        let name = format!("patched-{}-{}", &digest.whole()[..16], &self.digest[..16]);
        let path = trees.join(&name);
        let _lock = Lock::wait(&trees.join("lock"))?;
        if path.is_dir() {
            return Ok(path);
        }
        let partial = PartialTree::new(&trees, name)?;
        copy(tree, &partial.path, interrupt)?;
        for patch in &self.patches {
            apply_one(patch, &partial.path, tree, interrupt)?;
        }
        partial.publish(&path)?;
        Ok(path)
    }
}

fn apply_one(patch: &Path, copy: &Path, tree: &Path, interrupt: &Interrupt) -> Result<(), SeriesError> {
    let program =
        Program::new("patch").args(["-p1", "--batch", "--forward", "--no-backup-if-mismatch", "-d"]);
    let program = program.arg(copy).arg("-i").arg(patch).env("LC_ALL", "C");
    let mut said = Vec::new();
    let ended = program.run(interrupt, None, &mut |line| said.push(line.to_owned()))?;
    if ended.succeeded() {
        return Ok(());
    }
    let said = said.iter().rev().find(|line| !line.is_empty()).cloned().unwrap_or_default();
    Err(SeriesError::Rejected { patch: patch.into(), tree: tree.into(), said })
}

/// Copies what is no download, no output and no history.
fn copy(from: &Path, to: &Path, interrupt: &Interrupt) -> Result<(), SeriesError> {
    for entry in fs::read_dir(from).map_err(Io::on("list", from))? {
        let entry = entry.map_err(Io::on("list", from))?;
        if ![".git", "dl", "output"].iter().any(|name| entry.file_name() == *name) {
            copy_entry(&entry.path(), &to.join(entry.file_name()), interrupt)?;
        }
    }
    Ok(())
}

fn copy_entry(from: &Path, to: &Path, interrupt: &Interrupt) -> Result<(), SeriesError> {
    if interrupt.is_raised() {
        return Err(SeriesError::Interrupted);
    }
    let kind = from.symlink_metadata().map_err(Io::on("read", from))?.file_type();
    if kind.is_symlink() {
        let target = fs::read_link(from).map_err(Io::on("read", from))?;
        symlink(target, to).map_err(Io::on("write", to))?;
    } else if kind.is_dir() {
        fs::create_dir(to).map_err(Io::on("make the directory", to))?;
        for entry in fs::read_dir(from).map_err(Io::on("list", from))? {
            let name = entry.map_err(Io::on("list", from))?.file_name();
            copy_entry(&from.join(&name), &to.join(&name), interrupt)?;
        }
    } else {
        fs::copy(from, to).map_err(Io::on("copy", from))?;
    }
    Ok(())
}
