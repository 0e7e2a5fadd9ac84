//! Boot texts of an earlier system that U-Boot would find before those of the new one.

use super::contents::Files;
use crate::error::Result;
use crate::fs::WrittenFile;

/// Files that U-Boot starts from, in its order (`include/config_distro_bootcmd.h`: `boot_prefixes`, then
/// `extlinux.conf` before `boot_scripts`).
const PLACES: [&str; 6] = [
    "/extlinux/extlinux.conf",
    "/boot.scr.uimg",
    "/boot.scr",
    "/boot/extlinux/extlinux.conf",
    "/boot/boot.scr.uimg",
    "/boot/boot.scr",
];

/// A warning for each boot text that stays on a partition and comes before the first of the new system.
pub(super) fn shadowing(files: &Files<'_>, expected: &[WrittenFile]) -> Result<Vec<String>> {
    let is_new = |place: &str| expected.iter().any(|file| file.path == place);
    let Some(own) = PLACES.iter().position(|place| is_new(place)) else { return Ok(Vec::new()) };
    let mut warnings = Vec::new();
    for place in &PLACES[..own] {
        if files.len(place)?.is_some() {
            let own = PLACES[own];
            warnings.push(format!(
                "`{place}` stays on the medium, and U-Boot finds it before the `{own}` of the new system: remove it"
            ));
        }
    }
    Ok(warnings)
}
