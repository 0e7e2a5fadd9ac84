//! A named range of a target: the only way space is handed out to a formatter.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};

use super::{AlignedBuffer, Cursor, Target, TargetError, Verb};

/// A range of a target that belongs to one formatter. Offsets are relative to its start.
///
/// ```
/// use skiff_disk::storage::{Memory, Region};
///
/// let disk = Memory::new(8 << 20);
/// let boot = Region::new(&disk, "boot", 1 << 20, 4 << 20, "`rootfs`");
/// boot.write_at(b"hello", 512)?;
/// assert_eq!(disk.to_vec()[(1 << 20) + 512..][..5], *b"hello");
///
/// let error = boot.zero(0, 5 << 20).unwrap_err();
/// assert_eq!(error.to_string(), "`boot` needs 5 MiB but has 4 MiB before `rootfs`");
/// # Ok::<(), skiff_disk::storage::TargetError>(())
/// ```
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

    /// Returns whether the region has no bytes.
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

    /// The first `len` bytes of the region, for reading.
    pub fn cursor(&self, len: u64) -> Cursor<&'a dyn Target> {
        Cursor::new(self.target, self.offset, len.min(self.len))
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
        RegionWriter::new(self, at, None)
    }

    /// Gives `body` a sequential writer from byte `at` whose buffers are written by another thread, so that the
    /// next bytes are read while the last ones are on their way. All is written when this returns.
    ///
    /// # Errors
    /// The one that happened first: writing concerns bytes that came before those that `body` failed at.
    pub fn stream<T, E: From<TargetError>>(
        &self,
        at: u64,
        body: impl FnOnce(&mut RegionWriter<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (full, pieces) = mpsc::sync_channel::<Piece>(Queue::DEPTH);
        let (back, empty) = mpsc::channel();
        (0..Queue::DEPTH).for_each(|_| _ = back.send(RegionWriter::buffer()));
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                pieces.into_iter().try_for_each(|piece| match piece {
                    Piece::Zero { at, len } => self.zero(at, len),
                    Piece::Bytes { mut buffer, filled, at } => {
                        self.write_at(buffer.slice(filled), at)?;
                        // Nobody takes the last ones back.
                        _ = back.send(buffer);
                        Ok(())
                    }
                })
            });
            let mut writer = RegionWriter::new(self, at, Some(Queue { full, empty }));
            let done = body(&mut writer).and_then(|value| writer.finish().map(|_| value).map_err(E::from));
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            done
        })
    }

    fn position(&self, at: u64, len: u64) -> Result<u64, TargetError> {
        self.ensure_fits(at.saturating_add(len))?;
        Ok(self.offset + at)
    }
}

/// Collects small sequential writes into large ones that end at whole MiBs of the target, so that they can go
/// past the page cache. Call [`RegionWriter::finish`]: dropping it loses the buffered tail.
pub struct RegionWriter<'a> {
    region: &'a Region<'a>,
    /// Position at which `buffer` begins.
    at: u64,
    buffer: AlignedBuffer,
    /// Bytes in `buffer`.
    filled: usize,
    queue: Option<Queue>,
}

impl<'a> RegionWriter<'a> {
    const CAPACITY: u64 = 1 << 20;

    fn new(region: &'a Region<'a>, at: u64, queue: Option<Queue>) -> RegionWriter<'a> {
        RegionWriter { region, at, buffer: RegionWriter::buffer(), filled: 0, queue }
    }

    fn buffer() -> AlignedBuffer {
        AlignedBuffer::new(Self::CAPACITY as usize)
    }

    /// Position of the next byte.
    pub fn position(&self) -> u64 {
        self.at + self.filled as u64
    }

    /// Space for the next bytes, at least one and at most `most`: what is written there and counted with
    /// [`RegionWriter::advance`] is written without being copied again.
    pub fn spare_capacity(&mut self, most: u64) -> Result<&mut [u8], TargetError> {
        if self.filled == self.room() {
            self.flush_buffer()?;
        }
        let (filled, room) = (self.filled, self.room());
        let len = most.min((room - filled) as u64) as usize;
        Ok(&mut self.buffer.slice(filled + len)[filled..])
    }

    /// Appends the first `len` bytes of what [`RegionWriter::spare_capacity`] gave.
    pub fn advance(&mut self, len: usize) {
        assert!(self.filled + len <= self.room(), "no more than there is space for");
        self.filled += len;
    }

    /// Appends bytes.
    pub fn append(&mut self, mut bytes: &[u8]) -> Result<(), TargetError> {
        while !bytes.is_empty() {
            let space = self.spare_capacity(bytes.len() as u64)?;
            let (head, tail) = bytes.split_at(space.len());
            space.copy_from_slice(head);
            self.advance(head.len());
            bytes = tail;
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
            return self.append(&[0; 4096][..(position - start) as usize]);
        }
        self.flush_buffer()?;
        let len = position - start;
        match &self.queue {
            None => self.region.zero(start, len)?,
            Some(queue) => queue.push(Piece::Zero { at: start, len })?,
        }
        self.at = position;
        Ok(())
    }

    /// Writes what is buffered and returns the position behind the last byte.
    pub fn finish(mut self) -> Result<u64, TargetError> {
        self.flush_buffer()?;
        Ok(self.at)
    }

    /// Bytes that the buffer holds when it is written.
    fn room(&self) -> usize {
        (Self::CAPACITY - (self.region.offset + self.at) % Self::CAPACITY) as usize
    }

    fn flush_buffer(&mut self) -> Result<(), TargetError> {
        if self.filled == 0 {
            return Ok(());
        }
        match &self.queue {
            None => self.region.write_at(self.buffer.slice(self.filled), self.at)?,
            Some(queue) => {
                let full = std::mem::replace(&mut self.buffer, queue.empty()?);
                queue.push(Piece::Bytes { buffer: full, filled: self.filled, at: self.at })?;
            }
        }
        self.at += self.filled as u64;
        self.filled = 0;
        Ok(())
    }
}

