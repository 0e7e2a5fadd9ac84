//! Effect of an image on the medium that it was made to fit.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::fs::ext4;
use crate::table::Kept;
use crate::value::ByteSize;

/// Parts that were made larger, and parts that were not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fitted {
    /// True if the backup of the GPT was moved to the end of the medium.
    pub backup_moved: bool,
    /// The last partition, if it grew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<Grown>,
    /// The filesystem in it, if that grew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<Grown>,
    /// Parts that stay as they are though they were to grow, with the reasons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<FixedSizeReason>,
}

/// Something that is larger now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grown {
    /// Number of the partition; 0 where a filesystem has the whole medium.
    pub number: u32,
    /// Bytes before.
    pub from: ByteSize,
    /// Bytes now.
    pub to: ByteSize,
}

/// Part that was not made larger, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FixedSizeReason {
    /// The backup of the GPT would have had to move.
    #[error("the table stays as in the image: {0}")]
    Table(Kept),
    /// The last partition.
    #[error("no partition was grown: {0}")]
    Partition(Kept),
    /// Only ext4 is grown.
    #[error("partition {number} stays as in the image: it holds {what}, and only ext4 is grown")]
    Content {
        /// Number of the partition.
        number: u32,
        /// Contents of the partition.
        what: &'static str,
    },
    /// A filesystem that cannot be grown.
    #[error("the filesystem of partition {number} was not grown: {reason}")]
    Filesystem {
        /// Number of the partition.
        number: u32,
        /// Reason.
        reason: String,
    },
    /// A filesystem that does not fill its partition.
    #[error("the filesystem of partition {number} has {} of {}: {limit}", ByteSize(*have), ByteSize(*room))]
    Limited {
        /// Number of the partition.
        number: u32,
        /// Bytes of the filesystem.
        have: u64,
        /// Bytes of the partition.
        room: u64,
        /// Resource that is used up.
        limit: ext4::Limit,
    },
}

impl Serialize for FixedSizeReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Fitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = Vec::new();
        if self.backup_moved {
            said.push("the backup of the GPT is at the end of the medium".to_owned());
        }
        if let Some(Grown { number, from, to }) = &self.partition {
            said.push(format!("partition {number} grew from {from} to {to}"));
        }
        if let Some(Grown { number, from, to }) = &self.filesystem {
            let of = if *number == 0 { String::new() } else { format!(" of partition {number}") };
            said.push(format!("the filesystem{of} grew from {from} to {to}"));
        }
        f.write_str(&said.join("; "))
    }
}
