//! Errors of a run, and the state in which it left the medium.

use crate::error::{Diagnostic, ErrorKind};
use crate::readback::{Code, Damage};

/// Number of damaged ranges that a message names.
const NAMED: usize = 3;

/// Reason why a medium was not written.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum FlashError {
    /// The medium does not hold what was written to it.
    #[error("`{target}` does not hold what was written: {}{}", list(damage), table)]
    #[diagnostic(kind = Mismatch, hint("{}", code_of(damage).hint()), code = Some(code_of(damage).as_str()))]
    Mismatch {
        /// Name of the target.
        target: String,
        /// All damaged ranges.
        damage: Vec<Damage>,
        /// State of the table.
        table: TableState,
    },
    /// Something else failed before the medium was complete.
    #[error("{message}{table}")]
    #[diagnostic(kind = *kind, hint = hint.clone(), code = *code)]
    Unfinished {
        /// Message of the error.
        message: String,
        /// Whose fault it is.
        kind: ErrorKind,
        /// Advice for the user.
        hint: Option<String>,
        /// See [`crate::Error::code`].
        code: Option<&'static str>,
        /// State of the table.
        table: TableState,
    },
}

/// State of the partition table of a medium that was not completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableState {
    /// It is an image file, which is removed.
    Removed,
    /// There is none.
    Wiped,
    /// The target is a partition, and what was in it is gone.
    Emptied,
    /// The medium did not answer when it was to be wiped.
    Unknown,
}

impl std::fmt::Display for TableState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TableState::Removed => "",
            TableState::Wiped => "; it was left without a partition table, so that nothing boots from it",
            TableState::Emptied => "; it was left without a filesystem, so that nothing mounts it",
            TableState::Unknown => "; it could not be wiped either: do not boot from it",
        })
    }
}

fn list(damage: &[Damage]) -> String {
    let named: Vec<String> = damage.iter().take(NAMED).map(Damage::to_string).collect();
    match damage.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more ranges", named.join(", ")),
    }
}

impl FlashError {
    /// The same about a partition, whose disk keeps its table.
    pub fn for_partition(mut self) -> FlashError {
        let (FlashError::Mismatch { table, .. } | FlashError::Unfinished { table, .. }) = &mut self;
        if *table == TableState::Wiped {
            *table = TableState::Emptied;
        }
        self
    }
}

/// Returns the kind of the first damage whose kind is known; a false size explains all others.
fn code_of(damage: &[Damage]) -> Code {
    let known =
        || damage.iter().filter_map(|damage| damage.diagnosis.as_ref()).map(|diagnosis| diagnosis.code);
    let fake = known().find(|code| *code == Code::FakeCapacity);
    fake.or_else(|| known().next()).unwrap_or(Code::WrongContent)
}
