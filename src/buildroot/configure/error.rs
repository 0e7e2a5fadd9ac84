//! Errors of configuring a workspace.

use std::path::PathBuf;

use crate::error::{Diagnostic, ErrorKind, Io};

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// The operating system failed.
    #[error(transparent)]
    Io(#[from] Io),
    /// The workspace was built with another version.
    #[error("workspace `{workspace}` was built with Buildroot {built}, and `{}` is {found}", tree.display())]
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
    NoExternal {
        /// The tree.
        path: PathBuf,
        /// The file.
        missing: &'static str,
    },
    /// An external tree has no name, or none that Buildroot takes.
    #[error("`{}` names no external tree: expected a line `name: NAME` of letters, digits and `_`", path.display())]
    Nameless {
        /// Its `external.desc`.
        path: PathBuf,
    },
    /// Two external trees have one name.
    #[error("the external trees `{}` and `{}` are both called `{name}`", first.display(), second.display())]
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
    Defconfig {
        /// Exit status of make.
        status: String,
        /// The last lines that it printed.
        lines: Vec<String>,
        /// Request that make was given.
        request: PathBuf,
    },
}

impl Diagnostic for ConfigureError {
    fn kind(&self) -> ErrorKind {
        match self {
            ConfigureError::Io(error) => error.kind(),
            ConfigureError::OtherVersion { .. } => ErrorKind::Refused,
            _ => ErrorKind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            ConfigureError::Io(error) => return error.hint(),
            ConfigureError::OtherVersion { .. } => {
                "`skiff-image clean` removes what was built; or give another workspace with `--workspace`"
                    .into()
            }
            ConfigureError::NoExternal { .. } => {
                "an external tree has `external.desc`, `external.mk` and `Config.in`; empty ones will do"
                    .into()
            }
            ConfigureError::Nameless { .. } => "add the line, for example `name: MY_LAYER`".into(),
            ConfigureError::SameName { .. } => "rename one of them in its `external.desc`".into(),
            ConfigureError::Defconfig { request, .. } => {
                format!("the request is `{}`; it says which layer each line is from", request.display())
            }
        })
    }
}
