//! One source for several targets: it is read and unpacked once, and each target takes every piece at its own pace,
//! within a few pieces of the others. The slowest sets the pace; one that fails, or takes nothing for too long, is
//! left behind.

mod hub;

use std::ops::Deref;
use std::time::Duration;

use hub::{Failure, Hub, Phase, Piece, nobody};

use crate::error::{Diagnostic, Error, ErrorKind, Result};
use crate::source::{ImageError, Source, in_threads};
use crate::storage::{Geometry, Target};
use crate::table::TableBytes;
use crate::value::Digest;

/// One hashes while another writes.
const WRITERS: usize = 2;

/// Reason why a target got no more.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Io)]
pub enum BroadcastError {
    /// It took nothing while the others waited.
    #[error("`{target}` took nothing for {} seconds and was left behind", patience.as_secs_f32())]
    #[diagnostic(hint = "look at its cable or reader, or flash it alone: it may be worn out")]
    LeftBehind {
        /// The target.
        target: String,
        /// Time that was waited.
        patience: Duration,
    },
    /// The source failed, for all targets alike.
    #[error("{message}")]
    #[diagnostic(kind = *kind, hint = hint.clone(), code = *code)]
    Source {
        /// Message of the error.
        message: String,
        /// Whose fault it is.
        kind: ErrorKind,
        /// Advice for the user.
        hint: Option<String>,
        /// See [`crate::Error::code`].
        code: Option<&'static str>,
    },
}

/// A source that is read once for several targets.
pub struct Broadcast<'a> {
    source: &'a dyn Source,
    readers: usize,
    patience: Duration,
}

impl<'a> Broadcast<'a> {
    /// `source` for `readers` targets. One that takes nothing for `patience` while others wait is left behind.
    pub fn new(source: &'a dyn Source, readers: usize, patience: Duration) -> Broadcast<'a> {
        Broadcast { source, readers, patience }
    }

    /// Gives `body` a source for each target, each for a thread of its own. The reading begins when all have asked
    /// ([`Source::write`]) or were dropped. Who asks a second time reads alone.
    pub fn run<T>(&self, body: impl FnOnce(Vec<Reader<'_>>) -> T) -> T {
        let hub = Hub::new(self.source, self.readers, self.patience);
        std::thread::scope(|scope| {
            scope.spawn(|| hub.read());
            body((0..self.readers).map(|index| Reader { hub: &hub, index }).collect())
        })
    }
}

/// The source of one target.
pub struct Reader<'h> {
    hub: &'h Hub<'h>,
    index: usize,
}

impl Reader<'_> {
    /// Takes part; false if this is not the first time, or the target has other sectors than those before.
    fn join(&self, geometry: Geometry) -> bool {
        let mut state = self.hub.lock();
        let sector_size = *state.sector_size.get_or_insert(geometry.sector_size);
        let first = state.slots[self.index].phase == Phase::Idle;
        let joins = first && sector_size == geometry.sector_size;
        if first {
            let phase = if joins { Phase::Taking { len: geometry.len } } else { Phase::Gone };
            state.slots[self.index].phase = phase;
        }
        self.hub.changed.notify_all();
        joins
    }

    fn leave(&self) {
        self.hub.lock().leave(self.index, Phase::Gone);
        self.hub.changed.notify_all();
    }

    /// Writes pieces until there are no more.
    fn take_all(&self, target: &dyn Target) -> Result<()> {
        while let Some(piece) = self.hub.next(self.index) {
            let written = match piece.deref() {
                Piece::Bytes { at, len, buffer } => target.write_at(buffer.bytes(*len), *at),
                Piece::Zero { at, len } => target.zero(*at, *len),
            };
            self.hub.lock().reuse(piece);
            written.inspect_err(|_| self.leave())?;
        }
        Ok(())
    }

    /// Returns the result of the source, or the reason why this target did not get all.
    fn result(&self, target: &dyn Target) -> Result<Vec<TableBytes>> {
        let state = self.hub.lock();
        if state.slots[self.index].phase == Phase::LeftBehind {
            let (target, patience) = (target.name().into(), self.hub.patience);
            return Err(BroadcastError::LeftBehind { target, patience }.into());
        }
        match &state.ended {
            Some(Ok(critical)) => Ok(critical.clone()),
            Some(Err(failure)) => {
                let Failure { message, kind, hint, code } = failure.clone();
                Err(BroadcastError::Source { message, kind, hint, code }.into())
            }
            None => Err(Error::from(nobody(self.hub.source.name()))),
        }
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Source for Reader<'_> {
    fn name(&self) -> String {
        self.hub.source.name()
    }

    fn len(&self) -> Option<u64> {
        self.hub.source.len()
    }

    fn planned(&self) -> Option<u64> {
        self.hub.source.planned()
    }

    fn identity(&self) -> Option<Digest> {
        self.hub.source.identity()
    }

    fn replays(&self) -> bool {
        self.hub.source.replays()
    }

    fn write(&self, target: &dyn Target) -> Result<Vec<TableBytes>> {
        if !self.join(target.geometry()) {
            return match self.replays() {
                true => self.hub.source.write(target),
                false => Err(ImageError::Once(self.name()).into()),
            };
        }
        let written = in_threads(WRITERS, || self.take_all(target));
        let result = written.and_then(|()| self.result(target));
        self.leave();
        result
    }
}
