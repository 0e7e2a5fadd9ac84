//! Reasons why a setting is not effective, in words and for programs.

use std::fmt;

use serde::Serialize;

use crate::layer::merge::Assignment;
use crate::value::did_you_mean;

/// Reason why a setting is not effective.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Why {
    /// No file defines the symbol.
    Unknown {
        /// The one with the nearest name.
        nearest: Option<String>,
    },
    /// It was removed or renamed.
    Removed {
        /// Text of the tree about it.
        says: String,
        /// Symbols that it turns on in its place.
        instead: Vec<String>,
    },
    /// Something that it depends on does not hold.
    Unmet {
        /// The first part of its dependencies that does not hold.
        part: String,
        /// The first symbol of that part.
        symbol: String,
        /// The value of that symbol.
        value: String,
        /// The request that turned off what another one had turned on, if that is the reason.
        by: Option<Assignment>,
        /// Setting that would make it hold.
        remedy: Remedy,
    },
    /// Another member of its choice is chosen.
    Chosen {
        /// That member.
        winner: String,
        /// The request for it, if it was asked for.
        by: Option<Assignment>,
    },
    /// No other member of its choice was asked for.
    OnlyChoice,
    /// It is selected, and cannot be turned off.
    Selected {
        /// The symbols that are on and select it.
        by: Vec<String>,
    },
    /// The user is not asked: its value follows from other symbols.
    NoPrompt,
    /// The value has the wrong type.
    Invalid {
        /// Value that is expected.
        expects: &'static str,
    },
    /// The Kconfig files do not show it.
    Unexplained,
}

/// Setting that would turn on a symbol that others depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "symbols", rename_all = "kebab-case")]
pub enum Remedy {
    /// To set it.
    Set,
    /// It is asked for, and has a reason of its own.
    AskedFor,
    /// This symbol, which would select it, is asked for and has a reason of its own.
    Follows(String),
    /// One of these symbols; it cannot be set itself.
    SelectedBy(Vec<String>),
    /// Nothing simple.
    None,
}

impl Why {
    /// The symbol that is asked for and dropped, and that this setting is dropped with.
    pub(super) fn follows(&self) -> Option<&str> {
        match self {
            Why::Unmet { symbol, remedy: Remedy::AskedFor, .. } => Some(symbol),
            Why::Unmet { remedy: Remedy::Follows(symbol), .. } => Some(symbol),
            _ => None,
        }
    }

    /// The request that made it so.
    pub(super) fn by(&self) -> Option<&Assignment> {
        match self {
            Why::Chosen { by, .. } | Why::Unmet { by, .. } => by.as_ref(),
            _ => None,
        }
    }

    pub(super) fn hint(&self, symbol: &str) -> Option<String> {
        Some(match self {
            Why::Unknown { nearest } => did_you_mean(nearest.as_ref())?,
            Why::Removed { instead, .. } if instead.is_empty() => format!("remove `{symbol}`"),
            Why::Removed { instead, .. } => format!("set {} instead", list(instead)),
            Why::Unmet { by: Some(_), .. } => return None,
            Why::Unmet { symbol, remedy: Remedy::Set, .. } => format!("set `{symbol}` too"),
            Why::Unmet { symbol, remedy: Remedy::AskedFor, .. } => {
                format!("`{symbol}` is asked for, and is dropped too")
            }
            Why::Unmet { symbol, remedy: Remedy::Follows(lost), .. } => {
                format!("`{lost}`, which would select `{symbol}`, is asked for, and is dropped too")
            }
            Why::Unmet { symbol, remedy: Remedy::SelectedBy(by), .. } => {
                format!("`{symbol}` is selected by {}", list(by))
            }
            Why::Selected { by } => format!("turn off {} too", list(by)),
            Why::OnlyChoice => "set another member of the choice to `y`".into(),
            Why::NoPrompt => format!("set what selects `{symbol}` or what its defaults depend on"),
            Why::Unmet { .. } | Why::Chosen { .. } | Why::Invalid { .. } | Why::Unexplained => return None,
        })
    }
}

fn list(symbols: &[String]) -> String {
    symbols.iter().map(|symbol| format!("`{symbol}`")).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Unknown { .. } => f.write_str("no such symbol"),
            Why::Removed { says, .. } if says.is_empty() => f.write_str("it was removed"),
            Why::Removed { says, .. } => write!(f, "it was removed: {says}"),
            Why::Unmet { part, symbol, value, .. } if part == symbol => {
                write!(f, "it depends on `{symbol}`, which is `{value}`")
            }
            Why::Unmet { part, symbol, value, .. } => {
                write!(f, "it depends on `{part}`, and `{symbol}` is `{value}`")
            }
            Why::Chosen { winner, .. } => write!(f, "`{winner}` is chosen"),
            Why::OnlyChoice => f.write_str("one member of its choice must be on, and no other was asked for"),
            Why::Selected { by } => write!(f, "it is selected by {}", list(by)),
            Why::NoPrompt => f.write_str("its value follows from other symbols only"),
            Why::Invalid { expects } => write!(f, "{expects} is expected"),
            Why::Unexplained => f.write_str("the Kconfig files do not say why"),
        }?;
        self.by().map_or(Ok(()), |by| write!(f, ", as {} asks for", by.place()))
    }
}
