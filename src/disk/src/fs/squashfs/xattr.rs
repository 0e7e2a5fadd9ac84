//! Extended attributes: sets of name and value, each distinct set once, and a value that occurs again only as a
//! reference to its first place.

use std::collections::HashMap;

use super::SquashfsError;
use super::compressor::Compressor;
use super::metadata::{MetadataStream, write_table};
use super::raw::{self, Put, Reference};
use super::sink::Sink;
use crate::tree;

/// `XATTR_NAME_MAX` and `XATTR_SIZE_MAX` of linux/limits.h.
const NAME_MAX: usize = 255;
const VALUE_MAX: usize = 65_536;

/// Namespaces by their number on disk (`SQUASHFS_XATTR_USER`, `_TRUSTED`, `_SECURITY`).
const PREFIXES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

/// One attribute: number of the namespace, name without it, value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct XattrEntry<'t> {
    prefix: u16,
    name: &'t [u8],
    value: &'t [u8],
}

/// The attributes of a node in byte order of their full names.
pub(super) type XattrSet<'t> = Vec<XattrEntry<'t>>;

impl XattrEntry<'_> {
    /// Bytes on disk with the value in place.
    pub(super) fn stored_len(&self) -> usize {
        4 + self.name.len() + 4 + self.value.len().max(8)
    }
}

/// Returns whether squashfs has a namespace for an attribute.
pub(super) fn is_stored(full_name: &[u8]) -> bool {
    PREFIXES.iter().any(|prefix| full_name.starts_with(prefix))
}

/// The attribute as squashfs stores it; `None` outside of its namespaces.
pub(super) fn entry<'t>(
    path: &[u8],
    full_name: &'t [u8],
    value: &'t [u8],
) -> Result<Option<XattrEntry<'t>>, SquashfsError> {
    let known =
        PREFIXES.iter().zip(0..).find_map(|(text, prefix)| Some((prefix, full_name.strip_prefix(*text)?)));
    let Some((prefix, name)) = known else {
        return Ok(None);
    };
    for (what, len, max) in [("name", full_name.len(), NAME_MAX), ("value", value.len(), VALUE_MAX)] {
        if len > max {
            let name = String::from_utf8_lossy(full_name).into_owned();
            return Err(SquashfsError::XattrTooLong { path: tree::display(path), name, what, len, max });
        }
    }
    Ok(Some(XattrEntry { prefix, name, value }))
}

/// Writes the attribute tables; returns `xattr_id_table_start`.
pub(super) fn write_xattrs(
    sink: &mut Sink,
    sets: &[XattrSet],
    pairs: Compressor,
    mut table: Compressor,
) -> Result<u64, SquashfsError> {
    if sets.is_empty() {
        return Ok(raw::SQUASHFS_INVALID_BLK);
    }
    let mut stream = MetadataStream::new(pairs);
    let mut places = HashMap::new();
    let mut records = Vec::with_capacity(sets.len() * 16);
    for set in sets {
        let (reference, start) = (stream.reference(), stream.position());
        for entry in set {
            put_entry(&mut stream, &mut places, entry)?;
        }
        records.u64(reference.to_u64()).u32(set.len() as u32).u32((stream.position() - start) as u32);
    }
    let pairs_start = sink.position();
    sink.put(&stream.finish("extended attribute")?)?;
    let mut header = Vec::new();
    header.u64(pairs_start).u32(sets.len() as u32).u32(0);
    write_table(sink, &mut table, &records, &header)
}

fn put_entry<'t>(
    stream: &mut MetadataStream,
    places: &mut HashMap<&'t [u8], Reference>,
    entry: &XattrEntry<'t>,
) -> Result<(), SquashfsError> {
    // A reference is eight bytes, so smaller values are better repeated.
    let known = places.get(entry.value).filter(|_| entry.value.len() > 8).copied();
    let flag = if known.is_some() { raw::SQUASHFS_XATTR_VALUE_OOL } else { 0 };
    let mut head = Vec::new();
    head.u16(entry.prefix | flag).u16(entry.name.len() as u16).extend_from_slice(entry.name);
    stream.put(&head)?;
    let mut value = Vec::new();
    match known {
        Some(place) => value.u32(8).u64(place.to_u64()),
        None => {
            places.insert(entry.value, stream.reference());
            value.u32(entry.value.len() as u32)
        }
    };
    if known.is_none() {
        value.extend_from_slice(entry.value);
    }
    stream.put(&value)
}
