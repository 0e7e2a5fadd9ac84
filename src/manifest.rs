//! The manifest of an image: what every byte that was written should be, and which file it belongs to. Kept
//! beside the image as JSON; `verify` needs nothing else. It holds no path and no time of the machine that
//! made it.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Diagnostic, Error, Io};
use crate::fs::WrittenFile;
use crate::fs::ext4::update::Facts;
use crate::storage::{Extent, Geometry, Record};
use crate::table::{Partition, Table};
use crate::value::{ByteSize, Digest};

/// Version of the format; a reader refuses others.
pub const VERSION: u32 = 1;

/// Content of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`VERSION`] of the format.
    pub manifest: u32,
    /// The program and its version.
    pub generator: String,
    /// Board name.
    pub board: String,
    /// Architecture.
    pub arch: String,
    /// Text that all ids are derived from.
    pub seed: String,
    /// Time of all timestamps, seconds since the Unix epoch.
    pub timestamp: i64,
    /// Id of the existing partition that the image names as the one it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partuuid: Option<String>,
    /// Length of the disk in bytes.
    pub disk_len: u64,
    /// Logical sector size in bytes.
    pub sector_size: u32,
    /// True if it was written onto an older system: what lies between what was written is then whatever was there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub updated: bool,
    /// Named ranges by offset.
    pub regions: Vec<RegionEntry>,
    /// Composed files that partitions contain.
    pub artifacts: Vec<ArtifactEntry>,
}

/// A named range of the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionEntry {
    /// Name of the table part, blob or partition.
    pub name: String,
    /// `table`, `blob`, `fat16`, `fat32`, `ext4`, `squashfs`, `raw`, `tar` or `oci`.
    pub kind: String,
    /// First byte on the disk.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// Written last.
    pub critical: bool,
    /// Whose the content is once the medium is used.
    #[serde(default, skip_serializing_if = "Owner::is_system")]
    pub owner: Owner,
    /// Label and id of the filesystem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The ranges that were written and their digests; what lies between is free space.
    pub extents: Vec<Extent>,
    /// Files of the filesystem.
    pub files: Vec<FileEntry>,
    /// Metadata of everything in an ext4 of the system.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeEntry>,
}

/// A file, directory or other node of an ext4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Path, see [`crate::tree::display`].
    pub path: String,
    /// Metadata of the node.
    #[serde(flatten)]
    pub facts: Facts,
}

/// Whose the content of a region is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// The system's: what was written stays, but for files that say otherwise.
    #[default]
    System,
    /// The user's: anything in it may change.
    User,
}

impl Owner {
    fn is_system(&self) -> bool {
        *self == Owner::System
    }
}

/// Label and id by which a filesystem is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Volume label.
    pub label: String,
    /// FAT serial number as programs print it, or ext4 UUID.
    pub id: String,
}

/// A file of a filesystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path, length and digest.
    #[serde(flatten)]
    pub file: WrittenFile,
    /// The artifact that the file is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// True if it is the user's to change: written when the medium is made, left alone by updates.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
    /// Attributes on a FAT that say how it may be used: read-only (1), hidden (2), system (4).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attributes: u8,
}

fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// A composed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactEntry {
    /// Name as in the board descriptor.
    pub name: String,
    /// `squashfs`, `cpio`, `ext4`, `fat32`, `uboot-ramdisk`, `uboot-script` or `text`.
    pub format: String,
    /// Bytes.
    pub size: u64,
    /// Digest of the bytes.
    pub blake3: Digest,
    /// Files inside.
    pub files: Vec<WrittenFile>,
}

/// Reason why a manifest cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum ManifestError {
    /// Not JSON, or not a manifest.
    #[error("`{file}:{line}:{column}`: {message}")]
    #[diagnostic(hint = "give the .manifest.json that `assemble` wrote beside the image")]
    Json {
        /// The file.
        file: String,
        /// Line from 1.
        line: usize,
        /// Column from 1.
        column: usize,
        /// Message of the parser.
        message: String,
    },
    /// Made by another version of the program.
    #[error("`{file}` has manifest version {found} but this program reads version {VERSION}")]
    #[diagnostic(hint = "use the version of skiff-image that made the image")]
    Version {
        /// The file.
        file: String,
        /// Its version.
        found: u32,
    },
    /// An extent outside of its region would not be looked at.
    #[error(
        "{file}: region `{region}` has an extent at byte {offset}, outside of its bytes {start} to {end}"
    )]
    #[diagnostic(hint = "it was changed; write or copy the image's own manifest again")]
    Outside {
        /// The file.
        file: String,
        /// The region.
        region: String,
        /// First byte of the extent.
        offset: u64,
        /// First byte of the region.
        start: u64,
        /// The byte behind its last.
        end: u64,
    },
    /// There is none.
    #[error("the manifest `{file}` does not exist")]
    #[diagnostic(hint = "`assemble` and `flash` write one", code = "no-manifest")]
    Missing {
        /// The file.
        file: String,
    },
    /// The image or device is shorter than the disk was.
    #[error("`{target}` has {} but the manifest is about a disk of {}", ByteSize(*have), ByteSize(*need))]
    #[diagnostic(kind = Mismatch, hint = "check that it is the right image or device")]
    TooShort {
        /// Image or device.
        target: String,
        /// Bytes of the manifest's disk.
        need: u64,
        /// Bytes there are.
        have: u64,
    },
}

