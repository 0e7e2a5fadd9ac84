//! A boot partition of 200 MB.

use crate::check;
use crate::common::run::Program;
use crate::row::{Row, Section, SizeOf};

const OURS: &str = r#""$SKIFF" --quiet mkfs fat "$BOOT" "$OUT" --size 256M --bits 32 --label BOOT"#;
const MTOOLS: &str = r#"
truncate -s 256M "$OUT"
mkfs.vfat --invariant -F 32 -n BOOT "$OUT"
mcopy -s -i "$OUT" "$BOOT"/* ::/
"#;

/// The section.
pub fn section() -> Section {
    let programs = vec![Program::new("skiff-image", OURS), Program::new("mkfs.vfat + mcopy", MTOOLS)];
    let row = Row::new("boot", "FAT32, 200 MB in 256 MiB", programs);
    Section {
        name: "fat",
        title: "FAT boot partition",
        note: "314 files: kernels, initramfs archives, firmware, device trees, overlays. The files in both are compared.",
        needs_project: true,
        rows: vec![Row { size: SizeOf::Blocks, same: Some(check::same_fat), ..row }],
    }
}
