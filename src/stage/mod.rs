//! From the inputs to everything a plan is about: the root tree, the artifacts of the board, the trees of the
//! partitions, the raw blobs. Only [`crate::artifact`] writes, to temporary files; nothing is written to a target.

mod blob;
mod error;
mod initramfs;
mod place;
mod recipe;
mod slots;
mod variables;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use blob::StagedBlob;
pub use error::StageError;
pub use place::PartitionTree;
pub use slots::SlotInputs;
pub use variables::TemplateVariables;

use crate::artifact::Artifacts;
use crate::board::{self, BlobSource, Board, Filesystem, Partition, Recipe};
use crate::buildroot::stale_artifact;
use crate::containers;
use crate::error::Error;
use crate::fs::{ext4, fat, oci, squashfs};
use crate::layer::Layer;
use crate::persist::{ArchiveError, PreSeed, PreSeedError};
use crate::plan::{Ids, Subject};
use crate::rootfs::{Output, RootInputs, RootTree, root_tree};
use crate::tree::scan::HostXattrs;
use crate::tree::{Stat, Tree};
use crate::value::{Arch, ByteSize, Seed, Timestamp};

/// Every ext4 can grow to this while it is mounted: larger than any card.
const GROW_TO: u64 = 1 << 41;

/// Everything that decides what the image is; the same inputs give the same bytes.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The board, with the variables in its names filled in.
    pub board: Board,
    /// Slots of the medium, if it has two.
    pub slots: Option<SlotInputs>,
    /// Values for the variables of boot texts.
    pub variables: TemplateVariables,
    /// Architecture, one of the board's.
    pub arch: Arch,
    /// Resolved chain, lowest precedence first.
    pub layers: Vec<Layer>,
    /// Buildroot output or archive.
    pub output: Output,
    /// Directory with kernel, device trees and boot loaders.
    pub images: PathBuf,
    /// Text that all ids are derived from.
    pub seed: Seed,
    /// Id of the partition that an image without a table goes to.
    pub partuuid: Option<String>,
    /// Time of all timestamps.
    pub timestamp: Timestamp,
    /// Extended attributes that are taken from `target/`.
    pub host_xattrs: HostXattrs,
    /// Settings of a new medium for its first boot.
    pub preseed: PreSeed,
    /// Resources of the work; they do not change the bytes.
    pub resources: squashfs::Resources,
}

/// Contents that a plan places.
#[derive(Debug)]
pub struct Staged {
    /// Rest of the root tree after artifacts took their parts.
    pub root: Tree,
    /// Composed artifacts.
    pub artifacts: Artifacts,
    /// The trees of the partitions of the board, by number.
    pub partitions: BTreeMap<u32, PartitionTree>,
    /// The blobs of the board that there are, by their index in it.
    pub blobs: BTreeMap<usize, StagedBlob>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// Attributes that the images cannot hold, by name.
    pub left_out: Vec<String>,
    /// What is to be said about the configurations of containers.
    pub containers: containers::Remarks,
}

impl Inputs {
    /// The root filesystem with all layers, tables and presets applied, and where each path comes from.
    pub fn root(&self) -> Result<RootTree, Error> {
        root_tree(&RootInputs {
            output: &self.output,
            layers: &self.layers,
            seed: &self.seed,
            epoch: self.timestamp,
            host_xattrs: self.host_xattrs,
        })
    }

    /// Composes the artifacts and gathers what goes where.
    pub fn stage(&self) -> Result<Staged, Error> {
        // Missing parts are reported before anything is composed.
        self.ensure_images()?;
        self.ensure_preseed_has_a_place()?;
        self.ensure_containers_run()?;
        let mut blobs = self.blobs_of_images()?;
        let RootTree { tree: mut root, notes: mut warnings, mut left_out, .. } = self.root()?;
        let persist = self.preseed.tree(&self.seed, self.timestamp)?;
        let containers = containers::on_medium(&root, &persist, &self.preseed.container_images)?;
        warnings.extend(self.read_back_without_second_reader(&root));
        warnings.extend(self.stale_blobs());
        if let Some(slots) = &self.slots {
            warnings.extend(slots.add_to(&mut root, self)?);
        }
        let mut artifacts = Artifacts::default();
        for artifact in &self.board.artifacts {
            if artifact.arch.covers(self.arch) {
                recipe::build(self, artifact, &mut root, &mut artifacts, &mut left_out)?;
            }
        }
        warnings.extend(self.missing_blobs(&blobs));
        blobs.extend(self.blobs_of_artifacts(&artifacts)?);
        let placer = self.placer(&artifacts, &root);
        let mut partitions = BTreeMap::new();
        for partition in &self.board.partitions {
            let placed = placer.partition(partition)?;
            warnings.extend(placed.notes.iter().cloned());
            partitions.insert(partition.number, placed);
        }
        left_out.extend(self.lost_in_partitions(&root, &partitions));
        Ok(Staged { root, artifacts, partitions, blobs, warnings, left_out, containers })
    }

