//! What Kconfig made of what was asked for: every symbol that has another value than the last fragment that set it
//! wanted, and why.
//!
//! Kconfig drops a setting without a word when it does not know the symbol, when a dependency does not hold, when
//! another member of a choice was set later, when another symbol selects it, and when the value has the wrong type.

use std::fmt;

use serde::Serialize;

use super::config::Config;
use super::kconfig::{Definition, Definitions, Type, Unmet, Values, number};
use crate::layer::merge::{Assignment, Merged, Setting};
use crate::layer::symbols::nearest;

/// A setting that did not become effective.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// The symbol.
    pub symbol: String,
    /// What was asked for, and where.
    pub requested: Assignment,
    /// What Kconfig made of it; nothing if the symbol is not in the `.config`.
    pub effective: Option<String>,
    /// Why, as far as the Kconfig files tell.
    pub why: Why,
}

impl Dropped {
    /// Whether the request itself wants it so: it sets another member of the same choice later.
    pub fn is_override(&self) -> bool {
        matches!(self.why, Why::Chosen { by: Some(_), .. })
    }

    /// What can be done.
    pub fn hint(&self) -> Option<String> {
        self.why.hint(&self.symbol)
    }
}

/// Why a setting is not effective.
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
        /// What the tree says about it.
        says: String,
        /// What it turns on in its place.
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
    },
    /// Another member of its choice is chosen.
    Chosen {
        /// Which.
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
        /// What is expected.
        expects: &'static str,
    },
    /// The Kconfig files do not tell.
    Unexplained,
}

/// All settings of `request` whose value in `config` is another one, by symbol. A symbol that is asked to be off may
/// be missing in `config`, an empty text too; numbers are compared as numbers. Symbols that exist only to tell that
/// they were removed are listed even if they are effective, because Buildroot refuses to build with them.
pub fn compare(request: &Merged, config: &Config, definitions: &Definitions) -> Vec<Dropped> {
    let comparison = Comparison { request, config, definitions };
    request.settings().filter_map(|setting| comparison.dropped(setting)).collect()
}

/// Why one symbol that is asked for has another value, if it has.
pub fn explain(
    request: &Merged,
    symbol: &str,
    config: &Config,
    definitions: &Definitions,
) -> Option<Dropped> {
    Comparison { request, config, definitions }.dropped(request.setting(symbol)?)
}

struct Comparison<'a> {
    request: &'a Merged,
    config: &'a Config,
    definitions: &'a Definitions,
}

impl Values for Comparison<'_> {
    fn value(&self, symbol: &str) -> Option<String> {
        let symbol = self.definitions.named(symbol);
        let environment = self.definitions.of(&symbol).iter().any(|definition| definition.environment);
        match self.config.get(&symbol) {
            None if environment => None,
            value => Some(value.unwrap_or_default().into()),
        }
    }
}

impl Comparison<'_> {
    fn dropped(&self, setting: &Setting) -> Option<Dropped> {
        let (symbol, requested) = (&setting.symbol, &setting.winner);
        let effective = self.config.get(symbol);
        let why = match self.removed(symbol) {
            Some(removed) if is_wanted(requested) => removed,
            _ if is_satisfied(requested, effective) => return None,
            _ => self.why(symbol, requested),
        };
        let (symbol, requested) = (symbol.clone(), requested.clone());
        Some(Dropped { symbol, requested, effective: effective.map(String::from), why })
    }

    fn why(&self, symbol: &str, requested: &Assignment) -> Why {
        let definitions = self.definitions.of(symbol);
        if definitions.is_empty() {
            let nearest = nearest(symbol, self.definitions.symbols()).map(String::from);
            return Why::Unknown { nearest };
        }
        if let Some(invalid) = invalid(definitions, requested) {
            return invalid;
        }
        if requested.value.is_off()
            && let Some(forced) = self.forced(symbol, definitions)
        {
            return forced;
        }
        self.unmet(definitions)
            .or_else(|| self.chosen(symbol, definitions))
            .or_else(|| no_prompt(definitions))
            .unwrap_or(Why::Unexplained)
    }

    /// A symbol whose only definitions are there to tell that it is gone.
    fn removed(&self, symbol: &str) -> Option<Why> {
        let definitions = self.definitions.of(symbol);
        let legacy = definitions.first().filter(|_| definitions.iter().all(|one| one.legacy))?;
        let instead = legacy.selects.iter().filter(|name| !name.ends_with("_LEGACY")).cloned().collect();
        Some(Why::Removed { says: legacy.prompt.clone().unwrap_or_default(), instead })
    }

    /// What keeps a symbol on.
    fn forced(&self, symbol: &str, definitions: &[Definition]) -> Option<Why> {
        let is_on = |symbol: &str| matches!(self.config.get(symbol), Some("y" | "m"));
        let all = self.definitions.selectors(symbol).iter();
        let active = all.filter(|selector| {
            is_on(&selector.symbol)
                && selector.condition.as_ref().is_none_or(|condition| condition.holds(self))
        });
        let mut by: Vec<String> = active.map(|selector| selector.symbol.clone()).collect();
        by.sort();
        by.dedup();
        let member = definitions.iter().any(|definition| definition.choice.is_some());
        match by.is_empty() {
            false => Some(Why::Selected { by }),
            true => member.then_some(Why::OnlyChoice),
        }
    }

    /// What does not hold, if no definition has all it depends on.
    fn unmet(&self, definitions: &[Definition]) -> Option<Why> {
        let unmet = definitions
            .iter()
            .map(|definition| definition.conditions.iter().find_map(|condition| condition.unmet(self)));
        let Unmet { part, symbol, value } = unmet.collect::<Option<Vec<_>>>()?.into_iter().next()?;
        let named = self.definitions.named(&symbol);
        let part = if part == symbol { named.clone() } else { part };
        Some(Why::Unmet { part, symbol: named, value })
    }

    /// The other member of a choice that is on.
    fn chosen(&self, symbol: &str, definitions: &[Definition]) -> Option<Why> {
        let choice = definitions.iter().find_map(|definition| definition.choice)?;
        let mut others = self.definitions.members(choice).iter().filter(|member| *member != symbol);
        let winner = others.find(|member| self.config.is_set(member))?.clone();
        let by = self.request.setting(&winner).map(|setting| setting.winner.clone());
        Some(Why::Chosen { by: by.filter(is_wanted), winner })
    }
}

