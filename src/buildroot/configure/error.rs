//! Errors of configuring a workspace.

use std::path::PathBuf;

use crate::error::{Diagnostic, Io};

/// See the module.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum ConfigureError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// The workspace was built with another version.
    #[error("workspace `{workspace}` was built with Buildroot {built}, and `{}` is {found}", tree.display())]
    #[diagnostic(
        kind = Refused,
        hint = "`skiff-image clean` removes what was built",
        code = "built-by-other-version"
    )]
    OtherVersion {
        /// Its name.
        workspace: String,
        /// Version that it was built with.
        built: String,
        /// The source tree.
        tree: PathBuf,
        /// Its version.
        found: String,
    },
    /// An external tree lacks a file.
    #[error("the external tree `{}` has no `{missing}`", path.display())]
    #[diagnostic(
        hint = "an external tree has `external.desc`, `external.mk` and `Config.in`; empty ones will do"
    )]
    NoExternal {
        /// The tree.
        path: PathBuf,
        /// The file.
        missing: &'static str,
    },
    /// An external tree has no name, or none that Buildroot takes.
    #[error("`{}` names no external tree: expected a line `name: NAME` of letters, digits and `_`", path.display())]
    #[diagnostic(hint = "add the line, for example `name: MY_LAYER`")]
    Nameless {
        /// Its `external.desc`.
        path: PathBuf,
    },
    /// Two external trees have one name.
    #[error("the external trees `{}` and `{}` are both called `{name}`", first.display(), second.display())]
    #[diagnostic(hint = "rename one of them in its `external.desc`")]
    SameName {
        /// The name.
        name: String,
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Make failed.
    #[error("`make defconfig` failed with {status}: {}", lines.join("; "))]
    #[diagnostic(hint("the request is `{}`; it says which layer each line is from", request.display()))]
    Defconfig {
        /// Exit status of make.
        status: String,
        /// The last lines that it printed.
        lines: Vec<String>,
        /// Request that make was given.
        request: PathBuf,
    },
}
