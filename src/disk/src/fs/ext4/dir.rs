//! Directory blocks: linear for one block, with a hash index (htree) for more, as the kernel makes them.
//!
//! An index looks like deleted entries to a reader that knows nothing of it, so boot loaders just scan. Source:
//! Documentation/filesystems/ext4/directory.rst and `fs/ext4/hash.c`.

use uuid::Uuid;

use super::raw::{BLOCK, put16, put32};

const BLOCK_LEN: usize = BLOCK as usize;
/// Children of the root of an index: what remains behind `.`, `..`, and `dx_root_info`.
const ROOT_LIMIT: usize = (BLOCK_LEN - 32) / 8;
/// Children of another index block, behind one empty entry.
const NODE_LIMIT: usize = (BLOCK_LEN - 8) / 8;

/// `file_type` of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FileType {
    Regular = 1,
    Dir = 2,
    Char = 3,
    Block = 4,
    Fifo = 5,
    Socket = 6,
    Symlink = 7,
}

/// One name of a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub name: &'a [u8],
    pub inode: u32,
    pub file_type: FileType,
}

impl Entry<'_> {
    /// `rec_len` without slack.
    fn len(&self) -> usize {
        (8 + self.name.len()).next_multiple_of(4)
    }

    fn put(&self, b: &mut [u8], rec_len: usize) {
        put32(b, 0, self.inode);
        put16(b, 4, rec_len as u16);
        b[6] = self.name.len() as u8;
        b[7] = self.file_type as u8;
        b[8..8 + self.name.len()].copy_from_slice(self.name);
    }
}

/// The blocks of a directory.
#[derive(Debug)]
pub(super) struct Dir {
    /// A multiple of the block size.
    pub bytes: Vec<u8>,
    /// Set if they have a hash index: `INDEX_FL`.
    pub indexed: bool,
}

/// The directory `inode` in `parent` with `entries`.
pub(super) fn dir(inode: u32, parent: u32, entries: &[Entry], hash_seed: Uuid) -> Dir {
    let dots = [
        Entry { name: b".", inode, file_type: FileType::Dir },
        Entry { name: b"..", inode: parent, file_type: FileType::Dir },
    ];
    let len: usize = dots.iter().chain(entries).map(Entry::len).sum();
    if len > BLOCK_LEN
        && let Some(bytes) = indexed(&dots, entries, hash_seed)
    {
        return Dir { bytes, indexed: true };
    }
    let all: Vec<Entry> = dots.into_iter().chain(entries.iter().copied()).collect();
    let mut bytes = Vec::new();
    fill(&all).into_iter().for_each(|count| bytes.extend(leaf(&all[count])));
    Dir { bytes, indexed: false }
}

/// Appends `blocks` blocks without entries: space for e2fsck, which may not be able to allocate any.
pub(super) fn append_empty_blocks(dir: &mut Dir, blocks: usize) {
    for _ in 0..blocks {
        dir.bytes.extend(leaf(&[]));
    }
}

/// Cuts entries into ranges that fill a block each.
fn fill(entries: &[Entry]) -> Vec<std::ops::Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut len) = (0, 0);
    for (at, entry) in entries.iter().enumerate() {
        if len + entry.len() > BLOCK_LEN {
            ranges.push(start..at);
            (start, len) = (at, 0);
        }
        len += entry.len();
    }
    ranges.push(start..entries.len());
    ranges
}

/// One block of entries; the last one takes the slack.
fn leaf(entries: &[Entry]) -> Vec<u8> {
    let mut block = vec![0; BLOCK_LEN];
    let mut at = 0;
    for (index, entry) in entries.iter().enumerate() {
        let is_last = index + 1 == entries.len();
        let rec_len = if is_last { BLOCK_LEN - at } else { entry.len() };
        entry.put(&mut block[at..], rec_len);
        at += rec_len;
    }
    if entries.is_empty() {
        put16(&mut block, 4, BLOCK as u16);
    }
    block
}

/// A directory with a hash index of one or two levels; nothing if that does not suffice (1 GiB of names).
fn indexed(dots: &[Entry; 2], entries: &[Entry], hash_seed: Uuid) -> Option<Vec<u8>> {
    let mut hashed: Vec<((u32, u32), Entry)> =
        entries.iter().map(|entry| (half_md4_hash(entry.name, hash_seed, true), *entry)).collect();
    hashed.sort_by_key(|(hash, entry)| (*hash, entry.name));
    let sorted: Vec<Entry> = hashed.iter().map(|(_, entry)| *entry).collect();
    let ranges = fill(&sorted);
    let nodes = if ranges.len() > ROOT_LIMIT { ranges.len().div_ceil(NODE_LIMIT) } else { 0 };
    if nodes > ROOT_LIMIT {
        return None;
    }
    let children: Vec<(u32, u32)> = ranges
        .iter()
        .enumerate()
        .map(|(index, range)| (boundary(&hashed, range.start), (1 + nodes + index) as u32))
        .collect();
    let mut bytes = vec![0; BLOCK_LEN];
    dots[0].put(&mut bytes, 12);
    dots[1].put(&mut bytes[12..], BLOCK_LEN - 12);
    bytes[28] = 1; // hash_version: half MD4
    bytes[29] = 8; // info_length
    bytes[30] = u8::from(nodes > 0); // indirect_levels
    if nodes == 0 {
        put_children(&mut bytes[32..], &children, ROOT_LIMIT);
    } else {
        let chunks: Vec<&[(u32, u32)]> = children.chunks(NODE_LIMIT).collect();
        let tops: Vec<(u32, u32)> =
            chunks.iter().enumerate().map(|(index, chunk)| (chunk[0].0, 1 + index as u32)).collect();
        put_children(&mut bytes[32..], &tops, ROOT_LIMIT);
        chunks.iter().for_each(|chunk| bytes.extend(index_block(chunk)));
    }
    ranges.into_iter().for_each(|range| bytes.extend(leaf(&sorted[range])));
    Some(bytes)
}

