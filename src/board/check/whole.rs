//! Relations between the parts of a descriptor.

use std::collections::BTreeSet;

use super::Checker;
use crate::board::{
    BlobSource, Board, BoardError, ContentSource, FilePlacement, Filesystem, Partition, Recipe, Size,
    TableKind,
};
use crate::boot::grub::CORE_SECTOR;
use crate::value::ByteSize;

/// Name of the partition that keeps files, if the descriptor does not say.
const PERSIST: &str = "persist";

impl Checker<'_> {
    pub(super) fn ensure_sane(&self, board: &Board) -> Result<(), BoardError> {
        if board.arch.is_empty() {
            return Err(self.invalid("arch", "at least one architecture is needed"));
        }
        if !matches!(board.sector_size, 512 | 4096) {
            let problem = format!("sector-size is {} but must be 512 or 4096", board.sector_size);
            return Err(self.invalid("table", problem));
        }
        if board.align.0 == 0 || !board.align.0.is_multiple_of(u64::from(board.sector_size)) {
            let problem = format!("align is {} but must be a multiple of the sector size", board.align);
            return Err(self.invalid("table", problem));
        }
        for &arch in &board.arch {
            let made = board.artifacts.iter().filter(|artifact| artifact.arch.covers(arch));
            self.ensure_unique("artifact", made.map(|artifact| artifact.name.as_str()))?;
        }
        self.ensure_unique("blob", board.blobs.iter().map(|blob| blob.name.as_str()))?;
        self.ensure_unique(
            "environment",
            board.environments.iter().map(|environment| environment.name.as_str()),
        )?;
        self.ensure_unique("partition", board.partitions.iter().map(|partition| partition.name.as_str()))?;
        self.ensure_unique_labels(board)?;
        self.ensure_numbers(board)?;
        self.ensure_references_exist(board)?;
        self.ensure_whole_output(board)?;
        self.ensure_grub_finds_itself(board)?;
        let rest = board.partitions.iter().position(|p| matches!(p.size, Size::Rest { .. }));
        match rest {
            Some(index) if index + 1 != board.partitions.len() => {
                let place = format!("partition `{}`", board.partitions[index].name);
                Err(self.invalid(place, "size \"rest\" is only possible for the last partition"))
            }
            _ => Ok(()),
        }
    }

    fn ensure_unique<'n>(&self, what: &str, names: impl Iterator<Item = &'n str>) -> Result<(), BoardError> {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                return Err(self.invalid(format!("{what} `{name}`"), "the name is used twice"));
            }
        }
        Ok(())
    }

    /// The partition that keeps files: the named one, or an ext4 of the usual name.
    pub(super) fn persist(&self, board: &Board) -> Result<Option<String>, BoardError> {
        let wanted = board.persist.as_deref().unwrap_or(PERSIST);
        let found = board.partitions.iter().find(|partition| partition.name == wanted);
        match found {
            Some(partition) if matches!(partition.filesystem, Filesystem::Ext4 { .. }) => {
                Ok(Some(wanted.into()))
            }
            _ if board.persist.is_none() => Ok(None),
            Some(_) => {
                let problem = format!("partition `{wanted}` is no ext4, which owners and modes need");
                Err(self.invalid("persist", problem))
            }
            None => Err(self.invalid("persist", format!("there is no partition `{wanted}`"))),
        }
    }

    /// The running system finds its filesystems by label.
    fn ensure_unique_labels(&self, board: &Board) -> Result<(), BoardError> {
        let mut seen: std::collections::BTreeMap<&str, &str> = std::collections::BTreeMap::new();
        for partition in &board.partitions {
            let Some(label) = partition.filesystem.label() else { continue };
            if let Some(first) = seen.insert(label, &partition.name) {
                let problem = format!("the label `{label}` is already that of partition `{first}`");
                return Err(self.invalid(format!("partition `{}`", partition.name), problem));
            }
        }
        Ok(())
    }

    /// Numbers are the table's own: from 1, each once, and what a hybrid MBR lists is there.
    fn ensure_numbers(&self, board: &Board) -> Result<(), BoardError> {
        let mut seen = std::collections::BTreeMap::new();
        for partition in &board.partitions {
            let place = || format!("partition `{}`", partition.name);
            if partition.number == 0 {
                return Err(self.invalid(place(), "partitions are numbered from 1, not from 0"));
            }
            if let Some(first) = seen.insert(partition.number, &partition.name) {
                let problem = format!("the number {} is `{first}`'s already", partition.number);
                return Err(self.invalid(place(), problem));
            }
        }
        match board.hybrid_mbr.iter().find(|number| !seen.contains_key(number)) {
            Some(number) => {
                let problem = format!("hybrid-mbr lists partition {number}, which does not exist");
                Err(self.invalid("table", problem))
            }
            None => Ok(()),
        }
    }

    /// Without a table there is one filesystem and nothing else; an archive is always all there is.
    fn ensure_whole_output(&self, board: &Board) -> Result<(), BoardError> {
        if board.table == TableKind::None {
            return self.ensure_one_filesystem(board);
        }
        let archive = |partition: &&Partition| partition.filesystem.is_archive();
        match board.partitions.iter().find(archive) {
            Some(partition) => {
                let problem = "an archive is no partition; it needs a table of kind \"none\"";
                Err(self.invalid(format!("partition `{}`", partition.name), problem))
            }
            None => Ok(()),
        }
    }

    fn ensure_one_filesystem(&self, board: &Board) -> Result<(), BoardError> {
        let (partitions, blobs) = (board.partitions.len(), board.blobs.len());
        if partitions != 1 || blobs != 0 {
            let problem = format!(
                "kind \"none\" wants one partition and no blob, not {partitions} partitions and {blobs} blobs"
            );
            return Err(self.invalid("table", problem));
        }
        let partition = &board.partitions[0];
        let place = format!("partition `{}`", partition.name);
        if partition.start.is_some() || partition.number != 1 || !board.hybrid_mbr.is_empty() {
            let problem = "`start`, `number` and `hybrid-mbr` mean nothing without a table";
            return Err(self.invalid(place, problem));
        }
        if partition.filesystem.is_archive() && partition.size != (Size::Fit { slack: ByteSize(0) }) {
            return Err(self.invalid(place, "an archive is as long as it is: its size is \"fit\""));
        }
        Ok(())
    }

    fn ensure_references_exist(&self, board: &Board) -> Result<(), BoardError> {
        let mut known = BTreeSet::new();
        for artifact in &board.artifacts {
            self.ensure_placed_exist(
                &format!("artifact `{}`", artifact.name),
                artifact.recipe.files(),
                &known,
            )?;
            let from = match &artifact.recipe {
                Recipe::UbootRamdisk { from, .. } | Recipe::UbootScript { from, .. } => Some(from),
                _ => None,
            };
            if let Some(from) = from.filter(|from| !known.contains(from.as_str())) {
                let problem = format!("`from` names `{from}`, which is not an artifact above it");
                return Err(self.invalid(format!("artifact `{}`", artifact.name), problem));
            }
            known.insert(artifact.name.as_str());
        }
        for blob in &board.blobs {
            if let BlobSource::Artifact(name) = &blob.source
                && !known.contains(name.as_str())
            {
                let problem = format!("it is made of the artifact `{name}`, which does not exist");
                return Err(self.invalid(format!("blob `{}`", blob.name), problem));
            }
        }
        board.partitions.iter().try_for_each(|partition| {
            self.ensure_placed_exist(&format!("partition `{}`", partition.name), &partition.files, &known)
        })
    }

    fn ensure_placed_exist(
        &self,
        what: &str,
        files: &[FilePlacement],
        known: &BTreeSet<&str>,
    ) -> Result<(), BoardError> {
        for place in files {
            if let ContentSource::Artifact(name) = &place.from
                && !known.contains(name.as_str())
            {
                let problem = format!("a file names the artifact `{name}`, which does not exist");
                return Err(self.invalid(what, problem));
            }
        }
        Ok(())
    }

    /// The sectors that GRUB loads are written into it.
    fn ensure_grub_finds_itself(&self, board: &Board) -> Result<(), BoardError> {
        for blob in &board.blobs {
            let BlobSource::Artifact(name) = &blob.source else { continue };
            let recipe = board.artifacts.iter().find(|artifact| artifact.name == *name);
            let expected = match recipe.map(|artifact| &artifact.recipe) {
                Some(Recipe::GrubBoot { .. }) => 0,
                Some(Recipe::GrubCore { .. }) => CORE_SECTOR * 512,
                _ => continue,
            };
            let place = format!("blob `{}`", blob.name);
            if blob.offset.0 != expected {
                let problem =
                    format!("`{name}` is for byte {expected} of the disk and not {}", blob.offset.0);
                return Err(self.invalid(place, problem));
            }
            if board.table != TableKind::Mbr || board.sector_size != 512 {
                let problem = format!("`{name}` is for a disk with an MBR and sectors of 512 bytes");
                return Err(self.invalid(place, problem));
            }
        }
        Ok(())
    }
}
