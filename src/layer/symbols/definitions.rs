//! Symbols that a source tree defines: `config NAME` and `menuconfig NAME` of all its Kconfig files.
//!
//! The files are found by their names (`Config.in*` and the like in Buildroot, `Kconfig*` elsewhere), not by following
//! `source` lines: those contain variables, and depend on the architecture.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::SymbolError;
use crate::error::Io;
use crate::layer::fragment::{Kind, is_symbol};

/// The file of Buildroot that defines what no longer exists, so that it can be reported.
const LEGACY: &str = "Config.in.legacy";

/// Symbols that a source tree defines.
#[derive(Clone, Debug, Default)]
pub struct DefinedSymbols {
    known: BTreeSet<String>,
    /// Symbols that were removed, with what the tree says about them.
    removed: BTreeMap<String, String>,
}

impl DefinedSymbols {
    /// Reads all Kconfig files below `directory`, which must be the top of a source tree.
    pub fn read(tree: Kind, directory: &Path) -> Result<DefinedSymbols, SymbolError> {
        if !directory.join(tree.top()).is_file() {
            return Err(SymbolError::NoTree { tree, path: directory.into() });
        }
        let mut definitions = DefinedSymbols::default();
        definitions.add(tree, directory)?;
        Ok(definitions)
    }

    /// Adds what the files of a directory define: an external tree of Buildroot, for example.
    pub fn add(&mut self, tree: Kind, directory: &Path) -> Result<(), SymbolError> {
        let mut open = vec![directory.to_path_buf()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory).map_err(Io::on("list", &directory))? {
                let entry = entry.map_err(Io::on("list", &directory))?;
                let kind = entry.file_type().map_err(Io::on("list", &directory))?;
                let name = entry.file_name();
                // Links are not followed: trees have some that lead in circles.
                if kind.is_dir() && !name.as_encoded_bytes().starts_with(b".") {
                    open.push(entry.path());
                } else if kind.is_file() && name.to_str().is_some_and(|name| tree.defines_in(name)) {
                    self.add_file(tree, &entry.path(), name == LEGACY)?;
                }
            }
        }
        Ok(())
    }

    fn add_file(&mut self, tree: Kind, path: &Path, legacy: bool) -> Result<(), SymbolError> {
        let bytes = fs::read(path).map_err(Io::on("read", path))?;
        let text = String::from_utf8_lossy(&bytes);
        for (symbol, prompt) in defined(&text) {
            let symbol = format!("{}{symbol}", tree.omitted());
            if legacy {
                self.removed.insert(symbol, prompt.unwrap_or_default().into());
            } else {
                self.known.insert(symbol);
            }
        }
        Ok(())
    }

    /// Returns whether a symbol can be set.
    pub(super) fn knows(&self, symbol: &str) -> bool {
        self.known.contains(symbol)
    }

    /// Text of the tree about a symbol that it no longer has.
    pub(super) fn removed(&self, symbol: &str) -> Option<&str> {
        self.removed.get(symbol).map(String::as_str)
    }

    /// Every symbol that can be set.
    pub(super) fn known(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(String::as_str)
    }
}

/// Names that a Kconfig file defines, with their prompts. The help of an entry can contain the word `config` too,
/// but not alone with one name.
fn defined(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut lines = text.lines().map(str::trim).peekable();
    std::iter::from_fn(move || {
        let name = lines.by_ref().find_map(name_of)?;
        let prompt = lines.peek().and_then(|line| line.split('"').nth(1));
        Some((name, prompt))
    })
}

fn name_of(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let keyword = words.next().filter(|word| matches!(*word, "config" | "menuconfig"));
    let name = keyword.and_then(|_| words.next()).filter(|name| is_symbol(name))?;
    let end = words.next().is_none_or(|word| word.starts_with('#'));
    end.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_lines_of_their_own() {
        let text = "menuconfig A\n\tbool \"the A\"\n\thelp\n\t  Use config options as\n\t  config you like\nconfig B # b\n";
        assert_eq!(defined(text).collect::<Vec<_>>(), [("A", Some("the A")), ("B", None)]);
    }
}
