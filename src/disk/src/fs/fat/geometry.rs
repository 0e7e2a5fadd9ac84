//! Areas of a FAT filesystem: reserved sectors, two tables, root directory (FAT16), clusters.

use super::raw::{DIR_ENTRY_SIZE, FatEntry};
use super::{FatError, FatType, Options};
use crate::value::ByteSize;

/// Fewest and most clusters of FAT16.
const FAT16_CLUSTERS: (u64, u64) = (4085, 65_524);
/// Fewest and most clusters of FAT32; the last numbers of 28 bits are marks.
const FAT32_CLUSTERS: (u64, u64) = (65_525, 0x0FFF_FFF5);
/// `Auto` is FAT32 from this length on.
const AUTO_FAT32_FROM: u64 = 512 << 20;
/// The data area begins at a multiple of a cluster and of this, so that pages of flash are not split.
const DATA_ALIGNMENT: u64 = 4096;
/// Entries of a FAT16 root directory, unless more are needed.
const ROOT_ENTRIES: u64 = 512;
/// Room left in a FAT16 root directory that is larger than usual, and the multiple it is rounded up to.
const ROOT_ENTRIES_SPARE: u64 = 64;
const ROOT_ENTRIES_STEP: u64 = 256;
/// Most entries of a FAT16 root directory: the largest multiple of the step in 16 bits.
pub(super) const MAX_ROOT_ENTRIES: u64 = 65_280;

/// Largest region and bytes per cluster: the tables of fatgen103, FAT16 with one smaller step.
const FAT16_TABLE: [(u64, u32); 7] = [
    (4_300_800, 512),
    (16_732_160, 1 << 10),
    (128 << 20, 2 << 10),
    (256 << 20, 4 << 10),
    (512 << 20, 8 << 10),
    (1 << 30, 16 << 10),
    (u64::MAX, 32 << 10),
];
const FAT32_TABLE: [(u64, u32); 5] =
    [(260 << 20, 512), (8 << 30, 4 << 10), (16 << 30, 8 << 10), (32 << 30, 16 << 10), (u64::MAX, 32 << 10)];

/// A type with its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Fat16,
    Fat32,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Fat16 => "FAT16",
            Kind::Fat32 => "FAT32",
        }
    }

    pub(super) fn entry(self) -> FatEntry {
        match self {
            Kind::Fat16 => FatEntry::Bits16,
            Kind::Fat32 => FatEntry::Bits32,
        }
    }

    fn clusters(self) -> (u64, u64) {
        match self {
            Kind::Fat16 => FAT16_CLUSTERS,
            Kind::Fat32 => FAT32_CLUSTERS,
        }
    }

    fn table(self) -> &'static [(u64, u32)] {
        match self {
            Kind::Fat16 => &FAT16_TABLE,
            Kind::Fat32 => &FAT32_TABLE,
        }
    }
}

/// All sizes of a filesystem, in sectors where not said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub kind: Kind,
    pub sector_size: u64,
    pub sectors_per_cluster: u64,
    pub reserved: u64,
    pub fat_sectors: u64,
    /// Number of entries; zero on FAT32.
    pub root_entries: u64,
    pub total: u64,
    /// Number of clusters.
    pub clusters: u64,
}

impl Geometry {
    pub(super) fn cluster_size(&self) -> u64 {
        self.sector_size * self.sectors_per_cluster
    }

    /// First byte behind the tables.
    pub(super) fn root_start(&self) -> u64 {
        (self.reserved + 2 * self.fat_sectors) * self.sector_size
    }

    /// First byte of cluster 2.
    pub(super) fn data_start(&self) -> u64 {
        self.root_start() + self.root_entries * DIR_ENTRY_SIZE
    }

    /// First byte of a table, 0 or 1.
    pub(super) fn fat_start(&self, copy: u64) -> u64 {
        (self.reserved + copy * self.fat_sectors) * self.sector_size
    }

    /// Length of a table in bytes.
    pub(super) fn fat_len(&self) -> u64 {
        self.fat_sectors * self.sector_size
    }
}

