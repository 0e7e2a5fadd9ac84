//! Whether images hold the same files: unpacked by programs that have made none of them, or not ours.

use std::path::{Path, PathBuf};

use crate::common::{command, succeed};
use crate::project::{BOOT_START, PERSIST_START, ROOTFS_START};

/// FAT images.
pub fn same_fat(images: &[PathBuf]) {
    same(images, |image, to| unpack_fat(image, 0, to));
}

/// ext4 images.
pub fn same_ext4(images: &[PathBuf]) {
    same(images, |image, to| unpack_ext4(image, 0, to));
}

/// Disks of the bench's board.
pub fn same_disk(images: &[PathBuf]) {
    same(images, |image, to| {
        unpack_fat(image, BOOT_START, &to.join("boot"));
        unpack_ext4(image, PERSIST_START, &to.join("persist"));
        unpack_squashfs(image, ROOTFS_START, &to.join("rootfs"));
    });
}

/// Unpacks all images and compares each with the first.
fn same(images: &[PathBuf], unpack: impl Fn(&Path, &Path)) {
    let parent = images[0].parent().and_then(Path::parent).expect("images are in directories of a directory");
    let directory = tempfile::tempdir_in(parent).expect("a temporary directory can be made");
    let unpacked: Vec<PathBuf> =
        (0..images.len()).map(|index| directory.path().join(index.to_string())).collect();
    for (image, to) in images.iter().zip(&unpacked) {
        unpack(image, to);
    }
    for other in &unpacked[1..] {
        succeed(command("diff").args(["-r", "--no-dereference"]).arg(&unpacked[0]).arg(other));
    }
}

fn unpack_fat(image: &Path, offset: u64, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory can be made");
    let volume = format!("{}@@{offset}", image.display());
    succeed(command("mcopy").args(["-s", "-n", "-i", &volume, "::/"]).arg(to));
}

fn unpack_ext4(image: &Path, offset: u64, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory can be made");
    let request = format!("rdump / {}", to.display());
    succeed(command("debugfs").args(["-R", &request, &format!("{}?offset={offset}", image.display())]));
}

fn unpack_squashfs(image: &Path, offset: u64, to: &Path) {
    let offset = offset.to_string();
    succeed(
        command("unsquashfs")
            .args(["-quiet", "-no-progress", "-no-xattrs", "-offset", &offset, "-dest"])
            .arg(to)
            .arg(image),
    );
}
