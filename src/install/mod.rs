//! Updates the system on a medium that has one, and keeps what is the user's: the persist partition, every id and
//! label, and on boards with one partition everything but the files of the system.
//!
//! [`Survey`] finds the partitions of the board on the medium, [`Installation::prepare`] decides what becomes of each
//! ([`How`]) and refuses what cannot work before anything is written, [`Installation::run`] does it:
//!
//! 1. the first sector of the boot partition becomes a readable [`marker`], the first blocks of every other partition
//!    that is rewritten are zeroed: from here on nothing boots and nothing mounts them;
//! 2. everything else of these partitions is written, synced and read back past the page cache;
//! 3. their first blocks follow, and are read back; those of the boot partition come last, and of these the first
//!    sector, which one write of the medium brings.
//!
//! On an ext4 that users write to, and on any that has files of theirs, files are replaced instead: the contents of the
//! new ones are written to free blocks before 1, and all names change at once, as one transaction of the filesystem's
//! journal, between 2 and 3 ([`crate::fs::ext4::update`]). Where nothing else is written, that is all.
//!
//! The image of the root filesystem that is replaced there stays as `IMAGE.old`, which `skiff-init` starts when the new
//! one fails; where names hold the version (`generation`), the one before stays, and older ones go.
//!
//! A run that is cut off before 1 leaves the old system, one that is cut off later the marker, which remembers the ids:
//! the next run finishes. Partition tables are never written, raw boot loaders only if asked for.

mod apply;
mod blobs;
mod contents;
mod edits;
mod error;
mod evidence;
mod generation;
pub mod marker;
mod plan;
mod prepare;
mod shadow;
mod survey;
mod write_log;

pub use apply::Done;
pub use blobs::BlobChange;
pub use error::InstallError;
pub use plan::{Change, FileChange, How, Room};
pub use prepare::{InstallOptions, Installation};
pub use survey::{Found, Holds, Survey, SurveyedMedium};
