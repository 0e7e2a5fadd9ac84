//! Decides what becomes of each partition. Nothing is written here; what cannot work is refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::blobs::{BlobChange, taken};
use super::contents::{Files, expected, foreign, text_of};
use super::edits::{Edits, Wanted};
use super::evidence::reject_other_board;
use super::plan::{Change, FileChange, How, Room};
use super::shadow::shadowing;
use super::survey::{Survey, SurveyedMedium};
use super::{Found, InstallError};
use crate::board::{Board, ContentSource, Filesystem, Partition, Recipe, SLOTS, STATES, Update};
use crate::compose::Composition;
use crate::error::Result;
use crate::fs::WrittenFile;
use crate::fs::ext4::update::Volume;
use crate::fs::fat::KeptEntry;
use crate::recognize::release::{RELEASE_FILE, assigned};
use crate::stage::{Inputs, Staged};
use crate::storage::{Geometry, Target};
use crate::tree::{self, Body, Content, Node, Stat, Tree};

/// Permissions of an update.
#[derive(Clone, Copy, Debug, Default)]
pub struct InstallOptions {
    /// Write raw boot loaders that differ.
    pub boot_loader: bool,
    /// Rewrite a partition that has files of the user, and carry them over.
    pub carry_over: bool,
    /// Install on a medium that is for another board.
    pub other_board: bool,
}

/// An update that is ready to be done.
pub struct Installation {
    pub(super) target: Arc<dyn Target>,
    board: String,
    resumed: bool,
    pub(super) composition: Composition,
    /// Work on each partition of the board.
    pub(super) work: Vec<Work>,
    /// Version that the medium has.
    pub before: Option<String>,
    /// Version that it gets.
    pub after: Option<String>,
    /// One for each partition of the board.
    pub changes: Vec<Change>,
    /// Raw boot loaders.
    pub blobs: Vec<BlobChange>,
    /// Remarks for the user.
    pub warnings: Vec<String>,
}

/// Work on a partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    /// Its step of the composition, unless it is kept.
    pub step: Option<usize>,
    /// True for a FAT.
    pub is_fat: bool,
    /// Changes of its files, where it is not written as a whole.
    pub edits: Edits,
    /// The files that it has afterwards.
    pub files: Vec<WrittenFile>,
}

/// Facts about one partition while its fate is decided.
pub(super) struct Case<'a> {
    pub partition: &'a Partition,
    pub found: &'a Found,
    pub kept: &'a BTreeSet<Vec<u8>>,
    pub step: Option<usize>,
    pub unfinished: bool,
    pub files: Files<'a>,
    pub expected: Vec<WrittenFile>,
}

