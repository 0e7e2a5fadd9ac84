//! Implementation of each [`Check`]. A check gives what it found wrong, as clauses with both numbers.

mod blob;
mod blob_at;
mod console;
mod filesystem;
mod partition;
mod place;
mod root;
mod table;

use super::medium::{PlannedBlob, PlannedMedium, PlannedVolume};
use crate::board::{Blob, BlobSelector, Check, Partition, PartitionSelector, TableKind};
use crate::value::to_hex;

/// Violation of a rule by a layout.
pub(super) struct Violation {
    /// As a clause with both numbers.
    pub(super) found: String,
    /// Advice, where the check knows it better than its rule.
    pub(super) hint: Option<String>,
}

impl From<String> for Violation {
    fn from(found: String) -> Violation {
        Violation { found, hint: None }
    }
}

/// Returns the violations of one check.
pub(super) fn violations(check: &Check, medium: &PlannedMedium<'_>) -> Vec<Violation> {
    match check {
        Check::BlobAt { blob, offset, soc, magic_at, required } => {
            let place = blob_at::Place { blob, offsets: offset, of_socs: soc, magic_at: *magic_at };
            place.violations(medium, *required)
        }
        other => clauses(other, medium).into_iter().map(Violation::from).collect(),
    }
}

fn clauses(check: &Check, medium: &PlannedMedium<'_>) -> Vec<String> {
    match check {
        Check::BlobAt { .. } => Vec::new(),
        Check::BlobEndsBy { blob, byte } => blob::ends_by(medium, blob, *byte),
        Check::BlobsAligned { to } => blob::aligned(medium, *to),
        Check::BlobsApart {} => blob::apart(medium),
        Check::BytesKept { first, end } => blob::keep(medium, first.0..end.0),
        Check::ByteWritten { at } => blob::write(medium, *at),
        Check::GptClearOfBlobs {} => table::gpt_clear_of_blobs(medium),
        Check::Table { kind } => table::kind(medium, kind),
        Check::SectorSize { bytes } => table::sector_size(medium, bytes),
        Check::EnvironmentApart {} => table::environment_apart(medium),
        Check::MinimumMedium {} => table::minimum_medium(medium),
        Check::FatClusters {} => filesystem::fat_clusters(medium),
        Check::Ext4Blocks { bytes } => filesystem::ext4_blocks(medium, *bytes),
        Check::Ext4Features { without } => filesystem::ext4_features(medium, without),
        Check::PartitionExists { partition } => partition::exists(medium, partition),
        Check::PartitionFormat { partition, filesystem } => partition::format(medium, partition, filesystem),
        Check::PartitionNumber { partition, number } => partition::number(medium, partition, *number),
        Check::PartitionType { partition, guid } => partition::guid(medium, partition, *guid),
        Check::MbrListsFat { types } => partition::mbr_lists_fat(medium, types),
        Check::Growable { partition, mbr, gpt } => partition::growable(medium, partition, *mbr, *gpt),
        Check::NumberedLast { partition } => partition::numbered_last(medium, partition),
        Check::Placed { on, files } => place::placed(medium, on, files),
        Check::PlacedForArch { on, file } => {
            let file = file.get(&medium.arch).cloned();
            place::placed(medium, on, file.as_slice())
        }
        Check::OnBootable { files } => place::on_bootable(medium, files),
        Check::NamedPlaced { text, keys, suffix } => place::named(medium, *text, keys, suffix.as_deref()),
        Check::DefaultPlaced { text, key, file } => place::default(medium, *text, key, file),
        Check::Console { loader } => console::agrees(medium, loader),
        Check::CommandLine {} => root::command_line(medium),
        Check::RootFiles { root, filesystem, files } => root::files(medium, *root, filesystem, files),
        Check::InitPlaced { root } => root::init(medium, root),
        Check::VersionInName { kernel, word } => place::version_in_name(medium, kernel, word),
    }
}

impl BlobSelector {
    fn select<'m, 'a>(&'m self, medium: &'m PlannedMedium<'a>) -> impl Iterator<Item = &'m PlannedBlob<'a>> {
        medium.blobs.iter().filter(move |written| self.matches(written.blob))
    }

    fn matches(&self, blob: &Blob) -> bool {
        let magic = || blob.magic.as_ref().map(|magic| magic.bytes.as_slice());
        match self {
            BlobSelector::Magic(text) => magic() == Some(text.as_bytes()),
            BlobSelector::Hex(digits) => magic().is_some_and(|bytes| to_hex(bytes).starts_with(digits)),
            BlobSelector::Name(names) => names.contains(&blob.name),
        }
    }

    /// Name in messages.
    fn describe(&self) -> String {
        match self {
            BlobSelector::Magic(text) => format!("with the magic `{text}`"),
            BlobSelector::Hex(digits) => format!("with the magic {digits}"),
            BlobSelector::Name(names) => format!("named {}", quoted(names)),
        }
    }
}

impl PartitionSelector {
    fn select<'m, 'a>(&self, medium: &'m PlannedMedium<'a>) -> Vec<&'m PlannedVolume<'a>> {
        let first_fat = medium.volumes.iter().filter(|volume| volume.folds_case());
        let first_fat = first_fat.map(|volume| volume.partition.number).min();
        let matches = |partition: &Partition| match self {
            PartitionSelector::Type { gpt, mbr } => match medium.board.table {
                TableKind::Gpt => partition.type_guid == *gpt,
                _ => partition.mbr_type == *mbr,
            },
            PartitionSelector::Active {} => medium.board.table == TableKind::Mbr && partition.active,
            PartitionSelector::FirstFat {} => Some(partition.number) == first_fat,
            PartitionSelector::Label(label) => partition.filesystem.label() == Some(label),
            PartitionSelector::Name(name) => partition.name == *name,
        };
        medium.volumes.iter().filter(|volume| matches(volume.partition)).collect()
    }

    /// Name in messages.
    fn describe(&self) -> String {
        match self {
            PartitionSelector::Type { gpt, mbr } => format!("of type {gpt} (in an MBR {mbr:#04x})"),
            PartitionSelector::Active {} => "that is active".into(),
            PartitionSelector::FirstFat {} => "with a FAT".into(),
            PartitionSelector::Label(label) => format!("with the label `{label}`"),
            PartitionSelector::Name(name) => format!("named `{name}`"),
        }
    }
}

/// Names in back-ticks, all of them.
fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Names in back-ticks, as alternatives.
fn quoted(names: &[impl std::fmt::Display]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}
