//! Texts that are signed: lines of a word, a space and a value, in one fixed order.
//!
//! Each value has one form, each line ends with a newline, and nothing else is accepted: two texts that mean the same
//! are the same bytes.

use skiff_disk::error::Diagnostic;

/// Why bytes are not a text of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Corrupt, hint = "copy the file again, or make it again", code = "bad-text")]
pub enum TextError {
    /// There are too many bytes.
    #[error("it has {found} bytes, {max} are the most")]
    TooLong {
        /// Bytes that there are.
        found: usize,
        /// Most bytes.
        max: usize,
    },
    /// A line has other bytes than printable ASCII.
    #[error("line {line} is not printable ASCII text that ends with a newline")]
    NotText {
        /// Number of the line, from 1.
        line: usize,
    },
    /// Another line was expected.
    #[error("line {line} is `{found}`, `{expected}` was expected")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What it is; empty behind the end.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// A value has another form.
    #[error("line {line}: `{word}` is `{value}`, not {expected}")]
    Value {
        /// Number of the line, from 1.
        line: usize,
        /// First word.
        word: &'static str,
        /// The value.
        value: String,
        /// Form that it must have.
        expected: &'static str,
    },
    /// There are too few or too many lines with a word.
    #[error("there are {found} lines with `{word}`, {min} to {max} are possible")]
    Count {
        /// The word.
        word: &'static str,
        /// Number of them.
        found: usize,
        /// Fewest.
        min: usize,
        /// Most.
        max: usize,
    },
    /// A value is there twice.
    #[error("line {line}: `{word} {value}` is there twice")]
    Twice {
        /// Number of the second one.
        line: usize,
        /// First word.
        word: &'static str,
        /// The value.
        value: String,
    },
}

/// The lines of a text that were not taken yet.
pub(crate) struct Lines<'a> {
    lines: std::iter::Peekable<std::str::Lines<'a>>,
    number: usize,
}

impl<'a> Lines<'a> {
    /// A text that begins with the line `first`, which tells what it is.
    pub(crate) fn new(bytes: &'a [u8], max: usize, first: &str) -> Result<Lines<'a>, TextError> {
        if bytes.len() > max {
            return Err(TextError::TooLong { found: bytes.len(), max });
        }
        let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n');
        let wrong = bytes.iter().position(|byte| !printable(byte));
        let wrong = wrong.or((bytes.last() != Some(&b'\n')).then_some(bytes.len()));
        let text = match (wrong, std::str::from_utf8(bytes)) {
            (None, Ok(text)) => text,
            (at, _) => {
                let before = &bytes[..at.unwrap_or_default()];
                return Err(TextError::NotText {
                    line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
                });
            }
        };
        let mut lines = Lines { lines: text.lines().peekable(), number: 0 };
        match lines.next() {
            Some(line) if line == first => Ok(lines),
            found => Err(lines.expected(first, found)),
        }
    }

    fn next(&mut self) -> Option<&'a str> {
        self.number += 1;
        self.lines.next()
    }

    fn expected(&self, expected: &str, found: Option<&str>) -> TextError {
        let found = found.unwrap_or_default().into();
        TextError::Line { line: self.number, found, expected: expected.into() }
    }

    /// The value of the next line, which has this word.
    pub(crate) fn one<T>(
        &mut self,
        word: &'static str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, TextError> {
        let line = self.next();
        let value = line.and_then(|line| value_of(line, word)).ok_or_else(|| self.expected(word, line))?;
        parse(value).ok_or_else(|| TextError::Value {
            line: self.number,
            word,
            value: value.into(),
            expected,
        })
    }

    /// The values of all next lines with this word; `min` to `max` of them, no two the `same`.
    pub(crate) fn many<T>(
        &mut self,
        word: &'static str,
        (min, max): (usize, usize),
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
        same: impl Fn(&T, &T) -> bool,
    ) -> Result<Vec<T>, TextError> {
        let mut values = Vec::new();
        while let Some(text) = self.lines.peek().and_then(|line| value_of(line, word)) {
            let value = self.one(word, expected, &parse)?;
            if values.iter().any(|before| same(before, &value)) {
                return Err(TextError::Twice { line: self.number, word, value: text.into() });
            }
            values.push(value);
        }
        match values.len() {
            found if found < min || found > max => Err(TextError::Count { word, found, min, max }),
            _ => Ok(values),
        }
    }

    /// Fails unless all lines were taken.
    pub(crate) fn end(mut self) -> Result<(), TextError> {
        match self.next() {
            None => Ok(()),
            line => Err(self.expected("", line)),
        }
    }
}

fn value_of<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.strip_prefix(word)?.strip_prefix(' ')
}

/// A number in the only form that is written: digits without leading zeros.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
