//! Writing of the steps: the bytes of each into its region.

use std::sync::{Mutex, PoisonError};

use super::Composition;
use super::schedule::run_all;
use crate::bmap::Bmap;
use crate::board::TableKind;
use crate::error::{Error, Result};
use crate::event::Listener;
use crate::flash::{Commit, Done, FlashOptions, header_last};
use crate::fs::{WrittenFile, ext4, fat, squashfs};
use crate::manifest::Manifest;
use crate::plan::{Action, PlanError, Step};
use crate::prepare::Payload;
use crate::readback::RegionRange;
use crate::source::Source;
use crate::storage::{Record, Region, Target};
use crate::table::TableBytes;
use crate::tree::{Content, Run};
use crate::value::Digest;

/// Bytes at the start of a filesystem without which nobody takes it for one: the boot sector of a FAT, the
/// superblock of an ext4 or squashfs.
pub const START: u64 = 4096;

/// The files that a step wrote.
#[derive(Clone, Debug)]
pub struct RegionFiles {
    /// Index of the step in the plan.
    pub step: usize,
    /// Its files.
    pub files: Vec<WrittenFile>,
    /// Set if the filesystem was written as a whole: all in it is as the plan has it.
    pub is_whole: bool,
}

impl Composition {
    /// Writes every step but the critical ones, several at the same time; returns the files of each filesystem.
    fn write_body(&self, target: &dyn Target) -> Result<Vec<RegionFiles>> {
        let steps = 0..self.plan.steps.len();
        let body: Vec<_> = steps.filter_map(|step| Some((step, self.payload(step)?))).collect();
        let is_wide = |(_, payload): &(usize, &Payload)| payload.is_wide();
        run_all(&body, self.resources.threads, is_wide, |(step, payload)| {
            let step = *step;
            let files = self.write(payload, &self.region(target, step))?;
            Ok(RegionFiles { step, files, is_whole: true })
        })
    }

    /// The bytes that make the disk bootable: partition tables, boot code and boot loaders, by offset.
    pub fn critical(&self) -> Result<Vec<TableBytes>> {
        let mut critical = Vec::new();
        for step in &self.plan.steps {
            let bytes = match &step.action {
                Action::Table => self.payloads.table(step).to_vec(),
                Action::Blob { blob, from, .. } => {
                    let mut bytes = vec![0; step.len.0 as usize];
                    self.payloads.blob(*blob).open()?.read_at(&mut bytes, from.0)?;
                    bytes
                }
                Action::Filesystem { .. } | Action::Image { .. } | Action::Unformatted { .. } => continue,
            };
            critical.push(TableBytes { name: step.name.clone(), offset: step.offset.0, bytes });
        }
        Ok(critical)
    }

    /// Writes everything in the safe order, reads it back, and returns the manifest of what is there.
    ///
    /// `used` says whether the target may hold an older system (see [`Commit::used`]).
    pub fn run(
        &self,
        target: &dyn Target,
        used: bool,
        listener: &dyn Listener,
        options: FlashOptions,
    ) -> Result<(Manifest, Done)> {
        self.reject_other_sectors(target)?;
        let source = Writing::new(self);
        let regions = self.regions();
        let commit = Commit { target, used, regions: &regions, listener, options };
        let done = match self.plan.disk.table {
            TableKind::None => commit.run(&header_last(&source, START))?,
            TableKind::Mbr | TableKind::Gpt => commit.run(&source)?,
        };
        Ok((self.manifest(&done.record, &source.into_files()), done))
    }

    /// Like [`Composition::run`], for a fresh image file; also returns its block map.
    pub fn run_mapped(
        &self,
        target: &dyn Target,
        listener: &dyn Listener,
        options: FlashOptions,
    ) -> Result<(Manifest, Record, Bmap)> {
        self.reject_other_sectors(target)?;
        let source = Writing::new(self);
        let regions = self.regions();
        let commit = Commit { target, used: false, regions: &regions, listener, options };
        let (done, map) = commit.run_mapped(&source)?;
        Ok((self.manifest(&done.record, &source.into_files()), done.record, map))
    }

