//! Boards that no medium can be composed for: they boot from flash that only their maker's tools reach. A
//! descriptor with `refused` says so instead of how a medium is laid out.

use serde::{Deserialize, Serialize};
use toml::de::DeTable;

use super::error::toml_error;
use super::{BoardError, DescriptorSource};
use crate::value::Arch;

/// A descriptor with `refused`: all that stands in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "refusal")]
pub struct Refusal {
    /// One line for `boards list`.
    pub description: String,
    /// Known facts, in words.
    pub status: String,
    /// Architectures of the board.
    pub arch: Vec<Arch>,
    /// Reason why there is no medium, as a sentence without a full stop.
    pub refused: String,
    /// Advice: what to do instead.
    pub hint: String,
}

impl Refusal {
    /// The refusal that a descriptor is, if it is one; a descriptor that does not parse is none.
    pub fn read(source: DescriptorSource<'_>) -> Result<Option<Refusal>, BoardError> {
        let refused = DeTable::parse(source.text).is_ok_and(|table| table.get_ref().contains_key("refused"));
        if !refused {
            return Ok(None);
        }
        toml::from_str(source.text).map(Some).map_err(|error| toml_error(source.file, source.text, &error))
    }
}
