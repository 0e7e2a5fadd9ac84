//! Contents of an archive, by the `tar` crate, which shares no code with the writer.

use std::collections::BTreeMap;
use std::io::{self, Read};

use tar::{Archive, EntryType};

use super::TarError;
use crate::fs::compress::decoder;
use crate::fs::{Damage, FileHasher, Problem, WrittenFile};
use crate::tree::display;
use crate::value::Digest;

/// Contents of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Summary {
    /// Compression of the whole.
    pub compression: &'static str,
    /// Members of all kinds.
    pub members: u64,
    /// Bytes of the regular files.
    pub content: u64,
    /// Set if it is an OCI image layout.
    pub oci: bool,
}

/// Reads through an archive, compressed or not.
pub fn summary(reader: impl Read) -> Result<Summary, TarError> {
    let (compression, plain) = decoder(reader).map_err(corrupt)?;
    let mut summary = Summary { compression, members: 0, content: 0, oci: false };
    for entry in Archive::new(plain).entries().map_err(corrupt)? {
        let entry = entry.map_err(corrupt)?;
        summary.members += 1;
        summary.content += entry.size();
        summary.oci |= *entry.path_bytes() == *b"oci-layout";
    }
    // An empty medium has no header either.
    match summary.members {
        0 => Err(corrupt(io::Error::other("there is no member in it"))),
        _ => Ok(summary),
    }
}

/// Files that are not as they were written, in the order of `expected`.
pub fn check_files(reader: impl Read, expected: &[WrittenFile]) -> Result<Vec<Damage>, TarError> {
    let (_, plain) = decoder(reader).map_err(corrupt)?;
    let mut found: BTreeMap<String, (u64, Digest)> = BTreeMap::new();
    let mut archive = Archive::new(plain);
    for entry in archive.entries().map_err(corrupt)? {
        // What follows a damaged header or stream is not known.
        let Ok(mut entry) = entry else { break };
        let path = display(&entry.path_bytes());
        if entry.header().entry_type() == EntryType::Link {
            let first = entry.link_name_bytes().and_then(|first| found.get(&display(&first)).copied());
            found.extend(first.map(|first| (path, first)));
            continue;
        }
        let mut hasher = FileHasher::new(entry.size());
        let Ok(len) = io::copy(&mut entry, &mut hasher) else { break };
        found.insert(path, (len, hasher.finalize()));
    }
    let damage = |file: &WrittenFile| {
        let problem = match found.get(&file.path) {
            None => Problem::Missing,
            Some((len, _)) if *len != file.size => Problem::Size { expected: file.size, found: *len },
            Some((_, blake3)) if *blake3 != file.blake3 => Problem::Content,
            Some(_) => return None,
        };
        Some(Damage { path: file.path.clone(), problem })
    };
    Ok(expected.iter().filter_map(damage).collect())
}

fn corrupt(source: io::Error) -> TarError {
    TarError::Corrupt { source }
}
