//! Looks at the tables of a FAT filesystem: whether their copies are the same, and whether the chains of clusters agree
//! with the directories. Field names and rules are those of fatgen103.

use std::io::{self, Read, Seek, SeekFrom};

use super::raw::{ATTR_DIRECTORY, ATTR_VOLUME_ID, DIR_ENTRY_SIZE};

/// Most clusters that FAT16 has, as every driver counts (`MAX_FAT16` of the kernel).
const MAX_FAT16: u64 = 65_524;
/// Bytes that are compared at once.
const CHUNK: u64 = 1 << 20;
/// The state of a volume in the boot sector of FAT32 and FAT16 (`fat_boot_sector.state` of the kernel): its low bit says
/// that it is mounted.
const STATE: [usize; 2] = [65, 37];
/// A cluster that is not to be used.
const BAD: u32 = 0x0FFF_FFF7;
/// Deepest directory that is looked at.
const DEEPEST: usize = 512;

/// Finds what contradicts itself in the filesystem that `source` is, or none.
pub fn examine(source: &mut (impl Read + Seek)) -> io::Result<Vec<String>> {
    let mut sector = [0; 512];
    read_at(source, 0, &mut sector)?;
    let Some(geometry) = Geometry::parse(&sector) else {
        return Ok(vec!["the sizes in its first sector are impossible".into()]);
    };
    let mut problems = Vec::new();
    problems.extend(geometry.copy_of_boot_sector(source)?);
    problems.extend(geometry.copy_of_table(source)?);
    let table = geometry.table(source)?;
    let mut chains =
        Chains { geometry: &geometry, used: vec![false; table.len()], table, problems: Vec::new() };
    chains.walk(source)?;
    problems.extend(chains.problems);
    Ok(problems)
}

struct Geometry {
    is_fat32: bool,
    sector: u64,
    cluster: u64,
    reserved: u64,
    /// Bytes of a table.
    table_len: u64,
    copies: u64,
    /// Bytes of the root directory of FAT16.
    root_len: u64,
    root_cluster: u32,
    /// `BPB_BkBootSec`.
    backup: u64,
    /// Set if only one table is kept up to date.
    is_mirrored: bool,
    clusters: u64,
    is_mounted: bool,
}

fn u16_at(bytes: &[u8], at: usize) -> u64 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]]).into()
}

fn u32_at(bytes: &[u8], at: usize) -> u64 {
    u16_at(bytes, at) | u16_at(bytes, at + 2) << 16
}

fn read_at(source: &mut (impl Read + Seek), at: u64, bytes: &mut [u8]) -> io::Result<()> {
    source.seek(SeekFrom::Start(at))?;
    source.read_exact(bytes)
}

impl Geometry {
    fn parse(boot: &[u8; 512]) -> Option<Geometry> {
        let or = |small: u64, large: u64| if small == 0 { large } else { small };
        let (sector, per_cluster) = (u16_at(boot, 11), u64::from(boot[13]));
        let (total, table) = (or(u16_at(boot, 19), u32_at(boot, 32)), or(u16_at(boot, 22), u32_at(boot, 36)));
        let root_len = u16_at(boot, 17) * DIR_ENTRY_SIZE;
        let copies = u64::from(boot[16]);
        if !(512..=4096).contains(&sector) || per_cluster == 0 || !(1..=2).contains(&copies) {
            return None;
        }
        let before = u16_at(boot, 14) + copies * table + root_len.div_ceil(sector);
        let clusters = total.checked_sub(before)? / per_cluster;
        let is_fat32 = clusters > MAX_FAT16;
        let entries = table * sector / if is_fat32 { 4 } else { 2 };
        let state = boot[STATE[usize::from(!is_fat32)]];
        (clusters + 2 <= entries).then(|| Geometry {
            is_fat32,
            sector,
            cluster: per_cluster * sector,
            reserved: u16_at(boot, 14) * sector,
            table_len: table * sector,
            copies,
            root_len,
            root_cluster: if is_fat32 { u32_at(boot, 44) as u32 } else { 0 },
            backup: if is_fat32 { u16_at(boot, 50) } else { 0 },
            is_mirrored: !is_fat32 || u16_at(boot, 40) & 0x80 == 0,
            clusters,
            is_mounted: state & 1 == 1,
        })
    }

