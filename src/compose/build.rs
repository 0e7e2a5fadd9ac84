//! From staged contents to a plan: which step has which bytes.

use std::collections::BTreeMap;
use std::fmt;

use super::{Composition, Owned, Payload, archive};
use crate::board::{Board, Filesystem, Partition, Size, TableKind, Update};
use crate::error::{Diagnostic, Error, Result};
use crate::fs::{WrittenFile, ext4, fat, squashfs};
use crate::lint::{self, PlannedMedium};
use crate::plan::{
    Action, Demand, DemandLen, Disk, Extent, Ids, Plan, PlanError, Step, place, reject_overlap,
};
use crate::stage::{Inputs, PartitionTree, Staged, StagedBlob};
use crate::storage::{Geometry, Region, Scratch};
use crate::table::mbr::DISK_SIGNATURE;
use crate::table::{self, PartitionKind, TableBytes, gpt, mbr};
use crate::tree::{Body, Content, Node, NodeId, Tree};
use crate::value::ByteSize;

/// Inodes below the first for files, and `lost+found` (Linux `Documentation/filesystems/ext4/special_inodes.rst`).
const RESERVED_INODES: u64 = 11;
/// Part of the content of a partition that must be free beside two versions of it.
const HEADROOM: u64 = 16;
/// Bytes of sector 0 before the disk signature: boot code (UEFI 2.10, section 5.2.1).
const BOOT_CODE_LEN: u64 = mbr::TABLE_OFFSET;

pub(super) fn composition(inputs: &Inputs, staged: Staged, disk_len: Option<u64>) -> Result<Composition> {
    let contents = lint::StagedContents::from_staged(&inputs.board, inputs.arch, &staged)?;
    let Staged { root, artifacts, partitions, blobs, .. } = staged;
    let owned = Owned::of(&inputs.board, &partitions);
    let mut builder = Builder::new(inputs);
    let payloads = inputs.board.partitions.iter().zip(partitions);
    let payloads = payloads.map(|(partition, tree)| builder.payload(partition, tree, &root));
    let payloads = payloads.collect::<Result<Vec<_>>>()?;
    let (extents, disk_len) = builder.place(&payloads, disk_len)?;
    let geometry = Geometry { len: disk_len, sector_size: inputs.board.sector_size };
    let pieces = builder.blobs(&blobs, &extents)?;
    let medium = PlannedMedium::for_plan(&inputs.board, inputs.arch, contents, &extents, &pieces, disk_len);
    let warnings = lint::refuse(&inputs.board.name, lint::lint(&medium))?;
    builder.table(&extents, &pieces, geometry)?;
    for ((partition, extent), payload) in inputs.board.partitions.iter().zip(&extents).zip(payloads) {
        builder.partition(partition, extent, payload)?;
    }
    Ok(Composition { warnings, owned, ..builder.finish(geometry, artifacts)? })
}

