//! Errors of images that cannot be copied.

use std::io;
use std::ops::Range;

use super::decode::{Fault, FaultKind, Format};
use super::memory::TooMuch;
use super::objection::Objection;
use super::zip::ZipError;
use crate::error::{Diagnostic, Io};
use crate::network::FetchError;
use crate::value::ByteSize;

/// Reason why an image cannot be copied. `image` is a path, an address or `standard input`.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Corrupt, hint = "get or build the image again")]
pub enum ImageError {
    /// It is packed in a way that is not known here.
    #[error("`{image}` is in the format of {format}, which cannot be unpacked here")]
    #[diagnostic(kind = Unsupported, hint = "unpack or convert it to a raw image and give that")]
    Format {
        /// The image.
        image: String,
        /// Name of the format.
        format: &'static str,
    },
    /// The content of the packed file is packed again.
    #[error("`{image}` is packed twice: {inner} in {outer}")]
    #[diagnostic(kind = Unsupported, hint = "unpack or convert it to a raw image and give that")]
    Twice {
        /// The image.
        image: String,
        /// As it was given.
        outer: Format,
        /// Entries that were found.
        inner: Format,
    },
    /// There is nothing in it.
    #[error("`{0}` is empty")]
    #[diagnostic(kind = Input)]
    Empty(String),
    /// The stream ends before its own end mark.
    #[error("`{image}` is cut off: it ends at byte {at}, in the middle of its {format} stream")]
    Truncated {
        /// The image.
        image: String,
        /// Compression.
        format: Format,
        /// Bytes that were there.
        at: u64,
    },
    /// The stream contradicts itself.
    #[error("the {format} stream of `{image}` is damaged before byte {at}: {reason}")]
    Stream {
        /// The image.
        image: String,
        /// Compression.
        format: Format,
        /// Bytes that the decoder had read.
        at: u64,
        /// Message of the error.
        reason: String,
    },
    /// Unpacking it takes more memory than it may take.
    #[error(
        "unpacking the {format} stream of `{image}` needs {} of memory, but {} are allowed",
        ByteSize(*need),
        ByteSize(*limit)
    )]
    #[diagnostic(kind = Fit, hint = "unpack the image and give that", code = "unpack-memory")]
    Memory {
        /// The image.
        image: String,
        /// Compression.
        format: Format,
        /// Bytes that the decoder needs.
        need: u64,
        /// Bytes that it may take.
        limit: u64,
    },
    /// The decoder does not know how to read it.
    #[error("the {format} stream of `{image}` cannot be unpacked here: {reason}")]
    #[diagnostic(kind = Unsupported, hint = "unpack the image and give that")]
    NotKnown {
        /// The image.
        image: String,
        /// Compression.
        format: Format,
        /// Message of the decoder.
        reason: String,
    },
    /// It has another length than it says.
    #[error("the {format} file `{image}` says that {} are in it, but there are {}", ByteSize(*said), ByteSize(*len))]
    Said {
        /// The image.
        image: String,
        /// Compression.
        format: Format,
        /// Length that it says.
        said: u64,
        /// Length that it has.
        len: u64,
    },
    /// There is not one readable image in a zip file.
    #[error("`{image}` cannot be unpacked: {error}")]
    #[diagnostic(forward(error))]
    Zip {
        /// The zip file.
        image: String,
        /// Reason.
        error: ZipError,
    },
    /// Something stands behind the image, and nobody says that it belongs there.
    #[error("behind the {format} stream of `{image}`, from byte {at} on, is something else")]
    #[diagnostic(hint = "if it belongs there, give the SHA-256 of the file", code = "trailing-bytes")]
    Trailing {
        /// The image.
        image: String,
        /// Compression.
        format: Format,
        /// End of the stream.
        at: u64,
    },
    /// The image is not the one that is meant.
    #[error("the SHA-256 of {}`{image}` is {found}, not {expected}", if *decoded { "what is in " } else { "" })]
    #[diagnostic(hint = "get the image again, and its SHA-256 from where the image was made")]
    Hash {
        /// The image.
        image: String,
        /// True if it is that of the unpacked image.
        decoded: bool,
        /// Expected value.
        expected: String,
        /// Checksum that was computed.
        found: String,
    },
    /// The block map belongs to another image.
    #[error("the block map is for an image of {} but `{image}` has {}", ByteSize(*expected), ByteSize(*found))]
    #[diagnostic(kind = Input, hint = "give the .bmap file that was made with the image")]
    OtherLength {
        /// The image.
        image: String,
        /// Checksum of the block map.
        expected: u64,
        /// Checksum of the image.
        found: u64,
    },
    /// The image is not what its block map describes.
    #[error("bytes {}..{} of `{image}` are damaged: their SHA-256 is {found}, the block map says {expected}", bytes.start, bytes.end)]
    Damaged {
        /// The image.
        image: String,
        /// Range of the image.
        bytes: Range<u64>,
        /// Checksum of the block map.
        expected: String,
        /// Checksum of the image.
        found: String,
    },
    /// The image is larger than the medium.
    #[error("the image `{image}` needs {} but `{target}` has {}", ByteSize(*need), ByteSize(*have))]
    #[diagnostic(kind = Fit, hint = "use a larger medium")]
    TooLarge {
        /// The image.
        image: String,
        /// Name of the target.
        target: String,
        /// Length of the image.
        need: u64,
        /// Length of the target.
        have: u64,
    },
    /// The image did not say its length, and has more bytes than the medium.
    #[error("the image `{image}` needs more than {} but `{target}` has {}", ByteSize(*need), ByteSize(*have))]
    #[diagnostic(kind = Fit, hint = "use a larger medium")]
    TooLargeStream {
        /// The image.
        image: String,
        /// Name of the target.
        target: String,
        /// Bytes that were unpacked before there was no more space.
        need: u64,
        /// Length of the target.
        have: u64,
    },
    /// A claim about it does not hold.
    #[error("`{image}` is not written: {objection}")]
    #[diagnostic(
        kind = objection.kind(),
        hint = objection.hint(),
        code = Some(objection.overridden_by().word())
    )]
    Refused {
        /// The image.
        image: String,
        /// Objection.
        objection: Objection,
    },
    /// Somebody writes to it.
    #[error("`{0}` was changed while it was read")]
    #[diagnostic(kind = Input, hint = "start again when the image is complete")]
    Changed(String),
    /// A source that comes once cannot be read again.
    #[error("`{0}` was read already and cannot be read again")]
    #[diagnostic(kind = Input, hint = "save the image in a file and give that")]
    Once(String),
    /// It could not be fetched.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fetch(#[from] FetchError),
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
}

impl ImageError {
    /// Returns the error for a fault in a stream.
    pub(super) fn from_fault(image: &str, format: Format, fault: Fault) -> ImageError {
        let (image, at) = (image.to_owned(), fault.at);
        match fault.kind {
            FaultKind::Truncated => ImageError::Truncated { image, format, at },
            FaultKind::Damaged(reason) => ImageError::Stream { image, format, at, reason },
            FaultKind::Memory(TooMuch { need, limit }) => ImageError::Memory { image, format, need, limit },
            FaultKind::NotKnown(reason) => ImageError::NotKnown { image, format, reason },
            FaultKind::Zip(error) => ImageError::Zip { image, error },
            FaultKind::Read(error) => ImageError::from_read_error(&image, error),
        }
    }

    /// An image that could not be read.
    pub(super) fn from_read_error(image: &str, error: io::Error) -> ImageError {
        match error.downcast::<FetchError>() {
            Ok(error) => error.into(),
            Err(error) => Io::on("read", image)(error).into(),
        }
    }
}
