//! squashfs images of the tree, from nothing.

use crate::common::run::Program;
use crate::row::{Row, Section};

const OURS: &str = r#"SKIFF_CACHE=off "$SKIFF" --quiet mkfs squashfs "$TREE" "$OUT""#;
const MKSQUASHFS: &str = r#"mksquashfs "$TREE" "$OUT" -noappend -no-progress -quiet"#;
// It gives up on access lists, which the format has no room for; so it goes without any attributes.
const GENSQUASHFS: &str = r#"gensquashfs --pack-dir "$TREE" "$OUT" --quiet --force --keep-time"#;
const MKFS_EROFS: &str = r#"mkfs.erofs --quiet "$OUT" "$TREE""#;

/// The flags of each program; none where a program has nothing comparable.
struct Settings {
    name: &'static str,
    title: &'static str,
    ours: &'static str,
    mksquashfs: &'static str,
    gensquashfs: Option<&'static str>,
    erofs: Option<&'static str>,
}

const SETTINGS: [Settings; 8] = [
    Settings {
        name: "zstd-15",
        title: "zstd 15, 128 KiB",
        ours: "--comp zstd:15 --block 128K",
        mksquashfs: "-comp zstd -Xcompression-level 15 -b 128K",
        gensquashfs: Some("-c zstd -X level=15 -b 131072"),
        erofs: None,
    },
    Settings {
        name: "best",
        title: "zstd:tuned against zstd 15, 128 KiB",
        ours: "--comp zstd:tuned --block 128K",
        mksquashfs: "-comp zstd -Xcompression-level 15 -b 128K",
        gensquashfs: None,
        erofs: None,
    },
    Settings {
        name: "zstd-3",
        title: "zstd 3, 128 KiB",
        ours: "--comp zstd:3 --block 128K",
        mksquashfs: "-comp zstd -Xcompression-level 3 -b 128K",
        gensquashfs: Some("-c zstd -X level=3 -b 131072"),
        erofs: None,
    },
    Settings {
        name: "default",
        title: "as it comes, zstd",
        ours: "",
        mksquashfs: "-comp zstd",
        gensquashfs: Some("-c zstd"),
        erofs: None,
    },
    Settings {
        name: "gzip",
        title: "as it comes, gzip",
        ours: "--comp gzip --block 128K",
        mksquashfs: "-comp gzip",
        gensquashfs: Some("-c gzip"),
        erofs: None,
    },
    Settings {
        name: "lz4hc",
        title: "lz4hc, 128 KiB",
        ours: "--comp lz4hc --block 128K",
        mksquashfs: "-comp lz4 -Xhc -b 128K",
        gensquashfs: Some("-c lz4 -X hc -b 131072"),
        // Another filesystem, with clusters instead of blocks: a neighbour, not the same work.
        erofs: Some("-zlz4hc,12 -C131072"),
    },
    Settings {
        name: "lz4",
        title: "lz4, 128 KiB",
        ours: "--comp lz4 --block 128K",
        mksquashfs: "-comp lz4 -b 128K",
        gensquashfs: Some("-c lz4 -b 131072"),
        erofs: Some("-zlz4 -C131072"),
    },
    Settings {
        name: "xz",
        title: "xz, 128 KiB",
        ours: "--comp xz --block 128K",
        mksquashfs: "-comp xz -b 128K",
        gensquashfs: Some("-c xz -b 131072"),
        erofs: None,
    },
];

/// The section.
pub fn section() -> Section {
    Section {
        name: "squashfs",
        title: "squashfs of a root filesystem",
        note: "No cache. gensquashfs keeps no extended attributes here; mkfs.erofs makes another filesystem, with one \
               thread, and is shown as a neighbour.",
        needs_project: false,
        rows: SETTINGS.iter().map(Settings::row).collect(),
    }
}

impl Settings {
    fn row(&self) -> Row {
        let peers = [
            ("mksquashfs", MKSQUASHFS, Some(self.mksquashfs)),
            ("gensquashfs", GENSQUASHFS, self.gensquashfs),
            ("mkfs.erofs", MKFS_EROFS, self.erofs),
        ];
        let ours = Program::new("skiff-image", format!("{OURS} {}", self.ours));
        let peers = peers
            .into_iter()
            .filter_map(|(name, line, flags)| Some(Program::new(name, format!("{line} {}", flags?))));
        Row::new(self.name, self.title, [ours].into_iter().chain(peers).collect())
    }
}
