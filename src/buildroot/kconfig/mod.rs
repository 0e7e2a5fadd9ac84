//! A reader of Kconfig files: what symbols a source tree defines, what they depend on, what selects them, and of
//! which choice they are members.
//!
//! It follows `source` lines from the top, as Kconfig does, with variables in their paths. It computes no
//! configuration: that is Kconfig's, whose result it helps to explain.

mod expression;
mod reader;
mod statement;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub(super) use expression::{Expression, Unmet, Values, number};

/// The file of Buildroot that defines what it no longer has.
const LEGACY: &str = "Config.in.legacy";

/// The type of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// `y` or `n`.
    Bool,
    /// `y`, `m` or `n`.
    Tristate,
    /// Text in quotes.
    String,
    /// A decimal number.
    Int,
    /// A hexadecimal number.
    Hex,
}

impl Type {
    fn from_keyword(keyword: &str) -> Option<Type> {
        Some(match keyword {
            "bool" | "boolean" => Type::Bool,
            "tristate" => Type::Tristate,
            "string" => Type::String,
            "int" => Type::Int,
            "hex" => Type::Hex,
            _ => return None,
        })
    }

    /// Form of a value of this type.
    pub(crate) fn expects(self) -> &'static str {
        match self {
            Type::Bool => "`y` or `n`",
            Type::Tristate => "`y`, `m` or `n`",
            Type::String => "a text in quotes",
            Type::Int => "a decimal number without leading zeros",
            Type::Hex => "a hexadecimal number",
        }
    }
}

/// One definition of a symbol; a symbol can have several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Definition {
    /// Its type, if this definition gives it.
    pub kind: Option<Type>,
    /// Text that the user is asked; nothing if the value only follows from others.
    pub prompt: Option<String>,
    /// All that must hold for the user to be asked, from the outermost menu to the prompt.
    pub conditions: Vec<Rc<Expression>>,
    /// The choice it is a member of.
    pub choice: Option<usize>,
    /// Symbols that it selects.
    pub selects: Vec<String>,
    /// True if it is kept only to report that it was removed.
    pub legacy: bool,
    /// True if its value comes from the environment, and is in no `.config`.
    pub environment: bool,
}

/// Symbol that selects another one.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    /// The symbol that selects.
    pub symbol: String,
    /// Under which condition.
    pub condition: Option<Expression>,
}

/// Definitions of a source tree.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    symbols: BTreeMap<String, Vec<Definition>>,
    selectors: BTreeMap<String, Vec<Selector>>,
    /// Members of each choice.
    choices: Vec<Vec<String>>,
    /// Prefix of names in a `.config` that is not in the files.
    prefix: &'static str,
    missing: Vec<PathBuf>,
    files: usize,
}

impl Definitions {
    /// Reads Buildroot's tree at `directory` as it is configured in `output` (`O=`): the external trees that Buildroot
    /// noted there are read too.
    pub fn for_buildroot(directory: &Path, output: &Path) -> Definitions {
        let output = std::path::absolute(output).unwrap_or_else(|_| output.into());
        let variables = [("BR2_BASE_DIR".into(), output.display().to_string())];
        Definitions::read(directory, "Config.in", "", variables.into())
    }

    /// Reads the files from `directory/top` on. `prefix` (`CONFIG_`) is put in front of all names; `variables` are
    /// those of paths behind `source`. A file that cannot be read is passed over, see [`Definitions::missing`].
    pub fn read(
        directory: &Path,
        top: &str,
        prefix: &'static str,
        variables: BTreeMap<String, String>,
    ) -> Definitions {
        let mut definitions = Definitions { prefix, ..Definitions::default() };
        reader::Reader::new(directory, variables, &mut definitions).read(top);
        definitions
    }

    /// The definitions of a symbol; none if it is unknown.
    pub(crate) fn get(&self, symbol: &str) -> &[Definition] {
        self.symbols.get(symbol).map_or(&[], Vec::as_slice)
    }

    /// Symbols that select a symbol.
    pub(crate) fn selectors(&self, symbol: &str) -> &[Selector] {
        self.selectors.get(symbol).map_or(&[], Vec::as_slice)
    }

    /// The members of a choice, in order.
    pub(crate) fn members(&self, choice: usize) -> &[String] {
        &self.choices[choice]
    }

    /// All symbols that are not legacy.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        let current = self.symbols.iter().filter(|(_, all)| all.iter().any(|one| !one.legacy));
        current.map(|(symbol, _)| symbol.as_str())
    }

    /// Files behind `source` that could not be read.
    pub fn missing(&self) -> &[PathBuf] {
        &self.missing
    }

    /// Number of files that were read.
    pub fn files(&self) -> usize {
        self.files
    }

    /// A name of a file as it stands in a `.config`.
    pub(crate) fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}
