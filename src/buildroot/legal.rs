//! Additions to Buildroot's `legal-info/`: the layers of a system, with their overlays and digests, and by what they
//! were put together.
//!
//! `layers.json` (`skiff-image.layers/1`): `skiff_image` and `buildroot` are versions, `version` and `commit` those of
//! the project, `layers` stand in the order in which they are applied. The `digest` of a layer is that of
//! [`TreeDigest`]; a path is from the project root on, if it is below it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::source::TreeDigest;
use super::stamp::{self, Release};
use crate::error::Io;
use crate::layer::{Chain, Layer};
use crate::value::to_hex;

const SCHEMA: &str = "skiff-image.layers/1";
const FILE: &str = "layers.json";
/// Buildroot's list of all files of the directory, as `sha256sum` writes it.
const SUMS: &str = "legal-info.sha256";

/// The layers of a system.
#[derive(Debug, Serialize)]
pub struct Layers {
    schema: &'static str,
    skiff_image: &'static str,
    buildroot: String,
    /// The chain as it was asked for.
    chain: String,
    version: String,
    commit: String,
    layers: Vec<Entry>,
}

/// A layer.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    description: Option<String>,
    path: String,
    digest: String,
    /// True if it lays files over the root filesystem.
    root_overlay: bool,
    /// Directories of the layer with patches.
    patches: Vec<&'static str>,
}

impl Layers {
    /// Those of a chain, in the project at `root`.
    pub fn for_chain(
        root: &Path,
        chain: (&str, &Chain),
        release: &Release,
        buildroot: &str,
    ) -> Result<Layers, Io> {
        Ok(Layers {
            schema: SCHEMA,
            skiff_image: env!("CARGO_PKG_VERSION"),
            buildroot: buildroot.into(),
            chain: chain.0.into(),
            version: release.version.clone(),
            commit: release.commit.clone(),
            layers: chain.1.layers().map(|layer| Entry::for_layer(root, layer)).collect::<Result<_, Io>>()?,
        })
    }
}

impl Entry {
    fn for_layer(root: &Path, layer: &Layer) -> Result<Entry, Io> {
        let path = std::path::absolute(&layer.path).map_err(Io::on("find", &layer.path))?;
        let patches = ["buildroot_patches", "kernel_patches", "uboot_patches"];
        Ok(Entry {
            name: layer.name.clone(),
            description: layer.description.clone(),
            path: path.strip_prefix(root).unwrap_or(&path).display().to_string(),
            digest: TreeDigest::for_tree(&path)?.whole(),
            root_overlay: layer.root_overlay().is_some(),
            patches: patches.into_iter().filter(|name| layer.file(name).is_some()).collect(),
        })
    }
}

/// Writes `layers.json` into Buildroot's directory, and into its list of sums; gives the path.
pub fn add(directory: &Path, layers: &Layers) -> Result<PathBuf, Io> {
    let path = directory.join(FILE);
    let text = serde_json::to_string_pretty(layers).expect("it has string keys");
    stamp::replace(&path, &format!("{text}\n"))?;
    let sums = directory.join(SUMS);
    if sums.is_file() {
        let text = fs::read_to_string(&sums).map_err(Io::on("read", &sums))?;
        let suffix = format!("  {FILE}");
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.ends_with(&suffix)).collect();
        let own = format!("{}{suffix}", sha256(&path)?);
        lines.push(&own);
        // In the order of names, as Buildroot has it.
        lines.sort_by_key(|line| line.split_once("  ").map_or("", |(_, name)| name));
        stamp::replace(&sums, &(lines.join("\n") + "\n"))?;
    }
    Ok(path)
}

fn sha256(path: &Path) -> Result<String, Io> {
    let bytes = fs::read(path).map_err(Io::on("read", path))?;
    Ok(to_hex(&Sha256::digest(&bytes)))
}
