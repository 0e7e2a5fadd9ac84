//! A container image as an OCI image layout: a tree of small documents around one layer.
//!
//! Sources: OCI image specification 1.0.2 (`image-layout.md`, `image-index.md`, `manifest.md`, `config.md`, `layer.md`,
//! `annotations.md`). `manifest.json` beside them is what `docker load` of before the OCI layout reads (Docker image
//! specification 1.2, "Combined Image JSON + Filesystem Changeset Format").
//!
//! ```
//! use sha2::{Digest, Sha256};
//! use skiff_disk::fs::compress::Compression;
//! use skiff_disk::fs::oci::{self, Layer, Oci};
//! use skiff_disk::tree::Content;
//! use skiff_disk::value::Arch;
//!
//! let archive = vec![0; 1024]; // what `fs::tar` writes of an empty tree
//! let digest = Sha256::digest(&archive).into();
//! let layer =
//!     Layer { content: Content::bytes(archive), compression: Compression::None, digest, diff_id: digest };
//! let oci = Oci {
//!     reference: "localhost/router:1.2".into(),
//!     entrypoint: vec!["/sbin/init".into()],
//!     env: Vec::new(),
//!     volumes: Vec::new(),
//!     labels: Default::default(),
//!     stop_signal: Some("SIGRTMIN+3".into()),
//! };
//! let image = oci::tree(&layer, &oci, Arch::Arm64, 1_700_000_000)?;
//! assert!(image.get("oci-layout").is_some() && image.get("index.json").is_some());
//! # Ok::<(), oci::OciError>(())
//! ```

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::compress::Compression;
use crate::error::Diagnostic;
use crate::tree::{Body, Content, Node, Stat, Tree};
use crate::value::{Arch, Timestamp, Utc, to_hex};

/// Name and configuration of a container image (OCI image specification 1.0, `config.md`). Words are filled in
/// everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, rename_all = "kebab-case")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "oci"))]
pub struct Oci {
    /// `NAME:TAG` under which the image is loaded.
    pub reference: String,
    /// Command that is run.
    pub entrypoint: Vec<String>,
    /// Environment as `NAME=VALUE`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub env: Vec<String>,
    /// Directories that are volumes.
    #[cfg_attr(feature = "serde", serde(default))]
    pub volumes: Vec<String>,
    /// Labels.
    #[cfg_attr(feature = "serde", serde(default))]
    pub labels: BTreeMap<String, String>,
    /// Signal that stops it.
    pub stop_signal: Option<String>,
}

impl Oci {
    /// Every text that can have words in it.
    pub fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let lists = self.entrypoint.iter_mut().chain(&mut self.env).chain(&mut self.volumes);
        std::iter::once(&mut self.reference).chain(lists).chain(self.labels.values_mut())
    }
}

/// The root filesystem of the container.
#[derive(Clone, Debug)]
pub struct Layer {
    /// A tar archive, compressed or not.
    pub content: Content,
    /// Compression of `content`.
    pub compression: Compression,
    /// SHA-256 of `content`.
    pub digest: [u8; 32],
    /// SHA-256 of the archive before compression.
    pub diff_id: [u8; 32],
}

/// Reason why there is no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input, hint = "correct `reference` of the board, for example `localhost/skiffos:latest`")]
#[non_exhaustive]
pub enum OciError {
    /// Container programs would load it under no name.
    #[error(
        "`{reference}` is not the name of a container image: NAME:TAG, without capital letters in the name"
    )]
    Reference {
        /// The name that was given.
        reference: String,
    },
}

/// The files of the image layout.
pub fn tree(layer: &Layer, oci: &Oci, arch: Arch, timestamp: Timestamp) -> Result<Tree, OciError> {
    let tag = tag(&oci.reference)?;
    let mut tree = Blobs::new(timestamp);
    let layer_descriptor = tree.add(media_type(layer.compression), layer.digest, layer.content.clone());
    let config =
        tree.document("application/vnd.oci.image.config.v1+json", &config(layer, oci, arch, timestamp));
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [layer_descriptor],
    });
    let mut manifest = tree.document("application/vnd.oci.image.manifest.v1+json", &manifest);
    manifest["platform"] = json!({ "architecture": architecture(arch), "os": "linux" });
    // The tag for programs that follow the specification, the name for containerd.
    manifest["annotations"] =
        json!({ "org.opencontainers.image.ref.name": tag, "io.containerd.image.name": oci.reference });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest],
    });
    let older = json!([{
        "Config": path(&config),
        "RepoTags": [oci.reference],
        "Layers": [path(&layer_descriptor)],
    }]);
    tree.file(b"oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }));
    tree.file(b"index.json", &index);
    tree.file(b"manifest.json", &older);
    Ok(tree.tree)
}

