//! Configurations of Skiff Core that layers and users bring, read with the code of the device before they are on a
//! medium: one that a device could not use never gets there.
//!
//! `configure` looks at those of all layers. What is composed has at most two: that of the image
//! (`/opt/skiff/coreenv/defconfig.yaml`), from whichever layer or package has put it there, and that of the user, at
//! `skiff/core/config.yaml` of persist.

use std::fmt;
use std::path::{Path, PathBuf};

use skiff_core::config::{Broken, Config, Remark};
use skiff_core::places::{IMAGE_CONFIG, PERSIST, USER_CONFIG};

use crate::error::{Diagnostic, Io, Result};
use crate::layer::Layer;
use crate::persist::ContainerImage;
use crate::tree::{Body, Content, LastLink, Source, Tree};

/// What packages of SkiffOS' layers install as the configuration of the image.
const PACKAGED: &str = "coreenv-defconfig.yaml";
/// A configuration has a few kilobytes.
const LARGEST: u64 = 4 << 20;

/// Reason why a configuration of containers cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum ContainersError {
    /// It has errors, all of which the message names.
    #[error("containers: {} in {whose}{}", counted(broken.errors.len(), "error"), listed(&broken.path, &broken.errors))]
    #[diagnostic(hint = "correct each: a device would start none of its containers")]
    Broken {
        /// Who brings it.
        whose: String,
        /// Its errors.
        broken: Broken,
    },
    /// It is no text.
    #[error("{}:{line}: this configuration of containers is no text in UTF-8", path.display())]
    #[diagnostic(hint = "save it as UTF-8")]
    NotText {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// It is too large to be one.
    #[error("`{}` has {len} bytes, and a configuration of containers has at most {LARGEST}", path.display())]
    #[diagnostic(hint = "another file may have its name")]
    Large {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
    },
    /// Notes that the user wants to be errors.
    #[error("{} of containers would work, but may be meant otherwise:\n  {}", counted(.0.len(), "setting"), .0.join("\n  "))]
    #[diagnostic(hint = "correct what is named, or be less strict")]
    Strict(Vec<String>),
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Remarks, each on a line of its own that begins with the place.
fn listed(path: &Path, remarks: &[Remark]) -> String {
    remarks.iter().map(|remark| format!("\n  {}", Note { path, remark })).collect()
}

/// A remark with the name of its file.
struct Note<'a> {
    path: &'a Path,
    remark: &'a Remark,
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.remark)
    }
}

/// Reads the configurations that layers bring, in their overlays or as a file of a package. Returns the notes about them.
///
/// # Errors
/// The first layer whose configuration cannot be used, with all errors of it.
pub fn in_layers(layers: &[Layer]) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for layer in layers {
        for path in of_layer(layer)? {
            let bytes = std::fs::read(&path).map_err(Io::on("read", &path))?;
            notes.extend(read(&bytes, &path, &format!("layer `{}`", layer.name))?.1);
        }
    }
    Ok(notes)
}

/// The configurations of a layer.
fn of_layer(layer: &Layer) -> Result<Vec<PathBuf>> {
    let overlay = layer.file(Path::new("root_overlay").join(IMAGE_CONFIG)).filter(|path| path.is_file());
    let mut found: Vec<PathBuf> = overlay.into_iter().collect();
    if let Some(packages) = layer.file("buildroot_ext/package") {
        let entries = packages.read_dir().map_err(Io::on("list", &packages))?;
        let mut packaged: Vec<PathBuf> = entries
            .map(|entry| entry.map(|entry| entry.path().join(PACKAGED)))
            .collect::<Result<_, _>>()
            .map_err(Io::on("list", &packages))?;
        packaged.retain(|path| path.is_file());
        packaged.sort();
        found.extend(packaged);
    }
    Ok(found)
}

/// What is to be said about the configurations of a medium.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// What may be meant otherwise.
    pub notes: Vec<String>,
    /// What a new medium lacks, or has for nothing.
    pub archives: Vec<String>,
}

impl Remarks {
    /// Both, for a new medium.
    pub fn all(&self) -> Vec<String> {
        self.notes.iter().chain(&self.archives).cloned().collect()
    }
}

