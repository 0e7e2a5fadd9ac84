//! Sets of rules as data: `boards/rules/NAME.toml`.
//!
//! A rule is a sentence, where it is written, and one check with its numbers. What a check looks at is code; which
//! SoC or loader wants which numbers is not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{BoardError, DescriptorSource, FilesystemKind, RootStyle, TableKind, TextRules};
use crate::value::{Arch, ByteSize};

/// The set that every board has to keep.
pub const ALWAYS: &str = "generic";

/// The rules of one SoC or loader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSet {
    /// Name as in a board's `rules`.
    pub name: String,
    /// The rules in the order of the file.
    pub rules: Vec<Rule>,
}

/// Rule for a layout.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    /// Name within its set.
    pub id: String,
    /// The rule as a sentence.
    pub says: String,
    /// Document that says so.
    pub source: String,
    /// Advice: what to change.
    pub hint: String,
    /// Weight of a violation.
    #[serde(default)]
    pub severity: Severity,
    /// Check that finds violations.
    pub check: Check,
}

/// Weight of a violation of a rule.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It would not boot, or lose data: nothing is composed.
    #[default]
    Error,
    /// It is reported, and the layout is composed.
    Warning,
}

/// Check that finds violations of a rule. Sizes and offsets are bytes of the medium.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Check {
    /// A blob starts at one of these offsets.
    BlobAt {
        /// The blob.
        blob: BlobSelector,
        /// Allowed offsets, whatever the SoC is.
        offset: Vec<ByteSize>,
        /// Further allowed offsets on some of them.
        #[serde(default)]
        soc: Vec<SocOffsets>,
        /// Offset of its `magic` in the file, for hints.
        #[serde(default)]
        magic_at: ByteSize,
        /// True if there must be one.
        #[serde(default)]
        required: bool,
    },
    /// A blob writes nothing from this offset on.
    BlobEndsBy {
        /// The blob.
        blob: BlobSelector,
        /// The first byte that is not its own.
        byte: ByteSize,
    },
    /// Each blob starts at a multiple of this.
    BlobsAligned {
        /// Of which.
        to: ByteSize,
    },
    /// No blob and no room kept for one reaches into another blob or a partition.
    BlobsApart {},
    /// No blob writes any of these bytes.
    BytesKept {
        /// First byte.
        first: ByteSize,
        /// The byte behind the last.
        end: ByteSize,
    },
    /// Some blob writes this byte.
    ByteWritten {
        /// Offset of the byte.
        at: ByteSize,
    },
    /// The header and entries of a GPT, at the place that every tool writes them to, meet no blob.
    GptClearOfBlobs {},
    /// The partition table is of one of these kinds.
    Table {
        /// Allowed kinds.
        kind: Vec<TableKind>,
    },
    /// The logical sectors have one of these sizes.
    SectorSize {
        /// In bytes.
        bytes: Vec<u32>,
    },
    /// Environments of boot loaders meet no partition, blob or table and are on the medium.
    EnvironmentApart {},
    /// The smallest medium that the board names holds its layout.
    MinimumMedium {},
    /// A FAT has as many clusters as its type needs.
    FatClusters {},
    /// ext4 filesystems have blocks of this size.
    Ext4Blocks {
        /// In bytes.
        bytes: u32,
    },
    /// ext4 filesystems have none of these features.
    Ext4Features {
        /// Names as `mke2fs -O` takes them.
        without: Vec<String>,
    },
    /// There is such a partition.
    PartitionExists {
        /// The partition.
        partition: PartitionSelector,
    },
    /// Such partitions are formatted with one of these.
    PartitionFormat {
        /// The partition.
        partition: PartitionSelector,
        /// `fat16`, `fat32`, `ext4`, `squashfs`, `none`...
        filesystem: Vec<FilesystemKind>,
    },
    /// Such a partition, if there is one, has this number.
    PartitionNumber {
        /// The partition.
        partition: PartitionSelector,
        /// Its number.
        number: u32,
    },
    /// Such a partition, if there is one, has this type in a GPT.
    PartitionType {
        /// The partition.
        partition: PartitionSelector,
        /// Its type.
        guid: Uuid,
    },
    /// The MBR, that of a hybrid table too, lists a FAT partition with one of these types, as the first FAT.
    MbrListsFat {
        /// Type bytes.
        types: Vec<u8>,
    },
    /// A partition is the last on the disk, and has a type that tools grow.
    Growable {
        /// The partition.
        partition: PartitionSelector,
        /// Type byte in an MBR.
        mbr: u8,
        /// Type in a GPT.
        gpt: Uuid,
    },
    /// A partition has the highest number of all.
    NumberedLast {
        /// The partition.
        partition: PartitionSelector,
    },
    /// Each of these files is on such a partition.
    Placed {
        /// Partition that holds it.
        on: PartitionSelector,
        /// Paths; a `*` in the last component stands for any characters.
        files: Vec<String>,
    },
    /// The file for the architecture is on such a partition.
    PlacedForArch {
        /// Partition that holds it.
        on: PartitionSelector,
        /// Path by architecture.
        file: BTreeMap<Arch, String>,
    },
    /// If one of these files is anywhere, one is on a partition that is looked at: a bootable one, or the first if
    /// none is.
    OnBootable {
        /// Paths.
        files: Vec<String>,
    },
    /// Files that boot texts of a kind name are placed: with `keys`, the values of these on the partition of the text;
    /// with `suffix`, words that end so on any.
    NamedPlaced {
        /// Kind of text; all if none is given.
        text: Option<TextRules>,
        /// Words at the start of a line, before a blank or `=`.
        #[serde(default)]
        keys: Vec<String>,
        /// End of a file name.
        suffix: Option<String>,
    },
    /// The file that is taken if a boot text of a kind does not set a key is on the partition of the text.
    DefaultPlaced {
        /// Kind of text.
        text: TextRules,
        /// The key.
        key: String,
        /// The file.
        file: String,
    },
    /// Kernel command lines name the port that the boot loader speaks on, at its speed, and no other early console.
    Console {
        /// The loaders, by SoC.
        loader: Vec<LoaderConsole>,
    },
    /// Kernel command lines in boot texts are not longer than the kernel keeps.
    CommandLine {},
    /// A system of this root style has these files on one partition of one of these formats.
    RootFiles {
        /// Systems this is about.
        root: RootStyle,
        /// Formats.
        filesystem: Vec<FilesystemKind>,
        /// Paths; a `*` in the last component stands for any characters.
        files: Vec<String>,
    },
    /// The program that `init=` names on the kernel command line of a system of this root style is placed.
    InitPlaced {
        /// Systems this is about.
        root: Vec<RootStyle>,
    },
    /// If a text names a file by the version of the kernel, which the boot manager takes from the first digit to
    /// the last digit of its name, that file is there.
    VersionInName {
        /// Starts of names of kernels.
        kernel: Vec<String>,
        /// Placeholder of the version in the text.
        word: String,
    },
}