/// The tag of a reference (OCI distribution specification, "Pulling manifests").
fn tag(reference: &str) -> Result<&str, OciError> {
    let wrong = || OciError::Reference { reference: reference.into() };
    let (name, tag) = reference.rsplit_once(':').ok_or_else(wrong)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/:".contains(c);
    let tagged = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let parts = name.split('/').all(|part| part.starts_with(|c: char| c.is_ascii_alphanumeric()));
    let sane = name.chars().all(plain) && parts && tag.chars().all(tagged);
    if sane && (1..=128).contains(&tag.len()) && !tag.starts_with(['.', '-']) {
        Ok(tag)
    } else {
        Err(wrong())
    }
}

/// Names of `GOARCH`, which the specification uses.
pub fn architecture(arch: Arch) -> &'static str {
    match arch {
        Arch::Arm => "arm",
        Arch::Arm64 => "arm64",
        Arch::X86_64 => "amd64",
        Arch::Riscv64 => "riscv64",
    }
}

fn media_type(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip(_) => "application/vnd.oci.image.layer.v1.tar+gzip",
        Compression::Zstd(_) => "application/vnd.oci.image.layer.v1.tar+zstd",
        _ => "application/vnd.oci.image.layer.v1.tar",
    }
}

fn config(layer: &Layer, oci: &Oci, arch: Arch, timestamp: Timestamp) -> Value {
    let volumes: BTreeMap<&str, Value> =
        oci.volumes.iter().map(|volume| (volume.as_str(), json!({}))).collect();
    let mut config = json!({
        "Entrypoint": oci.entrypoint,
        "Env": oci.env,
        "Volumes": volumes,
        "Labels": oci.labels,
    });
    if let Some(signal) = &oci.stop_signal {
        config["StopSignal"] = json!(signal);
    }
    let created = Utc(timestamp).rfc3339();
    json!({
        "architecture": architecture(arch),
        "os": "linux",
        "created": created,
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [name(layer.diff_id)] },
        "history": [{ "created": created, "created_by": "skiff-image" }],
    })
}

/// `blobs/sha256/HEX` of a descriptor.
fn path(descriptor: &Value) -> String {
    let digest = descriptor["digest"].as_str().expect("a descriptor has a digest");
    format!("blobs/{}", digest.replace(':', "/"))
}

/// `sha256:HEX`.
fn name(digest: [u8; 32]) -> String {
    format!("sha256:{}", to_hex(&digest))
}

/// The tree with the directory that holds everything by its digest.
struct Blobs {
    tree: Tree,
    directory: crate::tree::NodeId,
    timestamp: Timestamp,
}

impl Blobs {
    fn new(timestamp: Timestamp) -> Blobs {
        let stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: timestamp };
        let directory = || Node::new(stat, Body::Dir(BTreeMap::new()));
        let mut tree = Tree::new(stat);
        let blobs = tree.insert(Tree::ROOT, b"blobs", directory());
        let directory = tree.insert(blobs, b"sha256", directory());
        Blobs { tree, directory, timestamp }
    }

    fn node(&self, content: Content) -> Node {
        Node::new(Stat { mode: 0o644, uid: 0, gid: 0, mtime: self.timestamp }, Body::File(content))
    }

    /// A file at the top.
    fn file(&mut self, name: &[u8], document: &Value) {
        let node = self.node(Content::bytes(document.to_string().into_bytes()));
        self.tree.insert(Tree::ROOT, name, node);
    }

    /// Adds a blob; returns its descriptor (`descriptor.md`).
    fn add(&mut self, media_type: &str, digest: [u8; 32], content: Content) -> Value {
        let (size, digest) = (content.len(), name(digest));
        let node = self.node(content);
        self.tree.insert(self.directory, &digest.as_bytes()["sha256:".len()..], node);
        json!({ "mediaType": media_type, "digest": digest, "size": size })
    }

    fn document(&mut self, media_type: &str, document: &Value) -> Value {
        let bytes = document.to_string().into_bytes();
        let digest = Sha256::digest(&bytes).into();
        self.add(media_type, digest, Content::bytes(bytes))
    }
}
