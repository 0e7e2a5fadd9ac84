//! Writes a layout: contents, then inodes and directories, then the tables, the superblock last.

use rayon::ThreadPool;

use super::compressor::Compressor;
use super::data::{self, StoredData};
use super::directory::{self, Entry};
use super::inode::{self, Inodes};
use super::layout::Layout;
use super::metadata::{MetadataStream, stored_block, write_table};
use super::raw::{self, Put, Reference, SuperBlock, flags};
use super::sink::{PADDING, Sink};
use super::xattr::write_xattrs;
use super::{Codec, Resources, SquashfsError};
use crate::fs::WrittenFile;
use crate::storage::Region;
use crate::tree::{self, Body, NodeId, Tree};
use crate::value::Digest;

/// A squashfs as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// `bytes_used` of the superblock.
    pub bytes_used: u64,
    /// The same with padding: so much of the region was written.
    pub len: u64,
    /// Every name of every regular file, in the order of [`Tree::walk`].
    pub files: Vec<WrittenFile>,
    /// Number of inodes.
    pub inodes: u32,
    /// Number of fragment blocks.
    pub fragments: u32,
    /// Files that share the data of an earlier one with the same content.
    pub duplicates: u32,
}

/// Writes `layout` to the start of `region`: each byte up to [`Written::len`] once, the first 4 KiB last. The
/// rest of the region is left alone.
///
/// If the region is too small, the whole image is made nevertheless, so that the error says what it needs.
pub fn write(layout: &Layout, region: &Region, resources: &Resources) -> Result<Written, SquashfsError> {
    let pool = thread_pool(resources.threads)?;
    let (data, superblock, len, head) = region.stream(PADDING, |writer| {
        let mut sink = Sink::new(writer, region.len());
        if let Some(options) = layout.options.codec.options_block(layout.options.block_size) {
            sink.put(&stored_block(&options))?;
        }
        let data = data::store(layout, &pool, &mut sink, resources)?;
        let superblock = write_metadata(layout, &data, &mut sink)?;
        let (len, head) = sink.finish(superblock)?;
        region.ensure_fits(len)?;
        Ok::<_, SquashfsError>((data, superblock, len, head))
    })?;
    region.write_at(&head, 0)?;
    let written = Written {
        bytes_used: superblock.bytes_used,
        len,
        files: written_files(layout, &data.digests),
        inodes: superblock.inodes,
        fragments: superblock.fragments,
        duplicates: data.duplicates,
    };
    drop(data);
    if resources.verify {
        super::proof::prove_on(&pool, layout, region, &written)?;
    }
    Ok(written)
}

pub(super) fn thread_pool(threads: usize) -> Result<ThreadPool, SquashfsError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("squashfs-{index}"))
        .build()
        .map_err(|error| SquashfsError::Threads { threads, reason: error.to_string() })
}

fn written_files(layout: &Layout, digests: &[Digest]) -> Vec<WrittenFile> {
    let files = layout.tree.walk().filter_map(|(path, id)| match &layout.tree.node(id).body {
        Body::File(content) => {
            let blake3 = digests[layout.file_index[id.index()] as usize];
            Some(WrittenFile { path: tree::display(&path), size: content.len(), blake3 })
        }
        _ => None,
    });
    files.collect()
}

