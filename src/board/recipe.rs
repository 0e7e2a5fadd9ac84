//! Artifacts: files that are composed before the partitions.

use std::fmt;

use serde::Serialize;

use super::{FilePlacement, InSlots};
use crate::fs::compress::Compression;
use crate::fs::squashfs::Codec;
use crate::value::{ByteSize, ForArch};

/// A file that is composed from the tree, a text or another artifact.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Artifact {
    /// Name; other artifacts and partitions refer to it.
    pub name: String,
    /// Only for these architectures.
    pub arch: ForArch,
    /// Whether it is on a medium with slots.
    #[serde(skip)]
    pub slots: InSlots,
    /// Recipe.
    pub recipe: Recipe,
}

/// Recipe of an [`Artifact`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "format", rename_all = "kebab-case")]
pub enum Recipe {
    /// A squashfs image of a directory of the root tree.
    Squashfs {
        /// The directory.
        subtree: String,
        /// True if it leaves the root tree (an empty directory stays as mount point).
        take: bool,
        /// Path below the directory of a file that must be in it, with `*` for any characters.
        holds: Option<String>,
        /// Layer of SkiffOS whose hook before the images would take the same files.
        instead_of: Option<String>,
        /// Compressor and level.
        codec: Codec,
        /// Data block size.
        block: ByteSize,
    },
    /// A newc archive.
    Cpio {
        /// Compression of the whole archive.
        compression: Compression,
        /// Its files; the root tree if nothing is named.
        files: Vec<FilePlacement>,
    },
    /// An ext4 image.
    Ext4 {
        /// Volume label.
        label: String,
        /// Length of the image.
        size: ByteSize,
        /// Its files.
        files: Vec<FilePlacement>,
    },
    /// A FAT32 image.
    Fat32 {
        /// Volume label.
        label: String,
        /// Length of the image.
        size: ByteSize,
        /// Its files.
        files: Vec<FilePlacement>,
    },
    /// A U-Boot legacy image of type ramdisk around another artifact.
    UbootRamdisk {
        /// The artifact inside.
        from: String,
        /// Name in the header, at most 32 bytes.
        title: String,
    },
    /// A U-Boot legacy image of type script around a text artifact.
    UbootScript {
        /// The artifact inside.
        from: String,
        /// Name in the header, at most 32 bytes.
        title: String,
    },
    /// A boot text.
    Text {
        /// Rules the text has to keep.
        rules: TextRules,
        /// Text with `@{name}` placeholders.
        template: String,
        /// Files of configuration layers that replace the template as they are; the last layer that has one
        /// wins, earlier names first within a layer.
        layer_files: Vec<String>,
    },
    /// The code of a master boot record that starts GRUB, see [`crate::boot::grub::boot_code`].
    GrubBoot {
        /// Directory of the images directory with the files of GRUB's build for `i386-pc`.
        directory: String,
    },
    /// The core image of GRUB for a BIOS, see [`crate::boot::grub::core`].
    GrubCore {
        /// As above.
        directory: String,
        /// Modules, without what they need.
        modules: Vec<String>,
        /// Directory of `grub.cfg` and further modules.
        prefix: String,
        /// Commands that run before that.
        config: Option<String>,
    },
}

/// Limits of the reader of a boot text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "text-rules")]
pub enum TextRules {
    /// A U-Boot script.
    UbootScript,
    /// `extlinux.conf` of U-Boot's distro boot.
    Extlinux,
    /// `config.txt` of the Raspberry Pi firmware.
    PiConfig,
    /// A kernel command line in a file of its own.
    Cmdline,
    /// A Boot Loader Specification entry or `loader.conf`.
    LoaderEntry,
    /// `refind_linux.conf`: options of the kernels beside it.
    RefindLinux,
    /// Any text.
    Plain,
}

/// Format of an [`Artifact`], as descriptors and manifests name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArtifactFormat {
    /// A squashfs image.
    Squashfs,
    /// A newc archive.
    Cpio,
    /// An ext4 image.
    Ext4,
    /// A FAT32 image.
    Fat32,
    /// A U-Boot legacy image of type ramdisk.
    UbootRamdisk,
    /// A U-Boot legacy image of type script.
    UbootScript,
    /// A boot text.
    Text,
    /// Code of a master boot record.
    GrubBoot,
    /// Core image of GRUB.
    GrubCore,
}

impl fmt::Display for ArtifactFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ArtifactFormat::Squashfs => "squashfs",
            ArtifactFormat::Cpio => "cpio",
            ArtifactFormat::Ext4 => "ext4",
            ArtifactFormat::Fat32 => "fat32",
            ArtifactFormat::UbootRamdisk => "uboot-ramdisk",
            ArtifactFormat::UbootScript => "uboot-script",
            ArtifactFormat::Text => "text",
            ArtifactFormat::GrubBoot => "grub-boot",
            ArtifactFormat::GrubCore => "grub-core",
        })
    }
}

impl Recipe {
    /// The files that are put in it.
    pub fn files(&self) -> &[FilePlacement] {
        match self {
            Recipe::Cpio { files, .. } | Recipe::Ext4 { files, .. } | Recipe::Fat32 { files, .. } => files,
            _ => &[],
        }
    }

    /// Like [`Recipe::files`].
    pub fn files_mut(&mut self) -> &mut [FilePlacement] {
        match self {
            Recipe::Cpio { files, .. } | Recipe::Ext4 { files, .. } | Recipe::Fat32 { files, .. } => files,
            _ => &mut [],
        }
    }

    /// Format of the artifact.
    pub fn format(&self) -> ArtifactFormat {
        match self {
            Recipe::Squashfs { .. } => ArtifactFormat::Squashfs,
            Recipe::Cpio { .. } => ArtifactFormat::Cpio,
            Recipe::Ext4 { .. } => ArtifactFormat::Ext4,
            Recipe::Fat32 { .. } => ArtifactFormat::Fat32,
            Recipe::UbootRamdisk { .. } => ArtifactFormat::UbootRamdisk,
            Recipe::UbootScript { .. } => ArtifactFormat::UbootScript,
            Recipe::Text { .. } => ArtifactFormat::Text,
            Recipe::GrubBoot { .. } => ArtifactFormat::GrubBoot,
            Recipe::GrubCore { .. } => ArtifactFormat::GrubCore,
        }
    }
}
