//! An image that is read from its beginning to its end: packed, from standard input or from an address.
//!
//! ```text
//! Input thread      decode thread      order (the caller)                     writers
//! read, SHA-256 --> unpack chunks --> sums of ranges, hold back the ends --> zeros apart, direct I/O
//!                       ^                                                       |
//!                       +------------------- empty buffers ---------------------+
//! ```

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::claims::Claims;
use super::decode::{Decoded, End, Format, LONGEST_MAGIC};
use super::error::ImageError;
use super::glimpse::Glimpse;
use super::input::Input;
use super::objection::Comparison;
use super::origin::Origin;
use super::pieces::{self, ENDS, Ends};
use super::sums::Sums;
use super::zip::Member;
use crate::error::Result;
use crate::storage::{AlignedBuffer, Target};
use crate::table::TableBytes;

/// Bytes that are unpacked and written at once.
const CHUNK: u64 = 1 << 20;
/// Chunks there are: one is unpacked, up to two are held back, two are written, the others wait. The decoder of
/// `xz -9` takes 65 MiB, and the program should do with 96.
const CHUNKS: usize = 10;
/// One hashes while another writes.
const WRITERS: usize = 2;

/// An image that is unpacked or comes from elsewhere.
pub(super) struct Stream {
    origin: Box<dyn Origin>,
    claims: Claims,
    member: Option<Member>,
    /// The first MiB, or all.
    head: Vec<u8>,
    format: Format,
    /// Length, if something that comes before the bytes has it, or when they were all there.
    len: OnceLock<u64>,
    /// Reader that was opened to see the head of a stream that cannot be opened again.
    begun: Mutex<Option<Begun>>,
    /// Warnings.
    remarks: Mutex<Vec<String>>,
}

/// A stream of which the head was taken.
struct Begun {
    head: Vec<u8>,
    rest: Decoded,
}

/// Some bytes of the image.
struct Chunk {
    at: u64,
    len: usize,
    buffer: AlignedBuffer,
}

impl Stream {
    /// Unpacks the first MiB. `len` is the length of the image if its container has it.
    pub(super) fn open(
        origin: Box<dyn Origin>,
        claims: Claims,
        member: Option<Member>,
        len: Option<u64>,
    ) -> Result<Stream, ImageError> {
        let begun = begin(&*origin, &claims, member.as_ref())?;
        let format = begun.rest.format();
        let image = claims.name.clone();
        match (format, Format::from_start(&begun.head[..begun.head.len().min(LONGEST_MAGIC)])) {
            _ if begun.head.is_empty() => return Err(ImageError::Empty(image)),
            (Format::Raw, Format::Raw) => {}
            (Format::Other(format), _) | (_, Format::Other(format)) => {
                return Err(ImageError::Format { image, format });
            }
            (_, Format::Raw) => {}
            (outer, inner) => return Err(ImageError::Twice { image, outer, inner }),
        }
        let whole = ((begun.head.len() as u64) < ENDS).then_some(begun.head.len() as u64);
        let mapped = claims.bmap.as_ref().map(|bmap| bmap.image_len);
        let head = begun.head.clone();
        // A connection would not outlive a question to the user.
        let begun = Mutex::new((!origin.replays()).then_some(begun));
        let len = whole.or(mapped).or(len).map_or_else(OnceLock::new, OnceLock::from);
        if let Some(whole) = whole {
            claims.ensure_len(whole)?;
        }
        Ok(Stream { origin, claims, member, head, format, len, begun, remarks: Mutex::default() })
    }

    pub(super) fn claims(&self) -> &Claims {
        &self.claims
    }

    pub(super) fn claims_mut(&mut self) -> &mut Claims {
        &mut self.claims
    }

