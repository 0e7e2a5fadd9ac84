//! Names of devices in settings.

use std::fmt;
use std::path::PathBuf;

/// A device by its path or by something that it or its filesystem carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    Path(PathBuf),
    Label(String),
    Uuid(String),
    PartUuid(String),
    PartLabel(String),
}

impl Spec {
    /// Reads `/dev/NAME` or `TAG=VALUE`.
    pub fn parse(text: &str) -> Option<Spec> {
        if text.starts_with("/dev/") {
            return Some(Spec::Path(text.into()));
        }
        let (tag, value) = text.split_once('=').filter(|(_, value)| !value.is_empty())?;
        let value = value.to_owned();
        Some(match tag {
            "LABEL" => Spec::Label(value),
            "UUID" => Spec::Uuid(value),
            "PARTUUID" => Spec::PartUuid(value),
            "PARTLABEL" => Spec::PartLabel(value),
            _ => return None,
        })
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spec::Path(path) => write!(f, "{}", path.display()),
            Spec::Label(value) => write!(f, "LABEL={value}"),
            Spec::Uuid(value) => write!(f, "UUID={value}"),
            Spec::PartUuid(value) => write!(f, "PARTUUID={value}"),
            Spec::PartLabel(value) => write!(f, "PARTLABEL={value}"),
        }
    }
}
