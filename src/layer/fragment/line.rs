//! Lines of a fragment, as Kconfig and the kernel's `merge_config.sh` read them.

use super::Value;

/// A line of a fragment that is not empty and not only a remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// From 1.
    pub number: usize,
    /// From 1, in characters: where the symbol, or what stands in its place, begins.
    pub column: usize,
    /// The symbol that is set; nothing if the line sets none.
    pub symbol: Option<&'a str>,
    /// Value of the symbol; `n` for a symbol that "is not set".
    pub value: Value,
}

/// The lines of a fragment. `# SYMBOL is not set` sets a symbol, any other `#` is a remark. A line that is indented
/// sets nothing: Kconfig looks at the beginning of a line only.
pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let (column, symbol, value) = read(line)?;
        Some(Line { number: index + 1, column, symbol, value: Value::new(value) })
    })
}

/// Column, symbol and value.
fn read(line: &str) -> Option<(usize, Option<&str>, &str)> {
    let indent = line.chars().position(|c| !c.is_whitespace())?;
    if let Some(remark) = line.trim_start().strip_prefix('#') {
        let symbol = remark.strip_prefix(' ')?.trim_end().strip_suffix(" is not set")?;
        let named = symbol.starts_with("BR2_") || symbol.starts_with("CONFIG_");
        let symbol = Some(symbol).filter(|symbol| named && is_symbol(symbol))?;
        return Some(if indent == 0 { (3, Some(symbol), "n") } else { (indent + 1, None, "") });
    }
    let assignment = line.split_once('=').filter(|(symbol, _)| is_symbol(symbol));
    let set = assignment.filter(|(symbol, _)| symbol.starts_with("BR2_") || symbol.starts_with("CONFIG_"));
    Some((indent + 1, set.map(|(symbol, _)| symbol), set.map_or("", |(_, value)| value)))
}

/// Returns whether a text can be the name of a symbol.
pub(crate) fn is_symbol(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_and_unset_symbols_are_found() {
        let text = "# a remark\nBR2_A=y\n\n# BR2_B is not set\n  BR2_C=y\nBR2_D\n#BR2_E is not set\n# swap is not set\n  \
                    # BR2_F is not set\nPCIE=y\r\nCONFIG_G=\"a=b\" \r\n";
        let found: Vec<_> =
            lines(text).map(|line| (line.number, line.column, line.symbol, line.value.to_string())).collect();
        let wanted = [
            (2, 1, Some("BR2_A"), "y"),
            (4, 3, Some("BR2_B"), "n"),
            (5, 3, None, ""),
            (6, 1, None, ""),
            (9, 3, None, ""),
            (10, 1, None, ""),
            (11, 1, Some("CONFIG_G"), "\"a=b\""),
        ];
        assert_eq!(found, wanted.map(|(line, column, symbol, value)| (line, column, symbol, value.into())));
    }
}
