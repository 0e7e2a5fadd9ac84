//! Compares a medium with a manifest and names what is damaged: the region, the file in its filesystem, and
//! the file in a squashfs that is such a file.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek};

use serde::Serialize;

use super::stray::{Stray, strays};
use super::{RegionDrift, Section};
use crate::error::{Diagnostic, Io, Result};
use crate::event::{Event, Listener, Phase};
use crate::fs::{self, WrittenFile, ext4, fat, squashfs, tar};
use crate::manifest::{Manifest, ManifestError, RegionEntry};
use crate::readback::{self, Damage, RegionRange};
use crate::storage::{Extent, ReadOnly, Record, Target};
use crate::value::ByteSize;

/// Number of ranges that are named of those that nothing was written to.
const NAMED: usize = 16;

/// Findings of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Image or device.
    pub target: String,
    /// Bytes that were read and compared.
    pub compared: u64,
    /// Regions that differ, by offset; none if all is well.
    pub damaged: Vec<DamagedRegion>,
    /// Bytes of an image file that nothing was written to, and that are not zero.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub strays: Vec<Stray>,
    /// Bytes of a device that were not looked at, because nothing was written to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<u64>,
    /// Ranges that differ because the medium was used; see [`super::verify_used`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<RegionDrift>,
    /// Regions whose content belongs to the user and was not compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
}

/// A region with wrong bytes.
#[derive(Clone, Debug, Serialize)]
pub struct DamagedRegion {
    /// Its name.
    pub name: String,
    /// Kind of the region.
    pub kind: String,
    /// Ranges that differ.
    pub ranges: Vec<Damage>,
    /// Files that differ; none if only tables and directories of the filesystem are hit.
    pub files: Vec<DamagedFile>,
    /// Other problems of a filesystem.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// Reason why files could not be named, if so.
    pub unreadable: Option<String>,
}

/// A file with wrong bytes.
#[derive(Clone, Debug, Serialize)]
pub struct DamagedFile {
    /// Path and what is wrong with it.
    #[serde(flatten)]
    pub damage: fs::Damage,
    /// Files inside, where it is a squashfs.
    pub inside: Vec<fs::Damage>,
    /// Reason why the files inside could not be named, if so.
    pub unreadable: Option<String>,
}

/// The medium is not what the manifest says.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(
    kind = Mismatch,
    hint = "write the image again; if the damage comes back, the medium or its reader is failing"
)]
pub enum VerifyError {
    /// Some bytes differ.
    #[error("`{target}` differs from its manifest in {}", regions(damaged))]
    Damaged {
        /// Image or device.
        target: String,
        /// Names of the regions.
        damaged: Vec<String>,
    },
    /// There is something where nothing was written.
    #[error("`{target}` has {} in blocks to which nothing was written, and which were zero", ByteSize(*len))]
    #[diagnostic(hint = "make the image again", code = "stray-bytes")]
    Strays {
        /// Image.
        target: String,
        /// Bytes of the blocks.
        len: u64,
    },
}

