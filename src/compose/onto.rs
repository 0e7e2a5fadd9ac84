//! What goes onto a medium that has its partitions already: the same filesystems as on a new one, in the places and
//! with the ids that the medium has. Tables, raw blobs and partitions that an update leaves alone are no part of it.

use super::build::Builder;
use super::{Composition, Payload, build};
use crate::board::Update;
use crate::error::Result;
use crate::fs::WrittenFile;
use crate::plan::{Extent, FilesystemId};
use crate::stage::{Inputs, PartitionTree, Staged};
use crate::storage::{Geometry, Target};
use crate::tree::Tree;

impl Composition {
    /// The partitions that an update may touch, in the places of `extents`, one for each partition of the board.
    pub fn onto(
        inputs: &Inputs,
        staged: Staged,
        extents: &[Extent],
        geometry: Geometry,
    ) -> Result<Composition> {
        let Staged { root, artifacts, partitions, .. } = staged;
        let mut builder = Builder::new(inputs);
        let touched = |(partition, _): &(&crate::board::Partition, PartitionTree)| {
            partition.update != Update::Never && !partition.filesystem.is_archive()
        };
        let placed = inputs.board.partitions.iter().zip(partitions).zip(extents);
        for ((partition, tree), extent) in placed.filter(|(placed, _)| touched(placed)) {
            builder.existing(partition, extent, tree, &root)?;
        }
        builder.finish(geometry, artifacts)
    }

    /// The step of the partition `name`.
    pub fn step_of(&self, name: &str) -> Option<usize> {
        self.plan.steps.iter().position(|step| step.name == name)
    }

    /// The tree of a filesystem that holds files.
    pub fn tree(&self, step: usize) -> Option<&Tree> {
        match &self.payloads[step] {
            Payload::Fat { tree, .. } | Payload::Ext4 { tree, .. } => Some(tree),
            _ => None,
        }
    }

    /// The same, to add what a medium has of its own.
    pub fn tree_mut(&mut self, step: usize) -> Option<&mut Tree> {
        match &mut self.payloads[step] {
            Payload::Fat { tree, .. } | Payload::Ext4 { tree, .. } => Some(tree),
            _ => None,
        }
    }

    /// Identity and label of the filesystem of a step.
    pub fn filesystem_id(&self, step: usize) -> (FilesystemId, String) {
        match &self.payloads[step] {
            Payload::Fat { options, .. } => (FilesystemId::Fat(options.volume_id), options.label.clone()),
            Payload::Ext4 { options, .. } => (FilesystemId::Ext4(options.uuid), options.label.clone()),
            _ => (FilesystemId::None, String::new()),
        }
    }

    /// Least bytes that a step needs, and whether a formatter could write it into the bytes that it has is made sure.
    pub fn need(&self, step: usize) -> Result<u64> {
        let (payload, len) = (&self.payloads[step], self.plan.steps[step].len.0);
        let need = build::minimum_size(payload)?;
        if need <= len {
            build::ensure_layout(payload, len)?;
        }
        Ok(need)
    }

    /// Writes a step and returns its files.
    pub fn write_step(&self, step: usize, target: &dyn Target) -> Result<Vec<WrittenFile>> {
        self.write(&self.payloads[step], &self.region(target, step))
    }
}
