//! The core image: loader sector, decompressor, and the compressed kernel with its modules.

use std::path::Path;

use liblzma::stream::{Action, Filters, LzmaOptions, Stream};

use super::kernel::{LINK_ADDRESS, memory_image};
use super::{CORE_SECTOR, GrubError, SECTOR, load_order, modules, read, sector};
use crate::error::Error;

/// `"mimg"`, before the objects behind the kernel.
const OBJECTS_MAGIC: u32 = 0x676d_696d;
/// Bytes of that header: magic, offset of the first object, length of all with this header.
const OBJECTS_HEADER: usize = 12;
/// Bytes before each object: kind, length with these bytes.
const OBJECT_HEADER: usize = 8;
/// Objects begin at multiples of a pointer.
const OBJECT_ALIGN: usize = 4;
const OBJECT_MODULE: u32 = 0;
const OBJECT_CONFIG: u32 = 2;
const OBJECT_PREFIX: u32 = 3;

/// Address of the decompressor, the sector behind `diskboot.img`.
const DECOMPRESSOR_ADDRESS: u32 = 0x8200;
/// Its field for the length of what is compressed.
const COMPRESSED_SIZE: usize = 0x08;
/// Its field for the length of what comes out.
const UNCOMPRESSED_SIZE: usize = 0x0c;
/// The field behind them that counts parity bytes; stays as it is, zero.
const FIELDS_END: usize = 0x14;

/// Block list of `diskboot.img`: first sector (64 bits), sectors (16 bits), segment to load to (16 bits).
const BLOCK_LIST: usize = SECTOR - 12;
/// The segment of [`DECOMPRESSOR_ADDRESS`].
const LOAD_SEGMENT: u16 = (DECOMPRESSOR_ADDRESS >> 4) as u16;
/// The decompressor and what it unpacks end below this address while they are read.
const LOAD_END: u32 = 0x78000;

/// Window of the compressor; `lzma_decompress.img` is built for these numbers (`LZMA_PROPERTIES` in its source).
const LZMA_WINDOW: u32 = 1 << 16;
const LZMA_LITERAL_CONTEXT_BITS: u32 = 3;
const LZMA_LITERAL_POSITION_BITS: u32 = 0;
const LZMA_POSITION_BITS: u32 = 2;
/// Effort of the search for matches; decides the size only.
const LZMA_PRESET: u32 = 9;

/// Parts of a core image.
#[derive(Clone, Copy, Debug)]
pub struct Core<'a> {
    /// The files of GRUB's build for `i386-pc`.
    pub directory: &'a Path,
    /// Modules, without what they need.
    pub modules: &'a [String],
    /// Directory of `grub.cfg` and further modules; `(,msdos1)/grub` is a directory of the first partition
    /// of the disk that the BIOS started from.
    pub prefix: &'a str,
    /// Commands that run before `grub.cfg` is looked for.
    pub config: Option<&'a str>,
}

/// Composes the core image, whole sectors, for the disk from [`CORE_SECTOR`] on.
pub fn core(options: &Core) -> Result<Vec<u8>, Error> {
    let mut loader = sector(options.directory, "diskboot.img")?;
    let mut decompressor = read(options.directory, "lzma_decompress.img")?;
    let payload = payload(options)?;
    let mut compressed = compress(&payload)?;
    set_lengths(&mut decompressor, compressed.len(), payload.len())?;
    decompressor.append(&mut compressed);
    let limit = u64::from(LOAD_END - LINK_ADDRESS);
    if decompressor.len() as u64 > limit {
        let found = decompressor.len() as u64;
        return Err(GrubError::TooLarge { what: "the core image", found, limit }.into());
    }
    decompressor.resize(decompressor.len().next_multiple_of(SECTOR), 0);
    // At most 0x6f000 bytes: the number of sectors fits 16 bits.
    set_block_list(&mut loader, (decompressor.len() / SECTOR) as u16);
    loader.append(&mut decompressor);
    Ok(loader)
}

/// Returns the bytes that are unpacked to [`LINK_ADDRESS`]: the kernel, and behind it the objects.
fn payload(options: &Core) -> Result<Vec<u8>, Error> {
    let mut payload = memory_image(&read(options.directory, "kernel.img")?)?;
    let objects = objects(options)?;
    payload.extend(OBJECTS_MAGIC.to_le_bytes());
    payload.extend((OBJECTS_HEADER as u32).to_le_bytes());
    payload.extend(((OBJECTS_HEADER + objects.len()) as u32).to_le_bytes());
    payload.extend(objects);
    Ok(payload)
}

fn objects(options: &Core) -> Result<Vec<u8>, Error> {
    let mut objects = Vec::new();
    for module in load_order(options.directory, options.modules)? {
        push_object(&mut objects, OBJECT_MODULE, &modules::load(options.directory, &module)?);
    }
    if let Some(config) = options.config {
        push_text(&mut objects, OBJECT_CONFIG, config);
    }
    push_text(&mut objects, OBJECT_PREFIX, options.prefix);
    Ok(objects)
}

/// A text, which the kernel reads up to a zero.
fn push_text(objects: &mut Vec<u8>, kind: u32, text: &str) {
    push_object(objects, kind, &[text.as_bytes(), b"\0"].concat());
}

fn push_object(objects: &mut Vec<u8>, kind: u32, bytes: &[u8]) {
    let len = bytes.len().next_multiple_of(OBJECT_ALIGN);
    objects.extend(kind.to_le_bytes());
    objects.extend(((OBJECT_HEADER + len) as u32).to_le_bytes());
    objects.extend(bytes);
    objects.resize(objects.len() + len - bytes.len(), 0);
}

/// LZMA without a header. The encoder ends with a mark that the decompressor, which counts what comes out, never
/// gets to.
fn compress(payload: &[u8]) -> Result<Vec<u8>, GrubError> {
    let mut options = LzmaOptions::new_preset(LZMA_PRESET).map_err(GrubError::Compress)?;
    options
        .dict_size(LZMA_WINDOW)
        .literal_context_bits(LZMA_LITERAL_CONTEXT_BITS)
        .literal_position_bits(LZMA_LITERAL_POSITION_BITS)
        .position_bits(LZMA_POSITION_BITS);
    let mut stream = Stream::new_raw_encoder(Filters::new().lzma1(&options)).map_err(GrubError::Compress)?;
    // More than the worst case: 1 in 2^12 and the state of the coder.
    let mut compressed = Vec::with_capacity(payload.len() + payload.len() / 16 + 4096);
    stream.process_vec(payload, &mut compressed, Action::Finish).map_err(GrubError::Compress)?;
    Ok(compressed)
}

fn set_lengths(decompressor: &mut [u8], compressed: usize, payload: usize) -> Result<(), GrubError> {
    let (found, maximum) = (decompressor.len(), (LINK_ADDRESS - DECOMPRESSOR_ADDRESS) as usize);
    if !(FIELDS_END..=maximum).contains(&found) {
        return Err(GrubError::Decompressor { found, minimum: FIELDS_END, maximum });
    }
    let mut put =
        |at: usize, value: usize| decompressor[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
    put(COMPRESSED_SIZE, compressed);
    put(UNCOMPRESSED_SIZE, payload);
    Ok(())
}

/// The one run of sectors behind the loader.
fn set_block_list(loader: &mut [u8], sectors: u16) {
    let list = [&(CORE_SECTOR + 1).to_le_bytes()[..], &sectors.to_le_bytes(), &LOAD_SEGMENT.to_le_bytes()];
    loader[BLOCK_LIST..].copy_from_slice(&list.concat());
}
