//! The board descriptor exactly as it stands in TOML.
//!
//! What is said of a field here is also what editors show, since [`super::schema()`] is made of it, and what the table
//! of keys in `boards/README.md` says.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::schema::{PartitionSize, one_source};
use super::slots::RawSlots;
use super::{InSlots, Oci, Proof, RootStyle, TableKind, TextRules, Update};
use crate::value::{Arch, ByteSize, ForArch};

/// One descriptor file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "board")]
pub struct RawBoard {
    /// Family in `family/` whose keys this board takes over and changes.
    #[serde(skip)]
    pub extends: Option<String>,
    /// Board, SoC and medium in one line, for lists.
    pub description: String,
    /// State of the support: tried parts and inferred parts, in plain text.
    pub status: String,
    /// Levels of proof by the tests of the project; leave it out of boards of your own.
    #[serde(default)]
    pub proof: Vec<Proof>,
    /// Architectures that an image can be composed for; the first is the default.
    pub arch: Vec<Arch>,
    /// System on a chip, as its maker writes it: `A20`. Rules ask for it where ROMs of one family differ.
    pub soc: Option<String>,
    /// Place of the root filesystem while the system runs.
    pub root: RootStyle,
    /// Ways of starting one of two systems on a medium that is made with `--slots`.
    #[serde(default)]
    pub slots: Vec<RawSlots>,
    /// Name of the ext4 partition that keeps what users and the running system write; without it `persist`, if there is one.
    pub persist: Option<String>,
    /// The partition table.
    pub table: RawTable,
    /// Smallest medium that is written: `--size` and devices below it are refused. Without it whatever holds the layout.
    pub minimum_medium: Option<ByteSize>,
    /// Sets of rules in `rules/` that the layout has to keep, besides those of every board.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Variables for `@{name}`; a table named after an architecture holds those of that one.
    #[serde(default)]
    pub vars: BTreeMap<String, RawVar>,
    /// Files that are composed before the partitions.
    #[serde(default)]
    pub artifact: Vec<RawArtifact>,
    /// Raw bytes outside the partitions: boot loaders.
    #[serde(default)]
    pub blob: Vec<RawBlob>,
    /// Bytes that boot loaders write while they run; nothing else may be there.
    #[serde(default)]
    pub environment: Vec<RawEnvironment>,
    /// Files that the user brings, since nothing builds them.
    #[serde(default)]
    pub supplied: Vec<RawSupplied>,
    /// Partitions, in the order they have on the medium.
    pub partition: Vec<RawPartition>,
}

/// `[[environment]]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "environment")]
pub struct RawEnvironment {
    /// Name for messages.
    pub name: String,
    /// First byte on the medium.
    pub offset: ByteSize,
    /// Length.
    pub size: ByteSize,
}

/// `[[supplied]]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "supplied")]
pub struct RawSupplied {
    /// Name for messages.
    pub name: String,
    /// Files and directories of the images directory, a directory for all below it.
    pub files: Vec<String>,
    /// Origin of the files, as advice to the user.
    pub hint: String,
}

/// `[table]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "table")]
pub struct RawTable {
    /// `mbr`, `gpt`, or `none` for one filesystem or archive that is the whole output.
    pub kind: TableKind,
    /// Partitions without `start` begin at multiples of this; 1 MiB without it.
    pub align: Option<ByteSize>,
    /// Logical sector size of the medium: 512 (without it) or 4096.
    pub sector_size: Option<u32>,
    /// Number of GPT entries; 128 without it. Fewer leave room for a boot loader behind them.
    pub entries: Option<u32>,
    /// Numbers of GPT partitions that a hybrid MBR lists too.
    #[serde(default)]
    pub hybrid_mbr: Vec<u32>,
}

/// A word or the words of one architecture.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "var")]
pub enum RawVar {
    /// For every architecture.
    Text(String),
    /// For the architecture the table is named after.
    PerArch(BTreeMap<String, String>),
}

