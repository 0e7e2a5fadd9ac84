//! Words as a shell reads them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Returns a word of a shell; bytes that are no text are escaped as bash reads them.
pub fn quoted(value: &OsStr) -> String {
    match value.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => text.into(),
        Some(text) => format!("'{}'", text.replace('\'', r"'\''")),
        None => {
            format!("$'{}'", value.as_bytes().iter().map(|byte| format!("\\{byte:03o}")).collect::<String>())
        }
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ':' | ',' | '@' | '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_them_otherwise() {
        assert_eq!(quoted(OsStr::new("/a/b-c,d")), "/a/b-c,d");
        assert_eq!(quoted(OsStr::new("it's $x `y` #&")), r"'it'\''s $x `y` #&'");
        assert_eq!(quoted(OsStr::new("")), "''");
        assert_eq!(quoted(OsStr::from_bytes(b"a\xff")), r"$'\141\377'");
    }
}
