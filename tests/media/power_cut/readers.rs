//! Whoever could take a medium for one that holds a system, and what it would find on it.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;

use ext4_view::{Ext4, Ext4Read};
use gpt::disk::LogicalBlockSize;
use skiff_image::storage::{CowMemory, Target};
use skiff_image::table;

/// Somebody who looks at media.
pub struct Reader {
    pub name: &'static str,
    /// What it finds, in words that are equal for the same system; none if it finds nothing to boot or mount.
    pub find: fn(&Arc<CowMemory>) -> Option<String>,
    /// First bytes that an old system needs not have any more for this reader: it does not look at them.
    pub spares_of_old: u64,
    /// The same of a new one: bytes at the start and at the end.
    pub spares_of_new: (u64, u64),
}

pub const READERS: [Reader; 7] = [
    Reader { name: "the own reader", find: own, spares_of_old: 0, spares_of_new: (0, 0) },
    // It wants no protective MBR and only one of the two copies, and does not look at the checksum of the entries:
    // for it a system is there when all but the tables is. Boot ROMs, which want no table either, have checksums of
    // what they load, and what they load looks for a table with a protective MBR.
    Reader { name: "gpt", find: gpt, spares_of_old: 8192, spares_of_new: (8192, 4096) },
    Reader { name: "mbrman", find: mbr, spares_of_old: 0, spares_of_new: (0, 0) },
    Reader { name: "a BIOS", find: signature, spares_of_old: 0, spares_of_new: (0, 0) },
    // The first KiB belongs to boot code.
    Reader { name: "ext4-view", find: ext4, spares_of_old: 512, spares_of_new: (512, 0) },
    Reader { name: "fatfs", find: fat, spares_of_old: 0, spares_of_new: (0, 0) },
    Reader { name: "squashfs", find: squashfs, spares_of_old: 0, spares_of_new: (0, 0) },
];

fn own(medium: &Arc<CowMemory>) -> Option<String> {
    let table = table::read(&**medium).expect("memory is read")?;
    Some(format!("{:?}", table.partitions))
}

fn gpt(medium: &Arc<CowMemory>) -> Option<String> {
    let size = match medium.geometry().sector_size {
        4096 => LogicalBlockSize::Lb4096,
        _ => LogicalBlockSize::Lb512,
    };
    let config = gpt::GptConfig::new().writable(false).logical_block_size(size);
    let disk = config.open_from_device(Cursor::new(medium)).ok()?;
    Some(format!("{} {:?}", disk.guid(), disk.partitions()))
}

fn mbr(medium: &Arc<CowMemory>) -> Option<String> {
    let sector_size = medium.geometry().sector_size;
    let mbr = mbrman::MBR::read_from(&mut Cursor::new(medium), sector_size).ok()?;
    Some(format!("{:?}", mbr.header))
}

/// All of the first 512 bytes, if they are what a BIOS runs.
fn signature(medium: &Arc<CowMemory>) -> Option<String> {
    let mut sector = [0; 512];
    medium.read_at(&mut sector, 0).expect("memory is read");
    sector.ends_with(&[0x55, 0xaa]).then(|| blake3::hash(&sector).to_string())
}

fn ext4(medium: &Arc<CowMemory>) -> Option<String> {
    let filesystem = Ext4::load(Box::new(Cursor::new(medium))).ok()?;
    Some(format!("{:?} {:?}", filesystem.label(), filesystem.uuid()))
}

fn fat(medium: &Arc<CowMemory>) -> Option<String> {
    let filesystem = fatfs::FileSystem::new(Cursor::new(medium), fatfs::FsOptions::new()).ok()?;
    Some(format!("{} {:x}", filesystem.volume_label(), filesystem.volume_id()))
}

fn squashfs(medium: &Arc<CowMemory>) -> Option<String> {
    let mut start = [0; 96];
    medium.read_at(&mut start, 0).expect("memory is read");
    start.starts_with(b"hsqs").then(|| format!("{start:?}"))
}

/// A medium as other crates read it.
#[derive(Clone)]
struct Cursor {
    medium: Arc<CowMemory>,
    at: u64,
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "memory at {}", self.at)
    }
}

impl Cursor {
    fn new(medium: &Arc<CowMemory>) -> Cursor {
        Cursor { medium: Arc::clone(medium), at: 0 }
    }

    fn range(&self, len: usize) -> Range<u64> {
        let end = self.medium.geometry().len;
        self.at.min(end)..(self.at + len as u64).min(end)
    }
}

impl Read for Cursor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let range = self.range(buf.len());
        let count = (range.end - range.start) as usize;
        self.medium.read_at(&mut buf[..count], range.start).map_err(io::Error::other)?;
        self.at = range.end;
        Ok(count)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (from, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(by) => (self.at, by),
            SeekFrom::End(by) => (self.medium.geometry().len, by),
        };
        self.at = from.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// The `gpt` crate wants to be able to write; nobody does.
impl Write for Cursor {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ext4Read for Cursor {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        Ok(self.medium.read_at(dst, start_byte)?)
    }
}