    /// The first MiB, or all of a shorter image.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    pub(super) fn len(&self) -> Option<u64> {
        self.len.get().copied()
    }

    pub(super) fn planned(&self) -> Option<u64> {
        self.claims.bmap.as_ref().map(|bmap| bmap.mapped_len()).or(self.len())
    }

    pub(super) fn replays(&self) -> bool {
        self.origin.replays()
    }

    pub(super) fn identity(&self) -> Option<Vec<u8>> {
        self.origin.identity()
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Returns the warnings that were noticed while the image was written.
    pub(super) fn remarks(&self) -> Vec<String> {
        std::mem::take(&mut *self.remarks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes everything but the ends, which it returns when all that is claimed of the image was found true.
    pub(super) fn write(&self, target: &dyn Target) -> Result<Vec<TableBytes>> {
        let begun = self.begin()?;
        let mapped = self.claims.mapped(u64::MAX);
        let (decoded, unpacked) = mpsc::channel();
        let (back, empty) = mpsc::channel();
        let (ordered, chunks) = mpsc::channel();
        let (chunks, back) = (Mutex::new(Some(chunks)), Mutex::new(Some(back)));
        std::thread::scope(|scope| {
            let decoder = scope.spawn(move || self.decode(begun, &empty, decoded, target));
            let writers = scope.spawn(|| {
                let written = pieces::in_threads(WRITERS, || write_chunks(target, &mapped, &chunks, &back));
                // Who waits for an empty buffer, or for one to be taken, must not wait for ever.
                take(&chunks);
                take(&back);
                written
            });
            let critical = self.order(unpacked, ordered, target.geometry().sector_size);
            let written = join(writers);
            let ended = join(decoder);
            written?;
            let end = ended?;
            let (critical, len) = critical?;
            self.close(end)?;
            _ = self.len.set(len);
            Ok(critical)
        })
    }

    /// A stream behind its head: the one that was opened before, if there can be only one.
    fn begin(&self) -> Result<Begun, ImageError> {
        if self.origin.replays() {
            return begin(&*self.origin, &self.claims, self.member.as_ref());
        }
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        begun.ok_or_else(|| ImageError::Once(self.claims.name.clone()))
    }

    /// Unpacks into empty buffers until the end, or until nobody takes them; then there is none.
    fn decode(
        &self,
        begun: Begun,
        empty: &Receiver<AlignedBuffer>,
        full: Sender<Chunk>,
        target: &dyn Target,
    ) -> Result<Option<End>, ImageError> {
        let Begun { head, mut rest } = begun;
        let (mut at, mut made) = (0, 0);
        loop {
            let Some(mut buffer) = next_buffer(empty, &mut made) else { return Ok(None) };
            // The head apart, then up to whole chunks, so that writes are aligned.
            let wanted = if at == 0 { ENDS } else { CHUNK - at % CHUNK } as usize;
            let space = buffer.slice(wanted);
            let len = if at == 0 {
                space[..head.len()].copy_from_slice(&head);
                head.len()
            } else {
                rest.fill(space).map_err(|fault| self.fault(fault))?
            };
            self.ensure_inside(at + len as u64, target)?;
            if len > 0 && full.send(Chunk { at, len, buffer }).is_err() {
                return Ok(None);
            }
            at += len as u64;
            if len < wanted {
                return rest.finish().map(Some).map_err(|fault| self.fault(fault));
            }
        }
    }

    fn fault(&self, fault: super::decode::Fault) -> ImageError {
        ImageError::from_fault(&self.claims.name, self.format, fault)
    }

    /// Returns whether what was unpacked so far is inside of the target.
    fn ensure_inside(&self, need: u64, target: &dyn Target) -> Result<(), ImageError> {
        let have = target.geometry().len;
        if need <= have {
            return Ok(());
        }
        let (image, target) = (self.claims.name.clone(), target.name().into());
        Err(ImageError::TooLargeStream { image, target, need: have, have })
    }

    /// Checks sums in the order of the image, holds back its ends, and passes on the rest. Returns the ends, and the
    /// length of the image, if all that is said about it holds.
    fn order(
        &self,
        unpacked: Receiver<Chunk>,
        ordered: Sender<Chunk>,
        sector_size: u32,
    ) -> Result<(Vec<TableBytes>, u64)> {
        let mut sums = Sums::new(&self.claims);
        let mut head = Vec::new();
        let mut glimpse = Glimpse::new(&[], None)?;
        let mut held = VecDeque::new();
        let mut len = 0;
        for mut chunk in unpacked {
            sums.update(chunk.buffer.slice(chunk.len))?;
            len += chunk.len as u64;
            if chunk.at == 0 {
                head = chunk.buffer.slice(chunk.len).to_vec();
                glimpse = Glimpse::new(&head, None)?;
                // Its buffer is one less for the others, and the chunks are one more than they need.
                continue;
            }
            glimpse.offer(chunk.at, chunk.buffer.slice(chunk.len))?;
            held.push_back(chunk);
            while held.front().is_some_and(|first| len - (first.at + first.len as u64) >= ENDS) {
                // Whoever writes has failed, and reports why.
                drop(held.pop_front().map(|first| ordered.send(first)));
            }
        }
        self.claims.ensure_len(len)?;
        self.ensure_said(len)?;
        sums.finish()?;
        let (start, tail) = self.tail(held, len, &ordered);
        self.compare(glimpse.finish(start, &tail, len)?, sector_size)?;
        Ok((self.ends(&head, &tail, len), len))
    }

    /// Holds all claims against the image, now that all of it was seen.
    fn compare(&self, image: Glimpse, sector_size: u32) -> Result<()> {
        let known =
            self.claims.compare(&Glimpse::new(&self.head, self.len())?, sector_size).unwrap_or_default();
        let Comparison { objections, remarks } = self.claims.compare(&image, sector_size)?;
        let objections = objections.into_iter().filter(|objection| !known.objections.contains(objection));
        let remarks = remarks.into_iter().filter(|remark| !known.remarks.contains(remark));
        let name = &self.claims.name;
        let overridden = objections.map(|objection| format!("`{name}` was written although {objection}"));
        overridden.chain(remarks).for_each(|remark| self.remark(remark));
        Ok(())
    }

    /// Notes a warning, once for all times that the image is written.
    fn remark(&self, remark: String) {
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        if !remarks.contains(&remark) {
            remarks.push(remark);
        }
    }

    /// Fails if the container promised another length, on which others may have relied.
    fn ensure_said(&self, len: u64) -> Result<(), ImageError> {
        let Some(said) = self.len().filter(|said| *said != len) else { return Ok(()) };
        let (image, format) = (self.claims.name.clone(), self.format);
        Err(ImageError::Said { image, format, said, len })
    }

    /// Returns the tail of an image of `len` bytes, and where it begins; what else was held back is passed on.
    fn tail(&self, held: VecDeque<Chunk>, len: u64, ordered: &Sender<Chunk>) -> (u64, Vec<u8>) {
        let ends = Ends::for_len(len);
        let mut tail = Vec::new();
        for mut chunk in held {
            let before = ends.tail.saturating_sub(chunk.at).min(chunk.len as u64) as usize;
            tail.extend_from_slice(&chunk.buffer.slice(chunk.len)[before..]);
            if before > 0 {
                drop(ordered.send(Chunk { len: before, ..chunk }));
            }
        }
        (ends.tail, tail)
    }

    /// Returns the ends of an image of `len` bytes.
    fn ends(&self, head: &[u8], tail: &[u8], len: u64) -> Vec<TableBytes> {
        let ends = Ends::for_len(len);
        let mut critical = Vec::new();
        for (name, range) in ends.named() {
            for bytes in pieces::inside(&self.claims.mapped(len), range) {
                let from =
                    if bytes.start < ends.head { &head[at(&bytes, 0)] } else { &tail[at(&bytes, ends.tail)] };
                critical.push(TableBytes { name: name.into(), offset: bytes.start, bytes: from.to_vec() });
            }
        }
        critical
    }

    /// Checks all of the image at its end.
    fn close(&self, end: Option<End>) -> Result<(), ImageError> {
        let Some(end) = end else { return Ok(()) };
        self.origin.ensure_same()?;
        self.claims.ensure_given(end.sha256)?;
        let Some(at) = end.trailing else { return Ok(()) };
        let error = ImageError::Trailing { image: self.claims.name.clone(), format: self.format, at };
        if !self.claims.tell_the_end() {
            return Err(error);
        }
        self.remark(format!("{error}; it was left out"));
        Ok(())
    }
}

/// An empty buffer, at first a new one; none when nobody gives any back.
fn next_buffer(empty: &Receiver<AlignedBuffer>, made: &mut usize) -> Option<AlignedBuffer> {
    match empty.try_recv() {
        Ok(buffer) => Some(buffer),
        Err(TryRecvError::Disconnected) => None,
        Err(TryRecvError::Empty) if *made == CHUNKS => empty.recv().ok(),
        Err(TryRecvError::Empty) => {
            *made += 1;
            Some(AlignedBuffer::new(CHUNK as usize))
        }
    }
}

/// Opens a stream and takes its head.
fn begin(origin: &dyn Origin, claims: &Claims, member: Option<&Member>) -> Result<Begun, ImageError> {
    let fault = |format| move |fault| ImageError::from_fault(&claims.name, format, fault);
    let reader = origin.open()?;
    let input = Input::new(reader, claims.wants_given())
        .map_err(|error| ImageError::from_read_error(&claims.name, error))?;
    let mut rest = Decoded::open(input, member.cloned(), claims.memory)
        .map_err(|(format, error)| fault(format)(error))?;
    let mut head = vec![0; ENDS as usize];
    let len = rest.fill(&mut head).map_err(fault(rest.format()))?;
    head.truncate(len);
    Ok(Begun { head, rest })
}

/// A range as one of a piece that begins at `start`.
fn at(bytes: &Range<u64>, start: u64) -> Range<usize> {
    (bytes.start - start) as usize..(bytes.end - start) as usize
}

fn take<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Writes what is mapped of chunks, until there are no more or another thread has failed.
fn write_chunks(
    target: &dyn Target,
    mapped: &[Range<u64>],
    chunks: &Mutex<Option<Receiver<Chunk>>>,
    back: &Mutex<Option<Sender<AlignedBuffer>>>,
) -> Result<()> {
    let next = || chunks.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.recv().ok();
    while let Some(mut chunk) = next() {
        let range = chunk.at..chunk.at + chunk.len as u64;
        let bytes = chunk.buffer.slice(chunk.len);
        for part in pieces::inside(mapped, range) {
            if let Err(error) = pieces::write_sparse(target, &bytes[at(&part, chunk.at)], part.start) {
                take(chunks);
                return Err(error.into());
            }
        }
        if let Some(back) = &*back.lock().unwrap_or_else(PoisonError::into_inner) {
            // The last ones are not taken.
            drop(back.send(chunk.buffer));
        }
    }
    Ok(())
}
