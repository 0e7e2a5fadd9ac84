//! Durations, for people.

use std::fmt;
use std::time::Duration;

/// A time that prints as `42 s`, `3 min 12 s` or `1 h 05 min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..60 => write!(f, "{seconds} s"),
            60..3600 => write!(f, "{} min {:02} s", seconds / 60, seconds % 60),
            _ => write!(f, "{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        let texts = [59, 60, 3599, 3600, 7499].map(|seconds| Span(Duration::from_secs(seconds)).to_string());
        assert_eq!(texts, ["59 s", "1 min 00 s", "59 min 59 s", "1 h 00 min", "2 h 04 min"]);
    }
}
