//! A named range of a target: the only way space is handed out to a formatter.

use std::io::{self, Write};

use super::{Target, TargetError};

/// A range of a target that belongs to one formatter. Offsets are relative to its start.
#[derive(Clone)]
pub struct Region<'a> {
    target: &'a dyn Target,
    name: String,
    offset: u64,
    len: u64,
    neighbour: String,
}

impl<'a> Region<'a> {
    /// `len` bytes from `offset` of `target`; `neighbour` is what follows, for messages.
    pub fn new(
        target: &'a dyn Target,
        name: impl Into<String>,
        offset: u64,
        len: u64,
        neighbour: impl Into<String>,
    ) -> Region<'a> {
        Region { target, name: name.into(), offset, len, neighbour: neighbour.into() }
    }

    /// All of a target.
    pub fn whole(target: &'a dyn Target, name: impl Into<String>) -> Region<'a> {
        Region::new(target, name, 0, target.geometry().len, "the end of the target")
    }

    /// Name of the region.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes in the region.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the region has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// First byte of the region on its target.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Writes `buf` at byte `at` of the region.
    pub fn write_at(&self, buf: &[u8], at: u64) -> Result<(), TargetError> {
        self.target.write_at(buf, self.position(at, buf.len() as u64)?)
    }

    /// Reads from byte `at` of the region.
    pub fn read_at(&self, buf: &mut [u8], at: u64) -> Result<(), TargetError> {
        self.target.read_at(buf, self.position(at, buf.len() as u64)?)
    }

    /// Makes a range of the region read as zero.
    pub fn zero(&self, at: u64, len: u64) -> Result<(), TargetError> {
        if len == 0 {
            return Ok(());
        }
        self.target.zero(self.position(at, len)?, len)
    }

    /// Fails with need, have and neighbour unless `need` bytes fit.
    pub fn ensure_fits(&self, need: u64) -> Result<(), TargetError> {
        if need <= self.len {
            return Ok(());
        }
        let (region, neighbour) = (self.name.clone(), self.neighbour.clone());
        Err(TargetError::RegionFull { region, need, have: self.len, neighbour })
    }

    /// A buffered sequential writer from byte `at`.
    pub fn writer(&self, at: u64) -> RegionWriter<'_> {
        RegionWriter { region: self, at, buffer: Vec::with_capacity(RegionWriter::CAPACITY) }
    }

    fn position(&self, at: u64, len: u64) -> Result<u64, TargetError> {
        self.ensure_fits(at.saturating_add(len))?;
        Ok(self.offset + at)
    }
}

/// Collects small sequential writes into large ones. Call [`RegionWriter::finish`]: dropping it loses the
/// buffered tail.
pub struct RegionWriter<'a> {
    region: &'a Region<'a>,
    at: u64,
    buffer: Vec<u8>,
}

impl RegionWriter<'_> {
    const CAPACITY: usize = 1 << 20;

    /// Where the next byte goes.
    pub fn position(&self) -> u64 {
        self.at + self.buffer.len() as u64
    }

    /// Appends bytes.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), TargetError> {
        if self.buffer.len() + bytes.len() > Self::CAPACITY {
            self.flush_buffer()?;
        }
        if bytes.len() >= Self::CAPACITY {
            self.region.write_at(bytes, self.at)?;
            self.at += bytes.len() as u64;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Goes on at `position` (not before the current one); the bytes between are not written.
    pub fn skip_to(&mut self, position: u64) -> Result<(), TargetError> {
        assert!(position >= self.position(), "a region writer only moves forward");
        if position > self.position() {
            self.flush_buffer()?;
            self.at = position;
        }
        Ok(())
    }

    /// Goes on at `position`; the bytes between read as zero.
    pub fn zero_to(&mut self, position: u64) -> Result<(), TargetError> {
        let start = self.position();
        assert!(position >= start, "a region writer only moves forward");
        // A short gap is cheaper as part of the next large write.
        if position - start <= 4096 {
            return self.put(&[0; 4096][..(position - start) as usize]);
        }
        self.flush_buffer()?;
        self.region.zero(start, position - start)?;
        self.at = position;
        Ok(())
    }

    /// Writes what is buffered and returns the position behind the last byte.
    pub fn finish(mut self) -> Result<u64, TargetError> {
        self.flush_buffer()?;
        Ok(self.at)
    }

    fn flush_buffer(&mut self) -> Result<(), TargetError> {
        if !self.buffer.is_empty() {
            self.region.write_at(&self.buffer, self.at)?;
            self.at += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }
}

impl Write for RegionWriter<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.put(buf).map_err(io::Error::other)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_buffer().map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;

    #[test]
    fn past_the_end_names_need_have_and_neighbour() {
        let memory = Memory::new(4096);
        let region = Region::new(&memory, "rootfs", 1024, 1024, "`persist`");
        let message = region.write_at(&[0; 512], 1024).unwrap_err().to_string();
        assert_eq!(message, "`rootfs` needs 1536 bytes but has 1 KiB before `persist`");
    }

    #[test]
    fn writer_joins_small_writes_and_keeps_gaps() {
        let memory = Memory::new(1 << 16);
        let region = Region::whole(&memory, "disk");
        let mut writer = region.writer(10);
        writer.put(b"ab").expect("fits");
        writer.zero_to(20).expect("fits");
        writer.put(b"c").expect("fits");
        writer.skip_to(8192).expect("fits");
        writer.put(b"d").expect("fits");
        assert_eq!(writer.finish().expect("fits"), 8193);
        let bytes = memory.to_vec();
        assert_eq!((&bytes[10..12], bytes[20], bytes[8192]), (b"ab".as_slice(), b'c', b'd'));
    }
}
