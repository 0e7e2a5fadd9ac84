//! Unpacks a release of Buildroot: a tar archive, packed with xz or gzip or not, with one directory at its top.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use skiff_signatures::Format;
use tar::{Entry, EntryType};

use crate::error::{Diagnostic, Io};
use crate::network::{FetchError, stream_of};

/// Location of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Archive {
    /// A file.
    File(PathBuf),
    /// An address.
    Url(String),
}

/// Reason why an archive was not unpacked.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Corrupt, hint = "{RELEASE}")]
pub enum ArchiveError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// It cannot be fetched.
    #[error(transparent)]
    #[diagnostic(transparent, hint = "{OTHERWISE}", code = "not-fetched")]
    Fetch(#[from] FetchError),
    /// It cannot be read.
    #[error("`{archive}` cannot be unpacked: {source}")]
    #[diagnostic(
        hint("{}", if is_address(archive) { OTHERWISE } else { RELEASE }),
        code = is_address(archive).then_some("not-fetched")
    )]
    Unreadable {
        /// The archive.
        archive: String,
        /// Error of the reader.
        source: io::Error,
    },
    /// It would write elsewhere.
    #[error("`{archive}` has `{}`, which leads out of the directory it is unpacked to", path.display())]
    Leaves {
        /// The archive.
        archive: String,
        /// An entry's path, or where a link leads.
        path: PathBuf,
    },
    /// It has what no source tree has.
    #[error("`{archive}` has `{}`, which is neither a file nor a directory nor a link", path.display())]
    Special {
        /// The archive.
        archive: String,
        /// The entry.
        path: PathBuf,
    },
}

const OTHERWISE: &str = "fetch the archive by other means, and give the file or the unpacked tree";
const RELEASE: &str = "give a release of Buildroot as it is published, buildroot-VERSION.tar.xz";

fn is_address(text: &str) -> bool {
    ["http://", "https://"].iter().any(|start| text.starts_with(start))
}

impl Archive {
    /// A file, unless it begins as an address does.
    pub fn from_text(text: &str) -> Archive {
        if is_address(text) { Archive::Url(text.into()) } else { Archive::File(text.into()) }
    }

    /// Name in messages.
    pub fn name(&self) -> String {
        match self {
            Archive::File(path) => path.display().to_string(),
            Archive::Url(url) => url.clone(),
        }
    }

    fn open(&self) -> Result<Box<dyn Read>, ArchiveError> {
        Ok(match self {
            Archive::File(path) => Box::new(File::open(path).map_err(Io::on("open", path))?),
            Archive::Url(url) => stream_of(url)?,
        })
    }
}

/// Unpacks into a directory that is there, without the directory at the top of the archive.
pub(super) fn unpack(from: &Archive, directory: &Path) -> Result<(), ArchiveError> {
    let unreadable = |source| ArchiveError::Unreadable { archive: from.name(), source };
    let mut archive = tar::Archive::new(unpacked(from.open()?).map_err(unreadable)?);
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let Some(path) = target(from, &entry)? else { continue };
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Io::on("make the directory", parent))?;
            ensure_inside(from, parent, directory)?;
        }
        entry.unpack(&path).map_err(unreadable)?;
    }
    Ok(())
}

fn unpacked(reader: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let start = reader.fill_buf()?;
    Ok(match start {
        start if Format::Xz.begins(start) => Box::new(liblzma::read::XzDecoder::new_multi_decoder(reader)),
        start if Format::Gzip.begins(start) => Box::new(flate2::read::MultiGzDecoder::new(reader)),
        _ => Box::new(reader),
    })
}

/// Path of an entry below the directory; nothing for the directory itself and for remarks about the archive.
fn target(from: &Archive, entry: &Entry<'_, impl Read>) -> Result<Option<PathBuf>, ArchiveError> {
    let unreadable = |source| ArchiveError::Unreadable { archive: from.name(), source };
    let name = entry.path().map_err(unreadable)?;
    let leaves = |path: &Path| ArchiveError::Leaves { archive: from.name(), path: path.into() };
    let inside = below_top(&name).ok_or_else(|| leaves(&name))?;
    match entry.header().entry_type() {
        EntryType::XGlobalHeader => return Ok(None),
        EntryType::Regular | EntryType::Continuous | EntryType::Directory => {}
        EntryType::Symlink => {
            let to = entry.link_name().map_err(unreadable)?.unwrap_or_default();
            if !stays(&inside, &to) {
                return Err(leaves(&to));
            }
        }
        _ => return Err(ArchiveError::Special { archive: from.name(), path: name.into() }),
    }
    Ok(Some(inside).filter(|path| !path.as_os_str().is_empty()))
}

/// Links lead on to links: where a path really is, the system knows best.
fn ensure_inside(from: &Archive, path: &Path, directory: &Path) -> Result<(), ArchiveError> {
    let real = |path: &Path| fs::canonicalize(path).map_err(Io::on("find", path));
    match real(path)?.starts_with(real(directory)?) {
        true => Ok(()),
        false => Err(ArchiveError::Leaves { archive: from.name(), path: path.into() }),
    }
}

/// A path without its first part; nothing if it leads elsewhere.
fn below_top(path: &Path) -> Option<PathBuf> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(parts.into_iter().skip(1).collect())
}

/// Returns whether a link at `path` leads to something in the tree.
fn stays(path: &Path, to: &Path) -> bool {
    let mut depth = path.components().count() as isize - 1;
    to.components().all(|component| {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
        depth >= 0
    })
}
