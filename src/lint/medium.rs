//! Subject of rules: a layout with its numbers, of a descriptor alone or of a plan with its contents.

use std::collections::BTreeMap;
use std::ops::Range;

use super::ext4::Ext4;
use super::files::PartitionFiles;
use super::text::BootText;
use crate::board::{Blob, Board, Filesystem, FilesystemKind, Partition, Recipe, Size, TableKind};
use crate::error::Result;
use crate::fs::fat;
use crate::plan::{Layout, PlacedBlob, PlacedPartition, Placement, place};
use crate::stage::{PartitionTree, Staged, TemplateVariables};
use crate::tree::{Stat, Tree};
use crate::value::Arch;

/// A medium as it is laid out, before a byte of it is written.
#[derive(Clone, Debug)]
pub struct PlannedMedium<'a> {
    /// The board, with its words filled in.
    pub board: &'a Board,
    /// The architecture.
    pub arch: Arch,
    /// Length in bytes.
    pub len: u64,
    /// The partitions in the order of the descriptor.
    pub volumes: Vec<PlannedVolume<'a>>,
    /// Filesystem images that are files of the output.
    pub images: Vec<FilesystemImage>,
    /// The blobs that are written.
    pub blobs: Vec<PlannedBlob<'a>>,
    /// The boot texts.
    pub texts: Vec<BootText>,
    /// Least length of a medium for the layout, where its contents do not decide over that.
    pub least: Option<u64>,
}

/// A partition and what is on it.
#[derive(Clone, Debug)]
pub struct PlannedVolume<'a> {
    /// The partition.
    pub partition: &'a Partition,
    /// Its bytes on the medium.
    pub range: Range<u64>,
    /// Its files.
    pub files: PartitionFiles,
    /// Features of an ext4 on it.
    pub ext4: Option<Ext4>,
}

/// A composed artifact that is a filesystem.
#[derive(Clone, Debug)]
pub struct FilesystemImage {
    /// Its kind.
    pub format: FilesystemKind,
    /// Its files.
    pub files: PartitionFiles,
}

/// A blob and the bytes of the medium that it writes.
#[derive(Clone, Debug)]
pub struct PlannedBlob<'a> {
    /// The blob.
    pub blob: &'a Blob,
    /// Ranges in rising order, without what is skipped.
    pub pieces: Vec<Range<u64>>,
    /// True if the end of the last range is known: a descriptor without limit leaves it to the file.
    pub bounded: bool,
}

/// Staged files of each partition, and boot texts.
#[derive(Clone, Debug)]
pub struct StagedContents {
    /// By the number of the partition.
    volumes: BTreeMap<u32, StagedVolume>,
    texts: Vec<BootText>,
}

#[derive(Clone, Debug)]
struct StagedVolume {
    files: PartitionFiles,
    /// Properties of the ext4 that a raw partition holds, if it does.
    ext4: Option<Ext4>,
}

impl StagedContents {
    /// Looks at what is staged for `board`.
    pub fn from_staged(board: &Board, arch: Arch, staged: &Staged) -> Result<StagedContents> {
        let mut volumes = BTreeMap::new();
        for partition in &board.partitions {
            let PartitionTree { tree, raw, .. } = &staged.partitions[&partition.number];
            let ext4 = match raw {
                Some((_, content)) => Ext4::from_content(content)?,
                None => None,
            };
            let files = PartitionFiles::from_tree(tree, &partition.files, arch);
            volumes.insert(partition.number, StagedVolume { files, ext4 });
        }
        let mut texts = Vec::new();
        for (name, rules, _) in text_artifacts(board, arch) {
            let bytes = staged.artifacts.content(name)?.read_all()?;
            texts.push(BootText::new(board, name, rules, String::from_utf8_lossy(&bytes).into_owned()));
        }
        Ok(StagedContents { volumes, texts })
    }
}