/// The fixed part of a geometry: all but the total and what follows from it.
#[derive(Clone, Copy)]
struct Shape {
    kind: Kind,
    sector_size: u64,
    cluster_size: u64,
    root_entries: u64,
}

impl Shape {
    fn sectors_per_cluster(&self) -> u64 {
        self.cluster_size / self.sector_size
    }

    /// Alignment of the data area in sectors.
    fn alignment(&self) -> u64 {
        (DATA_ALIGNMENT / self.sector_size).max(self.sectors_per_cluster())
    }

    /// 32 on FAT32, as the specification says; an aligned few on FAT16, like `mkfs.fat`.
    fn reserved(&self) -> u64 {
        match self.kind {
            Kind::Fat16 => self.alignment(),
            Kind::Fat32 => 32,
        }
    }

    fn root_sectors(&self) -> u64 {
        self.root_entries * DIR_ENTRY_SIZE / self.sector_size
    }

    fn entries_per_sector(&self) -> u64 {
        self.sector_size / self.kind.entry().size()
    }

    /// At least `fat_sectors`, and so many more that the data area is aligned: the spare entries stay zero.
    fn align_fat(&self, fat_sectors: u64) -> u64 {
        let alignment = self.alignment();
        let before = self.reserved() + self.root_sectors();
        (fat_sectors..fat_sectors + alignment)
            .find(|count| (before + 2 * count).is_multiple_of(alignment))
            .unwrap_or(fat_sectors)
    }

    /// Sectors of each table if there are `total` sectors in all.
    fn fat_sectors(&self, total: u64) -> u64 {
        let rest = total.saturating_sub(self.reserved() + self.root_sectors());
        let per_cluster = self.sectors_per_cluster();
        // The least F with F * entries >= (rest - 2 F) / per_cluster + 2.
        let least = (rest + 2 * per_cluster).div_ceil(per_cluster * self.entries_per_sector() + 2);
        self.align_fat(least)
    }

    fn geometry(&self, total: u64) -> Geometry {
        let fat_sectors = self.fat_sectors(total);
        let overhead = self.reserved() + self.root_sectors() + 2 * fat_sectors;
        Geometry {
            kind: self.kind,
            sector_size: self.sector_size,
            sectors_per_cluster: self.sectors_per_cluster(),
            reserved: self.reserved(),
            fat_sectors,
            root_entries: self.root_entries,
            total,
            clusters: total.saturating_sub(overhead) / self.sectors_per_cluster(),
        }
    }

    /// Fewest bytes in all for this many clusters.
    fn bytes_for(&self, clusters: u64) -> u64 {
        let fat_sectors = self.align_fat((clusters + 2).div_ceil(self.entries_per_sector()));
        let overhead = self.reserved() + self.root_sectors() + 2 * fat_sectors;
        (overhead + clusters * self.sectors_per_cluster()) * self.sector_size
    }
}

/// The geometry for `region_len` bytes whose root directory has `root_entries` entries.
pub(super) fn choose(options: &Options, root_entries: u64, region_len: u64) -> Result<Geometry, FatError> {
    check_sizes(options)?;
    let try_kind = |kind| for_kind(kind, options, root_entries, region_len);
    match options.fat_type {
        FatType::Fat16 => try_kind(Kind::Fat16),
        FatType::Fat32 => try_kind(Kind::Fat32),
        FatType::Auto if region_len < AUTO_FAT32_FROM => {
            try_kind(Kind::Fat16).or_else(|error| try_kind(Kind::Fat32).map_err(|_| error))
        }
        FatType::Auto => try_kind(Kind::Fat32).or_else(|error| try_kind(Kind::Fat16).map_err(|_| error)),
    }
}

