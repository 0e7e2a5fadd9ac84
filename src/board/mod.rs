//! Boards as data: a TOML descriptor says how a medium for a board is laid out and what is on it.
//!
//! [`raw`] is exactly the TOML; [`Board`] is the same thing checked and with every default filled in, so that
//! the rest of the crate never meets a descriptor that makes no sense. Quirks are fields (`offset`, `skip`,
//! `magic`), never code.

mod check;
mod choice;
mod error;
mod family;
mod filesystem;
mod placement;
mod proof;
pub mod raw;
mod recipe;
mod refusal;
mod registry;
mod rules;
mod schema;
mod slots;
mod start;

pub use crate::fs::oci::Oci;
pub use error::BoardError;
pub use family::{DescriptorSource, Families, NoFamilies};
pub use filesystem::{Filesystem, FilesystemKind};
pub use placement::{ContentSource, FilePlacement};
pub use proof::{ParseProofError, Proof};
pub use recipe::{Artifact, ArtifactFormat, Recipe, TextRules};
pub use refusal::Refusal;
pub use registry::Registry;
pub use rules::{
    ALWAYS, BlobSelector, Check, LoaderConsole, PartitionSelector, Rule, RuleSet, Severity, SocOffsets,
};
pub use schema::schema;
pub use slots::{InSlots, SLOTS, STATES, SlotLoader, Slots, SlotsError};
pub use start::{StartError, start};

use serde::Serialize;
use uuid::Uuid;

use crate::value::{Arch, ByteSize};

/// A board that can be composed for: valid by construction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Board {
    /// Name: `namespace/name`.
    pub name: String,
    /// Family it extends.
    pub extends: Option<String>,
    /// One line for `boards list`.
    pub description: String,
    /// Proven properties, in words.
    pub status: String,
    /// Levels of proof that the project's tests hold the board to.
    pub proof: Vec<Proof>,
    /// Architectures the descriptor covers; the first is the default.
    pub arch: Vec<Arch>,
    /// System on a chip, as its maker writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soc: Option<String>,
    /// Place of the root filesystem while the system runs.
    pub root: RootStyle,
    /// Ways of having two systems on a medium.
    #[serde(skip)]
    pub slots: Vec<Slots>,
    /// Name of the partition that keeps what users and the running system write, if there is one.
    pub persist: Option<String>,
    /// Partition table.
    pub table: TableKind,
    /// Entries in a GPT (128 unless a blob needs the room).
    pub gpt_entries: u32,
    /// Numbers of GPT partitions that a hybrid MBR lists too.
    pub hybrid_mbr: Vec<u32>,
    /// Logical sector size in bytes of the media this board boots from.
    pub sector_size: u32,
    /// Partitions start at multiples of this.
    pub align: ByteSize,
    /// Smallest medium that makes sense.
    pub minimum_medium: ByteSize,
    /// Words for boot texts, with the architecture they are for (all if none).
    pub vars: Vec<Var>,
    /// Files composed before the partitions.
    pub artifacts: Vec<Artifact>,
    /// Raw bytes outside the partitions, in the order they are written.
    pub blobs: Vec<Blob>,
    /// Regions in which boot loaders save something while they run.
    pub environments: Vec<Environment>,
    /// Files that the user brings.
    pub supplied: Vec<Supplied>,
    /// Rules for the layout, those of every board first.
    #[serde(serialize_with = "rule_set_names")]
    pub rules: Vec<RuleSet>,
    /// Partitions in the order they have on the disk.
    pub partitions: Vec<Partition>,
}

fn rule_set_names<S: serde::Serializer>(sets: &[RuleSet], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(sets.iter().map(|set| &set.name))
}

/// Files that the user brings, since nothing builds them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Supplied {
    /// Name for messages.
    pub name: String,
    /// Files and directories of the images directory; a directory for all below it.
    pub files: Vec<String>,
    /// Their origin, as advice to the user.
    pub hint: String,
}

/// Bytes of the medium that a boot loader writes while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// Name for messages.
    pub name: String,
    /// First byte.
    pub offset: ByteSize,
    /// Length.
    pub size: ByteSize,
}

/// Place of the root filesystem while the system runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "root")]
pub enum RootStyle {
    /// In memory: the whole system is the initramfs.
    Initramfs,
    /// In a squashfs on an ext4 that the kernel mounts first.
    SquashfsOnExt4,
    /// In a squashfs on the FAT the board boots from, which the kernel mounts first.
    SquashfsOnFat,
    /// In a squashfs that a small initramfs mounts.
    InitrdThenSquashfs,
    /// The output boots nothing by itself, as a container image does not.
    None,
}

