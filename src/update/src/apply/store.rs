//! What an update is written to.

use std::io;

use crate::Slot;
use crate::state::Sectors;

/// The slots of a device, and the two copies of its state record.
///
/// Files are those of a slot: what stands anywhere else is never touched. Between two calls of [`Store::settle`] changes
/// may reach the medium in any order, or in part.
pub trait Store: Sectors {
    /// Length of a file; none if there is no such file.
    fn len(&self, slot: Slot, name: &str) -> io::Result<Option<u64>>;

    /// Names of all files of a slot.
    fn names(&self, slot: Slot) -> io::Result<Vec<String>>;

    /// Fills `buf` from a place in a file.
    fn read_at(&self, slot: Slot, name: &str, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Like [`Store::read_at`], but from the medium. Only meaningful after [`Store::settle`].
    fn read_back(&self, slot: Slot, name: &str, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Makes a file of this length, or changes the length of one.
    fn create(&self, slot: Slot, name: &str, len: u64) -> io::Result<()>;

    /// Writes inside of a file.
    fn write_at(&self, slot: Slot, name: &str, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Removes a file, if it is there.
    fn remove(&self, slot: Slot, name: &str) -> io::Result<()>;

    /// Returns when all changes of a slot are on the medium, where a boot loader sees them that knows nothing of
    /// journals.
    fn settle(&self, slot: Slot) -> io::Result<()>;

    /// What the files of a slot, with these lengths, need beyond what the slot has now; one for each filesystem.
    fn room(&self, slot: Slot, files: &[(&str, u64)]) -> io::Result<Vec<Room>>;
}

/// Room on a filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// A directory of it, or another name for people.
    pub place: String,
    /// Bytes that are needed.
    pub need: u64,
    /// Bytes that are free.
    pub have: u64,
    /// Files that are needed.
    pub files: u64,
    /// Files that can be made; none if the filesystem has no such limit.
    pub inodes: Option<u64>,
}