/// Writes everything behind the data.
fn write_metadata(layout: &Layout, data: &StoredData, sink: &mut Sink) -> Result<SuperBlock, SquashfsError> {
    let compressor = || Compressor::new(layout.options.codec, layout.options.block_size);
    let nodes = Nodes::build(layout, data, compressor()?, compressor()?)?;
    let inode_table_start = sink.position();
    sink.put(&nodes.inodes)?;
    let directory_table_start = sink.position();
    sink.put(&nodes.directories)?;
    let fragment_table_start = match fragment_records(data) {
        records if records.is_empty() => raw::SQUASHFS_INVALID_BLK,
        records => write_table(sink, &mut compressor()?, &records, &[])?,
    };
    let lookup_table_start = write_table(sink, &mut compressor()?, &nodes.export_records(), &[])?;
    let ids: Vec<u8> = layout.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let id_table_start = write_table(sink, &mut compressor()?, &ids, &[])?;
    let xattr_id_table_start = write_xattrs(sink, &layout.xattr_sets, compressor()?, compressor()?)?;
    Ok(SuperBlock {
        inodes: layout.inode_count(),
        mkfs_time: layout.options.timestamp as u32,
        block_size: layout.options.block_size,
        fragments: data.fragments.len() as u32,
        compression: layout.options.codec.id(),
        flags: flags_of(layout),
        no_ids: layout.ids.len() as u16,
        root_inode: nodes.places[layout.numbers[Tree::ROOT.index()] as usize - 1].to_u64(),
        bytes_used: sink.position(),
        id_table_start,
        xattr_id_table_start,
        inode_table_start,
        directory_table_start,
        fragment_table_start,
        lookup_table_start,
    })
}

pub(super) fn flags_of(layout: &Layout) -> u16 {
    let mut bits = flags::DUPLICATE | flags::EXPORT;
    if layout.xattr_sets.is_empty() {
        bits |= flags::NO_XATTR;
    }
    if layout.options.codec == Codec::Stored {
        bits |= flags::NOI | flags::NOD | flags::NOF | flags::NOX | flags::NOID;
    }
    if layout.options.codec.options_block(layout.options.block_size).is_some() {
        bits |= flags::COMP_OPT;
    }
    bits
}

fn fragment_records(data: &StoredData) -> Vec<u8> {
    let mut records = Vec::with_capacity(data.fragments.len() * 16);
    for (start, size) in &data.fragments {
        records.u64(*start).u32(*size).u32(0);
    }
    records
}

/// The inode and directory tables, which grow together: an inode says where its listing is, a listing where its
/// inodes are.
struct Nodes {
    inodes: Vec<u8>,
    directories: Vec<u8>,
    /// Place of each inode by its number less one.
    places: Vec<Reference>,
}

impl Nodes {
    fn build(
        layout: &Layout,
        data: &StoredData,
        inodes: Compressor,
        directories: Compressor,
    ) -> Result<Nodes, SquashfsError> {
        let mut inodes = MetadataStream::new(inodes);
        let mut directories = MetadataStream::new(directories);
        let mut places = vec![Reference::default(); layout.inode_count() as usize];
        let make = Inodes { layout };
        for id in &layout.inode_order {
            places[layout.numbers[id.index()] as usize - 1] = inodes.reference();
            let bytes = match &layout.tree.node(*id).body {
                Body::Dir(_) => {
                    let listing = directory::put_listing(&mut directories, &entries(layout, *id, &places))?;
                    make.directory(*id, &listing)?
                }
                Body::File(content) => {
                    make.file(*id, content.len(), &data.files[layout.file_index[id.index()] as usize])
                }
                _ => make.special(*id),
            };
            inodes.put(&bytes)?;
        }
        Ok(Nodes { inodes: inodes.finish("inode")?, directories: directories.finish("directory")?, places })
    }

    /// The export table: from inode number to place.
    fn export_records(&self) -> Vec<u8> {
        self.places.iter().flat_map(|place| place.to_u64().to_le_bytes()).collect()
    }
}

fn entries<'t>(layout: &Layout<'t>, dir: NodeId, places: &[Reference]) -> Vec<Entry<'t>> {
    let names = layout.tree.node(dir).entries().into_iter().flatten();
    let entry = |(name, child): (&'t tree::Name, &NodeId)| {
        let inode_number = layout.numbers[child.index()];
        let kind = inode::kind(&layout.tree.node(*child).body);
        Entry { name, inode: places[inode_number as usize - 1], inode_number, kind }
    };
    names.map(entry).collect()
}
