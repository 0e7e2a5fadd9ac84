//! Errors of laying an overlay over a tree.

use crate::error::Diagnostic;

/// Reason why an overlay cannot be laid over a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
#[non_exhaustive]
pub enum OverlayError {
    /// Something else than a directory would take the place of a directory with entries.
    #[error(
        "layer `{layer}` puts a {kind} at `{path}`, where {by} has a directory that is not empty (entries: {entries})"
    )]
    #[diagnostic(hint = "rename `{path}` in the root_overlay of `{layer}`, or make it a directory")]
    OverDirectory {
        /// The layer.
        layer: String,
        /// Kind of the node that the overlay brings.
        kind: &'static str,
        /// Path in the tree.
        path: String,
        /// Origin of the directory.
        by: String,
        /// Number of entries that would be lost.
        entries: usize,
    },
    /// A directory would be laid over a link to a directory, as on a system with merged `/usr`.
    #[error("layer `{layer}` puts a directory at `{path}`, where {by} has a symbolic link to `{target}`")]
    #[diagnostic(hint = "put it under `{target}` in the root_overlay of `{layer}`")]
    OverLink {
        /// The layer.
        layer: String,
        /// Path in the tree.
        path: String,
        /// Origin of the link.
        by: String,
        /// Target of the link, as a path of the tree.
        target: String,
    },
    /// The umask of the checkout took permissions from everything.
    #[error(
        "the root_overlay of layer `{layer}` has mode {mode:04o} and nothing in it has more: nothing shows which \
         files are secrets"
    )]
    #[diagnostic(
        hint = "check the layer out under umask 022, or give back what is no secret: chmod -R go+rX \
                root_overlay, then chmod go= what is one"
    )]
    HiddenModes {
        /// The layer.
        layer: String,
        /// Mode of the root directory.
        mode: u32,
    },
}
