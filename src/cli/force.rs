//! Words of `--force`: what a person knows better about a device or about a ready image.

use std::fmt;
use std::str::FromStr;

use crate::device;
use crate::source;

/// A refusal that is overridden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Of a device.
    Device(device::Override),
    /// Of a ready image.
    Image(source::Override),
}

/// A word that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{device}, and for ready images {}", images())]
pub struct ParseForceError {
    device: device::ParseOverrideError,
}

/// Reason why an overridden objection is an error.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Refused, hint = "leave it out, if this is the right image")]
pub enum ForceError {
    /// There is no image.
    #[error("`--force {0}` is about a ready image, and none is copied")]
    NoImage(source::Override),
    /// The image is as it should be.
    #[error("`--force {0}` overrides nothing: nothing of the kind is wrong with the image")]
    Nothing(source::Override),
    /// The device is not in the state that is overridden.
    #[error("`--force {}` overrides nothing: no device that was given {}", .0, .0.condition())]
    #[diagnostic(hint = "leave it out, if this is the right device")]
    NothingOfDevice(device::Override),
}

fn images() -> String {
    let words = source::Override::ALL.map(|word| format!("`{word}`"));
    words.join(", ")
}

impl FromStr for Force {
    type Err = ParseForceError;

    fn from_str(text: &str) -> Result<Force, ParseForceError> {
        match text.parse() {
            Ok(word) => Ok(Force::Image(word)),
            Err(_) => text.parse().map(Force::Device).map_err(|device| ParseForceError { device }),
        }
    }
}

impl fmt::Display for Force {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Force::Device(word) => word.fmt(f),
            Force::Image(word) => word.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Diagnostic;

    #[test]
    fn a_word_that_overrides_nothing_names_the_state_that_it_is_for() {
        let conditions = [
            ("mounted", "is mounted"),
            ("swap", "has a partition that is used as swap space"),
            ("held", "is a part of something else"),
            ("internal", "is internal"),
            ("large", "is larger than usual"),
        ];
        for (word, condition) in conditions {
            let error = ForceError::NothingOfDevice(word.parse().expect("a word"));
            let message = format!("`--force {word}` overrides nothing: no device that was given {condition}");
            assert_eq!(error.to_string(), message);
            assert_eq!(error.hint().as_deref(), Some("leave it out, if this is the right device"));
        }
    }
}