impl<'a> PlannedMedium<'a> {
    /// The layout of a descriptor on a medium of `len` bytes, or on the least: filesystems are empty, and what has
    /// the length of its content is as short as it can be. The variables of `board` are filled in.
    pub fn for_board(
        board: &'a Board,
        arch: Arch,
        variables: &TemplateVariables,
        len: Option<u64>,
    ) -> Result<PlannedMedium<'a>> {
        let sizes = board.partitions.iter().map(|partition| empty_size(board, partition));
        let sizes = sizes.collect::<Result<BTreeMap<u32, u64>>>()?;
        let least = place(board, &sizes, None)?.disk_len;
        let Placement { partitions, disk_len } = place(board, &sizes, len)?;
        let volume = |placed: &PlacedPartition<'a>| {
            PlannedVolume::new(placed, PartitionFiles::from_places(&placed.partition.files, arch))
        };
        let volumes = partitions.iter().map(volume).collect();
        let mut texts = Vec::new();
        for (name, rules, template) in text_artifacts(board, arch) {
            let text = variables.render(&format!("artifact `{name}`"), template)?;
            texts.push(BootText::new(board, name, rules, text));
        }
        let blobs = board.blobs.iter().map(PlannedBlob::from_descriptor).collect();
        let images = images(board, arch);
        Ok(PlannedMedium { board, arch, len: disk_len, volumes, images, blobs, texts, least: Some(least) })
    }

    /// The layout of a plan.
    pub fn for_layout(arch: Arch, mut contents: StagedContents, layout: &Layout<'a>) -> PlannedMedium<'a> {
        let mut volumes = Vec::new();
        for placed in &layout.partitions {
            let number = placed.partition.number;
            let StagedVolume { files, ext4 } =
                contents.volumes.remove(&number).expect("each partition is staged");
            let volume = PlannedVolume::new(placed, files);
            volumes.push(PlannedVolume { ext4: ext4.or(volume.ext4), ..volume });
        }
        let blobs = layout.blobs.iter().filter(|placed| !placed.pieces.is_empty());
        PlannedMedium {
            board: layout.board,
            arch,
            len: layout.geometry.len,
            volumes,
            images: images(layout.board, arch),
            blobs: blobs.map(PlannedBlob::for_plan).collect(),
            texts: contents.texts,
            least: None,
        }
    }

    /// Formats and files of all filesystems, of partitions and of images.
    pub fn filesystems(&self) -> impl Iterator<Item = (FilesystemKind, &PartitionFiles)> {
        let volumes = self.volumes.iter().map(|volume| (volume.kind(), &volume.files));
        volumes.chain(self.images.iter().map(|image| (image.format, &image.files)))
    }

    /// Bytes of the table in front of the partitions, where every tool writes them.
    pub fn front_table(&self) -> Range<u64> {
        let sector = u64::from(self.board.sector_size);
        match self.board.table {
            TableKind::Mbr => 440..512,
            // UEFI 2.10, section 5.3.2: the entries, of 128 bytes each, follow the header in sector 1.
            TableKind::Gpt => sector..2 * sector + u64::from(self.board.gpt_entries) * 128,
            TableKind::None => 0..0,
        }
    }
}

