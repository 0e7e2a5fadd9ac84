//! Partitions: type, length and what they are formatted with.

use uuid::{Uuid, uuid};

use super::Checker;
use crate::board::raw::{OneOrMany, RawFilesystem, RawPartition, RawType};
use crate::board::{BoardError, Filesystem, Partition, Size, TableKind, Update};
use crate::fs::compress::Compression;

/// GPT type GUIDs by the names descriptors use (UEFI specification 2.10, section 5.3.3, and the Discoverable
/// Partitions Specification).
const GPT_TYPES: [(&str, Uuid); 3] = [
    ("esp", uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")),
    ("linux", uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4")),
    ("basic-data", uuid!("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")),
];

/// Type bytes of an MBR entry for what a partition is formatted with, if the descriptor does not say.
const MBR_FAT32_LBA: u8 = 0x0c;
const MBR_FAT16_LBA: u8 = 0x0e;
const MBR_LINUX: u8 = 0x83;

impl Checker<'_> {
    pub(super) fn partition(
        &self,
        table: TableKind,
        number: u32,
        raw: RawPartition,
    ) -> Result<Partition, BoardError> {
        let place = format!("partition `{}`", raw.name);
        let filesystem = self.filesystem(&place, &raw)?;
        let (mbr_type, type_guid) = self.partition_type(&place, table, &raw, &filesystem)?;
        let size = self.size(&place, &raw)?;
        if !raw.file.is_empty() && !filesystem.holds_files() {
            return Err(self.invalid(place, "files can only be put on fat16, fat32, ext4, tar and oci"));
        }
        let files = self.places(&place, raw.file)?;
        let always = files.iter().any(|file| !file.optional);
        let update = raw.update.unwrap_or(if always { Update::Files } else { Update::Never });
        Ok(Partition {
            number,
            update,
            start: raw.start,
            size,
            mbr_type,
            active: raw.active,
            type_guid,
            attributes: raw.attributes,
            filesystem,
            files,
            name: raw.name,
        })
    }

    fn filesystem(&self, place: &str, raw: &RawPartition) -> Result<Filesystem, BoardError> {
        let label = || {
            raw.label
                .clone()
                .ok_or_else(|| self.invalid(place, "`label` is missing: boards find it by label"))
        };
        let squashfs = raw.filesystem == RawFilesystem::Squashfs;
        if !squashfs && (raw.codec.is_some() || raw.block.is_some()) {
            return Err(self.invalid(place, "`codec` and `block` mean nothing but for squashfs"));
        }
        self.reject_foreign_to_filesystem(place, raw)?;
        Ok(match raw.filesystem {
            RawFilesystem::Fat16 => Filesystem::Fat16 { label: label()? },
            RawFilesystem::Fat32 => Filesystem::Fat32 { label: label()? },
            RawFilesystem::Ext4 => Filesystem::Ext4 { label: label()? },
            RawFilesystem::Squashfs => Filesystem::Squashfs {
                codec: self.codec(place, raw.codec.clone())?,
                block: self.block(place, raw.block)?,
            },
            RawFilesystem::Raw => self.raw(place, raw)?,
            RawFilesystem::Tar => {
                Filesystem::Tar { compression: self.compression(place, raw.compression.clone())? }
            }
            RawFilesystem::Oci => self.oci(place, raw)?,
            RawFilesystem::None => Filesystem::None,
        })
    }

    /// A key that the filesystem does not know would be ignored in silence.
    fn reject_foreign_to_filesystem(&self, place: &str, raw: &RawPartition) -> Result<(), BoardError> {
        use RawFilesystem::{Oci, Raw, Tar};
        let keys: [(&str, bool, &[RawFilesystem], &str); 4] = [
            ("image", raw.image.is_some(), &[Raw], "raw"),
            ("optional", raw.optional, &[Raw], "raw"),
            ("compression", raw.compression.is_some(), &[Tar, Oci], "tar and oci"),
            ("oci", raw.oci.is_some(), &[Oci], "oci"),
        ];
        match keys.iter().find(|(_, given, known, _)| *given && !known.contains(&raw.filesystem)) {
            Some((key, _, _, known)) => {
                Err(self.invalid(place, format!("`{key}` means nothing but for {known}")))
            }
            None => Ok(()),
        }
    }

    fn raw(&self, place: &str, raw: &RawPartition) -> Result<Filesystem, BoardError> {
        let images = match &raw.image {
            Some(OneOrMany::One(name)) => vec![name.clone()],
            Some(OneOrMany::Many(names)) if !names.is_empty() => names.clone(),
            _ => return Err(self.invalid(place, "`image` is missing: a raw partition holds a file")),
        };
        Ok(Filesystem::Raw { images, optional: raw.optional })
    }

    /// Readers of the OCI layout know layers as they are, with gzip and with zstd (image-spec 1.0, `layer.md`).
    fn oci(&self, place: &str, raw: &RawPartition) -> Result<Filesystem, BoardError> {
        let compression = self.compression(place, raw.compression.clone())?;
        if !matches!(compression, Compression::None | Compression::Gzip(_) | Compression::Zstd(_)) {
            let problem =
                format!("a layer is compressed with none, gzip or zstd, not {}", compression.name());
            return Err(self.invalid(place, problem));
        }
        let oci = raw.oci.clone().ok_or_else(|| self.invalid(place, "`oci` is missing"))?;
        Ok(Filesystem::Oci { compression, oci })
    }

    fn partition_type(
        &self,
        place: &str,
        table: TableKind,
        raw: &RawPartition,
        filesystem: &Filesystem,
    ) -> Result<(u8, Uuid), BoardError> {
        let mbr_default = match filesystem {
            Filesystem::Fat32 { .. } => MBR_FAT32_LBA,
            Filesystem::Fat16 { .. } => MBR_FAT16_LBA,
            _ => MBR_LINUX,
        };
        let linux = GPT_TYPES[1].1;
        match (table, &raw.kind) {
            (TableKind::Mbr, None) => Ok((mbr_default, linux)),
            (TableKind::Mbr, Some(RawType::Byte(byte))) => Ok((*byte, linux)),
            (TableKind::Mbr, Some(RawType::Name(name))) => {
                Err(self
                    .invalid(place, format!("type `{name}` is for GPT; an MBR wants a byte such as 0x0c")))
            }
            (TableKind::Gpt, None) => Ok((mbr_default, linux)),
            (TableKind::None, None) => Ok((mbr_default, linux)),
            (TableKind::None, Some(_)) => Err(self.invalid(place, "`type` means nothing without a table")),
            (TableKind::Gpt, Some(RawType::Byte(byte))) => {
                Err(self.invalid(place, format!("type {byte:#04x} is for an MBR; GPT wants a name or GUID")))
            }
            (TableKind::Gpt, Some(RawType::Name(name))) => {
                let named = GPT_TYPES.iter().find(|(known, _)| known == name).map(|(_, guid)| *guid);
                let guid = named.or_else(|| name.parse().ok());
                let guid = guid.ok_or_else(|| {
                    let problem = format!("type `{name}` is neither a GUID nor esp, linux or basic-data");
                    self.invalid(place, problem)
                })?;
                Ok((mbr_default, guid))
            }
        }
    }

    fn size(&self, place: &str, raw: &RawPartition) -> Result<Size, BoardError> {
        let size = match raw.size.as_str() {
            "fit" => Size::Fit { slack: raw.slack.unwrap_or_default() },
            "rest" => Size::Rest {
                minimum: raw.minimum.ok_or_else(|| self.invalid(place, "size \"rest\" needs `minimum`"))?,
            },
            text => Size::Exact(text.parse().map_err(|error| self.invalid(place, format!("{error}")))?),
        };
        if raw.slack.is_some() && !matches!(size, Size::Fit { .. }) {
            return Err(self.invalid(place, "`slack` means nothing but for size \"fit\""));
        }
        if raw.minimum.is_some() && !matches!(size, Size::Rest { .. }) {
            return Err(self.invalid(place, "`minimum` means nothing but for size \"rest\""));
        }
        Ok(size)
    }
}