/// Whether something is asked to be there.
fn is_wanted(requested: &Assignment) -> bool {
    !requested.value.is_off() && !requested.value.text().is_empty()
}

fn is_satisfied(requested: &Assignment, effective: Option<&str>) -> bool {
    let Some(effective) = effective else { return !is_wanted(requested) };
    let requested = requested.value.text();
    requested == effective
        || requested == "n" && effective.is_empty()
        || number(&requested).is_some_and(|value| number(effective) == Some(value))
}

fn invalid(definitions: &[Definition], requested: &Assignment) -> Option<Why> {
    let kind = definitions.iter().find_map(|definition| definition.kind)?;
    let value = requested.value.as_str();
    let fits = match kind {
        Type::Bool => matches!(value, "y" | "n"),
        Type::Tristate => matches!(value, "y" | "m" | "n"),
        Type::String => value.starts_with('"'),
        Type::Int => is_decimal(value),
        Type::Hex => i64::from_str_radix(value.trim_start_matches("0x").trim_start_matches("0X"), 16).is_ok(),
    };
    (!fits).then(|| Why::Invalid { expects: kind.expects() })
}

/// Kconfig takes no leading zeros.
fn is_decimal(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    value.parse::<i64>().is_ok() && (digits == "0" || !digits.starts_with('0'))
}

fn no_prompt(definitions: &[Definition]) -> Option<Why> {
    definitions.iter().all(|definition| definition.prompt.is_none()).then_some(Why::NoPrompt)
}

impl Why {
    fn hint(&self, symbol: &str) -> Option<String> {
        Some(match self {
            Why::Unknown { nearest } => format!("did you mean `{}`?", nearest.as_ref()?),
            Why::Removed { instead, .. } if instead.is_empty() => format!("remove `{symbol}`"),
            Why::Removed { instead, .. } => format!("set {} instead", list(instead)),
            Why::Unmet { symbol, value, .. } if value == "n" => format!("set `{symbol}` too"),
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
            Why::Unmet { part, symbol, value } if part == symbol => {
                write!(f, "it depends on `{symbol}`, which is `{value}`")
            }
            Why::Unmet { part, symbol, value } => {
                write!(f, "it depends on `{part}`, and `{symbol}` is `{value}`")
            }
            Why::Chosen { winner, by: Some(by) } => {
                write!(f, "`{winner}` is chosen, set later by {}", by.place())
            }
            Why::Chosen { winner, by: None } => write!(f, "`{winner}` is chosen"),
            Why::OnlyChoice => f.write_str("one member of its choice must be on, and no other was asked for"),
            Why::Selected { by } => write!(f, "it is selected by {}", list(by)),
            Why::NoPrompt => f.write_str("its value follows from other symbols only"),
            Why::Invalid { expects } => write!(f, "{expects} is expected"),
            Why::Unexplained => f.write_str("the Kconfig files do not tell why"),
        }
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dropped { symbol, requested, effective, why } = self;
        write!(f, "{}: `{symbol}={}` ", requested.place(), requested.value)?;
        match effective.as_deref() {
            None => f.write_str("is dropped")?,
            Some(effective) if effective == requested.value.text() => f.write_str("must not be set")?,
            Some(effective) => write!(f, "became `{effective}`")?,
        }
        write!(f, ": {why}")?;
        self.hint().map_or(Ok(()), |hint| write!(f, "\n  hint: {hint}"))
    }
}
