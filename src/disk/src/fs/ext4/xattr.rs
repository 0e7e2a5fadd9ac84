//! Extended attributes: in the inode as far as they fit, the rest in one block (Documentation/filesystems/ext4/
//! attributes.rst).

use super::Ext4Error;
use super::raw::{BLOCK, IBODY_LEN, get16, get32, put16, put32};
use crate::tree::{self, Xattrs};
use crate::value::Digest;

const MAGIC: u32 = 0xEA02_0000;
const HEADER_LEN: usize = 32;

/// `e_name_index` by prefix; a whole name if there is no dot at its end.
const NAMESPACES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// Place of the attributes of an inode.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    /// Behind the fixed fields of the inode.
    pub ibody: Vec<u8>,
    /// The block of `i_file_acl`.
    pub block: Option<Vec<u8>>,
}

/// One attribute as it is on disk.
struct Attr<'a> {
    full_name: &'a [u8],
    index: u8,
    name: &'a [u8],
    value: Vec<u8>,
}

impl Attr<'_> {
    fn entry_len(&self) -> usize {
        16 + self.name.len().next_multiple_of(4)
    }

    fn len(&self) -> usize {
        self.entry_len() + self.value.len().next_multiple_of(4)
    }

    /// `ext4_xattr_hash_entry` over name and value.
    fn hash(&self) -> u32 {
        let hash = self.name.iter().fold(0_u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
        self.value.chunks(4).fold(hash, |hash, chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    }
}

/// Encodes the attributes of the file at `path`.
pub(super) fn encode(path: &[u8], xattrs: &Xattrs) -> Result<Encoded, Ext4Error> {
    let mut attrs = Vec::new();
    for (name, value) in xattrs.iter().filter(|(name, _)| is_stored(name)) {
        attrs.push(attr(path, name, value)?);
    }
    // The order the kernel wants in a block.
    attrs.sort_by(|a, b| (a.index, a.name.len(), a.name).cmp(&(b.index, b.name.len(), b.name)));
    // Behind the magic, and with four zero bytes that end the list.
    let mut left = IBODY_LEN - 4 - 4;
    let (inside, outside): (Vec<Attr>, Vec<Attr>) = attrs.into_iter().partition(|attr| {
        let fits = attr.len() <= left;
        left -= if fits { attr.len() } else { 0 };
        fits
    });
    let ibody = if inside.is_empty() { Vec::new() } else { ibody(&inside) };
    let block = if outside.is_empty() { None } else { Some(block(path, &outside)?) };
    Ok(Encoded { ibody, block })
}

/// Digest of attributes as ext4 stores them, wherever it does; none without any that it can store.
pub(super) fn digest(xattrs: &Xattrs) -> Option<Digest> {
    let stored = xattrs.iter().filter(|(name, _)| is_stored(name));
    let attrs = stored.filter_map(|(name, value)| attr(b"", name, value).ok());
    digest_of(attrs.map(|attr| (attr.index, attr.name.to_vec(), attr.value)).collect())
}

/// The same of what is stored in an inode and in the block of `i_file_acl`.
pub(super) fn digest_of_stored(inode: &[u8], block: Option<&[u8]>) -> Option<Digest> {
    let mut attrs = Vec::new();
    if inode.len() > 4 && get32(inode, 0) == MAGIC {
        attrs.extend(stored(&inode[4..], 0));
    }
    if let Some(block) = block.filter(|block| get32(block, 0) == MAGIC) {
        attrs.extend(stored(block, HEADER_LEN));
    }
    digest_of(attrs)
}

/// Name index, name and value.
type StoredAttr = (u8, Vec<u8>, Vec<u8>);

/// The entries from `at` on; values are found from the start of `bytes`. What is malformed ends the list.
fn stored(bytes: &[u8], mut at: usize) -> Vec<StoredAttr> {
    let mut attrs = Vec::new();
    while let Some(entry) = bytes.get(at..at + 16).filter(|entry| get32(entry, 0) != 0) {
        let (name_len, value_at, len) =
            (usize::from(entry[0]), usize::from(get16(entry, 2)), get32(entry, 8) as usize);
        let Some(name) = bytes.get(at + 16..at + 16 + name_len) else { break };
        let value = bytes.get(value_at..value_at.saturating_add(len)).unwrap_or_default();
        attrs.push((entry[1], name.to_vec(), value.to_vec()));
        at += 16 + name_len.next_multiple_of(4);
    }
    attrs
}

fn digest_of(mut attrs: Vec<StoredAttr>) -> Option<Digest> {
    attrs.sort();
    let mut hasher = blake3::Hasher::new();
    for (index, name, value) in &attrs {
        hasher.update(&[*index]).update(&(name.len() as u64).to_le_bytes()).update(name);
        hasher.update(&(value.len() as u64).to_le_bytes()).update(value);
    }
    (!attrs.is_empty()).then(|| hasher.finalize().into())
}

/// Returns whether ext4 has a namespace for an attribute.
pub(super) fn is_stored(full_name: &[u8]) -> bool {
    namespace(full_name).is_some()
}

fn namespace(full_name: &[u8]) -> Option<&'static (&'static [u8], u8)> {
    NAMESPACES.iter().find(|(prefix, _)| {
        if prefix.ends_with(b".") {
            full_name.len() > prefix.len() && full_name.starts_with(prefix)
        } else {
            full_name == *prefix
        }
    })
}

