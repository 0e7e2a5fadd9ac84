//! Flags of the verbs that need a configured workspace, and how they get it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use super::args::{BOARDS_VARIABLE, BoardArgs, LayerArgs};
use crate::buildroot::configure::{Configured, Edited, Inputs, configure};
use crate::buildroot::dot_config::DotConfig;
use crate::buildroot::effective;
use crate::buildroot::make::Make;
use crate::buildroot::source::{self, NamedBy, Places, Source};
use crate::buildroot::stamp::{EPOCH_VARIABLE, EpochFrom, Release};
use crate::containers::{self, ContainersError};
use crate::error::{Io, Result};
use crate::interrupt::Interrupt;
use crate::layer::fragment::Kind;
use crate::layer::{self, Chain, Environment, Layer, LayerOrigin, Order};
use crate::precheck::{self, Foreseen, Subject};
use crate::report::Report;
use crate::workspace::{Asked, Lock, Selection, Used, Workspace};

/// Sources of a configuration. What is not given is as it was at the last configure.
#[derive(Debug, Args)]
pub struct ConfigureArgs {
    #[command(flatten)]
    pub layers: LayerArgs,

    #[command(flatten)]
    boards: BoardArgs,

    /// Source tree of Buildroot; without it that of BUILDROOT_DIR, buildroot/ of the project, or the fetched one.
    #[arg(long, value_name = "DIR")]
    buildroot: Option<PathBuf>,

    /// Take another version of Buildroot than the pinned one, or a changed one.
    #[arg(long)]
    any_buildroot: bool,

    /// Have Buildroot make its own images too, for layers whose hooks need them.
    #[arg(long)]
    keep_images: bool,

    /// Fail if a setting of a layer does not become effective, or a configuration of containers may be meant otherwise than
    /// it is written.
    #[arg(long)]
    strict: bool,
}

/// Variable with the directory of Buildroot's downloads.
const DOWNLOADS: &str = "BR2_DL_DIR";
/// The verb that looks at dropped settings even if nothing changed.
pub const VERB: &str = "configure";

/// A configured workspace, and that nobody else changes it.
pub struct Ready {
    pub workspace: Workspace,
    pub source: Source,
    pub selection: Selection,
    pub chain: Chain,
    pub layers: Vec<Layer>,
    pub configured: Configured,
    /// For more goals of the same make.
    pub make: Make,
    /// Until it is dropped.
    pub lock: Lock,
}

/// Something missing for a configuration.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Input)]
pub enum ConfigureArgsError {
    /// It could not be remembered.
    #[error("`{}` of `{name}` is not UTF-8", value.display())]
    #[diagnostic(hint = "rename the directory")]
    NotText { name: String, value: OsString },
    /// Kconfig has dropped something, which is reported.
    #[error("{dropped} of {settings} settings are not effective{lines}, and the workspace is not configured")]
    #[diagnostic(hint = "correct what the warnings name, or leave `--strict` out")]
    Strict { dropped: usize, settings: usize, lines: String },
    /// A time that is none.
    #[error("SOURCE_DATE_EPOCH is `{value}`: {said}")]
    #[diagnostic(hint = "unset it, or set it to a number")]
    Epoch { value: String, said: String },
}

impl ConfigureArgs {
    /// Configures if anything changed. `verb` is who has the workspace, for others; `line` is given what make prints.
    pub fn ready(
        &self,
        verb: &str,
        report: &Report,
        interrupt: &Interrupt,
        line: &mut dyn FnMut(&str),
    ) -> Result<Ready> {
        let workspace = self.layers.selection().place()?;
        let before = self.layers.selection().remembered()?;
        let (chain, resolved) = self.layers.selection().required()?;
        self.report_remembered(before.as_ref(), report);
        resolved.notes.iter().for_each(|note| report.note(note));
        resolved.warnings.iter().for_each(|warning| report.warn(warning));
        let layers: Vec<Layer> = resolved.layers().cloned().collect();
        let board = self.boards.registry()?.board_of(layers.iter())?;
        self.check_containers(&layers, report)?;
        let lock = Lock::take(&workspace, verb)?;
        let source = Source::find(&workspace, &self.places(before.as_ref()), interrupt)?;
        source.warnings.iter().for_each(|warning| report.warn(warning));
        let asked = self.asked(chain.text, &layers, &source, before.as_ref())?;
        let release = release(&workspace, asked.source_date_epoch, interrupt)?;
        let used = Used {
            layers: resolved.chosen.iter().map(|layer| layer.name.clone()).collect(),
            buildroot: source.path.clone(),
            buildroot_version: source.version.clone(),
            source_date_epoch: Some(release.epoch).filter(|_| release.epoch_from != EpochFrom::Nobody),
        };
        let selection = Selection::new(asked, used);
        let mut make = make(&workspace, &source);
        if let Some(directory) = self.boards.directory() {
            // Hooks ask for the board too.
            let directory = std::path::absolute(&directory).map_err(Io::on("find", &directory))?;
            make.environment.push((BOARDS_VARIABLE.into(), directory.into()));
        }
        let program = std::env::current_exe().map_err(Io::on("find", "this program"))?;
        let inputs = Inputs {
            workspace: &workspace,
            layers: &layers,
            source: &source,
            selection: &selection,
            board: board.as_ref(),
            program: &program,
            version: (&release.version, &release.commit),
            ccache: &ccache(&workspace),
            make: &make,
            again: self.strict || verb == VERB,
            strict: self.strict,
        };
        let configured = configure(&inputs, &lock, interrupt, line)?;
        report_configuration(&configured, &workspace, report);
        let foreseen = foresee(&inputs, &configured)?;
        foreseen.iter().for_each(|foreseen| report.warn(foreseen));
        self.ensure_effective(&configured)?;
        // The variable would win over a layer that says where downloads are.
        if variable(DOWNLOADS).is_none() && configured.request.setting(DOWNLOADS).is_some() {
            make.environment.retain(|(name, _)| name != DOWNLOADS);
        }
        Ok(Ready { workspace, source, selection, chain: resolved, layers, configured, make, lock })
    }

