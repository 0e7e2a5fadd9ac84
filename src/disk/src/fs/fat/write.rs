//! From a layout to bytes, front to back: boot sectors, both tables, root directory, clusters.

use super::FatError;
use super::geometry::Kind;
use super::kept::KeptEntry;
use super::layout::{Dir, FIRST_CLUSTER, Layout, Object, ObjectBody};
use super::raw::{
    self, ATTR_ARCHIVE, ATTR_DIRECTORY, ATTR_VOLUME_ID, BACKUP_BOOT_SECTOR, BootSector, DosTime, ShortEntry,
};
use crate::fs::{FileHasher, WrittenFile};
use crate::storage::{Region, RegionWriter};
use crate::tree::{Content, display};

/// Bytes of a table that are written at once.
const CHUNK: u64 = 1 << 20;
/// `BS_VolLab` of a filesystem without a label.
const NO_NAME: [u8; 11] = *b"NO NAME    ";

/// Bytes at the end of a partition where signatures can be; MD 0.90 has its own up to 128 KiB before it.
const SIGNATURES_LEN: u64 = 128 << 10;

/// Result of writing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Every file, in tree order; one with several names once for each.
    pub files: Vec<WrittenFile>,
    /// Bytes from the start of the region to the end of the last cluster in use.
    pub used_len: u64,
}

/// Writes the filesystem. Free clusters keep what the target holds, but for those of the last
/// 128 KiB; everything else is written.
pub fn write(layout: &Layout, region: &Region) -> Result<Written, FatError> {
    region.ensure_fits(layout.geometry.total * layout.geometry.sector_size)?;
    let (files, used_len) = region.stream(0, |writer| put_all(layout, writer))?;
    debug_assert_eq!(used_len, layout.used_len());
    zero_signatures(region, used_len)?;
    Ok(Written { files, used_len })
}

/// Everything up to the last cluster in use; returns where it ends.
fn put_all(layout: &Layout, writer: &mut RegionWriter) -> Result<(Vec<WrittenFile>, u64), FatError> {
    writer.append(&reserved(layout))?;
    for copy in 0..2 {
        put_fat(layout, writer)?;
        writer.zero_to(layout.geometry.fat_start(copy) + layout.geometry.fat_len())?;
    }
    if layout.geometry.kind == Kind::Fat16 {
        put_object_dir(layout, &layout.objects[0], writer)?;
        writer.zero_to(layout.geometry.data_start())?;
    }
    debug_assert_eq!(writer.position(), layout.geometry.data_start());
    let files = put_clusters(layout, writer)?;
    Ok((files, writer.position()))
}

/// Signatures of RAIDs and other filesystems that an earlier life of the medium left in the last blocks make
/// tools see those instead of the FAT.
fn zero_signatures(region: &Region, used_len: u64) -> Result<(), FatError> {
    let start = region.len().saturating_sub(SIGNATURES_LEN).max(used_len);
    Ok(region.zero(start, region.len() - start)?)
}

/// The sectors before the tables.
fn reserved(layout: &Layout) -> Vec<u8> {
    let geometry = &layout.geometry;
    let sector_size = geometry.sector_size as usize;
    let mut bytes = vec![0; geometry.reserved as usize * sector_size];
    let boot = boot_sector(layout).encode();
    let mut put = |sector: u64, from: &[u8]| {
        let at = sector as usize * sector_size;
        bytes[at..at + sector_size].copy_from_slice(from);
    };
    put(0, &boot);
    if geometry.kind == Kind::Fat32 {
        let free = (geometry.clusters - layout.used) as u32;
        // Where there is none free, all ones say that there is no hint.
        let next = if free == 0 { u32::MAX } else { (FIRST_CLUSTER + layout.used) as u32 };
        let info = raw::fs_info(geometry.sector_size as u32, free, next);
        put(1, &info);
        put(BACKUP_BOOT_SECTOR, &boot);
        put(BACKUP_BOOT_SECTOR + 1, &info);
    }
    bytes
}

fn boot_sector(layout: &Layout) -> BootSector {
    let geometry = &layout.geometry;
    BootSector {
        is_fat32: geometry.kind == Kind::Fat32,
        byts_per_sec: geometry.sector_size as u32,
        sec_per_clus: geometry.sectors_per_cluster as u32,
        rsvd_sec_cnt: geometry.reserved as u32,
        root_ent_cnt: geometry.root_entries as u32,
        tot_sec: geometry.total as u32,
        fat_sz: geometry.fat_sectors as u32,
        hidd_sec: layout.options.hidden_sectors,
        vol_id: layout.options.volume_id,
        vol_lab: if layout.options.label.is_empty() { NO_NAME } else { layout.label },
    }
}

