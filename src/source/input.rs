//! The bytes of an image as they are given: a thread of its own reads them ahead, so that a slow disk or network
//! and the decoder wait for each other less, and hashes them on the way.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};

use sha2::{Digest as _, Sha256};

/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;
/// Chunks that are read ahead.
const AHEAD: usize = 8;

/// Message of the thread that reads.
enum Message {
    Bytes(Vec<u8>),
    /// There is no more; the digest of all, if it was asked for.
    End(Option<[u8; 32]>),
    Failed(io::Error),
}

/// Reading failed, which is not the decoder's fault: wrapped, so that the two can be told apart behind it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ReadFailed(pub io::Error);

/// A stream that is read ahead.
pub(super) struct Input {
    full: Receiver<Message>,
    empty: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    /// Bytes of the chunk that were taken.
    taken: usize,
    /// Bytes that were taken before the chunk.
    before: u64,
    /// Set at the end.
    end: Option<Option<[u8; 32]>>,
}

impl Input {
    /// Reads `reader` to its end; with `hash` its SHA-256 is computed. The thread ends with the stream, or when the
    /// input is dropped and the read that it waits for returns.
    pub(super) fn new(reader: Box<dyn Read + Send>, hash: bool) -> io::Result<Input> {
        let (sender, full) = mpsc::sync_channel(AHEAD);
        let (empty, used) = mpsc::channel();
        std::thread::Builder::new()
            .name("read image".into())
            .spawn(move || pump(reader, hash.then(Sha256::new), &sender, &used))?;
        Ok(Input { full, empty, chunk: Vec::new(), taken: 0, before: 0, end: None })
    }

    /// Bytes that were taken so far.
    pub(super) fn position(&self) -> u64 {
        self.before + self.taken as u64
    }

    /// The next `len` bytes without taking them; fewer only at the end.
    pub(super) fn peek(&mut self, len: usize) -> io::Result<&[u8]> {
        while self.chunk.len() - self.taken < len && self.end.is_none() {
            let mut next = self.receive()?;
            let rest = self.chunk.split_off(self.taken);
            self.before += self.taken as u64;
            self.taken = 0;
            next.splice(..0, rest);
            self.chunk = next;
        }
        let rest = &self.chunk[self.taken..];
        Ok(&rest[..len.min(rest.len())])
    }

    /// Takes up to `len` bytes that nobody wants; returns how many there were.
    pub(super) fn skip(&mut self, len: u64) -> io::Result<u64> {
        let mut left = len;
        while left > 0 {
            let there = self.fill_buf()?.len() as u64;
            if there == 0 {
                break;
            }
            self.consume(there.min(left) as usize);
            left -= there.min(left);
        }
        Ok(len - left)
    }

    /// Takes all zeros that come next; returns the next byte that is none.
    pub(super) fn skip_zeros(&mut self) -> io::Result<Option<u8>> {
        loop {
            let buffer = self.fill_buf()?;
            let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
            let next = buffer.get(zeros).copied();
            let ended = buffer.is_empty();
            self.consume(zeros);
            if next.is_some() || ended {
                return Ok(next);
            }
        }
    }

    /// Takes the rest, and returns the SHA-256 of all if it was asked for.
    pub(super) fn drain(&mut self) -> io::Result<Option<[u8; 32]>> {
        self.skip(u64::MAX)?;
        Ok(self.end.flatten())
    }

    /// The next chunk; empty at the end.
    fn receive(&mut self) -> io::Result<Vec<u8>> {
        match self.full.recv() {
            Ok(Message::Bytes(bytes)) => Ok(bytes),
            Ok(Message::End(sha256)) => {
                self.end = Some(sha256);
                Ok(Vec::new())
            }
            Ok(Message::Failed(error)) => Err(wrap(error)),
            Err(_) => Err(wrap(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

fn wrap(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), ReadFailed(error))
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let len = there.len().min(buf.len());
        buf[..len].copy_from_slice(&there[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.chunk.len() && self.end.is_none() {
            let next = self.receive()?;
            self.before += self.taken as u64;
            self.taken = 0;
            // Who reads has ended when nobody takes it back.
            drop(self.empty.send(std::mem::replace(&mut self.chunk, next)));
        }
        Ok(&self.chunk[self.taken..])
    }

    fn consume(&mut self, len: usize) {
        self.taken += len;
    }
}

/// The thread that reads: until the end, an error, or nobody listens.
fn pump(
    mut reader: Box<dyn Read + Send>,
    mut hasher: Option<Sha256>,
    full: &SyncSender<Message>,
    empty: &Receiver<Vec<u8>>,
) {
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        let last = match read_chunk(&mut *reader, &mut chunk) {
            Ok(()) if chunk.is_empty() => Message::End(hasher.take().map(|hasher| hasher.finalize().into())),
            Ok(()) => {
                hasher.iter_mut().for_each(|hasher| hasher.update(&chunk));
                match full.send(Message::Bytes(chunk)) {
                    Ok(()) => continue,
                    Err(_) => return,
                }
            }
            Err(error) => Message::Failed(error),
        };
        drop(full.send(last));
        return;
    }
}

/// Reads a full chunk where that does not mean to wait again: what has come is passed on.
fn read_chunk(reader: &mut dyn Read, chunk: &mut Vec<u8>) -> io::Result<()> {
    chunk.resize(CHUNK, 0);
    let len = loop {
        match reader.read(chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    chunk.truncate(len);
    Ok(())
}