pub(super) struct Builder<'a> {
    inputs: &'a Inputs,
    board: &'a Board,
    ids: Ids<'a>,
    steps: Vec<(Step, Payload)>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(inputs: &'a Inputs) -> Builder<'a> {
        Builder { inputs, board: &inputs.board, ids: inputs.ids(), steps: Vec::new() }
    }

    /// A partition that is there already, whatever fits into it.
    pub(super) fn existing(
        &mut self,
        partition: &Partition,
        extent: &Extent,
        tree: PartitionTree,
        root: &Tree,
    ) -> Result<()> {
        let payload = self.payload(partition, tree, root)?;
        let payload = settle(payload, extent.len, &partition.name, self.resources())?;
        let action = self.action(partition, &payload);
        self.push(&partition.name, (extent.start, extent.len), false, partition.update, action, payload);
        Ok(())
    }

    /// What goes into a partition, before its place is known.
    fn payload(&self, partition: &Partition, placed: PartitionTree, root: &Tree) -> Result<Payload> {
        let PartitionTree { tree, raw, .. } = placed;
        Ok(match &partition.filesystem {
            Filesystem::Fat16 { label } => self.fat(partition, tree, label, fat::FatType::Fat16),
            Filesystem::Fat32 { label } => self.fat(partition, tree, label, fat::FatType::Fat32),
            Filesystem::Ext4 { label } => {
                let mut options = self.inputs.ext4_options(&partition.name, label);
                if partition.update == Update::Files {
                    options.inodes = RESERVED_INODES + 2 * tree.walk().count() as u64;
                }
                Payload::Ext4 { tree, options }
            }
            Filesystem::Squashfs { codec, block } => {
                let options = squashfs::Options {
                    codec: *codec,
                    block_size: block.0 as u32,
                    timestamp: self.inputs.timestamp,
                    pack_tails: false,
                };
                match partition.size {
                    Size::Fit { .. } => compose_squashfs(root, &options, &partition.name, self.resources())?,
                    Size::Exact(_) | Size::Rest { .. } => Payload::Squashfs { tree: root.clone(), options },
                }
            }
            Filesystem::Raw { .. } => match raw {
                Some((file, content)) => Payload::Image { file, content },
                None => Payload::Nothing,
            },
            Filesystem::Tar { compression } => archive::tar(&tree, *compression, &partition.name)?,
            Filesystem::Oci { compression, oci } => {
                archive::oci(self.inputs, &tree, *compression, oci, &partition.name)?
            }
            Filesystem::None => Payload::Nothing,
        })
    }

    fn resources(&self) -> &squashfs::Resources {
        &self.inputs.resources
    }

    fn fat(&self, partition: &Partition, tree: Tree, label: &str, fat_type: fat::FatType) -> Payload {
        let options = self.inputs.fat_options(&partition.name, label, fat_type);
        Payload::Fat { tree, options }
    }

    fn place(&self, payloads: &[Payload], disk_len: Option<u64>) -> Result<(Vec<Extent>, u64)> {
        let mut demands = Vec::new();
        for (partition, payload) in self.board.partitions.iter().zip(payloads) {
            let len = match partition.size {
                Size::Exact(size) => DemandLen::Exact(size.0),
                Size::Rest { minimum } => DemandLen::Rest(minimum.0),
                Size::Fit { slack } => {
                    let need = self.need(partition, payload).map_err(in_partition(partition))? + slack.0;
                    match self.board.table {
                        // Nothing follows that would have to be aligned.
                        TableKind::None => DemandLen::Exact(need),
                        _ => DemandLen::Exact(need.next_multiple_of(self.board.align.0)),
                    }
                }
            };
            demands.push(Demand {
                name: partition.name.clone(),
                start: partition.start.map(|start| start.0),
                len,
            });
        }
        if disk_len.is_some() && self.board.partitions.iter().any(|p| p.filesystem.is_archive()) {
            return Err(PlanError::Archive { board: self.board.name.clone() }.into());
        }
        if let Some(have) = disk_len.filter(|len| *len < self.board.minimum_medium.0) {
            let board = self.board.name.clone();
            return Err(PlanError::DiskTooSmall { board, need: self.board.minimum_medium.0, have }.into());
        }
        Ok(place(self.board, &demands, disk_len)?)
    }

    /// The pieces of all blobs as steps; returns their extents.
    fn blobs(&mut self, blobs: &[(usize, StagedBlob)], partitions: &[Extent]) -> Result<Vec<Extent>> {
        let mut extents = Vec::new();
        for (index, staged) in blobs {
            let (index, blob) = (*index, &self.board.blobs[*index]);
            let pieces = staged.pieces(blob);
            let end = pieces.last().map_or(0, |piece| piece.offset + piece.len);
            self.ensure_blob_fits(index, end, partitions)?;
            for piece in pieces {
                let action =
                    Action::Blob { blob: index, file: staged.file.clone(), from: ByteSize(piece.from) };
                let payload = Payload::Content { content: staged.content.clone(), from: piece.from };
                let range = (piece.offset, piece.len);
                self.push(&blob.name, range, true, blob.update, action, payload);
                extents.push(Extent { name: blob.name.clone(), start: piece.offset, len: piece.len });
            }
        }
        Ok(extents)
    }

    /// A blob ends before its limit, the next blob and the next partition, whichever comes first.
    fn ensure_blob_fits(&self, index: usize, end: u64, partitions: &[Extent]) -> Result<(), PlanError> {
        let blob = &self.board.blobs[index];
        let start = blob.offset.0;
        let limit = blob.limit.map(|limit| (start + limit.0, "its limit".to_owned()));
        let blobs = self.board.blobs.iter().map(|other| (other.offset.0, format!("blob `{}`", other.name)));
        let partitions = partitions.iter().map(|other| (other.start, format!("partition `{}`", other.name)));
        let later = blobs.chain(partitions).filter(|(other, _)| *other > start);
        let Some((stop, neighbour)) = limit.into_iter().chain(later).min_by_key(|(stop, _)| *stop) else {
            return Ok(());
        };
        if end <= stop {
            return Ok(());
        }
        Err(PlanError::BlobTooLarge {
            name: blob.name.clone(),
            need: end - start,
            have: stop - start,
            neighbour,
        })
    }

    fn table(&mut self, extents: &[Extent], blobs: &[Extent], geometry: Geometry) -> Result<()> {
        let partitions: Vec<table::Partition> =
            self.board.partitions.iter().zip(extents).map(|(p, extent)| self.entry(p, extent)).collect();
        let reserved: Vec<_> = blobs.iter().map(|blob| blob.start..blob.end()).collect();
        let pieces = match self.board.table {
            TableKind::None => return Ok(()),
            TableKind::Mbr => mbr::encode(self.ids.disk_signature(), &partitions, geometry)?,
            TableKind::Gpt => {
                let listed = self.board.hybrid_mbr.iter();
                let entry = |number: &u32| {
                    let of_number = |partition: &&Partition| partition.number == *number;
                    let partition = self.board.partitions.iter().find(of_number);
                    let partition = partition.expect("a board has the partitions its hybrid MBR lists");
                    (*number, partition.mbr_type, partition.active)
                };
                let hybrid = gpt::Hybrid { partitions: listed.map(entry).collect(), protective_first: true };
                let options = gpt::Options {
                    disk_guid: self.ids.disk_guid(),
                    entry_count: self.board.gpt_entries,
                    reserved: &reserved,
                    hybrid: (!hybrid.partitions.is_empty()).then_some(&hybrid),
                };
                gpt::encode(&partitions, geometry, &options)?
            }
        };
        for TableBytes { name, offset, bytes } in pieces {
            let (offset, bytes) = below_blobs(offset, bytes, blobs);
            self.table_bytes(&name, offset, bytes);
        }
        self.boot_code(blobs);
        Ok(())
    }

    /// Zeros where no blob has boot code: what an earlier system left there must not run.
    fn boot_code(&mut self, blobs: &[Extent]) {
        let mut free = vec![(0, BOOT_CODE_LEN)];
        for blob in blobs {
            free = free
                .into_iter()
                .flat_map(|(s, e)| [(s, e.min(blob.start)), (s.max(blob.end()), e)])
                .collect();
            free.retain(|(start, end)| start < end);
            free.dedup();
        }
        for (start, end) in free {
            self.table_bytes("boot code", start, vec![0; (end - start) as usize]);
        }
    }

    fn table_bytes(&mut self, name: &str, offset: u64, bytes: Vec<u8>) {
        let range = (offset, bytes.len() as u64);
        self.push(name, range, true, Update::Never, Action::Table, Payload::Bytes(bytes));
    }

    fn entry(&self, partition: &Partition, extent: &Extent) -> table::Partition {
        let kind = match self.board.table {
            TableKind::Mbr => PartitionKind::Mbr { code: partition.mbr_type, active: partition.active },
            TableKind::Gpt | TableKind::None => PartitionKind::Gpt {
                type_guid: partition.type_guid,
                guid: self.ids.partition_guid(&partition.name),
                attributes: partition.attributes,
                name: partition.name.clone(),
            },
        };
        table::Partition {
            number: partition.number,
            name: partition.name.clone(),
            start: extent.start,
            len: extent.len,
            kind,
        }
    }

    fn partition(&mut self, partition: &Partition, extent: &Extent, payload: Payload) -> Result<()> {
        let payload = settle(payload, extent.len, &partition.name, self.resources())
            .map_err(in_partition(partition))?;
        let need = minimum_size(&payload).map_err(in_partition(partition))?;
        if need > extent.len {
            let name = partition.name.clone();
            return Err(PlanError::ContentTooLarge { name, need, have: extent.len }.into());
        }
        let next = self.need(partition, &payload).map_err(in_partition(partition))?;
        if next > extent.len {
            let name = partition.name.clone();
            return Err(PlanError::NoRoomForUpdate { name, need: next, have: extent.len }.into());
        }
        ensure_layout(&payload, extent.len).map_err(in_partition(partition))?;
        let action = self.action(partition, &payload);
        let range = (extent.start, extent.len);
        self.push(&partition.name, range, false, partition.update, action, payload);
        Ok(())
    }

    /// Least bytes of a partition over time: where an update writes the next files before it removes the present
    /// ones, both have to fit, with their inodes or clusters, and headroom, because the next are rarely smaller.
    fn need(&self, partition: &Partition, payload: &Payload) -> Result<u64> {
        let now = minimum_size(payload)?;
        let (twice, content) = match payload {
            _ if partition.update != Update::Files => return Ok(now),
            Payload::Fat { tree, options } => (fat::minimum_size(&twice(tree), options)?, extent_of(tree).1),
            Payload::Ext4 { tree, options } => {
                (ext4::minimum_size(&twice(tree), options)?, extent_of(tree).1)
            }
            _ => return Ok(now),
        };
        Ok(now.max(twice + content / HEADROOM))
    }

    fn action(&self, partition: &Partition, payload: &Payload) -> Action {
        let number = partition.number;
        let (filesystem, label, id, tree) = match payload {
            Payload::Fat { tree, options } => {
                let kind = if options.fat_type == fat::FatType::Fat16 { "fat16" } else { "fat32" };
                let id = self.ids.fat_serial_text(&partition.name);
                (kind, options.label.clone(), id, Some(tree))
            }
            Payload::Ext4 { tree, options } => {
                ("ext4", options.label.clone(), options.uuid.to_string(), Some(tree))
            }
            Payload::Squashfs { tree, options } => {
                ("squashfs", String::new(), options.codec.to_string(), Some(tree))
            }
            Payload::Composed { kind, .. } => (*kind, String::new(), String::new(), None),
            Payload::Image { file, .. } => return Action::Image { number, file: file.clone() },
            Payload::Bytes(_) | Payload::Content { .. } | Payload::Nothing => {
                return Action::Unformatted { number };
            }
        };
        let (nodes, content) = match (tree, payload) {
            (Some(tree), _) => extent_of(tree),
            (None, Payload::Composed { files, .. }) => {
                (files.len(), files.iter().map(|file| file.size).sum())
            }
            (None, _) => (0, 0),
        };
        let content = ByteSize(content);
        Action::Filesystem { number, filesystem: filesystem.into(), label, id, nodes, content }
    }

    fn push(
        &mut self,
        name: &str,
        (offset, len): (u64, u64),
        critical: bool,
        update: Update,
        action: Action,
        payload: Payload,
    ) {
        let (offset, len) = (ByteSize(offset), ByteSize(len));
        self.steps.push((Step { name: name.into(), offset, len, critical, update, action }, payload));
    }

    pub(super) fn finish(
        mut self,
        geometry: Geometry,
        artifacts: crate::stage::Artifacts,
    ) -> Result<Composition> {
        self.steps.sort_by_key(|(step, _)| step.offset);
        let extent = |step: &Step| Extent { name: step.name.clone(), start: step.offset.0, len: step.len.0 };
        let mut extents: Vec<Extent> = self.steps.iter().map(|(step, _)| extent(step)).collect();
        reject_overlap(&mut extents)?;
        let id = match self.board.table {
            TableKind::Mbr => format!("{:08x}", self.ids.disk_signature()),
            TableKind::Gpt => self.ids.disk_guid().to_string(),
            TableKind::None => self.inputs.partuuid.clone().unwrap_or_default(),
        };
        let (steps, payloads) = self.steps.into_iter().unzip();
        let disk = Disk {
            len: ByteSize(geometry.len),
            sector_size: geometry.sector_size,
            table: self.board.table,
            id,
        };
        let plan = Plan {
            board: self.board.name.clone(),
            arch: self.inputs.arch,
            seed: self.inputs.seed.clone(),
            timestamp: self.inputs.timestamp,
            disk,
            steps,
        };
        let resources = self.inputs.resources.clone();
        Ok(Composition {
            plan,
            artifacts,
            payloads,
            resources,
            warnings: Vec::new(),
            owned: Owned::default(),
        })
    }
}

