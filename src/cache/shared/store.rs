//! Interface of a store to a shared cache: objects by name, and errors that say whether asking again is of use.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use crate::value::Digest;

/// The answer of a store, when it comes.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Named bodies in some place that others use too. Asked for many at once, on the runtime of [`super::Shared`].
pub trait BlockStore: fmt::Debug + Send + Sync {
    /// The body called `name`; one longer than `max_len` bytes is not read.
    fn fetch(&self, name: Digest, max_len: u64) -> Answer<'_, Found>;

    /// Keeps a body, in place of one that has the name already. Others see the old or the new one, never a part.
    fn store(&self, name: Digest, body: Vec<u8>) -> Answer<'_, ()>;
}

/// Content of the store under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or nothing that these credentials may know of.
    Nothing,
    /// A body.
    Body(Vec<u8>),
    /// More than was asked for.
    TooLong,
}

/// Reason why a store gave no answer that is of use, as it stands in a warning; nothing secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No connection: nothing listens there, the name is unknown, the certificate is not trusted.
    #[error("cannot connect to `{endpoint}`: {reason}")]
    Connect {
        /// Address of the store.
        endpoint: String,
        /// Reason that the system or the TLS library gives.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("no answer from `{endpoint}` within {}", Seconds(*limit))]
    Timeout {
        /// Address of the store.
        endpoint: String,
        /// The limit.
        limit: Duration,
    },
    /// The credentials are wrong or not sufficient.
    #[error("`{endpoint}` refuses these credentials: {answer}")]
    Denied {
        /// Address of the store.
        endpoint: String,
        /// HTTP status and code of the error.
        answer: String,
    },
    /// There is no such bucket.
    #[error("`{endpoint}` has no bucket `{bucket}`")]
    NoBucket {
        /// Address of the store.
        endpoint: String,
        /// Its name.
        bucket: String,
    },
    /// The store says that it cannot.
    #[error("`{endpoint}` answers {answer}")]
    Refused {
        /// Address of the store.
        endpoint: String,
        /// HTTP status and code of the error.
        answer: String,
    },
    /// The server does not speak S3, or stops in the middle.
    #[error("`{endpoint}` does not answer as a store does: {reason}")]
    Nonsense {
        /// Address of the store.
        endpoint: String,
        /// Problem of the answer.
        reason: String,
    },
}

impl StoreError {
    /// Returns whether every further request would end the same.
    pub fn is_final(&self) -> bool {
        matches!(self, StoreError::Denied { .. } | StoreError::NoBucket { .. })
    }
}

/// Shown as `10 s` or `0.3 s`.
pub(super) struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", (self.0.as_secs_f64() * 10.0).round() / 10.0)
    }
}
