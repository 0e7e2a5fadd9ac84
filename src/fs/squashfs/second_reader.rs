//! Reads a squashfs back with `backhand`, which shares no code with the writer or with our own reader.
//!
//! It gives up an image whose tables are damaged, and refuses some that the kernel takes (link targets of more
//! than 255 bytes, more than 2048 owners); then the answer is nothing, and our own reader has to tell.

use std::collections::HashMap;
use std::io::{BufReader, Read, Seek};
use std::os::unix::ffi::OsStrExt;

use backhand::{FilesystemReader, InnerNode, Node, SquashfsFileReader};

use crate::fs::{Damage, Problem, WrittenFile};
use crate::tree;
use crate::value::Digest;

/// What of `expected` is not as it was written; nothing if the image is more than this reader can take.
pub fn check_files(reader: impl Read + Seek + Send, expected: &[WrittenFile]) -> Option<Vec<Damage>> {
    let image = FilesystemReader::from_reader(BufReader::new(reader)).ok()?;
    let found: HashMap<String, &Node<SquashfsFileReader>> =
        image.files().map(|node| (path_of(node), node)).collect();
    let damage = |file: &WrittenFile| {
        let problem = problem(&image, found.get(&file.path), file)?;
        Some(Damage { path: file.path.clone(), problem })
    };
    Some(expected.iter().filter_map(damage).collect())
}

fn problem(
    image: &FilesystemReader,
    node: Option<&&Node<SquashfsFileReader>>,
    written: &WrittenFile,
) -> Option<Problem> {
    let Some(InnerNode::File(file)) = node.map(|node| &node.inner) else { return Some(Problem::Missing) };
    let size = file.file_len() as u64;
    if size != written.size {
        return Some(Problem::Size { expected: written.size, found: size });
    }
    match digest(image, file) {
        Ok(digest) if digest == written.blake3 => None,
        Ok(_) => Some(Problem::Content),
        Err(reason) => Some(Problem::Unreadable { reason }),
    }
}

fn digest(image: &FilesystemReader, file: &SquashfsFileReader) -> Result<Digest, String> {
    let unreadable = |_| "its blocks cannot be found".to_owned();
    let mut reader = image.file(file).reader_checked().map_err(unreadable)?;
    let mut hasher = blake3::Hasher::new();
    let copied = std::io::copy(&mut reader, &mut hasher).map_err(|error| error.to_string())?;
    if copied != file.file_len() as u64 {
        return Err(format!("it ends after {copied} of {} bytes", file.file_len()));
    }
    Ok(hasher.finalize().into())
}

/// Without the leading slash of `backhand`, which `display` adds.
fn path_of(node: &Node<SquashfsFileReader>) -> String {
    let path = node.fullpath.as_os_str().as_bytes();
    tree::display(path.strip_prefix(b"/").unwrap_or(path))
}