    /// Fails if a layer brings a configuration of containers that a device could not use.
    fn check_containers(&self, layers: &[Layer], report: &Report) -> Result<()> {
        let notes = containers::in_layers(layers)?;
        if self.strict && !notes.is_empty() {
            return Err(ContainersError::Strict(notes).into());
        }
        notes.iter().for_each(|note| report.warn(note));
        Ok(())
    }

    fn ensure_effective(&self, configured: &Configured) -> Result<()> {
        let dropped = configured.dropped.as_ref().map_or(0, Vec::len);
        let malformed = configured.malformed;
        if dropped + malformed == 0 || !self.strict {
            return Ok(());
        }
        let settings = configured.request.settings().count();
        let lines = match malformed {
            0 => String::new(),
            1 => ", 1 line is no setting".into(),
            lines => format!(", {lines} lines are no settings"),
        };
        Err(ConfigureArgsError::Strict { dropped, settings, lines }.into())
    }

    fn places(&self, before: Option<&Selection>) -> Places {
        let asked = before.map(|selection| &selection.asked);
        Places {
            given: self.buildroot.clone(),
            variable: variable(source::VARIABLE).map(PathBuf::from),
            remembered: asked.and_then(|asked| asked.buildroot.clone()),
            any: self.any_buildroot || asked.is_some_and(|asked| asked.any_buildroot),
        }
    }

    fn asked(
        &self,
        chain: String,
        layers: &[Layer],
        source: &Source,
        before: Option<&Selection>,
    ) -> Result<Asked> {
        let earlier = before.map(|selection| selection.asked.clone()).unwrap_or_default();
        let mut variables = std::collections::BTreeMap::new();
        for layer in layers {
            if let LayerOrigin::Variable(name) = &layer.found {
                let path = std::path::absolute(&layer.path).map_err(Io::on("find", &layer.path))?;
                variables.insert(name.clone(), text(name, path.into_os_string())?);
            }
        }
        let extra =
            variable(layer::EXTRA_VARIABLE).map(|value| text(layer::EXTRA_VARIABLE, value)).transpose()?;
        Ok(Asked {
            chain,
            extra: extra.or(earlier.extra),
            variables,
            order: self.layers.selection().order()?,
            buildroot: matches!(source.named_by, NamedBy::Flag | NamedBy::Variable | NamedBy::Remembered)
                .then(|| source.original.clone()),
            any_buildroot: self.any_buildroot || earlier.any_buildroot,
            keep_images: self.keep_images || earlier.keep_images,
            source_date_epoch: epoch()?.or(earlier.source_date_epoch),
        })
    }

