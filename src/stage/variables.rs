//! The variables that names and boot texts of a board are filled with: the board's own, and what is known here: the
//! architecture, the version of the system, the ids of the disk and of its partitions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{StageError, StagedBlob};
use crate::board::{BlobSource, Board, Filesystem, Partition, Recipe, TableKind};
use crate::boot::text::{self, TextError};
use crate::error::{Error, Io};
use crate::plan::{Ids, KnownIds};
use crate::recognize::release::{RELEASE_FILE, assigned};
use crate::table::mbr::DISK_SIGNATURE;
use crate::value::{Arch, Seed};

/// Template variables by name, and the ids among them.
#[derive(Clone, Debug)]
pub struct TemplateVariables {
    values: BTreeMap<String, String>,
    /// Signature of an MBR.
    disk_signature: u32,
    /// Ids that the medium has already.
    known: KnownIds,
    /// True if the image goes to a partition that is there already.
    no_table: bool,
    images: PathBuf,
}

impl TemplateVariables {
    /// The variables of `board`. Raw blobs decide over the bytes of an MBR's disk signature that they cover, so they
    /// are looked at for it.
    pub fn new(
        board: &Board,
        arch: Arch,
        seed: &Seed,
        images: &Path,
        partuuid: Option<&str>,
    ) -> Result<TemplateVariables, Error> {
        TemplateVariables::keeping(&KnownIds::default(), board, arch, seed, images, partuuid)
    }

    /// Like [`TemplateVariables::new`], with the ids that a medium has already.
    pub fn keeping(
        known: &KnownIds,
        board: &Board,
        arch: Arch,
        seed: &Seed,
        images: &Path,
        partuuid: Option<&str>,
    ) -> Result<TemplateVariables, Error> {
        let mut values = board.vars_for(arch);
        values.insert("arch".into(), arch.to_string());
        values.insert("board".into(), board.name.clone());
        if let Some(version) = version(images)? {
            values.insert("version".into(), version);
        }
        let ids = Ids::new(seed).keeping(known);
        let (disk_signature, no_table) = (ids.disk_signature(), board.table == TableKind::None);
        let mut variables = TemplateVariables {
            values,
            disk_signature,
            known: known.clone(),
            no_table,
            images: images.into(),
        };
        if board.table == TableKind::Mbr && known.disk_signature.is_none() {
            variables.disk_signature = variables.signature_below_blobs(board)?;
        }
        variables.add_ids(board, &ids.with_disk_signature(variables.disk_signature), partuuid);
        variables.fill_each_other(&board.name)?;
        Ok(variables)
    }

    /// Variables for a descriptor without contents: the version and the ids are made up.
    pub fn assumed(board: &Board, arch: Arch) -> Result<TemplateVariables, Error> {
        let (seed, mut values) = (Seed(board.name.clone()), board.vars_for(arch));
        let known = [("arch", arch.to_string()), ("board", board.name.clone()), ("version", "1.0".into())];
        values.extend(known.map(|(name, value)| (name.to_owned(), value)));
        let ids = Ids::new(&seed);
        let no_table = board.table == TableKind::None;
        let mut variables = TemplateVariables {
            values,
            disk_signature: ids.disk_signature(),
            known: KnownIds::default(),
            no_table,
            images: PathBuf::new(),
        };
        variables.add_ids(board, &ids, Some("00000000-0000-0000-0000-000000000000"));
        variables.fill_each_other(&board.name)?;
        Ok(variables)
    }

    /// Signature of an MBR: that of the seed, but for the bytes that a raw blob brings.
    pub fn disk_signature(&self) -> u32 {
        self.disk_signature
    }

    /// Ids that the medium has already.
    pub fn known(&self) -> &KnownIds {
        &self.known
    }

    /// Fills `template`; `file` is its name for messages.
    pub fn render(&self, file: &str, template: &str) -> Result<String, Error> {
        text::render(file, template, &self.values).map_err(|error| match error {
            TextError::Unknown { name, .. } if name == "version" => {
                StageError::NoVersion { user: file.into(), path: self.images.join(RELEASE_FILE) }.into()
            }
            TextError::Unknown { name, .. } if self.no_table && name.starts_with("partuuid.") => {
                StageError::NoPartuuid { word: name }.into()
            }
            error => error.into(),
        })
    }

