//! Buildroot's `.config`: `BR2_X=y`, `BR2_X="text"`, `BR2_X=4`, `# BR2_X is not set`.
//!
//! Only lines that begin with a symbol count. Values that contain make expressions (`$(TOPDIR)`) are returned as
//! they are.

use std::collections::{BTreeMap, BTreeSet};

use crate::value::Arch;

/// The architecture symbols this program knows (`arch/Config.in`); of RISC-V only the 64-bit one.
const ARCHES: [(&str, Arch); 3] =
    [("BR2_arm", Arch::Arm), ("BR2_aarch64", Arch::Arm64), ("BR2_x86_64", Arch::X86_64)];

/// The symbols of a `.config` with their values; text without its quotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    symbols: BTreeMap<String, String>,
}

impl Config {
    /// Parses the text of a `.config`. The last assignment of a symbol counts, as in Kconfig.
    pub fn parse(text: &str) -> Config {
        let assignments = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = assignments.filter_map(|line| line.split_once('='));
        let symbols =
            pairs.map(|(symbol, value)| (symbol.trim().into(), unquote(value.trim_end()))).collect();
        Config { symbols }
    }

    /// Returns whether the symbol is `y`.
    pub fn is_set(&self, symbol: &str) -> bool {
        self.get(symbol) == Some("y")
    }

    /// The value; nothing if the symbol is not set.
    pub fn get(&self, symbol: &str) -> Option<&str> {
        self.symbols.get(symbol).map(String::as_str)
    }

    /// Symbols with another value in `other`, by name; one that is not set is as one that is not there.
    pub fn differing(&self, other: &Config) -> Vec<String> {
        let symbols: BTreeSet<&String> = self.symbols.keys().chain(other.symbols.keys()).collect();
        symbols.into_iter().filter(|symbol| self.get(symbol) != other.get(symbol)).cloned().collect()
    }

    /// The architecture the system is built for.
    pub fn arch(&self) -> Option<Arch> {
        if self.is_set("BR2_riscv") {
            return self.is_set("BR2_RISCV_64").then_some(Arch::Riscv64);
        }
        ARCHES.iter().find(|(symbol, _)| self.is_set(symbol)).map(|(_, arch)| *arch)
    }
}

/// The text between quotes, with `\"` and `\\` resolved as Kconfig writes them.
fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return value.into();
    };
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        text.extend(if char == '\\' { chars.next() } else { Some(char) });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_texts_and_architectures_are_read() {
        let config = Config::parse(
            "# Automatically generated\nBR2_aarch64=y\n# BR2_x86_64 is not set\nBR2_NAME=\"a \\\"b\\\" $(X)=1\"\nBR2_JLEVEL=0\n",
        );
        assert_eq!(config.arch(), Some(Arch::Arm64));
        assert_eq!(config.get("BR2_NAME"), Some("a \"b\" $(X)=1"));
        assert_eq!((config.get("BR2_JLEVEL"), config.get("BR2_x86_64")), (Some("0"), None));
        assert_eq!(Config::parse("BR2_riscv=y\nBR2_RISCV_64=y\n").arch(), Some(Arch::Riscv64));
        assert_eq!(Config::parse("BR2_riscv=y\n").arch(), None);
    }
}
