//! What is wrong with a bundle.

use std::io;

use skiff_disk::error::Diagnostic;
use skiff_disk::value::ByteSize;

use super::BlockId;
use crate::keys::TrustError;
use crate::statement::FitError;
use crate::text::TextError;

/// Why a bundle is not applied.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Corrupt, hint = "get the bundle again")]
pub enum BundleError {
    /// The first bytes are others.
    #[error("this is no bundle: it does not begin with `skiff-update`")]
    #[diagnostic(kind = Input, hint = "make one with `ota bundle` of skiff-image", code = "no-bundle")]
    NoBundle,
    /// The format is another one.
    #[error("the bundle has format {found}, this program reads format {known}")]
    #[diagnostic(kind = Unsupported, hint = "use a program of the same release as the one that made it", code = "format")]
    Format {
        /// Format of the bundle.
        found: u16,
        /// Format that is read.
        known: u16,
    },
    /// The prefix is damaged.
    #[error("the prefix is damaged: its CRC-32 is {found:08x}, not {stated:08x} as it states")]
    #[diagnostic(code = "bad-prefix")]
    Prefix {
        /// Sum in the prefix.
        stated: u32,
        /// Sum of its bytes.
        found: u32,
    },
    /// A part is impossibly long.
    #[error("{part} has {}, {} are the most", ByteSize(*len), ByteSize(*max))]
    #[diagnostic(code = "too-long")]
    TooLong {
        /// The part.
        part: &'static str,
        /// Its bytes.
        len: u64,
        /// Most bytes.
        max: u64,
    },
    /// The bundle ends too early.
    #[error("the bundle ends in {part}, after {have} of {need} bytes of it")]
    #[diagnostic(
        hint = "get the rest of the bundle: what was written is kept, and is not sent or written again",
        code = "cut-off"
    )]
    CutOff {
        /// The part.
        part: &'static str,
        /// Its bytes.
        need: u64,
        /// Bytes that were there.
        have: u64,
    },
    /// Something follows the bundle.
    #[error("something follows the end of the bundle")]
    #[diagnostic(code = "trailing")]
    Trailing,
    /// The statement cannot be read, though it is signed.
    #[error("the statement cannot be read: {0}")]
    #[diagnostic(transparent)]
    Statement(#[source] TextError),
    /// Nobody who is trusted has signed it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Trust(#[from] TrustError),
    /// It is for another device.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fit(#[from] FitError),
    /// A part is not that which was signed.
    #[error("{part} is not the one that was signed: its digest is another one")]
    #[diagnostic(code = "other-part")]
    OtherPart {
        /// The part.
        part: &'static str,
    },
    /// The index does not describe the files.
    #[error("the index is impossible: {reason}")]
    #[diagnostic(hint = "make the bundle again", code = "bad-index")]
    Index {
        /// What is wrong.
        reason: String,
    },
    /// A block is not that which was signed.
    #[error(
        "the block at byte {offset} of `{file}` is not the one that was signed: its digest is another one"
    )]
    #[diagnostic(code = "other-block")]
    OtherBlock {
        /// File that it belongs to.
        file: String,
        /// Place in the file.
        offset: u64,
    },
    /// A delta is impossible.
    #[error("the delta is damaged at byte {position} behind its head: {reason}")]
    #[diagnostic(code = "bad-delta")]
    Delta {
        /// Bytes behind the head.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// A delta was made for a device with another system.
    #[error("the delta needs the block {id}, which this device does not have")]
    #[diagnostic(kind = Refused, hint = "make the delta from the system that runs here, or send the bundle", code = "missing-block")]
    Missing {
        /// Id of the block.
        id: BlockId,
    },
    /// This program compresses otherwise.
    #[error(
        "the block at byte {offset} of `{file}` does not come out as it was signed: this agent compresses otherwise"
    )]
    #[diagnostic(kind = Unsupported, hint = "send the bundle", code = "not-exact")]
    NotExact {
        /// File that it belongs to.
        file: String,
        /// Place in the file.
        offset: u64,
    },
    /// The stream cannot be read.
    #[error("cannot read the bundle: {0}")]
    #[diagnostic(kind = Io, hint = "run the same command again: what was written is kept", code = "read")]
    Read(#[source] io::Error),
}
