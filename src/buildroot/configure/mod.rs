//! Configures a workspace: layers become files in the configuration directory, Buildroot's Kconfig makes `.config` of
//! them, and what it dropped is found.
//!
//! It costs nothing when nothing changed, so whoever needs a configured workspace calls it first. A file is written
//! only if its contents change, because make builds anew what depends on a newer one; `make defconfig` runs only if
//! what it reads changed. Every file is there wholly or not at all, and [`State`] says that all are: it goes first and
//! comes last, so a run that ends in between is made up for by the next one.

mod closing;
mod defconfig;
mod dropped;
mod error;
mod external;
mod files;
mod patches;
mod paths;
mod stamps;

use std::path::{Path, PathBuf};

pub use closing::WHO;
pub use defconfig::{Edited, Reason};
pub use dropped::is_replaced;
pub use error::ConfigureError;
pub use external::External;
pub use files::Configuration;

use paths::reject_unsafe;

use super::effective::Dropped;
use super::make::Make;
use super::source::Source;
use crate::board::Board;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::layer::Layer;
use crate::layer::merge::Merged;
use crate::workspace::{Lock, Selection, State, Workspace};

/// Sources of a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Workspace that is configured.
    pub workspace: &'a Workspace,
    /// All layers in the order in which they are applied, with base and overrides.
    pub layers: &'a [Layer],
    /// Buildroot.
    pub source: &'a Source,
    /// Selection to remember.
    pub selection: &'a Selection,
    /// Board that the layers are for, if they are for one.
    pub board: Option<&'a Board>,
    /// This program, which hooks of the build call; an absolute path.
    pub program: &'a Path,
    /// Version of the project as the project calls it, and its commit.
    pub version: (&'a str, &'a str),
    /// The compiler cache.
    pub ccache: &'a Path,
    /// Buildroot's make.
    pub make: &'a Make,
    /// Looks for dropped settings even if nothing changed.
    pub again: bool,
    /// Leaves the workspace unconfigured if a setting was dropped.
    pub strict: bool,
}

/// A workspace that is configured.
#[derive(Debug)]
pub struct Configured {
    /// Files that were written, as absolute paths.
    pub changed: Vec<PathBuf>,
    /// Reason why `.config` was made anew, if it was.
    pub made: Option<Reason>,
    /// Request that Kconfig was given.
    pub request: Merged,
    /// Lines of fragments that are neither settings nor remarks.
    pub malformed: usize,
    /// Settings that did not become effective; nothing if they were not looked for.
    pub dropped: Option<Vec<Dropped>>,
    /// External trees of Buildroot, in order.
    pub externals: Vec<External>,
    /// Changes that somebody had made to `.config`.
    pub edited: Option<Edited>,
    /// Names of Buildroot's own images that layers ask for and that are left out.
    pub images_left_out: Vec<String>,
    /// Notes for the user, as sentences without a full stop.
    pub notes: Vec<String>,
    /// Changes that the user should make, as sentences without a full stop.
    pub warnings: Vec<String>,
}

/// Configures. Whoever calls holds the lock; `line` is given what make prints.
///
/// # Errors
/// A layer is wrong, the workspace is of another version of Buildroot, something has a path that Buildroot cannot take,
/// or make fails. The workspace counts as not configured then, unless nothing was changed yet.
pub fn configure(
    inputs: &Inputs<'_>,
    _lock: &Lock,
    interrupt: &Interrupt,
    line: &mut dyn FnMut(&str),
) -> Result<Configured> {
    let workspace = inputs.workspace;
    reject_unsafe("the project", workspace.root())?;
    reject_unsafe("Buildroot", &inputs.source.path)?;
    // It may be a link to another disk.
    let output = workspace.output();
    reject_unsafe("the workspace", &output.canonicalize().unwrap_or(output))?;
    defconfig::reject_other_version(workspace, inputs.source)?;
    let configuration = Configuration::from_layers(inputs)?;
    let request = defconfig::digest(&configuration, inputs.source)?;
    let (why, edited) = defconfig::why(workspace, &request)?;
    if why.is_some() {
        State::remove(workspace)?;
    }
    stamps::remove_if_flags_changed(workspace, &configuration)?;
    let mut changed = configuration.write(workspace)?;
    changed.extend(inputs.selection.write(workspace)?);
    if why.is_some() {
        defconfig::keep_edited(workspace, edited.as_ref())?;
        defconfig::make(workspace, &configuration, inputs.make, interrupt, line)?;
    }
    let look = why.is_some() || inputs.again;
    let dropped = look.then(|| dropped::find(inputs, &configuration.request)).transpose()?;
    let is_refused =
        dropped.as_ref().is_some_and(|dropped| !dropped.is_empty()) || configuration.malformed > 0;
    match inputs.strict && is_refused {
        true => State::remove(workspace)?,
        false if why.is_some() => State::new(request).write(workspace)?,
        false => {}
    }
    let Configuration { request, externals, images_left_out, notes, warnings, malformed, .. } = configuration;
    Ok(Configured {
        changed,
        made: why,
        request,
        malformed,
        dropped,
        externals,
        edited,
        images_left_out,
        notes,
        warnings,
    })
}
