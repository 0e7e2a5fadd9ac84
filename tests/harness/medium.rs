//! Media that are damaged in one place, so that what they should do must fail.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::disk::{Disk, SECTOR};
use super::tools::command;
use super::tools::run;

/// The FAT volume in partition `number` as mtools want to be told.
pub fn fat(image: &Path, number: usize) -> String {
    format!("{}@@{}", image.display(), start(image, number))
}

/// The filesystem in partition `number` as the tools for ext4 want to be told.
fn ext4(image: &Path, number: usize) -> String {
    format!("{}?offset={}", image.display(), start(image, number))
}

/// Byte at which partition `number` begins.
pub fn start(image: &Path, number: usize) -> u64 {
    Disk::read(image).entries[number - 1].start * SECTOR
}

/// A new copy of `image`, beside it; what is a hole stays one.
pub fn copy(image: &Path) -> PathBuf {
    let mut names = (1..).map(|number| image.with_extension(format!("copy{number}.img")));
    let to = names.find(|to| !to.exists()).expect("there are more numbers than copies");
    run(command("cp").arg("--sparse=always").arg(image).arg(&to));
    to
}

/// Moves `len` bytes of the medium.
pub fn move_bytes(image: &Path, from: u64, len: u64, to: u64) {
    let file = File::options().read(true).write(true).open(image).expect("the image opens");
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, from).expect("the image is longer");
    file.write_all_at(&vec![0; len as usize], from).expect("the image is writable");
    file.write_all_at(&bytes, to).expect("the image is writable");
}

/// Removes a file from the FAT volume in partition `number`.
pub fn remove_from_fat(image: &Path, number: usize, path: &str) {
    run(command("mdel").arg("-i").arg(fat(image, number)).arg(format!("::{path}")));
}

/// Changes the last byte of a file of the FAT volume in partition `number`.
pub fn spoil_in_fat(image: &Path, number: usize, path: &str) {
    let file = image.with_extension("spoilt");
    let (volume, path) = (fat(image, number), format!("::{path}"));
    run(command("mcopy").arg("-n").args(["-i", &volume, &path]).arg(&file));
    let mut bytes = fs::read(&file).expect("mcopy made it");
    *bytes.last_mut().expect("it is not empty") ^= 0x01;
    fs::write(&file, bytes).expect("the directory is writable");
    run(command("mcopy").args(["-o", "-i", &volume]).arg(&file).arg(&path));
}

/// Removes a file from the ext4 filesystem in partition `number`.
pub fn remove_from_ext4(image: &Path, number: usize, path: &str) {
    debugfs(image, number, &format!("rm {path}"));
}

/// Gives a file of the ext4 filesystem in partition `number` another name.
pub fn rename_in_ext4(image: &Path, number: usize, from: &str, to: &str) {
    debugfs(image, number, &format!("ln {from} {to}"));
    debugfs(image, number, &format!("unlink {from}"));
}

/// Gives the ext4 filesystem in partition `number` another label.
pub fn relabel_ext4(image: &Path, number: usize, label: &str) {
    debugfs(image, number, &format!("ssv volume_name {label}"));
}

/// `debugfs` succeeds whatever it could not do; the reading of the test afterwards tells.
fn debugfs(image: &Path, number: usize, request: &str) {
    run(command("debugfs").args(["-w", "-R", request]).arg(ext4(image, number)));
}
