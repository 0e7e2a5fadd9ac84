//! Composed files: images of parts of the root tree, boot texts, and legacy images around them.

use std::collections::BTreeMap;
use std::path::Path;

use super::initramfs::startable;
use super::{Inputs, StageError};
use crate::board::{self, FilePlacement, Recipe, TextRules};
use crate::boot::{grub, refind, text, uimage};
use crate::error::{Error, Io};
use crate::fs::compress::Compression;
use crate::fs::{WrittenFile, cpio, ext4, fat, squashfs};
use crate::storage::{Region, Scratch};
use crate::tree::{Body, Content, Tree};
use crate::value::{ByteSize, Digest};

/// A file that was composed.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Its bytes.
    pub content: Content,
    /// Digest of its bytes.
    pub blake3: Digest,
    /// What kind it is, as in the board descriptor.
    pub format: &'static str,
    /// The files inside, where it is a filesystem or archive.
    pub files: Vec<WrittenFile>,
}

/// The composed files by name.
#[derive(Clone, Debug, Default)]
pub struct Artifacts {
    by_name: BTreeMap<String, Artifact>,
}

impl Artifacts {
    /// The content of the artifact `name`.
    pub fn content(&self, name: &str) -> Result<Content, StageError> {
        self.get(name).map(|artifact| artifact.content.clone())
    }

    /// The artifact `name`.
    pub fn get(&self, name: &str) -> Result<&Artifact, StageError> {
        self.by_name.get(name).ok_or_else(|| StageError::NotForArch { artifact: name.into() })
    }

    /// All of them by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Artifact)> {
        self.by_name.iter().map(|(name, artifact)| (name.as_str(), artifact))
    }
}

/// Composes one artifact and adds it to `done`.
pub(super) fn build(
    inputs: &Inputs,
    artifact: &board::Artifact,
    root: &mut Tree,
    done: &mut Artifacts,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let mut builder = Builder { inputs, name: &artifact.name, warnings };
    let (content, files, format) = match &artifact.recipe {
        Recipe::Squashfs { subtree, take, codec, block } => {
            let tree = builder.subtree(root, subtree, *take)?;
            let (content, files) = builder.squashfs(&tree, *codec, *block)?;
            (content, files, "squashfs")
        }
        Recipe::Cpio { compression, files } if files.is_empty() => {
            let root = startable(root, inputs.timestamp);
            let (content, files) = builder.cpio(&root, *compression)?;
            (content, files, "cpio")
        }
        Recipe::Cpio { compression, files } => {
            let tree = builder.files(files, root, done, false)?;
            let (content, files) = builder.cpio(&tree, *compression)?;
            (content, files, "cpio")
        }
        Recipe::Ext4 { label, size, files } => {
            let tree = builder.files(files, root, done, false)?;
            let (content, files) = builder.ext4(&tree, label, *size)?;
            (content, files, "ext4")
        }
        Recipe::Fat32 { label, size, files } => {
            let tree = builder.files(files, root, done, true)?;
            let (content, files) = builder.fat32(&tree, label, *size)?;
            (content, files, "fat32")
        }
        Recipe::UbootRamdisk { from, title } => {
            let inner = done.get(from)?.clone();
            (builder.ramdisk(&inner.content, title)?, inner.files, "uboot-ramdisk")
        }
        Recipe::UbootScript { from, title } => {
            let inner = done.content(from)?;
            let image = uimage::script(&builder.header(title), &inner.read_all()?)?;
            (Content::bytes(image), Vec::new(), "uboot-script")
        }
        Recipe::Text { rules, template, layer_files } => {
            let text = builder.text(*rules, template, layer_files)?;
            (Content::bytes(text.into_bytes()), Vec::new(), "text")
        }
        Recipe::GrubBoot { directory } => {
            (Content::bytes(grub::boot_code(&inputs.images.join(directory))?), Vec::new(), "grub-boot")
        }
        Recipe::GrubCore { directory, modules, prefix, config } => {
            let directory = &inputs.images.join(directory);
            let core = builder.grub_core(directory, modules, prefix, config.as_deref())?;
            (core, Vec::new(), "grub-core")
        }
    };
    let blake3 = digest(&content)?;
    done.by_name.insert(artifact.name.clone(), Artifact { content, blake3, format, files });
    Ok(())
}

