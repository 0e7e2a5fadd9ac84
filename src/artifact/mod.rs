//! Files that are composed before anything is planned, because what holds them has no place before their length is known:
//! images of filesystems, archives, and boot texts with what is put around them. Each goes to an unnamed temporary file
//! or stays in memory; nothing is written to a target.

mod archive;
mod filesystem;

use std::collections::BTreeMap;

pub(crate) use archive::{cpio, oci, ramdisk, tar};
pub(crate) use filesystem::{ext4, fat, squashfs};

use crate::board::ArtifactFormat;
use crate::error::{Diagnostic, Result};
use crate::fs::{FileHasher, WrittenFile};
use crate::tree::Content;
use crate::value::Digest;

/// Bytes that were composed.
#[derive(Clone, Debug)]
pub struct Composed {
    /// The bytes.
    pub content: Content,
    /// The files inside, where it is a filesystem or archive.
    pub files: Vec<WrittenFile>,
}

impl Composed {
    /// A composed file without files inside.
    pub(crate) fn plain(content: Content) -> Composed {
        Composed { content, files: Vec::new() }
    }
}

/// A composed file that other parts of the image name.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Its bytes.
    pub content: Content,
    /// Digest of its bytes.
    pub blake3: Digest,
    /// Its format, as in the board descriptor.
    pub format: ArtifactFormat,
    /// The files inside, where it is a filesystem or archive.
    pub files: Vec<WrittenFile>,
}

impl Artifact {
    fn new(Composed { content, files }: Composed, format: ArtifactFormat) -> Result<Artifact> {
        let blake3 = FileHasher::digest(&content)?;
        Ok(Artifact { content, blake3, format, files })
    }
}

/// The composed files by name.
#[derive(Clone, Debug, Default)]
pub struct Artifacts {
    by_name: BTreeMap<String, Artifact>,
}

impl Artifacts {
    /// The content of the artifact `name`.
    pub fn content(&self, name: &str) -> Result<Content, NotForArch> {
        self.get(name).map(|artifact| artifact.content.clone())
    }

    /// The artifact `name`.
    pub fn get(&self, name: &str) -> Result<&Artifact, NotForArch> {
        self.by_name.get(name).ok_or_else(|| NotForArch { artifact: name.into() })
    }

    /// All of them by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Artifact)> {
        self.by_name.iter().map(|(name, artifact)| (name.as_str(), artifact))
    }

    pub(crate) fn insert(&mut self, name: &str, composed: Composed, format: ArtifactFormat) -> Result<()> {
        self.by_name.insert(name.to_owned(), Artifact::new(composed, format)?);
        Ok(())
    }
}

/// An artifact that is not made for this architecture is used.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input, hint = "give the place the same `arch` as the artifact")]
#[error("artifact `{artifact}` is used where it is not made for the architecture")]
pub struct NotForArch {
    /// The artifact.
    artifact: String,
}
