//! The image once more, after one small file has changed.

use crate::common::run::Program;
use crate::row::{Row, Section};

const OURS: &str = r#"SKIFF_CACHE="$CACHE" "$SKIFF" --quiet mkfs squashfs "$TARGET" "$OUT""#;
const MKSQUASHFS: &str = r#"mksquashfs "$TARGET" "$OUT" -noappend -no-progress -quiet"#;

/// Name, title, our flags, those of mksquashfs.
const SETTINGS: [(&str, &str, &str, &str); 3] = [
    (
        "zstd-15",
        "zstd 15, 128 KiB",
        "--comp zstd:15 --block 128K",
        "-comp zstd -Xcompression-level 15 -b 128K",
    ),
    ("zstd-3", "zstd 3, 128 KiB", "--comp zstd:3 --block 128K", "-comp zstd -Xcompression-level 3 -b 128K"),
    ("default", "as it comes, zstd", "", "-comp zstd"),
];

/// The section.
pub fn section() -> Section {
    let row = |(name, title, ours, mksquashfs): (&'static str, &str, &str, &str)| {
        let ours = Program::new("skiff-image", format!("{OURS} {ours}"));
        let mksquashfs = Program::new("mksquashfs", format!("{MKSQUASHFS} {mksquashfs}"));
        let title = format!("one file changed, {title}");
        Row { with_change: true, ..Row::new(name, title, vec![ours, mksquashfs]) }
    };
    Section {
        name: "rebuild",
        title: "squashfs after one changed file",
        note: "Ours has a warm cache, and still reads and hashes every file; mksquashfs makes the image anew. The bytes \
               are those of a build without a cache.",
        needs_project: true,
        rows: SETTINGS.into_iter().map(row).collect(),
    }
}