/// The bytes of a table without those of the disk signature that a blob brings itself: [`TemplateVariables`] has made the
/// signature of them already.
fn below_blobs(offset: u64, mut bytes: Vec<u8>, blobs: &[Extent]) -> (u64, Vec<u8>) {
    let into_signature = |blob: &&Extent| blob.start <= offset && DISK_SIGNATURE.contains(&(blob.end() - 1));
    match blobs.iter().filter(|_| offset == DISK_SIGNATURE.start).find(into_signature) {
        Some(blob) => {
            bytes.drain(..(blob.end() - offset) as usize);
            (blob.end(), bytes)
        }
        None => (offset, bytes),
    }
}

/// What a formatter says, with the partition it is about.
#[derive(Debug, Diagnostic)]
#[diagnostic(forward(error))]
struct InPartition {
    partition: String,
    error: Error,
}

impl fmt::Display for InPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition `{}`: {}", self.partition, self.error)
    }
}

impl std::error::Error for InPartition {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.diagnostic().source()
    }
}

fn in_partition(partition: &Partition) -> impl FnOnce(Error) -> Error {
    move |error| InPartition { partition: partition.name.clone(), error }.into()
}

/// A squashfs whose partition has no stated size must exist before the partition can be placed.
fn compose_squashfs(
    root: &Tree,
    options: &squashfs::Options,
    name: &str,
    resources: &squashfs::Resources,
) -> Result<Payload> {
    let layout = squashfs::layout(root, options)?;
    let scratch = Scratch::new(layout.size_bound())?;
    let written = squashfs::write(&layout, &Region::whole(&scratch, name), resources)?;
    let content: Content = scratch.into_content(written.len)?;
    let files: Vec<WrittenFile> = written.files;
    Ok(Payload::Composed { kind: "squashfs", content, files })
}

