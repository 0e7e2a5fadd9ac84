//! Why an image cannot be copied.

use std::io;
use std::ops::Range;

use super::decode::{Fault, FaultKind, Format};
use super::zip::ZipError;
use crate::error::{Diagnostic, ErrorKind, Io};
use crate::network::FetchError;
use crate::value::ByteSize;

/// Why an image cannot be copied. `image` is a path, an address or `standard input`.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It is packed in a way that is not known here.
    #[error("`{image}` is in the format of {format}, which cannot be unpacked here")]
    Format {
        /// The image.
        image: String,
        /// Name of the format.
        format: &'static str,
    },
    /// What was in the packed file is packed again.
    #[error("`{image}` is packed twice: {inner} in {outer}")]
    Twice {
        /// The image.
        image: String,
        /// As it was given.
        outer: Format,
        /// What was found in it.
        inner: Format,
    },
    /// There is nothing in it.
    #[error("`{0}` is empty")]
    Empty(String),
    /// The stream ends before its own end mark.
    #[error("`{image}` is cut off: it ends at byte {at}, in the middle of its {format} stream")]
    Truncated {
        /// The image.
        image: String,
        /// How it is packed.
        format: Format,
        /// Bytes that were there.
        at: u64,
    },
    /// The stream contradicts itself.
    #[error("the {format} stream of `{image}` is damaged before byte {at}: {reason}")]
    Stream {
        /// The image.
        image: String,
        /// How it is packed.
        format: Format,
        /// How far the decoder had read.
        at: u64,
        /// What it said.
        reason: String,
    },
    /// It has another length than it says.
    #[error("the {format} file `{image}` says that {} are in it, but there are {}", ByteSize(*said), ByteSize(*len))]
    Said {
        /// The image.
        image: String,
        /// How it is packed.
        format: Format,
        /// Length that it says.
        said: u64,
        /// Length that it has.
        len: u64,
    },
    /// There is not one readable image in a zip file.
    #[error("`{image}` cannot be unpacked: {error}")]
    Zip {
        /// The zip file.
        image: String,
        /// Why.
        error: ZipError,
    },
    /// Something stands behind the image, and nobody says that it belongs there.
    #[error("behind the {format} stream of `{image}`, from byte {at} on, is something else")]
    Trailing {
        /// The image.
        image: String,
        /// How it is packed.
        format: Format,
        /// Where the stream ends.
        at: u64,
    },
    /// The image is not the one that is meant.
    #[error("the SHA-256 of {}`{image}` is {found}, not {expected}", if *decoded { "what is in " } else { "" })]
    Hash {
        /// The image.
        image: String,
        /// Whether it is that of the unpacked image.
        decoded: bool,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The block map belongs to another image.
    #[error("the block map is for an image of {} but `{image}` has {}", ByteSize(*expected), ByteSize(*found))]
    OtherLength {
        /// The image.
        image: String,
        /// What the block map says.
        expected: u64,
        /// What the image has.
        found: u64,
    },
    /// The image is not what its block map describes.
    #[error("bytes {}..{} of `{image}` are damaged: their SHA-256 is {found}, the block map says {expected}", bytes.start, bytes.end)]
    Damaged {
        /// The image.
        image: String,
        /// Where.
        bytes: Range<u64>,
        /// What the block map says.
        expected: String,
        /// What the image has.
        found: String,
    },
    /// The image is larger than the medium.
    #[error("the image `{image}` needs {} but `{target}` has {}", ByteSize(*need), ByteSize(*have))]
    TooLarge {
        /// The image.
        image: String,
        /// Where it should go.
        target: String,
        /// Length of the image.
        need: u64,
        /// Length of the target.
        have: u64,
    },
    /// The image did not say its length, and has more bytes than the medium.
    #[error("the image `{image}` needs more than {} but `{target}` has {}", ByteSize(*need), ByteSize(*have))]
    TooLargeStream {
        /// The image.
        image: String,
        /// Where it should go.
        target: String,
        /// Bytes that were unpacked before there was no more space.
        need: u64,
        /// Length of the target.
        have: u64,
    },
    /// A GPT in other sectors than the medium has is none.
    #[error(
        "the table of `{image}` counts in sectors of {table} bytes but those of `{target}` have {medium}"
    )]
    OtherSectors {
        /// The image.
        image: String,
        /// Where it should go.
        target: String,
        /// Bytes of a sector in the table.
        table: u32,
        /// Bytes of a sector of the medium.
        medium: u32,
    },
    /// Somebody writes to it.
    #[error("`{0}` was changed while it was read")]
    Changed(String),
    /// What comes once cannot be read again.
    #[error("`{0}` was read already and cannot be read again")]
    Once(String),
    /// It could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The operating system failed.
    #[error(transparent)]
    Io(#[from] Io),
}

