//! The Buildroot a project is made for: `buildroot/release.toml` (version, address, digests, see [`TreeDigest`]).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{SourceError, TreeDigest};
use crate::error::{Diagnostic, Io};

/// File of a project with the pin.
const FILE: &str = "buildroot/release.toml";
/// Pin that this program was built with, for projects that pin nothing.
const BUILT_IN: &str = include_str!("../../../buildroot/release.toml");

/// A release of Buildroot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Its version.
    pub version: String,
    /// Address of its archive.
    pub url: String,
    /// Digest of its tree.
    pub digest: String,
    /// Digests of the entries of its top directory.
    pub entries: BTreeMap<String, String>,
}

/// Reason why it is not known which release is pinned.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum PinError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// It is not a pin.
    #[error("`{}` does not pin a release: {said}", path.display())]
    #[diagnostic(hint = "take the file from the project's own repository, or remove it to pin nothing")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Error of the parser, in one line.
        said: String,
    },
}

impl Pin {
    /// The pin of a tree as it is.
    pub fn for_tree(version: &str, url: &str, digest: &TreeDigest) -> Pin {
        let (version, url, whole) = (version.into(), url.into(), digest.whole());
        Pin { version, url, digest: whole, entries: digest.entries.clone() }
    }

    /// Reads the pin of the project at `root`, if it has one.
    pub fn for_project(root: &Path) -> Result<Option<Pin>, PinError> {
        let path = root.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => parse(&path, &text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Io::on("read", &path)(error).into()),
        }
    }

    /// Pin that this program was built with.
    pub fn built_in() -> Pin {
        parse(Path::new(FILE), BUILT_IN).expect("the project's own pin is right")
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        toml::to_string(self).expect("a pin is a table of texts")
    }

    /// Name of the directory in which a release is kept.
    pub fn directory(&self) -> String {
        format!("buildroot-{}", self.version)
    }

    /// Checks that a tree, which messages call `tree`, is this release.
    pub(super) fn check(&self, tree: &Path, version: &str, digest: &TreeDigest) -> Result<(), SourceError> {
        if version != self.version {
            let (found, pinned) = (version.into(), self.version.clone());
            return Err(SourceError::OtherVersion { path: tree.into(), found, pinned });
        }
        if digest.whole() == self.digest {
            return Ok(());
        }
        let (path, version) = (tree.into(), version.into());
        let differing = self.differing(digest);
        Err(SourceError::Altered { path, version, entries: self.entries.len(), differing })
    }

    fn differing(&self, digest: &TreeDigest) -> Vec<String> {
        let of_both = self.entries.keys().chain(digest.entries.keys());
        let differing = of_both.filter(|name| self.entries.get(*name) != digest.entries.get(*name));
        let names: std::collections::BTreeSet<&String> = differing.collect();
        names.into_iter().cloned().collect()
    }
}

fn parse(path: &Path, text: &str) -> Result<Pin, PinError> {
    let malformed = |said: String| PinError::Malformed { path: path.into(), said };
    let pin: Pin = toml::from_str(text).map_err(|error| malformed(error.message().trim().into()))?;
    let of_entries = TreeDigest { entries: pin.entries.clone() }.whole();
    if of_entries != pin.digest {
        return Err(malformed(format!("`digest` is {}, that of its entries {of_entries}", pin.digest)));
    }
    Ok(pin)
}
