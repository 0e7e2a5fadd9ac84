//! The manifest of what was written.

use super::{Composition, RegionFiles};
use crate::artifact::Artifact;
use crate::board::FilesystemKind;
use crate::fs::WrittenFile;
use crate::fs::ext4::update::Facts;
use crate::fs::fat::KeptEntry;
use crate::manifest::{self, ArtifactEntry, FileEntry, Identity, Manifest, NodeEntry, Owner, RegionEntry};
use crate::plan::{Action, Step};
use crate::prepare::Payload;
use crate::storage::Record;
use crate::tree::{self, NodeId};

impl Composition {
    /// The manifest for what `record` says was written, with the files of each region.
    pub fn manifest(&self, record: &Record, files: &[RegionFiles]) -> Manifest {
        let steps = self.plan.steps.iter().enumerate();
        let written = steps.filter(|(_, step)| !matches!(step.action, Action::Unformatted { .. }));
        let regions = written.map(|(index, step)| {
            let of_step = files.iter().find(|files| files.step == index);
            let nodes = match of_step.is_some_and(|files| files.is_whole) && self.owner(step) == Owner::System
            {
                true => self.nodes(index),
                false => Vec::new(),
            };
            RegionEntry {
                nodes,
                ..self.region_entry(step, record, of_step.map_or(&[], |files| &files.files))
            }
        });
        Manifest {
            manifest: manifest::VERSION,
            generator: format!("skiff-image {}", env!("CARGO_PKG_VERSION")),
            board: self.plan.board.clone(),
            arch: self.plan.arch.to_string(),
            seed: self.plan.seed.0.clone(),
            timestamp: self.plan.timestamp,
            partuuid: self.plan.disk.partuuid(),
            disk_len: self.plan.disk.len.0,
            sector_size: self.plan.disk.sector_size,
            updated: false,
            regions: regions.collect(),
            artifacts: self.artifact_entries(),
        }
    }

    fn region_entry(&self, step: &Step, record: &Record, files: &[WrittenFile]) -> RegionEntry {
        let range = step.offset.0..step.offset.0 + step.len.0;
        RegionEntry {
            name: step.name.clone(),
            kind: kind(&step.action),
            offset: step.offset.0,
            len: step.len.0,
            critical: step.critical,
            owner: self.owner(step),
            identity: identity(&step.action),
            extents: record.within(range).to_vec(),
            files: files.iter().map(|file| self.file_entry(step, file)).collect(),
            nodes: Vec::new(),
        }
    }

    /// Metadata of everything in the ext4 of a step.
    fn nodes(&self, index: usize) -> Vec<NodeEntry> {
        let Some(Payload::Ext4 { tree, .. }) = self.payload(index) else { return Vec::new() };
        let node = |(path, id): (Vec<u8>, NodeId)| NodeEntry {
            path: tree::display(&path),
            facts: Facts::of_node(tree.node(id)),
        };
        tree.walk().map(node).collect()
    }

    fn owner(&self, step: &Step) -> Owner {
        match self.owned.partition.as_ref() == Some(&step.name) && step.action.partition().is_some() {
            true => Owner::User,
            false => Owner::System,
        }
    }

    /// A file that is an artifact is found by its digest: the same bytes are the same artifact.
    fn file_entry(&self, step: &Step, file: &WrittenFile) -> FileEntry {
        let same = |artifact: &Artifact| artifact.blake3 == file.blake3 && !artifact.files.is_empty();
        let artifact = self.artifacts.iter().find(|(_, artifact)| same(artifact));
        let kept = step.action.partition().and_then(|number| self.owned.files.get(&number));
        let keep = kept.is_some_and(|paths| paths.contains(&file.path));
        let artifact = artifact.map(|(name, _)| name.to_owned());
        FileEntry { file: file.clone(), artifact, keep, attributes: self.attributes(step, file) }
    }

    /// Attributes of a file on a FAT that was written again with its own.
    fn attributes(&self, step: &Step, file: &WrittenFile) -> u8 {
        let index = self.plan.steps.iter().position(|other| other.name == step.name);
        let Some(Payload::Fat { tree, .. }) = index.and_then(|index| self.payload(index)) else { return 0 };
        let entry = tree.get(&file.path).and_then(|id| KeptEntry::of(tree.node(id)));
        entry.map_or(0, |entry| entry.use_attributes())
    }

    fn artifact_entries(&self) -> Vec<ArtifactEntry> {
        let entry = |(name, artifact): (&str, &Artifact)| ArtifactEntry {
            name: name.into(),
            format: artifact.format.to_string(),
            size: artifact.content.len(),
            blake3: artifact.blake3,
            files: artifact.files.clone(),
        };
        self.artifacts.iter().map(entry).collect()
    }
}

/// Boards find FAT and ext4 by label or id; archives have neither, nor has a squashfs.
fn identity(action: &Action) -> Option<Identity> {
    match action {
        Action::Filesystem {
            filesystem: FilesystemKind::Fat16 | FilesystemKind::Fat32 | FilesystemKind::Ext4,
            label,
            id,
            ..
        } => Some(Identity { label: label.clone(), id: id.clone() }),
        _ => None,
    }
}

fn kind(action: &Action) -> String {
    match action {
        Action::Table => "table".into(),
        Action::Blob { .. } => "blob".into(),
        Action::Filesystem { filesystem, .. } => filesystem.to_string(),
        Action::Image { .. } => "raw".into(),
        Action::Unformatted { .. } => "unformatted".into(),
    }
}