fn regions(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Verdict {
    /// An error if anything is damaged.
    pub fn into_result(self) -> Result<(), VerifyError> {
        if !self.damaged.is_empty() {
            let damaged = self.damaged.into_iter().map(|region| region.name).collect();
            return Err(VerifyError::Damaged { target: self.target, damaged });
        }
        match self.strays.is_empty() {
            true => Ok(()),
            false => {
                let len = self.strays.iter().map(|stray| stray.len).sum();
                Err(VerifyError::Strays { target: self.target, len })
            }
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (target, compared) = (&self.target, ByteSize(self.compared));
        if !self.drift.is_empty() {
            write!(f, "{target}: {compared} compared, changed by use:")?;
            self.drift.iter().try_for_each(|drift| write!(f, "\n  {drift}"))?;
        }
        match (self.damaged.is_empty(), self.drift.is_empty()) {
            (true, true) if !self.strays.is_empty() => {
                write!(f, "{target}: {compared} compared, all that was written is as written")?;
            }
            (true, true) => write!(f, "{target}: {compared} compared, all as written")?,
            (true, false) => write!(f, "\nall else is as written")?,
            (false, true) => write!(f, "{target}: {compared} compared, damaged:")?,
            (false, false) => write!(f, "\ndamaged:")?,
        }
        self.damaged.iter().try_for_each(|region| write!(f, "\n  {region}"))?;
        if !self.strays.is_empty() {
            write!(f, "\nnot zero where nothing was written:")?;
            self.strays.iter().take(NAMED).try_for_each(|stray| write!(f, "\n  {stray}"))?;
            let more = self.strays.len().saturating_sub(NAMED);
            if more > 0 {
                write!(f, "\n  and {more} more ranges")?;
            }
        }
        if let Some(unseen) = self.unseen.filter(|unseen| *unseen > 0) {
            write!(f, "\nnot looked at, because nothing was written there: {}", ByteSize(unseen))?;
        }
        match self.users.is_empty() {
            true => Ok(()),
            false => write!(
                f,
                "\nnot compared, because it belongs to the user: the content of {}",
                regions(&self.users)
            ),
        }
    }
}

impl fmt::Display for DamagedRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "region `{}` ({})", self.name, self.kind)?;
        for range in &self.ranges {
            write!(f, "\n    {} from byte {}", ByteSize(range.len), range.offset)?;
        }
        for file in &self.files {
            write!(f, "\n    file {}", file.damage)?;
            for inside in &file.inside {
                write!(f, "\n      in it {inside}")?;
            }
            if let Some(reason) = &file.unreadable {
                write!(f, "\n      the files in it are not known: {reason}")?;
            }
        }
        for problem in &self.problems {
            write!(f, "\n    {problem}")?;
        }
        match &self.unreadable {
            Some(reason) => write!(f, "\n    its files are not known: {reason}"),
            None => Ok(()),
        }
    }
}

/// Reads everything the manifest knows of from `medium`, past the page cache; of an image file also what lies between,
/// which is zero unless it was written onto an older system.
pub fn verify(
    medium: &ReadOnly,
    target: &dyn Target,
    manifest: &Manifest,
    listener: &dyn Listener,
) -> Result<Verdict> {
    ensure_long_enough(medium, manifest)?;
    let record = record_of(manifest.regions.iter());
    let ranges: Vec<RegionRange> = manifest.regions.iter().map(region_range).collect();
    listener.event(Event::Phase { phase: Phase::Verify, total: Some(record.len()) });
    let damage = readback::verify(target, &record, &ranges, listener)?;
    let mut damaged = Vec::new();
    for region in &manifest.regions {
        let hit: Vec<Damage> =
            damage.iter().filter(|damage| damage.region.as_deref() == Some(&region.name)).cloned().collect();
        if !hit.is_empty() {
            damaged.push(damaged_region(medium, manifest, region, hit));
        }
    }
    let strays = match medium.is_device() || manifest.updated {
        true => Vec::new(),
        false => strays(medium, target, &record, &ranges)?,
    };
    Ok(Verdict {
        target: medium.name().into(),
        compared: record.len(),
        damaged,
        strays,
        unseen: unseen(medium, &record),
        drift: Vec::new(),
        users: Vec::new(),
    })
}

/// Record of the bytes that were written to regions, in order.
pub(super) fn record_of<'m>(regions: impl Iterator<Item = &'m RegionEntry>) -> Record {
    let mut extents: Vec<Extent> = regions.flat_map(|region| region.extents.clone()).collect();
    extents.sort_by_key(|extent| extent.offset);
    Record { extents }
}

/// Bytes of a device that are not in `record`.
pub(super) fn unseen(medium: &ReadOnly, record: &Record) -> Option<u64> {
    let gaps = || record.gaps(0..medium.geometry().len);
    medium.is_device().then(|| gaps().iter().map(|gap| gap.end - gap.start).sum())
}

/// Fails if the medium is too short to hold what the manifest is about.
pub(super) fn ensure_long_enough(medium: &ReadOnly, manifest: &Manifest) -> Result<(), ManifestError> {
    let (target, need, have) = (medium.name().into(), manifest.disk_len, medium.geometry().len);
    if have < need { Err(ManifestError::TooShort { target, need, have }) } else { Ok(()) }
}