    fn regions(&self) -> Vec<RegionRange> {
        self.plan.steps.iter().map(region_range).collect()
    }

    /// Equal for compositions that write the same bytes: a plan says where everything goes and what it is made of,
    /// and the digests of what is resumed are compared anyway.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(self.plan.to_string().as_bytes())
    }

    /// Tables count in sectors: in those of another size they are none.
    fn reject_other_sectors(&self, target: &dyn Target) -> Result<(), PlanError> {
        let (wanted, disk) = (self.plan.disk.sector_size, target.geometry().sector_size);
        if wanted == disk {
            return Ok(());
        }
        Err(PlanError::SectorSize { board: self.plan.board.clone(), wanted, disk })
    }

    /// Writes the partition of a step and returns its files.
    pub fn write_step(&self, step: usize, target: &dyn Target) -> Result<Vec<WrittenFile>> {
        let payload = self.payload(step).expect("the step is that of a partition");
        self.write(payload, &self.region(target, step))
    }

    fn region<'t>(&self, target: &'t dyn Target, index: usize) -> Region<'t> {
        let step = &self.plan.steps[index];
        let neighbour = match self.plan.steps.get(index + 1) {
            Some(next) => format!("`{}`", next.name),
            None => "the end of the disk".into(),
        };
        Region::new(target, &step.name, step.offset.0, step.len.0, neighbour)
    }

    fn write(&self, payload: &Payload, region: &Region) -> Result<Vec<WrittenFile>> {
        match payload {
            Payload::Composed { composed, .. } => {
                copy(&composed.content, region)?;
                Ok(composed.files.clone())
            }
            Payload::Image { content, .. } => {
                copy(content, region)?;
                Ok(Vec::new())
            }
            Payload::Fat { tree, options } => {
                Ok(fat::write(&fat::layout(tree, options, region.len())?, region)?.files)
            }
            Payload::Ext4 { tree, options } => {
                Ok(ext4::write(&ext4::layout(tree, options, region.len())?, region)?.files)
            }
            Payload::Squashfs { tree, options } => {
                Ok(squashfs::write(&squashfs::layout(tree, options)?, region, &self.resources)?.files)
            }
            Payload::Nothing => Ok(Vec::new()),
        }
    }
}

/// A composition on its way to one target; it may be written more than once.
struct Writing<'a> {
    composition: &'a Composition,
    /// Those of the first time.
    files: Mutex<Option<Vec<RegionFiles>>>,
}

impl<'a> Writing<'a> {
    fn new(composition: &'a Composition) -> Writing<'a> {
        Writing { composition, files: Mutex::default() }
    }

    fn into_files(self) -> Vec<RegionFiles> {
        self.files.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_default()
    }
}

impl Source for Writing<'_> {
    fn name(&self) -> String {
        format!("the image for `{}`", self.composition.plan.board)
    }

    fn len(&self) -> Option<u64> {
        Some(self.composition.plan.disk.len.0)
    }

    fn identity(&self) -> Option<Digest> {
        Some(self.composition.fingerprint())
    }

    fn write(&self, target: &dyn Target) -> Result<Vec<TableBytes>> {
        let files = self.composition.write_body(target)?;
        self.files.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(files);
        self.composition.critical()
    }
}

impl Payload {
    /// Reports whether writing it works on all threads by itself.
    fn is_wide(&self) -> bool {
        matches!(self, Payload::Squashfs { .. })
    }
}

fn region_range(step: &Step) -> RegionRange {
    RegionRange { name: step.name.clone(), range: step.offset.0..step.offset.0 + step.len.0 }
}

fn copy(content: &Content, region: &Region) -> Result<()> {
    region.stream(0, |writer| {
        content.for_each_run(|run| match run {
            Run::Data(bytes) => Ok::<(), Error>(writer.append(bytes)?),
            Run::Hole(len) => Ok(writer.zero_to(writer.position() + len)?),
        })
    })
}