impl ImageError {
    /// What a fault in a stream means to the user.
    pub(super) fn of_fault(image: &str, format: Format, fault: Fault) -> ImageError {
        let (image, at) = (image.to_owned(), fault.at);
        match fault.kind {
            FaultKind::Truncated => ImageError::Truncated { image, format, at },
            FaultKind::Damaged(reason) => ImageError::Stream { image, format, at, reason },
            FaultKind::Zip(error) => ImageError::Zip { image, error },
            FaultKind::Read(error) => ImageError::of_read(&image, error),
        }
    }

    /// An image that could not be read.
    pub(super) fn of_read(image: &str, error: io::Error) -> ImageError {
        match error.downcast::<FetchError>() {
            Ok(error) => error.into(),
            Err(error) => Io::on("read", image)(error).into(),
        }
    }
}

impl Diagnostic for ImageError {
    fn kind(&self) -> ErrorKind {
        match self {
            ImageError::Format { .. } | ImageError::Twice { .. } => ErrorKind::Unsupported,
            ImageError::Empty(_) | ImageError::OtherLength { .. } => ErrorKind::Input,
            ImageError::Changed(_) | ImageError::Once(_) => ErrorKind::Input,
            ImageError::Zip { error: ZipError::Directory(_) | ZipError::Checksum { .. }, .. } => {
                ErrorKind::Corrupt
            }
            ImageError::Zip { error: ZipError::NoImage(_) | ZipError::Several(_), .. } => ErrorKind::Input,
            ImageError::Zip { .. } => ErrorKind::Unsupported,
            ImageError::Truncated { .. } | ImageError::Stream { .. } | ImageError::Trailing { .. } => {
                ErrorKind::Corrupt
            }
            ImageError::Hash { .. } | ImageError::Said { .. } | ImageError::Damaged { .. } => {
                ErrorKind::Corrupt
            }
            ImageError::TooLarge { .. }
            | ImageError::TooLargeStream { .. }
            | ImageError::OtherSectors { .. } => ErrorKind::Fit,
            ImageError::Fetch(error) => error.kind(),
            ImageError::Io(_) => ErrorKind::Io,
        }
    }

    fn hint(&self) -> Option<String> {
        let again = || "get or build the image again".into();
        Some(match self {
            ImageError::Format { .. } | ImageError::Twice { .. } => {
                "unpack or convert it to a raw image and give that".into()
            }
            ImageError::Empty(_) | ImageError::Damaged { .. } => again(),
            ImageError::Truncated { .. } | ImageError::Stream { .. } | ImageError::Said { .. } => again(),
            ImageError::Zip { error, .. } => return error.hint(),
            ImageError::Trailing { .. } => {
                "if it belongs there, give the SHA-256 of the file with `--sha256`".into()
            }
            ImageError::Hash { .. } => {
                "get the image again, and its SHA-256 from where the image was made".into()
            }
            ImageError::OtherLength { .. } => "give the .bmap file that was made with the image".into(),
            ImageError::TooLarge { .. } | ImageError::TooLargeStream { .. } => "use a larger medium".into(),
            ImageError::OtherSectors { medium, .. } => {
                format!("build the image for sectors of {medium} bytes")
            }
            ImageError::Changed(_) => "start again when the image is complete".into(),
            ImageError::Once(_) => "save the image in a file and give that".into(),
            ImageError::Fetch(error) => return error.hint(),
            ImageError::Io(error) => return error.hint(),
        })
    }
}

impl ZipError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            ZipError::Directory(_) | ZipError::Checksum { .. } => "get or build the image again".into(),
            ZipError::NoImage(_)
            | ZipError::Several(_)
            | ZipError::Encrypted(_)
            | ZipError::Method { .. } => "unpack the one that is meant and give that".into(),
            ZipError::UnknownLength(_) => "save the zip file and give that".into(),
        })
    }
}
