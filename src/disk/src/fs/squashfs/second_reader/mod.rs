//! Reads a squashfs back with `backhand`, which shares no code with the writer or with our own reader.
//!
//! It gives up an image whose tables are damaged, and refuses some that the kernel takes (link targets of more
//! than 255 bytes, more than 2048 owners, see [`beyond`]); then our own reader has to read it. It finds inodes by their
//! number, where the kernel uses their place, and reads neither attributes nor link counts nor the index of a large
//! directory: those are our own reader's part too.
//!
//! All work is done on the threads of the current rayon pool.

mod compare;
mod contents;

use std::collections::HashMap;
use std::io::{BufReader, Read, Seek};
use std::os::unix::ffi::OsStrExt;

use backhand::{FilesystemReader, InnerNode, Node, SquashfsFileReader};

pub use compare::beyond;
pub(super) use compare::compare;

use crate::fs::{Damage, Problem, WrittenFile};
use crate::tree;

/// Returns which files of `expected` are not as they were written; nothing if the image is more than this reader can
/// take.
pub fn check_files(reader: impl Read + Seek + Send, expected: &[WrittenFile]) -> Option<Vec<Damage>> {
    if expected.iter().any(|file| file.path.len() > compare::PATH_MAX) {
        return None;
    }
    let image = FilesystemReader::from_reader(BufReader::new(reader)).ok()?;
    let found: HashMap<String, &Node<SquashfsFileReader>> =
        image.files().map(|node| (tree::display(path_of(node)), node)).collect();
    let mut check = Check::default();
    for written in expected {
        match found.get(&written.path).map(|node| &node.inner) {
            Some(InnerNode::File(file)) => check.add(written, file),
            _ => check.report(&written.path, Problem::Missing),
        }
    }
    Some(check.finish(&image))
}

/// Without the leading slash of `backhand`.
fn path_of(node: &Node<SquashfsFileReader>) -> &[u8] {
    let path = node.fullpath.as_os_str().as_bytes();
    path.strip_prefix(b"/").unwrap_or(path)
}

/// Files that are read in one go, and what is known to be wrong without it.
#[derive(Default)]
struct Check<'a> {
    files: Vec<(&'a WrittenFile, &'a SquashfsFileReader)>,
    damages: Vec<Damage>,
}

impl<'a> Check<'a> {
    fn add(&mut self, written: &'a WrittenFile, file: &'a SquashfsFileReader) {
        let size = file.file_len() as u64;
        if size == written.size {
            self.files.push((written, file));
        } else {
            self.report(&written.path, Problem::Size { expected: written.size, found: size });
        }
    }

    fn report(&mut self, path: &str, problem: Problem) {
        self.damages.push(Damage { path: path.into(), problem });
    }

    /// Reads the files; returns all that is wrong.
    fn finish(mut self, image: &FilesystemReader) -> Vec<Damage> {
        let readers: Vec<_> = self.files.iter().map(|(_, reader)| *reader).collect();
        let digests = contents::digests(image, &readers);
        for ((written, _), digest) in std::mem::take(&mut self.files).into_iter().zip(digests) {
            match digest {
                Ok(digest) if digest == written.blake3 => {}
                Ok(_) => self.report(&written.path, Problem::Content),
                Err(reason) => self.report(&written.path, Problem::Unreadable { reason }),
            }
        }
        self.damages
    }
}
