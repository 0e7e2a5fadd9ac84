//! Check that the symbols which fragments of layers set exist in the source trees that will read them.
//!
//! Kconfig drops a setting it does not know without a word: a layer with a misspelt or removed symbol builds, and the
//! program or driver is missing on the device. So every symbol in `buildroot/`, `kernel/` and `uboot/` of a layer is
//! looked up in the Kconfig files of a Buildroot, Linux or U-Boot tree.

mod definitions;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use definitions::DefinedSymbols;

use super::Layer;
use super::fragment::{self, FOREIGN_HINT, FragmentError, Kind};
use crate::error::{Diagnostic, Io};
use crate::value::did_you_mean;

/// Shape of a source tree: its top file and its Kconfig files.
impl Kind {
    /// Prefix that Kconfig adds to a name that it reads; Buildroot has it in its files.
    fn omitted(self) -> &'static str {
        if self == Kind::Buildroot { "" } else { self.prefix() }
    }

    /// The file that makes a directory such a tree.
    fn top(self) -> &'static str {
        match self {
            Kind::Buildroot | Kind::Busybox => "Config.in",
            Kind::Kernel | Kind::UBoot => "Kconfig",
        }
    }

    fn defines_in(self, file: &str) -> bool {
        match self {
            Kind::Buildroot | Kind::Busybox => file.starts_with("Config."),
            Kind::Kernel | Kind::UBoot => file.starts_with("Kconfig"),
        }
    }
}

/// Problem of a line of a fragment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Problem {
    /// The tree does not define the symbol.
    Unknown {
        /// The symbol.
        symbol: String,
        /// The one with the nearest name.
        nearest: Option<String>,
    },
    /// The tree remembers the symbol, but no longer has it.
    Removed {
        /// The symbol.
        symbol: String,
        /// Text of the tree about it.
        says: String,
    },
    /// The symbol is one of another tree.
    Foreign {
        /// The symbol.
        symbol: String,
    },
    /// The line sets nothing.
    NoSetting,
}

/// A problem and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The fragment.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Tree whose symbols are meant.
    pub tree: Kind,
    /// Problem of the line.
    pub problem: Problem,
}

impl Finding {
    fn hint(&self) -> Option<String> {
        match &self.problem {
            Problem::Unknown { nearest, .. } => did_you_mean(nearest.as_ref()),
            Problem::Removed { says, .. } if says.is_empty() => None,
            Problem::Removed { says, .. } => Some(format!("{} says: {says}", self.tree)),
            Problem::Foreign { .. } => Some(FOREIGN_HINT.into()),
            Problem::NoSetting => Some("begin the line with the symbol, or with `#`".into()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file.display(), self.line, self.column)?;
        let (tree, prefix) = (self.tree, self.tree.prefix());
        match &self.problem {
            Problem::Unknown { symbol, .. } => write!(f, "{tree} has no symbol `{symbol}`")?,
            Problem::Removed { symbol, .. } => write!(f, "`{symbol}` was removed from {tree}")?,
            Problem::Foreign { symbol } => {
                write!(f, "`{symbol}` in {}/, where symbols begin with `{prefix}`", tree.directory())?;
            }
            Problem::NoSetting => write!(f, "neither `{prefix}NAME=value` nor a remark")?,
        }
        self.hint().map_or(Ok(()), |hint| write!(f, "\n  hint: {hint}"))
    }
}

/// Counts and findings of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Files that were read.
    pub fragments: usize,
    /// Lines that set a symbol, or try to.
    pub settings: usize,
    /// Problems, in the order of layers, files and lines.
    pub findings: Vec<Finding>,
}

/// Looks up every symbol that the layers set, as far as there are definitions of its tree.
pub fn check(layers: &[Layer], trees: &BTreeMap<Kind, DefinedSymbols>) -> Result<Checked, SymbolError> {
    let mut checked = Checked::default();
    for layer in layers {
        for (tree, definitions) in trees {
            for file in fragment::files(layer, tree.directory())? {
                let bytes = fs::read(&file).map_err(Io::on("read", &file))?;
                checked.add(*tree, definitions, &file, &String::from_utf8_lossy(&bytes));
            }
        }
    }
    Ok(checked)
}

impl Checked {
    fn add(&mut self, tree: Kind, definitions: &DefinedSymbols, file: &Path, text: &str) {
        self.fragments += 1;
        for line in fragment::lines(text) {
            self.settings += 1;
            if let Some(problem) = problem(tree, definitions, line.symbol) {
                let (line, column) = (line.number, line.column);
                self.findings.push(Finding { file: file.into(), line, column, tree, problem });
            }
        }
    }
}

fn problem(tree: Kind, definitions: &DefinedSymbols, symbol: Option<&str>) -> Option<Problem> {
    let Some(symbol) = symbol else { return Some(Problem::NoSetting) };
    let named = String::from(symbol);
    if tree.is_foreign(symbol) {
        return Some(Problem::Foreign { symbol: named });
    }
    if definitions.knows(symbol) {
        return None;
    }
    if let Some(says) = definitions.removed(symbol) {
        return Some(Problem::Removed { symbol: named, says: says.into() });
    }
    let nearest = nearest(symbol, definitions.known()).map(String::from);
    Some(Problem::Unknown { symbol: named, nearest })
}

/// The name with the smallest edit distance, if it is near enough to be meant. Symbols all begin alike, which is what
/// other measures go by.
pub fn nearest<'a>(symbol: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|known| (strsim::osa_distance(symbol, known), known));
    let (distance, known) = near.min()?;
    (distance <= (symbol.len() / 6).max(2)).then_some(known)
}

/// The first line of a file; nothing if there is no such file.
pub fn first_line(path: &Path) -> Result<Option<String>, SymbolError> {
    Ok(read_if_there(path)?.and_then(|text| text.lines().next().map(|line| line.trim().into())))
}

/// The version of a Buildroot source tree, as its `Makefile` names it.
pub fn buildroot_version(tree: &Path) -> Result<Option<String>, SymbolError> {
    let text = read_if_there(&tree.join("Makefile"))?.unwrap_or_default();
    let mut lines = text.lines();
    Ok(lines
        .find_map(|line| line.strip_prefix("export BR2_VERSION := "))
        .map(|version| version.trim().into()))
}

fn read_if_there(path: &Path) -> Result<Option<String>, SymbolError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Io::on("read", path)(error).into()),
    }
}

/// Reason why symbols are not all right, or could not be looked up.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum SymbolError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// The fragments cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fragment(#[from] FragmentError),
    /// A directory is not the top of a source tree.
    #[error("`{}` is not a source tree of {tree}: it has no `{}`", path.display(), tree.top())]
    #[diagnostic(hint = "give the directory that {tree} was unpacked to")]
    NoTree {
        /// Kind of tree that was wanted.
        tree: Kind,
        /// Directory that was given.
        path: PathBuf,
    },
    /// Some lines are wrong; they have been reported.
    #[error("{findings} of {settings} settings of the layers would be ignored")]
    #[diagnostic(hint = "correct the lines above: Kconfig drops them without a word")]
    Ignored {
        /// Number of settings that are wrong.
        findings: usize,
        /// Number of settings that were looked up.
        settings: usize,
    },
}