impl Write for RegionWriter<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.append(buf).map_err(io::Error::other)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_buffer().map_err(io::Error::other)
    }
}

/// Data on its way to the target, in order.
enum Piece {
    /// The first `filled` bytes of a buffer.
    Bytes { buffer: AlignedBuffer, filled: usize, at: u64 },
    /// A range that must read as zero.
    Zero { at: u64, len: u64 },
}

/// Takes full buffers to the thread that writes, and empty ones back.
struct Queue {
    full: SyncSender<Piece>,
    empty: Receiver<AlignedBuffer>,
}

impl Queue {
    /// Buffers besides the one that is filled: one is written while the others wait. A disk that pauses for a tenth
    /// of a second must not stop who fills them.
    const DEPTH: usize = 16;

    fn empty(&self) -> Result<AlignedBuffer, TargetError> {
        self.empty.recv().map_err(|_| ended())
    }

    fn push(&self, piece: Piece) -> Result<(), TargetError> {
        self.full.send(piece).map_err(|_| ended())
    }
}

/// Error for the thread that fills buffers when the one that writes has failed; the failure itself goes to the caller.
fn ended() -> TargetError {
    let source = io::ErrorKind::BrokenPipe.into();
    TargetError::Io { verb: Verb::Write, target: "queue".into(), offset: 0, len: 0, source }
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
    fn a_stream_writes_the_same_and_fails_with_what_went_wrong_first() {
        let (plain, streamed) = (Memory::new(8 << 20), Memory::new(8 << 20));
        let fill = |writer: &mut RegionWriter<'_>| {
            writer.append(&[1; 100])?;
            writer.zero_to(2 << 20)?;
            writer.append(&vec![2; 3 << 20])?;
            writer.skip_to((5 << 20) + 7)?;
            writer.append(&vec![3; 2 << 20])
        };
        let region = Region::new(&plain, "disk", 512, 8 << 19, "the rest");
        let mut writer = region.writer(0);
        let _ = fill(&mut writer).and_then(|()| writer.finish());
        let region = Region::new(&streamed, "disk", 512, 8 << 19, "the rest");
        let message = region.stream(0, fill).unwrap_err().to_string();
        assert!(message.starts_with("`disk` needs "), "{message}");
        assert!(message.ends_with(" but has 4 MiB before the rest"), "{message}");
        assert_eq!(plain.to_vec(), streamed.to_vec());
        let region = Region::whole(&streamed, "disk");
        region.stream(0, fill).expect("it fits");
        assert_eq!(streamed.to_vec()[(7 << 20) + 6], 3);
    }

    #[test]
    fn writer_joins_small_writes_and_keeps_gaps() {
        let memory = Memory::new(1 << 16);
        let region = Region::whole(&memory, "disk");
        let mut writer = region.writer(10);
        writer.append(b"ab").expect("fits");
        writer.zero_to(20).expect("fits");
        writer.append(b"c").expect("fits");
        writer.skip_to(8192).expect("fits");
        writer.append(b"d").expect("fits");
        assert_eq!(writer.finish().expect("fits"), 8193);
        let bytes = memory.to_vec();
        assert_eq!((&bytes[10..12], bytes[20], bytes[8192]), (b"ab".as_slice(), b'c', b'd'));
    }
}
