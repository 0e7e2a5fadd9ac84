//! Composed files: images of parts of the root tree, boot texts, and legacy images around them.

use std::collections::BTreeMap;
use std::path::Path;

use super::initramfs::startable;
use super::place::fits;
use super::{Inputs, StageError};
use crate::artifact::{self, Artifact, Artifacts, Composed};
use crate::board::{self, ContentSource, FilePlacement, Recipe, TextRules};
use crate::boot::uimage::{self, UImageOptions};
use crate::boot::{grub, refind, text};
use crate::buildroot::hooks::Phase;
use crate::error::{Error, Io};
use crate::fs::compress::Compression;
use crate::fs::fat::{self, FatType};
use crate::fs::squashfs::{self, Codec};
use crate::fs::{Loss, cpio, ext4};
use crate::tree::{self, Body, Content, Tree, components};
use crate::value::ByteSize;

/// Composes one artifact and adds it to `done`.
pub(super) fn build(
    inputs: &Inputs,
    artifact: &board::Artifact,
    root: &mut Tree,
    done: &mut Artifacts,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let mut builder = Builder { inputs, name: &artifact.name, warnings };
    let composed = builder.compose(&artifact.recipe, root, done)?;
    done.insert(&artifact.name, composed, artifact.recipe.format())
}

/// The files that an error names.
const SHOWN: usize = 3;

/// Paths of all that is no directory.
fn files_of(tree: &Tree) -> impl Iterator<Item = Vec<u8>> {
    tree.walk().filter(|(_, id)| tree.node(*id).entries().is_none()).map(|(path, _)| path)
}

/// Returns whether a path has as many components as a pattern, and each is one that the pattern stands for.
fn meets(path: &[u8], pattern: &str) -> bool {
    let (names, wanted) = (components(path), pattern.split('/'));
    names.clone().count() == wanted.clone().count()
        && names.zip(wanted).all(|(name, pattern)| fits(name, pattern))
}

struct Builder<'a> {
    inputs: &'a Inputs,
    name: &'a str,
    warnings: &'a mut Vec<String>,
}

impl Builder<'_> {
    fn compose(&mut self, recipe: &Recipe, root: &mut Tree, done: &Artifacts) -> Result<Composed, Error> {
        let images = &self.inputs.images;
        match recipe {
            Recipe::Squashfs { subtree, take, codec, block, holds, instead_of } => {
                let tree = self.subtree(root, subtree, *take)?;
                self.ensure_of_use(&tree, subtree, holds.as_deref(), instead_of.as_deref())?;
                self.squashfs(&tree, *codec, *block)
            }
            Recipe::Cpio { compression, files } if files.is_empty() => {
                self.cpio(&startable(root, self.inputs.timestamp), *compression)
            }
            Recipe::Cpio { compression, files } => {
                self.cpio(&self.files(files, root, done, false)?, *compression)
            }
            Recipe::Ext4 { label, size, files } => {
                let tree = self.files(files, root, done, false)?;
                self.warn_of(&ext4::losses(&tree));
                artifact::ext4(&tree, &self.inputs.ext4_options(self.name, label), size.0, self.name)
            }
            Recipe::Fat32 { label, size, files } => {
                let tree = self.files(files, root, done, true)?;
                self.warn_of(&fat::losses(&tree));
                let options = self.inputs.fat_options(self.name, label, FatType::Fat32);
                artifact::fat(&tree, &options, size.0, self.name)
            }
            Recipe::UbootRamdisk { from, title } => {
                let Artifact { content, files, .. } = done.get(from)?;
                let content = artifact::ramdisk(&self.header(title), content, self.name)?;
                Ok(Composed { content, files: files.clone() })
            }
            Recipe::UbootScript { from, title } => {
                let text = done.content(from)?.read_all()?;
                Ok(Composed::plain(Content::bytes(uimage::script(&self.header(title), &text)?)))
            }
            Recipe::Text { rules, template, layer_files } => {
                let text = self.text(*rules, template, layer_files)?;
                Ok(Composed::plain(Content::bytes(text.into_bytes())))
            }
            Recipe::GrubBoot { directory } => {
                Ok(Composed::plain(Content::bytes(grub::boot_code(&images.join(directory))?)))
            }
            Recipe::GrubCore { directory, modules, prefix, config } => {
                let core = self.grub_core(&images.join(directory), modules, prefix, config.as_deref())?;
                Ok(Composed::plain(core))
            }
        }
    }

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

    /// Fails if the image would be empty, or without what it is for.
    fn ensure_of_use(
        &self,
        tree: &Tree,
        subtree: &str,
        holds: Option<&str>,
        instead_of: Option<&str>,
    ) -> Result<(), StageError> {
        let files: Vec<Vec<u8>> = files_of(tree).collect();
        let is_wanted = |path: &Vec<u8>| holds.is_none_or(|pattern| meets(path, pattern));
        if files.iter().any(is_wanted) {
            return Ok(());
        }
        let taken = instead_of.filter(|taker| {
            let has_hook = |layer: &crate::layer::Layer| layer.file(Phase::Pre.script()).is_some();
            self.inputs.layers.iter().any(|layer| layer.name == *taker && has_hook(layer))
        });
        let shown = files.iter().take(SHOWN).map(|path| format!("`{}`", tree::display(path)));
        Err(StageError::OfNoUse {
            artifact: self.name.into(),
            subtree: subtree.into(),
            lacks: holds.map_or("be empty".into(), |pattern| format!("be without `{pattern}`")),
            found: match files.len() {
                0 => "no file".into(),
                _ => format!("only {}", shown.collect::<Vec<_>>().join(", ")),
            },
            taken: taken.map(str::to_owned),
        })
    }

    fn warn_of(&mut self, losses: &[Loss]) {
        self.warnings.extend(losses.iter().map(|loss| format!("`{}`: {loss}", self.name)));
    }

    fn squashfs(&mut self, tree: &Tree, codec: Codec, block: ByteSize) -> Result<Composed, Error> {
        let options = self.inputs.squashfs_options(codec, block);
        let layout = squashfs::layout(tree, &options)?;
        self.warn_of(layout.dropped());
        artifact::squashfs(&layout, self.name, &self.inputs.resources)
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

    fn cpio(&mut self, tree: &Tree, compression: Compression) -> Result<Composed, Error> {
        let layout = cpio::layout(tree)?;
        self.warn_of(layout.dropped());
        artifact::cpio(&layout, compression, self.name)
    }

    /// The kernel unpacks an initramfs itself, so U-Boot is told that there is nothing to undo.
    fn header(&self, title: &str) -> UImageOptions {
        UImageOptions {
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
            let own = |place: &&FilePlacement| matches!(&place.from, ContentSource::Artifact(name) if name == self.name);
            for place in partition.files.iter().filter(own) {
                let directory = place.to.rsplit_once('/').map_or("", |(parent, _)| parent);
                refind::check(file, text, directory, &placed)?;
            }
        }
        Ok(())
    }
}
