//! The pieces on their way from the source to the targets.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::source::Source;
use crate::storage::{AlignedBuffer, Geometry, Target, TargetError, Verb};
use crate::table::TableBytes;

/// Pieces that one target may be behind.
const BEHIND: usize = 4;
/// Pieces are cut to this length.
const LARGEST_PIECE: usize = 4 << 20;

/// One source, and the queues of its targets.
pub(super) struct Hub<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) patience: Duration,
    state: Mutex<State>,
    pub(super) changed: Condvar,
}

pub(super) struct State {
    pub(super) slots: Vec<Slot>,
    /// That of the first who asked: an image is written for sectors of one size.
    pub(super) sector_size: Option<u32>,
    /// Buffers that nobody needs now.
    spare: Vec<AlignedBuffer>,
    /// Result of the source.
    pub(super) ended: Option<Result<Vec<TableBytes>, Failure>>,
}

/// An error, which cannot be cloned, as [`super::BroadcastError::Source`] needs it.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) kind: ErrorKind,
    pub(super) hint: Option<String>,
    pub(super) code: Option<&'static str>,
}

impl Failure {
    fn from_error(error: &Error) -> Failure {
        Failure { message: error.to_string(), kind: error.kind(), hint: error.hint(), code: error.code() }
    }
}

pub(super) struct Slot {
    pub(super) phase: Phase,
    queue: VecDeque<Arc<Piece>>,
    /// Time at which it took a piece last, or was given one after it had none.
    moved: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Has not asked yet.
    Idle,
    /// Takes pieces for a target of this length.
    Taking { len: u64 },
    /// Took too long.
    LeftBehind,
    /// Wants no more.
    Gone,
}

pub(super) enum Piece {
    Bytes { at: u64, len: usize, buffer: AlignedBuffer },
    Zero { at: u64, len: u64 },
}

impl Slot {
    fn give(&mut self, piece: &Arc<Piece>) {
        if self.queue.is_empty() {
            self.moved = Instant::now();
        }
        self.queue.push_back(Arc::clone(piece));
    }
}

impl State {
    fn new(readers: usize) -> State {
        let slot = || Slot { phase: Phase::Idle, queue: VecDeque::new(), moved: Instant::now() };
        State {
            slots: (0..readers).map(|_| slot()).collect(),
            sector_size: None,
            spare: Vec::new(),
            ended: None,
        }
    }

    fn geometry(&self) -> Option<Geometry> {
        let len = |slot: &Slot| match slot.phase {
            Phase::Taking { len } => Some(len),
            _ => None,
        };
        // A shorter target fails by itself, and alone.
        let len = self.slots.iter().filter_map(len).max()?;
        Some(Geometry { len, sector_size: self.sector_size? })
    }

    /// A slot that takes pieces and has no space for one.
    fn full(&self) -> Option<usize> {
        let is_full = |slot: &Slot| matches!(slot.phase, Phase::Taking { .. }) && slot.queue.len() >= BEHIND;
        self.slots.iter().position(is_full)
    }

    pub(super) fn leave(&mut self, index: usize, phase: Phase) {
        let slot = &mut self.slots[index];
        slot.phase = phase;
        let queue = std::mem::take(&mut slot.queue);
        queue.into_iter().for_each(|piece| self.reuse(piece));
    }

    /// Takes back the buffer of a piece that nobody else has.
    pub(super) fn reuse(&mut self, piece: Arc<Piece>) {
        if let Some(Piece::Bytes { buffer, .. }) = Arc::into_inner(piece) {
            self.spare.push(buffer);
        }
    }
}

