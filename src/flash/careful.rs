//! Writes as plain as they can be, for media that lose a part of long writes, or acknowledge zeroing and do nothing.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::Serialize;

use crate::readback::Damage;
use crate::storage::{Layer, Target, TargetError, WriteOp};
use crate::value::ByteSize;

/// Zeros that are written at once.
const ZEROS: usize = 1 << 20;
/// Longest piece, at first.
const SHORT: u64 = 64 << 10;
/// Longest piece in the end: what every medium writes at once. The page cache would join such pieces again, so each is
/// synced alone.
const SHORTEST: u64 = 4 << 10;

/// Another way of writing that a medium needed: what was written as usual did not stay, twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// Zeros are written like other bytes.
    PlainZeros,
    /// Nothing longer than this is written at once.
    Pieces(u64),
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fallback::PlainZeros => f.write_str(
                "zeroing did not stay: the device acknowledges it and does not do it; zeros were written like other bytes",
            ),
            Fallback::Pieces(len) => write!(
                f,
                "longer writes did not stay, pieces of {} did: the reader or the medium loses a part of them; try \
                 another reader",
                ByteSize(*len)
            ),
        }
    }
}

/// All of them, in the order they are tried; the first is to write as usual.
const LEVELS: [Option<Fallback>; 4] =
    [None, Some(Fallback::PlainZeros), Some(Fallback::Pieces(SHORT)), Some(Fallback::Pieces(SHORTEST))];

/// A medium that is written as usual, or in a plainer way once it is asked for.
pub(super) struct Careful<'a> {
    target: &'a dyn Target,
    level: AtomicU8,
}

impl<'a> Careful<'a> {
    pub(super) fn new(target: &'a dyn Target) -> Careful<'a> {
        Careful { target, level: AtomicU8::new(0) }
    }

    /// Way in which it is written now, unless it is the usual one.
    pub(super) fn fallback(&self) -> Option<Fallback> {
        LEVELS[usize::from(self.level.load(Ordering::SeqCst))]
    }

    /// From now on it is written in the next plainer way, since `damage` came again. Where only zeros are wrong it may be
    /// the zeroing that does not work.
    pub(super) fn fall_back(&self, damage: &[Damage]) {
        let only_zeros = damage.iter().all(|damage| damage.expected.is_none());
        let level = match self.level.load(Ordering::SeqCst) {
            0 if only_zeros => 1,
            0 | 1 => 2,
            _ => 3,
        };
        self.level.store(level, Ordering::SeqCst);
    }
}

impl Layer for Careful<'_> {
    fn inner(&self) -> &(impl Target + ?Sized) {
        self.target
    }

    fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
        match (self.fallback(), op) {
            (None, _)
            | (_, WriteOp::Discard { .. })
            | (Some(Fallback::PlainZeros), WriteOp::Bytes { .. }) => op.apply(self.target),
            (Some(Fallback::PlainZeros), _) => in_pieces(self.target, op, ZEROS as u64, false),
            (Some(Fallback::Pieces(len)), _) => in_pieces(self.target, op, len, len == SHORTEST),
        }
    }
}

/// Writes bytes or zeros, in pieces that end at multiples of `largest`.
fn in_pieces(target: &dyn Target, op: WriteOp<'_>, largest: u64, synced: bool) -> Result<bool, TargetError> {
    static ZERO: [u8; ZEROS] = [0; ZEROS];
    let range = op.range();
    let mut at = range.start;
    while at < range.end {
        let end = ((at / largest + 1) * largest).min(range.end);
        match op.part(at..end) {
            WriteOp::Bytes { bytes, .. } => target.write_at(bytes, at)?,
            _ => target.write_at(&ZERO[..(end - at) as usize], at)?,
        }
        if synced {
            target.sync()?;
        }
        at = end;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::storage::Memory;

    /// Remembers what was asked of it.
    struct Asked(Memory, Mutex<Vec<(&'static str, u64, u64)>>);

    impl Layer for Asked {
        fn inner(&self) -> &(impl Target + ?Sized) {
            &self.0
        }

        fn on_write(&self, op: WriteOp<'_>) -> Result<bool, TargetError> {
            self.1.lock().expect("lock").push((op.verb().into(), op.offset(), op.len()));
            op.apply(&self.0)
        }
    }

    #[test]
    fn pieces_get_shorter_and_zeros_become_writes() {
        let asked = Asked(Memory::new(1 << 20), Mutex::default());
        let careful = Careful::new(&asked);
        let said = || std::mem::take(&mut *asked.1.lock().expect("lock"));
        let bad =
            |expected| Damage { region: None, offset: 0, len: 1, expected, found: None, diagnosis: None };
        let zeros = [bad(None)];
        let bytes = [bad(Some(crate::value::Digest::of(b"x")))];
        careful.zero(1000, 3000).expect("zero");
        assert_eq!(said(), [("zero", 1000, 3000)]);
        careful.fall_back(&zeros);
        assert_eq!(careful.fallback(), Some(Fallback::PlainZeros));
        careful.zero(1000, 3000).expect("zero");
        careful.write_at(&[7; 200_000], 1000).expect("write");
        assert_eq!(said(), [("write", 1000, 3000), ("write", 1000, 200_000)]);
        careful.fall_back(&bytes);
        careful.write_at(&[8; 100_000], 60_000).expect("write");
        assert_eq!(said(), [("write", 60_000, 5536), ("write", 65_536, 65_536), ("write", 131_072, 28_928)]);
        careful.fall_back(&bytes);
        careful.fall_back(&zeros);
        assert_eq!(careful.fallback(), Some(Fallback::Pieces(4096)));
        careful.zero(4000, 5000).expect("zero");
        assert_eq!(said(), [("write", 4000, 96), ("write", 4096, 4096), ("write", 8192, 808)]);
        let held = asked.0.to_vec();
        assert!(held[1000..4000].iter().all(|byte| *byte == 7), "only what was asked for changed");
        assert!(held[4000..9000].iter().all(|byte| *byte == 0) && held[9000] == 7 && held[159_999] == 8);
    }
}
