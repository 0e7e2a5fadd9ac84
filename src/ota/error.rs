//! What goes wrong on the host.

use std::path::PathBuf;

use skiff_update::TextError;
use skiff_update::keys::{KeyError, SignatureError, TrustError};

use crate::error::Diagnostic;

/// Reason why keys or signatures cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum OtaError {
    /// A file is no public key.
    #[error("`{}`: {source}", path.display())]
    #[diagnostic(transparent)]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// A file is no root.
    #[error("`{}`: {source}", path.display())]
    #[diagnostic(transparent)]
    Root {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TrustError,
    },
    /// The signed roots beside a root are not those that lead to it.
    #[error("`{}` does not end with the root in `{}`", signed.display(), path.display())]
    #[diagnostic(hint = "keep the two files of a root together, as they were made", code = "other-roots")]
    OtherRoots {
        /// List of signed roots.
        signed: PathBuf,
        /// The root.
        path: PathBuf,
    },
    /// A file is no signature.
    #[error("`{}`: {source}", path.display())]
    #[diagnostic(hint = "give what `ssh-keygen -Y sign` has made", code = "bad-signature")]
    Signature {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SignatureError,
    },
    /// A file of that name is there.
    #[error("`{}` exists already", path.display())]
    #[diagnostic(kind = Refused, hint = "choose another name", code = "exists")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// `ssh-keygen` made no signature.
    #[error("ssh-keygen has not signed with `{}`: {status}", key.display())]
    #[diagnostic(hint = "what it said stands above", code = "not-signed")]
    NotSigned {
        /// The key.
        key: PathBuf,
        /// How it ended.
        status: String,
    },
    /// A key is to be removed that is not there.
    #[error("the root has no key {fingerprint}")]
    #[diagnostic(hint = "`ota keys show` lists those it has", code = "no-such-key")]
    NoSuchKey {
        /// Fingerprint.
        fingerprint: String,
    },
    /// A root contradicts itself.
    #[error("no such root can be made: {0}")]
    #[diagnostic(transparent)]
    Impossible(#[source] TrustError),
    /// A text cannot be made or read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Text(#[from] TextError),
}
