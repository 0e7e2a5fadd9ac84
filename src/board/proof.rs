//! Proof of a board's claims, as its descriptor states it; the project's tests hold descriptors to it.
//!
//! - `L1`: an image of made-up files is read back by other programs, and its plan is the expected one;
//! - `L2:PACKAGE`: so is one with the board's real boot loader, from that Debian package;
//! - `L3:MACHINE`: the medium boots in an emulator, as that machine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// Composed from made-up files and read back.
    Layout,
    /// Composed with the boot loader of this Debian package.
    BootLoader(String),
    /// Booted in an emulator, as this machine.
    Boot(String),
}

/// Reason why a text is no claim.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no level of proof: use `L1`, `L2:PACKAGE` or `L3:MACHINE`")]
pub struct ParseProofError(pub String);

impl Proof {
    /// `L1`, `L2` or `L3`.
    pub fn level(&self) -> &'static str {
        match self {
            Proof::Layout => "L1",
            Proof::BootLoader(_) => "L2",
            Proof::Boot(_) => "L3",
        }
    }

    /// By what, where the level is not all there is to say.
    pub fn by(&self) -> Option<&str> {
        match self {
            Proof::Layout => None,
            Proof::BootLoader(by) | Proof::Boot(by) => Some(by),
        }
    }
}

impl FromStr for Proof {
    type Err = ParseProofError;

    fn from_str(text: &str) -> Result<Proof, ParseProofError> {
        match text.split_once(':') {
            None if text == "L1" => Ok(Proof::Layout),
            Some(("L2", by)) if !by.trim().is_empty() => Ok(Proof::BootLoader(by.trim().into())),
            Some(("L3", by)) if !by.trim().is_empty() => Ok(Proof::Boot(by.trim().into())),
            _ => Err(ParseProofError(text.into())),
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.level())?;
        self.by().map_or(Ok(()), |by| write!(f, ":{by}"))
    }
}

impl Serialize for Proof {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Proof {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Proof {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "proof".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "`L1`, `L2:PACKAGE` or `L3:MACHINE`.",
            "type": "string",
            "pattern": r"^(L1|L[23]:.*\S.*)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_round_trip_and_others_are_refused() {
        for text in ["L1", "L2:u-boot-sunxi", "L3:orangepi-pc"] {
            assert_eq!(text.parse::<Proof>().unwrap().to_string(), text);
        }
        for text in ["L2", "L3: ", "L1:x", "L4:x", ""] {
            let message = text.parse::<Proof>().unwrap_err().to_string();
            assert_eq!(
                message,
                format!("`{text}` is no level of proof: use `L1`, `L2:PACKAGE` or `L3:MACHINE`")
            );
        }
    }
}