struct Builder<'a> {
    inputs: &'a Inputs,
    name: &'a str,
    warnings: &'a mut Vec<String>,
}

impl Builder<'_> {
    /// A directory of the root tree as a tree of its own. If it is taken, an empty directory stays behind.
    fn subtree(&self, root: &mut Tree, path: &str, take: bool) -> Result<Tree, StageError> {
        let missing = || StageError::MissingSubtree { artifact: self.name.into(), subtree: path.into() };
        let id = root.get(path).ok_or_else(missing)?;
        let tree = root.subtree(id).ok_or_else(missing)?;
        if take {
            root.node_mut(id).body = Body::Dir(BTreeMap::new());
        }
        Ok(tree)
    }

    fn squashfs(
        &mut self,
        tree: &Tree,
        codec: squashfs::Codec,
        block: ByteSize,
    ) -> Result<(Content, Vec<WrittenFile>), Error> {
        let options = squashfs::Options {
            codec,
            block_size: block.0 as u32,
            timestamp: self.inputs.timestamp,
            pack_tails: false,
        };
        let layout = squashfs::layout(tree, &options)?;
        for dropped in layout.dropped() {
            let (path, name) = (&dropped.path, &dropped.name);
            self.warnings.push(format!("`{}`: `{path}` loses the attribute `{name}`", self.name));
        }
        let scratch = Scratch::new(layout.size_bound())?;
        let written = squashfs::write(&layout, &Region::whole(&scratch, self.name), &self.inputs.resources)?;
        Ok((scratch.into_content(written.len)?, written.files))
    }

    /// The tree of files that the artifact is made of.
    fn files(
        &self,
        files: &[FilePlacement],
        root: &Tree,
        done: &Artifacts,
        fat: bool,
    ) -> Result<Tree, Error> {
        let placer = self.inputs.placer(done, root);
        Ok(placer.files(&format!("artifact `{}`", self.name), files, fat)?.tree)
    }

    fn ext4(&self, tree: &Tree, label: &str, size: ByteSize) -> Result<(Content, Vec<WrittenFile>), Error> {
        let options = self.inputs.ext4_options(self.name, label);
        let layout = ext4::layout(tree, &options, size.0)?;
        let scratch = Scratch::new(size.0)?;
        let files = ext4::write(&layout, &Region::whole(&scratch, self.name))?.files;
        Ok((scratch.into_content(size.0)?, files))
    }

    fn fat32(&self, tree: &Tree, label: &str, size: ByteSize) -> Result<(Content, Vec<WrittenFile>), Error> {
        let options = self.inputs.fat_options(self.name, label, fat::FatType::Fat32);
        let layout = fat::layout(tree, &options, size.0)?;
        let scratch = Scratch::new(size.0)?;
        let files = fat::write(&layout, &Region::whole(&scratch, self.name))?.files;
        Ok((scratch.into_content(size.0)?, files))
    }

    fn cpio(&mut self, tree: &Tree, compression: Compression) -> Result<(Content, Vec<WrittenFile>), Error> {
        let layout = cpio::layout(tree)?;
        for dropped in layout.dropped() {
            self.warnings.push(format!("`{}`: {dropped}", self.name));
        }
        let scratch = Scratch::new(u64::MAX / 2)?;
        let region = Region::whole(&scratch, self.name);
        let mut writer = region.writer(0);
        let files = cpio::write(&layout, compression, &mut writer)?.files;
        let len = writer.finish()?;
        drop(region);
        Ok((scratch.into_content(len)?, files))
    }

    fn ramdisk(&self, inner: &Content, title: &str) -> Result<Content, Error> {
        let scratch = Scratch::new(u64::MAX / 2)?;
        let region = Region::whole(&scratch, self.name);
        let mut writer = region.writer(0);
        uimage::ramdisk(&self.header(title), inner, &mut writer)?;
        let len = writer.finish()?;
        drop(region);
        Ok(scratch.into_content(len)?)
    }

    /// The kernel unpacks an initramfs itself, so U-Boot is told that there is nothing to undo.
    fn header(&self, title: &str) -> uimage::UImageOptions {
        uimage::UImageOptions {
            arch: self.inputs.arch,
            name: title.into(),
            timestamp: self.inputs.timestamp,
            compression: Compression::None,
        }
    }

    /// The text of the last layer that brings one, as it is; else the rendered template.
    fn text(&self, rules: TextRules, template: &str, layer_files: &[String]) -> Result<String, Error> {
        let in_layer = |layer: &crate::layer::Layer| layer_files.iter().find_map(|file| layer.file(file));
        let (file, text) = match self.inputs.layers.iter().rev().find_map(in_layer) {
            Some(path) => {
                let text = std::fs::read_to_string(&path).map_err(Io::on("read", &path))?;
                (path.display().to_string(), text)
            }
            None => {
                let file = format!("template `{}` of board `{}`", self.name, self.inputs.board.name);
                let text = self.inputs.variables.render(&file, template)?;
                (file, text)
            }
        };
        if let Some(format) = self.format(rules) {
            text::check(&file, &text, format)?;
        }
        if rules == TextRules::RefindLinux {
            self.check_refind_linux(&file, &text)?;
        }
        Ok(text)
    }

    fn grub_core(
        &self,
        directory: &Path,
        modules: &[String],
        prefix: &str,
        config: Option<&str>,
    ) -> Result<Content, Error> {
        let file = format!("artifact `{}` of board `{}`", self.name, self.inputs.board.name);
        let fill = |text: &str| self.inputs.variables.render(&file, text);
        let (prefix, config) = (fill(prefix)?, config.map(fill).transpose()?);
        let core = grub::Core { directory, modules, prefix: &prefix, config: config.as_deref() };
        Ok(Content::bytes(grub::core(&core)?))
    }

    fn format(&self, rules: TextRules) -> Option<text::Format> {
        match rules {
            TextRules::UbootScript => Some(text::Format::Script),
            TextRules::Extlinux => Some(text::Format::Extlinux),
            TextRules::PiConfig => Some(text::Format::PiConfig),
            TextRules::Cmdline => {
                Some(text::Format::CommandLine { size: self.inputs.arch.command_line_size() })
            }
            TextRules::LoaderEntry => Some(text::Format::LoaderEntry),
            TextRules::RefindLinux | TextRules::Plain => None,
        }
    }

    /// Wherever the text is placed, the files that it names are there too.
    fn check_refind_linux(&self, file: &str, text: &str) -> Result<(), text::TextError> {
        for partition in &self.inputs.board.partitions {
            let placed: Vec<&str> = partition.files.iter().map(|place| place.to.as_str()).collect();
            let own = |place: &&board::FilePlacement| matches!(&place.from, board::ContentSource::Artifact(name) if name == self.name);
            for place in partition.files.iter().filter(own) {
                let directory = place.to.rsplit_once('/').map_or("", |(parent, _)| parent);
                refind::check(file, text, directory, &placed)?;
            }
        }
        Ok(())
    }
}

fn digest(content: &Content) -> Result<Digest, Error> {
    let mut hasher = blake3::Hasher::new();
    content.for_each_chunk(|chunk| {
        hasher.update(chunk);
        Ok::<(), Error>(())
    })?;
    Ok(hasher.finalize().into())
}
