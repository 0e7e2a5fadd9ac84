//! Compositions for a medium that has its partitions already: the same filesystems as on a new one, in the places and
//! with the ids that the medium has. Tables, raw blobs and partitions that an update leaves alone are no part of it.

use std::collections::BTreeMap;

use super::{Composition, Owned, Payload, Payloads};
use crate::board::Update;
use crate::error::Result;
use crate::plan::{Extent, FilesystemId, Plan, Step};
use crate::stage::{Inputs, Staged};
use crate::storage::Geometry;
use crate::tree::Tree;

impl Composition {
    /// The partitions that an update may touch, in the places of `extents`, one for each partition of the board.
    pub fn onto(
        inputs: &Inputs,
        staged: Staged,
        extents: &[Extent],
        geometry: Geometry,
    ) -> Result<Composition> {
        let Staged { root, artifacts, partitions: mut trees, .. } = staged;
        let (mut partitions, mut steps) = (BTreeMap::new(), Vec::new());
        for partition in &inputs.board.partitions {
            let (name, number) = (&partition.name, partition.number);
            if partition.update == Update::Never || partition.filesystem.is_archive() {
                continue;
            }
            let extent = extents.iter().find(|extent| extent.name == *name);
            let extent = extent.expect("the medium has the partitions of the board");
            let tree = trees.remove(&number).expect("each partition is staged");
            let payload = Payload::new(inputs, partition, tree, &root)?;
            let payload = payload.settle(name, extent.len, &inputs.resources)?;
            steps.push(Step::for_partition(partition, extent, payload.action(number)));
            partitions.insert(number, payload);
        }
        Ok(Composition {
            plan: Plan::from_steps(&inputs.subject(), geometry, steps)?,
            payloads: Payloads { partitions, ..Payloads::default() },
            artifacts,
            resources: inputs.resources.clone(),
            owned: Owned::default(),
            warnings: Vec::new(),
        })
    }

    /// Index of the step of the partition `name`.
    pub fn step_of(&self, name: &str) -> Option<usize> {
        self.plan.steps.iter().position(|step| step.name == name)
    }

    /// The tree of a filesystem that holds files.
    pub fn tree(&self, step: usize) -> Option<&Tree> {
        match self.payload(step)? {
            Payload::Fat { tree, .. } | Payload::Ext4 { tree, .. } => Some(tree),
            _ => None,
        }
    }

    /// The same, to add what a medium has of its own.
    pub fn tree_mut(&mut self, step: usize) -> Option<&mut Tree> {
        let number = self.plan.steps[step].action.partition()?;
        match self.payloads.partitions.get_mut(&number)? {
            Payload::Fat { tree, .. } | Payload::Ext4 { tree, .. } => Some(tree),
            _ => None,
        }
    }

    /// Identity and label of the filesystem of a step.
    pub fn filesystem_id(&self, step: usize) -> (FilesystemId, String) {
        match self.payload(step) {
            Some(Payload::Fat { options, .. }) => {
                (FilesystemId::Fat(options.volume_id), options.label.clone())
            }
            Some(Payload::Ext4 { options, .. }) => (FilesystemId::Ext4(options.uuid), options.label.clone()),
            _ => (FilesystemId::None, String::new()),
        }
    }

    /// Least bytes that a step needs. Where these are there, a formatter can make the content in them.
    pub fn need(&self, step: usize) -> Result<u64> {
        let Some(payload) = self.payload(step) else { return Ok(0) };
        let (need, len) = (payload.minimum_size()?, self.plan.steps[step].len.0);
        if need <= len {
            payload.ensure_layout(len)?;
        }
        Ok(need)
    }

    /// The content of a step, if it is that of a partition.
    pub(crate) fn payload(&self, step: usize) -> Option<&Payload> {
        let number = self.plan.steps[step].action.partition()?;
        self.payloads.partitions.get(&number)
    }
}