    /// The board with the variables in its names filled in. Templates stay as they are: a layer may replace them.
    pub fn fill(&self, mut board: Board) -> Result<Board, Error> {
        let name = board.name.clone();
        let fill = |text: &mut String| -> Result<(), Error> {
            *text = self.render(&format!("board `{name}`"), text)?;
            Ok(())
        };
        for artifact in &mut board.artifacts {
            fill(&mut artifact.name)?;
            if let Recipe::UbootRamdisk { from, title } | Recipe::UbootScript { from, title } =
                &mut artifact.recipe
            {
                fill(from)?;
                fill(title)?;
            }
            artifact.recipe.files_mut().iter_mut().try_for_each(|place| place.fill(fill))?;
        }
        for blob in &mut board.blobs {
            blob.hint.iter_mut().try_for_each(fill)?;
            match &mut blob.source {
                BlobSource::Images(files) => files.iter_mut().try_for_each(fill)?,
                BlobSource::Artifact(artifact) => fill(artifact)?,
            }
        }
        for supplied in &mut board.supplied {
            supplied.files.iter_mut().try_for_each(fill)?;
        }
        for partition in &mut board.partitions {
            partition.files.iter_mut().try_for_each(|place| place.fill(fill))?;
            match &mut partition.filesystem {
                Filesystem::Raw { images, .. } => images.iter_mut().try_for_each(fill)?,
                Filesystem::Oci { oci, .. } => oci.texts_mut().try_for_each(fill)?,
                _ => {}
            }
        }
        Ok(board)
    }

    fn add_ids(&mut self, board: &Board, ids: &Ids<'_>, given: Option<&str>) {
        let disk = match board.table {
            TableKind::Mbr => format!("{:08x}", ids.disk_signature()),
            TableKind::Gpt => ids.disk_guid().to_string(),
            TableKind::None => String::new(),
        };
        if board.table != TableKind::None {
            self.values.insert("disk-id".into(), disk);
        }
        for partition in &board.partitions {
            let Partition { name, number, .. } = partition;
            // Without a table the partition is there already, and only the user knows its id.
            let partuuid = ids.partuuid(board.table, *number, name).or(given.map(str::to_owned));
            self.values.extend(partuuid.map(|partuuid| (format!("partuuid.{name}"), partuuid)));
            let uuid = match partition.filesystem {
                Filesystem::Fat16 { .. } | Filesystem::Fat32 { .. } => ids.fat_serial_text(name),
                Filesystem::Ext4 { .. } => ids.ext4_uuid(name).to_string(),
                _ => continue,
            };
            self.values.insert(format!("uuid.{name}"), uuid);
        }
    }

    /// A variable of the board may use the others, for example the console of its architecture, and those others again.
    fn fill_each_other(&mut self, board: &str) -> Result<(), Error> {
        // Each round fills at least one variable that needs no more rounds, or there is a circle.
        for _ in 0..=self.values.len() {
            let fill = |(name, word): (&String, &String)| {
                Ok((name.clone(), self.render(&format!("variable `{name}` of board `{board}`"), word)?))
            };
            let filled = self.values.iter().map(fill).collect::<Result<BTreeMap<_, _>, Error>>()?;
            if filled == self.values {
                return Ok(());
            }
            self.values = filled;
        }
        let circle = self.values.iter().find(|(_, word)| word.contains("@{")).map(|(name, _)| name.clone());
        Err(StageError::CircularVariable { board: board.into(), word: circle.unwrap_or_default() }.into())
    }

    fn signature_below_blobs(&self, board: &Board) -> Result<u32, Error> {
        let mut bytes = self.disk_signature.to_le_bytes();
        for blob in &board.blobs {
            let BlobSource::Images(files) = &blob.source else { continue };
            let covers = blob.offset.0 < DISK_SIGNATURE.end
                && blob.offset.0 + blob.length.map_or(512, |len| len.0) > DISK_SIGNATURE.start;
            if !covers {
                continue;
            }
            let file = format!("board `{}`", board.name);
            let files = files.iter().map(|name| self.render(&file, name)).collect::<Result<Vec<_>, _>>()?;
            let Some(staged) = StagedBlob::find(blob, &files, &self.images)? else { continue };
            staged.overlay(blob, DISK_SIGNATURE.start, &mut bytes)?;
        }
        Ok(u32::from_le_bytes(bytes))
    }
}

/// `VERSION` of the release file, with or without quotes, if there is one.
fn version(images: &Path) -> Result<Option<String>, Io> {
    let path = images.join(RELEASE_FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(Io::on("read", &path))?;
    Ok(assigned(&text, "VERSION").map(str::to_owned))
}
