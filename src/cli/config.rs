//! `config explain|list|diff`.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::args::LayerArgs;
use crate::buildroot::configure::{WHO, is_replaced};
use crate::buildroot::dot_config::{DotConfig, source_tree};
use crate::buildroot::effective::{self, Derived, Dropped};
use crate::buildroot::kconfig::Definitions;
use crate::error::{Io, Result};
use crate::layer::fragment::{self, Fragment, FragmentVariables, Kind};
use crate::layer::merge::{self, Assignment, Merged, Setting};
use crate::layer::symbols::nearest;
use crate::report::Report;

#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Tell who set a symbol, who won, and what Kconfig made of it.
    Explain {
        /// BR2_NAME, or CONFIG_NAME of Linux (of another program with its flag).
        symbol: String,
        #[command(flatten)]
        request: RequestArgs,
    },
    /// List all settings that the layers ask for, with who won.
    List {
        #[command(flatten)]
        request: RequestArgs,
    },
    /// List the settings that have another value in the workspace than was asked for, with the reason.
    Diff {
        #[command(flatten)]
        request: RequestArgs,
    },
}

#[derive(Debug, Args)]
pub struct RequestArgs {
    /// Settings of Linux.
    #[arg(long, group = "kind")]
    kernel: bool,

    /// Settings of U-Boot.
    #[arg(long, group = "kind")]
    uboot: bool,

    /// Settings of BusyBox.
    #[arg(long, group = "kind")]
    busybox: bool,

    /// Buildroot source tree whose Kconfig files show why; without it the one that the workspace was configured from.
    #[arg(long, value_name = "DIR")]
    buildroot: Option<PathBuf>,

    #[command(flatten)]
    layers: LayerArgs,
}

/// Mistake in what was asked.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Input)]
enum ConfigError {
    #[error("no layer of the chain sets `{symbol}`")]
    #[diagnostic(suggestion = nearest, hint = "`skiff-image config list` shows all settings")]
    NotSet { symbol: String, nearest: Option<String> },
    #[error("{kind} is not configured in the workspace `{workspace}`")]
    #[diagnostic(hint("{}", how_to_configure(kind)))]
    NotConfigured { kind: Kind, workspace: String },
    #[error("it is not known which Buildroot the workspace `{workspace}` was configured from")]
    #[diagnostic(hint = "give its source tree by `--buildroot`")]
    NoTree { workspace: String },
}

fn how_to_configure(kind: &Kind) -> &'static str {
    match kind {
        Kind::Buildroot => "run `skiff-image configure` first",
        _ => "it is configured when it is built: `skiff-image compile`",
    }
}

impl ConfigVerb {
    pub fn run(self, report: &Report) -> Result<()> {
        match self {
            ConfigVerb::Explain { symbol, request } => request.explain(&symbol, report),
            ConfigVerb::List { request } => {
                let merged = request.merged(request.kind(), report)?;
                let settings: Vec<&Setting> = merged.settings().collect();
                report.document(&settings, Listed(&settings));
                Ok(())
            }
            ConfigVerb::Diff { request } => request.diff(report),
        }
    }
}

impl RequestArgs {
    fn kind(&self) -> Kind {
        match (self.kernel, self.uboot, self.busybox) {
            (true, ..) => Kind::Kernel,
            (_, true, _) => Kind::UBoot,
            (.., true) => Kind::Busybox,
            _ => Kind::Buildroot,
        }
    }

    /// Returns the tree that a symbol belongs to: without a flag, `CONFIG_` is that of Linux.
    fn kind_of(&self, symbol: &str) -> Kind {
        match self.kind() {
            Kind::Buildroot if symbol.starts_with(Kind::Kernel.prefix()) => Kind::Kernel,
            kind => kind,
        }
    }

    /// Returns what the layers ask for, and what the last configure added to that.
    fn merged(&self, kind: Kind, report: &Report) -> Result<Merged> {
        let layers = self.layers.selection().required()?.1.into_layers();
        let of_layer = |fragment: Fragment| {
            let layer = layers.iter().find(|layer| layer.name == fragment.layer);
            let path = layer.and_then(|layer| std::path::absolute(&layer.path).ok()).unwrap_or_default();
            fragment.expand(&FragmentVariables::default().with_layer(&path.to_string_lossy()))
        };
        let fragments = fragment::read(&layers, kind)?;
        let mut merged = Merged::from_fragments(&fragments.into_iter().map(of_layer).collect::<Vec<_>>());
        for ignored in merged.ignored() {
            report.warn(ignored);
        }
        if kind == Kind::Buildroot {
            merged.append(WHO, &self.added()?);
        }
        Ok(merged)
    }

