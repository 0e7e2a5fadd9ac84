//! One file of the cache: its name and its bytes.
//!
//! | bytes | |
//! |---|---|
//! | 0..8 | `skiffblk` |
//! | 8..12 | kind, little-endian: 0 is incompressible and has no payload, 1 is compressed |
//! | 12..16 | length of the payload, little-endian |
//! | 16..48 | checksum: blake3 of payload and bytes 0..16, keyed with the id of the entry |
//! | 48.. | payload |
//!
//! The id being the key of the checksum, an entry under the name of another one is as wrong as a torn one. The
//! checksum finds damage; whoever may write to the directory and means harm can make a right one.

use crate::cache::Block;
use crate::value::Digest;

/// Bytes before the payload.
pub(super) const HEADER_LEN: usize = 48;
/// Bytes that the checksum covers beside the payload.
const DESCRIPTION_LEN: usize = 16;
const MAGIC: &[u8; 8] = b"skiffblk";
const INCOMPRESSIBLE: u32 = 0;
const COMPRESSED: u32 = 1;
/// Unit in which filesystems give space; the size of an entry is counted in it.
const ALLOCATION_UNIT: u64 = 4096;

/// The bytes of an entry.
pub(super) fn encode(id: &Digest, block: &Block) -> Vec<u8> {
    let (kind, payload) = match block {
        Block::Incompressible => (INCOMPRESSIBLE, &[][..]),
        Block::Compressed(bytes) => (COMPRESSED, bytes.as_slice()),
    };
    let mut entry = Vec::with_capacity(HEADER_LEN + payload.len());
    entry.extend_from_slice(MAGIC);
    entry.extend_from_slice(&kind.to_le_bytes());
    entry.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    entry.extend_from_slice(&checksum(id, &entry, payload));
    entry.extend_from_slice(payload);
    entry
}

/// The block in the bytes of an entry, if they are the ones that [`encode`] made for this id.
pub(super) fn decode(id: &Digest, mut entry: Vec<u8>) -> Option<Block> {
    let (header, payload) = entry.split_at_checked(HEADER_LEN)?;
    let (description, sum) = header.split_at(DESCRIPTION_LEN);
    let (magic, fields) = description.split_at(MAGIC.len());
    let (kind, len) = fields.split_at(4);
    let whole = magic == MAGIC && len == (payload.len() as u32).to_le_bytes();
    if !whole || checksum(id, description, payload) != sum {
        return None;
    }
    if kind == COMPRESSED.to_le_bytes() {
        entry.drain(..HEADER_LEN);
        return Some(Block::Compressed(entry));
    }
    (kind == INCOMPRESSIBLE.to_le_bytes() && payload.is_empty()).then_some(Block::Incompressible)
}

/// The payload comes first, because hashing is fastest where it begins at a multiple of 1 KiB.
fn checksum(id: &Digest, description: &[u8], payload: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new_keyed(&id.0).update(payload).update(description).finalize().as_bytes()
}

/// Bytes of disk that a file of `len` bytes takes.
pub(super) fn disk_len(len: u64) -> u64 {
    len.next_multiple_of(ALLOCATION_UNIT)
}

/// Path of an entry below the directory of the version: `ab/cdef...`.
pub(super) fn name(id: &Digest) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut name = String::with_capacity(2 * id.0.len() + 1);
    for (index, byte) in id.0.iter().enumerate() {
        if index == 1 {
            name.push('/');
        }
        name.push(char::from(DIGITS[usize::from(byte >> 4)]));
        name.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    name
}

/// Returns whether a file of a shard has the name of an entry.
pub(super) fn is_name(name: &[u8]) -> bool {
    name.len() == 62 && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks() -> [Block; 3] {
        [Block::Incompressible, Block::Compressed(vec![7]), Block::Compressed((0..=255).collect())]
    }

    #[test]
    fn an_entry_gives_its_block_again() {
        let id = Digest::of(b"id");
        for block in blocks() {
            assert_eq!(decode(&id, encode(&id, &block)), Some(block));
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let id = Digest::of(b"id");
        for block in blocks() {
            let entry = encode(&id, &block);
            for bit in 0..entry.len() * 8 {
                let mut damaged = entry.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&id, damaged), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn every_other_length_is_found() {
        let id = Digest::of(b"id");
        for block in blocks() {
            let entry = encode(&id, &block);
            for len in 0..entry.len() {
                assert_eq!(decode(&id, entry[..len].to_vec()), None, "{len}");
            }
            assert_eq!(decode(&id, [entry.as_slice(), &[0]].concat()), None);
        }
    }

    #[test]
    fn an_entry_is_of_one_name_only() {
        let entry = encode(&Digest::of(b"id"), &Block::Compressed(vec![1, 2, 3]));
        assert_eq!(decode(&Digest::of(b"other"), entry), None);
    }

    #[test]
    fn names_are_the_hexadecimal_id() {
        let id = Digest::of(b"id");
        let name = name(&id);
        assert_eq!(name.replacen('/', "", 1), id.to_string());
        let (shard, rest) = name.split_at(3);
        assert!(shard.ends_with('/') && is_name(rest.as_bytes()), "{name}");
        assert!(!is_name(b"tmp-1-2-3") && !is_name(rest.to_uppercase().as_bytes()), "{name}");
    }

    #[test]
    fn sizes_are_counted_in_blocks_of_the_filesystem() {
        assert_eq!([1, 4096, 4097].map(disk_len), [4096, 4096, 8192]);
    }
}
