//! A whole disk: boot partition, persistent partition with some files, root filesystem.

use crate::check;
use crate::common::run::Program;
use crate::row::{Row, Section, SizeOf};

/// Time of everything in the images.
const TIMESTAMP: &str = "1700000000";

/// Names of rows, level of zstd, whether a file changes.
const ROWS: [(&str, u32, bool); 4] = [
    ("zstd-3", 3, false),
    ("zstd-15", 15, false),
    ("zstd-3-changed", 3, true),
    ("zstd-15-changed", 15, true),
];

/// The section.
pub fn section() -> Section {
    Section {
        name: "disk",
        title: "Whole disk",
        note: "FAT boot partition of 200 MB, ext4 with some files, squashfs of the tree with blocks of 128 KiB at the \
               same level. Ours also reads everything back, and writes a manifest with a digest of every file and a block \
               map; the pipeline does not. genimage keeps holes on a disk, and fills them in a directory in memory. \
               The files in both are compared. The size is what the image takes on the disk.",
        needs_project: true,
        rows: ROWS.into_iter().map(row).collect(),
    }
}

fn row((name, level, with_change): (&'static str, u32, bool)) -> Row {
    let cache = if with_change { "\"$CACHE\"" } else { "off" };
    let changed = if with_change { ", one file changed" } else { "" };
    let programs = vec![
        Program::new("skiff-image", ours(level, cache)),
        Program::new("mksquashfs, mkfs, mcopy, genimage", pipeline(level)),
    ];
    Row {
        size: SizeOf::Blocks,
        with_change,
        same: (!with_change).then_some(check::same_disk),
        ..Row::new(name, format!("disk, zstd {level}{changed}"), programs)
    }
}

fn ours(level: u32, cache: &str) -> String {
    format!(
        "SKIFF_CACHE={cache} \"$SKIFF\" --quiet assemble --root \"$WORK\" --boards \"$WORK/boards\" \
         --board bench/zstd-{level} --source \"$WORK/output\" --timestamp {TIMESTAMP} --out \"$OUT\""
    )
}

/// What a script behind Buildroot does, with the same owners and times.
fn pipeline(level: u32) -> String {
    format!(
        r#"
mkdir "$DIR/parts"
mksquashfs "$TARGET" "$DIR/parts/rootfs.squashfs" -noappend -no-progress -quiet -all-root -no-xattrs -mkfs-time {TIMESTAMP} -all-time {TIMESTAMP} -comp zstd -Xcompression-level {level} -b 128K
truncate -s 256M "$DIR/parts/boot.vfat"
mkfs.vfat --invariant -F 32 -n BOOT "$DIR/parts/boot.vfat"
mcopy -s -i "$DIR/parts/boot.vfat" "$BOOT"/* ::/
mke2fs -q -t ext4 -F -L persist -d "$PERSIST" "$DIR/parts/persist.ext4" 512M
mkdir "$DIR/root"
genimage --loglevel 1 --config "$WORK/genimage.cfg" --rootpath "$DIR/root" --tmppath "$DIR/tmp" --inputpath "$DIR/parts" --outputpath "$DIR"
"#
    )
}
