//! Errors of FAT filesystems and of what shall go into them.

use crate::error::Diagnostic;
use crate::storage::TargetError;
use crate::tree::ContentError;
use crate::value::ByteSize;

/// Reason why a FAT filesystem cannot be laid out, written or read.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
#[non_exhaustive]
pub enum FatError {
    /// A sector is neither 512 nor 4096 bytes.
    #[error("FAT sectors cannot have {0} bytes: only 512 and 4096 are in use")]
    #[diagnostic(hint = "use the sector size of the medium; images for SD cards and USB have 512")]
    SectorSize(u32),
    /// A cluster size that is no power of two, below a sector or above 32 KiB.
    #[error("FAT clusters cannot have {size} bytes in sectors of {sector_size}")]
    #[diagnostic(hint = "use a power of two from {sector_size} to 32768, or leave the cluster size out")]
    ClusterSize {
        /// Bytes per cluster that were asked for.
        size: u32,
        /// Bytes per sector.
        sector_size: u32,
    },
    /// The label is too long or has characters that a label cannot have.
    #[error("`{label}` cannot be a FAT label: {reason}")]
    #[diagnostic(hint = "use up to 11 letters, digits, `-` or `_`")]
    Label {
        /// The label.
        label: String,
        /// Problem of the file.
        reason: &'static str,
    },
    /// A name FAT cannot store.
    #[error("`{path}` cannot be stored on FAT: {reason}")]
    #[diagnostic(hint = "rename the file, or put it on a partition with ext4")]
    Name {
        /// Path in the tree.
        path: String,
        /// Problem with its last component.
        reason: String,
    },
    /// Two names that are the same for FAT.
    #[error("`{first}` and `{second}` are the same name on FAT, which ignores case")]
    #[diagnostic(hint = "rename one of them, or put them on a partition with ext4")]
    Collision {
        /// The path that sorts first.
        first: String,
        /// The other path.
        second: String,
    },
    /// Something that is neither a directory nor a file.
    #[error("`{path}` is a {kind}, and FAT can only store directories and files")]
    #[diagnostic(hint("{}", instead_of(kind)))]
    Kind {
        /// Path in the tree.
        path: String,
        /// [`crate::tree::Body::kind`].
        kind: &'static str,
    },
    /// A file of 4 GiB or more.
    #[error("`{path}` has {} but a file on FAT has at most 4294967295 bytes", ByteSize(*size))]
    #[diagnostic(kind = Fit, hint = "put the file on a partition with ext4")]
    FileTooLarge {
        /// Path in the tree.
        path: String,
        /// Its length in bytes.
        size: u64,
    },
    /// A directory with too many entries.
    #[error("`{path}` needs {entries} directory entries but a directory on FAT has at most {limit}")]
    #[diagnostic(kind = Fit, hint = "split the directory, or shorten the names")]
    DirectoryFull {
        /// Path in the tree.
        path: String,
        /// Entries of 32 bytes it needs.
        entries: u64,
        /// Entries there can be.
        limit: u64,
    },
    /// Too few clusters for the type: other programs would take it for the smaller type.
    #[error(
        "{fat_type} needs at least {minimum} clusters, but {} in clusters of {cluster_size} bytes has {clusters}",
        ByteSize(*region_len)
    )]
    #[diagnostic(
        kind = Fit,
        hint("give the partition at least {}{}", ByteSize(*smallest), or_fat16(fat_type))
    )]
    TooFewClusters {
        /// `FAT16` or `FAT32`.
        fat_type: &'static str,
        /// Clusters there are.
        clusters: u64,
        /// Clusters the type must have.
        minimum: u64,
        /// Bytes per cluster.
        cluster_size: u32,
        /// Bytes in the region.
        region_len: u64,
        /// Smallest region in which the type is possible.
        smallest: u64,
    },
    /// Too many clusters for the type.
    #[error(
        "{fat_type} has at most {maximum} clusters, but {} in clusters of {cluster_size} bytes has {clusters}",
        ByteSize(*region_len)
    )]
    #[diagnostic(kind = Fit, hint = "use FAT32, or larger clusters")]
    TooManyClusters {
        /// `FAT16` or `FAT32`.
        fat_type: &'static str,
        /// Clusters there are.
        clusters: u64,
        /// Clusters the type can have.
        maximum: u64,
        /// Bytes per cluster.
        cluster_size: u32,
        /// Bytes in the region.
        region_len: u64,
    },
    /// More sectors than a 32-bit number counts.
    #[error("FAT has at most 4294967295 sectors, but {} has {sectors}", ByteSize(*region_len))]
    #[diagnostic(kind = Fit, hint = "make the partition smaller, or use ext4")]
    TooManySectors {
        /// Sectors there are.
        sectors: u64,
        /// Bytes in the region.
        region_len: u64,
    },
    /// The tree does not fit.
    #[error("the files need {} but the FAT filesystem has {}", ByteSize(*need), ByteSize(*have))]
    #[diagnostic(kind = Fit, hint = "give the partition a larger size, or put less into it")]
    Full {
        /// Bytes in whole clusters that files and directories need.
        need: u64,
        /// Bytes in the clusters there are.
        have: u64,
    },
    /// The source is no FAT filesystem, or a broken one.
    #[error("`{name}` is not a readable FAT filesystem: {reason}")]
    #[diagnostic(
        kind = Corrupt,
        hint = "write the image again, or check that this partition is the right one"
    )]
    Corrupt {
        /// Name of the region or file.
        name: String,
        /// Description of the contradiction.
        reason: String,
    },
    /// A file that shall be read is not there.
    #[error("`{path}` is not a file in `{name}`")]
    #[diagnostic(hint = "list the files to see their names")]
    NoSuchFile {
        /// Name of the region or file.
        name: String,
        /// The path that was asked for.
        path: String,
    },
    /// The output of an extracted file failed.
    #[error("cannot write the content of `{path}`: {source}")]
    #[diagnostic(kind = Io)]
    Output {
        /// The path that is extracted.
        path: String,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// A file of the tree cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Content(#[from] ContentError),
    /// The target cannot be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] TargetError),
}

/// Advice about a node of the tree that FAT does not have.
fn instead_of(kind: &str) -> &'static str {
    match kind {
        "symbolic link" => "put a copy of what it points to in its place, or use ext4 for this partition",
        _ => "leave it out of this partition, or use ext4",
    }
}

fn or_fat16(fat_type: &str) -> &'static str {
    if fat_type == "FAT32" { ", or use FAT16" } else { "" }
}
