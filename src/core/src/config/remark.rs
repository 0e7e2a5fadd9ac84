//! What is to be told about places of a configuration file.

use std::fmt;
use std::path::{Path, PathBuf};

/// Place in a file: line and column, counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.line, self.column)
    }
}

/// An error, or a note about something that works but was meant otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Where it is.
    pub place: Place,
    /// What it is.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for Remark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.message)?;
        match &self.hint {
            Some(hint) => write!(formatter, "\n    hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// A configuration that cannot be used: all errors in it, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Name of the file, as the caller gave it.
    pub path: PathBuf,
    /// The errors, at least one.
    pub errors: Vec<Remark>,
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, path) = (self.errors.len(), self.path.display());
        write!(formatter, "`{path}` has {count} error{}:", if count == 1 { "" } else { "s" })?;
        self.errors.iter().try_for_each(|error| write!(formatter, "\n  {error}"))
    }
}

impl std::error::Error for Broken {}

/// Why a value was not understood.
#[derive(Debug)]
pub(super) struct Reason {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Reason {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The nearest of the words that are possible, else all of them.
    pub(super) fn among(self, word: &str, possible: &[&str]) -> Self {
        let hint = match nearest(word, possible.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("possible are {}", quoted(possible)),
        };
        self.hint(hint)
    }
}

/// Collects errors and notes while a file is read.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) errors: Vec<Remark>,
    pub(super) notes: Vec<Remark>,
}

impl Log {
    pub(super) fn error(&mut self, place: Place, message: impl Into<String>, hint: Option<String>) {
        self.errors.push(Remark { place, message: message.into(), hint });
    }

    pub(super) fn note(&mut self, place: Place, message: impl Into<String>, hint: Option<String>) {
        self.notes.push(Remark { place, message: message.into(), hint });
    }

    /// The value, if there was no error; otherwise all errors.
    pub(super) fn result<T>(mut self, path: &Path, value: Option<T>) -> Result<(T, Vec<Remark>), Broken> {
        self.errors.sort_by_key(|error| error.place);
        self.notes.sort_by_key(|note| note.place);
        match value {
            Some(value) if self.errors.is_empty() => Ok((value, self.notes)),
            _ => Err(Broken { path: path.to_path_buf(), errors: self.errors }),
        }
    }
}

/// The candidate that the fewest changes of letters lead to, if a third of the letters or fewer are changed.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    // The distance takes time of both lengths, and no name that is meant is this long.
    if lower.chars().count() > 64 {
        return None;
    }
    let scored = candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate));
    let best = scored.min_by_key(|(distance, _)| *distance)?;
    (best.0 * 3 <= best.1.chars().count()).then_some(best.1)
}

/// Words in backquotes, with commas between them.
pub(super) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_name_is_like_the_wrong_one() {
        let keys = ["privileged", "hostIPC", "tmpFs", "pullPolicy"];
        assert_eq!(nearest("privilege", keys), Some("privileged"));
        assert_eq!(nearest("tmpfs", keys), Some("tmpFs"));
        assert_eq!(nearest("hostIpc", keys), Some("hostIPC"));
        assert_eq!(nearest("volumes", keys), None);
        assert_eq!(nearest(&"p".repeat(100_000), keys), None);
    }
}
