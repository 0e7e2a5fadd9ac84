//! The tree as ext4.

use crate::check;
use crate::common::run::Program;
use crate::row::{Row, Section, SizeOf};

/// The section, for a tree of so many bytes.
pub fn section(tree_bytes: u64) -> Section {
    // A quarter more than the contents, in whole GiB.
    let gib = (tree_bytes + tree_bytes / 4).div_ceil(1 << 30).max(1);
    let ours = format!(r#""$SKIFF" --quiet mkfs ext4 "$TREE" "$OUT" --size {gib}G"#);
    let mke2fs = format!(r#"mke2fs -q -t ext4 -F -d "$TREE" "$OUT" {gib}G"#);
    let programs = vec![Program::new("skiff-image", ours), Program::new("mke2fs -d", mke2fs)];
    let row = Row::new("tree", format!("ext4 of {gib} GiB"), programs);
    Section {
        name: "ext4",
        title: "ext4 of a root filesystem",
        note: "Both with a journal. The size is what the image takes on the disk. The files in both are compared.",
        needs_project: false,
        rows: vec![Row { size: SizeOf::Blocks, same: Some(check::same_ext4), ..row }],
    }
}