    /// The copy of the boot sector and what belongs to it: systems write only the state and, in `FSInfo`, what is free.
    fn copy_of_boot_sector(&self, source: &mut (impl Read + Seek)) -> io::Result<Option<String>> {
        if self.backup == 0 || self.backup == 0xFFFF || (self.backup + 3) * self.sector > self.reserved {
            return Ok(None);
        }
        let len = 3 * self.sector as usize;
        let (mut own, mut copy) = (vec![0; len], vec![0; len]);
        read_at(source, 0, &mut own)?;
        read_at(source, self.backup * self.sector, &mut copy)?;
        for bytes in [&mut own, &mut copy] {
            bytes[STATE[0]] = 0;
            let info = self.sector as usize;
            bytes[info + 488..info + 496].fill(0); // FSI_Free_Count, FSI_Nxt_Free
        }
        let differs = own.iter().zip(&copy).position(|(own, copy)| own != copy);
        Ok(differs.map(|at| {
            let sector = at as u64 / self.sector;
            format!("sector {sector} and its copy, sector {}, differ in byte {at}", sector + self.backup)
        }))
    }

    /// The second table.
    fn copy_of_table(&self, source: &mut (impl Read + Seek)) -> io::Result<Option<String>> {
        if self.copies < 2 || !self.is_mirrored || self.is_mounted {
            return Ok(None);
        }
        for at in (0..self.table_len).step_by(CHUNK as usize) {
            let len = CHUNK.min(self.table_len - at) as usize;
            let (mut own, mut copy) = (vec![0; len], vec![0; len]);
            read_at(source, self.reserved + at, &mut own)?;
            read_at(source, self.reserved + self.table_len + at, &mut copy)?;
            if let Some(index) = own.iter().zip(&copy).position(|(own, copy)| own != copy) {
                let entry = (at + index as u64) / if self.is_fat32 { 4 } else { 2 };
                return Ok(Some(format!("its two tables differ, first in the entry of cluster {entry}")));
            }
        }
        Ok(None)
    }

    /// The entries of all clusters, those of FAT16 as FAT32 would have them.
    fn table(&self, source: &mut (impl Read + Seek)) -> io::Result<Vec<u32>> {
        let entries = self.clusters + 2;
        let mut bytes = vec![0; (entries * if self.is_fat32 { 4 } else { 2 }) as usize];
        read_at(source, self.reserved, &mut bytes)?;
        Ok(match self.is_fat32 {
            true => bytes.chunks_exact(4).map(|entry| u32_at(entry, 0) as u32 & 0x0FFF_FFFF).collect(),
            false => bytes.chunks_exact(2).map(|entry| wide(u16_at(entry, 0) as u32)).collect(),
        })
    }

    /// First byte of a cluster.
    fn place(&self, cluster: u32) -> u64 {
        let data = self.reserved + self.copies * self.table_len + self.root_len.next_multiple_of(self.sector);
        data + (u64::from(cluster) - 2) * self.cluster
    }
}

/// An entry of FAT16: its marks are the upper ones of FAT32.
fn wide(entry: u32) -> u32 {
    if entry >= 0xFFF0 { entry | 0x0FFF_0000 } else { entry }
}

struct Chains<'g> {
    geometry: &'g Geometry,
    table: Vec<u32>,
    /// Clusters that a directory leads to.
    used: Vec<bool>,
    problems: Vec<String>,
}

/// A directory entry that leads to clusters.
struct Found {
    name: String,
    cluster: u32,
    /// Length of a file; none for a directory.
    size: Option<u64>,
}

