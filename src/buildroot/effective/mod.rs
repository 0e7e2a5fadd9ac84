//! Comparison of Kconfig's result with the request: every symbol that has another value than the last fragment that set
//! it wanted, and why.
//!
//! Kconfig drops a setting without a word when it does not know the symbol, when a dependency does not hold, when
//! another member of a choice was set later, when another symbol selects it, and when the value has the wrong type.

mod why;

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

pub use why::{Remedy, Why};

use super::config::Config;
use super::kconfig::{Definition, Definitions, Type, Unmet, Values, number};
use crate::layer::merge::{Assignment, Merged, Setting};
use crate::layer::symbols::nearest;

/// A setting that did not become effective.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// The symbol.
    pub symbol: String,
    /// Value that was asked for, with its place.
    pub requested: Assignment,
    /// Value in the `.config`; nothing if the symbol is not there.
    pub effective: Option<String>,
    /// Reason, as far as the Kconfig files show it.
    pub why: Why,
}

impl Dropped {
    /// Returns whether the request itself wants it so: later it sets another member of the same choice, or turns off
    /// what this depends on.
    pub fn is_override(&self) -> bool {
        self.why.by().is_some()
    }

    /// Remedy for the user.
    pub fn hint(&self) -> Option<String> {
        self.why.hint(&self.symbol)
    }
}

/// More selectors than these say nothing.
const FEW: usize = 4;

/// Symbols that are looked at for one that would select another.
const SELECTORS: usize = 256;

/// Steps from one unmet dependency to what the request turned off.
const STEPS: usize = 8;

/// All settings of `request` whose value in `config` is another one, by symbol. A symbol that is asked to be off may
/// be missing in `config`, an empty text too; numbers are compared as numbers. Symbols that exist only to report that
/// they were removed are listed even if they are effective, because Buildroot refuses to build with them.
pub fn compare(request: &Merged, config: &Config, definitions: &Definitions) -> Vec<Dropped> {
    let comparison = Comparison { request, config, definitions };
    request.settings().filter_map(|setting| comparison.dropped(setting)).collect()
}

/// A setting that did not become effective, and those that are lost with it.
#[derive(Clone, Debug)]
pub struct Cause<'d> {
    /// The first cause.
    pub dropped: &'d Dropped,
    /// Settings that depend on it, in their order.
    pub followers: Vec<&'d Dropped>,
}

/// Dropped settings by their first cause: what depends on another one that was asked for and dropped stands with it.
pub fn causes(dropped: &[Dropped]) -> Vec<Cause<'_>> {
    let place = |symbol: &str| dropped.iter().position(|one| one.symbol == symbol);
    let root = |mut at: usize| {
        // No chain is longer than there are settings; a circle ends where it began to repeat.
        for _ in 0..dropped.len() {
            match dropped[at].why.follows().and_then(place) {
                Some(next) => at = next,
                None => break,
            }
        }
        at
    };
    let roots: Vec<usize> = (0..dropped.len()).map(root).collect();
    let cause = |at: usize| {
        let with =
            |(follower, root): (usize, &usize)| (*root == at && follower != at).then_some(&dropped[follower]);
        Cause { dropped: &dropped[at], followers: roots.iter().enumerate().filter_map(with).collect() }
    };
    let firsts: BTreeSet<usize> = roots.iter().copied().collect();
    firsts.into_iter().map(cause).collect()
}

/// Origin of the value of a symbol that no layer sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Derived {
    /// Symbols that are on select it.
    Selected {
        /// With the place where a layer asks for each, if one does.
        by: Vec<(String, Option<String>)>,
    },
    /// It is on or has a value by a default of its own.
    Default,
    /// It is off since something that it depends on does not hold.
    Off {
        /// Reason.
        why: Why,
    },
}

