//! Features of a filesystem by the names e2fsprogs has for them (`lib/e2p/feature.c`).

use skiff_signatures::ext4::{compat, incompat, ro_compat};

#[cfg(feature = "ext4-reader")]
use super::raw::get32;

/// Letter of a set of features in e2fsprogs, its place in the superblock, and the names of its bits.
type FeatureSet = (char, usize, &'static [(u32, &'static str)]);

const FEATURES: [FeatureSet; 3] = [
    ('C', compat::AT, compat::NAMES),
    ('I', incompat::AT, incompat::NAMES),
    ('R', ro_compat::AT, ro_compat::NAMES),
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