impl<'a> Hub<'a> {
    pub(super) fn new(source: &'a dyn Source, readers: usize, patience: Duration) -> Hub<'a> {
        Hub { source, patience, state: Mutex::new(State::new(readers)), changed: Condvar::new() }
    }
}

impl Hub<'_> {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&self, state: MutexGuard<'g, State>) -> MutexGuard<'g, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the source once, when all have asked.
    pub(super) fn read(&self) {
        let mut state = self.lock();
        while state.slots.iter().any(|slot| slot.phase == Phase::Idle) {
            state = self.wait(state);
        }
        let Some(geometry) = state.geometry() else { return };
        drop(state);
        let all = All { hub: self, name: self.source.name(), geometry };
        // Also when the source panics, nobody must wait for it.
        let mut end = End { hub: self, result: Err(Failure::from_error(&nobody(self.source.name()).into())) };
        end.result = self.source.write(&all).map_err(|error| Failure::from_error(&error));
    }

    /// Gives a piece to all who take any, as soon as they have space for it.
    fn hand_out(&self, piece: Piece) -> Result<(), TargetError> {
        let piece = Arc::new(piece);
        let mut state = self.lock();
        while let Some(index) = state.full() {
            match self.patience.checked_sub(state.slots[index].moved.elapsed()) {
                Some(left) => {
                    state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
                None => {
                    state.leave(index, Phase::LeftBehind);
                    self.changed.notify_all();
                }
            }
        }
        let taking = |slot: &&mut Slot| matches!(slot.phase, Phase::Taking { .. });
        let given = state.slots.iter_mut().filter(taking).map(|slot| slot.give(&piece)).count();
        self.changed.notify_all();
        if given > 0 { Ok(()) } else { Err(nobody(self.source.name())) }
    }

    /// The next piece for a target; none at the end, or when it was left behind.
    pub(super) fn next(&self, index: usize) -> Option<Arc<Piece>> {
        let mut state = self.lock();
        loop {
            let slot = &mut state.slots[index];
            if !matches!(slot.phase, Phase::Taking { .. }) {
                return None;
            }
            if let Some(piece) = slot.queue.pop_front() {
                slot.moved = Instant::now();
                self.changed.notify_all();
                return Some(piece);
            }
            if state.ended.is_some() {
                return None;
            }
            state = self.wait(state);
        }
    }
}

/// Error that the source gets when no target takes anything any more; each of them knows why.
pub(super) fn nobody(target: String) -> TargetError {
    let source = std::io::ErrorKind::BrokenPipe.into();
    TargetError::Io { verb: Verb::Write, target, offset: 0, len: 0, source }
}

/// Tells all what the source returned, however that ended.
struct End<'h> {
    hub: &'h Hub<'h>,
    result: Result<Vec<TableBytes>, Failure>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let result = std::mem::replace(&mut self.result, Ok(Vec::new()));
        self.hub.lock().ended = Some(result);
        self.hub.changed.notify_all();
    }
}

/// All targets as one.
struct All<'h> {
    hub: &'h Hub<'h>,
    name: String,
    geometry: Geometry,
}

impl Target for All<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        let (target, len, source) =
            (self.name.clone(), buf.len() as u64, std::io::ErrorKind::Unsupported.into());
        Err(TargetError::Io { verb: Verb::Read, target, offset, len, source })
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        let mut at = offset;
        for bytes in buf.chunks(LARGEST_PIECE) {
            let mut buffer = self.hub.lock().spare.pop().filter(|buffer| buffer.len() >= bytes.len());
            let mut buffer = buffer.take().unwrap_or_else(|| AlignedBuffer::new(bytes.len()));
            buffer.slice(bytes.len()).copy_from_slice(bytes);
            self.hub.hand_out(Piece::Bytes { at, len: bytes.len(), buffer })?;
            at += bytes.len() as u64;
        }
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.hub.hand_out(Piece::Zero { at: offset, len })
    }

    fn discard(&self, _: u64, _: u64) -> Result<bool, TargetError> {
        Ok(false)
    }

    /// Each target is synced by whoever reads it back.
    fn sync(&self) -> Result<(), TargetError> {
        Ok(())
    }
}
