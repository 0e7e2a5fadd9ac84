//! Images from an address. What comes is believed only when it has the hash that the user gave, so nothing here
//! decides whether an image is the right one; encryption keeps from others which it is.

#[cfg(feature = "network")]
mod download;

use std::io::Read;
use std::time::Duration;

#[cfg(feature = "network")]
pub(crate) use download::Download;

use crate::error::Diagnostic;

/// Opens what an address holds, from its first byte on, for those who know it by other means than the hash of the
/// file.
pub fn stream_of(url: &str) -> Result<Box<dyn Read + Send>, FetchError> {
    Download::new(url, true)?.open()
}

/// Reason why an image could not be fetched. Addresses are shown without what may be secret.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Io, hint = "check the network, or fetch the image to a file first")]
pub enum FetchError {
    /// Not an address.
    #[error("`{url}` is not an address: expected `https://HOST/PATH`")]
    #[diagnostic(kind = Input, hint = "give a path for a file, or `-` for standard input")]
    Url {
        /// Text that was given.
        url: String,
    },
    /// Anyone on the way could read and change it.
    #[error("`{url}` is not encrypted")]
    #[diagnostic(kind = Input, hint = "use https")]
    PlainHttp {
        /// The address.
        url: String,
    },
    /// Nothing would show that it is the right one.
    #[error("an image from an address needs its SHA-256, and there is none for `{url}`")]
    #[diagnostic(kind = Input, hint = "give the one that is published with the image", code = "no-sha256")]
    NoHash {
        /// The address.
        url: String,
    },
    /// The server sends elsewhere too often, or to where nothing is encrypted.
    #[error("`{url}` leads elsewhere: {reason}")]
    #[diagnostic(hint = "check the address in a browser")]
    Redirect {
        /// The address.
        url: String,
        /// Reason why that is not followed.
        reason: String,
    },
    /// There is no connection.
    #[error("cannot reach `{url}`: {reason}")]
    Connect {
        /// The address.
        url: String,
        /// Message of the system.
        reason: String,
    },
    /// The server has no image for us.
    #[error("the server answered {status} for `{url}`")]
    #[diagnostic(hint = "check the address in a browser")]
    Status {
        /// The address.
        url: String,
        /// HTTP status with its meaning.
        status: String,
    },
    /// The connection broke again and again.
    #[error("the download of `{url}` broke at byte {at}, and again {} when it was taken up: {reason}", times(*tries))]
    Broken {
        /// The address.
        url: String,
        /// Bytes that came.
        at: u64,
        /// Number of times that it was resumed.
        tries: u32,
        /// Last error.
        reason: String,
    },
    /// The server is silent.
    #[error("`{url}` sent nothing for {} seconds at byte {at}", limit.as_secs_f32())]
    Silent {
        /// The address.
        url: String,
        /// Bytes that came.
        at: u64,
        /// Time that was waited.
        limit: Duration,
    },
    /// The feature `network` is off.
    #[error("this program was built without network, so `{url}` cannot be fetched")]
    #[diagnostic(
        kind = Unsupported,
        hint = "fetch the image to a file first, or build with the feature `network`"
    )]
    NotBuilt {
        /// The address.
        url: String,
    },
}

fn times(count: u32) -> String {
    if count == 1 { "once".into() } else { format!("{count} times") }
}

/// Fetches nothing.
#[cfg(not(feature = "network"))]
pub(crate) enum Download {}

#[cfg(not(feature = "network"))]
impl Download {
    pub(crate) fn new(url: &str, _: bool) -> Result<Download, FetchError> {
        Err(FetchError::NotBuilt { url: url.into() })
    }

    pub(crate) fn name(&self) -> &str {
        match *self {}
    }
    pub(crate) fn open(&self) -> Result<Box<dyn Read + Send>, FetchError> {
        match *self {}
    }
}
