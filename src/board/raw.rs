//! The board descriptor exactly as it stands in TOML.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Oci, Proof, RootStyle, TableKind, TextRules, Update};
use crate::value::{Arch, ByteSize, ForArch};

/// One descriptor file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawBoard {
    /// The family, whose keys are joined with the board's before they get here.
    #[serde(skip)]
    pub extends: Option<String>,
    /// One line for lists.
    pub description: String,
    /// What is proven.
    pub status: String,
    /// What the tests of the project hold the board to.
    #[serde(default)]
    pub proof: Vec<Proof>,
    /// Architectures.
    pub arch: Vec<Arch>,
    /// Root style.
    pub root: RootStyle,
    /// Name of the partition that keeps files.
    pub persist: Option<String>,
    /// Partition table.
    pub table: RawTable,
    /// Smallest medium.
    pub minimum_medium: Option<ByteSize>,
    /// Sets of rules that the layout keeps.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Words for every architecture; a table named after an architecture holds words for that one.
    #[serde(default)]
    pub vars: BTreeMap<String, RawVar>,
    /// Composed files.
    #[serde(default)]
    pub artifact: Vec<RawArtifact>,
    /// Raw bytes.
    #[serde(default)]
    pub blob: Vec<RawBlob>,
    /// What boot loaders save.
    #[serde(default)]
    pub environment: Vec<RawEnvironment>,
    /// Partitions.
    pub partition: Vec<RawPartition>,
}

/// `[[environment]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawEnvironment {
    /// Name.
    pub name: String,
    /// First byte.
    pub offset: ByteSize,
    /// Length.
    pub size: ByteSize,
}

/// `[table]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawTable {
    /// `mbr`, `gpt` or `none`.
    pub kind: TableKind,
    /// Start of partitions.
    pub align: Option<ByteSize>,
    /// Logical sector size.
    pub sector_size: Option<u32>,
    /// Number of GPT entries.
    pub entries: Option<u32>,
    /// GPT partitions that a hybrid MBR lists.
    #[serde(default)]
    pub hybrid_mbr: Vec<u32>,
}

/// A word or the words of one architecture.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum RawVar {
    /// For every architecture.
    Text(String),
    /// For the architecture the table is named after.
    PerArch(BTreeMap<String, String>),
}

/// `[[artifact]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawArtifact {
    /// Name.
    pub name: String,
    /// `squashfs`, `cpio`, `ext4`, `fat32`, `uboot-ramdisk`, `uboot-script`, `text`, `grub-boot` or `grub-core`.
    pub format: RawFormat,
    /// Only for this architecture, or these.
    #[serde(default)]
    pub arch: ForArch,
    /// squashfs: directory of the root tree.
    pub subtree: Option<String>,
    /// squashfs: whether the directory leaves the root tree.
    pub take: Option<bool>,
    /// squashfs: compressor.
    pub codec: Option<String>,
    /// squashfs: block size.
    pub block: Option<ByteSize>,
    /// cpio: compression.
    pub compression: Option<String>,
    /// ext4, fat32: volume label.
    pub label: Option<String>,
    /// ext4, fat32: length.
    pub size: Option<ByteSize>,
    /// cpio, ext4, fat32: what is put in it.
    pub file: Option<Vec<RawPlace>>,
    /// uboot-*: artifact inside.
    pub from: Option<String>,
    /// uboot-*: name in the header.
    pub title: Option<String>,
    /// text: rules.
    pub rules: Option<TextRules>,
    /// text: template.
    pub template: Option<String>,
    /// text: files of layers that replace the template.
    pub layer_files: Option<Vec<String>>,
    /// grub-*: directory of the images directory with the files of GRUB's build.
    pub directory: Option<String>,
    /// grub-core: modules.
    pub modules: Option<Vec<String>>,
    /// grub-core: where GRUB looks for its files.
    pub prefix: Option<String>,
    /// grub-core: commands that run first.
    pub config: Option<String>,
}

/// `format` of an artifact.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum RawFormat {
    /// squashfs image of a directory.
    Squashfs,
    /// newc archive of the root tree or of files.
    Cpio,
    /// ext4 image of files.
    Ext4,
    /// FAT32 image of files.
    Fat32,
    /// U-Boot legacy ramdisk image.
    UbootRamdisk,
    /// U-Boot legacy script image.
    UbootScript,
    /// Rendered text.
    Text,
    /// Code of a master boot record that starts GRUB.
    GrubBoot,
    /// Core image of GRUB for a BIOS.
    GrubCore,
}

