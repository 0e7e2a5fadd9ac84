//! The header of an entry, with the field names of `init/initramfs.c` and cpio(5).

/// `c_magic` of newc.
pub(super) const MAGIC: &[u8; 6] = b"070701";
/// Bytes of a header.
pub(super) const HEADER_SIZE: u64 = 110;
/// Name of the entry that ends an archive.
pub(super) const TRAILER: &[u8] = b"TRAILER!!!";
/// The whole archive is padded to a multiple of this, the block size of cpio.
pub(super) const BLOCK_SIZE: u64 = 512;
/// `PATH_MAX` of Linux with the zero at the end; longer names and targets are not unpacked.
pub(super) const PATH_MAX: usize = 4096;

/// The numbers of an entry, in the order of the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub ino: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub mtime: u32,
    pub filesize: u32,
    pub rdevmajor: u32,
    pub rdevminor: u32,
    /// Length of the name with its zero.
    pub namesize: u32,
}

impl Header {
    /// The header with the name, padded.
    pub(super) fn encode(&self, name: &[u8]) -> Vec<u8> {
        let (devmajor, devminor, check) = (0, 0, 0);
        let fields = [
            self.ino,
            self.mode,
            self.uid,
            self.gid,
            self.nlink,
            self.mtime,
            self.filesize,
            devmajor,
            devminor,
            self.rdevmajor,
            self.rdevminor,
            name.len() as u32 + 1,
            check,
        ];
        let mut bytes = MAGIC.to_vec();
        fields.iter().for_each(|field| bytes.extend_from_slice(format!("{field:08X}").as_bytes()));
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// The numbers of a header, or nothing if that is not one.
    pub(super) fn parse(bytes: &[u8; HEADER_SIZE as usize]) -> Option<Header> {
        // 070702 is the same with checksums, which Linux ignores.
        if &bytes[..6] != MAGIC && &bytes[..6] != b"070702" {
            return None;
        }
        let mut fields = [0; 13];
        for (field, digits) in fields.iter_mut().zip(bytes[6..].chunks(8)) {
            let text = std::str::from_utf8(digits).ok()?;
            *field = u32::from_str_radix(text, 16).ok()?;
        }
        let [ino, mode, uid, gid, nlink, mtime, filesize, _, _, rdevmajor, rdevminor, namesize, _] = fields;
        Some(Header { ino, mode, uid, gid, nlink, mtime, filesize, rdevmajor, rdevminor, namesize })
    }
}

/// Zero bytes from `len` to the next multiple of four.
pub(super) fn padding(len: u64) -> &'static [u8] {
    &[0; 3][..(len.next_multiple_of(4) - len) as usize]
}