impl std::fmt::Display for RootStyle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RootStyle::Initramfs => "initramfs",
            RootStyle::SquashfsOnExt4 => "squashfs on ext4",
            RootStyle::SquashfsOnFat => "squashfs on FAT",
            RootStyle::InitrdThenSquashfs => "initrd, then squashfs",
            RootStyle::None => "boots nothing by itself",
        })
    }
}

/// Scope of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "update")]
pub enum Update {
    /// The files the board puts there, but for those it says to keep.
    Files,
    /// All of it.
    Whole,
    /// Nothing.
    Never,
}

/// Kind of partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "table-kind")]
pub enum TableKind {
    /// Master boot record.
    Mbr,
    /// GUID partition table with a protective (or hybrid) MBR.
    Gpt,
    /// No table: one partition is the whole output, an archive or the image of an existing partition.
    None,
}

impl std::fmt::Display for TableKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TableKind::Mbr => "MBR",
            TableKind::Gpt => "GPT",
            TableKind::None => "none",
        })
    }
}

/// A word that boot texts can name as `@{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Var {
    /// Only for this architecture.
    pub arch: Option<Arch>,
    /// Name without the braces.
    pub name: String,
    /// Text put in its place.
    pub value: String,
}

/// Raw bytes written outside the partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Blob {
    /// Name for messages and the manifest.
    pub name: String,
    /// Source of its bytes.
    pub source: BlobSource,
    /// Offset of the first byte.
    pub offset: ByteSize,
    /// First byte of the file that is written.
    pub from: ByteSize,
    /// Bytes there are for it.
    pub limit: Option<ByteSize>,
    /// Bytes that are written at most; the rest of the file is left out on purpose.
    pub length: Option<ByteSize>,
    /// Ranges of the disk that the blob leaves alone.
    pub skip: Vec<(ByteSize, ByteSize)>,
    /// Bytes the file must contain, so that the wrong file is not written.
    pub magic: Option<Magic>,
    /// Advice if it is missing.
    pub hint: Option<String>,
    /// The board boots without it too.
    pub optional: bool,
    /// Scope of an update.
    pub update: Update,
}

/// Source of the bytes of a [`Blob`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobSource {
    /// The first of these that exists in the images directory.
    Images(Vec<String>),
    /// A composed artifact.
    Artifact(String),
}

/// Bytes that identify a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Magic {
    /// Offset in the file.
    pub at: ByteSize,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A partition of the board's medium.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Partition {
    /// Number in the table, from 1; need not follow the order on the disk.
    pub number: u32,
    /// Name for messages, the manifest and the GPT.
    pub name: String,
    /// First byte; the next aligned one behind the previous partition if not given.
    pub start: Option<ByteSize>,
    /// Length.
    pub size: Size,
    /// Type byte of an MBR entry.
    pub mbr_type: u8,
    /// Boot flag of an MBR entry.
    pub active: bool,
    /// Type GUID of a GPT entry.
    pub type_guid: Uuid,
    /// Attribute bits of a GPT entry.
    pub attributes: u64,
    /// Format.
    pub filesystem: Filesystem,
    /// Scope of an update.
    pub update: Update,
    /// Files that are put on it.
    pub files: Vec<FilePlacement>,
}

/// Length of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// This many bytes.
    Exact(ByteSize),
    /// The need of the content and this much free space.
    Fit {
        /// Free space on top of the content.
        slack: ByteSize,
    },
    /// All that is left; at least this much when a disk image has no stated size.
    Rest {
        /// Length in an image of minimal size.
        minimum: ByteSize,
    },
}

impl Board {
    /// The entry for one of `files`, if the user brings it.
    pub fn supplied_by(&self, files: &[String]) -> Option<&Supplied> {
        let covers = |place: &String, file: &String| {
            file.strip_prefix(place.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.supplied
            .iter()
            .find(|supplied| supplied.files.iter().any(|place| files.iter().any(|file| covers(place, file))))
    }

    /// Artifacts that a hook of a layer of SkiffOS would take the files of, with the name of that layer.
    pub fn instead_of(&self) -> impl Iterator<Item = (&Artifact, &str)> {
        self.artifacts.iter().filter_map(|artifact| match &artifact.recipe {
            Recipe::Squashfs { instead_of, .. } => Some((artifact, instead_of.as_deref()?)),
            _ => None,
        })
    }

    /// The variables for one architecture; a specific one wins over a general one of the same name.
    pub fn vars_for(&self, arch: Arch) -> std::collections::BTreeMap<String, String> {
        let general = self.vars.iter().filter(|var| var.arch.is_none());
        let specific = self.vars.iter().filter(|var| var.arch == Some(arch));
        general.chain(specific).map(|var| (var.name.clone(), var.value.clone())).collect()
    }
}