impl Chains<'_> {
    fn walk(&mut self, source: &mut (impl Read + Seek)) -> io::Result<()> {
        let geometry = self.geometry;
        let mut root = vec![0; geometry.root_len as usize];
        let mut open = Vec::new();
        match geometry.is_fat32 {
            true => open.push((String::new(), self.chain("", geometry.root_cluster), 0)),
            false => {
                read_at(source, geometry.reserved + geometry.copies * geometry.table_len, &mut root)?;
                self.entries("", &root, 0, &mut open);
            }
        }
        while let Some((path, clusters, depth)) = open.pop() {
            let mut bytes = vec![0; clusters.len() * geometry.cluster as usize];
            for (cluster, piece) in clusters.iter().zip(bytes.chunks_mut(geometry.cluster as usize)) {
                read_at(source, geometry.place(*cluster), piece)?;
            }
            if depth < DEEPEST {
                self.entries(&path, &bytes, depth + 1, &mut open);
            }
        }
        // A system that was cut off leaves chains without a name; they harm nothing.
        let lost = || (2..self.table.len()).find(|at| !self.used[*at] && !matches!(self.table[*at], 0 | BAD));
        if !geometry.is_mounted
            && let Some(cluster) = lost()
        {
            self.problems.push(format!("cluster {cluster} is in use but no directory leads to it"));
        }
        Ok(())
    }

    /// Looks at the entries of a directory, and remembers those that are directories.
    fn entries(&mut self, path: &str, bytes: &[u8], depth: usize, open: &mut Vec<(String, Vec<u32>, usize)>) {
        let entries = bytes.chunks_exact(DIR_ENTRY_SIZE as usize).take_while(|entry| entry[0] != 0);
        let found: Vec<Found> = entries.filter_map(|entry| self.found(path, entry)).collect();
        for Found { name, cluster, size } in found {
            let clusters = if cluster == 0 { Vec::new() } else { self.chain(&name, cluster) };
            match size {
                None => open.push((name, clusters, depth)),
                Some(size) => {
                    let (has, needs) = (clusters.len() as u64, size.div_ceil(self.geometry.cluster));
                    if has != needs && !(self.geometry.is_mounted && has > needs) {
                        self.problems.push(format!("`{name}` has {has} clusters but needs {needs}"));
                    }
                }
            }
        }
    }

    fn found(&self, path: &str, entry: &[u8]) -> Option<Found> {
        let attributes = entry[11];
        // Deleted, a part of a long name or a label; a directory itself and the one above it.
        if entry[0] == 0xE5 || attributes & ATTR_VOLUME_ID != 0 || entry.starts_with(b".") {
            return None;
        }
        let part =
            |range: std::ops::Range<usize>| String::from_utf8_lossy(&entry[range]).trim_end().to_owned();
        let (base, extension) = (part(0..8), part(8..11));
        let dot = if extension.is_empty() { "" } else { "." };
        let high = if self.geometry.is_fat32 { u16_at(entry, 20) as u32 } else { 0 };
        let is_directory = attributes & ATTR_DIRECTORY != 0;
        Some(Found {
            name: format!("{path}/{base}{dot}{extension}"),
            cluster: high << 16 | u16_at(entry, 26) as u32,
            size: (!is_directory).then(|| u32_at(entry, 28)),
        })
    }

    /// The clusters of a chain, as far as they are nobody else's.
    fn chain(&mut self, name: &str, first: u32) -> Vec<u32> {
        let mut clusters = Vec::new();
        let mut next = first;
        while next < BAD {
            let is_known = next >= 2 && (next as usize) < self.table.len();
            if !is_known || self.used[next as usize] {
                let what = if is_known { "which belongs to another chain, too" } else { "which is none" };
                self.problems.push(format!("the chain of `{name}` leads to cluster {next}, {what}"));
                break;
            }
            self.used[next as usize] = true;
            clusters.push(next);
            next = self.table[next as usize];
        }
        clusters
    }
}
