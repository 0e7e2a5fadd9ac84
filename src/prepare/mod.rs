//! From what is staged to a plan with everything that its steps are made of. What has to be known before partitions can be
//! placed is composed here, see [`crate::artifact`]; nothing is written to a target, and nothing is decided after this.

mod onto;
mod payload;

use std::collections::{BTreeMap, BTreeSet};

use payload::Measured;
pub(crate) use payload::Payload;

use crate::artifact::Artifacts;
use crate::board::{Board, Update};
use crate::error::Result;
use crate::fs::squashfs;
use crate::lint::{self, PlannedMedium};
use crate::plan::{Layout, PlacedPartition, Plan, Step};
use crate::stage::{Inputs, PartitionTree, Staged};
use crate::storage::Geometry;
use crate::table::TableBytes;
use crate::tree::{self, Content};

/// A plan and everything it is about, ready to be written any number of times.
#[derive(Debug)]
pub struct Composition {
    pub(crate) plan: Plan,
    pub(crate) payloads: Payloads,
    pub(crate) artifacts: Artifacts,
    pub(crate) resources: squashfs::Resources,
    pub(crate) owned: Owned,
    warnings: Vec<String>,
}

/// Bytes of the steps of a plan.
#[derive(Debug, Default)]
pub(crate) struct Payloads {
    tables: Vec<TableBytes>,
    /// Files of the blobs, by their index in the board.
    blobs: BTreeMap<usize, Content>,
    /// Contents of the partitions, by number.
    partitions: BTreeMap<u32, Payload>,
}

impl Payloads {
    /// The bytes of a step that is part of a table.
    pub fn table(&self, step: &Step) -> &[u8] {
        let of_step = |table: &&TableBytes| table.offset == step.offset.0 && table.name == step.name;
        let table = self.tables.iter().find(of_step);
        &table.expect("a plan has the tables that it was made of").bytes
    }

    /// The file of a blob.
    pub fn blob(&self, index: usize) -> &Content {
        &self.blobs[&index]
    }
}

/// Files and contents that belong to the user once the medium is used.
#[derive(Debug, Default)]
pub(crate) struct Owned {
    /// The partition whose content does.
    pub partition: Option<String>,
    /// Paths that an update leaves alone, by the number of the partition.
    pub files: BTreeMap<u32, BTreeSet<String>>,
}

impl Owned {
    fn new(board: &Board, trees: &BTreeMap<u32, PartitionTree>) -> Owned {
        let kept = |tree: &PartitionTree| tree.kept.iter().map(|path| tree::display(path)).collect();
        let persist =
            board.partitions.iter().find(|partition| Some(&partition.name) == board.persist.as_ref());
        let untouched = persist.filter(|partition| partition.update == Update::Never);
        Owned {
            partition: untouched.map(|partition| partition.name.clone()),
            files: trees.iter().map(|(number, tree)| (*number, kept(tree))).collect(),
        }
    }
}

impl Composition {
    /// Computes the plan for a disk of `disk_len` bytes, or for the least that holds everything.
    pub fn new(inputs: &Inputs, staged: Staged, disk_len: Option<u64>) -> Result<Composition> {
        let board = &inputs.board;
        let contents = lint::StagedContents::from_staged(board, inputs.arch, &staged)?;
        let Staged { root, artifacts, partitions: mut trees, blobs, .. } = staged;
        let owned = Owned::new(board, &trees);
        let mut unplaced = BTreeMap::new();
        for partition in &board.partitions {
            let tree = trees.remove(&partition.number).expect("each partition is staged");
            unplaced.insert(partition.number, Measured::new(inputs, partition, tree, &root)?);
        }
        let needs = unplaced.iter().map(|(number, content)| (*number, content.need)).collect();
        let files = blobs.iter().map(|(index, blob)| (*index, blob.planned())).collect();
        let layout = Layout::new(board, &needs, &files, disk_len)?;
        let medium = PlannedMedium::for_layout(inputs.arch, contents, &layout);
        let warnings = lint::refuse(&board.name, lint::lint(&medium))?;
        let subject = inputs.subject();
        let tables = layout.tables(&subject.ids)?;
        let contents = settle(unplaced, &layout, &inputs.resources)?;
        let planned = contents.iter().map(|(number, content)| (*number, content.planned(*number)));
        let plan = Plan::new(&subject, &layout, &tables, planned.collect())?;
        for PlacedPartition { partition, extent } in &layout.partitions {
            contents[&partition.number].ensure_layout(partition, extent.len)?;
        }
        let partitions = contents.into_iter().map(|(number, content)| (number, content.payload)).collect();
        let blobs = blobs.into_iter().map(|(index, blob)| (index, blob.content)).collect();
        let payloads = Payloads { tables, blobs, partitions };
        Ok(Composition { plan, payloads, artifacts, resources: inputs.resources.clone(), owned, warnings })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Notes on the layout for the user.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Size and sector size of the disk.
    pub fn geometry(&self) -> Geometry {
        Geometry { len: self.plan.disk.len.0, sector_size: self.plan.disk.sector_size }
    }
}

/// The contents for the places that the partitions have.
fn settle(
    mut unplaced: BTreeMap<u32, Measured>,
    layout: &Layout<'_>,
    resources: &squashfs::Resources,
) -> Result<BTreeMap<u32, Measured>> {
    let mut settled = BTreeMap::new();
    for PlacedPartition { partition, extent } in &layout.partitions {
        let content = unplaced.remove(&partition.number).expect("each partition has a content");
        settled.insert(partition.number, content.settle(partition, extent.len, resources)?);
    }
    Ok(settled)
}
