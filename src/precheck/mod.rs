//! What composing will miss, and what the system will miss while it runs, told when a workspace is configured: hours
//! before the build has come so far.
//!
//! Layers, board and `.config` say enough for each of these: files of the images directory that nothing makes, lines of
//! users tables, overlays over the links of a merged `/usr`, scripts whose programs are not there, a login on a port that
//! the kernel does not write to, a package whose source is not there. Only what is sure is told: a file that a hook or a
//! package may make counts as made.

mod files;
mod makers;
mod overlays;
mod scripts;
mod users;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::board::Board;
use crate::buildroot::config::Config;
use crate::error::{Error, Result};
use crate::layer::Layer;
use crate::lint::login_apart;

/// A configured workspace.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Board that the layers are for, if they are for one.
    pub board: Option<&'a Board>,
    /// All layers, in order.
    pub layers: &'a [Layer],
    /// The `.config`.
    pub config: &'a Config,
    /// Images directory of the workspace, which need not be there, and how messages call it.
    pub images: (&'a Path, &'a Path),
    /// Source tree of Buildroot.
    pub buildroot: &'a Path,
    /// External trees of Buildroot.
    pub externals: &'a [PathBuf],
}

/// Something that will be missing or refused later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Foreseen {
    /// As a sentence without a full stop.
    pub found: String,
    /// Advice.
    pub hint: Option<String>,
}

impl Foreseen {
    fn new(found: impl Into<String>, hint: impl Into<String>) -> Foreseen {
        Foreseen { found: found.into(), hint: Some(hint.into()) }
    }

    fn from_error(error: &Error) -> Foreseen {
        Foreseen { found: error.to_string(), hint: error.hint() }
    }
}

impl fmt::Display for Foreseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.found)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n  hint: {hint}"))
    }
}

/// Looks at all of it.
///
/// # Errors
/// A file of a layer or of Buildroot cannot be read, or a name of the board has a variable that is not there.
pub fn foresee(subject: &Subject<'_>) -> Result<Vec<Foreseen>> {
    let mut found = Vec::new();
    let arch = subject.board.and_then(|board| board.pick_arch(subject.config.arch()).ok());
    if let (Some(board), Some(arch)) = (subject.board, arch) {
        found.extend(files::missing(subject, board, arch)?);
        let hint = "give the layer the port and speed of `console=` in the boot text, or the other way round";
        found.extend(login_apart(board, arch, subject.config)?.map(|told| Foreseen::new(told, hint)));
    }
    found.extend(makers::without_source(subject));
    found.extend(users::malformed(subject.layers)?);
    found.extend(overlays::over_links(subject)?);
    found.extend(scripts::without_programs(subject)?);
    Ok(found)
}
