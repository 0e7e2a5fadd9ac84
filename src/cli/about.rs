//! Errors with what they are about in front, where their message does not say it.

use std::fmt;

use crate::error::{Diagnostic, Error, ErrorKind};

/// An error about a file or a medium that its own message does not name.
#[derive(Debug)]
struct About {
    what: String,
    error: Error,
}

/// The error with `what` in front, unless its message names that.
pub fn about(what: &str, error: Error) -> Error {
    match error.to_string().contains(what) {
        true => error,
        false => About { what: what.into(), error }.into(),
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.what, self.error)
    }
}

impl std::error::Error for About {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self.error.diagnostic())
    }
}

impl Diagnostic for About {
    fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    fn exit_code(&self) -> u8 {
        self.error.exit_code()
    }

    fn hint(&self) -> Option<String> {
        self.error.hint()
    }

    fn code(&self) -> Option<&'static str> {
        self.error.code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{TargetError, Verb};

    #[test]
    fn what_it_is_about_is_named_once() {
        let error = || {
            let (verb, target) = (Verb::Write, "/dev/sdz".into());
            Error::from(TargetError::TimedOut { verb, target, offset: 0, len: 512, seconds: 120 })
        };
        assert_eq!(about("/dev/sdz", error()).to_string(), error().to_string());
        let named = about("/dev/sdy", error());
        assert_eq!(named.to_string(), format!("`/dev/sdy`: {}", error()));
        assert_eq!(
            (named.kind(), named.hint(), named.code(), named.exit_code()),
            (error().kind(), error().hint(), error().code(), error().exit_code())
        );
    }
}
