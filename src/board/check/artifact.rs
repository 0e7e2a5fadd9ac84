//! Composed files: which keys belong to which format.

use super::Checker;
use crate::board::raw::{RawArtifact, RawFormat};
use crate::board::{Artifact, BoardError, Recipe};
use crate::fs::compress::Compression;
use crate::fs::squashfs::{BLOCK_SIZE_MAX, BLOCK_SIZE_MIN, Codec, DEFAULT_BLOCK_SIZE, DEFAULT_CODEC};
use crate::value::ByteSize;

impl Checker<'_> {
    pub(super) fn artifact(&self, raw: RawArtifact) -> Result<Artifact, BoardError> {
        let place = format!("artifact `{}`", raw.name);
        self.reject_foreign_keys(&place, &raw)?;
        let missing = |key: &str| self.invalid(&place, format!("`{key}` is missing"));
        let recipe = match raw.format {
            RawFormat::Squashfs => Recipe::Squashfs {
                subtree: raw.subtree.ok_or_else(|| missing("subtree"))?,
                take: raw.take.unwrap_or(false),
                holds: raw.holds,
                instead_of: raw.instead_of,
                codec: self.codec(&place, raw.codec)?,
                block: self.block(&place, raw.block)?,
            },
            RawFormat::Cpio => Recipe::Cpio {
                compression: self
                    .compression(&place, Some(raw.compression.ok_or_else(|| missing("compression"))?))?,
                files: self.places(&place, raw.file.unwrap_or_default())?,
            },
            RawFormat::Ext4 => Recipe::Ext4 {
                label: raw.label.ok_or_else(|| missing("label"))?,
                size: raw.size.ok_or_else(|| missing("size"))?,
                files: self.places(&place, raw.file.unwrap_or_default())?,
            },
            RawFormat::Fat32 => Recipe::Fat32 {
                label: raw.label.ok_or_else(|| missing("label"))?,
                size: raw.size.ok_or_else(|| missing("size"))?,
                files: self.places(&place, raw.file.unwrap_or_default())?,
            },
            RawFormat::UbootRamdisk => Recipe::UbootRamdisk {
                from: raw.from.ok_or_else(|| missing("from"))?,
                title: self.title(&place, raw.title)?,
            },
            RawFormat::UbootScript => Recipe::UbootScript {
                from: raw.from.ok_or_else(|| missing("from"))?,
                title: self.title(&place, raw.title)?,
            },
            RawFormat::Text => Recipe::Text {
                rules: raw.rules.ok_or_else(|| missing("rules"))?,
                template: raw.template.ok_or_else(|| missing("template"))?,
                layer_files: raw.layer_files.unwrap_or_default(),
            },
            RawFormat::GrubBoot => {
                Recipe::GrubBoot { directory: raw.directory.ok_or_else(|| missing("directory"))? }
            }
            RawFormat::GrubCore => Recipe::GrubCore {
                directory: raw.directory.ok_or_else(|| missing("directory"))?,
                modules: raw.modules.ok_or_else(|| missing("modules"))?,
                prefix: raw.prefix.ok_or_else(|| missing("prefix"))?,
                config: raw.config,
            },
        };
        Ok(Artifact { name: raw.name, arch: raw.arch, slots: raw.slots, recipe })
    }

    /// A key that the format does not know would be ignored in silence.
    fn reject_foreign_keys(&self, place: &str, raw: &RawArtifact) -> Result<(), BoardError> {
        use RawFormat::{Cpio, Ext4, Fat32, GrubBoot, GrubCore, Squashfs, Text, UbootRamdisk, UbootScript};
        let keys: [(&str, bool, &[RawFormat]); 19] = [
            ("subtree", raw.subtree.is_some(), &[Squashfs]),
            ("take", raw.take.is_some(), &[Squashfs]),
            ("holds", raw.holds.is_some(), &[Squashfs]),
            ("instead-of", raw.instead_of.is_some(), &[Squashfs]),
            ("codec", raw.codec.is_some(), &[Squashfs]),
            ("block", raw.block.is_some(), &[Squashfs]),
            ("compression", raw.compression.is_some(), &[Cpio]),
            ("label", raw.label.is_some(), &[Ext4, Fat32]),
            ("size", raw.size.is_some(), &[Ext4, Fat32]),
            ("file", raw.file.is_some(), &[Cpio, Ext4, Fat32]),
            ("from", raw.from.is_some(), &[UbootRamdisk, UbootScript]),
            ("title", raw.title.is_some(), &[UbootRamdisk, UbootScript]),
            ("rules", raw.rules.is_some(), &[Text]),
            ("template", raw.template.is_some(), &[Text]),
            ("layer-files", raw.layer_files.is_some(), &[Text]),
            ("directory", raw.directory.is_some(), &[GrubBoot, GrubCore]),
            ("modules", raw.modules.is_some(), &[GrubCore]),
            ("prefix", raw.prefix.is_some(), &[GrubCore]),
            ("config", raw.config.is_some(), &[GrubCore]),
        ];
        match keys.iter().find(|(_, given, formats)| *given && !formats.contains(&raw.format)) {
            Some((key, ..)) => Err(self.invalid(place, format!("`{key}` means nothing for this format"))),
            None => Ok(()),
        }
    }

    /// `ih_name` of a legacy image has 32 bytes (U-Boot `include/image.h`).
    fn title(&self, place: &str, title: Option<String>) -> Result<String, BoardError> {
        let title = title.unwrap_or_default();
        if title.len() > 32 {
            let problem = format!("title `{title}` has {} bytes but at most 32 fit", title.len());
            return Err(self.invalid(place, problem));
        }
        Ok(title)
    }

    pub(super) fn compression(&self, place: &str, text: Option<String>) -> Result<Compression, BoardError> {
        let Some(text) = text else { return Ok(Compression::None) };
        text.parse().map_err(|error| self.invalid(place, format!("{error}")))
    }

    pub(super) fn codec(&self, place: &str, codec: Option<String>) -> Result<Codec, BoardError> {
        let Some(codec) = codec else {
            return Ok(DEFAULT_CODEC);
        };
        codec.parse().map_err(|error| self.invalid(place, format!("{error}")))
    }

    /// The block size of a squashfs.
    pub(in crate::board) fn block(
        &self,
        place: &str,
        block: Option<ByteSize>,
    ) -> Result<ByteSize, BoardError> {
        let block = block.unwrap_or(ByteSize(DEFAULT_BLOCK_SIZE.into()));
        let (min, max) = (ByteSize(BLOCK_SIZE_MIN.into()), ByteSize(BLOCK_SIZE_MAX.into()));
        if !block.0.is_power_of_two() || block < min || block > max {
            let problem =
                format!("a block of {block} is not possible: it is a power of two from {min} to {max}");
            return Err(self.invalid(place, problem));
        }
        Ok(block)
    }
}