/// Offsets that the boot ROMs of some SoCs look at besides those that all of a family look at.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SocOffsets {
    /// The SoCs, as `soc` of a board names them.
    pub name: Vec<String>,
    /// Allowed offsets of a blob there.
    pub offset: Vec<ByteSize>,
}

/// The serial console of a boot loader.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LoaderConsole {
    /// The SoCs, as `soc` of a board names them; without them all that no other entry names.
    #[serde(default)]
    pub soc: Vec<String>,
    /// Names that the kernel, or the boot loader in its place, has for the port; the first is told.
    pub port: Vec<String>,
    /// Its speed.
    pub baud: u32,
    /// Address of the port in memory, as in `earlycon=`.
    pub earlycon: Option<String>,
}

/// Selection of blobs.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum BlobSelector {
    /// Those whose `magic` is this text.
    Magic(String),
    /// Those whose `magic` begins with these bytes.
    Hex(String),
    /// Those of these names.
    Name(Vec<String>),
}

/// Selection of partitions.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum PartitionSelector {
    /// Of this type in a GPT, or this type byte in an MBR.
    Type {
        /// Type in a GPT.
        gpt: Uuid,
        /// Type byte in an MBR.
        mbr: u8,
    },
    /// With the boot flag of an MBR.
    Active {},
    /// The FAT with the lowest number.
    FirstFat {},
    /// With this volume label.
    Label(String),
    /// With this name.
    Name(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRuleSet {
    rule: Vec<Rule>,
}

impl RuleSet {
    /// Parses a file of rules.
    pub fn parse(name: &str, source: DescriptorSource<'_>) -> Result<RuleSet, BoardError> {
        let raw: RawRuleSet =
            toml::from_str(source.text).map_err(|error| BoardError::toml(source, &error))?;
        Ok(RuleSet { name: name.into(), rules: raw.rule })
    }
}
