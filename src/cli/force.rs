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