    /// Returns what the last configure added for the hand-off; nothing if there was none.
    fn added(&self) -> Result<String> {
        let request = self
            .layers
            .selection()
            .below(format!("workspaces/.config_{}/buildroot/config", self.layers.selection().workspace()));
        match std::fs::read_to_string(&request) {
            Ok(text) => Ok(merge::appended(&text, WHO).unwrap_or_default().into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(Io::on("read", &request)(error).into()),
        }
    }

    fn output(&self) -> PathBuf {
        self.layers.selection().below(format!("workspaces/{}", self.layers.selection().workspace()))
    }

    fn definitions(&self, configured: &DotConfig, kind: Kind) -> Option<Definitions> {
        let tree = self.buildroot.clone().or_else(|| source_tree(&self.output()));
        configured.definitions(kind, tree.as_deref())
    }

    fn explain(&self, symbol: &str, report: &Report) -> Result<()> {
        let kind = self.kind_of(symbol);
        let merged = self.merged(kind, report)?;
        let configured = DotConfig::find(&self.output(), kind)?;
        let definitions = configured.as_ref().and_then(|configured| self.definitions(configured, kind));
        let effective = configured.as_ref().map(|configured| Effective {
            file: configured.file.display().to_string(),
            value: configured.config.get(symbol).map(String::from),
        });
        let setting = merged.setting(symbol);
        let known = effective.as_ref().is_some_and(|effective| effective.value.is_some());
        if setting.is_none() && !known {
            let requested = merged.settings().map(|setting| setting.symbol.as_str());
            let defined = definitions.iter().flat_map(Definitions::symbols);
            let nearest = nearest(symbol, requested.chain(defined).filter(|known| *known != symbol));
            return Err(
                ConfigError::NotSet { symbol: symbol.into(), nearest: nearest.map(String::from) }.into()
            );
        }
        let difference =
            configured.as_ref().zip(definitions.as_ref()).and_then(|(configured, definitions)| {
                effective::explain(&merged, symbol, &configured.config, definitions)
            });
        let derived = configured.as_ref().zip(definitions.as_ref()).filter(|_| setting.is_none());
        let derived = derived.and_then(|(configured, definitions)| {
            effective::derived(&merged, symbol, &configured.config, definitions)
        });
        let explanation = Explanation {
            symbol,
            derived,
            assignments: setting.map(|setting| setting.assignments().collect()).unwrap_or_default(),
            effective,
            hint: difference.as_ref().and_then(Dropped::hint),
            difference,
        };
        report.document(&explanation, explanation.to_string().trim_end());
        Ok(())
    }

    fn diff(&self, report: &Report) -> Result<()> {
        let (kind, workspace) = (self.kind(), self.layers.selection().workspace());
        let merged = self.merged(kind, report)?;
        let Some(configured) = DotConfig::find(&self.output(), kind)? else {
            return Err(ConfigError::NotConfigured { kind, workspace }.into());
        };
        let Some(definitions) = self.definitions(&configured, kind) else {
            return Err(ConfigError::NoTree { workspace }.into());
        };
        let mut dropped = effective::compare(&merged, &configured.config, &definitions);
        // Where fragments and patches are is said for programs that are not built, too.
        dropped.retain(|dropped| dropped.requested.layer != WHO && !is_replaced(dropped));
        report.document(&dropped, Differences { dropped: &dropped, settings: merged.settings().count() });
        Ok(())
    }
}

#[derive(Serialize)]
struct Explanation<'a> {
    symbol: &'a str,
    /// In order; the last one counts.
    assignments: Vec<&'a Assignment>,
    /// Nothing if the program is not configured yet.
    effective: Option<Effective>,
    /// Origin of a value that no layer asks for.
    derived: Option<Derived>,
    /// Nothing if what was asked for is effective.
    difference: Option<Dropped>,
    hint: Option<String>,
}

#[derive(Serialize)]
struct Effective {
    file: String,
    /// Nothing if the symbol is not in the file.
    value: Option<String>,
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.symbol)?;
        if self.assignments.is_empty() {
            writeln!(f, "  no layer sets it")?;
        }
        for (index, assignment) in self.assignments.iter().enumerate() {
            let Assignment { value, layer, .. } = assignment;
            let wins = if index + 1 == self.assignments.len() { "wins" } else { "overridden" };
            writeln!(f, "  {}: {value} ({layer}, {wins})", assignment.place())?;
        }
        match &self.effective {
            None => writeln!(f, "  not configured yet")?,
            Some(Effective { file, value: Some(value) }) => writeln!(f, "  {file}: {value} (effective)")?,
            Some(Effective { file, value: None }) => writeln!(f, "  {file}: not set (effective)")?,
        }
        if let Some(derived) = &self.derived {
            writeln!(f, "because {derived}")?;
        }
        let Some(difference) = &self.difference else { return Ok(()) };
        writeln!(f, "because {}", difference.why)?;
        self.hint.as_ref().map_or(Ok(()), |hint| writeln!(f, "  hint: {hint}"))
    }
}

struct Listed<'a>(&'a [&'a Setting]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for setting in self.0 {
            let Setting { symbol, winner, overridden } = setting;
            write!(f, "{symbol}={} ({}", winner.value, winner.place())?;
            match overridden.len() {
                0 => writeln!(f, ")")?,
                before => writeln!(f, ", {before} overridden)")?,
            }
        }
        write!(f, "{} settings", self.0.len())
    }
}

struct Differences<'a> {
    dropped: &'a [Dropped],
    settings: usize,
}

impl fmt::Display for Differences<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for dropped in self.dropped {
            writeln!(f, "{dropped}")?;
        }
        write!(f, "{} of {} settings are not effective", self.dropped.len(), self.settings)
    }
}