/// A squashfs that may turn out too large for its partition is composed now, so that this is found before a
/// medium is wiped; any other is composed straight into its partition.
fn settle(payload: Payload, len: u64, name: &str, resources: &squashfs::Resources) -> Result<Payload> {
    match payload {
        Payload::Squashfs { tree, options } if squashfs::layout(&tree, &options)?.size_bound() > len => {
            compose_squashfs(&tree, &options, name, resources)
        }
        payload => Ok(payload),
    }
}

/// Least bytes of a partition for its content.
pub(super) fn minimum_size(payload: &Payload) -> Result<u64> {
    Ok(match payload {
        Payload::Fat { tree, options } => fat::minimum_size(tree, options)?,
        Payload::Ext4 { tree, options } => ext4::minimum_size(tree, options)?,
        Payload::Composed { content, .. } | Payload::Image { content, .. } => content.len(),
        // Settled: it fits even if nothing can be compressed.
        Payload::Squashfs { .. } => 0,
        Payload::Bytes(_) | Payload::Content { .. } | Payload::Nothing => 0,
    })
}

/// What a formatter cannot do is found before anything is written.
pub(super) fn ensure_layout(payload: &Payload, len: u64) -> Result<()> {
    match payload {
        Payload::Fat { tree, options } => fat::layout(tree, options, len).map(drop)?,
        Payload::Ext4 { tree, options } => ext4::layout(tree, options, len).map(drop)?,
        Payload::Squashfs { tree, options } => squashfs::layout(tree, options).map(drop)?,
        Payload::Bytes(_)
        | Payload::Content { .. }
        | Payload::Image { .. }
        | Payload::Composed { .. }
        | Payload::Nothing => {}
    }
    Ok(())
}

/// The tree and a copy of it in a directory beside its files.
fn twice(tree: &Tree) -> Tree {
    let mut both = tree.clone();
    let directory = |stat| Node::new(stat, Body::Dir(BTreeMap::new()));
    let copy = both.insert(Tree::ROOT, b".next", directory(tree.node(Tree::ROOT).stat));
    let mut made: BTreeMap<Vec<u8>, NodeId> = BTreeMap::from([(Vec::new(), copy)]);
    for (path, id) in tree.walk().skip(1) {
        let node = tree.node(id);
        let at = path.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = at.map_or((&[][..], &path[..]), |at| (&path[..at], &path[at + 1..]));
        let twin = if node.entries().is_some() { directory(node.stat) } else { node.clone() };
        let twin = both.insert(made[parent], name, twin);
        if node.entries().is_some() {
            made.insert(path, twin);
        }
    }
    both
}

/// Number of nodes and bytes of content.
fn extent_of(tree: &Tree) -> (usize, u64) {
    let size = |id| match &tree.node(id).body {
        Body::File(content) => content.len(),
        _ => 0,
    };
    tree.walk().skip(1).fold((0, 0), |(nodes, bytes), (_, id)| (nodes + 1, bytes + size(id)))
}