impl Manifest {
    /// Writes the manifest as JSON text, which may be long, piece by piece.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut out, self)?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// Reads a manifest file.
    pub fn read(path: &Path) -> Result<Manifest, Error> {
        let file = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ManifestError::Missing { file }.into());
            }
            text => text.map_err(Io::on("read", path))?,
        };
        // Another version may have other fields, so it is looked at before them.
        let Version { manifest: found } = parse(&file, &text)?;
        if found != VERSION {
            return Err(ManifestError::Version { file, found }.into());
        }
        let manifest: Manifest = parse(&file, &text)?;
        manifest.regions.iter().try_for_each(|region| region.reject_outside(&file))?;
        Ok(manifest)
    }

    /// The manifest of a ready image that was copied: where its bytes are and their digests, by partition. Of the files in
    /// them nothing is known. `name` is that of the image.
    pub fn for_copy(name: &str, record: &Record, geometry: Geometry, table: Option<&Table>) -> Manifest {
        let mut partitions: Vec<&Partition> = table.iter().flat_map(|table| &table.partitions).collect();
        partitions.sort_by_key(|partition| partition.start);
        let mut regions = Vec::new();
        let mut at = 0;
        for partition in partitions {
            let range = partition.start.max(at)..partition.range().end.min(geometry.len).max(at);
            push_copied(&mut regions, "before partition", partition.number, at..range.start, record);
            push_copied(&mut regions, "partition", partition.number, range.clone(), record);
            at = at.max(range.end);
        }
        push_copied(&mut regions, "rest", 0, at..geometry.len, record);
        Manifest {
            manifest: VERSION,
            generator: format!("skiff-image {}", env!("CARGO_PKG_VERSION")),
            board: name.into(),
            arch: String::new(),
            seed: String::new(),
            timestamp: 0,
            partuuid: None,
            disk_len: geometry.len,
            sector_size: geometry.sector_size,
            updated: false,
            regions,
            artifacts: Vec::new(),
        }
    }

    /// The artifact of this name.
    pub fn artifact(&self, name: &str) -> Option<&ArtifactEntry> {
        self.artifacts.iter().find(|artifact| artifact.name == name)
    }
}

/// Adds the region of a range of a copied image, if something was written there.
fn push_copied(regions: &mut Vec<RegionEntry>, what: &str, number: u32, range: Range<u64>, record: &Record) {
    let extents = record.within(range.clone()).to_vec();
    if extents.is_empty() {
        return;
    }
    let name = if number == 0 { what.to_owned() } else { format!("{what} {number}") };
    regions.push(RegionEntry {
        name,
        kind: "raw".into(),
        offset: range.start,
        len: range.end - range.start,
        critical: false,
        owner: Owner::System,
        identity: None,
        extents,
        files: Vec::new(),
        nodes: Vec::new(),
    });
}

impl RegionEntry {
    /// Damage is reported by region, so an extent of another place would be damaged in silence. Zeros that two regions
    /// share are one extent, which begins in the first.
    fn reject_outside(&self, file: &str) -> Result<(), ManifestError> {
        let end = self.offset.saturating_add(self.len);
        let outside = |extent: &&Extent| !(self.offset..end).contains(&extent.offset);
        let Some(extent) = self.extents.iter().find(outside) else { return Ok(()) };
        let (file, region) = (file.into(), self.name.clone());
        Err(ManifestError::Outside { file, region, offset: extent.offset, start: self.offset, end })
    }
}

/// Fields that manifests of all versions have.
#[derive(Deserialize)]
struct Version {
    manifest: u32,
}

fn parse<'t, T: Deserialize<'t>>(file: &str, text: &'t str) -> Result<T, ManifestError> {
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        // The place stands before the message already.
        let place = format!(" at line {line} column {column}");
        let message = message.strip_suffix(&place).unwrap_or(&message).to_owned();
        ManifestError::Json { file: file.into(), line, column, message }
    })
}