/// `[[artifact]]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "artifact")]
pub struct RawArtifact {
    /// Name, by which `artifact` and `from` mean it.
    pub name: String,
    /// `squashfs`, `cpio`, `ext4`, `fat32`, `uboot-ramdisk`, `uboot-script`, `text`, `grub-boot` or `grub-core`.
    pub format: RawFormat,
    /// Only for this architecture, or these.
    #[serde(default)]
    pub arch: ForArch,
    /// `only` on a medium with slots, or `never` on one; both without it.
    #[serde(default)]
    pub slots: InSlots,
    /// squashfs: directory of the root filesystem that it is made of.
    pub subtree: Option<String>,
    /// squashfs: the directory leaves the root filesystem, where an empty one stays as mount point.
    pub take: Option<bool>,
    /// squashfs: path, from the directory on, of a file without which it is of no use; a `*` stands for any characters.
    pub holds: Option<String>,
    /// squashfs: layer of SkiffOS whose `hooks/pre.sh` moves the same files into an image of its own; `compile` leaves that
    /// hook out.
    pub instead_of: Option<String>,
    /// squashfs: compressor and level, such as `zstd:15`, `xz:6+arm` or `lz4`.
    pub codec: Option<String>,
    /// squashfs: size of data blocks, a power of two from 4 KiB to 1 MiB.
    pub block: Option<ByteSize>,
    /// cpio: compression: `none`, `gzip`, `xz`, `zstd`, `lz4`.
    pub compression: Option<String>,
    /// ext4, fat32: volume label.
    pub label: Option<String>,
    /// ext4, fat32: length.
    pub size: Option<ByteSize>,
    /// cpio, ext4, fat32: what is put in it; a cpio without it holds the root filesystem.
    pub file: Option<Vec<RawPlace>>,
    /// uboot-*: name of the artifact inside, which stands above this one.
    pub from: Option<String>,
    /// uboot-*: name in the header, at most 32 bytes.
    pub title: Option<String>,
    /// text: reader of the text, whose limits it has to keep.
    pub rules: Option<TextRules>,
    /// text: the text, with variables as `@{name}`.
    pub template: Option<String>,
    /// text: files of layers that replace the template.
    pub layer_files: Option<Vec<String>>,
    /// grub-*: directory of the images directory with the files of GRUB's build.
    pub directory: Option<String>,
    /// grub-core: modules, without those that they need.
    pub modules: Option<Vec<String>>,
    /// grub-core: device and directory in which GRUB looks for `grub.cfg` and modules.
    pub prefix: Option<String>,
    /// grub-core: commands that run before `grub.cfg`.
    pub config: Option<String>,
}

/// `format` of an artifact.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "format")]
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
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "blob")]
pub struct RawBlob {
    /// Name for messages and the manifest.
    pub name: String,
    /// Files of the images directory; the first that exists is written.
    pub files: Option<Vec<String>>,
    /// Instead of `files`, the name of an artifact.
    pub artifact: Option<String>,
    /// Byte of the medium that it starts at.
    pub offset: ByteSize,
    /// First byte of the file that is written; 0 without it.
    pub from: Option<ByteSize>,
    /// Bytes there are for it on the medium: a longer file is refused.
    pub limit: Option<ByteSize>,
    /// Bytes that are written at most: the rest of a longer file is left out.
    pub length: Option<ByteSize>,
    /// Ranges `[start, end)` of the medium that it leaves alone.
    #[serde(default)]
    pub skip: Vec<(ByteSize, ByteSize)>,
    /// Bytes that the file must have: another file is refused, and rules know the blob by them.
    pub magic: Option<RawMagic>,
    /// Advice to the user when the file is missing.
    pub hint: Option<String>,
    /// The board starts without it too.
    #[serde(default)]
    pub optional: bool,
    /// Scope of an update; nothing without it.
    pub update: Option<Update>,
}

/// `magic` of a blob: text or hexadecimal bytes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "magic")]
pub struct RawMagic {
    /// Byte of the file at which they stand; 0 without it.
    #[serde(default)]
    pub at: ByteSize,
    /// The bytes as text.
    pub text: Option<String>,
    /// The bytes as hexadecimal digits.
    pub hex: Option<String>,
}

