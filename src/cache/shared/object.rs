//! The body of an object: a block with what is needed to see that it is whole and the right one.
//!
//! | offset | bytes | meaning |
//! | --- | --- | --- |
//! | 0 | 8 | `skiffblk` |
//! | 8 | 2 | version: 1 |
//! | 10 | 2 | form: 0 incompressible (nothing follows the header), 1 compressed |
//! | 12 | 4 | bytes of the block before compression |
//! | 16 | 32 | [`Key::id`], which is also the name of the object |
//! | 48 | 32 | blake3 of the 48 bytes before and of the block |
//! | 80 | | the compressed block |
//!
//! Numbers are little-endian.
//!
//! # What is trusted
//!
//! Nothing of the store is believed about contents: a compressed block is decompressed, and is used only if what
//! comes out has the digest that was asked for. That a block is incompressible cannot be seen without compressing
//! it; a lie makes an image larger, never wrong. In the same way who can write to the store can choose among the
//! compressed forms of the same contents, so an image is byte-identical only as long as writers are honest.

use crate::cache::{Block, Key};
use crate::fs::squashfs::decode_block;
use crate::value::Digest;

const MAGIC: [u8; 8] = *b"skiffblk";
const VERSION: u16 = 1;
const INCOMPRESSIBLE: u16 = 0;
const COMPRESSED: u16 = 1;
/// Offset of the checksum.
const CHECKSUM: usize = 48;
/// Bytes before the block.
const HEADER: usize = 80;

/// Bytes of the longest body a block of `key` can have: compressed is shorter than raw.
pub(super) fn max_len(key: &Key) -> u64 {
    HEADER as u64 + u64::from(key.raw_len)
}

/// The body of a block.
pub(super) fn seal(key: &Key, block: &Block) -> Vec<u8> {
    let (form, packed) = match block {
        Block::Incompressible => (INCOMPRESSIBLE, [].as_slice()),
        Block::Compressed(packed) => (COMPRESSED, packed.as_slice()),
    };
    let mut body = Vec::with_capacity(HEADER + packed.len());
    body.extend(header(key, form));
    body.extend(checksum(&body, packed).0);
    body.extend(packed);
    body
}

/// The block of a body; `None` if it is damaged, forged or another one.
pub(super) fn open(key: &Key, body: &[u8]) -> Option<Block> {
    let (head, packed) = body.split_at_checked(HEADER)?;
    let (head, sum) = head.split_at(CHECKSUM);
    if sum != checksum(head, packed).0 {
        return None;
    }
    if head == header(key, INCOMPRESSIBLE) && packed.is_empty() {
        return Some(Block::Incompressible);
    }
    let is_compressed = head == header(key, COMPRESSED) && packed.len() < key.raw_len as usize;
    let raw = is_compressed.then(|| decode_block(key.codec, packed, key.raw_len as usize))??;
    (Digest::of(&raw) == key.raw).then(|| Block::Compressed(packed.to_vec()))
}

/// Bytes before the checksum.
fn header(key: &Key, form: u16) -> [u8; CHECKSUM] {
    let mut head = [0; CHECKSUM];
    head[..8].copy_from_slice(&MAGIC);
    head[8..10].copy_from_slice(&VERSION.to_le_bytes());
    head[10..12].copy_from_slice(&form.to_le_bytes());
    head[12..16].copy_from_slice(&key.raw_len.to_le_bytes());
    head[16..].copy_from_slice(&key.id().0);
    head
}

fn checksum(head: &[u8], packed: &[u8]) -> Digest {
    blake3::Hasher::new().update(head).update(packed).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::squashfs::Codec;

    fn key(raw: &[u8]) -> Key {
        let codec = Codec::Lz4 { hc: false };
        Key { raw: Digest::of(raw), raw_len: raw.len() as u32, codec, block_size: 4096 }
    }

    fn packed(raw: &[u8]) -> Block {
        Block::Compressed(lz4::block::compress(raw, None, false).expect("compresses"))
    }

    #[test]
    fn blocks_round_trip_under_their_key_only() {
        let (one, other) = ([1; 4096], [2; 4096]);
        for block in [packed(&one), Block::Incompressible] {
            let body = seal(&key(&one), &block);
            assert_eq!(open(&key(&one), &body), Some(block));
            assert_eq!(open(&key(&other), &body), None);
            assert!(body.len() as u64 <= max_len(&key(&one)));
        }
    }

    #[test]
    fn every_damaged_bit_is_seen() {
        let raw = [1; 4096];
        let body = seal(&key(&raw), &packed(&raw));
        for bit in 0..body.len() * 8 {
            let mut damaged = body.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&key(&raw), &damaged), None, "bit {bit}");
        }
        for len in 0..body.len() {
            assert_eq!(open(&key(&raw), &body[..len]), None, "length {len}");
        }
    }

    #[test]
    fn forgeries_with_right_checksums_are_seen() {
        let raw = [1; 4096];
        // Other contents, fewer contents, contents that are not shorter, and no contents.
        let longer = Block::Compressed(vec![0; 4096]);
        for block in [packed(&[2; 4096]), packed(&[1; 4095]), longer, Block::Compressed(Vec::new())] {
            assert_eq!(open(&key(&raw), &seal(&key(&raw), &block)), None);
        }
        // An incompressible block has nothing behind the header.
        let mut body = header(&key(&raw), INCOMPRESSIBLE).to_vec();
        body.extend(checksum(&body.clone(), b"more").0);
        body.extend(b"more");
        assert_eq!(open(&key(&raw), &body), None);
    }

    #[test]
    fn the_form_is_stable() {
        let raw = [1; 4096];
        let body = seal(&key(&raw), &Block::Incompressible);
        assert_eq!(body.len(), 80);
        assert_eq!(body[..16], *b"skiffblk\x01\0\0\0\0\x10\0\0");
        assert_eq!(body[16..48], key(&raw).id().0);
        assert_eq!(body[48..], Digest::of(&body[..48]).0);
    }
}
