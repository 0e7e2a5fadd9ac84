//! Archives of container images, in the form of an [OCI image layout](https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md)
//! in a tar archive, as `podman save --format oci-archive` and `skopeo copy` write them.
//!
//! Everything that an image is made of is named by its digest: the index names manifests, a manifest its configuration and
//! layers. All of them are computed, so that what is damaged is found here, and not at the first boot of a device.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use skiff_core::places::{IMAGES, archive_name};

use crate::error::{Diagnostic, Io};

/// Annotation of a manifest in an index with the name of the image (image-layout.md, "index.json file").
const NAME: &str = "org.opencontainers.image.ref.name";
/// The same, with the registry, of containerd and Docker.
const FULL_NAME: &str = "io.containerd.image.name";
/// Documents of an image are small: manifests of registries have at most 4 MiB.
const LARGEST: u64 = 4 << 20;

/// An archive with one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerImage {
    /// The archive.
    pub path: PathBuf,
    /// Name of the image, as the configuration has it.
    pub reference: String,
    /// Architecture of its programs as OCI calls it, if it says so.
    pub architecture: Option<String>,
    /// Digest of its manifest.
    pub digest: String,
    /// Length of the archive in bytes.
    pub len: u64,
}

/// Reason why an archive cannot be put on a medium.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input, hint = "make it with `podman save --format oci-archive -o FILE NAME`")]
pub enum ArchiveError {
    /// It is compressed, or none at all.
    #[error("`{}` is no archive of a container image: {problem}", path.display())]
    NotOne {
        /// The file.
        path: PathBuf,
        /// Fault of it.
        problem: String,
    },
    /// Something in it is not what its digest says.
    #[error("`{}`: {what} does not have the digest that its name says: `{found}`", path.display())]
    #[diagnostic(kind = Corrupt, hint = "the archive is damaged: make or download it again")]
    Digest {
        /// The file.
        path: PathBuf,
        /// What is in it.
        what: String,
        /// The digest that it has.
        found: String,
    },
    /// Something is not in it.
    #[error("`{}`: {what} is missing", path.display())]
    #[diagnostic(kind = Corrupt, hint = "the archive is cut off, or was made without all layers: make it again")]
    Missing {
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// There are several images in it.
    #[error("`{}` has {count} images, and one is loaded by its name", path.display())]
    #[diagnostic(hint = "save each in an archive of its own")]
    Several {
        /// The file.
        path: PathBuf,
        /// Number of them.
        count: usize,
    },
    /// It does not say which image it is.
    #[error("`{}` does not say the name of its image", path.display())]
    #[diagnostic(hint = "name it: `NAME:TAG=FILE`")]
    Unnamed {
        /// The file.
        path: PathBuf,
    },
    /// A name that no image has.
    #[error("`{name}` is no name of an image")]
    #[diagnostic(hint = "write it as the configuration does, such as `docker.io/library/alpine:3.22`")]
    Name {
        /// As given.
        name: String,
    },
    /// Its programs do not run on the board.
    #[error("image `{reference}` is for `{image}`, and the board for `{board}`")]
    #[diagnostic(hint = "take the one for `{board}`")]
    Architecture {
        /// The image.
        reference: String,
        /// Its architecture.
        image: String,
        /// That of the board.
        board: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
}

/// What is known of an entry of an archive.
struct Blob {
    digest: String,
    len: u64,
    /// Contents, if they are short enough to be a document.
    text: Option<Vec<u8>>,
}

impl ContainerImage {
    /// Path of the archive on the persist partition, where a device looks for it.
    pub fn place(&self) -> String {
        format!("{IMAGES}/{}", archive_name(&self.reference))
    }

    /// Reads `NAME=FILE` or `FILE`, and checks the archive.
    ///
    /// # Errors
    /// The archive cannot be read, is of another kind, or is damaged.
    pub fn read(given: &str) -> Result<ContainerImage, ArchiveError> {
        let (name, path) = match given.split_once('=') {
            Some((name, path)) if !Path::new(given).exists() => (Some(name), Path::new(path)),
            _ => (None, Path::new(given)),
        };
        let mut image = read(path)?;
        if let Some(name) = name {
            image.reference = name.into();
        }
        match image.reference.as_str() {
            "" => Err(ArchiveError::Unnamed { path: path.into() }),
            name if is_name(name) => Ok(image),
            name => Err(ArchiveError::Name { name: name.into() }),
        }
    }

    /// Fails if its programs do not run on an architecture, as OCI calls it.
    ///
    /// # Errors
    /// They do not.
    pub fn ensure_runs_on(&self, board: &str) -> Result<(), ArchiveError> {
        match &self.architecture {
            Some(image) if image != board => Err(ArchiveError::Architecture {
                reference: self.reference.clone(),
                image: image.clone(),
                board: board.into(),
            }),
            _ => Ok(()),
        }
    }
}

/// Names become names of files, so that nothing but what names of images have is in them.
fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    name.len() <= 200 && !name.starts_with(['/', '.', '-']) && name.bytes().all(letter)
}

fn read(path: &Path) -> Result<ContainerImage, ArchiveError> {
    let blobs = entries(path)?;
    let archive = Archive { path, blobs };
    let index = archive.document("index.json")?;
    let manifests = index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
    let [descriptor] = manifests else {
        return Err(ArchiveError::Several { path: path.into(), count: manifests.len() });
    };
    let manifest = archive.described(descriptor, "the manifest")?;
    if manifest["manifests"].is_array() {
        let problem = "it has images for several machines".into();
        return Err(ArchiveError::NotOne { path: path.into(), problem });
    }
    let config = archive.described(&manifest["config"], "the configuration")?;
    for layer in manifest["layers"].as_array().into_iter().flatten() {
        archive.blob(layer, "a layer")?;
    }
    let annotation = |name: &str| descriptor["annotations"][name].as_str().map(str::to_owned);
    Ok(ContainerImage {
        path: path.into(),
        reference: annotation(FULL_NAME).or_else(|| annotation(NAME)).unwrap_or_default(),
        architecture: config["architecture"].as_str().map(Into::into),
        digest: descriptor["digest"].as_str().unwrap_or_default().into(),
        len: std::fs::metadata(path).map_err(Io::on("read", path))?.len(),
    })
}

/// All files of a tar archive, with their digests.
fn entries(path: &Path) -> Result<BTreeMap<String, Blob>, ArchiveError> {
    let file = File::open(path).map_err(Io::on("open", path))?;
    let not_one = |error: io::Error| ArchiveError::NotOne { path: path.into(), problem: error.to_string() };
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 20, file));
    let mut found = BTreeMap::new();
    for entry in archive.entries().map_err(not_one)? {
        let mut entry = entry.map_err(not_one)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
        let blob = digest(&mut entry).map_err(not_one)?;
        found.insert(name, blob);
    }
    let names: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    if !names.contains("index.json") || !names.contains("oci-layout") {
        let problem = match names.contains("manifest.json") {
            true => "it is one of `docker save`".into(),
            false => "it has no `index.json` and `oci-layout`".into(),
        };
        return Err(ArchiveError::NotOne { path: path.into(), problem });
    }
    Ok(found)
}

