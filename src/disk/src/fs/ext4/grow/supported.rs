//! Filesystems that can be grown: with features that growing keeps right, and clean.

use skiff_signatures::ext4::{BTREE_DIR, READONLY, compat, incompat, ro_compat};

use super::GrowError;
use crate::fs::ext4::features::features_named;
use crate::fs::ext4::raw::{get16, get32};

/// Features that growing keeps right, or that have nothing to do with it; all others are refused. `sparse_super` must
/// be there, because else the resize inode could not list the copies of many groups.
const COMPAT: u32 = compat::HAS_JOURNAL
    | compat::EXT_ATTR
    | compat::RESIZE_INODE
    | compat::DIR_INDEX
    | compat::FAST_COMMIT
    | compat::STABLE_INODES
    | compat::ORPHAN_FILE;
const INCOMPAT: u32 = incompat::FILETYPE
    | incompat::RECOVER
    | incompat::EXTENTS
    | incompat::IS_64BIT
    | incompat::FLEX_BG
    | incompat::EA_INODE
    | incompat::CSUM_SEED
    | incompat::LARGE_DIR
    | incompat::INLINE_DATA
    | incompat::ENCRYPT
    | incompat::CASEFOLD;
const RO_COMPAT: u32 = ro_compat::SPARSE_SUPER
    | ro_compat::LARGE_FILE
    | BTREE_DIR
    | ro_compat::HUGE_FILE
    | ro_compat::GDT_CSUM
    | ro_compat::DIR_NLINK
    | ro_compat::EXTRA_ISIZE
    | ro_compat::QUOTA
    | ro_compat::METADATA_CSUM
    | READONLY
    | ro_compat::PROJECT
    | ro_compat::VERITY
    | ro_compat::ORPHAN_PRESENT;

pub(super) fn reject_unknown(b: &[u8]) -> Result<(), GrowError> {
    let unknown = [(compat::AT, COMPAT), (incompat::AT, INCOMPAT), (ro_compat::AT, RO_COMPAT)]
        .map(|(at, known)| get32(b, at) & !known);
    let mut features = features_named(unknown);
    if get32(b, ro_compat::AT) & ro_compat::SPARSE_SUPER == 0 {
        features.push("no sparse_super".into());
    }
    match features.is_empty() {
        true => Ok(()),
        false => Err(GrowError::Features { features }),
    }
}

pub(super) fn reject_unclean(b: &[u8]) -> Result<(), GrowError> {
    const CLEAN: u16 = 1;
    let state = get16(b, 0x3A);
    if get32(b, incompat::AT) & incompat::RECOVER != 0 {
        return Err(GrowError::NeedsRecovery);
    }
    if state != CLEAN {
        return Err(GrowError::HasErrors { state });
    }
    match get32(b, 0xE8) != 0 || get32(b, ro_compat::AT) & ro_compat::ORPHAN_PRESENT != 0 {
        true => Err(GrowError::Orphans),
        false => Ok(()),
    }
}
