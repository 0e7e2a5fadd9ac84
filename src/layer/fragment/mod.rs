//! Fragments of layers: files with lines `SYMBOL=value` and `# SYMBOL is not set` that are merged into one request for
//! Kconfig, and the plain texts beside them (`cflags/`, `users/`).
//!
//! Every file of the directory whose name does not begin with a dot is read, in the order of the bytes of the names.
//! What SkiffOS' scripts stumble over (a directory among the files) or drop without a word (a symbol of another
//! program, text that is not UTF-8) is an error here. A line that sets nothing is only reported, see [`Ignored`].

mod line;
mod plain;
mod value;
mod variables;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Serialize, Serializer};

pub use line::{Line, lines};
pub use plain::{Plain, cflags, users};
pub use value::{Value, quoted};
pub use variables::FragmentVariables;

pub(crate) use line::is_symbol;

use super::Layer;
use crate::error::{Diagnostic, Io};

/// A program that is configured by fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Buildroot, with its external trees.
    Buildroot,
    /// Linux.
    Kernel,
    /// U-Boot.
    UBoot,
    /// BusyBox.
    Busybox,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Buildroot, Kind::Kernel, Kind::UBoot, Kind::Busybox];

    /// The directory of a layer that holds fragments of this kind.
    pub fn directory(self) -> &'static str {
        match self {
            Kind::Buildroot => "buildroot",
            Kind::Kernel => "kernel",
            Kind::UBoot => "uboot",
            Kind::Busybox => "busybox",
        }
    }

    /// Start of symbols in a fragment.
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Buildroot => "BR2_",
            Kind::Kernel | Kind::UBoot | Kind::Busybox => "CONFIG_",
        }
    }

    /// Returns whether the symbol is one of another program.
    pub(super) fn is_foreign(self, symbol: &str) -> bool {
        Kind::ALL.iter().any(|kind| kind.prefix() != self.prefix() && symbol.starts_with(kind.prefix()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Buildroot => "Buildroot",
            Kind::Kernel => "Linux",
            Kind::UBoot => "U-Boot",
            Kind::Busybox => "BusyBox",
        })
    }
}

/// A file that asks for settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Name of the layer it belongs to.
    pub layer: String,
    /// Path of the file.
    pub file: Arc<Path>,
    /// Contents of the file.
    pub text: String,
}

impl Fragment {
    /// Replaces the variables; lines keep their numbers.
    #[must_use]
    pub fn expand(mut self, variables: &FragmentVariables) -> Fragment {
        self.text = variables.replace(&self.text);
        self
    }
}

/// Reads the fragments of one kind, in the order of the layers.
pub fn read(layers: &[Layer], kind: Kind) -> Result<Vec<Fragment>, FragmentError> {
    let mut fragments = Vec::new();
    for layer in layers {
        for file in files(layer, kind.directory())? {
            let text = text(&file)?;
            reject_foreign(kind, &file, &text)?;
            fragments.push(Fragment { layer: layer.name.clone(), file: file.into(), text });
        }
    }
    Ok(fragments)
}

/// The files of a layer's directory in the order in which they are merged; none if there is no such directory.
pub(super) fn files(layer: &Layer, directory: &str) -> Result<Vec<PathBuf>, FragmentError> {
    let Some(directory) = layer.file(directory) else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for entry in fs::read_dir(&directory).map_err(Io::on("list", &directory))? {
        let entry = entry.map_err(Io::on("list", &directory))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            files.push(entry.path());
        }
    }
    files.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    match files.iter().find(|file| file.is_dir()) {
        Some(path) => Err(FragmentError::Directory { path: path.clone() }),
        None => Ok(files),
    }
}

/// A file that must be UTF-8.
pub(super) fn text(file: &Path) -> Result<String, FragmentError> {
    let bytes = fs::read(file).map_err(Io::on("read", file))?;
    String::from_utf8(bytes).map_err(|error| {
        let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let before = String::from_utf8_lossy(&bytes[..at]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        FragmentError::NotUtf8 { file: file.into(), line, column, byte: bytes[at] }
    })
}

fn reject_foreign(kind: Kind, file: &Path, text: &str) -> Result<(), FragmentError> {
    for Line { number: line, column, symbol, .. } in lines(text) {
        if let Some(symbol) = symbol.filter(|symbol| kind.is_foreign(symbol)) {
            return Err(FragmentError::Foreign {
                file: file.into(),
                line,
                column,
                kind,
                symbol: symbol.into(),
            });
        }
    }
    Ok(())
}

/// A line of a fragment that is no remark, and that Kconfig passes over. It is no error, because layers of SkiffOS
/// have some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ignored {
    /// The layer.
    pub layer: String,
    /// The fragment.
    #[serde(serialize_with = "shown")]
    pub file: Arc<Path>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Text of the line.
    pub text: String,
}

/// A path in a document: what is not UTF-8 is replaced.
fn shown<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: `{}` sets nothing", self.file.display(), self.line, self.column, self.text)
    }
}

/// Reason why fragments cannot be read.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum FragmentError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// A directory stands among the fragments.
    #[error("`{}` is a directory, where only files are read", path.display())]
    #[diagnostic(hint = "move its files one level up, or begin its name with a dot")]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// A file is not UTF-8.
    #[error("{}:{line}:{column}: byte {byte:#04x} is not UTF-8", file.display())]
    #[diagnostic(hint = "save the file as UTF-8, or remove the line")]
    NotUtf8 {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// The first that does not fit.
        byte: u8,
    },
    /// The symbol is one of another program.
    #[error(
        "{}:{line}:{column}: `{symbol}` in {}/, where symbols begin with `{}`",
        file.display(), kind.directory(), kind.prefix()
    )]
    #[diagnostic(hint = "{FOREIGN_HINT}")]
    Foreign {
        /// The fragment.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// Program that the fragment is for.
        kind: Kind,
        /// The symbol.
        symbol: String,
    },
}

/// Hint for a symbol in the wrong directory.
pub(super) const FOREIGN_HINT: &str = "Buildroot's symbols belong in buildroot/, those of Linux in kernel/, of U-Boot in uboot/, of BusyBox in busybox/";