/// Fails if the medium was made with slots: a system outside of them would never be started.
fn reject_slots(target: &dyn Target, cases: &[Case<'_>]) -> Result<()> {
    for case in cases {
        if case.files.names_in(SLOTS)?.iter().any(|name| STATES.contains(&name.as_str())) {
            let (target, partition) = (target.name().to_owned(), case.partition.name.clone());
            return Err(InstallError::HasSlots { target, partition }.into());
        }
    }
    Ok(())
}

impl Installation {
    /// Compares the medium with what is installed, and decides. `inputs` are for the board as
    /// [`SurveyedMedium::fit`] made it.
    pub fn prepare(
        survey: &Survey,
        medium: &SurveyedMedium,
        inputs: &Inputs,
        staged: Staged,
        options: &InstallOptions,
    ) -> Result<Installation> {
        let (target, board) = (survey.target(), &inputs.board);
        let blob = |blob| BlobChange::new(board, blob, &**target, options.boot_loader);
        let blobs = staged.blobs.iter().map(blob).collect::<Result<Vec<_>>>()?;
        reject_overlaps(survey, &blobs)?;
        let kept: Vec<BTreeSet<Vec<u8>>> =
            board.partitions.iter().map(|placed| staged.partitions[&placed.number].kept.clone()).collect();
        let Geometry { len, sector_size } = target.geometry();
        let sector_size = survey.table.as_ref().map_or(sector_size, |table| table.sector_size);
        let extents = medium.extents(board);
        let composition = Composition::onto(inputs, staged, &extents, Geometry { len, sector_size })?;
        let mut cases = Vec::new();
        for ((partition, found), kept) in board.partitions.iter().zip(&medium.partitions).zip(&kept) {
            cases.push(Case::new(board, (partition, found), kept, &composition, medium, target)?);
        }
        reject_other_board(&**target, board, medium, &cases, options)?;
        reject_slots(&**target, &cases)?;
        let mut installation = Installation {
            target: Arc::clone(target),
            board: board.name.clone(),
            resumed: medium.unfinished.is_some(),
            composition,
            work: Vec::new(),
            before: None,
            after: None,
            changes: Vec::new(),
            blobs,
            warnings: Vec::new(),
        };
        installation.find_versions(&cases)?;
        cases.iter().try_for_each(|case| installation.decide(case, inputs))?;
        installation.rewrite_boot_too();
        for (index, case) in cases.iter().enumerate() {
            installation.carry_over(case, index, options)?;
        }
        Ok(installation)
    }

    /// The medium.
    pub fn target(&self) -> &dyn Target {
        &*self.target
    }

    /// Name of the board.
    pub fn board(&self) -> &str {
        &self.board
    }

    /// Returns whether an earlier run was cut off.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Returns whether there is nothing to do.
    pub fn is_done(&self) -> bool {
        let same = |change: &Change| matches!(change.how, How::Kept | How::Same);
        self.changes.iter().all(same) && self.blobs.iter().all(|blob| !blob.written)
    }

    fn decide(&mut self, case: &Case<'_>, inputs: &Inputs) -> Result<()> {
        let mut change = case.change();
        let is_fat = case.partition.filesystem.kind().is_fat();
        let mut work = Work { step: case.step, is_fat, files: case.expected.clone(), ..Work::default() };
        match (case.files.used(), case.step) {
            (_, None) => {}
            (Some(volume), Some(step)) => {
                self.warnings.extend(shadowing(&case.files, &case.expected)?);
                work.edits = self.plan_edits(case, step, inputs)?;
                change.files = work.edits.files(&case.files)?;
                self.ensure_room(&mut change, volume, &work.edits)?;
            }
            (None, Some(_)) => (change.files, change.how) = case.compare()?,
        }
        self.changes.push(change);
        self.work.push(work);
        Ok(())
    }

    fn plan_edits(&mut self, case: &Case<'_>, step: usize, inputs: &Inputs) -> Result<Edits> {
        let tree = self.composition.tree(step).expect("an ext4 has a tree");
        let version = inputs.variables.render("the version", "@{version}").ok();
        let image = root_image(&inputs.board, case.partition);
        let wanted = Wanted {
            tree,
            expected: &case.expected,
            kept: case.kept,
            image: image.as_deref(),
            version: version.as_deref(),
        };
        let (edits, generations) = Edits::plan(&wanted, &case.files)?;
        let newest = generations.others.into_iter().next();
        self.before = self.before.take().or(newest);
        self.after = self.after.take().or(version);
        Ok(edits)
    }

    fn ensure_room(&self, change: &mut Change, volume: &Volume<'_>, edits: &Edits) -> Result<()> {
        // Boot loaders read what is in place, not what a journal would bring.
        let same = edits.is_empty() && !volume.needs_replay();
        change.how = if same { How::Same } else { How::Files };
        let (free, (need, need_inodes)) = (volume.free(), edits.need(volume));
        let (have, inodes) = (free.blocks * free.block_size, free.inodes);
        let (target, partition) = (self.target.name().to_owned(), change.partition.clone());
        if need > have {
            return Err(InstallError::NoRoom { target, partition, need, have }.into());
        }
        if need_inodes > inodes {
            return Err(InstallError::NoInodes { target, partition, need: need_inodes, have: inodes }.into());
        }
        change.need = need;
        change.room = (change.how == How::Files).then_some(Room { bytes: have, need_inodes, inodes });
        Ok(())
    }

    /// While other partitions are rewritten nothing must boot, so the one that is booted from has to be among them.
    fn rewrite_boot_too(&mut self) {
        let rewritten = self.changes.iter().any(|change| change.how == How::Rewritten);
        if let Some(boot) = self.boot().filter(|_| rewritten)
            && self.changes[boot].how == How::Same
        {
            self.changes[boot].how = How::Rewritten;
        }
    }

    /// Index of the partition whose first sector comes last: the first FAT, which firmware and boot loaders read, or
    /// the first that is rewritten.
    pub(super) fn boot(&self) -> Option<usize> {
        let touched = |index: &usize| self.work[*index].step.is_some();
        let all = || (0..self.changes.len()).filter(touched);
        let fat = all().find(|index| self.work[*index].is_fat);
        fat.or_else(|| all().find(|index| self.changes[*index].how == How::Rewritten))
    }

    /// Adds what a partition that is rewritten has of its own, and makes sure that all of it fits.
    fn carry_over(&mut self, case: &Case<'_>, index: usize, options: &InstallOptions) -> Result<()> {
        let Some(step) = case.step.filter(|_| self.changes[index].how == How::Rewritten) else {
            return Ok(());
        };
        if let Some(present) = case.files.list() {
            let foreign = foreign(present, &case.expected);
            if !foreign.is_empty() && !options.carry_over {
                let partition = case.partition.name.clone();
                return Err(InstallError::ForeignFiles { partition, files: foreign }.into());
            }
            let kept =
                case.kept.iter().map(|path| tree::display(path)).filter(|path| present.contains_key(path));
            let entries = case.files.entries()?;
            for path in kept.chain(foreign.iter().cloned()) {
                let content = case.files.copy(&path, present[&path])?;
                let entry = entries.get(&path);
                self.composition
                    .tree_mut(step)
                    .into_iter()
                    .for_each(|tree| put(tree, &path, content.clone(), entry));
            }
            self.changes[index].foreign = foreign;
        }
        self.ensure_fits(index, step)
    }

    fn ensure_fits(&mut self, index: usize, step: usize) -> Result<()> {
        let need = self.composition.need(step)?;
        let change = &mut self.changes[index];
        change.need = need;
        if need <= change.len {
            return Ok(());
        }
        let (target, partition) = (self.target.name().to_owned(), change.partition.clone());
        Err(InstallError::TooSmall { target, partition, need, have: change.len }.into())
    }

    fn find_versions(&mut self, cases: &[Case<'_>]) -> Result<()> {
        for case in cases {
            let Some(path) = case.release() else { continue };
            let tree = case.step.and_then(|step| self.composition.tree(step));
            let node = tree.and_then(|tree| Some(tree.node(tree.get(&path)?)));
            if let Some(Node { body: Body::File(content), .. }) = node {
                self.after = text_of(content)?.and_then(|text| assigned(&text, "VERSION").map(str::to_owned));
            }
            self.before =
                case.files.text(&path)?.and_then(|text| assigned(&text, "VERSION").map(str::to_owned));
        }
        Ok(())
    }
}

impl<'a> Case<'a> {
    fn new(
        board: &Board,
        (partition, found): (&'a Partition, &'a Found),
        kept: &'a BTreeSet<Vec<u8>>,
        composition: &Composition,
        medium: &SurveyedMedium,
        target: &'a Arc<dyn Target>,
    ) -> Result<Case<'a>> {
        let step = composition.step_of(&partition.name).filter(|_| partition.update != Update::Never);
        let tree = step.and_then(|step| composition.tree(step));
        let expected = tree.map(expected).transpose()?.unwrap_or_default();
        let unfinished = medium.is_unfinished(&partition.name);
        let mut files = Files::None;
        if step.is_some() && !unfinished {
            files = Files::open(target, found, board.persist.as_ref() == Some(&partition.name))?;
            if let Files::Ext4(_, list) = &mut files {
                // What has files of the user is not written as a whole.
                *list = list.take().filter(|list| foreign(list, &expected).is_empty());
            }
        }
        Ok(Case { partition, found, kept, step, unfinished, files, expected })
    }

    fn change(&self) -> Change {
        Change {
            partition: self.partition.name.clone(),
            number: self.found.number,
            offset: self.found.start,
            len: self.found.len,
            filesystem: kind(&self.partition.filesystem).into(),
            how: How::Kept,
            need: 0,
            room: None,
            files: Vec::new(),
            foreign: Vec::new(),
        }
    }

    fn compare(&self) -> Result<(Vec<FileChange>, How)> {
        let mut wanted = Vec::new();
        for file in &self.expected {
            let kept = self.kept.iter().any(|path| tree::display(path) == file.path);
            if !kept || self.files.len(&file.path)?.is_none() {
                wanted.push(file.clone());
            }
        }
        let mut changes = Vec::new();
        for damage in self.files.check(&wanted)? {
            let before = self.files.len(&damage.path)?;
            let after = wanted.iter().find(|file| file.path == damage.path).map(|file| file.size);
            changes.push(FileChange { path: damage.path, before, after, to: None });
        }
        let same = changes.is_empty() && !self.unfinished && !self.expected.is_empty();
        Ok((changes, if same { How::Same } else { How::Rewritten }))
    }

    /// Path of the file that says which system it is.
    pub fn release(&self) -> Option<String> {
        let is_release = |file: &&WrittenFile| file.path.rsplit('/').next() == Some(RELEASE_FILE);
        self.expected.iter().find(is_release).map(|file| file.path.clone())
    }
}

/// Path of the image of the root filesystem on a partition.
fn root_image(board: &Board, partition: &Partition) -> Option<String> {
    let is_root = |recipe: &Recipe| matches!(recipe, Recipe::Squashfs { subtree, .. } if subtree == "/");
    let images = board.artifacts.iter().filter(|artifact| is_root(&artifact.recipe));
    let names: Vec<&String> = images.map(|artifact| &artifact.name).collect();
    let place = partition.files.iter().find(|place| match &place.from {
        ContentSource::Artifact(name) => names.contains(&name),
        _ => false,
    });
    place.map(|place| format!("/{}", place.to.trim_start_matches('/')))
}

fn reject_overlaps(survey: &Survey, blobs: &[BlobChange]) -> Result<(), InstallError> {
    let partitions = survey.partitions.iter().filter(|_| survey.table.is_some());
    let partitions = partitions.map(|found| {
        (found.start..found.start.saturating_add(found.len), format!("partition {}", found.number))
    });
    let taken = taken(survey.table.as_ref(), partitions);
    blobs.iter().filter(|blob| blob.written).try_for_each(|blob| blob.reject_overlap(&taken))
}

fn kind(filesystem: &Filesystem) -> &'static str {
    match filesystem {
        Filesystem::Fat32 { .. } => "fat32",
        Filesystem::Fat16 { .. } => "fat16",
        Filesystem::Ext4 { .. } => "ext4",
        Filesystem::Squashfs { .. } => "squashfs",
        Filesystem::Raw { .. } => "raw",
        Filesystem::Tar { .. } | Filesystem::Oci { .. } => "archive",
        Filesystem::None => "not formatted",
    }
}

/// Puts a file into a tree, in place of what has its name; on a FAT with its own times and attributes.
fn put(tree: &mut Tree, path: &str, content: Content, entry: Option<&KeptEntry>) {
    let stat = Stat { mode: 0o755, ..tree.node(Tree::ROOT).stat };
    let mut names: Vec<&[u8]> = tree::components(path.as_bytes()).collect();
    let Some(name) = names.pop() else { return };
    let mut directory = Tree::ROOT;
    for parent in names {
        directory = match tree.child(directory, parent) {
            Some(child) => child,
            None => tree.insert(directory, parent, Node::new(stat, Body::Dir(Default::default()))),
        };
    }
    let mut file = Node::new(Stat { mode: 0o644, ..stat }, Body::File(content));
    entry.iter().for_each(|entry| entry.keep(&mut file));
    tree.unlink(directory, name);
    tree.insert(directory, name, file);
}
