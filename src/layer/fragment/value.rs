//! Values of symbols, as they are written in fragments and in `.config`.

use std::fmt;

use serde::Serialize;

/// A value as it is written: `y`, `m`, `n`, `4`, `0x40`, `"text"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Value(String);

impl Value {
    /// A value as it stands behind `=`. Kconfig looks at the first letter of a state and at what is between quotes,
    /// so what follows those (spaces, a remark) does not belong to the value.
    pub fn new(written: &str) -> Value {
        let written = written.trim_end();
        Value(match end_of_state(written).or_else(|| end_of_quotes(written)) {
            Some(end) => written[..end].into(),
            None => written.into(),
        })
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Meaning of the value: text without its quotes.
    pub fn text(&self) -> String {
        let inner = self.0.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        inner.map_or_else(|| self.0.clone(), unescaped)
    }

    /// Returns whether it turns a symbol off.
    pub fn is_off(&self) -> bool {
        self.0 == "n"
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn end_of_state(written: &str) -> Option<usize> {
    let mut chars = written.chars();
    let state = matches!(chars.next(), Some('y' | 'm' | 'n'));
    let end = chars.next().is_some_and(|next| next.is_whitespace() || next == '#');
    (state && end).then_some(1)
}

fn end_of_quotes(written: &str) -> Option<usize> {
    let mut escaped = false;
    let mut chars = written.strip_prefix('"')?.char_indices();
    let closing = chars.find(|(_, c)| {
        let closing = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        closing
    });
    closing.map(|(at, _)| at + 2)
}

fn unescaped(inner: &str) -> String {
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        text.extend(if char == '\\' { chars.next() } else { Some(char) });
    }
    text
}

/// A text as the value of a symbol: in quotes, with `\` before quotes and `\`.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// A text as a part of a value that stands in quotes.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_kconfig_stops_reading() {
        let read = |written: &str| (Value::new(written).to_string(), Value::new(written).text());
        for (written, value, text) in [
            ("y # remark", "y", "y"),
            ("yes", "yes", "yes"),
            ("\"a \\\"b\\\" # c\" # d", "\"a \\\"b\\\" # c\"", "a \"b\" # c"),
            ("\"open", "\"open", "\"open"),
            ("0x40  ", "0x40", "0x40"),
            ("", "", ""),
        ] {
            assert_eq!(read(written), (value.into(), text.into()), "{written}");
        }
        assert_eq!(Value::new(&quoted(r#"a\"b"#)).text(), r#"a\"b"#);
    }
}