/// Lengths at which a filesystem could first be large enough, in rising order: one for each cluster size.
/// `clusters_for` gives the clusters the contents take at a cluster size.
pub(super) fn candidates(
    options: &Options,
    root_entries: u64,
    clusters_for: impl Fn(Kind, u64) -> u64,
) -> Result<Vec<u64>, FatError> {
    check_sizes(options)?;
    let kinds: &[Kind] = match options.fat_type {
        FatType::Fat16 => &[Kind::Fat16],
        FatType::Fat32 => &[Kind::Fat32],
        FatType::Auto => &[Kind::Fat16, Kind::Fat32],
    };
    let mut lengths = Vec::new();
    for kind in kinds {
        let mut from = 0;
        for (upto, table_size) in kind.table() {
            let shape = shape(*kind, options, root_entries, *table_size);
            let clusters = clusters_for(*kind, shape.cluster_size).max(kind.clusters().0);
            let least = shape.bytes_for(clusters);
            lengths.push(least);
            // Where the table gives this cluster size only to larger regions.
            lengths.push(least.max(from));
            from = upto.saturating_add(shape.sector_size) / shape.sector_size * shape.sector_size;
        }
    }
    lengths.sort_unstable();
    lengths.dedup();
    Ok(lengths)
}

fn check_sizes(options: &Options) -> Result<(), FatError> {
    let sector_size = options.sector_size;
    if ![512, 4096].contains(&sector_size) {
        return Err(FatError::SectorSize(sector_size));
    }
    match options.cluster_size {
        Some(size) if !size.is_power_of_two() || size < sector_size || size > 32 << 10 => {
            Err(FatError::ClusterSize { size, sector_size })
        }
        _ => Ok(()),
    }
}

/// `table_size` is what the table says; an explicit cluster size wins.
fn shape(kind: Kind, options: &Options, root_entries: u64, table_size: u32) -> Shape {
    let cluster_size = options.cluster_size.unwrap_or(table_size.max(options.sector_size));
    let root_entries = match kind {
        Kind::Fat32 => 0,
        Kind::Fat16 if root_entries + ROOT_ENTRIES_SPARE <= ROOT_ENTRIES => ROOT_ENTRIES,
        Kind::Fat16 => {
            (root_entries + ROOT_ENTRIES_SPARE).next_multiple_of(ROOT_ENTRIES_STEP).min(MAX_ROOT_ENTRIES)
        }
    };
    Shape {
        kind,
        sector_size: u64::from(options.sector_size),
        cluster_size: u64::from(cluster_size),
        root_entries,
    }
}

fn for_kind(kind: Kind, options: &Options, root_entries: u64, region_len: u64) -> Result<Geometry, FatError> {
    let row = kind.table().iter().find(|(upto, _)| region_len <= *upto);
    let shape = shape(kind, options, root_entries, row.map_or(32 << 10, |row| row.1));
    let sectors = region_len / shape.sector_size;
    if sectors > u64::from(u32::MAX) {
        return Err(FatError::TooManySectors { sectors, region_len });
    }
    let geometry = shape.geometry(sectors);
    let (clusters, cluster_size) = (geometry.clusters, shape.cluster_size as u32);
    let (minimum, maximum) = kind.clusters();
    let fat_type = kind.name();
    if clusters < minimum {
        let smallest = smallest(kind, options, root_entries);
        return Err(FatError::TooFewClusters {
            fat_type,
            clusters,
            minimum,
            cluster_size,
            region_len,
            smallest,
        });
    }
    if clusters > maximum {
        return Err(FatError::TooManyClusters { fat_type, clusters, maximum, cluster_size, region_len });
    }
    Ok(geometry)
}

