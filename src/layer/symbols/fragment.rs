//! Fragments: files of lines `SYMBOL=value`, as the kernel's `merge_config.sh` reads them.

/// A line of a fragment that is not empty and not only a remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// From 1.
    pub number: usize,
    /// From 1, in characters: where the symbol, or what stands in its place, begins.
    pub column: usize,
    /// The symbol that is set; nothing if the line sets none.
    pub symbol: Option<&'a str>,
}

/// The lines of a fragment. `# SYMBOL is not set` sets a symbol, any other `#` is a remark. An indented assignment
/// sets nothing: `merge_config.sh` looks at the beginning of a line only.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let numbered = text.lines().enumerate();
    numbered.filter_map(|(index, line)| {
        read(line).map(|(column, symbol)| Line { number: index + 1, column, symbol })
    })
}

fn read(line: &str) -> Option<(usize, Option<&str>)> {
    if let Some(remark) = line.trim_start().strip_prefix('#') {
        let symbol = remark.strip_prefix(' ')?.trim_end().strip_suffix(" is not set")?;
        let named = symbol.starts_with("BR2_") || symbol.starts_with("CONFIG_");
        return (named && is_symbol(symbol)).then_some((3, Some(symbol)));
    }
    let first = line.chars().position(|c| !c.is_whitespace())?;
    let symbol = line.split_once('=').map(|(symbol, _)| symbol).filter(|symbol| is_symbol(symbol));
    Some((first + 1, symbol))
}

/// Whether a text can be the name of a symbol.
pub(super) fn is_symbol(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_and_unset_symbols_are_found() {
        let text = "# a remark\nBR2_A=y\n\n# BR2_B is not set\n  BR2_C=y\nBR2_D\n#BR2_E is not set\n# swap is not set\n";
        let found: Vec<_> = lines(text).map(|line| (line.number, line.column, line.symbol)).collect();
        assert_eq!(found, [(2, 1, Some("BR2_A")), (4, 3, Some("BR2_B")), (5, 3, None), (6, 1, None)]);
    }
}