    /// Reports what of the last configure is used again.
    fn report_remembered(&self, before: Option<&Selection>, report: &Report) {
        let Some(Selection { asked, .. }) = before else { return };
        let mut told = Vec::new();
        if self.layers.selection().chain.is_none() {
            told.push(format!("chain `{}`", asked.chain));
        }
        if let Some(extra) = asked.extra.as_ref().filter(|_| variable(layer::EXTRA_VARIABLE).is_none()) {
            told.push(format!("{}={extra}", layer::EXTRA_VARIABLE));
        }
        if asked.order == Order::Skiffos && self.layers.selection().order.is_none() {
            told.push("`--skiffos-order`".into());
        }
        let unset = asked.variables.iter().filter(|(name, _)| variable(name).is_none());
        told.extend(unset.map(|(name, path)| format!("{name}={path}")));
        let given = self.buildroot.is_some() || variable(source::VARIABLE).is_some();
        if let Some(tree) = asked.buildroot.as_ref().filter(|_| !given) {
            told.push(format!("Buildroot at `{}`", tree.display()));
        }
        for (flag, given, remembered) in [
            ("--any-buildroot", self.any_buildroot, asked.any_buildroot),
            ("--keep-images", self.keep_images, asked.keep_images),
        ] {
            told.extend((remembered && !given).then(|| format!("`{flag}`")));
        }
        if let Some(epoch) = asked.source_date_epoch.filter(|_| variable("SOURCE_DATE_EPOCH").is_none()) {
            told.push(format!("SOURCE_DATE_EPOCH={epoch}"));
        }
        if !told.is_empty() {
            report
                .note(format!("as at the last configure: {} (`--forget` uses none of it)", told.join(", ")));
        }
    }
}

/// Foresees what will be missing or refused later; looked for where dropped settings are.
fn foresee(inputs: &Inputs<'_>, configured: &Configured) -> Result<Vec<Foreseen>> {
    let output = inputs.workspace.output();
    let found = DotConfig::find(&output, Kind::Buildroot)?.filter(|_| configured.dropped.is_some());
    let Some(DotConfig { config, .. }) = found else { return Ok(Vec::new()) };
    let externals: Vec<PathBuf> = configured.externals.iter().map(|external| external.path.clone()).collect();
    let images = inputs.workspace.short(&output.join("images")).to_owned();
    precheck::foresee(&Subject {
        board: inputs.board,
        layers: inputs.layers,
        config: &config,
        images: (&output.join("images"), &images),
        buildroot: &inputs.source.path,
        externals: &externals,
    })
}

/// Reports what a user should know about a configuration.
fn report_configuration(configured: &Configured, workspace: &Workspace, report: &Report) {
    if !configured.images_left_out.is_empty() {
        let names = configured.images_left_out.join(", ");
        report.note(format!(
            "Buildroot's own images are left out ({names}): `assemble` composes them; `--keep-images` keeps them"
        ));
    }
    configured.notes.iter().for_each(|note| report.note(note));
    configured.warnings.iter().for_each(|warning| report.warn(warning));
    for cause in effective::causes(configured.dropped.as_deref().unwrap_or_default()) {
        report.warn(cause);
    }
    if let Some(Edited { symbols, kept }) = &configured.edited {
        let (symbols, kept) = (symbols.join(", "), workspace.short(kept).display());
        report.warn(format!(
            "`.config` was edited by hand ({symbols}): it is made anew from the layers, and the edited one is kept as \
             `{kept}`; `skiff-image buildroot menuconfig` keeps changes in overrides/"
        ));
    }
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn text(name: &str, value: OsString) -> Result<String, ConfigureArgsError> {
    value.into_string().map_err(|value| ConfigureArgsError::NotText { name: name.into(), value })
}

fn epoch() -> Result<Option<i64>, ConfigureArgsError> {
    let Some(value) = variable("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let value = text("SOURCE_DATE_EPOCH", value)?;
    match super::args::timestamp(&value) {
        Ok(timestamp) => Ok(timestamp.0),
        Err(said) => Err(ConfigureArgsError::Epoch { value, said }),
    }
}

/// Returns the version of the project and the time of its sources.
fn release(workspace: &Workspace, epoch: Option<i64>, interrupt: &Interrupt) -> Result<Release> {
    let set = std::env::vars_os().filter(|(_, value)| !value.is_empty());
    let epoch = epoch.map(|epoch| (OsString::from(EPOCH_VARIABLE), OsString::from(epoch.to_string())));
    Ok(Release::for_project(workspace.root(), &set.chain(epoch).collect::<Environment>(), interrupt)?)
}

fn ccache(workspace: &Workspace) -> PathBuf {
    variable("BR2_CCACHE_DIR").map_or_else(|| workspace.ccache(), PathBuf::from)
}

/// Buildroot's make for a workspace, with the directory of downloads that all workspaces share.
fn make(workspace: &Workspace, source: &Source) -> Make {
    let downloads = variable(DOWNLOADS).unwrap_or_else(|| workspace.downloads().into_os_string());
    let environment = vec![(DOWNLOADS.into(), downloads)];
    Make { source: source.path.clone(), output: workspace.output(), environment }
}

/// A path as text for a document.
pub fn shown(path: &Path) -> String {
    path.display().to_string()
}