fn attr<'a>(path: &[u8], full_name: &'a [u8], value: &[u8]) -> Result<Attr<'a>, Ext4Error> {
    let found = namespace(full_name);
    let name_of = || (tree::display(path), String::from_utf8_lossy(full_name).into_owned());
    let Some((prefix, index)) = found.filter(|(prefix, _)| full_name.len() - prefix.len() <= 255) else {
        let (path, name) = name_of();
        return Err(Ext4Error::XattrName { path, name });
    };
    let value = if full_name.starts_with(b"system.posix_acl_") {
        acl(value).ok_or_else(|| {
            let (path, name) = name_of();
            Ext4Error::XattrAcl { path, name }
        })?
    } else {
        value.to_vec()
    };
    Ok(Attr { full_name, index: *index, name: &full_name[prefix.len()..], value })
}

/// The list as ext4 stores it (`fs/ext4/acl.h`, version 1) from the form that system calls use (version 2):
/// only entries for a named user or group have an id.
fn acl(value: &[u8]) -> Option<Vec<u8>> {
    const USER: u8 = 0x02;
    const GROUP: u8 = 0x08;
    let entries = value.strip_prefix(&2_u32.to_le_bytes())?;
    let mut stored = 1_u32.to_le_bytes().to_vec();
    for entry in entries.chunks(8) {
        let [tag, 0, _, _, _, _, _, _] = entry else { return None };
        let len = if matches!(*tag, USER | GROUP) { 8 } else { 4 };
        stored.extend_from_slice(&entry[..len]);
    }
    Some(stored)
}

fn ibody(attrs: &[Attr]) -> Vec<u8> {
    let mut bytes = vec![0; IBODY_LEN];
    put32(&mut bytes, 0, MAGIC);
    // Offsets of values count from the first entry; hashes are not used here.
    put_attrs(&mut bytes[4..], 0, attrs, |_| 0);
    bytes
}

fn block(path: &[u8], attrs: &[Attr]) -> Result<Vec<u8>, Ext4Error> {
    let mut have = BLOCK as usize - HEADER_LEN - 4;
    for attr in attrs {
        let need = attr.len();
        if need > have {
            let (path, name) = (tree::display(path), String::from_utf8_lossy(attr.full_name).into_owned());
            return Err(Ext4Error::XattrTooLarge { path, name, need, have });
        }
        have -= need;
    }
    let mut bytes = vec![0; BLOCK as usize];
    put32(&mut bytes, 0, MAGIC);
    put32(&mut bytes, 4, 1); // h_refcount
    put32(&mut bytes, 8, 1); // h_blocks
    // A block with an entry whose hash is zero is not shared: h_hash 0.
    let all = attrs
        .iter()
        .map(Attr::hash)
        .try_fold(0_u32, |all, hash| if hash == 0 { None } else { Some(all.rotate_left(16) ^ hash) });
    put32(&mut bytes, 12, all.unwrap_or(0));
    put_attrs(&mut bytes, HEADER_LEN, attrs, |attr| attr.hash());
    Ok(bytes)
}

/// Entries from `at` upwards, values from the end downwards.
fn put_attrs(bytes: &mut [u8], mut at: usize, attrs: &[Attr], hash: impl Fn(&Attr) -> u32) {
    let mut end = bytes.len();
    for attr in attrs {
        let b = &mut bytes[at..];
        b[0] = attr.name.len() as u8;
        b[1] = attr.index;
        put32(b, 8, attr.value.len() as u32);
        put32(b, 12, hash(attr));
        b[16..16 + attr.name.len()].copy_from_slice(attr.name);
        if !attr.value.is_empty() {
            end -= attr.value.len().next_multiple_of(4);
            put16(b, 2, end as u16);
            bytes[end..end + attr.value.len()].copy_from_slice(&attr.value);
        }
        at += attr.entry_len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xattrs(list: &[(&str, &[u8])]) -> Xattrs {
        list.iter().map(|(name, value)| (name.as_bytes().into(), (*value).into())).collect()
    }

    fn message(list: &[(&str, &[u8])]) -> String {
        encode(b"bin/x", &xattrs(list)).unwrap_err().to_string()
    }

    #[test]
    fn a_capability_fits_the_inode_and_a_long_value_does_not() {
        let encoded = encode(b"x", &xattrs(&[("security.capability", &[1; 20]), ("user.long", &[7; 200])]))
            .expect("valid");
        assert_eq!(encoded.ibody.len(), 96);
        assert_eq!(encoded.block.expect("a block").len(), 4096);
    }

    #[test]
    fn what_cannot_be_stored_is_named() {
        let name = format!("user.{}", "a".repeat(256));
        assert_eq!(
            message(&[(&name, b"1")]),
            format!("ext4 cannot store the extended attribute `{name}` of `/bin/x`")
        );
        assert_eq!(
            message(&[("user.a", &[1; 2000]), ("user.b", &[1; 3000])]),
            "the extended attributes of `/bin/x` do not fit: `user.b` needs 3020 bytes but 2040 are left in its block"
        );
        assert_eq!(
            message(&[("system.posix_acl_access", b"\x02\0\0\0\x01")]),
            "the access control list `system.posix_acl_access` of `/bin/x` is malformed"
        );
    }
}
