//! The sector that stands in the place of the boot partition's first one while its medium is being rewritten. Nothing
//! takes it for a filesystem, people can read it, and it remembers the ids that the rewritten filesystems had, because
//! a run that is cut off has erased them already.
//!
//! ```text
//! skiff-image: an update of this medium is unfinished; run `skiff-image install` again
//! board odroid/xu
//! boot 1 fat 3a5f01c2 BOOT
//! rootfs 2 ext4 5e7d...-... rootfs
//! 8f1c0e5b7d2a9346
//! ```
//!
//! The last line is the start of the BLAKE3 digest of what stands before it; zeros follow to the end of the sector.

use crate::plan::FilesystemId;
use crate::value::Digest;

/// The first line.
const TITLE: &str = "skiff-image: an update of this medium is unfinished; run `skiff-image install` again\n";
/// Bytes of the marker, whatever the sectors of the medium are: without the last two, in which a boot sector has its
/// signature.
const LEN: usize = 510;
/// Digits of the digest.
const DIGITS: usize = 16;

/// Record of a medium that is being rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The board that they are for.
    pub board: String,
    /// The partitions that are rewritten.
    pub partitions: Vec<Marked>,
}

/// Record of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The board's name for it.
    pub name: String,
    /// Its number in the table.
    pub number: u32,
    /// Its identity.
    pub id: FilesystemId,
    /// Its label.
    pub label: String,
}

impl Marker {
    /// The sector, `sector_size` bytes long; none if a line cannot hold a name, or there is too much to remember.
    pub fn to_sector(&self, sector_size: u32) -> Option<Vec<u8>> {
        if self.partitions.iter().any(|marked| {
            marked.name.contains(|c: char| c.is_whitespace()) || marked.label.contains(char::is_control)
        }) {
            return None;
        }
        let lines: String = self.partitions.iter().map(Marked::line).collect();
        let text = format!("{TITLE}board {}\n{lines}", self.board);
        let text = format!("{text}{}\n", &Digest::of(text.as_bytes()).to_string()[..DIGITS]);
        let mut sector = text.into_bytes();
        (sector.len() <= LEN).then(|| {
            sector.resize(sector_size as usize, 0);
            sector
        })
    }

    /// The marker that `sector` begins with, if it does.
    pub fn parse(sector: &[u8]) -> Option<Marker> {
        let text = std::str::from_utf8(sector.get(..LEN)?).ok()?.trim_end_matches('\0');
        let (before, digits) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let before = format!("{before}\n");
        if Digest::of(before.as_bytes()).to_string().get(..DIGITS) != Some(digits) {
            return None;
        }
        let mut lines = before.strip_prefix(TITLE)?.lines();
        let board = lines.next()?.strip_prefix("board ")?.to_owned();
        Some(Marker { board, partitions: lines.map(Marked::parse).collect::<Option<_>>()? })
    }

    /// Returns the record of the partition `name`.
    pub fn partition(&self, name: &str) -> Option<&Marked> {
        self.partitions.iter().find(|marked| marked.name == name)
    }
}

impl Marked {
    fn line(&self) -> String {
        let Marked { name, number, id, label } = self;
        match id {
            FilesystemId::Fat(serial) => format!("{name} {number} fat {serial:08x} {label}\n"),
            FilesystemId::Ext4(uuid) => format!("{name} {number} ext4 {uuid} {label}\n"),
            FilesystemId::None => format!("{name} {number} none - {label}\n"),
        }
    }

    fn parse(line: &str) -> Option<Marked> {
        let mut words = line.splitn(5, ' ');
        let (name, number) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        let id = match (words.next()?, words.next()?) {
            ("fat", serial) => FilesystemId::Fat(u32::from_str_radix(serial, 16).ok()?),
            ("ext4", uuid) => FilesystemId::Ext4(uuid.parse().ok()?),
            _ => FilesystemId::None,
        };
        Some(Marked { name, number, id, label: words.next()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn marker() -> Marker {
        let marked = |name: &str, number, id, label: &str| Marked {
            name: name.into(),
            number,
            id,
            label: label.into(),
        };
        Marker {
            board: "pine64/rockpro64".into(),
            partitions: vec![
                marked("boot", 1, FilesystemId::Fat(0x3a5f_01c2), "MY BOOT"),
                marked("rootfs", 2, FilesystemId::Ext4(Uuid::from_u128(7)), "rootfs"),
                marked("os", 3, FilesystemId::None, ""),
            ],
        }
    }

    #[test]
    fn what_is_remembered_is_found_again() {
        for sector_size in [512, 4096] {
            let sector = marker().to_sector(sector_size).expect("three partitions fit");
            assert_eq!((sector.len(), &sector[510..512]), (sector_size as usize, [0, 0].as_slice()));
            assert_eq!(Marker::parse(&sector), Some(marker()));
        }
    }

    #[test]
    fn what_is_torn_or_changed_is_no_marker() {
        let mut sector = marker().to_sector(512).expect("it fits");
        sector[100] ^= 1;
        assert_eq!(Marker::parse(&sector), None);
        assert_eq!(Marker::parse(&[0; 512]), None);
        assert_eq!(Marker::parse(&[0xff; 512]), None);
        assert_eq!(Marker::parse(b"short"), None);
    }

    #[test]
    fn more_than_a_sector_is_none() {
        let mut marker = marker();
        marker.partitions = vec![marker.partitions[1].clone(); 8];
        assert_eq!(marker.to_sector(4096), None);
        marker.partitions.truncate(1);
        marker.partitions[0].label = "two\nlines".into();
        assert_eq!(marker.to_sector(512), None);
    }
}