impl<'a> PlannedVolume<'a> {
    fn new(placed: &PlacedPartition<'a>, files: PartitionFiles) -> PlannedVolume<'a> {
        let PlacedPartition { partition, extent } = placed;
        let ext4 = matches!(partition.filesystem, Filesystem::Ext4 { .. }).then(Ext4::ours);
        PlannedVolume { partition, range: extent.start..extent.end(), files, ext4 }
    }

    /// Kind of its filesystem.
    pub fn kind(&self) -> FilesystemKind {
        self.partition.filesystem.kind()
    }

    /// Reports whether names are the same in both cases here.
    pub fn folds_case(&self) -> bool {
        self.kind().is_fat()
    }

    /// Returns whether a file of this path is there, or may be.
    pub fn holds(&self, path: &str) -> bool {
        self.files.hold(path, self.folds_case())
    }
}

impl<'a> PlannedBlob<'a> {
    fn from_descriptor(blob: &'a Blob) -> PlannedBlob<'a> {
        let room = [blob.length, blob.limit].into_iter().flatten().map(|len| len.0).min();
        let end = room.map_or(u64::MAX, |len| blob.offset.0.saturating_add(len));
        let mut pieces: Vec<Range<u64>> = std::iter::once(blob.offset.0..end).collect();
        for (start, end) in &blob.skip {
            pieces = pieces.into_iter().flat_map(|piece| without(piece, start.0..end.0)).collect();
        }
        pieces.retain(|piece| !piece.is_empty());
        PlannedBlob { blob, pieces, bounded: room.is_some() }
    }

    fn for_plan(placed: &PlacedBlob<'a>) -> PlannedBlob<'a> {
        let pieces = placed.pieces.iter().map(|piece| piece.offset..piece.end()).collect();
        PlannedBlob { blob: placed.blob, pieces, bounded: true }
    }

    /// The byte behind the last one that is written, or may be.
    pub fn end(&self) -> u64 {
        self.pieces.last().map_or(self.blob.offset.0, |piece| piece.end)
    }

    /// The first byte in `range` that is written, or may be.
    pub fn first_in(&self, range: &Range<u64>) -> Option<u64> {
        let start = |piece: &Range<u64>| piece.start.max(range.start);
        self.pieces.iter().find(|piece| start(piece) < piece.end.min(range.end)).map(start)
    }

    /// As [`PlannedBlob::first_in`], but a file of unknown length says nothing behind its first sector.
    pub fn surely_in(&self, range: &Range<u64>) -> Option<u64> {
        let sure = if self.bounded { u64::MAX } else { self.blob.offset.0.saturating_add(512) };
        self.first_in(&(range.start..range.end.min(sure).max(range.start)))
    }
}

/// Returns the rest of `piece` without `hole`.
fn without(piece: Range<u64>, hole: Range<u64>) -> [Range<u64>; 2] {
    [
        piece.start..piece.end.min(hole.start).max(piece.start),
        piece.start.max(hole.end).min(piece.end)..piece.end,
    ]
}

fn images(board: &Board, arch: Arch) -> Vec<FilesystemImage> {
    let made = board.artifacts.iter().filter(|artifact| artifact.arch.covers(arch));
    let image = |recipe: &Recipe| {
        let format = match recipe {
            Recipe::Ext4 { .. } => FilesystemKind::Ext4,
            Recipe::Fat32 { .. } => FilesystemKind::Fat32,
            _ => return None,
        };
        Some(FilesystemImage { format, files: PartitionFiles::from_places(recipe.files(), arch) })
    };
    made.filter_map(|artifact| image(&artifact.recipe)).collect()
}

fn text_artifacts(board: &Board, arch: Arch) -> impl Iterator<Item = (&str, crate::board::TextRules, &str)> {
    let made = move |artifact: &&crate::board::Artifact| artifact.arch.covers(arch);
    board.artifacts.iter().filter(made).filter_map(|artifact| match &artifact.recipe {
        Recipe::Text { rules, template, .. } => Some((artifact.name.as_str(), *rules, template.as_str())),
        _ => None,
    })
}

/// Number of a partition and bytes of its filesystem without content.
fn empty_size(board: &Board, partition: &Partition) -> Result<(u32, u64)> {
    let size = match (partition.size, fat_options(board, partition)) {
        (Size::Fit { .. }, Some(options)) => fat::minimum_size(&empty_tree(), &options)?,
        _ => 0,
    };
    Ok((partition.number, size))
}

/// A tree without files.
pub(super) fn empty_tree() -> Tree {
    Tree::new(Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 })
}

/// Options of a FAT on the partition, if it is one.
pub(super) fn fat_options(board: &Board, partition: &Partition) -> Option<fat::Options> {
    let fat_type = match partition.filesystem {
        Filesystem::Fat16 { .. } => fat::FatType::Fat16,
        Filesystem::Fat32 { .. } => fat::FatType::Fat32,
        _ => return None,
    };
    Some(fat::Options {
        fat_type,
        label: String::new(),
        volume_id: 0,
        timestamp: 315_532_800,
        hidden_sectors: 0,
        sector_size: board.sector_size,
        cluster_size: None,
    })
}