/// The entries of one table up to the last cluster in use.
fn put_fat(layout: &Layout, writer: &mut RegionWriter) -> Result<(), FatError> {
    let entry = layout.geometry.kind.entry();
    let mut buffer = Vec::with_capacity(CHUNK as usize + 4);
    entry.put_head(&mut buffer);
    for object in layout.objects.iter().filter(|object| object.count > 0) {
        for next in object.first + 1..object.first + object.count {
            entry.put(&mut buffer, next as u32);
            if buffer.len() >= CHUNK as usize {
                writer.append(&buffer)?;
                buffer.clear();
            }
        }
        entry.put_end(&mut buffer);
    }
    writer.append(&buffer)?;
    Ok(())
}

/// The contents of all clusters in use.
fn put_clusters(layout: &Layout, writer: &mut RegionWriter) -> Result<Vec<WrittenFile>, FatError> {
    let mut files = Vec::new();
    for object in &layout.objects {
        match &object.body {
            ObjectBody::Dir(_) if object.count == 0 => {}
            ObjectBody::Dir(_) => put_object_dir(layout, object, writer)?,
            ObjectBody::File(content) => files.push(put_file(object, content, writer)?),
        }
        pad_clusters(layout, object, writer)?;
    }
    Ok(files)
}

/// Zeroes up to the end of the last cluster: what follows the end of a directory must be zero, and no old data
/// of the medium shall be part of an image.
fn pad_clusters(layout: &Layout, object: &Object, writer: &mut RegionWriter) -> Result<(), FatError> {
    static ZEROS: [u8; 32 << 10] = [0; 32 << 10];
    if object.count > 0 {
        let clusters = object.first - FIRST_CLUSTER + object.count;
        let end = layout.geometry.data_start() + clusters * layout.geometry.cluster_size();
        writer.append(&ZEROS[..(end - writer.position()) as usize])?;
    }
    Ok(())
}

/// Reads only what a sparse file stores.
fn put_file(object: &Object, content: &Content, writer: &mut RegionWriter) -> Result<WrittenFile, FatError> {
    let mut hasher = FileHasher::new(content.len());
    let (size, mut at) = (content.len(), 0);
    let opened = if size > 0 { Some(content.open()?) } else { None };
    while let Some(opened) = opened.as_ref().filter(|_| at < size) {
        let data = opened.next_data(at)?.unwrap_or(size..size);
        hasher.update_zeros(data.start - at);
        writer.zero_to(writer.position() + data.start - at)?;
        at = data.start;
        while at < data.end {
            let bytes = writer.spare_capacity(data.end - at)?;
            opened.read_at(bytes, at)?;
            hasher.update(bytes);
            let len = bytes.len();
            writer.advance(len);
            at += len as u64;
        }
    }
    Ok(WrittenFile { path: display(&object.path), size, blake3: hasher.finalize() })
}

fn put_object_dir(layout: &Layout, object: &Object, writer: &mut RegionWriter) -> Result<(), FatError> {
    if let ObjectBody::Dir(dir) = &object.body {
        writer.append(&dir_bytes(layout, object, dir))?;
    }
    Ok(())
}

/// The entries of a directory.
fn dir_bytes(layout: &Layout, object: &Object, dir: &Dir) -> Vec<u8> {
    let mut out = Vec::new();
    if dir.has_label {
        let stamps = KeptEntry::new(ATTR_VOLUME_ID, DosTime::from_unix(layout.options.timestamp));
        ShortEntry { name: layout.label, stamps, cluster: 0, size: 0 }.put(&mut out);
    }
    if let Some(parent) = dir.parent {
        let dot = |name: &[u8; 11], cluster: u64, time| ShortEntry {
            name: *name,
            stamps: KeptEntry::new(ATTR_DIRECTORY, time),
            cluster: cluster as u32,
            size: 0,
        };
        // The root counts as cluster zero here, also on FAT32.
        let above = if parent == 0 { 0 } else { layout.objects[parent].first };
        dot(b".          ", object.first, object.time).put(&mut out);
        dot(b"..         ", above, layout.objects[parent].time).put(&mut out);
    }
    for entry in &dir.entries {
        let child = &layout.objects[entry.object];
        raw::put_long(&mut out, &entry.name.long, &entry.name.short);
        let (attr, size) = match &child.body {
            ObjectBody::Dir(_) => (ATTR_DIRECTORY, 0),
            ObjectBody::File(content) => (ATTR_ARCHIVE, content.len() as u32),
        };
        let stamps = child.kept.unwrap_or(KeptEntry::new(attr, child.time));
        ShortEntry { name: entry.name.short, stamps, cluster: child.first as u32, size }.put(&mut out);
    }
    out
}