fn digest(entry: &mut impl Read) -> io::Result<Blob> {
    let (mut hasher, mut text, mut len) = (Sha256::new(), Some(Vec::new()), 0u64);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = entry.read(&mut buffer)?;
        if count == 0 {
            let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok(Blob { digest: format!("sha256:{hex}"), len, text });
        }
        hasher.update(&buffer[..count]);
        len += count as u64;
        text = text.filter(|_| len <= LARGEST);
        if let Some(text) = &mut text {
            text.extend_from_slice(&buffer[..count]);
        }
    }
}

struct Archive<'a> {
    path: &'a Path,
    blobs: BTreeMap<String, Blob>,
}

impl Archive<'_> {
    fn document(&self, name: &str) -> Result<Value, ArchiveError> {
        let text = self.blobs.get(name).and_then(|blob| blob.text.as_ref());
        let problem = |what: String| ArchiveError::NotOne { path: self.path.into(), problem: what };
        let text = text.ok_or_else(|| problem(format!("`{name}` is too large")))?;
        serde_json::from_slice(text).map_err(|error| problem(format!("`{name}`: {error}")))
    }

    /// The document that a descriptor names.
    fn described(&self, descriptor: &Value, what: &str) -> Result<Value, ArchiveError> {
        self.document(&self.blob(descriptor, what)?)
    }

    /// The name of what a descriptor names (descriptor.md), which has the digest and the length that it says.
    fn blob(&self, descriptor: &Value, what: &str) -> Result<String, ArchiveError> {
        let wanted = descriptor["digest"].as_str().unwrap_or_default();
        let what = format!("{what} `{wanted}`");
        let Some(hex) = wanted.strip_prefix("sha256:") else {
            let problem = format!("{what} is named by no SHA-256");
            return Err(ArchiveError::NotOne { path: self.path.into(), problem });
        };
        let name = format!("blobs/sha256/{hex}");
        let Some(blob) = self.blobs.get(&name) else {
            return Err(ArchiveError::Missing { path: self.path.into(), what });
        };
        let is_right =
            blob.digest == wanted && descriptor["size"].as_u64().is_none_or(|size| size == blob.len);
        match is_right {
            true => Ok(name),
            false => Err(ArchiveError::Digest { path: self.path.into(), what, found: blob.digest.clone() }),
        }
    }
}
