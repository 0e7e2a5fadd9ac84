//! The only code that writes images: a plan with its contents, and the executor that puts them on a target.

mod archive;
mod build;
mod frames;
mod manifest;
mod onto;
mod schedule;
mod write;

pub use frames::{compress, publish, temporary_beside};
pub use write::{RegionFiles, START};

use std::collections::{BTreeMap, BTreeSet};

use crate::board::{self, Board};
use crate::error::Result;
use crate::fs::{WrittenFile, ext4, fat, squashfs};
use crate::plan::{Plan, Step};
use crate::stage::{Artifacts, Inputs, PartitionTree, Staged};
use crate::storage::Geometry;
use crate::tree::{self, Content, Tree};

/// A plan and everything it is about, ready to be written any number of times.
#[derive(Debug)]
pub struct Composition {
    plan: Plan,
    artifacts: Artifacts,
    /// One for each step of the plan.
    payloads: Vec<Payload>,
    resources: squashfs::Resources,
    warnings: Vec<String>,
    owned: Owned,
}

/// What belongs to the user once the medium is used.
#[derive(Debug, Default)]
struct Owned {
    /// The partition whose content does.
    partition: Option<String>,
    /// Paths that an update leaves alone, by partition.
    files: BTreeMap<String, BTreeSet<String>>,
}

impl Owned {
    fn of(board: &Board, partitions: &[PartitionTree]) -> Owned {
        let placed = board.partitions.iter().zip(partitions);
        let kept = |tree: &PartitionTree| tree.kept.iter().map(|path| tree::display(path)).collect();
        let untouched = |partition: &&board::Partition| partition.update == board::Update::Never;
        let persist =
            board.partitions.iter().find(|partition| Some(&partition.name) == board.persist.as_ref());
        Owned {
            partition: persist.filter(untouched).map(|partition| partition.name.clone()),
            files: placed.map(|(partition, tree)| (partition.name.clone(), kept(tree))).collect(),
        }
    }
}

/// What the bytes of a step come from.
#[derive(Debug)]
enum Payload {
    /// They are here.
    Bytes(Vec<u8>),
    /// A range of a file.
    Content {
        content: Content,
        from: u64,
    },
    Fat {
        tree: Tree,
        options: fat::Options,
    },
    Ext4 {
        tree: Tree,
        options: ext4::Options,
    },
    Squashfs {
        tree: Tree,
        options: squashfs::Options,
    },
    /// The whole of a file.
    Image {
        file: String,
        content: Content,
    },
    /// A squashfs or archive that was composed before, because its partition is as long as it is.
    Composed {
        kind: &'static str,
        content: Content,
        files: Vec<WrittenFile>,
    },
    /// Nothing is written.
    Nothing,
}

impl Composition {
    /// Computes the plan for a disk of `disk_len` bytes, or for the least that holds everything.
    pub fn new(inputs: &Inputs, staged: Staged, disk_len: Option<u64>) -> Result<Composition> {
        build::composition(inputs, staged, disk_len)
    }

    /// What will be written.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the user should know of the layout.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Size and sector size of the disk.
    pub fn geometry(&self) -> Geometry {
        Geometry { len: self.plan.disk.len.0, sector_size: self.plan.disk.sector_size }
    }

    fn steps(&self) -> impl Iterator<Item = (usize, &Step, &Payload)> {
        let steps = self.plan.steps.iter().zip(&self.payloads).enumerate();
        steps.map(|(index, (step, payload))| (index, step, payload))
    }
}