/// Reads the configurations that a medium will have: that of the root filesystem, and that of persist.
///
/// # Errors
/// One of them cannot be read or used.
pub fn on_medium(root: &Tree, persist: &Tree, images: &[ContainerImage]) -> Result<Remarks> {
    let (mut remarks, mut used) = (Remarks::default(), None);
    for (tree, path, whose) in
        [(root, IMAGE_CONFIG, "the image"), (persist, USER_CONFIG, "the persist partition")]
    {
        let Some(content) = file(tree, path) else { continue };
        let shown = shown(content, path);
        if content.len() > LARGEST {
            return Err(ContainersError::Large { path: shown, len: content.len() }.into());
        }
        let (config, told) = read(&content.read_all()?, &shown, whose)?;
        remarks.notes.extend(told);
        // That of the user counts where there are both.
        used = Some((config, shown));
    }
    remarks.archives = match &used {
        Some((config, path)) => {
            let missing = archives_that_are_not_there(config, path, persist).into_iter();
            missing.chain(images_that_nothing_uses(config, path, images)).collect()
        }
        None => images.iter().map(unused).collect(),
    };
    Ok(remarks)
}

fn file<'a>(tree: &'a Tree, path: &str) -> Option<&'a Content> {
    let found = tree.resolve(path, LastLink::Follow).ok()?;
    match &tree.node(found.id).body {
        Body::File(content) => Some(content),
        _ => None,
    }
}

/// The file on this machine that a content is, else its path on the device.
fn shown(content: &Content, path: &str) -> PathBuf {
    match content.source() {
        Source::File { path, offset: 0, .. } => path.to_path_buf(),
        _ => Path::new("/").join(path),
    }
}

fn read(bytes: &[u8], path: &Path, whose: &str) -> Result<(Config, Vec<String>), ContainersError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        ContainersError::NotText { path: path.into(), line }
    })?;
    let (config, notes) = Config::parse(text, path)
        .map_err(|broken| ContainersError::Broken { whose: whose.into(), broken })?;
    Ok((config, notes.iter().map(|remark| Note { path, remark }.to_string()).collect()))
}

/// Archives that an image is loaded from, and that neither the medium has nor another way leads to the image.
fn archives_that_are_not_there(config: &Config, path: &Path, persist: &Tree) -> Vec<String> {
    let below = format!("/{PERSIST}/");
    let images = config.images.iter().filter(|image| image.pull.is_none() && image.build.is_none());
    let missing = images.filter_map(|image| {
        let archive = image.archive.as_ref().or(image.import.as_ref())?;
        let place = archive.strip_prefix(&below)?;
        file(persist, place).is_none().then_some((image, archive))
    });
    let note = |(image, archive): (&skiff_core::config::Image, &String)| {
        format!(
            "{}:{}: image `{}` is loaded from `{archive}`, which is not put on the medium\n    hint: have it among the files \
             for persist, or leave `archive` out and give the image itself",
            path.display(),
            image.reference.place,
            image.reference.value
        )
    };
    missing.map(note).collect()
}

fn unused(image: &ContainerImage) -> String {
    format!(
        "nothing loads `{}`: there is no configuration of containers\n    hint: have the layer `skiff/core`, or one of \
         `core/`, in the chain",
        image.path.display()
    )
}

/// Archives on the medium that no image of the configuration is loaded from.
fn images_that_nothing_uses(config: &Config, path: &Path, images: &[ContainerImage]) -> Vec<String> {
    let unused = images.iter().filter(|image| config.image(&image.reference).is_none());
    let known: Vec<String> =
        config.images.iter().map(|image| format!("`{}`", image.reference.value)).collect();
    let known = if known.is_empty() { "no image".into() } else { known.join(", ") };
    let note = |image: &ContainerImage| {
        format!(
            "`{}` has no image `{}`, so nothing loads `{}`\n    hint: it has {known}; `NAME={}` gives it another name",
            path.display(),
            image.reference,
            image.path.display(),
            image.path.display()
        )
    };
    unused.map(note).collect()
}
