//! Two copies of the record, and the order in which they are written.

use std::fmt;
use std::io;

use skiff_disk::error::Diagnostic;

use super::State;
use super::record::{self, Form, RecordError};

/// One of the two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// The one that is read, if it is whole.
    First,
    /// The one that is read otherwise.
    Second,
}

impl fmt::Display for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Copy::First => "first",
            Copy::Second => "second",
        })
    }
}

/// Two sectors that are read and written as wholes, in place.
pub trait Sectors {
    /// Contents of a copy from the medium, past any cache.
    fn read(&self, copy: Copy) -> io::Result<[u8; record::LEN]>;

    /// Replaces a copy.
    fn write(&self, copy: Copy, sector: &[u8; record::LEN]) -> io::Result<()>;

    /// Returns when what was written is on the medium.
    fn sync(&self) -> io::Result<()>;
}

/// A state, and the copy that said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The state.
    pub state: State,
    /// Form of its record.
    pub form: Form,
    /// Copy that was used.
    pub copy: Copy,
    /// What is wrong with the first copy, if the second was used.
    pub damage: Option<String>,
}

/// Why there is no state.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Corrupt)]
#[error("neither copy of the state record can be used: the first: {first}; the second: {second}")]
#[diagnostic(
    hint = "the boot loader starts the slot that its text names; write the medium again, or make a new record for that slot",
    code = "no-state"
)]
pub struct LoadError {
    /// What is wrong with the first copy.
    pub first: String,
    /// What is wrong with the second copy.
    pub second: String,
}

/// Why a state was not written.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Io)]
pub enum SaveError {
    /// The system refused.
    #[error("cannot {verb} the {copy} copy of the state record: {source}")]
    #[diagnostic(hint = "check the medium; the state before this change still counts", code = "state-io")]
    Io {
        /// `write`, for example.
        verb: &'static str,
        /// The copy.
        copy: Copy,
        /// Answer of the system.
        source: io::Error,
    },
    /// Other bytes came back.
    #[error(
        "the {copy} copy of the state record has other bytes than were written, the first at byte {offset}"
    )]
    #[diagnostic(kind = Mismatch, hint = "the medium is failing: replace it", code = "state-lost")]
    Differs {
        /// The copy.
        copy: Copy,
        /// First byte that differs.
        offset: usize,
    },
}

/// The two copies on a medium.
pub struct Copies<S>(pub S);

impl<S: Sectors> Copies<S> {
    /// The state: that of the first copy, or of the second if the first cannot be used. A boot loader does the same, so
    /// both see the same state at any time.
    pub fn load(&self) -> Result<Found, LoadError> {
        let first = match self.read(Copy::First) {
            Ok((state, form)) => return Ok(Found { state, form, copy: Copy::First, damage: None }),
            Err(first) => first,
        };
        match self.read(Copy::Second) {
            Ok((state, form)) => Ok(Found { state, form, copy: Copy::Second, damage: Some(first) }),
            Err(second) => Err(LoadError { first, second }),
        }
    }

    /// Writes `state` in place of `found`, and reads it back.
    ///
    /// The first copy counts, so the state changes when its sector does. At that moment the second copy is whole and
    /// says what counted before: a sector that is torn then costs nothing.
    pub fn save(&self, found: &Found, state: &State) -> Result<(), SaveError> {
        let old = record::encode(&found.state, found.form);
        if found.copy == Copy::First && self.0.read(Copy::Second).ok() != Some(old) {
            self.replace(Copy::Second, &old)?;
        }
        let new = record::encode(state, found.form);
        self.replace(Copy::First, &new)?;
        self.replace(Copy::Second, &new)
    }

    fn read(&self, copy: Copy) -> Result<(State, Form), String> {
        let sector = self.0.read(copy).map_err(|error| error.to_string())?;
        record::decode(&sector).map_err(|error: RecordError| error.to_string())
    }

    fn replace(&self, copy: Copy, sector: &[u8; record::LEN]) -> Result<(), SaveError> {
        let failed = |verb| move |source| SaveError::Io { verb, copy, source };
        self.0.write(copy, sector).map_err(failed("write"))?;
        self.0.sync().map_err(failed("sync"))?;
        let found = self.0.read(copy).map_err(failed("read back"))?;
        match sector.iter().zip(&found).position(|(wanted, found)| wanted != found) {
            None => Ok(()),
            Some(offset) => Err(SaveError::Differs { copy, offset }),
        }
    }
}
