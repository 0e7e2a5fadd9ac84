//! Features of a filesystem by the names e2fsprogs has for them (`lib/e2p/feature.c`).

#[cfg(feature = "ext4-reader")]
use super::raw::get32;

/// Letter of a set of features in e2fsprogs, its place in the superblock, and the names of its bits.
type FeatureSet = (char, usize, &'static [(u32, &'static str)]);

/// `compat`, `incompat` and `ro_compat` bits with their names in e2fsprogs.
const FEATURES: [FeatureSet; 3] = [
    (
        'C',
        0x5C,
        &[
            (0x4, "has_journal"),
            (0x8, "ext_attr"),
            (0x10, "resize_inode"),
            (0x20, "dir_index"),
            (0x200, "sparse_super2"),
            (0x400, "fast_commit"),
            (0x800, "stable_inodes"),
            (0x1000, "orphan_file"),
        ],
    ),
    (
        'I',
        0x60,
        &[
            (0x2, "filetype"),
            (0x4, "needs_recovery"),
            (0x8, "journal_dev"),
            (0x10, "meta_bg"),
            (0x40, "extent"),
            (0x80, "64bit"),
            (0x100, "mmp"),
            (0x200, "flex_bg"),
            (0x400, "ea_inode"),
            (0x2000, "metadata_csum_seed"),
            (0x4000, "large_dir"),
            (0x8000, "inline_data"),
            (0x1_0000, "encrypt"),
            (0x2_0000, "casefold"),
        ],
    ),
    (
        'R',
        0x64,
        &[
            (0x1, "sparse_super"),
            (0x2, "large_file"),
            (0x8, "huge_file"),
            (0x10, "uninit_bg"),
            (0x20, "dir_nlink"),
            (0x40, "extra_isize"),
            (0x100, "quota"),
            (0x200, "bigalloc"),
            (0x400, "metadata_csum"),
            (0x2000, "project"),
            (0x8000, "verity"),
            (0x1_0000, "orphan_present"),
        ],
    ),
];

/// Names of all features of a superblock.
#[cfg(feature = "ext4-reader")]
pub(super) fn features(b: &[u8; 1024]) -> Vec<String> {
    FEATURES.iter().flat_map(|(set, at, _)| feature_names(*set, get32(b, *at))).collect()
}

/// The names of the `bits` of a set of features: `C`, `I` or `R`.
pub(super) fn feature_names(set: char, bits: u32) -> Vec<String> {
    let names = FEATURES.iter().find(|(other, ..)| *other == set).map_or(&[][..], |(.., names)| names);
    let name = |bit: u32| names.iter().find(|(value, _)| *value == 1 << bit).map(|(_, name)| *name);
    (0..32)
        .filter(|bit| bits >> bit & 1 == 1)
        .map(|bit| name(bit).map_or_else(|| format!("FEATURE_{set}{bit}"), Into::into))
        .collect()
}

/// Names of the bits of `compat`, `incompat` and `ro_compat`.
pub(super) fn features_named(sets: [u32; 3]) -> Vec<String> {
    FEATURES.iter().zip(sets).flat_map(|((set, ..), bits)| feature_names(*set, bits)).collect()
}