/// `[[partition]]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "partition")]
pub struct RawPartition {
    /// Name for messages and the manifest; in a GPT that of the entry.
    pub name: String,
    /// Number in the table; without it the position in the descriptor, from 1.
    pub number: Option<u32>,
    /// First byte on the medium; without it the next multiple of `align`.
    pub start: Option<ByteSize>,
    /// A size; `fit`, what the content needs; or `rest`, all that is left, for the last partition.
    #[schemars(with = "PartitionSize")]
    pub size: String,
    /// Size `fit`: free space on top of the content.
    pub slack: Option<ByteSize>,
    /// Size `rest`: the least length, which it has in an image without `--size`. Such a partition needs it.
    pub minimum: Option<ByteSize>,
    /// MBR: type byte; without it that of the filesystem. GPT: a GUID or `esp`, `linux` (without it) or `basic-data`; a
    /// FAT on a GPT is `esp` for UEFI, else `basic-data`.
    #[serde(rename = "type")]
    pub kind: Option<RawType>,
    /// MBR: the boot flag.
    #[serde(default)]
    pub active: bool,
    /// GPT: attribute bits; 4 is legacy BIOS bootable, which U-Boot looks for.
    #[serde(default)]
    pub attributes: u64,
    /// `fat16`, `fat32`, `ext4`, `squashfs`, `raw`, `tar`, `oci` or `none`.
    pub filesystem: RawFilesystem,
    /// fat16, fat32, ext4: volume label, which they need: the running system finds them by it.
    pub label: Option<String>,
    /// squashfs: compressor and level, such as `zstd:15`, `xz:6+arm` or `lz4`.
    pub codec: Option<String>,
    /// squashfs: size of data blocks, a power of two from 4 KiB to 1 MiB.
    pub block: Option<ByteSize>,
    /// Scope of an update; without it the files if any is sure to be there, else nothing.
    pub update: Option<Update>,
    /// raw: file of the images directory, or several of which the first that exists is taken.
    pub image: Option<OneOrMany>,
    /// raw: the file may be missing.
    #[serde(default)]
    pub optional: bool,
    /// tar: of the whole archive; oci: of the layer.
    pub compression: Option<String>,
    /// oci: name and configuration of the image.
    pub oci: Option<Oci>,
    /// fat16, fat32, ext4, tar, oci: what is put on it.
    #[serde(default)]
    pub file: Vec<RawPlace>,
}

/// `type` of a partition.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "type")]
pub enum RawType {
    /// MBR type byte.
    Byte(u8),
    /// GPT type by name or GUID.
    Name(String),
}

/// `filesystem` of a partition.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "filesystem")]
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
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "file", extend("oneOf" = one_source()))]
pub struct RawPlace {
    /// Only for this architecture, or these.
    #[serde(default)]
    pub arch: ForArch,
    /// Partitions: `system` is in each slot, on a medium that has them; `only` and `never` are as in artifacts.
    #[serde(default)]
    pub slots: InSlots,
    /// Name in a slot, in small letters; without it the last part of `to`.
    pub slot_name: Option<String>,
    /// File of the images directory, or several of which the first that exists is taken. A `*` in the name takes all that
    /// fit. A device tree that the `.config` of the build does not name is left from another build, and refused.
    pub image: Option<OneOrMany>,
    /// Directory of the images directory, with all below it.
    pub tree: Option<String>,
    /// Name of an artifact.
    pub artifact: Option<String>,
    /// Path of an empty directory that is made.
    pub directory: Option<String>,
    /// Path of the root filesystem, with all below it.
    pub root: Option<String>,
    /// Text of a small file, with variables.
    pub text: Option<String>,
    /// Target of a symbolic link, with variables.
    pub link: Option<String>,
    /// Path on the partition; without it the name of the file in the root directory.
    pub to: Option<String>,
    /// Permissions in octal digits, up to 7777.
    #[schemars(regex(pattern = r"^[0-7]{1,4}$"))]
    pub mode: Option<String>,
    /// tree, root: paths below it that are left out.
    pub exclude: Option<Vec<String>>,
    /// May be missing.
    #[serde(default)]
    pub optional: bool,
    /// `keep`: written when the medium is made, and left alone by updates.
    pub update: Option<RawKeep>,
}

/// `update` of a placed file.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "keep")]
pub enum RawKeep {
    /// Written when the medium is made, left alone by updates.
    Keep,
}

/// One text or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "one-or-many")]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several, the first that exists wins.
    Many(Vec<String>),
}