/// Explains the value of a symbol that no layer sets; nothing if the Kconfig files do not define it.
pub fn derived(
    request: &Merged,
    symbol: &str,
    config: &Config,
    definitions: &Definitions,
) -> Option<Derived> {
    let comparison = Comparison { request, config, definitions };
    let of_symbol = definitions.get(symbol);
    if of_symbol.is_empty() {
        return None;
    }
    if config.get(symbol).is_none_or(|value| value == "n") {
        return comparison.unmet(of_symbol).map(|why| Derived::Off { why });
    }
    let by = comparison.active_selectors(symbol).into_iter().map(|selector| {
        let place = request.setting(&selector).map(|setting| setting.winner.place());
        (selector, place)
    });
    let by: Vec<_> = by.collect();
    Some(if by.is_empty() { Derived::Default } else { Derived::Selected { by } })
}

/// Reason why one symbol that is asked for has another value, if it has.
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
        let environment = self.definitions.get(&symbol).iter().any(|definition| definition.environment);
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
        let definitions = self.definitions.get(symbol);
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

    /// A symbol whose only definitions report that it is gone.
    fn removed(&self, symbol: &str) -> Option<Why> {
        let definitions = self.definitions.get(symbol);
        let legacy = definitions.first().filter(|_| definitions.iter().all(|one| one.legacy))?;
        let instead = legacy.selects.iter().filter(|name| !name.ends_with("_LEGACY")).cloned().collect();
        Some(Why::Removed { says: legacy.prompt.clone().unwrap_or_default(), instead })
    }

    /// Reason that keeps a symbol on.
    fn forced(&self, symbol: &str, definitions: &[Definition]) -> Option<Why> {
        let by = self.active_selectors(symbol);
        let member = definitions.iter().any(|definition| definition.choice.is_some());
        match by.is_empty() {
            false => Some(Why::Selected { by }),
            true => member.then_some(Why::OnlyChoice),
        }
    }

    /// Symbols that are on and select this one, in order.
    fn active_selectors(&self, symbol: &str) -> Vec<String> {
        let is_on = |symbol: &str| matches!(self.config.get(symbol), Some("y" | "m"));
        let all = self.definitions.selectors(symbol).iter();
        let active = all.filter(|selector| {
            is_on(&selector.symbol)
                && selector.condition.as_ref().is_none_or(|condition| condition.holds(self))
        });
        let by: BTreeSet<String> = active.map(|selector| selector.symbol.clone()).collect();
        by.into_iter().collect()
    }

    /// First dependency that does not hold, if no definition has all it depends on.
    fn unmet(&self, definitions: &[Definition]) -> Option<Why> {
        let Unmet { part, symbol, symbols, value } = self.first_unmet(definitions)?;
        let named = self.definitions.named(&symbol);
        let part = if part == symbol { named.clone() } else { part };
        let by = symbols
            .iter()
            .find_map(|symbol| self.turned_off(&self.definitions.named(symbol), STEPS))
            .cloned();
        let remedy = if part == named && value == "n" { self.remedy(&named) } else { Remedy::None };
        Some(Why::Unmet { part, symbol: named, value, by, remedy })
    }

    fn first_unmet(&self, definitions: &[Definition]) -> Option<Unmet> {
        let unmet = definitions
            .iter()
            .map(|definition| definition.conditions.iter().find_map(|condition| condition.unmet(self)));
        unmet.collect::<Option<Vec<_>>>()?.into_iter().next()
    }

    /// The request that turned off a symbol which another one had turned on, itself or what it depends on.
    fn turned_off(&self, symbol: &str, steps: usize) -> Option<&Assignment> {
        let Setting { winner, overridden, .. } = self.request.setting(symbol)?;
        if !is_wanted(winner) {
            return overridden.iter().any(is_wanted).then_some(winner);
        }
        if is_satisfied(winner, self.config.get(symbol)) || steps == 0 {
            return None;
        }
        let definitions = self.definitions.get(symbol);
        let Some(unmet) = self.first_unmet(definitions) else {
            return self.winner(symbol, definitions).and_then(|(_, by)| by);
        };
        unmet.symbols.iter().find_map(|symbol| self.turned_off(&self.definitions.named(symbol), steps - 1))
    }

    fn remedy(&self, symbol: &str) -> Remedy {
        let settable = |symbol: &str| self.definitions.get(symbol).iter().any(|one| one.prompt.is_some());
        if self.request.setting(symbol).is_some_and(|setting| is_wanted(&setting.winner)) {
            return Remedy::AskedFor;
        }
        if settable(symbol) {
            return if self.is_decided(symbol) { Remedy::None } else { Remedy::Set };
        }
        if let Some(lost) = self.lost_selector(symbol) {
            return Remedy::Follows(lost);
        }
        let selectors = self.definitions.selectors(symbol).iter().map(|selector| selector.symbol.clone());
        let selectors: BTreeSet<String> = selectors.filter(|symbol| !self.is_decided(symbol)).collect();
        let few = (1..=FEW).contains(&selectors.len()) && selectors.iter().all(|symbol| settable(symbol));
        if few { Remedy::SelectedBy(selectors.into_iter().collect()) } else { Remedy::None }
    }

    /// Returns whether another member of its choice is on because the request wants that one.
    fn is_decided(&self, symbol: &str) -> bool {
        self.winner(symbol, self.definitions.get(symbol)).is_some_and(|(_, by)| by.is_some())
    }

    /// A symbol that is asked for and not effective, and would select this one, perhaps through others: a C library or
    /// the version of the kernel's headers has many that follow from it.
    fn lost_selector(&self, symbol: &str) -> Option<String> {
        let (mut open, mut seen) = (vec![symbol.to_owned()], BTreeSet::new());
        while let Some(next) = open.pop() {
            for selector in self.definitions.selectors(&next) {
                let asked = self.request.setting(&selector.symbol).map(|setting| &setting.winner);
                let is_lost = |asked: &Assignment| {
                    is_wanted(asked) && !is_satisfied(asked, self.config.get(&selector.symbol))
                };
                if asked.is_some_and(is_lost) {
                    return Some(selector.symbol.clone());
                }
                if seen.len() < SELECTORS && seen.insert(selector.symbol.clone()) {
                    open.push(selector.symbol.clone());
                }
            }
        }
        None
    }

    /// The other member of a choice that is on.
    fn chosen(&self, symbol: &str, definitions: &[Definition]) -> Option<Why> {
        let (winner, by) = self.winner(symbol, definitions)?;
        Some(Why::Chosen { winner: winner.into(), by: by.cloned() })
    }

    /// The other member of a choice that is on, and the request for it.
    fn winner(&self, symbol: &str, definitions: &[Definition]) -> Option<(&str, Option<&Assignment>)> {
        let choice = definitions.iter().find_map(|definition| definition.choice)?;
        let mut others = self.definitions.members(choice).iter().filter(|member| *member != symbol);
        let winner = others.find(|member| self.config.is_set(member))?;
        let by = self.request.setting(winner).map(|setting| &setting.winner);
        Some((winner, by.filter(|by| is_wanted(by))))
    }
}

/// Returns whether an assignment asks for something to be there.
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

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cause { dropped, followers } = self;
        write!(f, "{dropped}")?;
        if followers.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> =
            followers.iter().take(FEW).map(|follower| format!("`{}`", follower.symbol)).collect();
        let more = match followers.len().saturating_sub(FEW) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        write!(f, "\n  lost with it: {}{more}", shown.join(", "))
    }
}

impl fmt::Display for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Derived::Selected { by } => {
                let selector = |(symbol, place): &(String, Option<String>)| match place {
                    Some(place) => format!("`{symbol}` ({place})"),
                    None => format!("`{symbol}`"),
                };
                let (shown, more) = (by.iter().take(FEW).map(selector), by.len().saturating_sub(FEW));
                write!(f, "it is selected by {}", shown.collect::<Vec<_>>().join(", "))?;
                if more == 0 { Ok(()) } else { write!(f, " and {more} more") }
            }
            Derived::Default => f.write_str("this is its default"),
            Derived::Off { why } => write!(f, "{why}"),
        }
    }
}
