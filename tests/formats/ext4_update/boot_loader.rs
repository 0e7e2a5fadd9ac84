//! Reads a file as a boot loader does: no journal, no checksums, directories from start to end.

pub struct BootLoader<'b> {
    bytes: &'b [u8],
    block: usize,
}

fn get16(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes([bytes[at], bytes[at + 1]]).into()
}

fn get32(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
}

impl<'b> BootLoader<'b> {
    pub fn new(bytes: &'b [u8]) -> BootLoader<'b> {
        BootLoader { bytes, block: 1024 << get32(bytes, 1024 + 0x18) }
    }

    fn block(&self, number: usize) -> &'b [u8] {
        &self.bytes[number * self.block..][..self.block]
    }

    fn inode(&self, number: usize) -> &'b [u8] {
        let sb = &self.bytes[1024..];
        let (per_group, size) = (get32(sb, 0x28), get16(sb, 0x58));
        let desc_size = if get32(sb, 0x60) & 0x80 != 0 { get16(sb, 0xFE) } else { 32 };
        let table = (get32(sb, 0x14) + 1) * self.block;
        let descriptor = &self.bytes[table + (number - 1) / per_group * desc_size..];
        &self.bytes[get32(descriptor, 8) * self.block + (number - 1) % per_group * size..][..size]
    }

    fn extents(&self, node: &'b [u8], data: &mut Vec<u8>) {
        assert_eq!(get16(node, 0), 0xF30A, "a map is not an extent tree");
        for entry in node[12..].chunks_exact(12).take(get16(node, 2)) {
            if get16(node, 6) > 0 {
                self.extents(self.block(get32(entry, 4)), data);
                continue;
            }
            assert_eq!(get32(entry, 0) * self.block, data.len(), "a hole");
            for block in 0..get16(entry, 4) {
                data.extend(self.block(get32(entry, 8) + block));
            }
        }
    }

    fn pointers(&self, at: usize, level: u32, left: &mut usize, data: &mut Vec<u8>) {
        if *left == 0 {
            return;
        }
        if level == 0 {
            data.extend(self.block(at));
            *left -= 1;
            return;
        }
        for pointer in self.block(at).chunks_exact(4) {
            self.pointers(get32(pointer, 0), level - 1, left, data);
        }
    }

    fn content(&self, inode: &'b [u8]) -> Vec<u8> {
        let (mut data, size) = (Vec::new(), get32(inode, 4));
        if get32(inode, 0x20) & 0x8_0000 != 0 {
            self.extents(&inode[0x28..0x64], &mut data);
        } else {
            let mut left = size.div_ceil(self.block);
            for (slot, level) in (0..15).zip([0; 12].into_iter().chain([1, 2, 3])) {
                self.pointers(get32(inode, 0x28 + 4 * slot), level, &mut left, &mut data);
            }
        }
        data.truncate(size);
        data
    }

    /// The content of a file; none if there is no such name.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        let mut inode = self.inode(2);
        for name in path.split('/') {
            inode = self.inode(self.lookup(&self.content(inode), name.as_bytes())?);
        }
        Some(self.content(inode))
    }

    fn lookup(&self, directory: &[u8], name: &[u8]) -> Option<usize> {
        for block in directory.chunks(self.block) {
            let mut at = 0;
            while at < block.len() {
                let (inode, rec_len, len) =
                    (get32(block, at), get16(block, at + 4), usize::from(block[at + 6]));
                assert!(rec_len >= 8 && at + rec_len <= block.len(), "a boot loader would hang");
                if inode != 0 && &block[at + 8..at + 8 + len] == name {
                    return Some(inode);
                }
                at += rec_len;
            }
        }
        None
    }
}