/// `[[blob]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawBlob {
    /// Name.
    pub name: String,
    /// Candidates in the images directory.
    pub files: Option<Vec<String>>,
    /// Or a composed artifact.
    pub artifact: Option<String>,
    /// Where it goes.
    pub offset: ByteSize,
    /// First byte of the file that is written.
    pub from: Option<ByteSize>,
    /// Bytes there are for it.
    pub limit: Option<ByteSize>,
    /// Bytes that are written; the rest of the file is left out.
    pub length: Option<ByteSize>,
    /// Ranges `[start, end)` of the disk left alone.
    #[serde(default)]
    pub skip: Vec<(ByteSize, ByteSize)>,
    /// Bytes that identify the file.
    pub magic: Option<RawMagic>,
    /// What to do when it is missing.
    pub hint: Option<String>,
    /// May be missing.
    #[serde(default)]
    pub optional: bool,
    /// What an update does with it.
    pub update: Option<Update>,
}

/// `magic` of a blob: text or hexadecimal bytes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawMagic {
    /// Offset in the file.
    #[serde(default)]
    pub at: ByteSize,
    /// As ASCII text.
    pub text: Option<String>,
    /// As hexadecimal digits.
    pub hex: Option<String>,
}

/// `[[partition]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawPartition {
    /// Name.
    pub name: String,
    /// Number in the table; without it the position in the descriptor.
    pub number: Option<u32>,
    /// First byte.
    pub start: Option<ByteSize>,
    /// A size, `fit` or `rest`.
    pub size: String,
    /// `fit`: free space on top.
    pub slack: Option<ByteSize>,
    /// `rest`: length in an image without stated size.
    pub minimum: Option<ByteSize>,
    /// MBR type byte or GPT type GUID or one of the names `esp`, `linux`, `basic-data`.
    #[serde(rename = "type")]
    pub kind: Option<RawType>,
    /// MBR boot flag.
    #[serde(default)]
    pub active: bool,
    /// GPT attribute bits.
    #[serde(default)]
    pub attributes: u64,
    /// `fat16`, `fat32`, `ext4`, `squashfs`, `raw`, `tar`, `oci` or `none`.
    pub filesystem: RawFilesystem,
    /// Volume label.
    pub label: Option<String>,
    /// squashfs: compressor.
    pub codec: Option<String>,
    /// squashfs: block size.
    pub block: Option<ByteSize>,
    /// What an update may touch.
    pub update: Option<Update>,
    /// raw: the file of the images directory, or candidates.
    pub image: Option<OneOrMany>,
    /// raw: the file may be missing.
    #[serde(default)]
    pub optional: bool,
    /// tar: of the whole archive; oci: of the layer.
    pub compression: Option<String>,
    /// oci: name and configuration of the image.
    pub oci: Option<Oci>,
    /// What is put on it.
    #[serde(default)]
    pub file: Vec<RawPlace>,
}

/// `type` of a partition.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum RawType {
    /// MBR type byte.
    Byte(u8),
    /// GPT type by name or GUID.
    Name(String),
}

/// `filesystem` of a partition.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum RawFilesystem {
    /// FAT16.
    Fat16,
    /// FAT32.
    Fat32,
    /// ext4.
    Ext4,
    /// squashfs of the root tree.
    Squashfs,
    /// The bytes of a file.
    Raw,
    /// A tar archive, which is the whole output.
    Tar,
    /// A container image in a tar archive, which is the whole output.
    Oci,
    /// Not formatted.
    None,
}

/// `[[partition.file]]`: exactly one of `image`, `tree`, `artifact`, `directory`, `root`, `text` and `link`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawPlace {
    /// Only for this architecture, or these.
    #[serde(default)]
    pub arch: ForArch,
    /// A file of the images directory, or candidates.
    pub image: Option<OneOrMany>,
    /// A directory of the images directory.
    pub tree: Option<String>,
    /// A composed artifact.
    pub artifact: Option<String>,
    /// An empty directory of this path.
    pub directory: Option<String>,
    /// A path of the root filesystem and all below it.
    pub root: Option<String>,
    /// The content of a small file, with words.
    pub text: Option<String>,
    /// The target of a symbolic link, with words.
    pub link: Option<String>,
    /// Path on the partition.
    pub to: Option<String>,
    /// Permissions in octal.
    pub mode: Option<String>,
    /// `tree`, `root`: paths below it that are left out.
    pub exclude: Option<Vec<String>>,
    /// May be missing.
    #[serde(default)]
    pub optional: bool,
    /// `keep`: an update leaves it alone.
    pub update: Option<RawKeep>,
}

/// `update` of a placed file.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum RawKeep {
    /// Written when the medium is made, left alone by updates.
    Keep,
}

/// One text or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several, the first that exists wins.
    Many(Vec<String>),
}
