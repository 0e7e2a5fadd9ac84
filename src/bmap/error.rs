//! Errors of reading a block map.

use crate::error::Diagnostic;

/// Reason why a text is not a block map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input, hint = "get the .bmap file that belongs to the image again, or flash without it")]
pub enum BmapError {
    /// Nothing of the kind.
    #[error("this is not a block map: {0} is missing")]
    Missing(&'static str),
    /// Another version of the format.
    #[error("this block map has version {0}; version 2 can be read")]
    #[diagnostic(kind = Unsupported)]
    Version(String),
    /// Checksums of another kind.
    #[error("this block map has checksums of type `{0}`; `sha256` can be checked")]
    #[diagnostic(kind = Unsupported)]
    ChecksumType(String),
    /// A value that cannot be.
    #[error("`{value}` is not a valid {what} of a block map")]
    Value {
        /// The element.
        what: &'static str,
        /// Its text.
        value: String,
    },
    /// A number that does not fit the list.
    #[error("this block map says that its {what} is {said}, but it is {counted}")]
    #[diagnostic(kind = Corrupt)]
    Count {
        /// The element.
        what: &'static str,
        /// Its number.
        said: u64,
        /// Bytes of the image by the rest of the map.
        counted: u64,
    },
    /// The map was changed.
    #[error("this block map was damaged: its checksum is {found}, not {expected}")]
    #[diagnostic(kind = Corrupt)]
    Damaged {
        /// Checksum in the map.
        expected: String,
        /// Checksum that was computed.
        found: String,
    },
}