/// Fewest bytes in which the type is possible, rounded up to what one would write into a descriptor.
fn smallest(kind: Kind, options: &Options, root_entries: u64) -> u64 {
    let smallest_cluster = kind.table()[0].1;
    let bytes = shape(kind, options, root_entries, smallest_cluster).bytes_for(kind.clusters().0);
    bytes.next_multiple_of(ByteSize(1 << 20).bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(fat_type: FatType, sector_size: u32) -> Options {
        Options {
            fat_type,
            label: String::new(),
            volume_id: 1,
            timestamp: 0,
            hidden_sectors: 0,
            sector_size,
            cluster_size: None,
        }
    }

    /// Invariants of any geometry, whatever the size.
    fn check(geometry: &Geometry) {
        let (minimum, maximum) = geometry.kind.clusters();
        assert!((minimum..=maximum).contains(&geometry.clusters), "{geometry:?}");
        let end = geometry.data_start() + geometry.clusters * geometry.cluster_size();
        assert!(end <= geometry.total * geometry.sector_size, "{geometry:?}");
        assert!(geometry.total * geometry.sector_size - end < geometry.cluster_size(), "{geometry:?}");
        let entries = geometry.fat_len() / geometry.kind.entry().size();
        assert!(entries >= geometry.clusters + 2, "{geometry:?}");
        assert!(geometry.data_start().is_multiple_of(DATA_ALIGNMENT.max(geometry.cluster_size())));
    }

    #[test]
    fn every_size_is_covered_aligned_and_of_its_type() {
        for sector_size in [512, 4096] {
            for fat_type in [FatType::Fat16, FatType::Fat32, FatType::Auto] {
                let options = options(fat_type, sector_size);
                let mut len: u64 = 2 << 20;
                while len < 64 << 30 {
                    if let Ok(geometry) = choose(&options, 0, len) {
                        check(&geometry);
                    }
                    len += len / 37 + 4096;
                }
            }
        }
    }

    #[test]
    fn cluster_sizes_follow_the_specification() {
        let cluster = |fat_type, len| choose(&options(fat_type, 512), 0, len).map(|g| g.cluster_size());
        for (len, size) in
            [(34 << 20, 512), (128 << 20, 512), (310 << 20, 4096), (7 << 30, 4096), (9 << 30, 8192)]
        {
            assert_eq!(cluster(FatType::Fat32, len).expect("possible"), size, "{len}");
        }
        for (len, size) in [(3 << 20, 512), (8 << 20, 1024), (64 << 20, 2048), (1 << 30, 16_384)] {
            assert_eq!(cluster(FatType::Fat16, len).expect("possible"), size, "{len}");
        }
    }

    #[test]
    fn auto_changes_at_512_mib_and_gives_way() {
        let kind = |len, sector_size, cluster_size| {
            let options = Options { cluster_size, ..options(FatType::Auto, sector_size) };
            choose(&options, 0, len).map(|geometry| geometry.kind)
        };
        assert_eq!(kind((512 << 20) - 512, 512, None).expect("possible"), Kind::Fat16);
        assert_eq!(kind(512 << 20, 512, None).expect("possible"), Kind::Fat32);
        assert_eq!(kind(128 << 20, 512, Some(512)).expect("possible"), Kind::Fat32);
        assert_eq!(kind(1 << 30, 512, Some(32 << 10)).expect("possible"), Kind::Fat16);
    }

    #[test]
    fn impossible_sizes_name_both_numbers_and_a_way_out() {
        use crate::error::Diagnostic;
        let error = |options: &Options, len| choose(options, 0, len).unwrap_err();
        let few = error(&options(FatType::Fat32, 512), 16 << 20);
        assert_eq!(
            few.to_string(),
            "FAT32 needs at least 65525 clusters, but 16 MiB in clusters of 512 bytes has 32232"
        );
        assert_eq!(few.hint().as_deref(), Some("give the partition at least 33 MiB, or use FAT16"));
        let few = error(&options(FatType::Fat16, 4096), 8 << 20);
        assert_eq!(
            few.to_string(),
            "FAT16 needs at least 4085 clusters, but 8 MiB in clusters of 4096 bytes has 2041"
        );
        assert_eq!(few.hint().as_deref(), Some("give the partition at least 16 MiB"));
        let many = error(&options(FatType::Fat16, 512), 4 << 30);
        assert_eq!(
            many.to_string(),
            "FAT16 has at most 65524 clusters, but 4 GiB in clusters of 32768 bytes has 131054"
        );
        assert_eq!(
            error(&options(FatType::Fat32, 512), 3 << 40).to_string(),
            "FAT has at most 4294967295 sectors, but 3 TiB has 6442450944"
        );
        let odd = Options { cluster_size: Some(3000), ..options(FatType::Fat32, 512) };
        assert_eq!(error(&odd, 1 << 30).to_string(), "FAT clusters cannot have 3000 bytes in sectors of 512");
        assert_eq!(
            error(&options(FatType::Fat32, 520), 1 << 30).to_string(),
            "FAT sectors cannot have 520 bytes: only 512 and 4096 are in use"
        );
    }
}
