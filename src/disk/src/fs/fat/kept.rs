//! Directory entries that are written as they were: of files that are not new, but written again.

use super::raw::{ATTR_DIRECTORY, ATTR_VOLUME_ID, DosTime};
use crate::tree::Node;

/// Name under which a node remembers its entry; no archive has it, and no filesystem stores it.
const NAME: &[u8] = b"skiff.fat-entry";
/// Bytes of a remembered entry.
const LEN: usize = 12;

/// Times and attributes of a file as a directory entry stores them; field names are those of fatgen103.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptEntry {
    /// `DIR_Attr`.
    pub attributes: u8,
    /// `DIR_CrtTimeTenth`.
    pub created_tenth: u8,
    /// `DIR_CrtTime`.
    pub created_time: u16,
    /// `DIR_CrtDate`.
    pub created_date: u16,
    /// `DIR_LstAccDate`.
    pub accessed_date: u16,
    /// `DIR_WrtTime`.
    pub written_time: u16,
    /// `DIR_WrtDate`.
    pub written_date: u16,
}

impl KeptEntry {
    /// The entry of a new file or directory: all times are the same.
    pub(super) fn new(attributes: u8, time: DosTime) -> KeptEntry {
        KeptEntry {
            attributes,
            created_tenth: 0,
            created_time: time.time,
            created_date: time.date,
            accessed_date: time.date,
            written_time: time.time,
            written_date: time.date,
        }
    }

    /// Returns whether a node remembers its entry under this name.
    pub(super) fn is_name(name: &[u8]) -> bool {
        name == NAME
    }

    /// Attributes that say how the file may be used: `ATTR_READ_ONLY`, `ATTR_HIDDEN` and `ATTR_SYSTEM`. The others systems
    /// set by themselves.
    pub fn use_attributes(&self) -> u8 {
        self.attributes & 0x07
    }

    /// Has `node`, a file, get this entry when it is written to a FAT.
    pub fn keep(self, node: &mut Node) {
        node.xattrs.insert(NAME.into(), self.to_bytes().as_slice().into());
    }

    /// The entry that `node` is to get, if it has been said.
    pub fn of(node: &Node) -> Option<KeptEntry> {
        let bytes = <&[u8; LEN]>::try_from(&**node.xattrs.get(NAME)?).ok()?;
        let two = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Some(KeptEntry {
            attributes: bytes[0] & !(ATTR_DIRECTORY | ATTR_VOLUME_ID),
            created_tenth: bytes[1],
            created_time: two(2),
            created_date: two(4),
            accessed_date: two(6),
            written_time: two(8),
            written_date: two(10),
        })
    }

    fn to_bytes(self) -> [u8; LEN] {
        let mut bytes = [self.attributes, self.created_tenth, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let numbers =
            [self.created_time, self.created_date, self.accessed_date, self.written_time, self.written_date];
        for (at, number) in (2..).step_by(2).zip(numbers) {
            bytes[at..at + 2].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }
}

#[cfg(all(test, feature = "fat-reader"))]
mod tests {
    use super::*;
    use crate::fs::fat::{self, FatType, Options, Volume};
    use crate::storage::{Memory, Region};
    use crate::tree::{Body, Content, Stat, Tree};

    #[test]
    fn an_entry_is_written_as_it_was_read() {
        let stat = Stat { mode: 0o644, uid: 0, gid: 0, mtime: 1_700_000_000 };
        let mut tree = Tree::new(stat);
        let file = || Node::new(stat, Body::File(Content::bytes(b"mine\n".as_slice())));
        let entry = KeptEntry {
            attributes: 0x23,
            created_tenth: 150,
            created_time: 0x5a31,
            created_date: 0x4e21,
            accessed_date: 0x5022,
            written_time: 0x1234,
            written_date: 0x4f43,
        };
        let mut mine = file();
        entry.keep(&mut mine);
        tree.insert(Tree::ROOT, b"mine.txt", mine);
        tree.insert(Tree::ROOT, b"other.txt", file());
        let options = Options {
            fat_type: FatType::Fat16,
            label: "boot".into(),
            volume_id: 1,
            timestamp: 0,
            hidden_sectors: 0,
            sector_size: 512,
            cluster_size: None,
        };
        let memory = Memory::new(16 << 20);
        let region = Region::whole(&memory, "boot");
        fat::write(&fat::layout(&tree, &options, region.len()).expect("fits"), &region).expect("writes");
        let entries = Volume::open(&region).expect("opens").entries().expect("reads");
        assert_eq!(entries["/mine.txt"], entry);
        let other = entries["/other.txt"];
        assert_eq!((other.attributes, other.created_date == other.written_date), (0x20, true));
        assert_eq!(fat::examine(&mut region.cursor(region.len())).expect("reads"), Vec::<String>::new());
    }
}