/// The hash a leaf starts with; its low bit says that names with this hash are in the leaf before, too.
fn boundary(hashed: &[((u32, u32), Entry)], start: usize) -> u32 {
    let hash = hashed[start].0.0;
    let continues = start > 0 && hashed[start - 1].0.0 == hash;
    hash | u32::from(continues)
}

fn index_block(children: &[(u32, u32)]) -> Vec<u8> {
    let mut block = vec![0; BLOCK_LEN];
    put16(&mut block, 4, BLOCK as u16);
    put_children(&mut block[8..], children, NODE_LIMIT);
    block
}

/// `struct dx_entry` pairs of hash and block; the place of the first hash holds limit and count.
fn put_children(b: &mut [u8], children: &[(u32, u32)], limit: usize) {
    for (index, (hash, block)) in children.iter().enumerate() {
        put32(b, 8 * index, *hash);
        put32(b, 8 * index + 4, *block);
    }
    put16(b, 0, limit as u16);
    put16(b, 2, children.len() as u16);
}

/// `ext4fs_dirhash` with `DX_HASH_HALF_MD4`: hash and minor hash. Whether characters are signed was once left to the
/// architecture.
pub(super) fn half_md4_hash(name: &[u8], seed: Uuid, signed: bool) -> (u32, u32) {
    let mut state = [0x6745_2301_u32, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476];
    if !seed.is_nil() {
        for (word, bytes) in state.iter_mut().zip(seed.as_bytes().chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
    }
    let mut rest = name;
    while !rest.is_empty() {
        half_md4_transform(&mut state, hash_words(rest, signed));
        rest = &rest[rest.len().min(32)..];
    }
    let hash = state[1] & !1;
    // The largest value marks the end of a directory for readdir.
    (if hash == 0xFFFF_FFFE { 0xFFFF_FFFC } else { hash }, state[2])
}

/// `str2hashbuf_signed` and `str2hashbuf_unsigned`: up to 32 characters as big-endian words, padded with the length of
/// all that is left.
fn hash_words(name: &[u8], signed: bool) -> [u32; 8] {
    let value = |byte: u8| if signed { byte as i8 as u32 } else { byte.into() };
    let pad = (name.len() as u32 & 0xFF) * 0x0101_0101;
    let mut words = [pad; 8];
    for (word, chunk) in words.iter_mut().zip(name.chunks(4)) {
        *word = chunk.iter().fold(pad, |sum, byte| (sum << 8).wrapping_add(value(*byte)));
    }
    words
}

/// The compression function of MD4 with half of its steps (`half_md4_transform`).
fn half_md4_transform(state: &mut [u32; 4], words: [u32; 8]) {
    const STEPS: [([usize; 8], [u32; 4], u32); 3] = [
        ([0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19], 0),
        ([1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13], 0x5A82_7999),
        ([3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15], 0x6ED9_EBA1),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (round, (order, rotations, constant)) in STEPS.into_iter().enumerate() {
        for (step, word) in order.into_iter().enumerate() {
            let mixed = match round {
                0 => d ^ (b & (c ^ d)),
                1 => (b & c).wrapping_add((b ^ c) & d),
                _ => b ^ c ^ d,
            };
            let sum = a.wrapping_add(mixed).wrapping_add(words[word]).wrapping_add(constant);
            (a, b, c, d) = (d, sum.rotate_left(rotations[step % 4]), b, c);
        }
    }
    for (word, value) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::raw::{get16, get32};
    use super::*;

    fn entry(name: &[u8]) -> Entry<'_> {
        Entry { name, inode: 12, file_type: FileType::Regular }
    }

    #[test]
    fn a_small_directory_is_one_linear_block() {
        let dir = dir(11, 2, &[entry(b"abc"), entry(b"defgh")], Uuid::nil());
        assert_eq!((dir.bytes.len(), dir.indexed), (4096, false));
        assert_eq!([get16(&dir.bytes, 4), get16(&dir.bytes, 16), get16(&dir.bytes, 28)], [12, 12, 12]);
        assert_eq!(get16(&dir.bytes, 40), 4096 - 36);
        assert_eq!((get32(&dir.bytes, 0), get32(&dir.bytes, 12)), (11, 2));
    }

    #[test]
    fn a_large_directory_is_indexed_in_hash_order() {
        let names: Vec<Vec<u8>> = (0..1000).map(|n| format!("file-{n}").into_bytes()).collect();
        let entries: Vec<Entry> = names.iter().map(|name| entry(name)).collect();
        let dir = dir(11, 2, &entries, Uuid::from_u128(7));
        assert!(dir.indexed);
        let leaves = dir.bytes.len() / 4096 - 1;
        assert_eq!(usize::from(get16(&dir.bytes, 34)), leaves);
        let hashes: Vec<u32> = (1..leaves).map(|n| get32(&dir.bytes, 32 + 8 * n)).collect();
        assert!(hashes.is_sorted());
    }
}