pub(super) fn region_range(region: &RegionEntry) -> RegionRange {
    RegionRange { name: region.name.clone(), range: region.offset..region.offset + region.len }
}

pub(super) fn damaged_region(
    medium: &ReadOnly,
    manifest: &Manifest,
    region: &RegionEntry,
    ranges: Vec<Damage>,
) -> DamagedRegion {
    let section = section(medium, region.offset, region.len);
    let (files, unreadable) = match files_of(section, manifest, region) {
        Ok(files) => (files, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let (name, kind) = (region.name.clone(), region.kind.clone());
    DamagedRegion { name, kind, ranges, files, problems: Vec::new(), unreadable }
}

/// A range for readers of filesystems.
pub(super) fn section(medium: &ReadOnly, offset: u64, len: u64) -> Section {
    // What the page cache kept from writing may be better than what the medium holds.
    medium.drop_cache();
    Section::new(medium.clone(), offset, len)
}

/// The files of a region that are not what was written.
pub(super) fn files_of(
    section: Section,
    manifest: &Manifest,
    region: &RegionEntry,
) -> Result<Vec<DamagedFile>> {
    let written: Vec<WrittenFile> = region.files.iter().map(|entry| entry.file.clone()).collect();
    let inside = |path: &str| -> Option<&[WrittenFile]> {
        let entry = region.files.iter().find(|entry| entry.file.path == path)?;
        let artifact = manifest.artifact(entry.artifact.as_deref()?)?;
        (artifact.format == "squashfs").then_some(artifact.files.as_slice())
    };
    match region.kind.as_str() {
        "fat16" | "fat32" => {
            let volume = fat::Volume::from_reader(&region.name, section)?;
            let damages = volume.check_files(&written);
            Ok(with_insides(damages, inside, |path, out| Ok(volume.extract(path, out)?)))
        }
        "ext4" => {
            let reader = ext4::Reader::open(section, 0)?;
            let damages = reader.check_files(&written)?;
            let extract = |path: &str, out: &mut File| Ok(reader.copy_file(path.as_bytes(), out)?);
            Ok(with_insides(damages, inside, extract))
        }
        "tar" | "oci" => {
            let damages = tar::check_files(BufReader::new(section), &written)?;
            Ok(with_insides(damages, |_| None, |_, _| Ok(0)))
        }
        "squashfs" => {
            let damages = check_squashfs(section, &written)?;
            Ok(with_insides(damages, |_| None, |_, _| Ok(0)))
        }
        _ => Ok(Vec::new()),
    }
}

/// Looks into each damaged file that is a squashfs.
fn with_insides<'m>(
    damages: Vec<fs::Damage>,
    inside: impl Fn(&str) -> Option<&'m [WrittenFile]>,
    extract: impl Fn(&str, &mut File) -> Result<u64>,
) -> Vec<DamagedFile> {
    let look = |damage: fs::Damage| match inside(&damage.path)
        .map(|expected| look_inside(&damage.path, expected, &extract))
    {
        None => DamagedFile { damage, inside: Vec::new(), unreadable: None },
        Some(Ok(inside)) => DamagedFile { damage, inside, unreadable: None },
        Some(Err(error)) => DamagedFile { damage, inside: Vec::new(), unreadable: Some(error.to_string()) },
    };
    damages.into_iter().map(look).collect()
}

fn look_inside(
    path: &str,
    expected: &[WrittenFile],
    extract: &impl Fn(&str, &mut File) -> Result<u64>,
) -> Result<Vec<fs::Damage>> {
    let mut copy = tempfile::tempfile().map_err(Io::on("create a file in", std::env::temp_dir()))?;
    extract(path, &mut copy)?;
    copy.rewind().map_err(Io::on("read", std::env::temp_dir()))?;
    check_squashfs(copy, expected)
}

/// By a reader that has nothing in common with the writer; where that gives up, by our own, which reads on
/// behind damaged tables.
fn check_squashfs(mut image: impl Read + Seek + Send, expected: &[WrittenFile]) -> Result<Vec<fs::Damage>> {
    if let Some(damages) = squashfs::second_reader::check_files(&mut image, expected) {
        return Ok(damages);
    }
    Ok(squashfs::check_files(BufReader::new(image), expected)?)
}