    fn blobs_of_images(&self) -> Result<BTreeMap<usize, StagedBlob>, Error> {
        let mut found = BTreeMap::new();
        for (index, blob) in self.board.blobs.iter().enumerate() {
            let BlobSource::Images(files) = &blob.source else { continue };
            let current: Vec<String> = self.current(files).cloned().collect();
            if let Some(stale) = self.only_stale(files) {
                return Err(stale.into());
            }
            if let Some(staged) = StagedBlob::find(blob, &current, &self.images)? {
                found.insert(index, staged);
            }
        }
        Ok(found)
    }

    /// The candidates that no other configuration left behind.
    fn current<'f>(&self, files: &'f [String]) -> impl Iterator<Item = &'f String> {
        files.iter().filter(|file| stale_artifact(&self.output.config, file).is_none())
    }

    /// The file that would be taken, if all that exist are of another configuration.
    fn only_stale(&self, files: &[String]) -> Option<StageError> {
        let there = |file: &&String| self.images.join(file).is_file();
        match self.current(files).find(there) {
            Some(_) => None,
            None => self.stale(files.iter().find(there)?),
        }
    }

    fn stale(&self, file: &str) -> Option<StageError> {
        let reason = stale_artifact(&self.output.config, file)?;
        Some(StageError::StaleArtifact { path: self.images.join(file), reason, images: self.images.clone() })
    }

    /// A note for each candidate of a blob that is passed over.
    fn stale_blobs(&self) -> Vec<String> {
        let files = self.board.blobs.iter().filter_map(|blob| match &blob.source {
            BlobSource::Images(files) => Some(files),
            BlobSource::Artifact(_) => None,
        });
        let there = files.flatten().filter(|file| self.images.join(file).is_file());
        there.filter_map(|file| self.stale(file)).map(|stale| stale.note()).collect()
    }

    fn ensure_preseed_has_a_place(&self) -> Result<(), PreSeedError> {
        if self.preseed.is_empty() || self.board.persist.is_some() {
            return Ok(());
        }
        Err(PreSeedError::NoPersist { board: self.board.name.clone() })
    }

    /// Fails if an image of a container is for another architecture than the board.
    fn ensure_containers_run(&self) -> Result<(), ArchiveError> {
        let (board, images) = (oci::architecture(self.arch), &self.preseed.container_images);
        images.iter().try_for_each(|image| image.ensure_runs_on(board))
    }

    fn blobs_of_artifacts(&self, artifacts: &Artifacts) -> Result<BTreeMap<usize, StagedBlob>, Error> {
        let mut found = BTreeMap::new();
        for (index, blob) in self.board.blobs.iter().enumerate() {
            if let BlobSource::Artifact(name) = &blob.source {
                found.insert(index, StagedBlob::composed(blob, name, artifacts.content(name)?)?);
            }
        }
        Ok(found)
    }

    /// A note for each blob that the board can do without and that is not there.
    fn missing_blobs(&self, found: &BTreeMap<usize, StagedBlob>) -> Vec<String> {
        let missing = |(index, blob): (usize, &board::Blob)| {
            let absent = matches!(blob.source, BlobSource::Images(_)) && !found.contains_key(&index);
            let hint = blob.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            absent.then(|| format!("blob `{}` is not there and is left out{hint}", blob.name))
        };
        self.board.blobs.iter().enumerate().filter_map(missing).collect()
    }

    /// Things that the filesystems of partitions have no place for; a squashfs holds what is left of the root tree.
    fn lost_in_partitions(&self, root: &Tree, placed: &BTreeMap<u32, PartitionTree>) -> Vec<String> {
        let lost = |partition: &Partition| {
            let tree = placed.get(&partition.number).map(|placed| &placed.tree);
            let losses = match (&partition.filesystem, tree) {
                (Filesystem::Squashfs { .. }, _) => squashfs::losses(root),
                (filesystem, Some(tree)) if filesystem.kind().is_fat() => fat::losses(tree),
                (Filesystem::Ext4 { .. }, Some(tree)) => ext4::losses(tree),
                _ => Vec::new(),
            };
            losses.into_iter().map(|loss| format!("`{}`: {loss}", partition.name)).collect::<Vec<_>>()
        };
        self.board.partitions.iter().flat_map(lost).collect()
    }

    /// A note for whoever wants every squashfs read back.
    fn read_back_without_second_reader(&self, root: &Tree) -> Option<String> {
        let artifact = |artifact: &board::Artifact| matches!(artifact.recipe, Recipe::Squashfs { .. });
        let partition = |partition: &Partition| matches!(partition.filesystem, Filesystem::Squashfs { .. });
        let any = self.board.artifacts.iter().any(artifact) || self.board.partitions.iter().any(partition);
        if !self.resources.verify || !any {
            return None;
        }
        let reason = squashfs::beyond_second_reader(root)?;
        Some(format!("a squashfs of this tree may be read back without the independent reader: {reason}"))
    }

    fn placer<'a>(&'a self, artifacts: &'a Artifacts, root: &'a Tree) -> place::Placer<'a> {
        place::Placer { inputs: self, artifacts, root }
    }

    fn ensure_images(&self) -> Result<(), Error> {
        let none = Artifacts::default();
        let root = Tree::new(Stat { mode: 0o755, uid: 0, gid: 0, mtime: self.timestamp });
        let placer = self.placer(&none, &root);
        let of_arch = |artifact: &&board::Artifact| artifact.arch.covers(self.arch);
        for artifact in self.board.artifacts.iter().filter(of_arch) {
            placer.ensure_present(&format!("artifact `{}`", artifact.name), artifact.recipe.files())?;
        }
        self.board.partitions.iter().try_for_each(|partition| placer.ensure_partition_present(partition))
    }

    /// The ids of the disk and of what is on it.
    pub(crate) fn ids(&self) -> Ids<'_> {
        Ids::new(&self.seed)
            .with_disk_signature(self.variables.disk_signature())
            .keeping(self.variables.known())
    }

    /// The image that is planned.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            board: &self.board,
            arch: self.arch,
            seed: &self.seed,
            timestamp: self.timestamp,
            ids: self.ids(),
            partuuid: self.partuuid.as_deref(),
        }
    }

    /// Options of the squashfs of a partition or artifact.
    pub(crate) fn squashfs_options(&self, codec: squashfs::Codec, block: ByteSize) -> squashfs::Options {
        squashfs::Options { codec, block_size: block.0 as u32, timestamp: self.timestamp, pack_tails: false }
    }

    /// Options of the ext4 of a partition or artifact.
    pub(crate) fn ext4_options(&self, name: &str, label: &str) -> ext4::Options {
        let ids = self.ids();
        ext4::Options {
            label: label.into(),
            uuid: ids.ext4_uuid(name),
            hash_seed: ids.ext4_hash_seed(name),
            timestamp: self.timestamp,
            reserved_percent: 0,
            bytes_per_inode: 16 << 10,
            inodes: 0,
            journal: ext4::Journal::Auto,
            grow_to: GROW_TO,
        }
    }

    /// Options of the FAT of a partition or artifact.
    pub(crate) fn fat_options(&self, name: &str, label: &str, fat_type: fat::FatType) -> fat::Options {
        fat::Options {
            fat_type,
            label: label.into(),
            volume_id: self.ids().fat_serial(name),
            timestamp: self.timestamp,
            // What mkfs.vfat on a partition of an image writes too; nothing that boots these boards reads it.
            hidden_sectors: 0,
            sector_size: self.board.sector_size,
            cluster_size: None,
        }
    }
}
